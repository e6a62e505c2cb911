"""What a descriptor promises."""

from functools import lru_cache, partial
from typing import NamedTuple

import joblib
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mlfeat._cache import CACHE, structure_hash
from mlfeat._cluster import on_cluster
from mlfeat._parallel import run_chunks
from mlfeat.base._keyed import Keyed
from mlfeat.base._tasks import compute_tasks, divide
from mlfeat.features import FeatureSet, StructureFeatures, assemble_rows, center_blocks
from mlfeat.neighbors import NeighborPairs, check_cutoff, check_structures
from mlfeat.targets import get_group


class FeatureBlock(NamedTuple):
    """Features of an atom that belong to one kernel.

    Attributes
    ----------
    name : str
        Its name, as a potential's parameters have it.
    start, stop : int
        The features ``start:stop``.
    covariance : array of shape (stop - start, stop - start), or None
        None: features B for a kernel of dot products, k(i, j) = (B_i · B_j)^ζ. Else the features are the kernel's own
        functions, B_is = k(i, s) for points s that the descriptor chose, and this is k(s, t).
    """

    name: str
    start: int
    stop: int
    covariance: np.ndarray | None = None


class Descriptor(Keyed, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Base of descriptors: differentiable maps from pair vectors to features of atoms.

    They are transformers, from a list of ase.Atoms to a FeatureSet. With B_ik, feature k of atom i, a function of the
    vectors r_ij to the neighbors j, a descriptor has five operations on a NeighborPairs with N atoms and P pairs:

    =============  ======================================================  ==================
    operation      result                                                  shape
    =============  ======================================================  ==================
    ``values``     B_ik                                                    (N, F)
    ``jacobian``   ∂B_ik/∂r_ij of the pairs of some centers                (P_block, 3, F)
    ``vjp``        g_ij = Σ_k c_ik ∂B_ik/∂r_ij for cotangents c (N, F)     (P, 3)
    ``jvp``        Σ_j u_ij · ∂B_ik/∂r_ij for displacements u (P, 3)       (N, F)
    ``rows``       energy, force and stress rows of the design matrix      (1 + 3N + 6, S F)
    =============  ======================================================  ==================

    A subclass implements `_setup`, `values` and `jacobian`, and has `species` and `n_jobs` among its parameters. It
    overrides `vjp` and `values_and_pullback` with the adjoint form, which every step of molecular dynamics runs. A list
    may have a larger radius than `cutoff_`: pairs beyond the cutoff have no effect.

    Attributes
    ----------
    species_ : tuple of str
        Chemical symbols, in the order of the columns of `rows`.
    cutoff_ : float
        Distance beyond which nothing counts as a neighbor, Å.
    n_features_out_ : int
        Number of features F of an atom.
    """

    _state = ("species_", "cutoff_", "n_features_out_")
    _not_in_key = ("n_jobs", "species")  # species_ tells

    def __init_subclass__(cls, **kwargs):
        kwargs["auto_wrap_output_keys"] = None  # scikit-learn would make data frames of feature sets
        super().__init_subclass__(**kwargs)

    def _setup(self):
        """Check the parameters and set `cutoff_` and `n_features_out_`; `species_` is there."""
        raise NotImplementedError

    def _learn(self, structures):
        """Find in the structures what the parameters leave open; `_setup` has run."""

    def _named_species(self):
        """Species that the parameters name, or None."""
        return None if self.species is None else _given_species(self.species)

    def values(self, pairs):
        """Compute the features.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.

        Returns
        -------
        array of shape (n_atoms, n_features)
            The B_ik of every center.
        """
        raise NotImplementedError

    def jacobian(self, pairs, start=0, stop=None):
        """Derive the features of some centers with respect to the vectors to their neighbors.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.
        start, stop : int
            The centers ``start:stop``; all of them by default.

        Returns
        -------
        array of shape (n_block_pairs, 3, n_features)
            The ∂B_i/∂r_ij of the pairs of these centers.
        """
        raise NotImplementedError

    def vjp(self, pairs, cotangents):
        """Pull cotangents of the features back to the pairs: g_ij = Σ_k c_ik ∂B_ik/∂r_ij.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.
        cotangents : array of shape (n_atoms, n_features)
            The c, as ∂E/∂B.

        Returns
        -------
        array of shape (n_pairs, 3)
            Pair gradients g.
        """
        gradients = np.empty((pairs.n_pairs, 3))
        for centers, block, jacobian in self._blocks(pairs):
            np.matmul(jacobian, cotangents[centers][:, :, None], out=gradients[block, :, None])
        return gradients

    def jvp(self, pairs, displacements):
        """Push changes of the pair vectors forward to the features: Σ_j u_ij · ∂B_ik/∂r_ij.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.
        displacements : array of shape (n_pairs, 3)
            The u.

        Returns
        -------
        array of shape (n_atoms, n_features)
            Change of the features.
        """
        change = np.zeros((pairs.n_atoms, self.n_features_out_))
        for centers, block, jacobian in self._blocks(pairs):
            along = np.matmul(displacements[block, None, :], jacobian)[:, 0, :]
            starts = np.flatnonzero(np.diff(centers, prepend=-1))
            change[centers[starts]] = np.add.reduceat(along, starts, axis=0)
        return change

    def rows(self, pairs, values=None):
        """Make a structure's rows of the design matrix; `StructureFeatures.rows` says what they are.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.
        values : array of shape (n_atoms, n_features), default=None
            Its features, if they are known already.

        Returns
        -------
        array of shape (1 + 3 n_atoms + 6, n_species * n_features)
            Energy, force and stress rows.
        """
        values = self.values(pairs) if values is None else values
        species = self.species_index(pairs.numbers)
        return assemble_rows(pairs, values, species, len(self.species_), partial(self.jacobian, pairs))

    def values_and_pullback(self, pairs):
        """Compute the features and keep what their derivative needs.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.

        Returns
        -------
        values : array of shape (n_atoms, n_features)
            As from `values`.
        pullback : callable
            ``pullback(cotangents)`` is ``vjp(pairs, cotangents)``.
        """
        return self.values(pairs), partial(self.vjp, pairs)

    def _blocks(self, pairs):
        """Centers of the pairs, slice of the pairs, and Jacobian of each block that has pairs."""
        for start, stop in center_blocks(pairs.offsets, self.n_features_out_):
            block = slice(int(pairs.offsets[start]), int(pairs.offsets[stop]))
            if block.stop > block.start:
                yield pairs.first[block], block, self.jacobian(pairs, start, stop)

    def fit(self, X, y=None):
        """Find the species and check the parameters.

        Parameters
        ----------
        X : list of ase.Atoms
            Structures.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted descriptor.
        """
        structures = check_structures(X)
        self.species_ = self._named_species() or _found_species(structures)
        self._setup()
        check_cutoff(self.cutoff_)
        self._check_species(structures)
        self._learn(structures)
        self._fitted_parameters = joblib.hash(self._parameters())
        return self

    def transform(self, X):
        """Compute the features of structures.

        All structures are checked before any features are computed. Features of those seen before come from the cache,
        see :func:`mlfeat.set_cache_limit`.

        Parameters
        ----------
        X : list of ase.Atoms
            Structures.

        Returns
        -------
        FeatureSet
            One item a structure.
        """
        check_is_fitted(self)
        self._check_unchanged()
        structures = check_structures(X)
        self._check_species(structures)
        own = self.cache_key()
        keys = [(own, structure_hash(a.numbers, a.positions, a.cell.array, a.pbc)) for a in structures]
        computed = self._compute(dict(zip(reversed(keys), reversed(list(enumerate(structures))), strict=True)))
        frozen = self._frozen()
        items = [frozen._item(*computed[key], key, get_group(a)) for key, a in zip(keys, structures, strict=True)]
        return FeatureSet(items, self.get_feature_names_out())

    def remake(self, X):
        """Compute the features of structures whose neighbor lists are known from features by a like descriptor.

        Parameters
        ----------
        X : FeatureSet
            Features, without steps, by a descriptor with the same species and cutoff.

        Returns
        -------
        FeatureSet
            As `transform` gives it.
        """
        frozen, own, items = self._frozen(), self.cache_key(), [None] * len(X)

        def work(start, stop):
            for k in range(start, stop):
                items[k] = frozen._remade(X.items[k], own)

        run_chunks(work, len(X), self.n_jobs, align=1)
        return FeatureSet(items, self.get_feature_names_out())

    def _remade(self, item, own):
        key = None if item.key is None else (own, item.key[1])
        found = None if key is None else CACHE.get(key)
        if found is not None:
            return self._item(*found, key, item.group)
        values = np.ascontiguousarray(self.values(item.pairs))
        values.flags.writeable = False
        if key is not None:
            CACHE.put(key, (item.pairs, values), item.pairs.nbytes + values.nbytes)
        return self._item(item.pairs, values, key, item.group)

    def _check_unchanged(self):
        """NotFittedError if parameters were set since `fit`: the features would belong to neither."""
        found = joblib.hash(self._parameters())
        if found != self.__dict__.setdefault("_fitted_parameters", found):
            raise NotFittedError(
                f"parameters of this {type(self).__name__} were changed after it was fitted; call fit again"
            )

    def _compute(self, structures):
        """Pairs and values under each key of `structures` (key -> index, atoms), from the cache or made."""
        computed = {key: CACHE.get(key) for key in structures}
        todo = sorted((index, key) for key, (index, _) in structures.items() if computed[key] is None)
        tasks = divide([(key, *structures[key]) for _, key in todo], self.n_jobs) if on_cluster(self.n_jobs) else ()
        if len(tasks) > 1:
            found = compute_tasks(self._frozen(), tasks)
            for key, (pairs, values) in found.items():
                CACHE.put(key, (pairs, values), pairs.nbytes + values.nbytes)
            return computed | found

        def build(start, stop):
            for index, key in todo[start:stop]:
                computed[key] = NeighborPairs.from_atoms(structures[key][1], self.cutoff_, index=index)

        def evaluate(start, stop):
            for _, key in todo[start:stop]:
                pairs = computed[key]
                values = np.ascontiguousarray(self.values(pairs))
                values.flags.writeable = False
                computed[key] = pairs, values
                CACHE.put(key, computed[key], pairs.nbytes + values.nbytes)

        for work in (build, evaluate):  # all lists first: they find atoms on top of each other
            run_chunks(work, len(todo), self.n_jobs, align=1)
        return computed

    def _item(self, pairs, values, key, group):
        species = self.species_index(pairs.numbers)
        return StructureFeatures(pairs, values, species, len(self.species_), self, group=group, key=key)

    def fit_transform(self, X, y=None):
        """Fit to structures and compute their features.

        Parameters
        ----------
        X : list of ase.Atoms
            Structures.
        y : None
            Ignored.

        Returns
        -------
        FeatureSet
            One item a structure.
        """
        return self.fit(X, y).transform(X)

    def set_output(self, *, transform=None):
        """Do nothing: the output is always a FeatureSet. A Pipeline asks it of all its steps.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Ignored.

        Returns
        -------
        self
            The descriptor.
        """
        return self

    def get_feature_names_out(self, input_features=None):
        """Name the features.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        array of str, shape (n_features,)
            Here the class's name in lower case with a number.
        """
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{k}" for k in range(self.n_features_out_)], dtype=object)

    def feature_blocks(self):
        """Divide the features among kernels, for Gaussian processes.

        Returns
        -------
        tuple of FeatureBlock
            In the order of the features, which they cover. Here one block for dot products, with the class's name in
            lower case.
        """
        check_is_fitted(self)
        return (FeatureBlock(type(self).__name__.lower(), 0, self.n_features_out_),)

    def species_index(self, numbers):
        """Look up atoms among the species.

        Parameters
        ----------
        numbers : int array of shape (n_atoms,)
            Atomic numbers.

        Returns
        -------
        intp array of shape (n_atoms,)
            Each atom's place in `species_`.

        Raises
        ------
        ValueError
            If an element is not there.
        """
        index = _species_table(self.species_)[numbers]
        if index.min(initial=0) < 0:
            unknown = ", ".join(sorted({chemical_symbols[z] for z in np.asarray(numbers)[index < 0]}))
            raise ValueError(
                f"{unknown} not among the species {', '.join(self.species_)} of this {type(self).__name__}; fit to "
                "structures with all elements, or name them in `species`"
            )
        return index

    def _check_species(self, structures):
        for index, atoms in enumerate(structures):
            try:
                self.species_index(atoms.numbers)
            except ValueError as error:
                raise ValueError(f"structure {index}: {error}") from None

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_features_out_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def _found_species(structures):
    return tuple(sorted({chemical_symbols[z] for z in np.unique(np.concatenate([a.numbers for a in structures]))}))


def _given_species(species):
    if isinstance(species, str):
        raise ValueError(f"species={species!r}: must be a sequence of chemical symbols, as in [{species!r}]")
    species = tuple(str(symbol) for symbol in species)
    wrong = [symbol for symbol in species if atomic_numbers.get(symbol, 0) == 0]
    if wrong:
        raise ValueError(f"species={species!r}: {', '.join(wrong)} is no chemical symbol")
    if len(set(species)) < max(1, len(species)):
        raise ValueError(f"species={species!r}: must be one or more chemical symbols, each once")
    return species


@lru_cache(maxsize=32)
def _species_table(species):
    """Place in `species` of each atomic number, or -1."""
    table = np.full(len(chemical_symbols), -1, dtype=np.intp)
    table[[atomic_numbers[symbol] for symbol in species]] = np.arange(len(species))
    return table
