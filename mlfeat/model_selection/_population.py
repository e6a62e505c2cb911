"""The function that an evolution minimizes: a generation of points in, minus their scores out."""

import time
import warnings

import numpy as np
from joblib import delayed

from mlfeat._cluster import Parcel, at_home, count_workers, make_parallel

__all__ = ["Population", "Stop"]

SECONDS = 5.0  # between writings of the checkpoint


class Stop(Exception):
    """All trials are used, or there is an error, its cause."""


class Population:
    """Trials of generations of points, which writes down what it is asked.

    Parameters
    ----------
    space : SearchSpace
        What the points stand for.
    trials : object
        Called with parameters, gives a row of numbers, scores of the splits first.
    n_trials : int
        How many points may be asked for.
    n_jobs : int or None
        joblib workers.
    known : dict
        Rows by the bytes of points that are known already.
    bar : tqdm
        Progress.

    Attributes
    ----------
    known : dict
        All rows that are known.
    asked : list of bytes
        Points in the order in which they were asked for.
    save : callable
        Called now and then, to write down what is known.
    """

    def __init__(self, space, trials, n_trials, n_jobs, known, bar):
        self.space, self.trials, self.n_trials, self.bar = space, trials, n_trials, bar
        self.n_jobs = count_workers(n_jobs)
        self.parallel = make_parallel(n_jobs, prefer="processes", return_as="generator")
        self.known = known
        self.asked = []
        self.save = lambda: None
        self.saved = time.monotonic()
        self.backwards = False
        self.best = np.inf

    def __enter__(self):
        self.parallel.__enter__()
        return self

    def __exit__(self, *exception):
        try:
            self.parallel.__exit__(*exception)
        finally:
            if self.known:
                self.save()

    def __call__(self, points):
        """Minus the mean scores (S,) of points (n_parameters, S), infinite for trials that failed."""
        try:
            return self._losses(points)
        except (TypeError, ValueError) as error:  # SciPy would take them for its own
            raise Stop from error

    def _losses(self, points):
        left = self.n_trials - len(self.asked)
        keys = [self.space.snap(point).tobytes() for point in points.T]
        mine = keys[:left]
        try:
            self._try(dict.fromkeys(key for key in mine if key not in self.known))
        finally:
            first = not self.asked
            done = [key for key in mine if key in self.known]  # not all after an interrupt
            self.asked += done
            self.bar.update(len(done))
            self.best = min([self.best, *map(self._loss, done)])
            self.bar.set_postfix_str(f"best {-self.best:.4g}")
        if first:
            self._check(mine)
        if len(self.asked) >= self.n_trials:
            raise Stop
        return np.array([self._loss(key) for key in keys])

    def _try(self, keys):
        """Make the trials of some points, those that share work one after another."""
        todo = [(self.space.params(np.frombuffer(key)), key) for key in keys]
        todo.sort(key=lambda item: self.trials.order(item[0]), reverse=self.backwards)
        self.backwards = not self.backwards  # begin with what is likely to be kept from the last ones
        size = 1 if self.n_jobs == 1 else -(-len(todo) // (4 * self.n_jobs))
        chunks = [todo[k : k + size] for k in range(0, len(todo), size)] if todo else []
        common = Parcel(self.trials)
        rows = self.parallel(delayed(_rows)(common, [params for params, _ in chunk]) for chunk in chunks)
        for chunk, found in zip(chunks, rows, strict=True):
            self.known |= {key: row for (_, key), row in zip(chunk, found, strict=True)}
            if time.monotonic() - self.saved > SECONDS:
                self.save()
                self.saved = time.monotonic()

    def _loss(self, key):
        score = np.mean(self.known[key][: len(self.trials.splits)])
        return -score if np.isfinite(score) else np.inf

    def _check(self, keys):
        """Raise the error of the first trial if all have failed."""
        if keys and all(self._loss(key) == np.inf for key in keys):
            self.trials.error_score = "raise"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.trials(self.space.params(np.frombuffer(keys[0])))
            raise ValueError("no trial of the first generation has a finite score: change the scoring or the bounds")


def _rows(common, params):
    (trials,) = common.content
    with at_home():
        return [trials(own) for own in params]
