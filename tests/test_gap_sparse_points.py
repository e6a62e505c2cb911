"""Choice of sparse points."""

import numpy as np
import pytest

from mlfeat.potentials import _sparse_points
from mlfeat.potentials._kernels import dot_kernel, power
from mlfeat.potentials._sparse_points import METHODS, distinct, farthest, randomly_pivoted, select


def environments(n=600, n_features=12, seed=0):
    """Clouds about a few centers, of length one."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(6, n_features)) + 2
    values = centers[rng.integers(6, size=n)] + 0.2 * rng.normal(size=(n, n_features))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("exponent", range(9))
def test_integer_power(exponent):
    base = np.random.default_rng(0).normal(size=(3, 4))
    before = base.copy()
    np.testing.assert_allclose(power(base, exponent), base**exponent, rtol=1e-14)
    np.testing.assert_array_equal(base, before)


@pytest.mark.parametrize("method", METHODS)
def test_points_are_different_and_reproducible(method):
    values = environments()
    chosen = select(values, 150, 4, method, 3)[0]
    assert len(np.unique(chosen)) == 150
    np.testing.assert_array_equal(select(values, 150, 4, method, 3)[0], chosen)
    if method != "fps":  # its first point alone is random
        assert set(select(values, 150, 4, method, 4)[0]) != set(chosen)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_environments_does_not_matter(method):
    values = environments()
    order = np.random.default_rng(9).permutation(len(values))
    first, second = (
        values[select(values, 60, 4, method, 0)[0]],
        values[order][select(values[order], 60, 4, method, 0)[0]],
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("method", METHODS)
def test_no_environment_is_chosen_twice(method):
    """Even if each occurs several times, up to rounding, as in perfect crystals."""
    values = environments(40)
    noise = 1e-15 * np.random.default_rng(1).normal(size=(7, 40, 12))
    chosen = select((values + noise).reshape(-1, 12), 30, 4, method, 0)[0]
    assert len(np.unique(chosen % 40)) == 30


@pytest.mark.parametrize("method", METHODS)
def test_all_are_taken_if_there_are_not_more(method):
    values = np.repeat(environments(20), 5, axis=0)
    for n in (20, 33):
        chosen, n_distinct = select(values, n, 4, method, 0)
        assert len(chosen) == n_distinct == 20
    assert len(distinct(values)) == 20


def test_environments_of_one_crystal_are_one():
    assert len(select(np.tile(environments(1), (50, 1)), 10, 4, "cur", 0)[0]) == 1
    assert len(select(np.zeros((50, 3)), 10, 4, "cur", 0)[0]) == 1


def test_pivoted_factorization_stops_where_the_kernel_has_no_more_dimensions():
    """Six products of three features each."""
    assert len(select(environments(50, 3), 10, 2, "cur", 0)[0]) == 6


def test_farthest_points_are_those_of_one_at_a_time(monkeypatch):
    values = environments()
    monkeypatch.setattr(_sparse_points, "BATCH", 16)
    chosen = farthest(values, 200, 4, np.random.RandomState(0))
    kernel = dot_kernel(values, values, 4)
    squared = np.full(len(values), np.inf)
    for known in chosen:
        assert np.isinf(squared[known]) or squared[known] >= squared.max() - 1e-12
        squared = np.minimum(squared, 2 - 2 * kernel[known])


def test_pivoted_factorization_leaves_less_than_random_points_do():
    """The trace of the kernel matrix that the points do not explain, in the mean over ten choices."""
    values = environments(1500, seed=2)
    kernel = dot_kernel(values, values, 4)

    def left(chosen):
        projected = kernel[:, chosen] @ np.linalg.pinv(kernel[np.ix_(chosen, chosen)], rcond=1e-12, hermitian=True)
        return np.trace(kernel - projected @ kernel[chosen])

    mean = {m: np.mean([left(select(values, 100, 4, m, seed)[0]) for seed in range(10)]) for m in ("cur", "random")}
    assert mean["cur"] < mean["random"]


def test_pivoted_factorization_draws_as_one_after_the_other_does(monkeypatch):
    """Rejection leaves the distribution: how often each of a few environments is among the first three."""
    values = environments(12, 3, seed=5)

    def counts(batch):
        monkeypatch.setattr(_sparse_points, "BATCH", batch)
        rng = np.random.RandomState(0)
        return np.bincount(np.concatenate([randomly_pivoted(values, 3, 2, rng) for _ in range(4000)]), minlength=12)

    one, many = counts(1), counts(8)
    assert np.all(np.abs(one - many) < 5 * np.sqrt(one + many + 1))
