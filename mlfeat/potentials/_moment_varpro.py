"""Variable projection: radial coefficients by Levenberg and Marquardt's method, the linear ones exactly.

The loss is a sum of squares, linear in coefficients and intercepts. Taking these out of the joint normal equations by
their Schur complement leaves those of the radial coefficients, in the directions that keep the norm of each radial
function (G. H. Golub, V. Pereyra, Inverse Problems 19, R1 (2003)); damping is K. Madsen, H. B. Nielsen, O. Tingleff's.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from mlfeat.potentials._blocks import eliminate_normal
from mlfeat.potentials._moment_start import normalized, tangents
from mlfeat.potentials._solve import solve_normal

FIRST_DAMPING, LARGEST_DAMPING = 1e-2, 1e12
TINY = np.finfo(float).tiny
FLOOR = 1e-9  # of the largest curvature: damping of directions that change nothing, as mixtures of radial functions


class Step(NamedTuple):
    """A step in the radial coefficients, and the decrease of the loss that it would bring if that were quadratic."""

    radial: np.ndarray
    predicted: float


class Projected:
    """Linear parameters solved for, and what is left of the normal equations.

    Parameters
    ----------
    design : Design
        Where the normal equations are from.
    matrix : array
        Theirs, with radial columns or without.
    n_species, n_columns : int
        Numbers of intercepts, and of coefficients over all groups.
    free_intercept : bool
    alpha : float
        Penalty in units of the diagonal of the coefficients' normal equations.
    penalty : array (n_columns,), optional
        The penalty itself, if it was chosen before.

    Attributes
    ----------
    coef, intercept : arrays (n_columns,), (n_species,)
    loss : float
        Weighted squared residuals, and penalty.
    gram, moment, square
        Normal equations of the coefficients alone, without the penalty: matrix, right side, and sum of squared targets.
    diagonal, penalty : arrays (n_columns,)
        Diagonal of the matrix, and the penalty.
    """

    def __init__(self, design, matrix, n_species, n_columns, free_intercept, alpha, penalty=None):
        self.design = design
        rest, intercepts, _ = eliminate_normal(matrix, n_species, free_intercept)
        self.gram, self.moment, self.square = rest[:n_columns, :n_columns], rest[:n_columns, -1], rest[-1, -1]
        self.diagonal = np.diag(self.gram)
        self.penalty = alpha * self.diagonal if penalty is None else penalty
        solution = solve_normal(self.gram, self.moment, self.penalty)
        self.coef = solution.coef
        self.intercept = intercepts[:, -1] - intercepts[:, :n_columns] @ self.coef
        cross = solution.factor.T @ rest[:n_columns, n_columns:]
        left = rest[n_columns:, n_columns:] - cross.T @ cross
        self.loss = float(left[-1, -1])
        self._curvature, self._descent = left[:-1, :-1], left[:-1, -1]

    def step(self, directions, damping):
        """The damped Gauss-Newton step along some directions (n_radial_coefficients, n)."""
        curvature = directions.T @ self._curvature @ directions
        descent = directions.T @ self._descent
        size = np.diag(curvature)
        damped = curvature + damping * np.diag(size + FLOOR * size.max(initial=0.0))
        along = linalg.lstsq(damped, descent, check_finite=False)[0]
        return Step(directions @ along, float(2 * along @ descent - along @ curvature @ along))


def minimize_varpro(problem, radial, max_iter, tol, report):
    """Minimize the loss over radial coefficients, coefficients and intercepts.

    Parameters
    ----------
    problem : MomentProblem
    radial : array (S, S, n_radial, K)
        To begin with.
    max_iter : int
        Passes over the structures.
    tol : float
        Ends when two steps in a row lessen the loss by a smaller share.
    report : callable
        Called as ``report(radial, coef, intercept)`` after each successful step; ends when it returns True.
    """
    radial = normalized(radial)[0]
    current = problem.linearize(problem.begin(radial, keep=True))
    damping, growth, small = FIRST_DAMPING, 2.0, 0
    stop = report(radial, current.coef, current.intercept)
    for _ in range(max_iter):
        if stop or small > 1 or damping > LARGEST_DAMPING:
            return
        step = current.step(tangents(radial), damping)
        trial_radial = normalized(radial + step.radial.reshape(radial.shape))[0]
        trial = problem.project(trial_radial, keep=True)
        decrease = -np.inf if trial is None else current.loss - trial.loss
        if not decrease > 0:
            damping, growth = damping * growth, 2 * growth
            small += step.predicted < tol * current.loss
            trial = None  # its rows are let go before others are kept
            continue
        small = small + 1 if decrease < tol * current.loss else 0
        gain = min(decrease / max(step.predicted, TINY), 2.0)
        damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
        growth = 2.0
        radial, current = trial_radial, problem.linearize(trial)
        stop = report(radial, current.coef, current.intercept)
