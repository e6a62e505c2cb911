"""What a trial of a search is: parameters in, scores of all splits out, by fits or from sums of rows."""

import logging
import time
import uuid
import warnings
from functools import lru_cache

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import ThreadpoolController

from mlfeat import metrics
from mlfeat._cache import Cache
from mlfeat.base import split_model
from mlfeat.model_selection._cross_validation import ERRORS, CrossValidation
from mlfeat.model_selection._property_scorer import PropertyScorer
from mlfeat.potentials import LinearPotential
from mlfeat.potentials._regressors import streaming_penalty
from mlfeat.potentials._rows import KindWeights

__all__ = ["make_trials"]

logger = logging.getLogger("mlfeat")

WEIGHTS = ("energy_weight", "force_weight", "stress_weight", "group_weights", "regressor__alpha")
OF_ERRORS = {getattr(metrics, f"neg_{name}"): name for name in ERRORS}  # scorers that sums of rows are enough for

_built = Cache()  # sums of rows by values of the parameters that they depend on; each process has its own


def make_trials(estimator, X, y, splits, scorer, *, names, fit_params, error_score, cache_limit):
    """The fastest trials that there are for an estimator, a scorer and the names of the parameters that change.

    Parameters
    ----------
    estimator : estimator
        Unfitted.
    X, y : list or array
        All data.
    splits : list of (array, array)
        Indices of training and test sets.
    scorer : callable
        Gives a score, the greater the better, of a fitted estimator on some data.
    names : list of str
        Names of the parameters that change.
    fit_params : dict
        Parameters of the estimator's `fit`; if there are any, trials are fits.
    error_score : float or "raise"
        What a failed fit scores.
    cache_limit : float
        Bytes of sums of rows that each process keeps.

    Returns
    -------
    FittedTrials or GramTrials
    """
    fast = not fit_params and _sums_are_enough(estimator, splits, scorer, names)
    logger.info("trials are %s", "solutions of normal equations" if fast else "fits and predictions")
    if fast:
        return GramTrials(estimator, X, y, splits, scorer, error_score, cache_limit)
    return FittedTrials(estimator, X, y, splits, scorer, error_score, fit_params)


def _sums_are_enough(estimator, splits, scorer, names):
    """Whether a trial is a linear fit with squared errors of the predictions."""
    if not isinstance(estimator, Pipeline) or not isinstance(estimator.steps[-1][1], LinearPotential):
        return False
    last = estimator.steps[-1][0]
    if any(name.split("[")[0] in (last, f"{last}__regressor") for name in names):
        return False
    try:
        split_model(estimator)
        streaming_penalty(estimator[-1]._regressor(), "gram")
    except TypeError:
        return False
    known = isinstance(scorer, PropertyScorer) or any(scorer is other for other in OF_ERRORS)
    return known and all(len(np.unique(part)) == len(part) for split in splits for part in split)


class _Trials:
    """A row of numbers for parameters: see `columns`."""

    def __init__(self, estimator, X, y, splits, scorer, error_score):
        self.estimator, self.X, self.y, self.splits, self.scorer = estimator, X, y, splits, scorer
        self.error_score = error_score
        self.properties = scorer.property_names if isinstance(scorer, PropertyScorer) else ()
        self.details = (*ERRORS, *self.properties) if isinstance(scorer, PropertyScorer) else ()

    @property
    def columns(self):
        """Names of the numbers of a trial: the splits' scores and times, and what a PropertyScorer sees."""
        n = len(self.splits)
        return [*(f"split{k}_{what}" for what in ("score", "fit_time", "score_time") for k in range(n)), *self.details]

    def __call__(self, params):
        """Scores and times of each split, and details; a fit that fails scores `error_score`."""
        try:
            return np.concatenate([np.ravel(part) for part in self._row(params)]).astype(float)
        except Exception as error:
            if self.error_score == "raise":
                raise
            values = ", ".join(f"{name}={value!r}" for name, value in params.items())
            warnings.warn(f"{type(error).__name__} of a trial with {values}: {error}", FitFailedWarning, stacklevel=2)
            row = np.full(len(self.columns), np.nan)
            row[: len(self.splits)] = self.error_score
            return row

    def has_failed(self, row):
        """Whether a row is that of a fit that failed: it has no times."""
        return np.isnan(row[len(self.splits)])

    def _of_two_parts(self, errors, properties):
        """Scores of each split by a PropertyScorer, from errors of its fit and properties of the fit to all."""
        of_properties = self.scorer.score_properties(properties)
        scores = [self.scorer.score_errors(own) + of_properties for own in errors]
        means = [np.mean([own[name] for own in errors]) for name in ERRORS]
        return scores, [*means, *(properties[name] for name in self.properties)]


class FittedTrials(_Trials):
    """Trials that fit and score as scikit-learn's cross-validation does, for any estimator.

    The properties that a PropertyScorer asks for are those of one more fit, to all data.
    """

    def __init__(self, estimator, X, y, splits, scorer, error_score, fit_params):
        super().__init__(estimator, X, y, splits, scorer, error_score)
        self.fit_params = fit_params

    def order(self, params):
        """Trials of equal order are best done one after another."""
        return ""

    def _row(self, params):
        estimator = clone(self.estimator).set_params(**clone(params, safe=False))
        scoring = _errors if self.details else self.scorer
        found = cross_validate(
            estimator, self.X, self.y, scoring=scoring, cv=self.splits, params=self.fit_params, error_score="raise"
        )
        times = found["fit_time"], found["score_time"]
        if not self.details:
            if "test_score" not in found:
                raise ValueError(f"scoring={self.scorer!r} gives several scores: a search needs one number")
            return found["test_score"], *times
        properties = {}
        if self.properties:
            properties = self.scorer.properties(clone(estimator).fit(self.X, self.y, **self.fit_params))
        errors = [{name: found[f"test_{name}"][k] for name in ERRORS} for k in range(len(self.splits))]
        scores, details = self._of_two_parts(errors, properties)
        return scores, *times, details


def _errors(estimator, X, y):
    """Errors of the predictions, NaN for kinds that there are none of."""
    found = metrics.neg_errors(estimator, X, y)
    return {name: -found.get(f"neg_{name}", np.nan) for name in ERRORS}


class GramTrials(_Trials):
    """Trials of linear potentials that solve normal equations, with a pass over the data only for new features.

    Sums of rows are kept for each value of the parameters that rows depend on, the last used ones up to a number of
    bytes. The steps between descriptor and potential are fitted to all structures.
    """

    def __init__(self, estimator, X, y, splits, scorer, error_score, cache_limit):
        super().__init__(estimator, X, y, splits, scorer, error_score)
        self.cache_limit = cache_limit
        self.prefix = estimator.steps[-1][0] + "__"
        self.token = uuid.uuid4().hex
        self._last = None, None

    def __getstate__(self):
        return {**self.__dict__, "_last": (None, None)}  # each process builds its own

    def order(self, params):
        """Trials of equal order share their sums of rows."""
        return joblib.hash(self._part(params, False))

    def _part(self, params, weights):
        """The parameters that are weights of rows or penalties, or those that are not."""
        mine = {self.prefix + name for name in WEIGHTS}
        return {name: value for name, value in params.items() if (name in mine) == weights}

    def _row(self, params):
        with _libraries().limit(limits=1, user_api="blas"):  # the same rounding in any process
            steps, sums = self._sums(self._part(params, False))
            began = time.perf_counter()
            weighted = {name.removeprefix(self.prefix): value for name, value in self._part(params, True).items()}
            potential = clone(sums.potential).set_params(**weighted)
            alpha = streaming_penalty(potential._regressor(), "gram")
            weights = KindWeights(
                potential.energy_weight, potential.force_weight, potential.stress_weight, potential.group_weights
            )
            weighted = sums.weighted(weights)
            errors = sums.split_errors(weighted, alpha)
            fitted = time.perf_counter()
            properties = {}
            if self.properties:
                _set_solution(potential, *sums.coefficients(weighted, alpha), sums.species)
                properties = self.scorer.properties(make_pipeline(*steps, potential))
            scores, details = self._scored(errors, properties)
        n = len(self.splits)
        return scores, [(fitted - began) / n] * n, [(time.perf_counter() - fitted) / n] * n, details

    def _scored(self, errors, properties):
        if self.details:
            return self._of_two_parts(errors, properties)
        return [-own[OF_ERRORS[self.scorer]] for own in errors], []

    def _sums(self, params):
        """Fitted steps before the potential, and the sums of rows of all structures with them."""
        key = self.token, joblib.hash(params)
        if self._last[0] == key:
            return self._last[1]
        _built.set_limit(self.cache_limit)
        found = _built.get(key)
        if found is None:
            pipeline = clone(self.estimator).set_params(**clone(params, safe=False))
            found = self._build(pipeline)
            _built.put(key, found, found[1].grams.nbytes)
        self._last = key, found
        return found

    def _build(self, pipeline):
        features = pipeline[:-1].fit_transform(self.X)
        potential = pipeline[-1]
        sums = CrossValidation(features, self.y, self.splits, potential, potential.n_jobs)
        sums.potential = potential
        sums.species = tuple(features[0].descriptor.species_)
        descriptor, steps, _ = split_model(pipeline)
        return (descriptor, *steps), sums


@lru_cache(maxsize=1)
def _libraries():
    return ThreadpoolController()  # looking for libraries takes milliseconds


def _set_solution(potential, coef, intercept, species):
    potential.coef_, potential.intercept_, potential.species_ = coef, intercept, species
    potential.n_features_in_ = coef.shape[1]
    potential.posterior_ = potential.grader_ = None


def forget():
    """Drop all sums of rows that this process keeps."""
    _built.clear()
