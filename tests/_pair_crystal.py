"""Crystals of bonds between nearest neighbors: what they do is known in closed form."""

import numpy as np
from ase.build import bulk
from ase.calculators.lj import LennardJones

BOND = 2.5  # Å
_BONDS_OF_LATTICE = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "diamond": 4 / 3**0.5}  # lattice constant, in bonds


def pair_crystal(lattice, element="Cu"):
    """Primitive cell of a cubic lattice, its nearest neighbors `BOND` apart."""
    return bulk(element, lattice, a=BOND * _BONDS_OF_LATTICE[lattice])


def bonds(reach=1.1):
    """Calculator of Lennard-Jones bonds at rest at `BOND`, that reach this much further; its bonds are harmonic there.

    With a reach of 1.1, second neighbors of fcc, bcc and diamond are beyond it.
    """
    return LennardJones(sigma=BOND / 2 ** (1 / 6), epsilon=0.2, rc=reach * BOND)


def bond_energy(reach=1.1):
    """Energy of one of these bonds, eV; negative."""
    return -0.2 - 0.2 * (reach**-12 - 2 * reach**-6)


BOND_STIFFNESS = 72 * 0.2 / BOND**2  # eV/Å²: second derivative of the energy of a bond


def nearest_neighbors(atoms):
    """Vectors (n, 3) from the only atom of a primitive cell to its nearest neighbors, Å."""
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ atoms.cell.array
    return steps[np.isclose(np.linalg.norm(steps, axis=1), BOND)]
