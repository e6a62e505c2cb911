"""Trials of an evolution search per minute, on the Mo training set: from sums of rows, and by fits.

``python benchmarks/evolution.py`` prints the processor time of a trial, and how many a minute of it holds. Penalty and
weights are searched, with five folds; "made once" are features and their sums of rows, before the first trial.
"""

import argparse
import time

import numpy as np
from ase.io import read
from cases import SHARED
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

import mlfeat
from mlfeat import get_groups, make_targets, presets
from mlfeat.model_selection import property_scorer
from mlfeat.model_selection._bounds import SearchSpace
from mlfeat.model_selection._trials import FittedTrials, forget, make_trials

HEADER = (
    "                                 made once    trial   in a minute\n"
    "                                         s       ms"
)
ERRORS = {"energy": 0.004, "force": 0.3}
SCORERS = {
    "errors": property_scorer(**ERRORS),
    "errors and elastic constants": property_scorer("Mo", elastic={"C11": 472, "C12": 158, "C44": 106}, **ERRORS),
}


def ranges(structures):
    """Bounds of the penalty and of all weights."""
    factors = {f"linearpotential__group_weights[{group}]": (0.1, 100.0, "log") for group in set(get_groups(structures))}
    return {
        "linearpotential__regressor__alpha": (1e-8, 1.0, "log"),
        "linearpotential__force_weight": (1e-7, 1e-3, "log"),
        "linearpotential__stress_weight": (1e-4, 10.0, "log"),
        **dict(sorted(factors.items())),
    }


def measure(options):
    """SNAP and qSNAP, with and without elastic constants, and SNAP by fits."""
    train = read(SHARED / "data" / "zuo2020" / "Mo" / "train.xyz", ":")
    targets = make_targets(train)
    splits = list(KFold(5, shuffle=True, random_state=0).split(train))
    bounds = ranges(train)
    cases = [(method, words, "sums") for method in ("snap", "qsnap") for words in SCORERS]
    cases += [(method, "errors and elastic constants", "fits") for method in ("snap", "qsnap")]
    results = {}
    for method, words, by in cases[:2] if options.quick else cases:
        model, scorer = getattr(presets, method)("Mo"), SCORERS[words]
        sums = make_trials(
            model, train, targets, splits, scorer, names=list(bounds), error_score="raise", cache_limit=2e9
        )
        trials = sums if by == "sums" else FittedTrials(model, train, targets, splits, scorer, "raise")
        space = SearchSpace(model, bounds)
        points = np.random.default_rng(0).random((_n_trials(method, by, options), len(bounds)))
        mlfeat.clear_cache()
        first, _ = _timed(trials, space.params(space.start))
        times, rows = zip(*(_timed(trials, space.params(point)) for point in points), strict=True)
        seconds = float(np.mean(times))  # bad trials take longer to relax
        found = {"first": first, "trial": seconds, "per_minute": 60 / seconds}
        print(f"{method:6s}{words:29s}{by:6s}{first:6.1f}{1e3 * seconds:9.2f}{60 / seconds:10.0f}", end="", flush=True)
        if by == "fits":
            found["difference"] = _difference(trials.columns, rows, [sums(space.params(point)) for point in points])
            print(f"   RMSE by sums differ by up to {100 * found['difference']:.2f} %", end="")
        print(flush=True)
        forget()
        results[f"{method}, {words}, {by}"] = found
    mlfeat.clear_cache()
    return results


def _difference(columns, rows, others):
    """Largest relative difference of a trial's RMSE: steps are fitted to each fold's training set, or to all."""
    errors = np.array(["rmse" in name for name in columns])
    return float(np.abs(np.array(others)[:, errors] / np.array(rows)[:, errors] - 1).max())


def _n_trials(method, by, options):
    if options.quick or by == "fits":
        return 3
    return 300 if method == "snap" else 50


def _timed(trials, params):
    """Processor time of a trial, and its numbers."""
    began = time.process_time()
    row = trials(params)
    return time.process_time() - began, row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few trials")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        print(HEADER)
        measure(arguments)
