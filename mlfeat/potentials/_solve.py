"""Ridge regression on columns of very different scale, from normal equations or from rows, with its covariance."""

from typing import NamedTuple

import numpy as np
from scipy import linalg


def cutoff(n_columns):
    """Share of the largest singular value below which rounding looks like a direction that the data leave open.

    The usual bound for a matrix of that size, and more than what rounding leaves in products of small ones.
    """
    return max(n_columns, 50) * np.finfo(float).eps


class Solution(NamedTuple):
    """Minimum of ‖y − Xβ‖² + Σ_k α_k β_k².

    ``coef`` (p,) is β; ``factor`` (p, rank) has factor factorᵀ = (XᵀX + diag α)⁻¹; ``condition`` is the
    condition number of XᵀX + diag α after its columns are scaled to one.
    """

    coef: np.ndarray
    factor: np.ndarray
    condition: float

    def effective_parameters(self, penalty):
        """Trace of the hat matrix, tr[(XᵀX + diag α)⁻¹ XᵀX]."""
        shrunk = np.einsum("kr,kr,k->", self.factor, self.factor, np.broadcast_to(penalty, self.coef.shape))
        return self.factor.shape[1] - shrunk


def solve_normal(gram, moment, penalty=0.0, with_factor=True):
    """Solve (gram + diag penalty) β = moment.

    Columns are scaled to a unit diagonal first: the bispectrum components of one environment span six orders
    of magnitude, their products twelve. Directions that rounding leaves undetermined get no weight.

    Parameters
    ----------
    gram : array of shape (p, p)
        XᵀX.
    moment : array of shape (p,)
        Xᵀy.
    penalty : float or array of shape (p,)
        α.
    with_factor : bool
        False saves two thirds of the time and leaves the solution's `factor` None.

    Returns
    -------
    Solution
    """
    scale, scaled = _unit_diagonal(gram, penalty)
    try:
        lower = linalg.cholesky(scaled, lower=True, check_finite=False)
    except linalg.LinAlgError:
        return _solve_spectral(scaled, scale, moment)
    condition = _condition(lower, scaled)
    if not condition < 1 / cutoff(len(scale)):
        return _solve_spectral(scaled, scale, moment)
    coef = scale * linalg.cho_solve((lower, True), scale * moment, check_finite=False)
    if not with_factor:
        return Solution(coef, None, condition)
    inverse = linalg.solve_triangular(lower, np.eye(len(scale)), lower=True, check_finite=False)
    return Solution(coef, scale[:, None] * inverse.T, condition)


def _unit_diagonal(gram, penalty):
    diagonal = np.diag(gram) + penalty
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = gram * scale * scale[:, None]
    scaled[np.diag_indices_from(scaled)] = 1.0  # also of columns that are zero: they decouple
    return scale, scaled


def _condition(lower, scaled):
    reciprocal, _ = linalg.lapack.dpocon(lower, np.abs(scaled).sum(axis=0).max(initial=1.0), uplo="L")
    return 1 / reciprocal if reciprocal > 0 else np.inf


def _solve_spectral(scaled, scale, moment):
    eigenvalues, vectors = linalg.eigh(scaled, check_finite=False)
    largest = max(eigenvalues[-1], 0.0)
    kept = eigenvalues > cutoff(len(scale)) * largest
    factor = scale[:, None] * vectors[:, kept] / np.sqrt(eigenvalues[kept])
    return Solution(factor @ (factor.T @ moment), factor, np.inf)


def solve_rows(rows, target, penalty=0.0):
    """As `solve_normal`, from X (m, p) and y (m,) by QR: half the digits lost in XᵀX are kept.

    Returns
    -------
    Solution
    """
    n_columns = rows.shape[1]
    penalty = np.broadcast_to(penalty, n_columns)
    norms = np.sqrt(np.einsum("mk,mk->k", rows, rows) + penalty)
    scale = 1 / np.where(norms > 0, norms, 1.0)
    augmented = np.zeros((len(rows) + n_columns, n_columns + 1))
    augmented[: len(rows), :-1] = rows * scale
    augmented[: len(rows), -1] = target
    unused = (norms == 0).astype(float)  # a column of zeros decouples
    np.fill_diagonal(augmented[len(rows) :], np.sqrt(penalty) * scale + unused)
    triangle = linalg.qr(augmented, mode="r", overwrite_a=True, check_finite=False)[0][:n_columns]
    upper, right = triangle[:, :-1], triangle[:, -1]
    reciprocal = linalg.lapack.dtrcon(upper)[0]
    if not reciprocal > cutoff(n_columns):
        return _solve_singular(upper, right, scale)
    inverse = linalg.solve_triangular(upper, np.eye(n_columns), check_finite=False)
    return Solution(scale * (inverse @ right), scale[:, None] * inverse, reciprocal**-2)


def _solve_singular(upper, right, scale):
    left, values, vectors = linalg.svd(upper, check_finite=False)
    kept = values > cutoff(len(scale)) * values.max(initial=0.0)
    factor = scale[:, None] * vectors[kept].T / values[kept]
    return Solution(factor @ (left.T[kept] @ right), factor, np.inf)
