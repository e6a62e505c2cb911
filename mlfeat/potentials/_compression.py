"""Sparse points moved into a subspace of the features, so that sums over them cost less."""

import numpy as np
from scipy import linalg

from mlfeat.potentials._kernels import power


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
    products = environments @ points.T
    expected = power(products, zeta) @ coef
    slopes = (power(products, zeta - 1) * coef) @ points
    basis = linalg.svd(slopes, full_matrices=False, check_finite=False)[2].T
    moved, reduced = points @ basis, environments @ basis

    def error(rank):
        return np.abs(power(reduced[:, :rank] @ moved[:, :rank].T, zeta) @ coef - expected).max(initial=0.0)

    low, high = 0, basis.shape[1]
    while high - low > 1:  # the error at `high` is small enough, or nothing is left out
        rank = (low + high) // 2
        low, high = (low, rank) if error(rank) <= tolerance else (rank, high)
    return moved[:, :high] @ basis[:, :high].T, high, error(high)
