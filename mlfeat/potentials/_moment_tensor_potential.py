"""Moment tensor potentials: linear in contractions of moments, whose radial functions they learn."""

import warnings

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mlfeat._archive import check_array
from mlfeat.base import PotentialMixin
from mlfeat.base._potential import check_features
from mlfeat.descriptors._moment_tensor import as_basis
from mlfeat.features import StructureFeatures
from mlfeat.potentials import _maxvol
from mlfeat.potentials._committee import CommitteeMixin
from mlfeat.potentials._moment_data import MomentData, weighting_factors
from mlfeat.potentials._moment_energy import MomentEnergy
from mlfeat.potentials._moment_learned import is_learned, learned_descriptor
from mlfeat.potentials._moment_model import MomentModel, errors_of
from mlfeat.potentials._moment_pruning import PruningReport, pruning_path
from mlfeat.potentials._moment_settings import check_memory, check_pruning, check_settings, starts_as_given
from mlfeat.potentials._moment_start import random_functions, training_levels, unit_scaling
from mlfeat.potentials._moment_training import MomentTraining, moment_problem
from mlfeat.potentials._neural_settings import species_energies
from mlfeat.potentials._restore import as_it_was_if_this_fails
from mlfeat.potentials._rows import (
    KindWeights,
    check_baseline,
    check_sample_weight,
    residual_targets,
    structure_weights,
    warn_of_unknown_groups,
)
from mlfeat.potentials._settings import split_validation
from mlfeat.potentials._training import learning_curve

__all__ = ["MomentTensorPotential"]

_NO_FEATURES = (
    "a model = make_pipeline(MomentTensor(), MomentTensorPotential()) takes structures, and so does "
    "mlfeat.select_structures(model, structures, n); the potential itself takes model[:-1].transform(structures)"
)


class MomentTensorPotential(CommitteeMixin, PotentialMixin, BaseEstimator):
    r"""Moment tensor potential (MTP): linear in contractions of moment tensors, with radial functions that it learns.

    .. math:: E = E_0 + \sum_i \Big( b_{s_i} + \sum_k \beta_k B_{ik}(c) \Big),

    :math:`s_i` the species of atom i, :math:`E_0` the baseline, B the features of a :class:`mlfeat.MomentTensor`,
    which stands right before the potential, and c the coefficients of its radial functions. Training lessens

    .. math:: \sum_s c_s \Big[ w_E\, p_s\, \Delta E_s^2 + w_F\, q_s \sum_{ax} \Delta F_{s,ax}^2
              + w_S\, p_s V_s^2 \sum_{m=1}^6 \Delta \sigma_{s,m}^2 \Big] + \alpha \sum_k (s_k \beta_k)^2

    over structures s with N atoms and volume V; :math:`c_s` is the sample weight, and (p, q) are (1/N, 1) with the
    weighting "vibrations", (1/N², 1/N) with "structures", (1, 1) with "molecules", as in MLIP. :math:`s_k` is the norm
    of the column of feature k in the least-squares problem at the start, so that α has no unit.

    The potential learns parameters of its descriptor. The MomentTensor in the Pipeline stays as it was; predictions
    make features anew, with the radial functions learnt, from the neighbor lists.

    Parameters
    ----------
    solver : {"varpro", "bfgs", "ridge"}, default="varpro"
        "varpro", variable projection: the linear parameters are solved for exactly, the radial ones take steps of
        Levenberg and Marquardt's method, some tens of passes over the structures. "bfgs": all parameters together, as
        MLIP does it; hundreds of cheaper passes. "ridge": the radial functions stay, the linear parameters are solved
        for.
    energy_weight, force_weight, stress_weight : float, default=1.0, 0.01, 0.001
        w_E, w_F, w_S: weights of squared residuals, in eV, eV/Å, and eV for the virial.
    weighting : {"vibrations", "structures", "molecules"}, default="vibrations"
        See above.
    group_weights : dict, default=None
        Factors by group (``str(atoms.info["group"])``): a number, or one each for energy, forces and stress. Others
        have 1.
    alpha : float, default=1e-9
        α.
    max_iter : int or "auto", default="auto"
        Most iterations. "auto": 60 of "varpro"; 500, 1000, 2000 of "bfgs" for levels up to 16, 20, and higher ones.
    tol : float, default=1e-3
        Training ends when two iterations of "varpro", or ten of "bfgs", lessen the loss by a smaller share; with early
        stopping, see there.
    initial : {"levels", "random", "given"}, default="levels"
        Radial functions to begin with. "levels": random ones, trained with the contractions of level 8, then 12, 16 …
        up to all, each time with one more random function. "random": random ones, with all contractions at once.
        "given": those of the MomentTensor, its `radial_coefficients` (also with solver "ridge", unless "random").
    n_init : int, default=4
        Random starts that are tried with the contractions of the first level, where a training takes little and ends
        in a local minimum now and then; that with the least loss goes on. For "levels" only.
    scaling : float, default=None
        Factor of the radial functions. None: such that the moment μ = ν = 0 is of the size one in the training data.
    tied : bool, default=True
        Atoms of all species have the same β, as in MLIP; they differ by their radial functions and intercepts. False:
        each species of the center has its own, :math:`\beta_{s_i k}`.
    early_stopping : bool, default=False
        Set a share of the structures aside, keep the parameters that do best on them, and end when these have not
        become better by the share `tol` in `n_iter_no_change` iterations.
    validation_fraction : float, default=0.1
        The share, drawn for each member of a committee.
    n_iter_no_change : int, default=5
        See `early_stopping`.
    n_models : int, default=1
        Members of a committee: potentials trained from different random radial functions. The potential is their mean,
        their spread its uncertainty.
    intercept : "species", dict or None, default="species"
        b: "species" are free parameters. A dict ``{symbol: eV}``: fixed energies. None: zero.
    baseline : ASE calculator, default=None
        Subtracted before training and added to all predictions, e.g. `ZBL`.
    warm_start : bool, default=False
        `fit` goes on from the radial functions of the last one.
    random_state : int, RandomState instance or None, default=None
        Of radial functions, and of the structures that are set aside.
    n_jobs : int, default=None
        Threads, over structures. The result does not depend on it.
    memory_limit : float, default=None
        Bytes; a fit that is forecast to take more is refused.
    verbose : bool, default=False
        Show a progress bar with the errors of the last iteration, on a terminal.

    Attributes
    ----------
    radial_coef_ : array of shape (n_models, n_species, n_species, n_radial, n_polynomials)
        c, by species of center and neighbor.
    scaling_ : array of shape (n_models,)
        Factors of the radial functions.
    coef_ : array of shape (n_models, n_species, n_features)
        β, eV per unit of feature; the same for all species if they are tied.
    intercept_ : array of shape (n_models, n_species)
        b, eV.
    species_ : tuple of str
        Chemical symbols.
    n_features_in_ : int
        Number of features of an atom that the MomentTensor of the Pipeline has.
    basis_ : tuple of arrays or None
        Tables of moments, products and scalars of the potential, if they are not those of the MomentTensor.
    active_set_ : list of dict or None
        Environments of each species that span the training data, what `extrapolation_grade` works from. None if that is
        not known, as of potentials from files.
    history_ : list of dict
        Of each member arrays "level", and "loss", "energy" (eV/atom), "forces" (eV/Å), "stress" (eV/Å³), the mean
        weighted sum of squares of a structure and root mean square errors after each iteration, with early stopping
        also "validation_loss" and so on.
    n_iter_ : int
        Iterations, at most those of any member.

    Raises
    ------
    ValueError
        By `fit`, if parameters or data are wrong; it says what and where.
    MemoryError
        By `fit`, if it would take more than `memory_limit`.

    Notes
    -----
    A factor of a radial function can be made up for by the β; each is kept at the norm one. Files in MLIP's format need
    tied coefficients.

    References
    ----------
    A. V. Shapeev, Multiscale Model. Simul. 14, 1153 (2016).
    K. Gubaev, E. V. Podryabinkin, G. L. W. Hart, A. V. Shapeev, Comput. Mater. Sci. 156, 148 (2019).
    I. S. Novikov, K. Gubaev, E. V. Podryabinkin, A. V. Shapeev, Mach. Learn.: Sci. Technol. 2, 025002 (2021), for the
    weights.
    G. H. Golub, V. Pereyra, Inverse Problems 19, R1 (2003), for variable projection.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from mlfeat import MomentTensor, MomentTensorPotential
    >>> model = make_pipeline(MomentTensor(cutoff=5.0, level=16), MomentTensorPotential(random_state=0))
    """

    _state = (
        "radial_coef_",
        "scaling_",
        "coef_",
        "intercept_",
        "species_",
        "n_features_in_",
        "basis_",
        "active_set_",
        "history_",
        "n_iter_",
    )

    def __init__(
        self,
        solver="varpro",
        *,
        energy_weight=1.0,
        force_weight=0.01,
        stress_weight=0.001,
        weighting="vibrations",
        group_weights=None,
        alpha=1e-9,
        max_iter="auto",
        tol=1e-3,
        initial="levels",
        n_init=4,
        scaling=None,
        tied=True,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        n_models=1,
        intercept="species",
        baseline=None,
        warm_start=False,
        random_state=None,
        n_jobs=None,
        memory_limit=None,
        verbose=False,
    ):
        self.solver = solver
        self.energy_weight = energy_weight
        self.force_weight = force_weight
        self.stress_weight = stress_weight
        self.weighting = weighting
        self.group_weights = group_weights
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.initial = initial
        self.n_init = n_init
        self.scaling = scaling
        self.tied = tied
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_models = n_models
        self.intercept = intercept
        self.baseline = baseline
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory_limit = memory_limit
        self.verbose = verbose

    # ---------------------------------------------------------------- training

    def fit(self, X, y, sample_weight=None):
        """Train on structures.

        If it is interrupted (KeyboardInterrupt) after the first iteration, it warns and keeps the best so far.

        Parameters
        ----------
        X : FeatureSet
            Features of structures by a MomentTensor; their neighbor lists are used.
        y : structured array of shape (n_structures,), or array of float
            From :func:`mlfeat.make_targets`; an array of floats is energies alone.
        sample_weight : array of shape (n_structures,), default=None
            Weights of the structures' squared residuals.

        Returns
        -------
        self
            The fitted potential.

        Raises
        ------
        ValueError
            If a parameter is wrong; if a target is not finite or has the wrong shape (the message has the structure's
            index); if the features are not those of a MomentTensor, a species has no atoms, or there are no forces but
            a weight for them.
        MemoryError
            If the fit would take more than `memory_limit`.
        """
        with as_it_was_if_this_fails(self):
            descriptor, data, reference = self._start(X, y, sample_weight)
            trainings = [self._training(descriptor, data, *start) for start in self._starts(descriptor, data)]
            trainings = self._train(trainings)
            return self._finish(trainings, descriptor, data, reference)

    def _start(self, X, y, sample_weight):
        """Check everything before any work; returns the MomentTensor, the MomentData and energies of species."""
        X = check_features(X, _NO_FEATURES)
        check_settings(self)
        if len(X) == 0:
            raise ValueError("no structures to fit to")
        descriptor = X[0].descriptor
        if not hasattr(descriptor, "radial_gradient") or X[0].steps:
            raise ValueError(
                "a MomentTensorPotential learns the radial functions of a MomentTensor, which must stand right before "
                "it, without steps between: make_pipeline(MomentTensor(), MomentTensorPotential())"
            )
        weights = KindWeights(self.energy_weight, self.force_weight, self.stress_weight, self.group_weights)
        check_baseline(self.baseline)
        sample_weight = check_sample_weight(sample_weight, len(X))
        targets = residual_targets(X, y, self.baseline)
        own_weights = structure_weights(X, targets, weights, sample_weight)
        warn_of_unknown_groups(self.group_weights, {item.group for item in X}, stacklevel=4)
        species = tuple(descriptor.species_)
        self._check_species(X, species)
        again = self.warm_start and hasattr(self, "radial_coef_")
        if again and (species, descriptor.radial_coefficients_.shape) != (self.species_, self.radial_coef_.shape[1:]):
            raise ValueError(
                f"the training began with radial functions {self.radial_coef_.shape[1:]} of {self.species_}, not "
                f"{descriptor.radial_coefficients_.shape} of {species}: use the MomentTensor of then, or "
                "warm_start=False"
            )
        reference = species_energies(self.intercept, X, targets, species)
        targets["energy"] -= [reference[item.species].sum() for item in X]
        data = MomentData(X.items, targets, own_weights * weighting_factors(self.weighting, X))
        check_memory(self, descriptor, data)
        self.species_, self.n_features_in_ = species, X.shape[1]
        return descriptor, data, reference

    def _check_species(self, X, species):
        found = np.unique(X.species)
        missing = [symbol for s, symbol in enumerate(species) if s not in found]
        if missing:
            raise ValueError(
                f"no training structure has {', '.join(missing)}: add some, or leave the element out of the "
                "descriptor's `species`"
            )

    def _starts(self, descriptor, data):
        """Radial functions, scaling, levels, other radial functions, and seed of each member to begin with."""
        again = self.warm_start and hasattr(self, "radial_coef_")
        rng = check_random_state(self.random_state)
        shape = descriptor.radial_coefficients_.shape
        levels = training_levels(descriptor.basis_)
        for k in range(self.n_models):
            own = np.random.RandomState(rng.randint(2**31))
            if again and k < len(self.radial_coef_):
                yield self.radial_coef_[k], self.scaling_[k], levels[-1:], [], own
                continue
            given = starts_as_given(self)
            radial = descriptor.radial_coefficients_ if given else random_functions(shape, own)
            scaling = self.scaling
            if scaling is None:
                scaling = unit_scaling(descriptor, radial, data.items)
            if given or self.initial == "random":
                yield radial, scaling, levels[-1:], [], own
            else:
                yield radial, scaling, levels, [random_functions(shape, own) for _ in range(self.n_init - 1)], own

    def _training(self, descriptor, data, radial, scaling, levels, others, rng):
        validation = None
        if self.early_stopping and self.solver != "ridge":
            train, rest = split_validation(len(data.items), self.validation_fraction, rng.randint(2**31))
            data, validation = data.part(train), data.part(rest)
        return MomentTraining(self, data, validation, descriptor, radial, float(scaling), levels, others)

    def _train(self, trainings):
        """Run the trainings one after the other; those that have something when interrupted."""
        disable = None if self.verbose else True  # tqdm's None: on a terminal only
        with tqdm(desc="training", unit="iteration", disable=disable) as bar, threadpool_limits(1, "blas"):

            def show(level, errors, checked):
                bar.set_postfix_str(f"level {level}: {checked or errors}", refresh=False)
                bar.update()

            try:
                for training in trainings:
                    training.run(show)
            except KeyboardInterrupt:
                trainings = [training for training in trainings if training.best is not None]
                if not trainings:
                    raise
                done = len(trainings[-1].history)
                warnings.warn(
                    f"training was interrupted in iteration {done + 1} of potential {len(trainings)} of "
                    f"{self.n_models}; the best so far are kept",
                    stacklevel=3,
                )
        return trainings

    def _finish(self, trainings, descriptor, data, reference):
        best = [training.best for training in trainings]
        shape = len(self.species_), len(descriptor.basis_.scalars)
        self.radial_coef_ = np.array([state.radial for state in best])
        self.scaling_ = np.array([training.scaling for training in trainings])
        self.coef_ = np.array([np.broadcast_to(state.coef, shape) for state in best])
        self.intercept_ = reference + np.array([state.intercept for state in best])
        self.basis_ = None
        self.history_ = [_history(training.history) for training in trainings]
        self.n_iter_ = max(len(training.history) for training in trainings)
        self._learn_active_set(descriptor, data.items)
        return self

    def prune(self, X, y, sample_weight=None, *, cost=0.5, max_increase=np.inf, refine=10):
        """Make a cheaper potential, without the features that cost much and help little.

        Features are dropped one after the other, each time the one whose loss raises the loss least for the time that
        it saves, with the best coefficients of the others; then the radial functions are trained again.

        Parameters
        ----------
        X : FeatureSet
            As for `fit`: of the structures that it was trained on.
        y : structured array of shape (n_structures,), or array of float
            As for `fit`.
        sample_weight : array of shape (n_structures,), default=None
            As for `fit`.
        cost : float, default=0.5
            Share of the operations for energy and forces to come down to.
        max_increase : float, default=inf
            Share by which dropping features may raise the loss; it ends before, whatever it costs.
        refine : int, default=10
            Iterations of "varpro" afterwards; 0: only the linear parameters are solved for.

        Returns
        -------
        potential : MomentTensorPotential
            A new, fitted one, for the same MomentTensor in the Pipeline.
        report : PruningReport
            Numbers of features, cost and errors before and after.

        Raises
        ------
        ValueError
            If the potential is a committee, or a parameter is wrong.
        """
        check_is_fitted(self)
        check_pruning(self, cost, max_increase, refine)
        new = clone(self).set_params(solver="varpro" if refine else "ridge", max_iter=max(refine, 1), warm_start=False)
        descriptor, data, reference = new._start(X, y, sample_weight)
        start, radial, scaling = self.learned_descriptor(descriptor), self.radial_coef_[0], self.scaling_[0]
        before = errors_of(MomentModel(start, self.coef_[0], self.intercept_[0] - reference), data, self.n_jobs)
        with threadpool_limits(1, "blas"):
            problem = moment_problem(self, data, start, start.basis_, scaling)
            path = pruning_path(problem, radial, max_increase, cost)
        kept = path.kept(len(path.loss) - 1)
        basis = start.basis_.subset(kept)
        smaller, levels = start.with_radial(radial[:, :, : basis.n_radial], basis=basis), [int(basis.levels.max())]
        training = MomentTraining(new, data, None, smaller, smaller.radial_coefficients_, scaling, levels)
        new._finish(new._train([training]), smaller, data, reference)
        new.set_params(**self.get_params(deep=False))
        new.n_features_in_, new.basis_ = self.n_features_in_, tuple(np.array(table) for table in basis)
        after = training.history[-1][1]
        n_features, costs = (len(problem.basis.scalars), len(kept)), (float(path.cost[0]), float(path.cost[-1]))
        return new, PruningReport(n_features, costs, (before, after), path)

    def _learn_active_set(self, descriptor, items):
        first = descriptor.with_radial(self.radial_coef_[0], scaling=self.scaling_[0])
        values = [first.values(item.pairs) for item in items]
        found = _maxvol.active_sets(values, [item.species for item in items], len(self.species_))
        self.active_set_ = [active_set.state() for active_set in found]
        self.__dict__.pop("_active_sets", None)

    def _check_fitted(self):
        """Raise ValueError where fitted attributes do not go together; see `mlfeat.persistence`."""
        n_models, n_species, n_features = len(self.coef_), len(self.species_), self.coef_.shape[-1]
        n_radial, n_polynomials = self.radial_coef_.shape[-2:]
        check_array("radial_coef_", self.radial_coef_, (n_models, n_species, n_species, n_radial, n_polynomials))
        check_array("scaling_", self.scaling_, (n_models,))
        check_array("coef_", self.coef_, (n_models, n_species, n_features))
        check_array("intercept_", self.intercept_, (n_models, n_species))
        if n_models == 0 or not self.scaling_.all():
            raise ValueError("there are no models, or a scaling_ is zero")
        basis = None if self.basis_ is None else as_basis(self.basis_)
        expected = (self.n_features_in_, n_radial) if basis is None else (len(basis.scalars), basis.n_radial)
        if (n_features, n_radial) != expected:
            raise ValueError(
                f"there are coefficients of {n_features} features and {n_radial} radial functions, expected {expected}"
            )
        if self.active_set_ is not None and len(self.active_set_) != n_species:
            raise ValueError(f"active_set_ has {len(self.active_set_)} species, there are {n_species}")
        for s, state in enumerate(self.active_set_ or ()):
            _maxvol.ActiveSet.from_state(state, n_features, f"active_set_[{s}]")
        check_baseline(self.baseline)

    # ---------------------------------------------------------------- prediction

    @property
    def _n_members(self):
        return len(getattr(self, "coef_", ()))

    @property
    def n_parameters_(self):
        """Number of parameters of a member: coefficients of the features, intercepts, radial coefficients."""
        coef = self.coef_[0, :1] if self.tied else self.coef_[0]
        return coef.size + self.intercept_[0].size + self.radial_coef_[0].size

    def _learned(self):
        return self.radial_coef_, self.scaling_, self.basis_

    def learned_descriptor(self, descriptor):
        """Give the MomentTensor with the radial functions learnt, of a committee the union of the members'.

        Parameters
        ----------
        descriptor : MomentTensor
            The fitted one of the Pipeline, or the learned one itself.

        Returns
        -------
        MomentTensor or DescriptorUnion
            Its features are those that `coef_` is for.
        """
        check_is_fitted(self)
        return learned_descriptor(descriptor, *self._learned())

    def _input(self, X):
        """The FeatureSet with the features of the learned descriptor."""
        check_is_fitted(self)
        X = check_features(X, _NO_FEATURES)
        if len(X) == 0:
            return X
        if X[0].steps:
            raise ValueError("the features went through steps: a MomentTensor must stand right before the potential")
        if is_learned(X[0].descriptor, *self._learned()):
            return X
        X = super()._input(X)
        return self.learned_descriptor(X[0].descriptor).remake(X)

    def energy_model(self):
        """Give the MomentEnergy with these coefficients.

        Returns
        -------
        MomentEnergy
            The mean over the members, on the features of all of them.
        """
        return MomentEnergy(self.coef_, self.intercept_)

    def energy_and_cotangent(self, features):
        """Compute energies of atoms, without the baseline, and their derivatives.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            Features of the learned descriptor.

        Returns
        -------
        energies : array of shape (n_atoms,)
            E_i, eV.
        cotangents : array of shape (n_atoms, n_features)
            Derivatives ∂E_i/∂B_i.

        Raises
        ------
        ValueError
            If they are features of another descriptor, as that of the Pipeline.
        """
        self._check_learned(features)
        return self.energy_model().energy_and_cotangent(features)

    def _check_learned(self, features):
        if isinstance(features, StructureFeatures) and not is_learned(features.descriptor, *self._learned()):
            raise ValueError(
                "these are not features of the radial functions that the potential learned: make them with "
                "potential.learned_descriptor(descriptor).transform(structures), or use predict_targets"
            )

    # ---------------------------------------------------------------- extrapolation

    @available_if(lambda self: getattr(self, "active_set_", None) is not None)
    def extrapolation_grade(self, features):
        r"""How far each atom's environment is from those of the training data.

        Each environment is a row (1, B). With A the square matrix of as many training environments of the same species
        as span the largest volume, to the tolerance ε = 0.001 of the MaxVol algorithm,

        .. math:: \gamma_i = \max_k |((1, B_i) A^{-1})_k| / (1 + \epsilon):

        at most one on the training data. Of a committee by the features of the first member.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            Features of the learned descriptor.

        Returns
        -------
        array of shape (n_atoms,)
            The γ.

        References
        ----------
        E. V. Podryabinkin, A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017).
        """
        self._check_learned(features)
        return _maxvol.grades(self._sets(), self._first_features(features), features.species)

    @available_if(lambda self: getattr(self, "active_set_", None) is not None)
    def select(self, X, n, threshold=1.0):
        """Choose structures to learn from next: those farthest from the training data, and from each other.

        Parameters
        ----------
        X : FeatureSet
            Features of the candidates; in a Pipeline, ``pipeline[:-1].transform(structures)``.
        n : int
            How many to choose at most.
        threshold : float, default=1.0
            Structures with a grade of this or less are not chosen.

        Returns
        -------
        chosen : array of int
            Indices of structures, in the order of choice.
        grades : array
            The grade of each when it was chosen, the ones before it taken for known.
        """
        X = self._input(X)
        values = [self._first_features(item) for item in X]
        return _maxvol.select(self._sets(), values, [item.species for item in X], n, threshold)

    def _first_features(self, features):
        return features.values[:, : self.coef_.shape[-1]]

    def _sets(self):
        if not hasattr(self, "_active_sets"):
            n = self.coef_.shape[-1]
            self._active_sets = [_maxvol.ActiveSet.from_state(state, n) for state in self.active_set_]
        return self._active_sets


def _history(entries):
    levels = np.array([level for level, *_ in entries])
    return {"level": levels, **learning_curve([tuple(errors) for _, *errors in entries])}
