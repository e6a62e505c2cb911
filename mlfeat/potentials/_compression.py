"""Sparse points moved into a subspace of the features, so that sums over them cost less."""

import numpy as np
from scipy import linalg

from mlfeat.potentials._kernels import power

BLOCK = 1024  # environments whose kernels with all points are made at a time


def compress(points, coef, zeta, environments, tolerance):
    """Sparse points (M, F) of the lowest rank for which Σ_P c_P (B·P)^ζ keeps its values.

    The subspace is spanned by the leading singular vectors of the derivatives at the environments: what the sum does
    not change along can be left out of the features, and of the points.

    Parameters
    ----------
    points : array of shape (M, F)
    coef : array of shape (M,)
    zeta : int
    environments : array of shape (N, F)
        Where the sum is wanted.
    tolerance : float
        Of its values there.

    Returns
    -------
    points : array of shape (M, F)
    rank : int
    error : float
        The largest change of a value.
    """
    expected, slopes = np.empty(len(environments)), np.empty(environments.shape)
    for some in _ranges(len(environments)):
        products = environments[some] @ points.T
        expected[some] = power(products, zeta) @ coef
        slopes[some] = (power(products, zeta - 1) * coef) @ points
    basis = linalg.svd(slopes, full_matrices=False, check_finite=False)[2].T
    moved, reduced = points @ basis, environments @ basis

    def error(rank):
        largest = 0.0
        for some in _ranges(len(environments)):
            products = reduced[some, :rank] @ moved[:, :rank].T
            largest = max(largest, np.abs(power(products, zeta) @ coef - expected[some]).max())
        return largest

    low, high = 0, basis.shape[1]
    while high - low > 1:  # the error at `high` is small enough, or nothing is left out
        rank = (low + high) // 2
        low, high = (low, rank) if error(rank) <= tolerance else (rank, high)
    return moved[:, :high] @ basis[:, :high].T, high, error(high)


def _ranges(n):
    return [slice(first, first + BLOCK) for first in range(0, n, BLOCK)]
