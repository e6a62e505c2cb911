"""Features of structures: the container that stands between descriptor, steps and potential."""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mlfeat._cache import CACHE
from mlfeat._ext import pairs as _pairs

__all__ = ["AtomFeatures", "FeatureSet", "Projection", "StructureFeatures"]

BLOCK_BYTES = 2**23  # of explicit derivatives at a time: what stays near a core
BLOCK_ALIGN = 16  # centers; kernels work on batches of as many
TILE = 512, 256  # derivatives and points whose products stay in a core's cache, measured


class AtomFeatures(NamedTuple):
    """What an energy model needs of a structure.

    Attributes
    ----------
    values : array of shape (n_atoms, n_features)
        Features B_i of each atom.
    species : intp array of shape (n_atoms,)
        Each atom's place in the list of species.
    """

    values: np.ndarray
    species: np.ndarray


class Projection(NamedTuple):
    """Functions f_s of an atom's features, in number n_points, by their derivatives ∂f_s/∂B_i = slopes_is U P_s.

    Attributes
    ----------
    points : array of shape (n_points, n_columns) or (n_points, rank)
        The P_s.
    slopes : array of shape (n_atoms, n_points)
        Factors at each atom.
    start, stop : int
        The functions depend on the features ``start:stop``, n_columns of them.
    species : int or None
        Only atoms of this one have the functions; None: all.
    basis : array of shape (n_columns, rank) or None
        U; None stands for 1.
    """

    points: np.ndarray
    slopes: np.ndarray
    start: int
    stop: int
    species: int | None = None
    basis: np.ndarray | None = None


class StructureFeatures:
    """Features of one structure's atoms, with their derivatives on demand.

    Descriptors make them, in `Descriptor.transform`. Objects are immutable and shared between sets.

    Parameters
    ----------
    pairs : NeighborPairs
        The structure and its neighbor list.
    descriptor_values : array of shape (n_atoms, n_descriptor_features)
        Features that the descriptor gave.
    species : intp array of shape (n_atoms,)
        Each atom's place in the list of species.
    n_species : int
        Length of that list.
    descriptor : Descriptor
        As it was when it made the features.
    steps : tuple of FeatureStep, default=()
        Applied to the descriptor's features, one after the other.
    group : str, default=""
        The structure's group, ``atoms.info["group"]``.
    key : tuple, default=None
        Names descriptor, steps and structure in the cache; None keeps nothing there.
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
        return {name: value for name, value in self.__dict__.items() if name != "_stages"}

    @property
    def n_atoms(self):
        """Number of atoms."""
        return self.pairs.n_atoms

    @property
    def n_features(self):
        """Number of features of an atom."""
        return self.values.shape[1]

    @property
    def values(self):
        """Features B (n_atoms, n_features), read-only; steps are applied when first asked for."""
        return self._stages[-1]

    @cached_property
    def _stages(self):
        """Features before, between and behind the steps."""
        stages = [self.descriptor_values]
        for step in self.steps:
            stages.append(_read_only(step.apply(stages[-1], self.species)))
        return stages

    def vjp(self, cotangents):
        """Pull cotangents of the features back to the pairs: g_ij = Σ_k c_ik ∂B_ik/∂r_ij.

        Parameters
        ----------
        cotangents : array of shape (n_atoms, n_features)
            The c, as ∂E/∂B.

        Returns
        -------
        array of shape (n_pairs, 3)
            Pair gradients g.
        """
        for step, values in zip(reversed(self.steps), reversed(self._stages[:-1]), strict=True):
            cotangents = step.vjp(values, cotangents, self.species)
        return self.descriptor.vjp(self.pairs, np.ascontiguousarray(cotangents, dtype=float))

    def jvp(self, displacements):
        """Push changes of the pair vectors forward to the features: Σ_j u_ij · ∂B_ik/∂r_ij.

        Parameters
        ----------
        displacements : array of shape (n_pairs, 3)
            The u.

        Returns
        -------
        array of shape (n_atoms, n_features)
            Change of the features.
        """
        tangents = self.descriptor.jvp(self.pairs, np.ascontiguousarray(displacements, dtype=float))
        return self._through_steps(tangents[:, None, :], slice(None))[:, 0, :]

    def jacobian(self, start=0, stop=None):
        """Derive the features of some centers with respect to the vectors to their neighbors.

        Parameters
        ----------
        start, stop : int
            The centers ``start:stop``; all of them by default.

        Returns
        -------
        array of shape (n_block_pairs, 3, n_features)
            The ∂B_i/∂r_ij of the pairs of these centers.
        """
        stop = self.n_atoms if stop is None else stop
        tangents = self.descriptor.jacobian(self.pairs, start, stop)
        return self._through_steps(tangents, self.pairs.first[self.pairs.offsets[start] : self.pairs.offsets[stop]])

    def _through_steps(self, tangents, centers):
        """Push tangents (M, K, n) of the descriptor's features, those of `centers`, forward through the steps."""
        species = self.species[centers]
        for step, values in zip(self.steps, self._stages[:-1], strict=True):
            tangents = step.jvp(values[centers], tangents, species)
        return tangents

    def rows(self):
        """Make the structure's rows of the design matrix.

        Row 0 is the energy, Σ_i B_i. Row 1 + 3a + x is the force on atom a along x, -∂(Σ_i B_i)/∂r_ax. The last six are
        the stress, (1/V) Σ r_ij ⊗ ∂B_i/∂r_ij, in Voigt order xx yy zz yz xz xy; NaN without a volume. Column
        s * n_features + k takes the part of the centers of species s, so that ``rows @ coefficients.ravel()`` is the
        energy, the forces and the stress of a potential with E_i = coefficients[species_i] · B_i.

        Returns
        -------
        array of shape (1 + 3 n_atoms + 6, n_species * n_features)
            Read-only, and kept in the cache.
        """
        if self.key is None:
            return _read_only(self._rows())
        key = ("rows", self.key)
        rows = CACHE.get(key)
        if rows is None:
            rows = _read_only(self._rows())
            CACHE.put(key, rows, rows.nbytes)
        return rows

    def _rows(self):
        if not self.steps:
            return self.descriptor.rows(self.pairs, self.values)
        return assemble_rows(self.pairs, self.values, self.species, self.n_species, self.jacobian)

    def projected_rows(self, projections):
        """Make the force and stress rows of the functions Σ_i f_s(B_i), as `rows` makes those of the features.

        Derivatives of the features are formed for some centers at a time, those with respect to images of one atom are
        summed, and one matrix product with the points serves all functions.

        Parameters
        ----------
        projections : list of Projection
            The functions.

        Returns
        -------
        array of shape (3 n_atoms + 6, n_functions)
            Forces and stresses, with one column a function, projection after projection.
        """
        return project_rows(self.pairs, self.species, projections, self.n_features, self.jacobian)

    def merged_derivatives(self):
        """Derive the features of each atom with respect to positions and strain, images of one atom summed.

        Measurements 0 to 3 n_atoms - 1 are the components of the forces, the next six those of the stress: with
        cotangents c each is Σ_m t_m · c_owner(m) over its rows t.

        Returns
        -------
        rows : array of shape (n_rows, n_features)
            The t, measurement after measurement.
        owners : intp array of shape (n_rows,)
            Atom whose features each belongs to.
        starts : intp array of shape (3 n_atoms + 7,)
            Rows of measurement k are ``starts[k]:starts[k + 1]``.
        """
        return merge_derivatives(self.pairs, self.n_features, self.jacobian)

    def then(self, step, step_key=None):
        """Append a step.

        Parameters
        ----------
        step : FeatureStep
            A fitted one, which must not change any more.
        step_key : str, default=None
            Its name in the cache; None keeps nothing there.

        Returns
        -------
        StructureFeatures
            Of the same structure.
        """
        key = None if self.key is None or step_key is None else (*self.key, step_key)
        first = (self.pairs, self.descriptor_values, self.species, self.n_species, self.descriptor)
        return StructureFeatures(*first, steps=(*self.steps, step), group=self.group, key=key)


class FeatureSet:
    """Features of several structures, indexed by structure as scikit-learn's splitters do.

    ``X[3]`` is the `StructureFeatures` of one structure; a slice, an index array or a mask gives a FeatureSet that
    shares the items. ``np.asarray(X)`` is (n_structures, n_features), each structure's sum over its atoms, so that
    scikit-learn's own estimators can work on energies.

    Parameters
    ----------
    items : sequence of StructureFeatures
        One a structure.
    feature_names : sequence of str
        Names of an atom's features.
    """

    dtype = np.dtype(float)
    ndim = 2

    def __init__(self, items, feature_names):
        self.items = tuple(items)
        self.feature_names = np.asarray(feature_names, dtype=object)

    @property
    def shape(self):
        """Numbers of structures and of features."""
        return len(self.items), len(self.feature_names)

    @property
    def values(self):
        """Features of all atoms of all structures, (n_atoms in total, n_features)."""
        return np.concatenate([np.empty((0, self.shape[1])), *(item.values for item in self.items)])

    @property
    def species(self):
        """Each atom's place in the list of species, all atoms of all structures, (n_atoms in total,)."""
        return np.concatenate([np.empty(0, dtype=np.intp), *(item.species for item in self.items)])

    @property
    def groups(self):
        """Group of each structure, an array of str."""
        return np.array([item.group for item in self.items], dtype=str)

    def __repr__(self):
        return f"FeatureSet(n_structures={self.shape[0]}, n_features={self.shape[1]})"

    def __len__(self):
        return len(self.items)

    def __iter__(self):
        return iter(self.items)

    def __getitem__(self, key):
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] is not Ellipsis:
                raise IndexError("a FeatureSet is indexed by structure only; np.asarray(X) is an array")
            key = key[0]
        chosen = np.arange(len(self))[key]
        if chosen.ndim == 0:
            return self.items[chosen]
        return FeatureSet([self.items[k] for k in chosen], self.feature_names)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("the sums over atoms are made anew; use np.asarray(X)")
        sums = np.empty(self.shape)
        for row, item in zip(sums, self.items, strict=True):
            row[:] = item.values.sum(axis=0)
        return sums if dtype is None else sums.astype(dtype)

    def then(self, step, feature_names):
        """Append a step.

        Parameters
        ----------
        step : FeatureStep
            A fitted one, which must not change any more.
        feature_names : sequence of str
            Names of the features that it makes.

        Returns
        -------
        FeatureSet
            Of the same structures.
        """
        key = step.cache_key()
        return FeatureSet([item.then(step, key) for item in self.items], feature_names)


def assemble_rows(pairs, values, species, n_species, jacobian):
    """Make design-matrix rows from explicit Jacobians, in blocks of centers; see `StructureFeatures.rows`.

    Parameters
    ----------
    pairs : NeighborPairs
        The structure.
    values : array of shape (n_atoms, n_features)
        Its features.
    species : intp array of shape (n_atoms,)
        Each atom's place in the list of species.
    n_species : int
        Length of that list.
    jacobian : callable
        ``jacobian(start, stop)`` (n_block_pairs, 3, n_features), see `Descriptor.jacobian`.

    Returns
    -------
    array of shape (1 + 3 n_atoms + 6, n_species * n_features)
        Energy, force and stress rows.
    """
    n_atoms, n_features = values.shape
    rows = np.zeros((1 + 3 * n_atoms + 6, n_species * n_features))
    for s in range(n_species):
        rows[0, s * n_features : (s + 1) * n_features] = values[species == s].sum(axis=0)
    fixed = pairs.first, pairs.second, species, pairs.vectors, 1 / pairs.volume, rows
    for start, stop in center_blocks(pairs.offsets, n_features):
        _pairs.scatter_rows(np.ascontiguousarray(jacobian(start, stop)), pairs.offsets[start], *fixed)
    if math.isnan(pairs.volume):  # without pairs it is still zero
        rows[-6:] = math.nan
    return rows


def project_rows(pairs, species, projections, n_features, jacobian):
    """Make force and stress rows of functions of the features; see `StructureFeatures.projected_rows`.

    Parameters
    ----------
    pairs : NeighborPairs
        The structure.
    species : intp array of shape (n_atoms,)
        Each atom's place in the list of species.
    projections : list of Projection
        The functions.
    n_features : int
        Number of features of an atom.
    jacobian : callable
        ``jacobian(start, stop)`` (n_block_pairs, 3, n_features), see `Descriptor.jacobian`.

    Returns
    -------
    array of shape (3 n_atoms + 6, n_functions)
        Force and stress rows.
    """
    out = np.zeros((3 * pairs.n_atoms + 6, sum(len(projection.points) for projection in projections)))
    fixed = pairs.second, pairs.vectors, 1 / pairs.volume
    for start, stop in center_blocks(pairs.offsets, n_features):
        first, last = pairs.offsets[start], pairs.offsets[stop]
        if first == last:
            continue
        derivatives = np.ascontiguousarray(jacobian(start, stop))
        merged = np.empty((9 * (stop - start) + 3 * (last - first), n_features))
        places, owners = np.empty((2, len(merged)), dtype=np.intp)
        for s in np.unique(species[start:stop]):
            centers = start + np.flatnonzero(species[start:stop] == s)
            n = _pairs.merge_gradients(derivatives, centers, pairs.offsets, first, *fixed, merged, places, owners)
            _add_projections(merged[:n], places, owners, projections, s, out)
    if math.isnan(pairs.volume):  # without pairs it is still zero
        out[-6:] = math.nan
    return out


def merge_derivatives(pairs, n_features, jacobian):
    """Derivatives of the features, sorted by force and stress components; see `StructureFeatures.merged_derivatives`.

    Parameters
    ----------
    pairs : NeighborPairs
        The structure.
    n_features : int
        Number of features of an atom.
    jacobian : callable
        ``jacobian(start, stop)`` (n_block_pairs, 3, n_features), see `Descriptor.jacobian`.

    Returns
    -------
    rows, owners, starts : arrays
        As there.
    """
    parts = []
    fixed = pairs.second, pairs.vectors, 1 / pairs.volume
    for start, stop in center_blocks(pairs.offsets, n_features):
        first, last = pairs.offsets[start], pairs.offsets[stop]
        size = 9 * (stop - start) + 3 * (last - first)
        rows, places, owners = np.empty((size, n_features)), *np.empty((2, size), dtype=np.intp)
        derivatives, centers = np.ascontiguousarray(jacobian(start, stop)), np.arange(start, stop)
        n = _pairs.merge_gradients(derivatives, centers, pairs.offsets, first, *fixed, rows, places, owners)
        parts.append((rows[:n], places[:n], owners[:n]))
    rows, places, owners = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(3 * pairs.n_atoms + 7))
    return rows[order], owners[order], starts


def _add_projections(merged, places, owners, projections, species, out):
    """Add derivatives with respect to coordinates (n, n_features) of some centers of one species, times the points."""
    column = 0
    for points, slopes, start, stop, own_species, basis in projections:
        if own_species in (species, None):
            for a, b in _tiles(len(merged), TILE[0]):
                own = merged[a:b, start:stop] if basis is None else merged[a:b, start:stop] @ basis
                for c, d in _tiles(len(points), TILE[1]):
                    product = own @ points[c:d].T
                    _pairs.add_weighted_rows(product, places[a:b], owners[a:b], slopes, c, out, column + c)
        column += len(points)


def _tiles(n, size):
    return [(start, min(n, start + size)) for start in range(0, n, size)]


def center_blocks(offsets, n_features, limit=BLOCK_BYTES):
    """Divide centers into blocks whose Jacobians fit in memory.

    Parameters
    ----------
    offsets : array of shape (n_atoms + 1,)
        The pairs of center i are ``offsets[i]:offsets[i + 1]``.
    n_features : float
        A Jacobian has (n_pairs, 3, n_features) numbers.
    limit : int, default=BLOCK_BYTES
        Bytes of a block; `BLOCK_ALIGN` centers are the least.

    Yields
    ------
    start, stop : int
        The block's centers.
    """
    n_atoms = len(offsets) - 1
    most_pairs = limit / (24 * max(1, n_features))
    start = 0
    while start < n_atoms:
        stop = int(np.searchsorted(offsets, offsets[start] + most_pairs, side="right")) - 1
        stop = max(start + BLOCK_ALIGN, stop - stop % BLOCK_ALIGN)
        yield start, min(stop, n_atoms)
        start = stop


def _read_only(array):
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
