"""Solvers of networks, from the parameters of NeuralNetworkPotential."""

from mlfeat.potentials._gradient_solvers import AdamSolver, LbfgsSolver
from mlfeat.potentials._kalman import FadingMemory, KalmanFilter, ProcessNoise, layer_blocks
from mlfeat.potentials._kalman_solver import KalmanSolver
from mlfeat.potentials._neural_settings import batch_size

MEMORY = 3.5  # measurements for each parameter that the filter remembers at first: enough to determine them
EPOCHS = 1.0  # that it remembers in the end


def make_solver(potential, networks, scale, noise, rng, counts):
    """Make the solver that a potential's parameters name.

    Parameters
    ----------
    potential : NeuralNetworkPotential
        With parameters that `check_settings` found in order.
    networks : list of Network
        What training starts from.
    scale : float
        Energy (eV) that an output of one stands for.
    noise : float
        Standard deviation of the residual of a measurement of weight one.
    rng : numpy.random.RandomState
    counts : array (3,)
        Numbers of energies, of force components and of stress components that there are.

    Returns
    -------
    KalmanSolver, LbfgsSolver or AdamSolver
    """
    common = {"scale": scale, "noise": noise, "alpha": potential.alpha, "rng": rng}
    if potential.solver == "lbfgs":
        return LbfgsSolver(networks, **common)
    if potential.solver == "adam":
        return AdamSolver(networks, learning_rate=potential.learning_rate, batch_size=batch_size(potential), **common)
    fractions = potential.energy_fraction, potential.force_fraction, potential.stress_fraction
    return KalmanSolver(
        networks,
        _make_filter(potential, networks, max(1.0, counts @ fractions)),
        batch_size=batch_size(potential),
        fractions=fractions,
        thresholds=(potential.energy_threshold, potential.force_threshold, potential.force_threshold),
        trials=potential.threshold_trials,
        **common,
    )


def _make_filter(potential, networks, n_measurements):
    """Filter of the parameters of all networks, with so many measurements in an epoch."""
    layers = [w.size + b.size for network in networks for w, b in zip(network.weights, network.biases, strict=True)]
    n_updates = n_measurements / batch_size(potential)
    if potential.kalman_type == "noise":
        eta = potential.kalman_eta, potential.kalman_eta_tau, max(potential.kalman_eta, potential.kalman_eta_max)
        q = max(potential.kalman_q0, potential.kalman_q_min), potential.kalman_q_tau, potential.kalman_q_min
        schedule = ProcessNoise(*eta, *q, updates_per_epoch=n_updates)
    else:
        schedule = FadingMemory(*_forgetting(potential, sum(layers), n_updates))
    return KalmanFilter(
        sum(layers),
        blocks=None if potential.block_size is None else layer_blocks(layers, potential.block_size),
        covariance=1 / potential.kalman_epsilon,
        schedule=schedule,
    )


def _forgetting(potential, n_parameters, n_updates):
    """λ of the first update, and ν; the filter remembers about 1/(1 − λ) updates."""
    first, nu = potential.kalman_lambda, potential.kalman_nu
    if first == "auto":
        first = max(0.9, 1 - batch_size(potential) / (MEMORY * n_parameters))
    if nu == "auto":
        last = max(first, 1 - 1 / max(1.0, EPOCHS * n_updates))
        nu = 1.0 if first == 1 else ((1 - last) / (1 - first)) ** (1 / max(1.0, potential.max_iter * n_updates))
    return first, nu
