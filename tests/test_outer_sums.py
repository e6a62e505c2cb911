"""Sums of outer products over segments, against NumPy, on each instruction set."""

import numpy as np
import pytest

from mlfeat._ext import kernel, supported_isas

STARTS = np.array([0, 3, 3, 4, 70, 210, 211])  # of all sizes: empty, one, more than are copied at a time


def reference(left, x, y, right, owners, starts):
    """(S, A, B)."""
    terms = zip(starts[:-1], starts[1:], strict=True)
    parts = [slice(*pair) for pair in terms]
    return np.array([left[p].T @ x[owners[p]] + y[owners[p]].T @ right[p] for p in parts])


def factors(n_a, n_b, n_owners=6):
    rng = np.random.default_rng(n_a + 100 * n_b)
    count = STARTS[-1]
    shapes = (count, n_a), (n_owners, n_b), (n_owners, n_a), (count, n_b)
    return [rng.normal(size=shape) for shape in shapes] + [rng.integers(n_owners, size=count), STARTS]


@pytest.mark.parametrize("isa", supported_isas())
@pytest.mark.parametrize("n_a", [1, 3, 4, 16, 18])
@pytest.mark.parametrize("n_b", [1, 2, 7, 8, 16, 23, 38])
def test_sums_are_those_of_numpy(isa, n_a, n_b):
    arguments = factors(n_a, n_b)
    out = np.full((len(STARTS) - 1, 2 + n_a * n_b + 1), np.nan)
    kernel("outer_sums", isa).outer_sums(*arguments, 2, out)
    found = out[:, 2:-1].reshape(-1, n_a, n_b)
    np.testing.assert_allclose(found, reference(*arguments), rtol=1e-12, atol=1e-12)
    assert np.isnan(out[:, [0, 1, -1]]).all()  # what is not its own


def test_the_sum_of_a_segment_does_not_depend_on_the_others():
    left, x, y, right, owners, _ = factors(5, 9)
    whole, part = np.zeros((3, 45)), np.zeros((1, 45))
    outer_sums = kernel("outer_sums").outer_sums
    outer_sums(left, x, y, right, owners, np.array([0, 90, 200, 211]), 0, whole)
    outer_sums(left[90:200], x, y, right[90:200], owners[90:200], np.array([0, 110]), 0, part)
    np.testing.assert_array_equal(whole[1], part[0])


def wrong(**changes):
    names = "left", "x", "y", "right", "owners", "starts"
    arguments = dict(zip(names, factors(3, 2), strict=True)) | {"first": 0, "out": np.zeros((len(STARTS) - 1, 6))}
    return list((arguments | changes).values())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"left": np.zeros((211, 4))}, "do not fit"),
        ({"left": np.zeros((210, 3))}, "do not fit"),
        ({"x": np.zeros((6, 3))}, "do not fit"),
        ({"y": np.zeros((5, 3))}, "do not fit"),
        ({"right": np.zeros((212, 2))}, "do not fit"),
        ({"owners": np.zeros(3, dtype=np.intp)}, "do not fit"),
        ({"starts": np.array([0, 211])}, "do not fit"),
        ({"first": 1}, "do not fit"),
        ({"first": -1}, "do not fit"),
        ({"owners": np.full(211, 6)}, "owner 6 is not among 6"),
        ({"owners": np.full(211, -1)}, "owner -1"),
        ({"starts": np.array([0, 3, 2, 4, 70, 210, 211])}, "segment 1, 3 to 2"),
        ({"starts": np.array([0, 3, 3, 4, 70, 210, 212])}, "segment 5"),
        ({"starts": np.array([-1, 3, 3, 4, 70, 210, 211])}, "segment 0"),
    ],
)
def test_factors_that_do_not_fit_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        kernel("outer_sums").outer_sums(*wrong(**changes))
