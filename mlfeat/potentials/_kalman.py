"""Extended Kalman filter that trains the parameters of a model."""

import copy
import logging
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mlfeat._ext import blas
from mlfeat.potentials._packed import PackedMatrix

logger = logging.getLogger("mlfeat")

EPSILON = np.finfo(float).eps
CHECK_EVERY = 16  # a Cholesky decomposition costs as much as n/9 measurements; one is made after 16 n


@dataclass
class FadingMemory:
    """Forgetting: the noise of a measurement is λ, P is divided by λ after each update, λ ← ν λ + 1 − ν.

    Blank and Brown, J. Chemometrics 8, 391 (1994); of a linear model the errors of update i count λ^(k−i) as much as
    those of update k. An update's rows are all of the same age.
    """

    lambda_: float = 0.98
    nu: float = 0.9987

    diffusion = 0.0

    def __post_init__(self):
        if not (0 < self.lambda_ <= 1 and 0 <= self.nu <= 1):
            raise ValueError(f"0 < lambda <= 1 and 0 <= nu <= 1 are needed, got {self.lambda_} and {self.nu}")

    @property
    def noise(self):
        """Variance of a measurement."""
        return self.lambda_

    @property
    def forgetting(self):
        """What P is divided by."""
        return self.lambda_

    def end_update(self):
        """Go on to the next update."""
        self.lambda_ = self.nu * self.lambda_ + 1 - self.nu

    def end_epoch(self):
        """Nothing changes at the end of an epoch."""


@dataclass
class ProcessNoise:
    """Annealed noise: R = 1/η of a measurement, and Q = q of each parameter, added to P after each update.

    η(t) = min(η0 exp(τ_η t), η_max) and q(t) = max(q0 exp(−τ_q t), q_min), t in epochs: rates of ln 10 are an order
    of magnitude an epoch (Singraber et al., J. Chem. Theory Comput. 15, 3075 (2019)). With `updates_per_epoch` t
    grows with each update, as there, and else at the end of an epoch.
    """

    eta: float = 0.01
    eta_tau: float = 2.302
    eta_max: float = 1.0
    q: float = 0.01
    q_tau: float = 2.302
    q_min: float = 1e-6
    updates_per_epoch: float | None = None
    epoch: float = 0.0

    forgetting = 1.0

    def __post_init__(self):
        if not (0 < self.eta <= self.eta_max and 0 <= self.q_min <= self.q):
            found = f"eta = {self.eta}, eta_max = {self.eta_max}, q_min = {self.q_min}, q = {self.q}"
            raise ValueError(f"0 < eta <= eta_max and 0 <= q_min <= q are needed, got {found}")
        self._step = 1 / self.updates_per_epoch if self.updates_per_epoch else 0.0

    @property
    def noise(self):
        """Variance of a measurement: η has grown by the time of the first update, q has not."""
        return 1 / min(self.eta * np.exp(self.eta_tau * (self.epoch + self._step)), self.eta_max)

    @property
    def diffusion(self):
        """Variance that a parameter gains by an update."""
        return max(self.q * np.exp(-self.q_tau * self.epoch), self.q_min)

    def end_update(self):
        """Go on to the next update."""
        self.epoch += self._step

    def end_epoch(self):
        """Go on to the next epoch."""
        if not self._step:
            self.epoch += 1


class KalmanFilter:
    """Extended Kalman filter of parameters w with covariance P, of measurements y = f(w) + noise.

    With the derivatives H = ∂f/∂w (m, n), the errors e = y − f(w) (m,) and independent noise of variance R,

        S = R + H P Hᵀ = C Cᵀ,   V = C⁻¹ H P,   w ← w + Vᵀ C⁻¹ e,   P ← (P − VᵀV)/λ + Q,

    which is K = P Hᵀ S⁻¹, P ← (P − K H P)/λ + Q in a form that keeps P symmetric. With several blocks P is block
    diagonal and S = R + Σ_b H_b P_b H_bᵀ is common (Hu et al., arXiv:2212.06989).

    Three things keep P positive definite. R is increased by the rounding error of H P Hᵀ, so that no variance is
    reduced by a factor below rounding. What forgetting takes from the prior 1/P0 of the parameters is given
    back, P⁻¹ ← P⁻¹ + (1 − Πλ)/P0, when Πλ of the updates since the last time is below 1/growth, or earlier: P ≤ P0
    after it, and directions that are not measured do not wind up. And P is decomposed now and then, and where S is
    not positive definite; eigenvalues lost in rounding are raised to it (`n_repairs` counts, and the log tells).

    Parameters
    ----------
    n_parameters : int
        n.
    blocks : sequence of slices, optional
        Parameters with a covariance of their own, in order; one block of all if None. See `layer_blocks`.
    covariance : float
        P0, the variance of each parameter at first: 1/ε.
    schedule : FadingMemory or ProcessNoise, optional
        R, λ and Q of each update; the filter keeps a copy. ``FadingMemory()`` if None.
    growth : float
        By how much variances may grow by forgetting before the prior is given back; never if infinite.
    """

    def __init__(self, n_parameters, *, blocks=None, covariance=1.0, schedule=None, growth=4.0):
        if not (0 < covariance < np.inf and growth > 1):
            raise ValueError(f"0 < covariance < inf and growth > 1 are needed, got {covariance} and {growth}")
        self.slices = [slice(0, n_parameters)] if blocks is None else list(blocks)
        edges = [(part.start, part.stop) for part in self.slices]
        if [start for start, _ in edges] + [n_parameters] != [0] + [stop for _, stop in edges]:
            raise ValueError(f"blocks {self.slices} do not cover {n_parameters} parameters one after another")
        self.n_parameters = n_parameters
        self.covariance = float(covariance)
        self.schedule = FadingMemory() if schedule is None else copy.copy(schedule)
        self.growth = growth
        self.n_updates = self.n_repairs = 0
        self._matrices = [PackedMatrix(part.stop - part.start, covariance) for part in self.slices]
        self._remembered = 1.0  # Πλ since the prior was given back
        self._unchecked = 0  # measurements since P was decomposed

    def update(self, rows, errors):
        """Learn from measurements, all at a time; for a linear model that is the same as one by one where λ = 1.

        Parameters
        ----------
        rows : array of shape (m, n)
            H: derivatives of the predictions with respect to the parameters, divided by the noise of the measurements.
        errors : array of shape (m,)
            Targets minus predictions, divided alike.

        Returns
        -------
        array of shape (n,)
            Change of the parameters; zeros if there are no measurements.

        Raises
        ------
        ValueError
            Shapes that do not fit, or numbers that are not finite or overflow; the filter is as it was.
        """
        rows, errors = self._checked(rows, errors)
        if not len(errors):
            return np.zeros(self.n_parameters)
        products, triangle = self._innovation(rows)
        scaled = errors[:, None].copy("F")
        blas.solve_left(triangle, scaled)
        change = np.empty(self.n_parameters)
        for part, matrix, product in zip(self.slices, self._matrices, products, strict=True):
            blas.solve_left(triangle, product)
            change[part] = scaled[:, 0] @ product
            matrix.subtract(product)
        self._age(len(errors))
        return change

    def end_epoch(self):
        """Go on to the next epoch; see `ProcessNoise`."""
        self.schedule.end_epoch()

    def variances(self):
        """Diagonal of P, (n,)."""
        return np.concatenate([matrix.diagonal() for matrix in self._matrices])

    def dense(self):
        """P (n, n)."""
        lower = linalg.block_diag(*(matrix.dense() for matrix in self._matrices))
        return lower + np.tril(lower, -1).T

    def _checked(self, rows, errors):
        rows, errors = np.asfortranarray(rows, dtype=float), np.asarray(errors, dtype=float)
        if errors.ndim != 1 or rows.shape != (len(errors), self.n_parameters):
            raise ValueError(
                f"derivatives {rows.shape} and errors {errors.shape} do not fit (m, {self.n_parameters}) and (m,)"
            )
        for name, array in (("derivatives", rows), ("errors", errors)):
            if not np.isfinite(array).all():
                raise ValueError(f"{name} of measurements are not finite: the training diverges, or data are bad")
        return rows, errors

    def _innovation(self, rows):
        """H_b P_b of each block, and C."""
        for attempt in range(2):
            products, matrix = self._propagate(rows)
            if not np.isfinite(matrix).all():
                raise ValueError("derivatives of measurements overflow: the training diverges, or data are bad")
            if blas.cholesky(matrix):
                return products, matrix
            if attempt == 0:
                self._restore()
        raise linalg.LinAlgError("the innovation covariance is not positive definite")

    def _propagate(self, rows):
        products, matrix = [], np.zeros((len(rows), len(rows)), order="F")
        with np.errstate(over="ignore", invalid="ignore"):
            for part, block in zip(self.slices, self._matrices, strict=True):
                products.append(block.product(rows[:, part]))
                matrix += products[-1] @ rows[:, part].T
        rounding = EPSILON * sum(rows.shape)
        diagonal = np.einsum("ii->i", matrix)  # a view
        diagonal += self.schedule.noise + rounding * np.abs(diagonal)
        return products, matrix

    def _age(self, n_measurements):
        forgetting, diffusion = self.schedule.forgetting, self.schedule.diffusion
        for matrix in self._matrices:
            matrix.divide(forgetting)
            if diffusion:
                matrix.add_diagonal(diffusion)
        self.schedule.end_update()
        self.n_updates += 1
        self._remembered *= forgetting
        self._unchecked += n_measurements
        if self._remembered * self.growth < 1 or self._unchecked > CHECK_EVERY * self.n_parameters:
            self._restore()

    def _restore(self):
        """Give the prior back what it lost by forgetting, and make P positive definite."""
        lost = (1 - self._remembered) / self.covariance if self.growth < np.inf else 0.0
        for matrix in self._matrices:
            factor = matrix.dense()
            failed = not blas.cholesky(factor)
            if failed:
                self.n_repairs += 1
                logger.warning("covariance of the Kalman filter was not positive definite: repaired")
                factor = _nearest_factor(matrix.dense())
            if failed or lost:
                matrix.assign(_with_information(factor, lost))
        self._remembered, self._unchecked = 1.0, 0


def _nearest_factor(lower):
    """Lower triangle L, L Lᵀ the matrix whose eigenvalues are raised to rounding, as correlations."""
    diagonal = np.diag(lower)
    scale = np.sqrt(np.maximum(diagonal, EPSILON * diagonal.max()))
    values, vectors = linalg.eigh(lower / scale / scale[:, None], check_finite=False)
    floor = len(values) * EPSILON * values[-1]
    root = np.sqrt(np.maximum(values, floor))[:, None] * vectors.T * scale
    triangle = linalg.qr(root, mode="r", overwrite_a=True, check_finite=False)[0].T
    return np.asfortranarray(triangle)


def _with_information(factor, information):
    """Lower triangle of (P⁻¹ + δ)⁻¹ = L (1 + δ LᵀL)⁻¹ Lᵀ of P = L Lᵀ, positive definite by construction."""
    if information:
        inner = factor.copy("F")
        blas.gram_of_triangle(inner)
        inner *= information
        np.einsum("ii->i", inner)[:] += 1
        blas.cholesky(inner)
        blas.solve_right_transposed(inner, factor)
    lower = np.zeros(factor.shape, order="F")
    blas.syrk(1.0, factor, lower)
    return lower


def layer_blocks(sizes, limit):
    """Blocks of at most `limit` parameters: small layers that follow each other share one, large ones are split evenly.

    Parameters
    ----------
    sizes : sequence of int
        Parameters of each layer, in their order.
    limit : int
        Most parameters of a block.

    Returns
    -------
    list of slice
    """
    if limit < 1:
        raise ValueError(f"a block has at least one parameter, got {limit}")
    edges, end = [0], 0
    for size in sizes:
        if end + size - edges[-1] > limit and end > edges[-1]:
            edges.append(end)
        n_parts = -(-size // limit)
        edges += [end + size * k // n_parts for k in range(1, n_parts)]
        end += size
        if n_parts > 1:
            edges.append(end)
    if end > edges[-1]:
        edges.append(end)
    return [slice(start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True)]
