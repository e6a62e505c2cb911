"""Symmetry of a crystal: its primitive cell, and what strains and displacements leave it as symmetric as it is."""

import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache
from numbers import Real

import numpy as np
import spglib

from mlfeat.neighbors import check_atoms

__all__ = ["KINDS", "STRAINS", "Symmetry", "kinds_of", "symmetry_of"]

KINDS = ("numbers", "initial_magmoms", "initial_charges")  # arrays of atoms, by which these are different

# Orthonormal symmetric tensors (Mandel's), in the order xx yy zz yz xz xy: rotations of strains are orthogonal in them.
STRAINS = np.zeros((6, 3, 3))
for _k, (_i, _j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
    STRAINS[_k, _i, _j] = STRAINS[_k, _j, _i] = 1.0 if _i == _j else np.sqrt(0.5)
STRAINS.flags.writeable = False

_NO_SYMMETRY = (
    "spglib finds no symmetry with symprec={:g}: atoms closer than that count as one; pass another, or symprec=None"
)


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Primitive cell of a crystal, in the frame of the atoms as given, and its symmetry operations.

    Strains that keep the symmetry commute with the rotations: these stay what they are when the crystal is relaxed.

    Attributes
    ----------
    cell : array of shape (3, 3)
        Rows are the primitive lattice vectors, Å.
    positions : array of shape (n_primitive, 3)
        Atoms of the primitive cell, Å.
    indices : int array of shape (n_primitive,)
        Which atoms of the given structure these are.
    rotations : array of shape (n_operations, 3, 3)
        Rotations and reflections of Cartesian column vectors.
    images : int array of shape (n_operations, n_primitive)
        Atom that each operation takes each atom to, but for a lattice vector.
    conventional : array of shape (3, 3)
        The conventional lattice vectors are ``conventional @ cell``.
    standard : array of shape (3, 3)
        Rotation of column vectors to the standard orientation of the crystal.
    centering : str
        Letter of the centering of the conventional cell: P, A, C, I, F or R.
    """

    cell: np.ndarray
    positions: np.ndarray
    indices: np.ndarray
    rotations: np.ndarray
    images: np.ndarray
    conventional: np.ndarray
    standard: np.ndarray
    centering: str

    def lattice_constants(self, cell):
        """Lengths (3,) of the conventional lattice vectors that belong to a primitive cell, Å."""
        return np.linalg.norm(self.conventional @ cell, axis=1)

    @cached_property
    def strains(self):
        """Orthonormal symmetric tensors (n, 3, 3) that all operations leave as they are."""
        averaged = _strain_rotations(self.rotations).mean(axis=0)
        return np.tensordot(_invariant(averaged), STRAINS, axes=(1, 0))

    @cached_property
    def displacements(self):
        """Orthonormal displacements (n, n_primitive, 3) that keep the symmetry, without translations of the whole."""
        n_atoms = len(self.positions)
        averaged = np.zeros((n_atoms, n_atoms, 3, 3))
        for rotation, image in zip(self.rotations, self.images, strict=True):
            averaged[image, np.arange(n_atoms)] += rotation / len(self.rotations)
        averaged -= self.rotations.mean(axis=0) / n_atoms  # the average of what is left of translations
        averaged = averaged.transpose(0, 2, 1, 3).reshape(3 * n_atoms, 3 * n_atoms)
        return _invariant(averaged).reshape(-1, n_atoms, 3)

    @cached_property
    def tensors(self):
        """Orthonormal elastic tensors (n, 6, 6), in Mandel's notation, that have the symmetry of the crystal."""
        return _invariant_tensors(_strain_rotations(self.rotations))


def symmetry_of(atoms, symprec, kinds=KINDS):
    """Symmetry of a structure; that of the last ones is remembered.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal, periodic in three directions.
    symprec : float or None
        Distance, Å, up to which atoms count as equivalent; None for no symmetry: the cell as it is.
    kinds : tuple of str
        As `kinds_of` takes them.

    Returns
    -------
    Symmetry

    Raises
    ------
    ValueError
        If the structure is not periodic in three directions, `symprec` is not positive, or no symmetry can be found.
    """
    check_atoms(atoms)
    if symprec is not None and not (isinstance(symprec, Real) and 0 < symprec < np.inf):
        raise ValueError(f"symprec={symprec!r}: must be a positive number of Å, or None")  # spglib would crash
    if not atoms.pbc.all():
        raise ValueError(f"pbc={atoms.pbc.tolist()}: a crystal must be periodic in all three directions")
    return _analyze(atoms.cell.array.tobytes(), atoms.positions.tobytes(), kinds_of(atoms, kinds).tobytes(), symprec)


def kinds_of(atoms, names):
    """Kinds of atoms.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    names : sequence of str
        Arrays of the atoms; atoms that differ in one are of different kinds.

    Returns
    -------
    int array of shape (n_atoms,)
        Numbers of the kinds, from 0.
    """
    columns = np.column_stack([atoms.arrays[name] for name in names if name in atoms.arrays])
    return np.unique(columns, axis=0, return_inverse=True)[1].astype(np.intp).ravel()


@lru_cache(maxsize=256)
def _analyze(cell, positions, kinds, symprec):
    cell, positions = (np.frombuffer(data).reshape(-1, 3) for data in (cell, positions))
    kinds = np.frombuffer(kinds, dtype=np.intp)
    if symprec is None:
        everything = np.arange(len(kinds))
        return Symmetry(cell, positions, everything, np.eye(3)[None], everything[None], np.eye(3), np.eye(3), "P")
    given = _dataset(cell, positions, kinds, symprec)
    first = np.unique(given.mapping_to_primitive, return_index=True)[1]
    cell, positions = given.primitive_lattice, positions[first]
    return _idealized(cell, positions, first, _dataset(cell, positions, kinds[first], symprec))


def _dataset(cell, positions, kinds, symprec):
    structure = (cell, positions @ np.linalg.inv(cell), kinds)
    with warnings.catch_warnings():
        # spglib 2.7 and 2.8 warn at every call that they will raise errors; before they return None.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry_dataset(structure, symprec=symprec)
        except Exception as error:
            raise ValueError(_NO_SYMMETRY.format(symprec)) from error
    if found is None:
        raise ValueError(_NO_SYMMETRY.format(symprec))
    return found


def _idealized(cell, positions, indices, found):
    """The symmetry with a cell and positions that have it to rounding, not only to symprec."""
    rotations = found.rotations.astype(float)
    inverse = np.linalg.inv(cell)
    metric = np.einsum("oji,jk,okl->il", rotations, cell @ cell.T, rotations) / len(rotations)
    values, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    stretched = cell @ (vectors * np.sqrt(values)) @ vectors.T
    fractions = positions @ inverse
    moved = np.einsum("oij,nj->oni", rotations, fractions) + found.translations[:, None]
    gaps = moved[:, :, None] - fractions
    images = np.linalg.norm((gaps - np.round(gaps)) @ cell, axis=-1).argmin(axis=-1)
    shifts = np.take_along_axis(gaps, images[..., None, None], axis=2)[:, :, 0]
    corrections = np.zeros_like(fractions)
    np.add.at(corrections, images, (shifts - np.round(shifts)) / len(rotations))
    cartesian = stretched.T @ rotations @ np.linalg.inv(stretched.T)
    return Symmetry(
        stretched,
        (fractions + corrections) @ stretched,
        indices,
        cartesian,
        images,
        np.linalg.inv(found.transformation_matrix).T,
        found.std_rotation_matrix,
        found.international[0],
    )


def _strain_rotations(rotations):
    """Orthogonal matrices (n, 6, 6) that rotate symmetric tensors, in Mandel's notation."""
    turned = rotations[:, None] @ STRAINS @ rotations.transpose(0, 2, 1)[:, None]
    return np.einsum("kij,olij->okl", STRAINS, turned)


def _invariant_tensors(turns):
    rows, columns = np.triu_indices(6)
    basis = np.zeros((len(rows), 6, 6))
    basis[np.arange(len(rows)), rows, columns] = np.where(rows == columns, 1.0, np.sqrt(0.5))
    basis[np.arange(len(rows)), columns, rows] = basis[np.arange(len(rows)), rows, columns]
    averaged = np.einsum("oij,tjk,olk->til", turns, basis, turns, optimize=True) / len(turns)
    kept = _invariant(np.einsum("til,sil->st", averaged, basis))
    return np.tensordot(kept, basis, axes=(1, 0))


def _invariant(averaged):
    """Orthonormal rows that span what a projection leaves as it is."""
    values, vectors = np.linalg.eigh((averaged + averaged.T) / 2)
    return vectors[:, values > 0.5].T
