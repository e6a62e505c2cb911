"""Structures on which implementations go wrong, and transformations that must not change what a structure is."""

import numpy as np
from ase import Atoms
from ase.calculators.morse import MorsePotential

SPACING = 2.6  # Å, between neighbors; about that of a transition metal


def awkward_structures(symbols=("Mo", "Ni"), spacing=SPACING, seed=0):
    """Make small distorted structures of every kind that a neighbor list can meet.

    Parameters
    ----------
    symbols : sequence of str, default=("Mo", "Ni")
        Chemical symbols, dealt to the atoms in turn.
    spacing : float, default=2.6
        Distance between neighbors, Å; the smallest one is 0.7 of it.
    seed : int, default=0
        Of the distortions.

    Returns
    -------
    dict of str to ase.Atoms
        ``triclinic``; ``skewed`` (long vectors, small heights, atoms outside the cell); ``tiny`` (each atom sees its
        own images); ``one_atom`` (periodic); ``cluster`` (no cell); ``mixed_pbc`` (periodic along the first and the
        third vector); ``slab`` (periodic along two vectors, the third is zero); ``wire`` (periodic along one);
        ``isolated`` (one atom without neighbors).
    """
    rng = np.random.default_rng(seed)
    shear = np.array([[1.0, 0.0, 0.0], [0.25, 0.95, 0.0], [-0.2, 0.3, 0.9]])
    skew = np.array([[1.0, 0.0, 0.0], [1.7, 0.8, 0.0], [-0.9, 1.4, 0.9]])
    grown = {
        "triclinic": _block(symbols, (2, 2, 1), shear, rng, pbc=True),
        "skewed": _block(symbols, (1, 2, 2), skew, rng, pbc=True),
        "tiny": _block(symbols, (2, 1, 1), shear, rng, pbc=True),
        "one_atom": _block(symbols[:1], (1, 1, 1), shear, rng, pbc=True),
        "cluster": _block(symbols, (2, 2, 2), np.eye(3), rng, pbc=False),
        "mixed_pbc": _block(symbols, (1, 2, 2), shear, rng, pbc=(True, False, True)),
        "slab": _block(symbols, (2, 1, 2), shear, rng, pbc=(True, True, False)),
        "wire": _block(symbols, (2, 2, 1), shear, rng, pbc=(False, False, True)),
        "isolated": Atoms(symbols[-1:], positions=[[0.3, -0.2, 0.1]]),
    }
    for atoms in grown.values():
        atoms.set_cell(spacing * atoms.cell)
        atoms.positions *= spacing
    grown["skewed"].positions[1:] += [[2], [-1], [3]] @ grown["skewed"].cell.array[:1]
    grown["cluster"].cell[:] = 0.0
    grown["slab"].cell[2] = 0.0
    return grown


def _block(symbols, repeats, shear, rng, pbc):
    """A sheared simple-cubic block of unit spacing, each atom moved by up to 0.1 along each axis."""
    grid = np.array(list(np.ndindex(*repeats)), dtype=float)
    positions = grid @ shear + rng.uniform(-0.1, 0.1, grid.shape)
    chosen = [symbols[k % len(symbols)] for k in range(len(grid))]
    return Atoms(chosen, positions=positions, cell=np.array(repeats)[:, None] * shear, pbc=pbc)


def crystal(symbols=("Mo", "Ni"), repeats=(5, 4, 4), spacing=SPACING, seed=0):
    """Make a rattled, sheared periodic crystal, by default with enough atoms to be shared among threads.

    Parameters
    ----------
    symbols : sequence of str, default=("Mo", "Ni")
        Chemical symbols, dealt to the atoms in turn.
    repeats : tuple of 3 int, default=(5, 4, 4)
        Number of atoms along each lattice vector.
    spacing : float, default=2.6
        Distance between neighbors, Å.
    seed : int, default=0
        Of the distortions.

    Returns
    -------
    ase.Atoms
        Periodic along all three vectors.
    """
    shear = np.array([[1.0, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, -0.1, 1.0]])
    atoms = _block(symbols, repeats, shear, np.random.default_rng(seed), pbc=True)
    atoms.set_cell(spacing * atoms.cell)
    atoms.positions *= spacing
    return atoms


def toy_training_set(symbols=("Mo", "Ni"), spacing=SPACING, n_structures=20, seed=0):
    """Make rattled crystals with energies, forces and stresses of a Morse potential, to fit what is not zero.

    Parameters
    ----------
    symbols : sequence of str, default=("Mo", "Ni")
        Chemical symbols, dealt to the atoms in turn; to the Morse potential they are all alike.
    spacing : float, default=2.6
        Mean distance between neighbors, Å; of the structures it is 0.93 to 1.12 times as large.
    n_structures : int, default=20
        Number of structures, of 12 atoms each.
    seed : int, default=0
        Of the distortions.

    Returns
    -------
    list of ase.Atoms
        With calculators, as :func:`mlfeat.make_targets` expects.
    """
    rng = np.random.default_rng(seed)
    structures = []
    for k in range(n_structures):
        atoms = crystal(symbols, (2, 2, 3), spacing * rng.uniform(0.93, 1.12), seed=seed + 1 + k)
        atoms.calc = MorsePotential(epsilon=0.5, rho0=4.0, r0=spacing, rcut1=1.3 * spacing, rcut2=1.9 * spacing)
        structures.append(atoms)
    return structures


# --- Transformations: each returns a new structure -------------------------------------------------------------------


def rotated(atoms, rotation):
    """The structure with positions and cell multiplied by an orthogonal matrix (3, 3)."""
    return _changed(atoms, positions=atoms.positions @ rotation.T, cell=atoms.cell.array @ rotation.T)


def strained(atoms, strain):
    """The structure with positions and cell multiplied by 1 + strain (3, 3)."""
    deform = np.eye(3) + strain
    return _changed(atoms, positions=atoms.positions @ deform.T, cell=atoms.cell.array @ deform.T)


def translated(atoms, vector):
    """The structure moved by a vector, Å."""
    return _changed(atoms, positions=atoms.positions + vector)


def same_structure(atoms, seed=0):
    """Tell the same structure otherwise: other lattice vectors of the same lattice, atoms in other cells.

    Parameters
    ----------
    atoms : ase.Atoms
        Any structure; without periodicity it stays as it is.
    seed : int, default=0
        Chooses the lattice vectors by which atoms move.

    Returns
    -------
    ase.Atoms
        Atoms in the same order.
    """
    rng = np.random.default_rng(seed)
    cell = atoms.cell.array.copy()
    periodic = np.flatnonzero(atoms.pbc)
    for axis, other in zip(periodic, np.roll(periodic, 1), strict=True):
        if axis != other:
            cell[axis] += cell[other]
    hops = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
    return _changed(atoms, positions=atoms.positions + hops @ atoms.cell.array, cell=cell)


def random_rotation(rng, proper):
    """A random orthogonal matrix; improper ones include a reflection."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return rotation if (np.linalg.det(rotation) > 0) == proper else -rotation


def without_cell(atoms):
    """The atoms of one cell as a cluster."""
    return Atoms(atoms.numbers, positions=atoms.positions)


def _changed(atoms, positions=None, cell=None):
    new = atoms.copy()
    if cell is not None:
        new.set_cell(cell)
    if positions is not None:
        new.set_positions(positions)
    return new
