"""Epochs of training: errors, early stopping, the best networks, progress."""

import threading
import warnings
from typing import NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from mlfeat._parallel import run_chunks
from mlfeat.potentials._structure_pass import StructurePass


class Errors(NamedTuple):
    """Errors over some structures; NaN where there are no targets.

    ``loss`` is the mean over structures of the weighted sum of squared residuals; the others are root mean squares: of
    the energy per atom (eV), of force components (eV/Å), of stress components (eV/Å³).
    """

    loss: float
    energy: float
    forces: float
    stress: float

    def __str__(self):
        return f"{1000 * self.energy:.2f} meV/atom, {self.forces:.4f} eV/Å"


def errors_of(networks, data, scale, n_jobs=None):
    """Errors of networks on Measurements."""
    sums = np.zeros((len(data), 3, 2))  # of squared residuals, and how many

    def work(start, stop):
        for k in range(start, stop):
            _add_squares(sums[k], networks, data, k, scale)

    run_chunks(work, len(data), n_jobs, align=1)
    loss = np.sum(data.weights * sums[:, :, 0]) / len(data)
    squares, counts = sums.sum(axis=0).T
    with np.errstate(invalid="ignore"):
        return Errors(loss, *np.sqrt(squares / counts))


def _add_squares(sums, networks, data, k, scale):
    item, target, weights = data.items[k], data.targets[k], data.weights[k]
    found = StructurePass(networks, item.values, item.species)
    residuals = [scale * found.energy / item.n_atoms - data.energy(k)]
    if weights[1:].any():
        gradients = scale * item.vjp(found.gradients)
        residuals.append(item.pairs.forces(gradients) - target["forces"] if weights[1] > 0 else 0.0)
        residuals.append(item.pairs.stress(gradients) - target["stress"] if weights[2] > 0 else 0.0)
    for own, residual, weight in zip(sums, residuals, weights, strict=False):
        if weight > 0:
            own += np.sum(np.square(residual)), np.size(residual)


class Training:
    """Training of one set of networks.

    Parameters
    ----------
    solver : KalmanSolver, AdamSolver or LbfgsSolver
    data, validation : Measurements
        `validation` may be None: the best networks are then those with the least loss on `data`.
    scale : float
        Energy (eV) that an output of one stands for.
    known : list of Network, optional
        Networks that are kept until there are better ones.

    Attributes
    ----------
    best : list of Network
        The networks with the least loss so far; before the first epoch those that training starts from.
    history : list of (Errors, Errors or None)
        Errors on `data` and on `validation` after each epoch.
    """

    def __init__(self, solver, data, validation, scale, known=None):
        self.solver, self.data, self.validation, self.scale = solver, data, validation, scale
        self.best, self.best_loss = list(solver.networks), np.inf
        if known is not None:
            checked = data if validation is None else validation
            self.best, self.best_loss = list(known), errors_of(known, checked, scale).loss
        self.history = []

    def run(self, max_iter, patience, tol, report=None, stop=None, n_jobs=None):
        """Train for some epochs.

        Parameters
        ----------
        max_iter : int
            Most epochs.
        patience : int or float
            Ends when the loss has not fallen by the share `tol` in as many epochs.
        tol : float
        report : callable, optional
            Called with the last entry of `history` after each epoch.
        stop : threading.Event, optional
            Ends when it is set; what was begun of an epoch does not count.
        n_jobs : int, optional
            Threads that evaluate the errors.

        Raises
        ------
        ValueError
            If the networks diverge before there are any to keep; later this is a warning.
        """
        stop = stop or threading.Event()
        waited = 0
        for _ in range(max_iter):
            loss = self._epoch(stop, n_jobs)
            if stop.is_set() or loss is None:
                return
            waited = 0 if loss < (1 - tol) * self.best_loss else waited + 1
            if loss < self.best_loss:
                self.best, self.best_loss = list(self.solver.networks), loss
            if report is not None:
                report(self.history[-1])
            if waited >= patience:
                return

    def _epoch(self, stop, n_jobs):
        """Loss after one more epoch; None if it diverged."""
        cause = None
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                self.solver.epoch(self.data, stop)
            except (ValueError, LinAlgError) as error:
                cause = error
            if stop.is_set():
                return None
            networks = self.solver.networks
            errors = errors_of(networks, self.data, self.scale, n_jobs)
            checked = None if self.validation is None else errors_of(networks, self.validation, self.scale, n_jobs)
        loss = (checked or errors).loss
        if cause is None and np.isfinite(loss):
            self.history.append((errors, checked))
            return loss
        epoch = len(self.history) + 1
        remedy = "lower learning_rate, or raise kalman_epsilon; look for structures unlike all others"
        if not np.isfinite(self.best_loss):
            raise ValueError(f"training diverged in epoch {epoch}: {remedy}") from cause
        warnings.warn(f"training diverged in epoch {epoch}: the best networks before are kept; {remedy}", stacklevel=2)
        return None


def learning_curve(history):
    """Arrays by name from the errors of each epoch."""
    curve = {name: np.array([getattr(errors, name) for errors, _ in history]) for name in Errors._fields}
    if history and history[0][1] is not None:
        curve |= {f"validation_{name}": np.array([getattr(v, name) for _, v in history]) for name in Errors._fields}
    return curve
