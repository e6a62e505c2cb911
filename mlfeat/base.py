"""The contracts: what a descriptor, a step between, and a potential promise."""

import copy
from functools import partial

import joblib
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from mlfeat._cache import CACHE, structure_hash
from mlfeat._parallel import run_chunks
from mlfeat.features import AtomFeatures, FeatureSet, StructureFeatures, assemble_rows, center_blocks
from mlfeat.neighbors import NeighborPairs, check_cutoff, check_structures
from mlfeat.targets import as_targets, baseline_targets, empty_targets, get_group

__all__ = ["Composed", "Descriptor", "FeatureStep", "PotentialMixin", "predict_targets", "split_model"]


class _Keyed:
    """Estimators whose results are cached under their parameters and fitted state."""

    _state = ()

    def cache_key(self):
        """Hash that is equal for estimators of equal class, parameters and fitted state."""
        parameters = {name: value for name, value in self.get_params().items() if name != "n_jobs"}
        state = [getattr(self, name, None) for name in self._state]
        return joblib.hash((type(self).__module__, type(self).__qualname__, parameters, state))


class Descriptor(_Keyed, TransformerMixin, BaseEstimator):
    """Base of descriptors: differentiable maps from pair vectors to the features of each atom, and transformers.

    With B_ik feature k of atom i, a function of the vectors r_ij to its neighbors j, a descriptor has five operations:

    ============  =============================================================  ====================
    `values`      B_ik                                                           (N, F)
    `jacobian`    ∂B_ik/∂r_ij of the pairs of some centers                       (P_block, 3, F)
    `vjp`         g_ij = Σ_k c_ik ∂B_ik/∂r_ij for cotangents c (N, F)            (P, 3)
    `jvp`         Σ_j u_ij · ∂B_ik/∂r_ij for displacements u (P, 3)              (N, F)
    `rows`        energy, force and stress rows of the design matrix             (1 + 3N + 6, S F)
    ============  =============================================================  ====================

    A subclass implements `values` and `jacobian`, and `_setup`; it overrides `vjp` and `values_and_pullback` with the adjoint
    form, since molecular dynamics runs them at every step. It takes `species` and `n_jobs` among its parameters.

    Attributes
    ----------
    species_ : tuple of str
        Symbols, in the order in which the features and the columns of `rows` have them.
    cutoff_ : float
        Largest distance at which an atom is a neighbor, Å.
    n_features_out_ : int
        F.
    """

    _state = ("species_", "cutoff_", "n_features_out_")

    def _setup(self):
        """Check the parameters and set `cutoff_` and `n_features_out_`, with `species_` at hand."""
        raise NotImplementedError

    def values(self, pairs):
        """Features B (n_atoms, n_features) of each center of `pairs`, a NeighborPairs."""
        raise NotImplementedError

    def jacobian(self, pairs, start=0, stop=None):
        """∂B_i/∂r_ij (n_block_pairs, 3, n_features) of the pairs of centers ``start:stop``."""
        raise NotImplementedError

    def vjp(self, pairs, cotangents):
        """Pair gradients g (n_pairs, 3), g_ij = Σ_k c_ik ∂B_ik/∂r_ij, for cotangents c (n_atoms, n_features)."""
        gradients = np.empty((pairs.n_pairs, 3))
        for first, block, jacobian in self._blocks(pairs):
            np.matmul(jacobian, cotangents[first][:, :, None], out=gradients[block, :, None])
        return gradients

    def jvp(self, pairs, displacements):
        """Change (n_atoms, n_features) of the features for changes (n_pairs, 3) of the pair vectors."""
        change = np.zeros((pairs.n_atoms, self.n_features_out_))
        for first, block, jacobian in self._blocks(pairs):
            along = np.matmul(displacements[block, None, :], jacobian)[:, 0, :]
            starts = np.flatnonzero(np.diff(first, prepend=-1))
            change[first[starts]] = np.add.reduceat(along, starts, axis=0)
        return change

    def rows(self, pairs, values=None):
        """Rows of the design matrix, see `StructureFeatures.rows`; `values` saves computing them again."""
        values = self.values(pairs) if values is None else values
        species = self.species_index(pairs.numbers)
        return assemble_rows(pairs, values, species, len(self.species_), partial(self.jacobian, pairs))

    def values_and_pullback(self, pairs):
        """Features, and the function that takes cotangents to pair gradients as `vjp` does."""
        return self.values(pairs), partial(self.vjp, pairs)

    def _blocks(self, pairs):
        """Centers of the pairs, slice of the pairs, and Jacobian of each block that has pairs."""
        for start, stop in center_blocks(pairs.offsets, self.n_features_out_):
            block = slice(*pairs.offsets[[start, stop]].tolist())
            if block.stop > block.start:
                yield pairs.first[block], block, self.jacobian(pairs, start, stop)

    def fit(self, X, y=None):
        """Find the species and check the parameters.

        Parameters
        ----------
        X : list of ase.Atoms
        y : ignored

        Returns
        -------
        self
        """
        structures = check_structures(X)
        self.species_ = _found_species(structures) if self.species is None else _given_species(self.species)
        self._setup()
        check_cutoff(self.cutoff_)
        self._check_species(structures)
        return self

    def transform(self, X):
        """Compute the features of structures.

        All structures are checked before any features are computed. Those seen before come from the cache
        (:func:`mlfeat.set_cache_limit`).

        Parameters
        ----------
        X : list of ase.Atoms

        Returns
        -------
        FeatureSet
        """
        check_is_fitted(self)
        structures = check_structures(X)
        self._check_species(structures)
        key = self.cache_key()
        keys = [(key, structure_hash(a.numbers, a.positions, a.cell.array, a.pbc)) for a in structures]
        computed = self._compute(structures, keys)
        frozen = copy.copy(self)  # items go on working when this estimator is fitted again
        items = [frozen._item(*computed[k], k, get_group(a)) for k, a in zip(keys, structures, strict=True)]
        return FeatureSet(items, self.get_feature_names_out())

    def _compute(self, structures, keys):
        """Pairs and values of each key, from the cache or computed."""
        computed = {key: CACHE.get(key) for key in keys}
        missing = {key: index for index, key in reversed(list(enumerate(keys))) if computed[key] is None}
        todo = sorted(missing.items(), key=lambda entry: entry[1])

        def build(start, stop):
            for key, index in todo[start:stop]:
                computed[key] = NeighborPairs.from_atoms(structures[index], self.cutoff_, index=index)

        def evaluate(start, stop):
            for key, _ in todo[start:stop]:
                pairs = computed[key]
                values = np.ascontiguousarray(self.values(pairs))
                values.flags.writeable = False
                computed[key] = pairs, values
                CACHE.put(key, computed[key], pairs.nbytes + values.nbytes)

        for work in (build, evaluate):  # lists first: they find atoms on top of each other
            run_chunks(work, len(todo), self.n_jobs, align=1)
        return computed

    def _item(self, pairs, values, key, group):
        species = self.species_index(pairs.numbers)
        return StructureFeatures(pairs, values, species, len(self.species_), self, group=group, key=key)

    def fit_transform(self, X, y=None):
        """Fit to structures and compute their features."""
        return self.fit(X, y).transform(X)

    def set_output(self, *, transform=None):
        """Does nothing: the output is always a FeatureSet. There so that a Pipeline can set its other steps' output."""
        return self

    def get_feature_names_out(self, input_features=None):
        """Names of the features: the class name in lower case and a number."""
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{k}" for k in range(self.n_features_out_)], dtype=object)

    def species_index(self, numbers):
        """Each atom's place (n_atoms,) in `species_`, from atomic numbers.

        Raises
        ------
        ValueError
            If an element is not among `species_`.
        """
        table = np.full(len(chemical_symbols), -1, dtype=np.intp)
        table[[atomic_numbers[symbol] for symbol in self.species_]] = np.arange(len(self.species_))
        index = table[numbers]
        if index.min(initial=0) < 0:
            unknown = sorted({chemical_symbols[z] for z in np.asarray(numbers)[index < 0]})
            raise ValueError(
                f"{', '.join(unknown)} not among the species {', '.join(self.species_)} that {type(self).__name__} was "
                "fitted to; fit to structures that have them all, or name them in `species`"
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


class _ArrayStep(TransformerMixin, BaseEstimator):
    """The part of a step that scikit-learn's `set_output` wraps."""

    def transform(self, X):
        check_is_fitted(self)
        return self.apply(validate_data(self, X, reset=False, dtype=np.float64, order="C"))


class FeatureStep(_Keyed, _ArrayStep, auto_wrap_output_keys=None):
    """Base of steps between descriptor and potential: a differentiable function of each atom's features.

    A FeatureSet goes in and comes out with its derivatives; a plain array (n_samples, n_features) goes in and comes out too.
    A subclass implements `apply`, `vjp` and `jvp`, all on M rows of features at once, and `_fit` if it learns something.
    """

    def apply(self, values):
        """Features (M, n_out) from features (M, n_in)."""
        raise NotImplementedError

    def vjp(self, values, cotangents):
        """Cotangents of the input (M, n_in) for those of the output (M, n_out), at `values` (M, n_in)."""
        raise NotImplementedError

    def jvp(self, values, tangents):
        """Tangents of the output (M, K, n_out) for those of the input (M, K, n_in), at `values` (M, n_in)."""
        raise NotImplementedError

    def absorb(self, model):
        """An energy model on this step's input, equal to `model` on its output."""
        return Composed(self, model)

    def _fit(self, values):
        """Learn from features (M, n_in), those of all atoms together."""

    def fit(self, X, y=None):
        """Fit to a FeatureSet (all atoms together) or to an array (n_samples, n_features).

        Parameters
        ----------
        X : FeatureSet or array of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        if isinstance(X, FeatureSet):
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
            self._fit(X.values)
        else:
            self._fit(validate_data(self, X, dtype=np.float64, order="C"))
        return self

    def transform(self, X):
        """Apply the step.

        Parameters
        ----------
        X : FeatureSet or array of shape (n_samples, n_features)

        Returns
        -------
        FeatureSet or array
            As `X`.
        """
        if not isinstance(X, FeatureSet):
            return super().transform(X)
        check_is_fitted(self)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input"
            )
        return X.then(copy.copy(self), self.get_feature_names_out(X.feature_names))

    def fit_transform(self, X, y=None):
        """Fit, then apply the step to the same features."""
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features=None):
        """Names of the output features; here those of the input."""
        check_is_fitted(self, "n_features_in_")
        return _check_feature_names_in(self, input_features)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_features_in_")


class Composed:
    """Energy model on a step's input: the step, then a model on its output."""

    def __init__(self, step, model):
        self.step = step
        self.model = model

    def energy_and_cotangent(self, features):
        """E_i (n_atoms,) and ∂E_i/∂B_i (n_atoms, n_in) for features with `values` and `species`."""
        inside = AtomFeatures(self.step.apply(features.values), features.species)
        energies, cotangents = self.model.energy_and_cotangent(inside)
        return energies, self.step.vjp(features.values, cotangents)


class PotentialMixin(RegressorMixin):
    """Base of potentials: regressors that say each atom's energy and how it changes with its features.

    A subclass implements `fit(X, y, sample_weight=None)` on a FeatureSet and `energy_and_cotangent`; from them come
    energies, forces and stress,

    .. math:: E = \\sum_i E_i(B_i),\\quad g_{ij} = \\frac{\\partial E_i}{\\partial B_i} \\frac{\\partial B_i}{\\partial r_{ij}}.
    """

    baseline = None

    def energy_and_cotangent(self, features):
        """E_i (n_atoms,) in eV and ∂E_i/∂B_i (n_atoms, n_features) for features with `values` and `species`.

        Without the baseline.
        """
        raise NotImplementedError

    def energy_model(self):
        """The object whose `energy_and_cotangent` runs molecular dynamics; steps can absorb it."""
        return self

    def predict(self, X):
        """Energies (n_structures,) in eV of a FeatureSet."""
        check_is_fitted(self)
        X = check_features(X)
        energies = np.array([self.energy_and_cotangent(item)[0].sum() for item in X])
        if self.baseline is not None:
            energies += [baseline_targets(self.baseline, item.pairs)[0] for item in X]
        return energies

    def predict_targets(self, X):
        """Energies, forces and stresses of a FeatureSet, a structured array as from :func:`mlfeat.make_targets`."""
        check_is_fitted(self)
        X = check_features(X)
        targets = empty_targets(len(X))

        def work(start, stop):
            for index in range(start, stop):
                targets[index] = self._targets(X[index])

        run_chunks(work, len(X), getattr(self, "n_jobs", None), align=1)
        if self.baseline is not None:
            _add_baseline(targets, self.baseline, X)
        return targets

    def _targets(self, item):
        energies, cotangents = self.energy_and_cotangent(item)
        gradients = item.vjp(cotangents)
        return energies.sum(), item.pairs.forces(gradients), item.pairs.stress(gradients)

    def score(self, X, y, sample_weight=None):
        """Coefficient of determination R²: the mean of that of the energies per atom and that of the force components.

        Of the energies alone if `y` has no forces. Structures without forces do not count in the second.
        """
        X = check_features(X)
        y = as_targets(y, len(X))
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        has_forces = np.flatnonzero([forces is not None for forces in y["forces"]])
        n_atoms = np.array([item.n_atoms for item in X])
        if len(has_forces) == 0:
            return r2_score(y["energy"] / n_atoms, self.predict(X) / n_atoms, sample_weight=weight)
        predicted = self.predict_targets(X)
        energy = r2_score(y["energy"] / n_atoms, predicted["energy"] / n_atoms, sample_weight=weight)
        true, found = (np.concatenate([t["forces"][i].ravel() for i in has_forces]) for t in (y, predicted))
        weight = np.repeat(weight[has_forces], 3 * n_atoms[has_forces])
        return 0.5 * (energy + r2_score(true, found, sample_weight=weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _add_baseline(targets, baseline, X):
    # One structure after the other: calculators keep state.
    for target, item in zip(targets, X, strict=True):
        energy, forces, stress = baseline_targets(baseline, item.pairs)
        target["energy"] += energy
        target["forces"] += forces
        target["stress"] += stress


def check_features(X):
    """Return `X` if it is a FeatureSet, else raise TypeError."""
    if not isinstance(X, FeatureSet):
        raise TypeError(
            f"expected a FeatureSet, got {type(X).__name__}; put a descriptor before the potential, as in "
            "make_pipeline(Bispectrum(), LinearPotential())"
        )
    return X


def split_model(model):
    """Parts of a model: ``(descriptor, steps, potential)``, with a tuple of steps.

    Parameters
    ----------
    model : Pipeline
        ``make_pipeline(descriptor, *steps, potential)``; a fitted search (`GridSearchCV`) stands for its best estimator.

    Raises
    ------
    TypeError
        If it is not such a Pipeline.
    """
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, Pipeline):
        raise TypeError(f"expected a Pipeline of descriptor, steps and potential, got {type(model).__name__}")
    estimators = [e for _, e in model.steps if not (e is None or (isinstance(e, str) and e == "passthrough"))]
    descriptor, *steps, potential = estimators if len(estimators) > 1 else (None, None)
    for part, kind, place in (
        (descriptor, Descriptor, "first step must be a descriptor"),
        *((step, FeatureStep, "middle steps must keep derivatives (FeatureScaler, QuadraticExpansion, ...)") for step in steps),
        (potential, PotentialMixin, "last step must be a potential"),
    ):
        if not isinstance(part, kind):
            raise TypeError(f"the Pipeline's {place}, got {type(part).__name__}")
    return descriptor, tuple(steps), potential


def predict_targets(model, structures):
    """Energies, forces and stresses that a fitted model gives.

    Parameters
    ----------
    model : Pipeline
        Fitted ``make_pipeline(descriptor, *steps, potential)``, or a fitted search over one.
    structures : list of ase.Atoms

    Returns
    -------
    structured array of shape (n_structures,)
        As from :func:`mlfeat.make_targets`; the stress is NaN where the structure has no volume.
    """
    descriptor, steps, potential = split_model(model)
    features = descriptor.transform(structures)
    for step in steps:
        features = step.transform(features)
    return potential.predict_targets(features)


def _found_species(structures):
    return tuple(sorted(set().union(*(atoms.symbols.species() for atoms in structures))))


def _given_species(species):
    if isinstance(species, str):
        raise ValueError(f"species={species!r}: must be a sequence of symbols, as in ({species!r},)")
    species = tuple(str(symbol) for symbol in species)
    wrong = [symbol for symbol in species if atomic_numbers.get(symbol, 0) == 0]
    if wrong or not species or len(set(species)) < len(species):
        raise ValueError(f"species={species!r}: must be different chemical symbols")
    return species
