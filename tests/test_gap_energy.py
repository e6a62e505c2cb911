"""Sums over sparse points: what they are, in blocks and by factors."""

import tracemalloc

import numpy as np
import pytest

from mlfeat.features import AtomFeatures
from mlfeat.potentials import SparseKernelEnergy
from mlfeat.potentials._compression import compress
from mlfeat.potentials._kernels import kernel_values, low_rank, parts


def blocks_and_features(rank, n_atoms=600, n_points=(700, 10), n_features=60, zeta=4):
    """Environments of two species in a subspace, and a block of functions after them."""
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(rank, n_features))

    def environments(n):
        values = rng.normal(size=(n, rank)) @ basis
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    dot = {"name": "dot", "start": 2, "stop": 2 + n_features, "zeta": zeta, "delta": 0.5, "covariance": None}
    dot["sparse_points"] = environments(sum(n_points))
    dot["sparse_species"] = np.repeat([0, 1], n_points)
    own = {"name": "own", "start": 0, "stop": 2, "zeta": None, "delta": 2.0, "covariance": np.eye(2)}
    values = np.column_stack([rng.normal(size=(n_atoms, 2)), environments(n_atoms)])
    return [dot, own], AtomFeatures(values, rng.integers(2, size=n_atoms))


@pytest.mark.parametrize("zeta", [1, 2, 3, 4])
@pytest.mark.parametrize("rank", [20, 60])
def test_energies_and_cotangents_are_the_sums(rank, zeta):
    blocks, features = blocks_and_features(rank, zeta=zeta)
    found = parts(blocks, 2)
    assert (found[0].basis is not None) == (rank == 20)
    assert found[1].basis is None
    coef, e0 = np.random.default_rng(1).normal(size=712), np.array([1.0, -2.0])
    energies, cotangents = SparseKernelEnergy(found, coef, e0).energy_and_cotangent(features)
    points, of_points = blocks[0]["sparse_points"], blocks[0]["sparse_species"]
    weight = coef[:710] * (features.species[:, None] == of_points)
    products = features.values[:, 2:] @ points.T
    expected = e0[features.species] + np.sum(weight * products**zeta, axis=1) + features.values[:, :2] @ coef[710:]
    np.testing.assert_allclose(energies, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(cotangents[:, 2:], (zeta * weight * products ** (zeta - 1)) @ points, atol=1e-10)
    np.testing.assert_array_equal(cotangents[:, :2], np.tile(coef[710:], (600, 1)))
    kernels = kernel_values(features, found)
    np.testing.assert_allclose(kernels @ coef, expected - e0[features.species], rtol=1e-9, atol=1e-11)


def test_factors_are_of_the_numerical_rank():
    (block, _), _ = blocks_and_features(20)
    noise = 1e-13 * np.random.default_rng(2).normal(size=block["sparse_points"].shape)
    points, basis = low_rank(block["sparse_points"] + noise)
    assert points.shape == (710, 20)
    np.testing.assert_allclose(points @ basis.T, block["sparse_points"], atol=1e-11)
    assert low_rank(block["sparse_points"][:10])[1] is None  # it would save nothing
    assert low_rank(np.eye(6))[1] is None


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
def test_compression_finds_what_the_sum_depends_on(tolerance):
    """Points with small components in most directions."""
    rng = np.random.default_rng(3)
    scale = 10.0 ** -np.linspace(0, 8, 30)
    points, environments = (rng.normal(size=(n, 30)) * scale for n in (200, 300))
    coef = rng.normal(size=200)
    moved, rank, error = compress(points, coef, 3, environments, tolerance)
    change = np.abs(((environments @ moved.T) ** 3 - (environments @ points.T) ** 3) @ coef).max()
    np.testing.assert_allclose(error, change, rtol=1e-3, atol=1e-12)
    assert error <= tolerance
    assert np.linalg.matrix_rank(moved, tol=1e-12) == rank < 30


def test_compression_makes_the_kernels_of_few_environments_at_a_time():
    rng = np.random.default_rng(4)
    points, environments = rng.normal(size=(1000, 5)), rng.normal(size=(8000, 5))
    tracemalloc.start()
    error = compress(points, rng.normal(size=1000), 2, environments, 1e-3)[2]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error <= 1e-3
    assert peak < 0.6 * 8 * 8000 * 1000
