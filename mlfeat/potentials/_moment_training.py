"""Training of a moment tensor potential from some radial functions, level by level."""

import copy
from functools import partial
from typing import NamedTuple

import numpy as np

from mlfeat.potentials._moment_bfgs import minimize_bfgs
from mlfeat.potentials._moment_model import errors_of
from mlfeat.potentials._moment_problem import MomentProblem
from mlfeat.potentials._moment_settings import iterations, memory_forecast
from mlfeat.potentials._moment_varpro import minimize_varpro

EARLY_ITERATIONS = {"varpro": 15, "bfgs": 100, "ridge": 1}  # at most, at levels before the last
EARLY_TOL = 0.02


class MomentState(NamedTuple):
    """Parameters at the highest level: radial (S, S, n_radial, K), coef (n_groups, F), intercept (n_species,)."""

    radial: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray


def solve_ridge(problem, radial, max_iter, tol, report):
    """Solve for the linear parameters; the radial functions stay. As `minimize_varpro` otherwise."""
    solved = problem.begin(radial)
    report(radial, solved.coef, solved.intercept)


MINIMIZE = {"varpro": minimize_varpro, "bfgs": minimize_bfgs, "ridge": solve_ridge}


def moment_problem(potential, data, descriptor, basis, scaling):
    """The MomentProblem with the parameters of a MomentTensorPotential."""
    return MomentProblem(
        data,
        descriptor,
        basis,
        scaling=scaling,
        alpha=potential.alpha,
        free_intercept=isinstance(potential.intercept, str),
        tied=potential.tied,
        n_jobs=potential.n_jobs,
        kept_bytes=memory_forecast(potential, descriptor, data).kept_bytes(potential.memory_limit),
    )


class MomentTraining:
    """Training of one member of a committee.

    Parameters
    ----------
    potential : MomentTensorPotential
        Its parameters are used.
    data, validation : MomentData
        `validation` may be None: the best parameters are then the last.
    descriptor : MomentTensor
        Fitted.
    radial : array (S, S, n_radial, K)
        Radial functions to begin with.
    scaling : float
        Their factor.
    levels : list of int
        Of the contractions that are used, one after the other; the last stands for all.
    others : sequence of arrays, default=()
        More radial functions to begin with: after the first level training goes on from the best.

    Attributes
    ----------
    best : MomentState or None
        With the least loss on `validation`, or the last; None before there are any.
    history : list of (int, Errors, Errors or None)
        Level, errors on `data` and on `validation` after each iteration.
    """

    def __init__(self, potential, data, validation, descriptor, radial, scaling, levels, others=()):
        self._potential, self._data, self._validation = potential, data, validation
        self._descriptor, self._radial, self.scaling, self._levels = descriptor, radial.copy(), scaling, levels
        self._others = others
        self._forget()

    def _forget(self):
        self.best, self._best_loss, self._waited = None, np.inf, 0
        self.history = []

    def run(self, show):
        """Train; ``show(level, errors, checked)`` is called after each iteration."""
        full = self._descriptor.basis_
        of_scalars = full.levels
        for level in self._levels:
            last = level == self._levels[-1]
            chosen = np.arange(len(of_scalars)) if last else np.flatnonzero(of_scalars <= level)
            stage = level, full if last else full.subset(chosen), chosen, last, show
            self._stage(*stage)
            while self._others:
                self._try(self._others[0], stage)

    def _try(self, radial, stage):
        """Run a stage from other radial functions, and take its result if that is better."""
        self._others = self._others[1:]
        attempt = copy.copy(self)
        attempt._radial = radial.copy()
        attempt._forget()
        attempt._stage(*stage)
        if attempt._best_loss < self._best_loss:
            self.__dict__.update(attempt.__dict__)

    def _stage(self, level, basis, chosen, last, show):
        potential = self._potential
        problem = moment_problem(potential, self._data, self._descriptor, basis, self.scaling)
        most = iterations(potential, level)
        most, tol = (most, potential.tol) if last else (min(most, EARLY_ITERATIONS[potential.solver]), EARLY_TOL)
        report = partial(self._record, problem, level, chosen, last, show)
        MINIMIZE[potential.solver](problem, self._radial[:, :, : basis.n_radial], most, tol, report)

    def _record(self, problem, level, chosen, last, show, radial, coef, intercept, errors=None):
        """Keep an iteration; True if training should end."""
        model = problem.model(radial, coef, intercept)
        n_jobs = self._potential.n_jobs
        errors = errors or errors_of(model, self._data, n_jobs)
        checked = None if self._validation is None else errors_of(model, self._validation, n_jobs)
        self.history.append((level, errors, checked))
        self._radial[:, :, : radial.shape[2]] = radial
        show(level, errors, checked)
        better = checked is None or checked.loss < (1 - self._potential.tol * last) * self._best_loss
        self._waited = 0 if better or not last else self._waited + 1
        if checked is None or checked.loss < self._best_loss:
            full = np.zeros((len(model.coef), len(self._descriptor.basis_.scalars)))
            full[:, chosen] = model.coef
            self.best = MomentState(self._radial.copy(), full, intercept)
            self._best_loss = (checked or errors).loss
        return last and self._waited >= self._potential.n_iter_no_change
