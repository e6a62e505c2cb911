"""Least-squares problems summed up block by block, one block for each group of structures and kind of target.

Rows are ``[composition | features | target]`` (see `DesignRows`). Both accumulators hold what a fit with any
weights of groups and kinds, and any ridge penalty, needs: nothing but the blocks is looked at again.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from mlfeat.potentials._solve import Solution, solve_normal, solve_rows

QR_PANEL = 64  # columns that LAPACK factorizes at a time, measured


class Fit(NamedTuple):
    """Solution for the coefficients, and what the free intercepts follow from.

    ``intercept`` (n_species,); ``center`` (n_species, p) and ``intercept_covariance`` (n_species, n_species):
    an energy per atom with composition n and features x varies as |(x - nᵀ center) factor|² + nᵀ
    intercept_covariance n, times the noise variance. ``sum_of_squares`` is of the weighted residuals, and
    ``n_rows`` counts the rows with a weight.
    """

    solution: Solution
    intercept: np.ndarray
    center: np.ndarray
    intercept_covariance: np.ndarray
    sum_of_squares: float
    n_rows: int


class _Blocks:
    """Blocks under keys (group, kind); see GramBlocks and TriangularBlocks."""

    def __init__(self, n_species):
        self.n_species = n_species
        self.blocks = {}
        self.n_rows = {}

    def add(self, key, rows):
        """Add rows (m, n_species + p + 1)."""
        self._put(key, self._summary(rows), len(rows))

    @property
    def nbytes(self):
        """Memory that the blocks take, bytes."""
        return sum(block.nbytes for block in self.blocks.values())

    def merge(self, other):
        """Add the blocks of another accumulator of the same kind."""
        for key, block in other.blocks.items():
            self._put(key, block, other.n_rows[key])

    def _put(self, key, block, n_rows):
        self.blocks[key] = self._joined(self.blocks[key], block) if key in self.blocks else block
        self.n_rows[key] = self.n_rows.get(key, 0) + n_rows

    def weighted(self, weights):
        """Blocks with a positive weight, as pairs (block, weight); `weights` maps a key to a number."""
        pairs = [(block, weights(key)) for key, block in sorted(self.blocks.items())]
        pairs = [(block, weight) for block, weight in pairs if weight > 0]
        if not pairs:
            raise ValueError("no row has a positive weight: nothing to fit")
        return pairs

    def weighted_rows(self, weights):
        """How many rows have a positive weight."""
        return sum(n for key, n in self.n_rows.items() if weights(key) > 0)


class GramBlocks(_Blocks):
    """Normal equations: of each key the Gram matrix of its rows."""

    def _summary(self, rows):
        return rows.T @ rows

    def _joined(self, block, other):
        return block + other  # not in place: refits with other weights share the blocks

    def total(self, weights):
        """Weighted sum of the Gram matrices."""
        total = 0.0
        for block, weight in self.weighted(weights):
            total = total + weight * block
        return total

    def solve(self, weights, penalty, free_intercept):
        """Fit with `weights` (a function of the key) and ridge `penalty`; the intercepts are not penalized."""
        total = self.total(weights)
        rest, intercepts, covariance = eliminate_normal(total, self.n_species, free_intercept)
        solution = solve_normal(rest[:-1, :-1], rest[:-1, -1], penalty)
        v = np.append(-solution.coef, 1.0)
        return Fit(
            solution,
            intercepts @ v,
            intercepts[:, :-1],
            covariance,
            max(0.0, v @ rest @ v),
            self.weighted_rows(weights),
        )


class TriangularBlocks(_Blocks):
    """Orthogonal factorization: of each key a few rows with the same Gram matrix, by QR.

    Keeps the digits that the normal equations square away, for some times their cost.
    """

    def _summary(self, rows):
        return triangular(rows)

    def _joined(self, block, other):
        return join(block, other)

    def solve(self, weights, penalty, free_intercept):
        """As `GramBlocks.solve`."""
        rows = np.concatenate([np.sqrt(weight) * block for block, weight in self.weighted(weights)])
        rest, intercepts, covariance = eliminate_rows(rows, self.n_species, free_intercept)
        solution = solve_rows(rest[:, :-1], rest[:, -1], penalty)
        v = np.append(-solution.coef, 1.0)
        sum_of_squares = float(np.sum((rest @ v) ** 2))
        n_rows = self.weighted_rows(weights)
        return Fit(solution, intercepts @ v, intercepts[:, :-1], covariance, sum_of_squares, n_rows)


def triangular(rows):
    """An upper triangle with the same Gram matrix, or the rows themselves if they are fewer than the columns."""
    if len(rows) < rows.shape[1]:
        return rows
    return linalg.qr(rows, mode="r", check_finite=False)[0][: rows.shape[1]]


def join(block, other):
    """Rows with the sum of two Gram matrices. Blocks of as many rows as columns must be upper triangles."""
    n_columns = block.shape[1]
    if len(block) < len(other):
        block, other = other, block
    if len(block) < n_columns:
        return triangular(np.concatenate([block, other]))
    trapezoid = n_columns if len(other) == n_columns else 0
    # The zeros of the triangle are not worked on: two thirds of the time of a QR of all rows, or less.
    triangle, *_, info = linalg.lapack.dtpqrt(trapezoid, min(QR_PANEL, n_columns), block, other)
    if info:
        raise linalg.LinAlgError(f"dtpqrt failed (info={info})")
    return triangle


def eliminate_normal(gram, n_species, free_intercept):
    """Schur complement of the composition columns of a Gram matrix.

    Returns
    -------
    rest : array (p + 1, p + 1)
        Gram matrix of features and target once the best intercepts are taken out.
    intercepts : array (n_species, p + 1)
        Intercepts that explain each of those columns.
    covariance : array (n_species, n_species)
        Inverse of the composition block.
    """
    rest = gram[n_species:, n_species:]
    if not free_intercept:
        return rest, *_no_intercepts(n_species, len(rest))
    covariance = linalg.pinvh(gram[:n_species, :n_species], rtol=1e-12)
    intercepts = covariance @ gram[:n_species, n_species:]
    return rest - gram[:n_species, n_species:].T @ intercepts, intercepts, covariance


def eliminate_rows(rows, n_species, free_intercept):
    """As `eliminate_normal`, by projecting rows; ``rest`` (m, p + 1) are rows."""
    composition, rest = rows[:, :n_species], rows[:, n_species:]
    if not free_intercept:
        return rest, *_no_intercepts(n_species, rest.shape[1])
    inverse = linalg.pinv(composition, rtol=1e-6)
    intercepts = inverse @ rest
    return rest - composition @ intercepts, intercepts, inverse @ inverse.T


def _no_intercepts(n_species, n_columns):
    return np.zeros((n_species, n_columns)), np.zeros((n_species, n_species))
