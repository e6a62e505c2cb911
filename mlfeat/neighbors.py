"""Neighbor lists: from a structure to the vectors between its atoms."""

import math

import ase
import numpy as np
from vesin import NeighborList

from mlfeat._ext import pairs as _pairs

__all__ = ["NeighborPairs", "check_atoms", "check_structures"]

MIN_DISTANCE = 0.1  # Å; nothing physical is closer, and derivatives blow up there

_FIELDS = ("numbers", "positions", "cell", "pbc", "first", "second", "shifts", "cutoff")
_DERIVED = ("offsets", "shift_vectors", "vectors", "volume")
_TOPOLOGY = tuple(name for name in _FIELDS + _DERIVED if name not in {"positions", "vectors"})


class NeighborPairs:
    """Pairs of atoms closer than a cutoff, sorted by their first atom.

    Pair p goes from atom i = ``first[p]`` (the center) to atom j = ``second[p]`` in the periodic image S = ``shifts[p]``,

    .. math:: r_{ij} = r_j - r_i + S \\cdot \\mathrm{cell}.

    Each pair is there in both directions, and an atom's own images are neighbors like all others. The order (by first,
    second, shift) is the same in every run. Objects are immutable: arrays are read-only, and :meth:`moved` gives a new one.

    Parameters
    ----------
    numbers : array of shape (n_atoms,)
        Atomic numbers.
    positions : array of shape (n_atoms, 3)
        Å.
    cell : array of shape (3, 3)
        Rows are the lattice vectors, Å; zero rows where there is none.
    pbc : array of shape (3,)
        Which lattice vectors are periods.
    first, second : int32 array of shape (n_pairs,)
        Atoms of each pair, sorted by `first`.
    shifts : int32 array of shape (n_pairs, 3)
        Periodic image of the second atom.
    cutoff : float
        Radius of the list, Å. It may be larger than what a descriptor needs (a Verlet skin).

    Attributes
    ----------
    offsets : intp array of shape (n_atoms + 1,)
        The pairs of center i are ``offsets[i]:offsets[i + 1]``.
    vectors : array of shape (n_pairs, 3)
        r_ij, Å.
    shift_vectors : array of shape (n_pairs, 3)
        S·cell, Å.
    volume : float
        Å³; NaN unless the cell has three independent vectors.
    """

    __slots__ = (*_FIELDS, *_DERIVED)

    def __init__(self, numbers, positions, cell, pbc, first, second, shifts, cutoff):
        values = {
            "numbers": np.array(numbers, dtype=np.int64),
            "positions": np.array(positions, dtype=float, order="C").reshape(-1, 3),
            "cell": np.array(cell, dtype=float, order="C"),
            "pbc": np.array(pbc, dtype=bool),
            "first": np.array(first, dtype=np.int32),
            "second": np.array(second, dtype=np.int32),
            "shifts": np.array(shifts, dtype=np.int32, order="C").reshape(-1, 3),
        }
        values["offsets"] = np.searchsorted(values["first"], np.arange(len(values["numbers"]) + 1))
        values["shift_vectors"] = _shift_vectors(values["shifts"], values["cell"])
        for name, array in values.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "cutoff", float(cutoff))
        object.__setattr__(self, "volume", _volume(values["cell"]))
        object.__setattr__(self, "vectors", self._vectors(self.positions))

    def __setattr__(self, name, value):
        raise AttributeError(f"NeighborPairs is immutable: cannot set {name!r}; make a new one")

    __delattr__ = __setattr__

    def __reduce__(self):
        return NeighborPairs, tuple(getattr(self, name) for name in _FIELDS)

    def __repr__(self):
        return f"NeighborPairs(n_atoms={self.n_atoms}, n_pairs={self.n_pairs}, cutoff={self.cutoff:g})"

    @classmethod
    def from_atoms(cls, atoms, cutoff, *, index=0):
        """Build the list of a structure.

        Parameters
        ----------
        atoms : ase.Atoms
            Any cell: none, triclinic, smaller than the cutoff, periodic in some directions only.
        cutoff : float
            Radius, Å.
        index : int, default=0
            Number by which error messages call the structure.

        Returns
        -------
        NeighborPairs

        Raises
        ------
        TypeError
            If `atoms` is not an ase.Atoms.
        ValueError
            If the cutoff is not positive; if the structure is empty, has NaN positions or a period without a lattice
            vector, or if two of its atoms sit on top of each other.
        """
        check_cutoff(cutoff)
        check_atoms(atoms, index)
        positions, cell = np.array(atoms.positions, dtype=float), np.array(atoms.cell.array, dtype=float)
        search = NeighborList(cutoff=float(cutoff), full_list=True, sorted=True, n_threads=1)
        found = search.compute(positions, cell, np.array(atoms.pbc), "ijS", copy=False)
        first, second, shifts = (np.asarray(part, dtype=np.int32) for part in found)
        order = _canonical_order(first, second, shifts, len(atoms))
        pairs = cls(atoms.numbers, positions, cell, atoms.pbc, first[order], second[order], shifts[order], cutoff)
        _check_distances(pairs, index)
        return pairs

    def moved(self, positions):
        """The same pairs with the atoms at new positions: same topology, cell and shifts, new vectors.

        Valid as a neighbor list of radius c as long as no atom moved more than (cutoff - c) / 2 since it was built.

        Parameters
        ----------
        positions : array of shape (n_atoms, 3)
            Å, continuous with the old ones (not wrapped back into the cell).
        """
        positions = np.array(positions, dtype=float, order="C")
        if positions.shape != self.positions.shape:
            raise ValueError(f"positions have shape {positions.shape}, the list is of {self.positions.shape}; build a new list")
        positions.flags.writeable = False
        new = object.__new__(NeighborPairs)
        keep = object.__setattr__
        for name in _TOPOLOGY:
            keep(new, name, getattr(self, name))
        keep(new, "positions", positions)
        keep(new, "vectors", new._vectors(positions))
        return new

    def _vectors(self, positions):
        vectors = np.empty((len(self.first), 3))
        _pairs.pair_vectors(positions, self.first, self.second, self.shift_vectors, vectors)
        vectors.flags.writeable = False
        return vectors

    @property
    def n_atoms(self):
        """Number of atoms."""
        return len(self.numbers)

    @property
    def n_pairs(self):
        """Number of directed pairs."""
        return len(self.first)

    @property
    def distances(self):
        """Lengths of the vectors (n_pairs,), Å."""
        return np.sqrt(np.einsum("px,px->p", self.vectors, self.vectors))

    @property
    def nbytes(self):
        """Memory of the arrays, bytes."""
        return sum(getattr(self, name).nbytes for name in self.__slots__ if name not in {"cutoff", "volume"})

    def forces(self, gradients):
        """Forces (n_atoms, 3) from g_ij = ∂E/∂r_ij (n_pairs, 3): F_i += g_ij, F_j -= g_ij. eV/Å."""
        return _pairs.pair_forces(gradients, self.first, self.second, len(self.numbers))

    def virial(self, gradients):
        """Σ r_ij ⊗ g_ij (3, 3), the derivative of the energy with respect to strain. eV."""
        return _pairs.pair_virial(self.vectors, gradients)

    def stress(self, gradients):
        """Stress (6,) = virial / volume, Voigt xx yy zz yz xz xy, ASE's sign, eV/Å³; NaN if there is no volume."""
        return voigt(self.virial(gradients)) / self.volume

    def max_displacement(self, positions):
        """Largest distance that an atom moved from here to `positions` (n_atoms, 3), Å."""
        positions = np.ascontiguousarray(positions, dtype=float)
        return math.sqrt(_pairs.max_squared_displacement(positions, self.positions))

    def to_atoms(self):
        """The structure as ase.Atoms, without a calculator."""
        return ase.Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)


def voigt(tensor):
    """Voigt form (6,) xx yy zz yz xz xy of a 3×3 tensor, off-diagonal elements averaged."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = tensor.tolist()
    return np.array([xx, yy, zz, 0.5 * (yz + zy), 0.5 * (xz + zx), 0.5 * (xy + yx)])


def check_cutoff(cutoff):
    """Raise ValueError unless `cutoff` is a positive, finite number."""
    if not (np.isscalar(cutoff) and np.isreal(cutoff) and 0 < cutoff < math.inf):
        raise ValueError(f"cutoff={cutoff!r}: must be a positive number, in Å")


def check_structures(structures):
    """Check a list of structures before any work and return it as a list.

    Raises
    ------
    TypeError
        If it is a single structure, or holds anything else than ase.Atoms.
    ValueError
        See :func:`check_atoms`; also if the list is empty.
    """
    if isinstance(structures, ase.Atoms):
        raise TypeError("got one ase.Atoms, expected a list of them; pass [atoms]")
    if isinstance(structures, (str, bytes)) or not hasattr(structures, "__iter__"):
        raise TypeError(f"expected a list of ase.Atoms, got {type(structures).__name__}; read files with ase.io.read(path, ':')")
    structures = list(structures)
    if not structures:
        raise ValueError("got an empty list of structures; pass at least one")
    for index, atoms in enumerate(structures):
        check_atoms(atoms, index)
    return structures


def check_atoms(atoms, index=0):
    """Raise unless `atoms` can have a neighbor list; the message names it by `index`."""
    if not isinstance(atoms, ase.Atoms):
        raise TypeError(f"structure {index} is a {type(atoms).__name__}, expected ase.Atoms")
    if len(atoms) == 0:
        raise ValueError(f"structure {index} is empty; remove it from the list")
    bad = ~np.isfinite(atoms.positions).all(axis=1)
    if bad.any():
        a = int(np.argmax(bad))
        raise ValueError(f"structure {index}: atom {a} is at {atoms.positions[a]}; positions must be finite, remove the structure or repair it")
    _check_cell(atoms.cell.array, np.asarray(atoms.pbc), index)


def _check_cell(cell, pbc, index):
    if not np.isfinite(cell).all():
        raise ValueError(f"structure {index}: the cell is {cell.tolist()}; it must be finite, set it with atoms.set_cell")
    periods = cell[pbc]
    heights = np.linalg.svd(periods, compute_uv=False) if len(periods) else np.ones(1)
    if heights[-1] <= 1e-6 * max(heights[0], 1.0):
        raise ValueError(
            f"structure {index}: pbc is {pbc.tolist()} but the lattice vectors {periods.tolist()} are zero or dependent; "
            "set atoms.cell, or atoms.pbc = False"
        )


def _check_distances(pairs, index):
    if pairs.n_pairs == 0:
        return
    distances = pairs.distances
    p = int(np.argmin(distances))
    if distances[p] < MIN_DISTANCE:
        i, j = int(pairs.first[p]), int(pairs.second[p])
        raise ValueError(
            f"structure {index}: atoms {i} and {j} are {distances[p]:.3g} Å apart, on top of each other (limit {MIN_DISTANCE} Å); "
            "remove one of them or the structure"
        )


def _shift_vectors(shifts, cell):
    # Not shifts @ cell: BLAS may round a row differently depending on its place.
    return shifts[:, :1] * cell[0] + shifts[:, 1:2] * cell[1] + shifts[:, 2:] * cell[2]


def _volume(cell):
    volume = abs(np.linalg.det(cell))
    return float(volume) if volume > 0 else math.nan


def _canonical_order(first, second, shifts, n_atoms):
    """Order of the pairs by first, second and shift."""
    low = shifts.min(axis=0, initial=0)
    spans = [int(span) for span in shifts.max(axis=0, initial=0) - low + 1]
    if n_atoms**2 * math.prod(spans) >= 2**62:
        return np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], second, first))
    key = first.astype(np.int64) * n_atoms + second
    for axis in range(3):
        key = key * spans[axis] + (shifts[:, axis] - low[axis])
    return np.argsort(key)
