"""Parameters of NeuralNetworkPotential, checked and made definite."""

from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from mlfeat.potentials._activations import ACTIVATIONS
from mlfeat.potentials._reference_energies import average_energies, given_energies
from mlfeat.potentials._settings import INSIDE, NOT_NEGATIVE, POSITIVE, SHARE, check_parameters, is_count, is_number

SOLVERS = ("kalman", "lbfgs", "adam")
FRACTIONS = ("energy_fraction", "force_fraction", "stress_fraction")
KALMAN_TYPES = ("fading", "noise")
MEASUREMENTS = 64  # of an update of the filter: enough for matrix products, few enough for one linearization
STRUCTURES = 8  # of a step of Adam

_NUMBERS = {
    "energy_fraction": SHARE,
    "force_fraction": SHARE,
    "stress_fraction": SHARE,
    "energy_threshold": NOT_NEGATIVE,
    "force_threshold": NOT_NEGATIVE,
    "kalman_epsilon": POSITIVE,
    "kalman_q0": NOT_NEGATIVE,
    "kalman_q_tau": NOT_NEGATIVE,
    "kalman_q_min": NOT_NEGATIVE,
    "kalman_eta": POSITIVE,
    "kalman_eta_tau": NOT_NEGATIVE,
    "kalman_eta_max": POSITIVE,
    "learning_rate": POSITIVE,
    "alpha": NOT_NEGATIVE,
    "validation_fraction": INSIDE,
    "tol": NOT_NEGATIVE,
}
_COUNTS = {  # and what else they may be
    "max_iter": (),
    "n_iter_no_change": (),
    "n_models": (),
    "threshold_trials": (),
    "block_size": (None,),
    "batch_size": ("auto",),
}
_CHOICES = {
    "solver": SOLVERS,
    "kalman_type": KALMAN_TYPES,
    "early_stopping": (True, False),
    "warm_start": (True, False),
    "verbose": (True, False),
}


def check_settings(potential):
    """Raise ValueError for the first parameter that is wrong."""
    check_parameters(potential, _NUMBERS, _COUNTS, _CHOICES)
    _check_filter(potential)
    limit = potential.memory_limit
    if not is_number(limit) or not limit >= 0:
        raise ValueError(f"memory_limit={limit!r}: must be a number of bytes, or infinite")
    check_random_state(potential.random_state)


def _check_filter(potential):
    for name in ("kalman_lambda", "kalman_nu"):
        value = getattr(potential, name)
        if value != "auto" and not (is_number(value) and 0 < value <= 1):
            raise ValueError(f"{name}={value!r}: must be 'auto', or more than 0 and at most 1")
    if potential.solver == "kalman" and not any(getattr(potential, name) for name in FRACTIONS):
        raise ValueError(f"{', '.join(FRACTIONS)} are all zero: nothing would be measured")


def batch_size(potential):
    """Measurements of an update, or structures of a step."""
    if potential.batch_size == "auto":
        return MEASUREMENTS if potential.solver == "kalman" else STRUCTURES
    return int(potential.batch_size)


def network_forms(potential, species, n_features):
    """Sizes (inputs, then nodes of the hidden layers) and activations of the network of each species."""
    sizes = [(n_features, *_layers(potential.hidden_layer_sizes, symbol)) for symbol in species]
    activations = [_activations(potential.activation, len(size) - 1) for size in sizes]
    return tuple(sizes), tuple(activations)


def _layers(given, symbol):
    if isinstance(given, Mapping):
        if symbol not in given:
            raise ValueError(f"hidden_layer_sizes has no entry for {symbol}: give one for every species")
        given = given[symbol]
    layers = (given,) if isinstance(given, Integral) else given
    if not isinstance(layers, (Sequence, np.ndarray)) or not all(map(is_count, layers)):
        raise ValueError(f"hidden_layer_sizes={given!r}: must be positive integers, one for each hidden layer")
    return tuple(int(n) for n in layers)


def _activations(given, n_layers):
    if not isinstance(given, (str, Sequence)):
        raise ValueError(f"activation={given!r}: must be a name, or one for each hidden layer")
    names = (given,) * n_layers if isinstance(given, str) else tuple(given)
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown or (isinstance(given, str) and given not in ACTIVATIONS):
        raise ValueError(f"activation={given!r}: must be of {', '.join(ACTIVATIONS)}")
    if len(names) != n_layers:
        raise ValueError(f"activation={given!r}: must be one name, or one for each of {n_layers} hidden layers")
    return names


def species_energies(intercept, items, targets, species):
    """Energies (n_species,), eV, that the parameter `intercept` stands for."""
    if intercept is None:
        return np.zeros(len(species))
    if isinstance(intercept, Mapping):
        return given_energies("intercept", intercept, species)
    if intercept != "species":
        raise ValueError(f"intercept={intercept!r}: must be 'species', None, or energies by symbol")
    return average_energies(items, targets, len(species))


def check_inputs(values, names, species, vary):
    """Raise ValueError unless inputs (one array (N, F) a species) are finite, and there are some of each species.

    With `vary`, features that are the same in all atoms are refused too.
    """
    missing = [symbol for symbol, own in zip(species, values, strict=True) if vary and len(own) == 0]
    if missing:
        raise ValueError(
            f"no training structure has {', '.join(missing)}: add some, or leave the element out of the descriptor's "
            "`species`"
        )
    together = np.concatenate(values)
    if not np.isfinite(together).all():
        worst = names[np.argmin(np.isfinite(together).all(axis=0))]
        raise ValueError(f"the feature {worst} is not finite: check the descriptor's parameters")
    low, high = together.min(axis=0), together.max(axis=0)
    constant = high - low <= 1e-12 * np.maximum(np.abs(low), np.abs(high))
    if vary and constant.any():
        listed = ", ".join(map(str, names[constant][:5]))
        rest = f" and {constant.sum() - 5} more" if constant.sum() > 5 else ""
        raise ValueError(
            f"{constant.sum()} of {len(names)} features are the same in all atoms (of each species, if they are scaled "
            f"by species): {listed}{rest}; they teach nothing. Leave them out, as FeatureSelector(method='variance') "
            "does after the scaler, or add structures that differ"
        )
