"""Differential evolution over the parameters of any estimator, in scikit-learn's form."""

import math
import time
import warnings
from numbers import Integral

import joblib
import numpy as np
from scipy.optimize import differential_evolution
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from tqdm import tqdm

from mlfeat.model_selection._best_estimator import BestEstimatorMixin
from mlfeat.model_selection._bounds import SearchSpace
from mlfeat.model_selection._checkpoint import Checkpoint, describe, describe_data
from mlfeat.model_selection._data import are_structures, find_groups
from mlfeat.model_selection._population import Population, Stop
from mlfeat.model_selection._trials import forget, make_trials
from mlfeat.potentials._settings import is_count, is_number
from mlfeat.targets import make_targets

__all__ = ["DifferentialEvolutionSearch"]


class DifferentialEvolutionSearch(BestEstimatorMixin, MetaEstimatorMixin, BaseEstimator):
    """Search for the parameters of an estimator that cross-validation likes best, by differential evolution.

    It is used as scikit-learn's `GridSearchCV`, for any estimator, a Pipeline on structures included: `fit` tries
    parameters, and fits the best once more to all data. The trials of each generation come from the trials before
    (Storn and Price), by SciPy. The estimator's own parameters, moved into the bounds, are in the first generation.

    Where a Pipeline ends in a `LinearPotential` with a ridge penalty, and the scoring is a :func:`property_scorer` or
    minus the RMSE of energies, forces or stresses, trials make no pass over the data: normal equations are kept for
    each fold, group and kind of target, and solved with other weights and penalties, thousands a minute for SNAP. They
    are made anew for other values of parameters of the descriptor: put those on a grid, as ``(4.4, 5.0, 0.1)``. The
    steps before the potential are then fitted to all structures, not to those of each fold. Sample weights, or other
    parameters of `fit`, take a fit for each fold.

    Parameters
    ----------
    estimator : estimator
        What to search the parameters of, unfitted.
    bounds : dict
        Range by name of the parameter:

        - ``(low, high)``: any number between them; an integer if both are integers,
        - ``(low, high, "log")``: the same, by its logarithm,
        - ``(low, high, step)``: low, low + step, ... up to high,
        - a list: one of these values.

        Entries of a parameter that is a dict are named as ``"bispectrum__weights[Mo]"``. Of group weights the value
        is a factor of the group's own: ``"linearpotential__group_weights[Elastic]"`` of all kinds,
        ``"linearpotential__group_weights[Elastic, energy]"`` (or force, stress) of one.
    scoring : str, callable or None, default=None
        As for `GridSearchCV`, one score; see :func:`property_scorer`. None is the estimator's own `score`. The
        properties of a :func:`property_scorer` are those of one more fit, to all data: each trial has them once.
    cv : int, cross-validation generator, iterable or None, default=None
        As for `GridSearchCV`: None is five folds, in the order of the data.
    n_trials : int, default=500
        How many trials there are; a few times ``popsize * len(bounds)``, at least. One with the same parameters as an
        earlier one counts, and costs nothing.
    strategy : str, default="best1bin"
        As for `scipy.optimize.differential_evolution`.
    popsize : int, default=15
        Trials of a generation for each parameter.
    mutation : float or (float, float), default=(0.5, 1.0)
        As for `scipy.optimize.differential_evolution`.
    recombination : float, default=0.7
        As for `scipy.optimize.differential_evolution`.
    tol : float, default=0.0
        Stop when the standard deviation of the scores of a generation is at most this share of their mean.
    refit : bool, default=True
        Fit the estimator with the best parameters to all data.
    n_jobs : int, default=None
        joblib workers of the trials of a generation. Results do not depend on it.
    random_state : int, RandomState or None, default=None
        Seed of the evolution.
    checkpoint : str or path-like, default=None
        A file that the trials are written to, every few seconds and when the search ends or is interrupted. If it is
        there, the search goes on from it as if it had not stopped; with a larger `n_trials`, a finished one does, too.
        Trials that failed are tried again.
    cache_limit : float, default=2e9
        Bytes of normal equations that are kept in each process.
    verbose : int, default=0
        1 shows a progress bar, if on a terminal.
    error_score : float or "raise", default=nan
        Score of a trial that fails, which is warned of.

    Attributes
    ----------
    best_params_ : dict
        Parameters with the best score, for the estimator's `set_params`.
    best_score_ : float
        Their score, the mean over splits.
    best_index_ : int
        Number of their trial.
    best_estimator_ : estimator
        Fitted to all data with them.
    cv_results_ : dict of str to array
        All trials in their order, with the keys of `GridSearchCV`: ``params``, ``param_NAME`` (by the names of
        `bounds`), ``split0_test_score``, ..., ``mean_test_score``, ``std_test_score``, ``rank_test_score``,
        ``mean_fit_time`` (s) and so on. With a :func:`property_scorer` also ``mean_test_energy_rmse`` (eV/atom),
        ``mean_test_force_rmse`` (eV/Å), ``mean_test_stress_rmse`` (eV/Å³), and ``property_C11`` (GPa) and the like.
    n_trials_ : int
        Number of trials.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds of the last fit.
    scorer_ : callable
        The scorer.

    Raises
    ------
    ValueError
        In `fit`, if a range makes no sense, a parameter or a group does not exist, or the checkpoint is damaged or of
        another search. If all trials of the first generation fail, the error of one of them.

    Warns
    -----
    UserWarning
        If interrupted (Ctrl-C): the best trial so far is taken.
    FitFailedWarning
        If a trial fails.

    References
    ----------
    R. Storn, K. Price, J. Global Optim. 11, 341 (1997).

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from mlfeat import DifferentialEvolutionSearch, presets
    >>> from mlfeat.model_selection import property_scorer
    >>> bounds = {
    ...     "bispectrum__cutoff": (4.4, 5.0, 0.1),
    ...     "linearpotential__regressor__alpha": (1e-8, 1.0, "log"),
    ...     "linearpotential__force_weight": (1e-7, 1e-3, "log"),
    ...     "linearpotential__group_weights[Elastic]": (0.1, 100.0, "log"),
    ... }
    >>> scoring = property_scorer("Mo", elastic={"C11": 472, "C12": 158, "C44": 106}, energy=0.004, force=0.3)
    >>> search = DifferentialEvolutionSearch(presets.snap("Mo"), bounds, scoring=scoring, n_trials=2000, random_state=0)
    >>> search.fit(train, targets)  # doctest: +SKIP
    >>> search.best_params_, search.best_score_  # doctest: +SKIP
    """

    def __init__(
        self,
        estimator,
        bounds,
        *,
        scoring=None,
        cv=None,
        n_trials=500,
        strategy="best1bin",
        popsize=15,
        mutation=(0.5, 1.0),
        recombination=0.7,
        tol=0.0,
        refit=True,
        n_jobs=None,
        random_state=None,
        checkpoint=None,
        cache_limit=2e9,
        verbose=0,
        error_score=math.nan,
    ):
        self.estimator = estimator
        self.bounds = bounds
        self.scoring = scoring
        self.cv = cv
        self.n_trials = n_trials
        self.strategy = strategy
        self.popsize = popsize
        self.mutation = mutation
        self.recombination = recombination
        self.tol = tol
        self.refit = refit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.cache_limit = cache_limit
        self.verbose = verbose
        self.error_score = error_score

    def fit(self, X, y=None, *, groups=None, **fit_params):
        """Search, then fit the best to all data.

        Parameters
        ----------
        X : list of ase.Atoms, FeatureSet, or array of shape (n_samples, n_features)
            What the estimator is fitted to.
        y : array of shape (n_samples,), default=None
            Targets, for structures as from :func:`mlfeat.make_targets`, which is used if they are not given.
        groups : array of shape (n_samples,), default=None
            Passed to `cv`.
        **fit_params
            Passed to the `fit` of the estimator, as ``linearpotential__sample_weight``. Of those with one entry for
            each sample, a fold has its own. The scores do not depend on them.

        Returns
        -------
        self
            The fitted search.
        """
        self._check_parameters()
        space = SearchSpace(self.estimator, self.bounds)
        space.check_groups(find_groups(X))
        y = make_targets(X) if y is None and are_structures(X) else y
        self.scorer_ = check_scoring(self.estimator, self.scoring)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, groups))
        trials = make_trials(
            self.estimator,
            X,
            y,
            splits,
            self.scorer_,
            names=space.names,
            fit_params=fit_params,
            error_score=self.error_score,
            cache_limit=self.cache_limit,
        )
        try:
            population = self._evolve(space, trials, self._problem(X, y, splits, fit_params))
        finally:
            forget()
        self.n_splits_ = len(splits)
        self._collect(space, population, trials)
        return self._refitted(X, y, fit_params)

    def _check_parameters(self):
        for name in ("n_trials", "popsize"):
            if not is_count(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a positive integer")
        for name in ("tol", "cache_limit"):
            if not is_number(getattr(self, name)) or not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be zero or a positive number")
        if not (is_number(self.error_score) or self.error_score == "raise"):
            raise ValueError(f"error_score={self.error_score!r}: must be a number or 'raise'")

    def _problem(self, X, y, splits, fit_params):
        """What trials depend on, in words; the number of trials is not in it."""
        if self.checkpoint is None:
            return None
        own = ("strategy", "popsize", "mutation", "recombination", "random_state")
        params = {"": self.estimator, **self.estimator.get_params()}
        params = {
            name: type(value).__name__ if hasattr(value, "get_params") else value
            for name, value in params.items()
            if name.rpartition("__")[2] not in ("n_jobs", "steps", "verbose")
        }
        return {
            **{name: describe(getattr(self, name)) for name in own},
            "bounds": describe(list(self.bounds.items())),
            "estimator": describe(params),
            "scoring": describe(self.scorer_),
            "data": describe_data(X, y),
            "fit_params": joblib.hash(fit_params),
            "splits": describe_data([part for split in splits for part in split], 0),
        }

    def _evolve(self, space, trials, problem):
        """The trials of an evolution."""
        checkpoint = None if problem is None else Checkpoint(self.checkpoint, problem)
        seed = int(check_random_state(self.random_state).randint(2**31))
        found = None if checkpoint is None else checkpoint.load((len(space.names), len(trials.columns)))
        seed, known = (seed, {}) if found is None else found
        known = {key: row for key, row in known.items() if not trials.has_failed(row)}
        with tqdm(total=self.n_trials, desc="evolution", unit="trial", disable=None if self.verbose else True) as bar:
            population = Population(space, trials, self.n_trials, self.n_jobs, known, bar)
            if checkpoint is not None:
                population.save = lambda: checkpoint.save(seed, population.known)
            with population:
                try:
                    self._minimize(population, space.start, seed)
                except Stop as stop:
                    if stop.__cause__:
                        raise stop.__cause__ from None
                except KeyboardInterrupt:
                    if not population.asked:
                        raise
                    warnings.warn(
                        f"interrupted after {len(population.asked)} of {self.n_trials} trials: this is the best of "
                        "those; interrupt again to stop its fit",
                        stacklevel=3,
                    )
        return population

    def _minimize(self, function, start, seed):
        differential_evolution(
            function,
            [(0.0, 1.0)] * len(start),
            strategy=self.strategy,
            maxiter=self.n_trials,
            popsize=self.popsize,
            tol=self.tol,
            mutation=self.mutation,
            recombination=self.recombination,
            rng=np.random.default_rng(seed),
            polish=False,
            updating="deferred",
            vectorized=True,
            x0=start,
        )

    def _collect(self, space, population, trials):
        """Set the attributes that tell of the trials."""
        points = [np.frombuffer(key) for key in population.asked]
        table = np.array([population.known[key] for key in population.asked])
        columns = dict(zip(trials.columns, table.T, strict=True))
        scores = table[:, : self.n_splits_]
        mean = scores.mean(axis=1)
        results = {}
        for name in ("fit_time", "score_time"):
            times = np.array([columns[f"split{k}_{name}"] for k in range(self.n_splits_)])
            results |= {f"mean_{name}": times.mean(axis=0), f"std_{name}": times.std(axis=0)}
        values = zip(*map(space.values, points), strict=True)
        results |= {f"param_{name}": _column(own) for name, own in zip(space.names, values, strict=True)}
        results["params"] = [space.params(point) for point in points]
        results |= {f"split{k}_test_score": scores[:, k] for k in range(self.n_splits_)}
        results |= {"mean_test_score": mean, "std_test_score": scores.std(axis=1)}
        results["rank_test_score"] = rankdata(-np.where(np.isnan(mean), -np.inf, mean), method="min").astype(np.int32)
        results |= {f"mean_test_{name}": columns[name] for name in trials.details if name not in trials.properties}
        results |= {f"property_{name}": columns[name] for name in trials.properties}
        self.cv_results_ = results
        self.n_trials_ = len(points)
        self.multimetric_ = False
        self.best_index_ = int(np.argmin(results["rank_test_score"]))
        self.best_params_ = results["params"][self.best_index_]
        self.best_score_ = float(mean[self.best_index_])

    def _refitted(self, X, y, fit_params):
        self.__dict__.pop("best_estimator_", None)
        if not self.refit:
            return self
        began = time.perf_counter()
        self.best_estimator_ = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        self.best_estimator_.fit(X, *([] if y is None else [y]), **fit_params)
        self.refit_time_ = time.perf_counter() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self


def _column(values):
    """Values of a parameter: an array of numbers if they are, else of objects."""
    kinds = {type(value) for value in values}
    if kinds <= {float, int, np.float64, np.int64} or all(issubclass(kind, Integral) for kind in kinds):
        return np.ma.array(values)
    column = np.ma.empty(len(values), dtype=object)
    column[:] = values
    return column
