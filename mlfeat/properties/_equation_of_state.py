"""Energy of a crystal against its volume, and what Birch and Murnaghan make of it."""

from dataclasses import dataclass

import numpy as np
from ase import units
from ase.eos import birchmurnaghan
from numpy.polynomial import Polynomial

from mlfeat.properties._crystal import Crystal

__all__ = ["EquationOfState", "equation_of_state", "fit_equation_of_state"]


@dataclass(frozen=True, eq=False)
class EquationOfState:
    r"""Third-order Birch-Murnaghan equation of state.

    .. math:: E(V) = E_0 + \frac{9 V_0 B_0}{16} (x - 1)^2 [6 - 4 x + B_0' (x - 1)], \qquad x = (V_0 / V)^{2/3}.

    Attributes
    ----------
    volumes : array of shape (n,)
        Volumes, Å³/atom.
    energies : array of shape (n,)
        Energies, eV/atom.
    volume : float
        V0, the volume of least energy, Å³/atom.
    energy : float
        E0, the least energy, eV/atom.
    bulk_modulus : float
        B0, GPa.
    bulk_modulus_derivative : float
        B0', the derivative of the bulk modulus with respect to pressure.
    """

    volumes: np.ndarray
    energies: np.ndarray
    volume: float
    energy: float
    bulk_modulus: float
    bulk_modulus_derivative: float

    def fitted(self, volumes):
        """Energies of the fitted equation.

        Parameters
        ----------
        volumes : array-like
            Volumes, Å³/atom.

        Returns
        -------
        array
            Energies, eV/atom.
        """
        modulus = self.bulk_modulus * units.GPa
        return birchmurnaghan(np.asarray(volumes), self.energy, modulus, self.bulk_modulus_derivative, self.volume)

    @property
    def rmse(self):
        """Root-mean-square deviation of the energies from the fitted ones, eV/atom."""
        return float(np.sqrt(np.mean((self.fitted(self.volumes) - self.energies) ** 2)))


def equation_of_state(
    atoms,
    calculator=None,
    *,
    volumes=None,
    relax=True,
    relax_shape=True,
    fmax=1e-4,
    smax=1e-6,
    max_steps=200,
    symprec=1e-3,
):
    """Energy of a crystal at several volumes, and its bulk modulus by Birch's and Murnaghan's equation.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    volumes : array-like or None
        Volumes relative to that of the crystal, at least four; None for 11 from 0.94 to 1.06 (2 % of the lengths).
    relax : bool, default=True
        Relax the crystal first: volumes are relative to the relaxed one.
    relax_shape : bool, default=True
        At each volume, relax the shape of the cell and the atoms in it, as far as the symmetry lets them. False scales
        the crystal.
    fmax, smax, max_steps, symprec : float or int
        As `relax_crystal` takes them.

    Returns
    -------
    EquationOfState
        Volumes and energies per atom, and the fitted equation.

    Raises
    ------
    ValueError
        If there are fewer than four volumes or one is not positive; if the energy has no minimum between them.
    RuntimeError
        As `relax_crystal` does.
    """
    volumes = np.linspace(0.94, 1.06, 11) if volumes is None else np.asarray(volumes, dtype=float)
    if volumes.ndim != 1 or len(volumes) < 4 or not (np.isfinite(volumes) & (volumes > 0)).all():
        raise ValueError(
            f"volumes={volumes.tolist()}: must be four or more positive numbers, relative to the crystal's"
        )
    crystal = Crystal.from_atoms(atoms, calculator, symprec)
    settings = {"fmax": fmax, "smax": smax, "max_steps": max_steps}
    if relax:
        crystal, _ = crystal.relaxed(**settings)
    return equation_of_state_of(crystal, volumes, relax_shape, **settings)


def equation_of_state_of(crystal, volumes, relax_shape, **settings):
    """Equation of state of a crystal as it is.

    Parameters
    ----------
    crystal : Crystal
        The primitive cell.
    volumes : array of shape (n,)
        Relative volumes.
    relax_shape : bool
        As `equation_of_state` takes it.
    **settings : float or int
        As `Crystal.relaxed` takes them.

    Returns
    -------
    EquationOfState
    """
    energies = []
    for volume in volumes:
        scaled = crystal.at_volume(volume * crystal.volume)
        if relax_shape:
            energies.append(scaled.relaxed(**settings, fixed_volume=True)[1])
        else:
            energies.append(scaled.energy(f"at {volume:g} of its volume"))
    return fit_equation_of_state(volumes * crystal.volume / crystal.n_atoms, np.array(energies) / crystal.n_atoms)


def fit_equation_of_state(volumes, energies):
    """Fit the Birch-Murnaghan equation to energies that are known, of DFT for instance.

    The equation is a polynomial of third degree in V^(-2/3): a linear fit finds it.

    Parameters
    ----------
    volumes : array-like of shape (n,)
        Four or more volumes, Å³/atom.
    energies : array-like of shape (n,)
        Energies, eV/atom.

    Returns
    -------
    EquationOfState
        The fitted equation.

    Raises
    ------
    ValueError
        If there are fewer than four volumes, one is not positive, or the energy has no minimum between them.
    """
    volumes, energies = np.array(volumes, dtype=float), np.array(energies, dtype=float)
    if volumes.shape != energies.shape or volumes.ndim != 1 or len(np.unique(volumes)) < 4:
        raise ValueError(
            f"{volumes.shape} volumes and {energies.shape} energies: as many are needed, at four different volumes"
        )
    if not ((volumes > 0).all() and np.isfinite(volumes).all() and np.isfinite(energies).all()):
        raise ValueError("volumes must be positive, and energies numbers: one is not")
    x = volumes ** (-2 / 3)
    polynomial = Polynomial.fit(x, energies, 3)
    minimum = _minimum(polynomial, x.min(), x.max())
    second, third = (polynomial.deriv(order)(minimum) for order in (2, 3))
    volume = minimum**-1.5
    # At x = V0^(-2/3), with A = 9 V0 B0 / 16: E'' = 4 A / x² and E''' = 6 A (B0' - 4) / x³.
    modulus = 4 / 9 * minimum**2 * second / volume
    derivative = 4 + 2 / 3 * minimum * third / second
    return EquationOfState(
        volumes, energies, float(volume), float(polynomial(minimum)), float(modulus / units.GPa), float(derivative)
    )


def _minimum(polynomial, low, high):
    slope, curvature = polynomial.deriv(), polynomial.deriv(2)
    roots = slope.roots()
    roots = roots[np.isreal(roots)].real
    inside = roots[(roots >= low) & (roots <= high) & (curvature(roots) > 0)]
    if len(inside) == 0:
        raise ValueError("the energy has no minimum between the volumes; choose volumes around the equilibrium")
    return inside[0]
