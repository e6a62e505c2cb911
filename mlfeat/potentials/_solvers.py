"""Solvers of networks, from the parameters of NeuralNetworkPotential."""

from mlfeat.potentials._gradient_solvers import AdamSolver, LbfgsSolver
from mlfeat.potentials._kalman import FadingMemory, KalmanFilter, ProcessNoise, layer_blocks
from mlfeat.potentials._kalman_solver import KalmanSolver
from mlfeat.potentials._neural_settings import batch_size


def make_solver(potential, networks, scale, noise, rng):
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

    Returns
    -------
    KalmanSolver, LbfgsSolver or AdamSolver
    """
    common = {"scale": scale, "noise": noise, "alpha": potential.alpha, "rng": rng}
    if potential.solver == "lbfgs":
        return LbfgsSolver(networks, **common)
    if potential.solver == "adam":
        return AdamSolver(networks, learning_rate=potential.learning_rate, batch_size=batch_size(potential), **common)
    return KalmanSolver(
        networks,
        _make_filter(potential, networks),
        batch_size=batch_size(potential),
        fractions=(potential.energy_fraction, potential.force_fraction, potential.stress_fraction),
        thresholds=(potential.energy_threshold, potential.force_threshold, potential.force_threshold),
        trials=potential.threshold_trials,
        **common,
    )


def _make_filter(potential, networks):
    layers = [w.size + b.size for network in networks for w, b in zip(network.weights, network.biases, strict=True)]
    if potential.kalman_type == "noise":
        eta = potential.kalman_eta, potential.kalman_eta_tau, max(potential.kalman_eta, potential.kalman_eta_max)
        q = max(potential.kalman_q0, potential.kalman_q_min), potential.kalman_q_tau, potential.kalman_q_min
        schedule = ProcessNoise(*eta, *q)
    else:
        schedule = FadingMemory(potential.kalman_lambda, potential.kalman_nu)
    return KalmanFilter(
        sum(layers),
        blocks=None if potential.block_size is None else layer_blocks(layers, potential.block_size),
        covariance=1 / potential.kalman_epsilon,
        schedule=schedule,
    )
