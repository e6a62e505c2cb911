"""Minimization over all parameters of a moment tensor potential by BFGS, as MLIP does it."""

import numpy as np
from scipy.optimize import minimize

from mlfeat.potentials._moment_start import normalized


def minimize_bfgs(problem, radial, max_iter, tol, report):
    """Minimize the loss over radial coefficients, coefficients and intercepts at once.

    Coefficients are in units in which the diagonal of their normal equations is one. Each radial function is divided by
    its norm, so that the gradient along it is zero. At the end the linear parameters are solved for.

    Parameters
    ----------
    problem : MomentProblem
    radial : array (S, S, n_radial, K)
        To begin with.
    max_iter : int
        Evaluations of the loss and its gradient are somewhat more.
    tol : float
        Ends when ten iterations lessen the loss by a smaller share.
    report : callable
        As for `minimize_varpro`; it may get the errors that are known.
    """
    start = problem.begin(normalized(radial)[0])
    units = 1 / np.sqrt(np.where(start.diagonal > 0, start.diagonal, 1.0))
    ends = np.cumsum([radial.size, len(start.coef)])
    losses, last = [], {}

    def split(x):
        free = x[: ends[0]].reshape(radial.shape)
        intercept = start.intercept if not problem.free_intercept else x[ends[1] :]
        return *normalized(free), units * x[ends[0] : ends[1]], intercept

    def function(x):
        functions, norms, coef, intercept = split(x)
        loss, (by_radial, by_coef, by_intercept), errors = problem.loss(functions, coef, intercept)
        along = np.einsum("stmk,stmk->m", by_radial, functions)
        by_radial = (by_radial - along[:, None] * functions) / norms[:, None]
        parts = by_radial.ravel(), units * by_coef, by_intercept[: len(x) - ends[1]]
        last.update(x=x.copy(), loss=loss, errors=errors)
        return loss, np.concatenate(parts)

    def check(x):
        functions, _, coef, intercept = split(x)
        losses.append(last["loss"])
        slow = len(losses) > 10 and losses[-11] - losses[-1] < tol * losses[-1]
        errors = last["errors"] if np.array_equal(x, last["x"]) else None
        if report(functions, coef, intercept, errors) or slow:
            raise StopIteration

    x = np.concatenate([normalized(radial)[0].ravel(), start.coef / units, start.intercept * problem.free_intercept])
    x = x[: None if problem.free_intercept else ends[1]]
    found = minimize(function, x, jac=True, method="BFGS", callback=check, options={"maxiter": max_iter, "gtol": 0.0})
    functions = split(found.x)[0]
    solved = problem.project(functions)
    report(functions, solved.coef, solved.intercept)
