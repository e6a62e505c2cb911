"""Features of structures: the container that stands between descriptor, steps and potential."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from mlfeat._cache import CACHE
from mlfeat._ext import pairs as _pairs

__all__ = ["AtomFeatures", "FeatureSet", "StructureFeatures"]

BLOCK_BYTES = 2**23  # of explicit Jacobian at a time: about a core's share of cache
BLOCK_ALIGN = 16  # centers; kernels work in batches of as many


class AtomFeatures(NamedTuple):
    """What an energy model needs of one structure.

    ``values`` (n_atoms, n_features), and ``species`` (n_atoms,), each center's number in the list of species.
    """

    values: np.ndarray
    species: np.ndarray


class StructureFeatures:
    """Features of one structure's atoms, with their derivatives on demand. Immutable and shared.

    Attributes
    ----------
    pairs : NeighborPairs
    values : array of shape (n_atoms, n_features)
        B_i; computed from the descriptor's features when first asked for, if there are steps.
    species : intp array of shape (n_atoms,)
        Each center's number in the list of species.
    n_species : int
    group : str
        ``atoms.info["group"]`` of the structure, or "".
    descriptor : Descriptor
        As it was when it made the features.
    steps : tuple of FeatureStep
        Applied to the descriptor's features one after the other.
    key : tuple
        Identifies descriptor, steps and structure; equal keys have equal features.
    """

    def __init__(self, pairs, descriptor_values, species, n_species, descriptor, *, steps=(), group="", key=None):
        self.pairs = pairs
        self.descriptor_values = descriptor_values
        self.species = species
        self.n_species = n_species
        self.descriptor = descriptor
        self.steps = steps
        self.group = group
        self.key = key

    def __repr__(self):
        return f"StructureFeatures(n_atoms={self.n_atoms}, n_features={self.n_features}, group={self.group!r})"

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in {"values", "_inputs"}}

    @property
    def n_atoms(self):
        """Number of atoms."""
        return self.pairs.n_atoms

    @property
    def n_features(self):
        """Number of features of an atom."""
        return self.values.shape[1]

    @cached_property
    def values(self):
        if not self.steps:
            return self.descriptor_values
        return _read_only(np.ascontiguousarray(self.steps[-1].apply(self._inputs[-1])))

    @cached_property
    def _inputs(self):
        """The values that each step acts on."""
        inputs = [self.descriptor_values]
        for step in self.steps[:-1]:
            inputs.append(step.apply(inputs[-1]))
        return inputs

    def vjp(self, cotangents):
        """Pair gradients (n_pairs, 3), g_ij = Σ_k c_ik ∂B_ik/∂r_ij, for cotangents c (n_atoms, n_features)."""
        if self.steps:
            for step, values in zip(reversed(self.steps), reversed(self._inputs), strict=True):
                cotangents = step.vjp(values, cotangents)
        return self.descriptor.vjp(self.pairs, np.ascontiguousarray(cotangents, dtype=float))

    def jvp(self, displacements):
        """Change (n_atoms, n_features) of the features for changes (n_pairs, 3) of the pair vectors."""
        tangents = self.descriptor.jvp(self.pairs, np.ascontiguousarray(displacements, dtype=float))
        if self.steps:
            tangents = tangents[:, None, :]
            for step, values in zip(self.steps, self._inputs, strict=True):
                tangents = step.jvp(values, tangents)
            tangents = tangents[:, 0, :]
        return tangents

    def jacobian(self, start=0, stop=None):
        """∂B_i/∂r_ij (n_block_pairs, 3, n_features) of the pairs of centers ``start:stop``."""
        stop = self.n_atoms if stop is None else stop
        tangents = self.descriptor.jacobian(self.pairs, start, stop)
        if self.steps:
            center = self.pairs.first[slice(*self.pairs.offsets[[start, stop]])]
            for step, values in zip(self.steps, self._inputs, strict=True):
                tangents = step.jvp(values[center], tangents)
        return tangents

    def rows(self):
        """Rows of the design matrix (1 + 3 n_atoms + 6, n_species * n_features), read-only.

        Row 0 is the energy, Σ_i B_i; rows 1 + 3a + x the force on atom a along x, -∂(Σ_i B_i)/∂r_ax; the last six the stress,
        (1/V) Σ r_ij ⊗ ∂B_i/∂r_ij in Voigt order (NaN without a volume). Column s * n_features + k takes the part of the
        centers of species s, so that ``rows @ coefficients.ravel()`` is energy, forces and stress of a potential with
        E_i = coefficients[species_i] · B_i.
        """
        key = None if self.key is None else ("rows", self.key)
        rows = None if key is None else CACHE.get(key)
        if rows is None:
            rows = _read_only(self._rows())
            if key is not None:
                CACHE.put(key, rows, rows.nbytes)
        return rows

    def _rows(self):
        if not self.steps:
            return self.descriptor.rows(self.pairs, self.values)
        return assemble_rows(self.pairs, self.values, self.species, self.n_species, self.jacobian)

    def then(self, step, step_key=None):
        """The features after one more step, a fitted FeatureStep."""
        key = None if self.key is None or step_key is None else (*self.key, step_key)
        return StructureFeatures(
            self.pairs,
            self.descriptor_values,
            self.species,
            self.n_species,
            self.descriptor,
            steps=(*self.steps, step),
            group=self.group,
            key=key,
        )


class FeatureSet:
    """Features of several structures, indexable by structure as scikit-learn's splitters do.

    ``X[3]`` is the `StructureFeatures` of one structure; a slice, an index array or a mask gives a FeatureSet that shares the
    items. ``np.asarray(X)`` is (n_structures, n_features), each structure's sum over its atoms, so that scikit-learn's own
    estimators can work on energies.

    Parameters
    ----------
    items : sequence of StructureFeatures
    feature_names : sequence of str
    """

    dtype = np.dtype(float)
    ndim = 2

    def __init__(self, items, feature_names):
        self.items = tuple(items)
        self.feature_names = np.asarray(feature_names, dtype=object)

    @property
    def shape(self):
        """(n_structures, n_features)."""
        return len(self.items), len(self.feature_names)

    @property
    def values(self):
        """Features of all atoms of all structures, (n_atoms in total, n_features)."""
        return np.concatenate([np.empty((0, self.shape[1])), *(item.values for item in self.items)])

    @property
    def groups(self):
        """Group of each structure, an array of str."""
        return np.array([item.group for item in self.items])

    def __repr__(self):
        return f"FeatureSet(n_structures={self.shape[0]}, n_features={self.shape[1]})"

    def __len__(self):
        return len(self.items)

    def __iter__(self):
        return iter(self.items)

    def __getitem__(self, key):
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] is not Ellipsis:
                raise IndexError(f"{key!r}: a FeatureSet is indexed by structure only; np.asarray(X) is an array")
            key = key[0]
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            return self.items[key]
        return FeatureSet([self.items[k] for k in np.arange(len(self))[key]], self.feature_names)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("a FeatureSet has no array to share; use np.asarray(X)")
        sums = np.empty(self.shape)
        for row, item in zip(sums, self.items, strict=True):
            row[:] = item.values.sum(axis=0)
        return sums if dtype is None else sums.astype(dtype)

    def then(self, step, feature_names):
        """The set after one more step, a fitted FeatureStep."""
        step_key = step.cache_key()
        return FeatureSet([item.then(step, step_key) for item in self.items], feature_names)


def assemble_rows(pairs, values, species, n_species, jacobian):
    """Design-matrix rows from values (N, F) and ``jacobian(start, stop)`` in blocks of centers; see StructureFeatures.rows."""
    n_features = values.shape[1]
    rows = np.zeros((1 + 3 * pairs.n_atoms + 6, n_species * n_features))
    for s in range(n_species):
        rows[0, s * n_features : (s + 1) * n_features] = values[species == s].sum(axis=0)
    species = np.ascontiguousarray(species, dtype=np.intp)
    for start, stop in center_blocks(pairs.offsets, n_features):
        block = np.ascontiguousarray(jacobian(start, stop))
        _pairs.scatter_rows(
            block, pairs.offsets[start], pairs.first, pairs.second, species, pairs.vectors, 1 / pairs.volume, rows
        )
    if not pairs.volume > 0:
        rows[-6:] = np.nan
    return rows


def center_blocks(offsets, n_features, limit=BLOCK_BYTES):
    """Ranges of centers whose Jacobians (n_pairs, 3, n_features) take at most `limit` bytes, as far as alignment allows."""
    n_atoms = len(offsets) - 1
    most_pairs = max(1, limit // (24 * max(1, n_features)))
    start = 0
    while start < n_atoms:
        stop = int(np.searchsorted(offsets, offsets[start] + most_pairs, side="right")) - 1
        stop = max(start + BLOCK_ALIGN, stop - (stop - start) % BLOCK_ALIGN)
        stop = min(stop, n_atoms)
        yield start, stop
        start = stop


def _read_only(array):
    array.flags.writeable = False
    return array
