"""What is said of structures unlike those that a model was fitted to."""

import heapq
import warnings

MODES = ("warn", "ignore", "raise")
FAR = 1 + 1e-9  # a grade: rounding takes no atom beyond the training data
N_NAMED = 3


class ExtrapolationWarning(UserWarning):
    """A structure is unlike those that the model was fitted to."""


def names_features(potential):
    """Whether the potential can say which features of which atoms are beyond the training data."""
    return hasattr(potential, "extrapolating_features")


def check_mode(extrapolation, potential):
    """Raise ValueError unless this is something that can be done about extrapolation of this potential."""
    if extrapolation not in MODES:
        raise ValueError(f"extrapolation={extrapolation!r}: must be one of {MODES}")
    if extrapolation == "raise" and not names_features(potential):
        raise ValueError(
            f"extrapolation='raise': {type(potential).__name__} does not check the range of its features; "
            "look at the property extrapolation_grade, or at extrapolation_grades(model, structures), instead"
        )


def describe(potential, features, symbols, names):
    """Name the features of a structure that are farthest beyond the training data.

    Parameters
    ----------
    potential : object
        Maybe one with `extrapolating_features`.
    features : AtomFeatures or StructureFeatures
        Features of the structure's atoms.
    symbols : sequence of str
        Chemical symbols of the atoms.
    names : sequence of str
        Names of the features.

    Returns
    -------
    str
        Atoms, features, values and the ranges in training; empty if the potential cannot say.
    """
    found = potential.extrapolating_features(features) if names_features(potential) else []
    listed = [
        f"atom {atom} ({symbols[atom]}): {names[feature]} = {value:.6g}, in training {low:.6g} to {high:.6g}"
        for atom, feature, value, low, high in heapq.nlargest(N_NAMED, found, key=_distance)
    ]
    rest = [f"and {len(found) - N_NAMED} more"] if len(found) > N_NAMED else []
    return "; ".join(listed + rest)


def report(message, extrapolation, stacklevel=2):
    """Warn or raise, as said; `stacklevel` is that of the caller."""
    if extrapolation == "raise":
        raise ExtrapolationWarning(message)
    warnings.warn(message, ExtrapolationWarning, stacklevel=stacklevel + 1)


def _distance(entry):
    """Distance from the middle of the range as a share of half its width."""
    _, _, value, low, high = entry
    return abs(2 * value - low - high) / (high - low) if high > low else float("inf")
