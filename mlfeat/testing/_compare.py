"""Comparisons whose failures say which number is wrong, where, and by how much; and the loop over laws."""

import numpy as np

ROUNDING = 1e-10  # relative: the same sum in another order
DERIVATIVE = 1e-7  # relative: central differences, beside their own error estimate


def assert_close(actual, desired, what, *, rtol=ROUNDING, error=0.0):
    """Compare arrays whose last axis counts features; each is judged by the scale of its own column.

    The tolerance of an element is `rtol` of the largest number of its column, plus `rtol`/1000 of the largest of all (a
    column that vanishes by cancellation has that rounding), plus `error`.

    Parameters
    ----------
    actual, desired : array
        Of the same shape.
    what : str
        What the message calls them.
    rtol : float, default=1e-10
        Relative tolerance.
    error : float or array, default=0.0
        Known error of `desired`.

    Raises
    ------
    AssertionError
        Says how many numbers differ, which one most, both values and what is allowed.
    """
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape, f"{what}: shape {actual.shape}, expected {desired.shape}"
    if desired.size == 0:
        return
    assert np.isfinite(actual).all(), f"{what}: not finite at {_where(~np.isfinite(actual))}"
    size = np.abs(desired)
    scale = size.max(axis=tuple(range(desired.ndim - 1))) if desired.ndim > 1 else size.max()
    excess = np.abs(actual - desired) - (rtol * (scale + 1e-3 * size.max()) + error)
    if excess.max() > 0:
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        raise AssertionError(
            f"{what}: {int((excess > 0).sum())} of {excess.size} numbers differ; worst at {_index(worst)}: "
            f"{actual[worst]:.12g}, expected {desired[worst]:.12g}, difference {actual[worst] - desired[worst]:.3g}, "
            f"allowed {np.abs(actual - desired)[worst] - excess[worst]:.3g}"
        )


def assert_equal(actual, desired, what):
    """Require the same bits; NaN equals NaN."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape, f"{what}: shape {actual.shape}, expected {desired.shape}"
    different = ~((actual == desired) | ((actual != actual) & (desired != desired)))
    assert not different.any(), (
        f"{what}: {int(different.sum())} of {different.size} numbers are not the same bits, largest difference "
        f"{np.nanmax(np.abs(actual - desired)):.3g}, first at {_where(different)}"
    )


def assert_raises(kind, function, *words):
    """Require an error of a kind whose message has all the words."""
    message = None
    try:
        function()
    except kind as error:
        message = str(error)
    assert message is not None, f"no {kind.__name__}"
    missing = [word for word in words if word not in message]
    assert not missing, f"the message {message!r} does not say {missing}"


def run_laws(laws, subject, structures, skip):
    """Check every law, and raise one AssertionError that names those that do not hold."""
    unknown = set(skip) - set(laws)
    if unknown:
        raise ValueError(f"skip={sorted(unknown)}: no such laws; there are {', '.join(laws)}")
    failures = []
    for name, law in laws.items():
        if name in skip:
            continue
        try:
            law(subject, structures)
        except AssertionError as error:
            failures.append(f"{name}: {error}")
        except Exception as error:
            error.add_note(f"while checking the law {name} on {subject!r}")
            raise
    if failures:
        counts = f"{len(failures)} of {len(laws) - len(skip)} laws"
        raise AssertionError("\n  ".join([f"{counts} do not hold for {subject!r}:", *failures]))


def per_structure(law):
    """Make a law about one structure a law about each of several, whose failures name the structure."""

    def over_all(subject, structures):
        for name, atoms in structures.items():
            try:
                law(subject, atoms)
            except AssertionError as error:
                raise AssertionError(f"[{name}] {error}") from None

    over_all.__name__, over_all.__doc__ = law.__name__, law.__doc__
    return over_all


def named(structures):
    """Structures as a dict of name to atoms."""
    if isinstance(structures, dict):
        return structures
    return {f"structure {index}": atoms for index, atoms in enumerate(structures)}


def _where(mask):
    return _index(np.unravel_index(np.argmax(mask), mask.shape))


def _index(index):
    return "[" + ", ".join(str(int(i)) for i in index) + "]"
