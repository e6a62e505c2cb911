"""Minimize a function of a few numbers with a given number of calls."""

from contextlib import suppress

import numpy as np
from scipy import optimize
from scipy.stats import qmc

__all__ = ["minimize"]


class _Spent(Exception):
    """All calls are used."""


def minimize(function, starts, n_calls, random_state=0):
    """Minimize a function on the unit box, without derivatives, by SciPy.

    Differential evolution from the starts and random points uses two thirds of the calls, Nelder and Mead's simplex
    from the best point what is left.

    Parameters
    ----------
    function : callable
        Takes an array (d,) with elements in [0, 1] and returns a number; infinity is allowed.
    starts : array of shape (n_starts, d)
        Points to try first.
    n_calls : int
        How often `function` is called at most.
    random_state : int
        Seed; equal seeds give equal results.

    Returns
    -------
    best : array of shape (d,)
    value : float
    """
    starts = np.asarray(starts, dtype=float)
    n_dims = starts.shape[1]
    best = [starts[0], np.inf]
    calls = 0

    def counted(point, limit):
        nonlocal calls
        if calls >= limit:
            raise _Spent
        calls += 1
        value = function(point)
        if value < best[1]:
            best[:] = np.array(point), value
        return value

    box = [(0.0, 1.0)] * n_dims
    with suppress(_Spent):
        for start in starts:
            counted(start, n_calls)
        if n_dims:
            others = qmc.LatinHypercube(n_dims, rng=np.random.default_rng(random_state)).random(4 * n_dims + 4)
            optimize.differential_evolution(
                counted,
                box,
                (n_calls * 2 // 3,),
                strategy="best1bin",
                maxiter=n_calls,
                tol=0,
                mutation=(0.3, 0.9),
                recombination=0.8,
                polish=False,
                init=np.vstack([best[0], others]),
                rng=np.random.default_rng(random_state),
            )
    with suppress(_Spent):
        step = np.where(best[0] < 0.5, 0.1, -0.1) * np.eye(n_dims)
        options = {"initial_simplex": np.vstack([best[0], best[0] + step]), "xatol": 1e-4, "fatol": 1e-6}
        if n_dims:
            optimize.minimize(counted, best[0], (n_calls,), "Nelder-Mead", bounds=box, options=options)
    return tuple(best)
