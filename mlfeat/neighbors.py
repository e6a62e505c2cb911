"""Neighbor lists: from a structure to the vectors between its atoms."""

import math
import numbers as abstract

import ase
import numpy as np
from ase.data import chemical_symbols
from vesin import NeighborList

from mlfeat._ext import pairs as _pairs

__all__ = ["NeighborPairs"]

MIN_DISTANCE = 0.1  # Å; no two atoms are closer
MOST_KEYS = 2**16  # of one pass of the counting sort

_GIVEN = ("numbers", "positions", "cell", "pbc", "first", "second", "shifts", "cutoff")
_DERIVED = ("offsets", "shift_vectors", "vectors", "volume")
_KEPT = tuple(name for name in _GIVEN + _DERIVED if name not in {"positions", "vectors"})  # as atoms move


class NeighborPairs:
    r"""Pairs of atoms closer than a cutoff, sorted by their first atom.

    Pair p goes from the center i = ``first[p]`` to atom j = ``second[p]`` in its periodic image S = ``shifts[p]``:

    .. math:: r_{ij} = r_j - r_i + S \cdot \mathrm{cell}.

    Each pair is there in both directions, and an atom's own images are neighbors like all others. The order, by first,
    second and shift, is the same in every run. Objects are immutable: their arrays are read-only, and `moved` gives a
    new one. :meth:`from_atoms` is the usual way to make one.

    Parameters
    ----------
    numbers : array of shape (n_atoms,)
        Atomic numbers.
    positions : array of shape (n_atoms, 3)
        Positions, Å.
    cell : array of shape (3, 3)
        Its rows are the lattice vectors, Å; zeros where there is none.
    pbc : array of shape (3,)
        Which lattice vectors are periods.
    first, second : int32 array of shape (n_pairs,)
        Atoms of each pair, sorted by `first`.
    shifts : int32 array of shape (n_pairs, 3)
        Periodic image of the second atom.
    cutoff : float
        Radius of the list, Å. It may exceed what a descriptor needs (a Verlet skin).

    Attributes
    ----------
    offsets : intp array of shape (n_atoms + 1,)
        The pairs of center i are ``offsets[i]:offsets[i + 1]``.
    vectors : array of shape (n_pairs, 3)
        The r_ij, Å.
    shift_vectors : array of shape (n_pairs, 3)
        The S·cell, Å.
    volume : float
        Volume of the cell, Å³; NaN unless it has three independent vectors.
    """

    __slots__ = (*_GIVEN, *_DERIVED)

    def __init__(self, numbers, positions, cell, pbc, first, second, shifts, cutoff):
        arrays = {
            "numbers": np.array(numbers, dtype=np.int64),
            "positions": np.array(positions, dtype=float, order="C").reshape(-1, 3),
            "cell": np.array(cell, dtype=float, order="C"),
            "pbc": np.array(pbc, dtype=bool),
            "first": np.array(first, dtype=np.int32),
            "second": np.array(second, dtype=np.int32),
            "shifts": np.array(shifts, dtype=np.int32, order="C").reshape(-1, 3),
        }
        arrays["offsets"] = np.searchsorted(arrays["first"], np.arange(len(arrays["numbers"]) + 1))
        arrays["shift_vectors"] = _pairs.shift_vectors(arrays["shifts"], arrays["cell"])
        for name, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "cutoff", float(cutoff))
        object.__setattr__(self, "volume", _volume(self.cell))
        object.__setattr__(self, "vectors", self._vectors(self.positions))

    def __setattr__(self, name, value):
        raise AttributeError(f"NeighborPairs is immutable: cannot set {name!r}; make a new one")

    def __delattr__(self, name):
        self.__setattr__(name, None)

    def __reduce__(self):
        return NeighborPairs, tuple(getattr(self, name) for name in _GIVEN)

    def __repr__(self):
        return f"NeighborPairs(n_atoms={self.n_atoms}, n_pairs={self.n_pairs}, cutoff={self.cutoff:g})"

    @classmethod
    def from_atoms(cls, atoms, cutoff, *, index=0):
        """Build the list of a structure.

        Parameters
        ----------
        atoms : ase.Atoms
            Any cell will do: none, triclinic, smaller than the cutoff, periodic in some directions only.
        cutoff : float
            Radius, Å.
        index : int, default=0
            Number that error messages give the structure.

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
        search = NeighborList(cutoff=float(cutoff), full_list=True, sorted=False, n_threads=1)
        found = search.compute(positions, cell, np.array(atoms.pbc), "ijS", copy=False)
        first, second, shifts = (np.ascontiguousarray(part, dtype=np.int32) for part in found)
        order = _canonical_order(first, second, shifts, len(atoms))
        first, second, shifts = (part.take(order, axis=0) for part in (first, second, shifts))
        pairs = cls(atoms.numbers, positions, cell, atoms.pbc, first, second, shifts, cutoff)
        _check_distances(pairs, index)
        return pairs

    def moved(self, positions, cell=None):
        """Move the atoms, and the cell, and keep the pairs.

        The result is a neighbor list of radius c as long as ``covers(positions, cell, c)``.

        Parameters
        ----------
        positions : array of shape (n_atoms, 3)
            New positions, Å, continuous with the old ones: not wrapped back into the cell.
        cell : array of shape (3, 3), optional
            New lattice vectors, Å; the old ones if not given.

        Returns
        -------
        NeighborPairs
            With the same topology, and new vectors.
        """
        positions = np.array(positions, dtype=float, order="C")
        if positions.shape != self.positions.shape:
            raise ValueError(
                f"positions of shape {positions.shape} for a list of {self.n_atoms} atoms; build a new list"
            )
        positions.flags.writeable = False
        new, put = object.__new__(NeighborPairs), object.__setattr__
        for name in _KEPT:
            put(new, name, getattr(self, name))
        put(new, "positions", positions)
        if cell is not None and not np.array_equal(cell, self.cell):
            new._set_cell(np.array(cell, dtype=float, order="C"))
        put(new, "vectors", new._vectors(positions))
        return new

    def _set_cell(self, cell):
        shift_vectors = _pairs.shift_vectors(self.shifts, cell)
        for name, array in (("cell", cell), ("shift_vectors", shift_vectors)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "volume", _volume(cell))

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
        """Lengths (n_pairs,) of the vectors, Å."""
        return np.sqrt(np.einsum("px,px->p", self.vectors, self.vectors))

    @property
    def nbytes(self):
        """Memory that the arrays take, bytes."""
        return sum(getattr(self, name).nbytes for name in self.__slots__ if name not in {"cutoff", "volume"})

    def forces(self, gradients):
        """Sum pair gradients to forces: F_i += g_ij, F_j -= g_ij.

        Parameters
        ----------
        gradients : array of shape (n_pairs, 3)
            The g_ij = ∂E/∂r_ij, eV/Å.

        Returns
        -------
        array of shape (n_atoms, 3)
            Forces, eV/Å.
        """
        return _pairs.pair_forces(self._per_pair(gradients), self.first, self.second, len(self.numbers))

    def virial(self, gradients):
        """Sum pair gradients to the virial Σ r_ij ⊗ g_ij, the derivative of the energy with respect to strain.

        Parameters
        ----------
        gradients : array of shape (n_pairs, 3)
            The g_ij = ∂E/∂r_ij, eV/Å.

        Returns
        -------
        array of shape (3, 3)
            Virial, eV.
        """
        return _pairs.pair_virial(self.vectors, self._per_pair(gradients))

    def virials(self, gradients):
        """Sum pair gradients to the virials of the centers, Σ_j r_ij ⊗ g_ij; the whole virial is their sum.

        Parameters
        ----------
        gradients : array of shape (n_pairs, 3)
            The g_ij = ∂E/∂r_ij, eV/Å.

        Returns
        -------
        array of shape (n_atoms, 3, 3)
            Virials, eV.
        """
        return _pairs.center_virials(self.vectors, self._per_pair(gradients), self.offsets)

    def stress(self, gradients):
        """Sum pair gradients to the stress, the virial over the volume.

        Parameters
        ----------
        gradients : array of shape (n_pairs, 3)
            The g_ij = ∂E/∂r_ij, eV/Å.

        Returns
        -------
        array of shape (6,)
            Stress, Voigt xx yy zz yz xz xy, ASE's sign, eV/Å³; NaN if there is no volume.
        """
        return voigt(self.virial(gradients)) / self.volume

    def _per_pair(self, gradients):
        if gradients.shape != self.vectors.shape:
            raise ValueError(f"pair gradients of shape {gradients.shape}, expected {self.vectors.shape}")
        return gradients

    def max_displacement(self, positions):
        """Measure how far the atoms would move.

        Parameters
        ----------
        positions : array of shape (n_atoms, 3)
            Other positions, Å.

        Returns
        -------
        float
            Largest distance between an atom here and there, Å; NaN if a position is.
        """
        positions = np.ascontiguousarray(positions, dtype=float)
        if positions.shape != self.positions.shape:
            raise ValueError(f"positions of shape {positions.shape} for a list of {self.n_atoms} atoms")
        return math.sqrt(_pairs.max_squared_displacement(positions, self.positions))

    def covers(self, positions, cell, cutoff):
        r"""Whether the list still has all pairs within a distance, after atoms and cell moved.

        With the strain F that takes the old cell to the new one, and d the largest distance of an atom from where F
        would take it, a pair that is not in the list was farther than its radius R and is now farther than
        :math:`\sigma_{min}(F) R - 2 d`.

        Parameters
        ----------
        positions : array of shape (n_atoms, 3)
            New positions, Å.
        cell : array of shape (3, 3)
            New lattice vectors, Å.
        cutoff : float
            The distance, Å.

        Returns
        -------
        bool
            False also if it cannot be told: positions are NaN, or the cell changed and has no three vectors.
        """
        if np.array_equal(cell, self.cell):
            return self.cutoff - 2 * self.max_displacement(positions) >= cutoff
        if math.isnan(self.volume):
            return False
        strain = np.linalg.solve(self.cell, cell)
        reach = self.cutoff * np.linalg.svd(strain, compute_uv=False)[-1]
        displacement = np.linalg.norm(positions - self.positions @ strain, axis=1).max()
        return bool(reach - 2 * displacement >= cutoff)

    def to_atoms(self):
        """Make the structure anew.

        Returns
        -------
        ase.Atoms
            Without a calculator.
        """
        return ase.Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)


def voigt(tensor):
    """Average a tensor with its transpose into Voigt form.

    Parameters
    ----------
    tensor : array of shape (3, 3)
        Any tensor.

    Returns
    -------
    array of shape (6,)
        In the order xx yy zz yz xz xy.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = tensor.tolist()
    return np.array([xx, yy, zz, 0.5 * (yz + zy), 0.5 * (xz + zx), 0.5 * (xy + yx)])


def check_cutoff(cutoff):
    """Raise unless a cutoff is a positive, finite number.

    Parameters
    ----------
    cutoff : object
        What is checked.
    """
    if not isinstance(cutoff, abstract.Real) or isinstance(cutoff, bool) or not 0 < cutoff < math.inf:
        raise ValueError(f"cutoff={cutoff!r}: must be a positive number, in Å")


def check_structures(structures):
    """Check a list of structures, before any work.

    Parameters
    ----------
    structures : list of ase.Atoms
        What is checked; any other iterable will do.

    Returns
    -------
    list of ase.Atoms

    Raises
    ------
    TypeError
        If it is a single structure, or if something in it is not an ase.Atoms.
    ValueError
        If it is empty, or if one of its structures is as `check_atoms` says.
    """
    if isinstance(structures, ase.Atoms):
        raise TypeError("got one ase.Atoms, expected a list of them; pass [atoms]")
    if isinstance(structures, (str, bytes)) or not hasattr(structures, "__iter__"):
        kind = type(structures).__name__
        raise TypeError(f"expected a list of ase.Atoms, got {kind}; read a file with ase.io.read(path, ':')")
    structures = list(structures)
    if not structures:
        raise ValueError("got an empty list of structures; pass at least one")
    for index, atoms in enumerate(structures):
        check_atoms(atoms, index)
    return structures


def check_atoms(atoms, index=0):
    """Raise unless a structure can have a neighbor list.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    index : int, default=0
        Number that error messages give it.

    Raises
    ------
    TypeError
        If it is not an ase.Atoms.
    ValueError
        If it is empty, has an atom of no element, a position that is not finite, or a period without an independent
        lattice vector.
    """
    if not isinstance(atoms, ase.Atoms):
        raise TypeError(f"structure {index} is of type {type(atoms).__name__}, expected ase.Atoms")
    if len(atoms) == 0:
        raise ValueError(f"structure {index} is empty; remove it from the list")
    known = (atoms.numbers > 0) & (atoms.numbers < len(chemical_symbols))
    if not known.all():
        atom = int(np.argmin(known))
        raise ValueError(
            f"structure {index}: atom {atom} has the atomic number {atoms.numbers[atom]} (ASE's 'X' is 0), that of no "
            "element; set its symbol in atoms.symbols, or remove the atom"
        )
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        atom = int(np.argmin(finite))
        raise ValueError(
            f"structure {index}: the position of atom {atom} is {atoms.positions[atom].tolist()}; "
            "remove the structure, or repair its positions"
        )
    _check_cell(atoms.cell.array, atoms.pbc, index)


def _check_cell(cell, pbc, index):
    if not np.isfinite(cell).all():
        raise ValueError(f"structure {index}: the cell is {cell.tolist()}; repair it with atoms.set_cell")
    if pbc.any() and not _independent(cell[pbc]):
        raise ValueError(
            f"structure {index}: pbc={pbc.tolist()}, but the lattice vectors {cell[pbc].tolist()} are zero or "
            "dependent; set the cell with atoms.set_cell, or set atoms.pbc = False"
        )


def _independent(vectors):
    """Whether the rows span as many dimensions as they are, beyond rounding."""
    lengths = np.linalg.norm(vectors, axis=1)
    if not (lengths > 1e-6).all():
        return False
    return np.linalg.svd(vectors / lengths[:, None], compute_uv=False)[-1] > 1e-8


def _volume(cell):
    return float(abs(np.linalg.det(cell))) if _independent(cell) else math.nan


def _check_distances(pairs, index):
    if pairs.n_pairs == 0:
        return
    distances = pairs.distances
    p = int(np.argmin(distances))
    if distances[p] < MIN_DISTANCE:
        raise ValueError(
            f"structure {index}: atoms {pairs.first[p]} and {pairs.second[p]} are {distances[p]:.2g} Å apart, on top "
            f"of each other (less than {MIN_DISTANCE} Å); remove one of them, or the structure"
        )


def _canonical_order(first, second, shifts, n_atoms):
    """Order of the pairs by first, second and shift."""
    columns = np.ascontiguousarray(shifts.T)  # NumPy takes extremes along contiguous axes ten times as fast
    low = columns.min(axis=1, initial=0)
    sx, sy, sz = columns - low[:, None]
    nx, ny, nz = (columns.max(axis=1, initial=0) - low + 1).tolist()
    if nx * ny * nz > MOST_KEYS:
        return np.lexsort((sz, sy, sx, second, first))
    order = np.arange(len(first))
    for keys, n_keys in (((sx * ny + sy) * nz + sz, nx * ny * nz), (second, n_atoms), (first, n_atoms)):
        order = _pairs.stable_order(keys, n_keys, order)[0]
    return order
