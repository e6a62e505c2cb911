"""Checks of parameters that are numbers, counts, or choices, by tables of names."""

from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import train_test_split

POSITIVE = ("a positive number", lambda v: v > 0)
NOT_NEGATIVE = ("zero or a positive number", lambda v: v >= 0)
SHARE = ("between 0 and 1", lambda v: 0 <= v <= 1)
INSIDE = ("between 0 and 1, exclusively", lambda v: 0 < v < 1)


def check_parameters(estimator, numbers, counts, choices):
    """Raise ValueError for the first parameter that is wrong.

    Parameters
    ----------
    estimator : object
        With the parameters as attributes.
    numbers : dict
        By name, what a finite number must be in words, and a function that tells.
    counts : dict
        By name, what else than a positive integer a parameter may be.
    choices : dict
        By name, the values allowed.
    """
    for name, (expected, valid) in numbers.items():
        value = getattr(estimator, name)
        if not is_number(value) or not np.isfinite(value) or not valid(value):
            raise ValueError(f"{name}={value!r}: must be {expected}")
    for name, others in counts.items():
        value = getattr(estimator, name)
        if not is_count(value) and not any(value is other or value == other for other in others):
            alternative = "".join(f"{other!r} or " for other in others)
            raise ValueError(f"{name}={value!r}: must be {alternative}a positive integer")
    for name, allowed in choices.items():
        value = getattr(estimator, name)
        if value not in allowed:
            raise ValueError(f"{name}={value!r}: must be one of {', '.join(map(repr, allowed))}")


def is_number(value):
    """Whether this is a real number, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_count(value):
    """Whether this is a positive integer."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def split_validation(n_structures, fraction, seed):
    """Indices of the structures to train on, and of those for early stopping, sorted."""
    n_left_out = int(np.ceil(fraction * n_structures))
    if not 0 < n_left_out < n_structures:
        raise ValueError(
            f"early stopping with validation_fraction={fraction} would train on {n_structures - n_left_out} of "
            f"{n_structures} structures: set early_stopping=False, or add structures"
        )
    train, rest = train_test_split(np.arange(n_structures), test_size=n_left_out, random_state=seed)
    return np.sort(train), np.sort(rest)
