"""Potentials with a neural network for each element, trained on energies, forces and stresses."""

import threading
import warnings

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mlfeat._archive import check_array
from mlfeat.base import PotentialMixin
from mlfeat.base._potential import check_features
from mlfeat.potentials._activations import ACTIVATIONS
from mlfeat.potentials._committee import CommitteeMixin
from mlfeat.potentials._measurements import Measurements
from mlfeat.potentials._network import Network
from mlfeat.potentials._neural_energy import NeuralEnergy
from mlfeat.potentials._neural_settings import (
    check_inputs,
    check_settings,
    network_forms,
    species_energies,
)
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
from mlfeat.potentials._solvers import make_solver
from mlfeat.potentials._training import Training, learning_curve

__all__ = ["NeuralNetworkPotential"]

SOLVER_PARAMETERS = (
    "solver",
    "n_models",
    "batch_size",
    "energy_fraction",
    "force_fraction",
    "stress_fraction",
    "energy_threshold",
    "force_threshold",
    "threshold_trials",
    "kalman_type",
    "kalman_epsilon",
    "kalman_lambda",
    "kalman_nu",
    "kalman_q0",
    "kalman_q_tau",
    "kalman_q_min",
    "kalman_eta",
    "kalman_eta_tau",
    "kalman_eta_max",
    "block_size",
    "learning_rate",
    "alpha",
)
ROUNDING = 1e-9  # of a feature, by which it may leave its range
SMALL_FORCES = 1e-6  # of the spread of energies per atom, in 1/Å: forces that are rounding
NOISE = 0.1  # of the forces' size: what residuals of the end of a training are like


class NeuralNetworkPotential(CommitteeMixin, PotentialMixin, BaseEstimator):
    r"""Neural networks of atoms' features, one for each element: the potential of Behler and Parrinello.

    .. math:: E = E_0 + \sum_i \big( b_{s_i} + \epsilon\, \mathrm{NN}_{s_i}(B_i) \big), \qquad
        \mathrm{NN}(B) = W_L a_{L-1} + b_L, \quad a_l = f(W_l a_{l-1} + b_l), \quad a_0 = B,

    :math:`s_i` the species of atom i, :math:`E_0` the baseline, ε the unit of the networks' outputs. The networks are
    trained on energies, forces and stresses: they lessen

    .. math:: \sum_s c_s \Big[ w_E \Big(\frac{\Delta E_s}{N_s}\Big)^2 + w_F \sum_{ax} \Delta F_{s,ax}^2
              + w_S \sum_{m=1}^6 \Delta \sigma_{s,m}^2 \Big] \big/ u^2 + \alpha \lVert w \rVert^2

    over structures s with :math:`N_s` atoms, :math:`c_s` the sample weight; u is a tenth of the size of the forces,
    :math:`0.1 \sqrt{w_F \langle F^2 \rangle}`, about the residual of a trained network. Features should be scaled
    alike, by a `FeatureScaler` before the potential.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or dict, default=(16, 16)
        Nodes of each hidden layer, for all elements or by symbol.
    activation : str or tuple of str, default="tanh"
        Activation f of all hidden layers, or of each: "tanh", "softplus", "logistic", "silu", "gaussian", "cos",
        "relu", "reverse_logistic", "exp", "harmonic" or "linear". Forces are smooth if f' is ("relu" is not).
    solver : {"kalman", "lbfgs", "adam"}, default="kalman"
        "kalman" is an extended Kalman filter, whose measurements are energies, and components of forces and
        stresses: few epochs, of O(n²) operations a measurement for n parameters. "lbfgs" (20 iterations an epoch) and
        "adam" go along the gradient, at O(n).
    energy_weight, force_weight, stress_weight : float, default=1.0, 5e-4, 1.0
        w_E, w_F, w_S: weights of squared residuals, in eV per atom, eV/Å, eV/Å³.
    group_weights : dict, default=None
        Factors by group (``str(atoms.info["group"])``): a number, or one each for energy, forces and stress. Others
        have 1.
    max_iter : int, default=20
        Epochs: passes over the structures.
    batch_size : int or "auto", default="auto"
        Measurements of one update of the Kalman filter, taken at the same weights ("auto": 64; 1 is what n2p2 does), or
        structures of a step of Adam ("auto": 8).
    energy_fraction, force_fraction, stress_fraction : float, default=1.0
        Share of the energies, and of the components of forces and stresses, that an epoch of the Kalman filter takes,
        drawn at random.
    energy_threshold, force_threshold : float, default=0.0
        Energies per atom whose error is below the threshold, in units of the root mean square error of the last epoch,
        are left out. Components of forces and stresses below theirs are replaced by others, `threshold_trials` times at
        most; then the one with the largest error is taken. So `force_threshold` has an effect only with a
        `force_fraction` or `stress_fraction` below one.
    threshold_trials : int, default=3
        See there.
    kalman_type : {"fading", "noise"}, default="fading"
        How the filter forgets what it learnt with former weights: by fading memory (λ, ν), or by noise of the
        weights and of the measurements that becomes less (q, η).
    kalman_epsilon : float, default=10.0
        ε of the covariance P = 1/ε of the weights at first.
    kalman_lambda, kalman_nu : float or "auto", default="auto"
        λ of the first update, by which the covariance is divided after it, and ν: λ ← ν λ + 1 − ν. The filter remembers
        about 1/(1 − λ) updates; "auto" makes these 3.5 measurements for each weight at first, and one epoch after
        `max_iter` epochs of the data that training began with, whether in one call or in several.
    kalman_q0, kalman_q_tau, kalman_q_min : float, default=1e-4, 4.6, 1e-11
        Noise of the weights, q = max(q0 exp(−q_tau t), q_min) after t epochs, in units where measurements of weight
        one have the noise u² (see above).
    kalman_eta, kalman_eta_tau, kalman_eta_max : float, default=0.1, 2.302, 1.0
        Noise of the measurements 1/η, η = min(eta exp(eta_tau t), eta_max), in the same units.
    block_size : int, default=None
        Most weights that share a covariance: the filter is then block-diagonal, layer by layer, at O(n · block_size) a
        measurement, for large networks. None: one covariance of all.
    learning_rate : float, default=1e-3
        Of Adam.
    alpha : float, default=0.0
        α, the penalty of the weights.
    early_stopping : bool, default=False
        Set a share of the structures aside, keep the networks that do best on them, and end when these have not become
        better by the share `tol` in `n_iter_no_change` epochs. Otherwise the networks with the least loss on all
        structures are kept, after `max_iter` epochs.
    validation_fraction : float, default=0.1
        The share, drawn for each member of a committee.
    n_iter_no_change : int, default=5
        See `early_stopping`.
    tol : float, default=1e-3
        See `early_stopping`.
    n_models : int, default=1
        Members of a committee: networks trained from different weights, on structures in different order. The
        potential is their mean, their spread its uncertainty.
    intercept : "species", dict or None, default="species"
        b: "species" are the energies of the species that explain the energies per atom best. A dict
        ``{symbol: eV}``: fixed ones. None: zero.
    baseline : ASE calculator, default=None
        Subtracted before training and added to all predictions, e.g. `ZBL`.
    warm_start : bool, default=False
        `fit` goes on from the last networks and the state of their solver, and keeps the networks that it had unless it
        finds better ones. If a parameter of the solver was changed, or the networks were loaded, there is no such
        state: training begins anew from their weights.
    random_state : int, RandomState instance or None, default=None
        Of first weights, order and choice of measurements. With an int the same call gives the same networks.
    n_jobs : int, default=None
        Threads: members of a committee are trained at the same time. The result does not depend on it.
    memory_limit : float, default=4e9
        Bytes that the derivatives of features may take that the Kalman filter works with. If they take more, they are
        made anew in each epoch.
    verbose : bool, default=False
        Show a progress bar with the errors of the last epoch, on a terminal.

    Attributes
    ----------
    parameters_ : array of shape (n_models, n_parameters)
        Weights and biases, network by network in the order of `species_`, layer by layer: W (rows are nodes), then b.
    networks_ : tuple of tuples of Network
        The same as networks, of each member and species.
    layer_sizes_, activations_ : tuples
        Of each species: numbers of inputs and of nodes of the hidden layers; names of activations.
    scale_ : float
        ε, eV: the root mean square of the force components of the training data, times 1 Å.
    intercept_ : array of shape (n_species,)
        b, eV.
    species_ : tuple of str
        Symbols, in the order of the networks.
    n_features_in_ : int
        Number of features of an atom.
    input_min_, input_max_ : arrays of shape (n_species, n_features)
        Range of each feature in the training data, for `extrapolation_grade`.
    n_iter_ : int
        Epochs, at most those of any member.
    history_ : list of dict
        Learning curve of each member in the last call: arrays "loss", "energy" (eV/atom), "forces" (eV/Å) and "stress"
        (eV/Å³), root mean square errors after each epoch, with early stopping also "validation_loss" and so on.

    Raises
    ------
    ValueError
        By `fit`, if parameters or data are wrong; it says what and where.

    Notes
    -----
    Second derivatives are exact: the derivative of a force with respect to the weights takes one sweep forward through
    the networks along the derivatives of the features, and one back. The filter works with explicit derivatives of the
    features; "lbfgs" and "adam" with `vjp` and `jvp` of the descriptor.

    References
    ----------
    J. Behler, M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007).
    A. Singraber, T. Morawietz, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 3075 (2019), for the Kalman filter.
    T. B. Blank, S. D. Brown, J. Chemometrics 8, 391 (1994), for fading memory.
    S. Hu et al., arXiv:2212.06989, for the block-diagonal filter.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from mlfeat import ACSF, FeatureScaler, NeuralNetworkPotential
    >>> model = make_pipeline(ACSF(5.0), FeatureScaler("mean", "range"), NeuralNetworkPotential((20, 20)))
    """

    _state = (
        "parameters_",
        "layer_sizes_",
        "activations_",
        "scale_",
        "intercept_",
        "species_",
        "n_features_in_",
        "input_min_",
        "input_max_",
        "n_iter_",
        "history_",
    )

    def __init__(
        self,
        hidden_layer_sizes=(16, 16),
        activation="tanh",
        *,
        solver="kalman",
        energy_weight=1.0,
        force_weight=5e-4,
        stress_weight=1.0,
        group_weights=None,
        max_iter=20,
        batch_size="auto",
        energy_fraction=1.0,
        force_fraction=1.0,
        stress_fraction=1.0,
        energy_threshold=0.0,
        force_threshold=0.0,
        threshold_trials=3,
        kalman_type="fading",
        kalman_epsilon=10.0,
        kalman_lambda="auto",
        kalman_nu="auto",
        kalman_q0=1e-4,
        kalman_q_tau=4.6,
        kalman_q_min=1e-11,
        kalman_eta=0.1,
        kalman_eta_tau=2.302,
        kalman_eta_max=1.0,
        block_size=None,
        learning_rate=1e-3,
        alpha=0.0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        tol=1e-3,
        n_models=1,
        intercept="species",
        baseline=None,
        warm_start=False,
        random_state=None,
        n_jobs=None,
        memory_limit=4e9,
        verbose=False,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.energy_weight = energy_weight
        self.force_weight = force_weight
        self.stress_weight = stress_weight
        self.group_weights = group_weights
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.energy_fraction = energy_fraction
        self.force_fraction = force_fraction
        self.stress_fraction = stress_fraction
        self.energy_threshold = energy_threshold
        self.force_threshold = force_threshold
        self.threshold_trials = threshold_trials
        self.kalman_type = kalman_type
        self.kalman_epsilon = kalman_epsilon
        self.kalman_lambda = kalman_lambda
        self.kalman_nu = kalman_nu
        self.kalman_q0 = kalman_q0
        self.kalman_q_tau = kalman_q_tau
        self.kalman_q_min = kalman_q_min
        self.kalman_eta = kalman_eta
        self.kalman_eta_tau = kalman_eta_tau
        self.kalman_eta_max = kalman_eta_max
        self.block_size = block_size
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
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

        If it is interrupted (KeyboardInterrupt) after the first epoch, it warns and keeps the best networks so far.

        Parameters
        ----------
        X : FeatureSet
            Features of structures.
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
            index); if a feature does not vary, a species has no atoms, or there are no forces but a weight for them.
        """
        again = self.warm_start and hasattr(self, "parameters_")
        with as_it_was_if_this_fails(self):
            data = self._start(X, y, sample_weight, again)
            trainings = [self._training(k, data, self.early_stopping, again) for k in range(self.n_models)]
            return self._train(trainings, self.max_iter, self.n_iter_no_change if self.early_stopping else np.inf)

    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on these structures alone; the networks are those after it.

        The first call chooses the zero and the unit of energies from its structures.

        Parameters
        ----------
        X : FeatureSet
            Features of structures, from one descriptor, fitted once: in a Pipeline, ``pipeline[:-1].transform(more)``.
        y : structured array of shape (n_structures,), or array of float
            As for `fit`.
        sample_weight : array of shape (n_structures,), default=None
            Weights of the structures' squared residuals.

        Returns
        -------
        self
            The fitted potential.
        """
        with as_it_was_if_this_fails(self):
            data = self._start(X, y, sample_weight, again=hasattr(self, "parameters_"))
            return self._train([self._training(k, data) for k in range(self.n_models)], 1, np.inf)

    def _start(self, X, y, sample_weight, again):
        """Check everything before any work; returns the Measurements."""
        X = check_features(X)
        check_settings(self)
        if len(X) == 0:
            raise ValueError("no structures to fit to")
        weights = KindWeights(self.energy_weight, self.force_weight, self.stress_weight, self.group_weights)
        check_baseline(self.baseline)
        sample_weight = check_sample_weight(sample_weight, len(X))
        species, n_features = tuple(X[0].descriptor.species_), X.shape[1]
        forms = network_forms(self, species, n_features)
        if again and (species, n_features) != (self.species_, self.n_features_in_):
            raise ValueError(
                f"the training began with {self.n_features_in_} features of {self.species_}, "
                f"not {n_features} of {species}: use one fitted descriptor"
            )
        if again and forms != (self.layer_sizes_, self.activations_):
            raise ValueError(
                f"the training began with layers {self.layer_sizes_} and activations {self.activations_}, not {forms}: "
                "set hidden_layer_sizes and activation as they were, or warm_start=False"
            )
        targets = residual_targets(X, y, self.baseline)
        own_weights = structure_weights(X, targets, weights, sample_weight)
        warn_of_unknown_groups(self.group_weights, {item.group for item in X}, stacklevel=4)
        values = [np.concatenate([item.values[item.species == s] for item in X]) for s in range(len(species))]
        check_inputs(values, X.feature_names, species, vary=not again)
        if not again:
            self.species_, self.n_features_in_ = species, n_features
            self.layer_sizes_, self.activations_ = forms
            self.intercept_ = species_energies(self.intercept, X, targets, species)
            self.input_min_, self.input_max_ = np.inf, -np.inf
            self.n_iter_ = 0
            for name in ("_solvers", "_solver_parameters", "_noise", "parameters_"):
                self.__dict__.pop(name, None)
        low, high = [np.stack([f(own) for own in values]) for f in (_least, _largest)]
        self.input_min_, self.input_max_ = np.minimum(self.input_min_, low), np.maximum(self.input_max_, high)
        targets["energy"] -= [self.intercept_[item.species].sum() for item in X]
        scale, noise = _sizes(targets, own_weights, np.array([item.n_atoms for item in X]))
        if not again:
            self.scale_ = scale
        if not hasattr(self, "_noise"):
            self._noise = noise
        return Measurements(X.items, targets, own_weights, self.memory_limit)

    def _training(self, k, data, split=False, again=False):
        """Training of member k; with `split` on a part of the data, the rest serving for early stopping.

        If it goes on from before, `again`, the networks of before are kept until there are better ones.
        """
        self._make_solvers(data)
        validation = None
        if split:
            train, rest = split_validation(len(data), self.validation_fraction, self._split_seeds[k])
            data, validation = data[train], data[rest]
        known = self.networks_[k] if again and k < len(self.parameters_) else None
        return Training(self._solvers[k], data, validation, self.scale_, known)

    def _make_solvers(self, data):
        """Solvers of all members, unless there are some with the same parameters."""
        parameters = {name: getattr(self, name) for name in SOLVER_PARAMETERS}
        if getattr(self, "_solver_parameters", None) == parameters:
            return
        rng = check_random_state(self.random_state)
        forms = list(zip(self.layer_sizes_, self.activations_, strict=True))
        known = self.networks_ if hasattr(self, "parameters_") else ()
        self._solvers, self._split_seeds, self._solver_parameters = [], [], parameters
        for k in range(self.n_models):
            own = np.random.RandomState(rng.randint(2**31))
            networks = known[k] if k < len(known) else [Network.random(*form, own) for form in forms]
            self._solvers.append(make_solver(self, networks, self.scale_, self._noise, own, data.count()))
            self._split_seeds.append(own.randint(2**31))

    def _train(self, trainings, max_iter, patience):
        """Run the trainings, in threads if there are several; keep what there is when interrupted."""
        stop = threading.Event()
        running = [threading.Lock() for _ in trainings]
        disable = None if self.verbose else True  # tqdm's None: on a terminal only
        with tqdm(total=max_iter * len(trainings), desc="training", unit="epoch", disable=disable) as bar:

            def report(entry):
                bar.set_postfix_str(str(entry[1] or entry[0]), refresh=False)
                bar.update()

            def run(training, lock):
                n_jobs = self.n_jobs if len(trainings) == 1 else 1
                with lock:
                    if not stop.is_set():
                        training.run(max_iter, patience, self.tol, report, stop, n_jobs)

            try:
                with threadpool_limits(1, "blas"):  # products are small: its threads would wait for one another
                    parts = zip(trainings, running, strict=True)
                    Parallel(self.n_jobs, require="sharedmem")(delayed(run)(*part) for part in parts)
            except KeyboardInterrupt:
                stop.set()
                for lock in running:  # until the threads have seen it
                    lock.acquire()
                trainings = [training for training in trainings if training.history]
                if not trainings:
                    raise
                epochs = min(len(training.history) for training in trainings)
                warnings.warn(
                    f"training was interrupted: {len(trainings)} of {self.n_models} networks were trained, for "
                    f"{epochs} epochs or more; the best so far are kept",
                    stacklevel=3,
                )
        return self._finish(trainings)

    def _finish(self, trainings):
        self.parameters_ = np.array([_flat(training.best) for training in trainings])
        self.n_iter_ += max(len(training.history) for training in trainings)
        self.history_ = [learning_curve(training.history) for training in trainings]
        return self

    def _check_fitted(self):
        """Raise ValueError where fitted attributes do not go together; see `mlfeat.persistence`."""
        n_species, n_features = len(self.species_), self.n_features_in_
        if len(self.layer_sizes_) != n_species or len(self.activations_) != n_species:
            raise ValueError(f"layer_sizes_ and activations_ are not those of {n_species} species")
        for sizes, activations in zip(self.layer_sizes_, self.activations_, strict=True):
            if not 0 < sizes[0] <= n_features or len(activations) != len(sizes) - 1:
                raise ValueError(f"layer_sizes_ {sizes} do not go with {n_features} features and {activations}")
            unknown = set(activations) - set(ACTIVATIONS)
            if unknown:
                raise ValueError(f"activations_ has {', '.join(sorted(unknown))}")
        forms = zip(self.layer_sizes_, self.activations_, strict=True)
        n_parameters = sum(Network.zeros(*form).n_parameters for form in forms)
        check_array("parameters_", self.parameters_, (len(self.parameters_), n_parameters))
        check_array("intercept_", self.intercept_, (n_species,))
        for name in ("input_min_", "input_max_"):
            check_array(name, getattr(self, name), (n_species, n_features))
        if not (len(self.parameters_) > 0 and self.scale_ > 0):
            raise ValueError("there are no networks, or scale_ is not positive")
        check_baseline(self.baseline)

    # ---------------------------------------------------------------- prediction

    @property
    def networks_(self):
        """Networks of each member, one for each species."""
        return tuple(self._networks_of(parameters) for parameters in self.parameters_)

    def _networks_of(self, parameters):
        networks, start = [], 0
        for sizes, activations in zip(self.layer_sizes_, self.activations_, strict=True):
            network = Network.zeros(sizes, activations)
            stop = start + network.n_parameters
            networks.append(network.with_parameters(parameters[start:stop]))
            start = stop
        return tuple(networks)

    @property
    def _n_members(self):
        return len(getattr(self, "parameters_", ()))

    @property
    def n_parameters_(self):
        """Number of weights and biases of a member's networks."""
        return self.parameters_.shape[1]

    def energy_model(self):
        """Give the NeuralEnergy of these networks.

        Returns
        -------
        NeuralEnergy
            The mean over the members.
        """
        return NeuralEnergy(self.networks_, self.scale_, self.intercept_)

    def energy_and_cotangent(self, features):
        """Compute energies of atoms, without the baseline, and their derivatives.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        energies : array of shape (n_atoms,)
            E_i, eV.
        cotangents : array of shape (n_atoms, n_features)
            Derivatives ∂E_i/∂B_i.
        """
        return self.energy_model().energy_and_cotangent(features)

    def extrapolation_grade(self, features):
        r"""How far each atom's features are outside the ranges that they had in training.

        .. math:: \gamma_i = \max_k \frac{|B_{ik} - m_{sk}|}{h_{sk}},

        with m the middle of the range of feature k over the training atoms of the species s, and h its half width: at
        most one on the training data. Infinite for a feature outside a range without width.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        array of shape (n_atoms,)
            The γ.
        """
        return self._grades(features).max(axis=1, initial=0.0)

    def _grades(self, features):
        check_is_fitted(self)
        low, high = self.input_min_[features.species], self.input_max_[features.species]
        width = 0.5 * (high - low)
        away = np.abs(features.values - 0.5 * (low + high))
        inside = away <= width + ROUNDING * np.maximum(np.abs(low), np.abs(high))
        with np.errstate(divide="ignore", invalid="ignore"):
            grades = away / width
        return np.where(inside, np.where(width > 0, np.minimum(grades, 1.0), 0.0), grades)

    def extrapolating_features(self, features):
        """Features that are outside the range that they had in training.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        list of (int, int, float, float, float)
            Atom, feature, its value, and its least and largest value in training, the farthest outside first.
        """
        grades = self._grades(features)
        atoms, columns = np.nonzero(grades > 1)
        order = np.argsort(-grades[atoms, columns], kind="stable")
        atoms, columns = atoms[order], columns[order]
        species = features.species[atoms]
        ranges = self.input_min_[species, columns], self.input_max_[species, columns]
        found = atoms, columns, features.values[atoms, columns], *ranges
        return list(zip(*(part.tolist() for part in found), strict=True))


def _least(values):
    return values.min(axis=0, initial=np.inf)


def _largest(values):
    return values.max(axis=0, initial=-np.inf)


def _sizes(targets, weights, n_atoms):
    """Unit of the networks' outputs, eV, and the noise of measurements of weight one.

    The unit is the root mean square of the force components times 1 Å; the noise NOISE times that, weighed as forces
    are. Without forces, or if all are zero but for rounding, the unit is the spread of the energies per atom, and the
    noise that of energies, or of stresses if these have no weight.
    """
    energies = targets["energy"] / n_atoms
    spread = float(np.std(energies))
    forces = [targets["forces"][k] if weights[k, 1] > 0 else np.empty((0, 3)) for k in range(len(weights))]
    size = _root_mean_square(forces, np.ones(len(weights)))
    if size > SMALL_FORCES * spread:
        scale, noise = size, _root_mean_square(forces, weights[:, 1])
    else:
        scale, noise = spread, _root_mean_square(energies[:, None] - energies.mean(), weights[:, 0])
    if not noise > 0:
        noise = _root_mean_square(np.where(weights[:, 2:] > 0, targets["stress"], 0.0), weights[:, 2])
    return scale or 1.0, NOISE * (noise or 1.0)


def _root_mean_square(parts, weights):
    """Of an array for each structure, squares multiplied by the structure's weight; zero if there is nothing."""
    count = sum(part.size for part in parts)
    total = sum(weight * np.sum(np.square(part)) for part, weight in zip(parts, weights, strict=True))
    return float(np.sqrt(total / count)) if count else 0.0


def _flat(networks):
    return np.concatenate([network.parameters for network in networks])
