"""Search for the weights and the ridge penalty of a linear potential, by cross-validation."""

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from mlfeat.base import split_model
from mlfeat.model_selection._cross_validation import ERRORS, CrossValidation, complements, split_folds
from mlfeat.model_selection._minimize import minimize
from mlfeat.model_selection._weight_space import Space, Trials
from mlfeat.potentials import LinearPotential
from mlfeat.potentials._regressors import streaming_penalty
from mlfeat.potentials._settings import is_count
from mlfeat.targets import get_groups, make_targets

__all__ = ["WeightSearch", "search_weights"]


@dataclass
class WeightSearch:
    """What :func:`search_weights` found.

    Attributes
    ----------
    best_params_ : dict
        Parameters of the LinearPotential: `regressor` (a Ridge), `force_weight`, `stress_weight`, `group_weights`.
    best_errors_ : dict
        Cross-validated ``energy_rmse`` (eV/atom), ``force_rmse`` (eV/Å), ``stress_rmse`` (eV/Å³) with them.
    best_score_ : float
        Their objective.
    best_estimator_ : Pipeline
        The model with these parameters, fitted to all structures.
    trials_ : dict of str to array
        All trials in their order: ``alpha``, ``force_weight``, ``stress_weight``, ``energy_factors`` and
        ``force_factors`` (one column a group, in the order of `groups_`), the three errors, ``objective``.
    groups_ : list of str
        Groups of the structures.
    seconds_ : float
        Time of the trials alone.
    """

    best_params_: dict
    best_errors_: dict
    best_score_: float
    best_estimator_: Pipeline
    trials_: dict = field(repr=False)
    groups_: list
    seconds_: float


def search_weights(
    model,
    structures,
    targets=None,
    *,
    cv=5,
    groups=None,
    objective=None,
    n_trials=2000,
    alpha=(1e-12, 1.0),
    force_weight=(1e-7, 1e1),
    stress_weight=(1e-5, 1e3),
    group_factor=(0.1, 10.0),
    random_state=0,
    n_jobs=None,
    verbose=False,
):
    """Find the weights of kinds and groups, and the ridge penalty, that cross-validation likes best.

    Features and rows are computed once. Their normal equations are kept for each fold, group and kind of
    target, so that a trial costs one solution of p equations a fold: thousands of trials a minute for SNAP.
    Trials are chosen by SciPy, differential evolution and then Nelder and Mead's simplex, for the logarithms of
    all parameters within the given ranges. The
    weight of the energies is one; each group has a factor for its energies and stresses, and one for its
    forces.

    Interrupted (Ctrl-C, or the stop button of a notebook), it warns and returns the best of the trials so far.

    Only ever give it training structures: errors of a test set used here would no longer tell how well the
    model does on structures that it has not seen.

    Parameters
    ----------
    model : Pipeline
        Unfitted ``make_pipeline(descriptor, *steps, LinearPotential(Ridge()))``. The potential's weights and
        alpha, moved into the ranges, are the first trial; its `intercept` and `baseline` are used as they
        are.
    structures : list of ase.Atoms
        Training structures; ``atoms.info["group"]`` names the groups.
    targets : structured array of shape (n_structures,), optional
        As from :func:`mlfeat.make_targets`, which is used if not given.
    cv : int, cross-validation generator or iterable, default=5
        Each structure must be in one test set. A number: that many folds, shuffled, each with its share of
        every group. With ``GroupKFold`` and `groups`, whole groups are left out, which asks for
        transferability.
    groups : array of shape (n_structures,), optional
        Passed to `cv`. Default: the structures' groups.
    objective : callable, optional
        Takes a dict of the cross-validated ``energy_rmse`` (eV/atom), ``force_rmse`` (eV/Å) and ``stress_rmse``
        (eV/Å³), with those of each group under ``"groups"``, and returns a number to minimize. Default:
        log(energy_rmse) + log(force_rmse), one percent less of either is worth the same. To come below two limits:
        ``lambda e: max(e["energy_rmse"] / 0.004, e["force_rmse"] / 0.3)``. Where a group is small, its share in these
        errors is uncertain, and a search that is free to please a few structures will: narrow `group_factor`.
    n_trials : int, default=2000
        Number of trials.
    alpha, force_weight, stress_weight : (float, float)
        Ranges of the ridge penalty and of the weights. Equal ends keep a parameter fixed, (0, 0) leaves a kind out.
    group_factor : (float, float)
        Range of the groups' factors; (1, 1) leaves all groups alike.
    random_state : int, default=0
        Seed of folds and trials.
    n_jobs : int, optional
        joblib workers that compute the rows.
    verbose : bool, default=False
        Show a progress bar, if on a terminal.

    Returns
    -------
    WeightSearch

    Examples
    --------
    >>> from mlfeat import Bispectrum, LinearPotential
    >>> from mlfeat.model_selection import search_weights
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(Bispectrum(cutoff=4.6), LinearPotential())
    >>> search = search_weights(model, train, n_trials=500)  # doctest: +SKIP
    >>> search.best_params_, search.best_errors_  # doctest: +SKIP
    """
    _, _, potential = split_model(model)
    if not isinstance(potential, LinearPotential):
        raise TypeError(f"search_weights is for LinearPotential, the model ends in {type(potential).__name__}")
    if not is_count(n_trials):
        raise ValueError(f"n_trials={n_trials!r}: must be a positive integer")
    regressor = Ridge(alpha=1e-8) if potential.regressor is None else potential.regressor
    streaming_penalty(regressor, "gram")
    targets = make_targets(structures) if targets is None else targets
    labels = get_groups(structures)
    alpha = alpha if isinstance(regressor, Ridge) else (0, 0)
    space = Space(sorted(set(labels)), alpha, force_weight, stress_weight, group_factor)
    folds = split_folds(cv, labels, groups, random_state)

    pipeline = clone(model)
    features = pipeline[:-1].fit_transform(structures)
    problem = CrossValidation(features, targets, complements(folds), potential, n_jobs)
    trials = Trials(space, problem, _log_sum if objective is None else objective)
    began = time.perf_counter()
    with tqdm(total=n_trials, desc="weights", unit="trial", disable=None if verbose else True) as bar:
        try:
            minimize(_counted(trials, bar), space.starts(potential, regressor), n_trials, random_state)
        except KeyboardInterrupt:
            if not trials.n_done:
                raise
            warnings.warn(
                f"interrupted after {trials.n_done} of {n_trials} trials: this is the best of those; "
                "interrupt again to stop its fit",
                stacklevel=2,
            )
    seconds = time.perf_counter() - began

    number = trials.best()
    params = space.params(trials.points[number], regressor)
    pipeline[-1].set_params(**params)
    pipeline[-1].fit(features, targets)
    table = trials.as_arrays()
    errors = {name: float(table[name][number]) for name in ERRORS}
    score = float(table["objective"][number])
    return WeightSearch(params, errors, score, pipeline, table, space.groups, seconds)


def _log_sum(errors):
    """log(energy_rmse) + log(force_rmse), of those that there are."""
    return sum(np.log(errors[name]) for name in ERRORS[:2] if np.isfinite(errors[name]))


def _counted(function, bar):
    def call(point):
        bar.update()
        return function(point)

    return call
