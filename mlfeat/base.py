"""The contracts: what a descriptor, a step between, and a potential promise."""

from functools import lru_cache, partial

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
    """What the cache and the features that an estimator makes need of it."""

    _state = ()  # names of the fitted attributes
    _not_in_key = ("n_jobs",)  # parameters that do not change results

    def cache_key(self):
        """Hash the class, the parameters and the fitted state.

        Returns
        -------
        str
            Equal for estimators that give equal results.
        """
        parameters = {name: value for name, value in self.get_params().items() if name not in self._not_in_key}
        state = [getattr(self, name, None) for name in self._state]
        return joblib.hash((type(self).__module__, type(self).__qualname__, parameters, state))

    def _frozen(self):
        """A shallow copy, so that features keep working when this estimator is fitted again."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


class Descriptor(_Keyed, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
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
        self.species_ = _found_species(structures) if self.species is None else _given_species(self.species)
        self._setup()
        check_cutoff(self.cutoff_)
        self._check_species(structures)
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
        structures = check_structures(X)
        self._check_species(structures)
        own = self.cache_key()
        keys = [(own, structure_hash(a.numbers, a.positions, a.cell.array, a.pbc)) for a in structures]
        computed = self._compute(dict(zip(reversed(keys), reversed(list(enumerate(structures))), strict=True)))
        frozen = self._frozen()
        items = [frozen._item(*computed[key], key, get_group(a)) for key, a in zip(keys, structures, strict=True)]
        return FeatureSet(items, self.get_feature_names_out())

    def _compute(self, structures):
        """Pairs and values under each key of `structures` (key -> index, atoms), from the cache or made."""
        computed = {key: CACHE.get(key) for key in structures}
        todo = sorted((index, key) for key, (index, _) in structures.items() if computed[key] is None)

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


class _ArrayStep(TransformerMixin, BaseEstimator):
    """The part of a step that works on arrays, whose output scikit-learn's `set_output` wraps."""

    def transform(self, X):
        check_is_fitted(self)
        return self.apply(validate_data(self, X, reset=False, dtype=np.float64, order="C"))


class FeatureStep(_Keyed, _ArrayStep, auto_wrap_output_keys=None):
    """Base of steps between descriptor and potential: differentiable functions of each atom's features.

    A FeatureSet goes in and comes out with its derivatives; an array (n_samples, n_features) comes out as an array.
    A subclass implements `apply`, `vjp` and `jvp`, all on M rows of features at once, and `_fit` if it learns
    something.
    """

    def apply(self, values):
        """Compute the step.

        Parameters
        ----------
        values : array of shape (M, n_in)
            Features.

        Returns
        -------
        array of shape (M, n_out)
            Features.
        """
        raise NotImplementedError

    def vjp(self, values, cotangents):
        """Pull cotangents back through the step.

        Parameters
        ----------
        values : array of shape (M, n_in)
            Features where the derivative is taken.
        cotangents : array of shape (M, n_out)
            Derivatives of something with respect to the output.

        Returns
        -------
        array of shape (M, n_in)
            Derivatives of the same with respect to the input.
        """
        raise NotImplementedError

    def jvp(self, values, tangents):
        """Push tangents forward through the step.

        Parameters
        ----------
        values : array of shape (M, n_in)
            Features where the derivative is taken.
        tangents : array of shape (M, K, n_in)
            K directions for each.

        Returns
        -------
        array of shape (M, K, n_out)
            Changes of the output along them.
        """
        raise NotImplementedError

    def absorb(self, model):
        """Put the step into an energy model.

        Parameters
        ----------
        model : object with `energy_and_cotangent`
            Energy model on the step's output.

        Returns
        -------
        object with `energy_and_cotangent`
            Energy model on the step's input that gives the same.
        """
        return Composed(self, model)

    def _fit(self, values):
        """Learn from features (M, n_in), those of all atoms together."""

    def fit(self, X, y=None):
        """Fit to the features of all atoms.

        Parameters
        ----------
        X : FeatureSet or array of shape (n_samples, n_features)
            Features.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted step.
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
            Features.

        Returns
        -------
        FeatureSet or array
            As `X`; of an array, as `set_output` says.
        """
        if not isinstance(X, FeatureSet):
            return super().transform(X)
        check_is_fitted(self)
        if X.shape[1] != self.n_features_in_:
            name = type(self).__name__
            raise ValueError(
                f"X has {X.shape[1]} features, but {name} is expecting {self.n_features_in_} features as input"
            )
        return X.then(self._frozen(), self.get_feature_names_out(X.feature_names))

    def fit_transform(self, X, y=None):
        """Fit, then apply the step to the same features.

        Parameters
        ----------
        X : FeatureSet or array of shape (n_samples, n_features)
            Features.
        y : None
            Ignored.

        Returns
        -------
        FeatureSet or array
            As from `transform`.
        """
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features=None):
        """Name the output features.

        Parameters
        ----------
        input_features : array of str, shape (n_in,), default=None
            Names of the input features.

        Returns
        -------
        array of str, shape (n_out,)
            Here the same.
        """
        check_is_fitted(self)
        return _check_feature_names_in(self, input_features)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_features_in_")


class Composed:
    """Energy model on a step's input: the step, then a model on its output.

    Parameters
    ----------
    step : FeatureStep
        A fitted one.
    model : object with `energy_and_cotangent`
        Energy model on the step's output.
    """

    def __init__(self, step, model):
        self.step = step
        self.model = model

    def energy_and_cotangent(self, features):
        """Compute energies of atoms and their derivatives.

        Parameters
        ----------
        features : AtomFeatures or StructureFeatures
            The step's input.

        Returns
        -------
        energies : array of shape (n_atoms,)
            E_i, eV.
        cotangents : array of shape (n_atoms, n_in)
            Derivatives ∂E_i/∂B_i.
        """
        inside = AtomFeatures(self.step.apply(features.values), features.species)
        energies, cotangents = self.model.energy_and_cotangent(inside)
        return energies, self.step.vjp(features.values, cotangents)


class PotentialMixin(RegressorMixin):
    r"""Base of potentials: regressors that say each atom's energy and how it changes with its features.

    A subclass implements ``fit(X, y, sample_weight=None)`` on a FeatureSet, and `energy_and_cotangent`. The rest
    follows, with B_i the features of atom i and r_ij the vectors to its neighbors:

    .. math:: E = \sum_i E_i(B_i), \qquad
        g_{ij} = \frac{\partial E_i}{\partial B_i} \frac{\partial B_i}{\partial r_{ij}}, \qquad
        F_i = \sum_j (g_{ij} - g_{ji}), \qquad \sigma = \frac{1}{V} \sum_{ij} r_{ij} \otimes g_{ij}.

    Attributes
    ----------
    baseline : ASE calculator or None
        What is added to the energy of the features.
    """

    baseline = None

    def energy_and_cotangent(self, features):
        """Compute energies of atoms, without the baseline, and their derivatives.

        Parameters
        ----------
        features : AtomFeatures or StructureFeatures
            Anything with `values` (n_atoms, n_features) and `species` (n_atoms,).

        Returns
        -------
        energies : array of shape (n_atoms,)
            E_i, eV.
        cotangents : array of shape (n_atoms, n_features)
            Derivatives ∂E_i/∂B_i.
        """
        raise NotImplementedError

    def energy_model(self):
        """Give the part that molecular dynamics runs, and that steps can absorb.

        Returns
        -------
        object with `energy_and_cotangent`
            Here the potential itself.
        """
        return self

    def predict(self, X):
        """Predict energies.

        Parameters
        ----------
        X : FeatureSet
            Features of structures.

        Returns
        -------
        array of shape (n_structures,)
            Energies, eV.
        """
        check_is_fitted(self)
        X = check_features(X)
        energies = np.array([self.energy_and_cotangent(item)[0].sum() for item in X], dtype=float)
        if self.baseline is not None:
            energies += [baseline_targets(self.baseline, item.pairs)[0] for item in X]
        return energies

    def predict_targets(self, X):
        """Predict energies, forces and stresses.

        Parameters
        ----------
        X : FeatureSet
            Features of structures.

        Returns
        -------
        structured array of shape (n_structures,)
            As from :func:`mlfeat.make_targets`; stresses are NaN where there is no volume.
        """
        check_is_fitted(self)
        X = check_features(X)
        targets = empty_targets(len(X))

        def work(start, stop):
            for index in range(start, stop):
                targets[index] = self._predict_item(X.items[index])

        run_chunks(work, len(X), getattr(self, "n_jobs", None), align=1)
        if self.baseline is not None:
            _add_baseline(targets, self.baseline, X)
        return targets

    def _predict_item(self, item):
        energies, cotangents = self.energy_and_cotangent(item)
        gradients = item.vjp(cotangents)
        return energies.sum(), item.pairs.forces(gradients), item.pairs.stress(gradients)

    def score(self, X, y, sample_weight=None):
        """Score by R², the mean of that of energies per atom and that of force components.

        Parameters
        ----------
        X : FeatureSet
            Features of structures.
        y : structured array of shape (n_structures,), or array of float
            As from :func:`mlfeat.make_targets`. Without forces, or with energies only, the score is that of the
            energies per atom.
        sample_weight : array of shape (n_structures,), default=None
            Weights of the structures.

        Returns
        -------
        float
            At most 1.
        """
        X = check_features(X)
        y = as_targets(y, len(X))
        n_atoms = np.array([item.n_atoms for item in X])
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        has_forces = np.flatnonzero([forces is not None for forces in y["forces"]])
        if len(has_forces) == 0:
            return r2_score(y["energy"] / n_atoms, self.predict(X) / n_atoms, sample_weight=weight)
        predicted = self.predict_targets(X)
        energy_score = r2_score(y["energy"] / n_atoms, predicted["energy"] / n_atoms, sample_weight=weight)
        true, found = (np.concatenate([np.ravel(f) for f in t["forces"][has_forces]]) for t in (y, predicted))
        weight = np.repeat(weight[has_forces], 3 * n_atoms[has_forces])
        return 0.5 * (energy_score + r2_score(true, found, sample_weight=weight))

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
    """Raise TypeError unless the input is a FeatureSet.

    Parameters
    ----------
    X : object
        What is checked.

    Returns
    -------
    FeatureSet
        The same.
    """
    if not isinstance(X, FeatureSet):
        raise TypeError(
            f"expected a FeatureSet, got {type(X).__name__}; put a descriptor before the potential, as in "
            "make_pipeline(Bispectrum(), LinearPotential())"
        )
    return X


def split_model(model):
    """Take a model apart.

    Parameters
    ----------
    model : Pipeline
        ``make_pipeline(descriptor, *steps, potential)``; a fitted search, as `GridSearchCV`, stands for its best.

    Returns
    -------
    descriptor : Descriptor
        The first step.
    steps : tuple of FeatureStep
        Those between; without steps that pass everything through.
    potential : PotentialMixin
        The last step.

    Raises
    ------
    TypeError
        If it is not such a Pipeline.
    """
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, Pipeline):
        raise TypeError(
            f"expected a Pipeline of descriptor, steps and potential, got {type(model).__name__}; "
            "make one with make_pipeline, and fit a search before it is used"
        )
    parts = [part for _, part in model.steps if part is not None and not isinstance(part, str)]
    descriptor, potential = (parts[0], parts[-1]) if parts else (None, None)
    _check_part(descriptor, Descriptor, "first", "a descriptor")
    _check_part(potential, PotentialMixin, "last", "a potential")
    for step in parts[1:-1]:
        _check_part(step, FeatureStep, "middle", "one that keeps derivatives, as FeatureScaler or QuadraticExpansion")
    return descriptor, tuple(parts[1:-1]), potential


def _check_part(part, kind, place, expected):
    if not isinstance(part, kind):
        raise TypeError(f"the Pipeline's {place} step must be {expected}, got {type(part).__name__}")


def predict_targets(model, structures):
    """Predict energies, forces and stresses with a fitted model.

    Parameters
    ----------
    model : Pipeline
        Fitted ``make_pipeline(descriptor, *steps, potential)``; a fitted search stands for its best.
    structures : list of ase.Atoms
        Structures.

    Returns
    -------
    structured array of shape (n_structures,)
        As from :func:`mlfeat.make_targets`; stresses are NaN where there is no volume.
    """
    descriptor, steps, potential = split_model(model)
    features = descriptor.transform(structures)
    for step in steps:
        features = step.transform(features)
    return potential.predict_targets(features)


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
