"""Posterior and log marginal likelihood of a sparse Gaussian process, from triangular factors of its rows."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from mlfeat.potentials._blocks import join, triangular
from mlfeat.potentials._rows import KINDS

FREE_SIGMA = 1e3  # eV; prior of free energies of species about their averages, so wide that it does not matter


class Posterior(NamedTuple):
    """Of the coefficients γ: the triangle R of [√w Φ; U/δ], and what was found.

    ``coef`` (n_functions,), ``intercept`` (n_free,), ``triangle`` (n_functions + n_free, the same).
    """

    coef: np.ndarray
    intercept: np.ndarray
    triangle: np.ndarray
    log_likelihood: float


class Evidence:
    """Everything that the posterior follows from with any sigmas and δ, without a pass over the data.

    The prior is treated as rows like all others: U γ_b = 0 with the weight 1/δ_b².

    Parameters
    ----------
    basis : Basis
    blocks : TriangularBlocks
        Sums of KernelRows by group and kind.
    group_weights : callable
        Weight of a key (group, kind), from the factors of groups alone.
    log_scale : dict
        `KernelRows.log_scale` of each kind.
    n_free : int
    """

    def __init__(self, basis, blocks, group_weights, log_scale, n_free):
        self.basis, self.log_scale, self.n_free = basis, dict(log_scale), n_free
        rows, self.n_rows = {}, {}
        for key, block in sorted(blocks.blocks.items()):
            weight, kind = group_weights(key), key[1]
            block = np.sqrt(weight) * block
            rows[kind] = join(rows[kind], block) if kind in rows else block
            self.n_rows[kind] = self.n_rows.get(kind, 0) + blocks.n_rows[key]
            self.log_scale[kind] += 0.5 * blocks.n_rows[key] * np.log(weight)
        self.rows = {kind: triangular(basis.whiten(rows[kind])) for kind in KINDS if kind in rows}
        self.kinds = list(self.rows)
        self.prior = basis.prior()
        self.n_blocks = int(basis.block_of.max(initial=-1)) + 1

    def posterior(self, sigmas, deltas):
        """Posterior with a sigma of each kind (a dict, infinite for those left out) and a δ of each block."""
        n = self.basis.n_functions
        width = n + self.n_free + 1
        triangle = np.zeros((width, width))
        triangle[:n, :n] = self.prior / np.asarray(deltas)[self.basis.block_of, None]
        triangle[range(n, width - 1), range(n, width - 1)] = 1 / FREE_SIGMA
        if not self._used(sigmas):
            raise ValueError("no target has a finite sigma and a weight: nothing to fit")
        for kind in self._used(sigmas):
            triangle = join(triangle, self.rows[kind] / sigmas[kind])
        upper, right = triangle[:-1, :-1], triangle[:-1, -1]
        solution = linalg.solve_triangular(upper, right, check_finite=False)
        log_likelihood = self._log_likelihood(triangle, sigmas, deltas)
        return Posterior(solution[:n], solution[n:], upper, log_likelihood)

    def _used(self, sigmas):
        return [kind for kind in self.kinds if np.isfinite(sigmas[kind])]

    def _log_likelihood(self, triangle, sigmas, deltas):
        kinds = self._used(sigmas)
        value = -0.5 * triangle[-1, -1] ** 2 - np.log(np.abs(np.diag(triangle)[:-1])).sum()
        value += 0.5 * self.basis.log_determinant - np.log(np.asarray(deltas))[self.basis.block_of].sum()
        value -= self.n_free * np.log(FREE_SIGMA)
        for kind in kinds:
            value += self.log_scale[kind] - self.n_rows[kind] * (np.log(sigmas[kind]) + 0.5 * np.log(2 * np.pi))
        return float(value)

    def value_and_gradient(self, sigmas, deltas):
        """Log likelihood, and its derivatives with respect to what `pack` packs."""
        posterior = self.posterior(sigmas, deltas)
        return posterior.log_likelihood, self._gradient(posterior, sigmas, deltas)

    def pack(self, sigmas, deltas):
        """Logarithms of the sigmas of the kinds used and of the δ of the blocks."""
        return np.log([*(sigmas[kind] for kind in self._used(sigmas)), *deltas])

    def unpack(self, theta, sigmas):
        """Sigmas and δ from what `pack` packed; sigmas that are not in it are those given."""
        used = self._used(sigmas)
        if theta.shape != (len(used) + self.n_blocks,):
            raise ValueError(
                f"theta has the shape {theta.shape}: give logarithms of {len(used)} sigmas, of "
                f"{' and '.join(used)}, and of {self.n_blocks} deltas"
            )
        values = np.exp(theta)
        return {**sigmas, **dict(zip(used, values[: len(used)].tolist(), strict=True))}, values[len(used) :]

    def _gradient(self, posterior, sigmas, deltas):
        n = self.basis.n_functions
        direction = np.concatenate([-posterior.coef, -posterior.intercept, [1.0]])
        slopes = []
        for kind in self._used(sigmas):
            rows = self.rows[kind] / sigmas[kind]
            slopes.append(_misfit(rows, direction, posterior.triangle) - self.n_rows[kind])
        for number, delta in enumerate(deltas):
            mine = self.basis.block_of == number
            rows = np.zeros((np.count_nonzero(mine), len(direction)))
            rows[:, :n] = self.prior[mine] / delta
            slopes.append(_misfit(rows, direction, posterior.triangle) - len(rows))
        return np.array(slopes)

    def variance_factor(self, posterior, deltas):
        """F (n_columns, rank): a sum of kernels k, times δ², has the variance prior - |kF|².

        It is K_MM⁻¹ less the posterior covariance of the coefficients. Free energies of species count as known.
        """
        n = self.basis.n_functions
        scale = np.asarray(deltas)[self.basis.block_of, None]
        inverse = linalg.solve_triangular(posterior.triangle[:n, :n], np.eye(n), check_finite=False)
        inverse = self.prior @ inverse / scale  # of the functions that are independent a priori
        values, vectors = linalg.eigh(inverse @ inverse.T, check_finite=False)
        learned = 1 - values
        kept = learned > len(values) * np.finfo(float).eps
        factor = vectors[:, kept] * np.sqrt(learned[kept])
        return self.basis.unwhiten(linalg.solve_triangular(self.prior, factor, check_finite=False) / scale)


def _misfit(rows, direction, triangle):
    """Squared residuals of some rows, and the trace of their part of the hat matrix."""
    hat = linalg.solve_triangular(triangle, rows[:, :-1].T, trans="T", check_finite=False)
    return np.sum((rows @ direction) ** 2) + np.einsum("pm,pm->", hat, hat)
