"""featomic's SOAP power spectrum, as a peer to time against.

Needs the package ``featomic`` of the `peers` extra. One thread.
"""

import os
from importlib import metadata, util


def available():
    """Whether featomic is installed."""
    return util.find_spec("featomic") is not None


def version():
    """featomic's version."""
    return metadata.version("featomic")


class PowerSpectrum:
    """The power spectrum of one species: Gaussian-type orbitals as radial functions, and a cutoff function.

    Parameters
    ----------
    cutoff : float
        Radius, Å.
    n_max : int
        Number of radial functions.
    l_max : int
        Highest angular momentum.
    sigma : float
        Width of the atoms' Gaussians, Å.
    width : float
        Where the cutoff function falls, Å.
    """

    def __init__(self, cutoff, n_max, l_max, sigma, width):
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        from featomic import SoapPowerSpectrum

        self.calculator = SoapPowerSpectrum(
            cutoff={"radius": cutoff, "smoothing": {"type": "ShiftedCosine", "width": width}},
            density={"type": "Gaussian", "width": sigma},
            basis={
                "type": "TensorProduct",
                "max_angular": l_max,
                "radial": {"type": "Gto", "max_radial": n_max - 1},  # the highest n, from 0
            },
        )

    def jacobian(self, atoms):
        """Compute values (N, F) and gradients (pairs, 3, F): a row each of a center and an atom, images merged.

        F is n_max² (l_max + 1): n, n' and n', n are both there.
        """
        block = self.calculator.compute(atoms, gradients=["positions"]).block(0)
        return block.values, block.gradient("positions").values
