"""DScribe's SOAP and symmetry functions, as peers to compare and to time against.

Needs the package ``dscribe`` of the `peers` extra. One thread.
"""

from importlib import metadata, util

import numpy as np


def available():
    """Whether DScribe is installed."""
    return util.find_spec("dscribe") is not None


def version():
    """DScribe's version."""
    return metadata.version("dscribe")


class PowerSpectrum:
    """The power spectrum of one species with Gaussian-type orbitals as radial functions.

    Parameters
    ----------
    symbol : str
        The species.
    periodic : bool
        Of the structures.
    cutoff : float
        Å.
    n_max, l_max : int
        Number of radial functions, highest angular momentum.
    sigma : float
        Width of the atoms' Gaussians, Å.
    """

    def __init__(self, symbol, periodic, cutoff, n_max, l_max, sigma):
        from dscribe.descriptors import SOAP

        self.soap = SOAP(
            species=[symbol], periodic=periodic, r_cut=cutoff, n_max=n_max, l_max=l_max, sigma=sigma, rbf="gto"
        )

    def values(self, atoms):
        """Compute values (N, F)."""
        return self.soap.create(atoms)

    def jacobian(self, atoms, method):
        """Compute derivatives (N, N, 3, F) by center and atom, and values (N, F).

        Parameters
        ----------
        atoms : ase.Atoms
        method : {"numerical", "analytical"}
            DScribe has analytical derivatives of structures without periodicity only.
        """
        return self.soap.derivatives(atoms, method=method, attach=True)


class SymmetryFunctions:
    """Radial and narrow angular symmetry functions of one species in periodic structures, cutoff function cosine.

    Parameters
    ----------
    symbol : str
        The species.
    cutoff : float
        Å.
    radial : list
        (eta, r_s) of each, Å⁻² and Å.
    angular : list
        (eta, zeta, lambda) of each.
    """

    def __init__(self, symbol, cutoff, radial, angular):
        from dscribe.descriptors import ACSF

        self.acsf = ACSF(species=[symbol], r_cut=cutoff, g2_params=radial, g4_params=angular, periodic=True)

    def values(self, atoms):
        """Compute values (N, F), without the sum of the cutoff functions that DScribe has first."""
        return self.acsf.create(atoms)[:, 1:]

    def jacobian(self, atoms):
        """Compute derivatives (N, N, 3, F) by center and atom, numerically: DScribe has no others."""
        return self.acsf.derivatives(atoms, method="numerical", attach=True, return_descriptor=False)[..., 1:]


def order(n_max, l_max):
    """Place of each feature of mlfeat's, n ≥ n' with l fastest, among DScribe's, l slowest and then n ≤ n'."""
    places = np.zeros((n_max, n_max), dtype=int)
    places[np.triu_indices(n_max)] = np.arange(n_max * (n_max + 1) // 2)
    pairs = places.T[np.tril_indices(n_max)]
    return (pairs[:, None] + len(pairs) * np.arange(l_max + 1)).ravel()


def factors(n_max, l_max):
    """What mlfeat's features are multiplied by to be DScribe's, which have no √2 where n and n' differ."""
    first, second = np.tril_indices(n_max)
    return np.repeat(np.where(first == second, 1.0, np.sqrt(0.5)), l_max + 1)
