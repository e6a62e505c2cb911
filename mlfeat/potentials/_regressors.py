"""What is known of scikit-learn's linear models: how to fit them to stacked rows, and their penalties."""

import warnings

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.base import clone
from sklearn.linear_model import ARDRegression, BayesianRidge, LinearRegression, Ridge, RidgeCV

from mlfeat.potentials import _uncertainty
from mlfeat.potentials._blocks import Fit, eliminate_rows
from mlfeat.potentials._solve import Solution, solve_normal


def streaming_penalty(regressor, solver):
    """Ridge penalty α of a regressor that sums of rows are enough for; TypeError for all others."""
    if type(regressor) is Ridge and not regressor.positive and np.ndim(regressor.alpha) == 0:
        return float(regressor.alpha)
    if type(regressor) is LinearRegression and not regressor.positive:
        return 0.0
    raise TypeError(
        f"solver={solver!r} minimizes squared residuals with a ridge penalty: the regressor must be Ridge or "
        f"LinearRegression, not {regressor}; use solver='stacked'"
    )


def fit_stacked(regressor, stacked, free_intercept):
    """Fit a clone of `regressor` to stacked rows.

    Returns
    -------
    regressor : estimator
    fit : Fit
    posterior : dict or None
    """
    n_energies, n_species = stacked.composition.shape
    energies = np.column_stack([stacked.composition, stacked.features[:n_energies], stacked.target[:n_energies]])
    rest, intercepts, covariance = eliminate_rows(energies, n_species, free_intercept)
    stacked.features[:n_energies] = rest[:, :-1]
    stacked.target[:n_energies] = rest[:, -1]

    regressor = _prepared(regressor)
    with warnings.catch_warnings():
        # Raised for columns of different scale too, which do no harm; LinearPotential warns of what does.
        warnings.simplefilter("ignore", LinAlgWarning)
        warnings.filterwarnings("ignore", "Singular matrix", UserWarning)
        regressor.fit(stacked.features, stacked.target)
    coef = _coefficients(regressor, stacked.features.shape[1])

    penalty, noise = _penalty(regressor)
    if penalty is None:
        solution = Solution(coef, None, 1.0)
    else:
        solution = _covariance(stacked, penalty)._replace(coef=coef)
    residuals = stacked.target - stacked.features @ coef
    fit = Fit(
        solution,
        intercepts @ np.append(-coef, 1.0),
        intercepts[:, :-1],
        covariance,
        float(residuals @ residuals),
        len(residuals),
    )
    return regressor, fit, None if penalty is None else _uncertainty.posterior(fit, penalty, noise)


def _prepared(regressor):
    """A clone without intercept, which may work in the rows it is given."""
    regressor = clone(regressor)
    known = regressor.get_params(deep=False)
    return regressor.set_params(**{k: False for k in ("fit_intercept", "copy_X") if k in known})


def _coefficients(regressor, n_columns):
    coef = np.ravel(getattr(regressor, "coef_", np.empty(0)))
    if coef.shape != (n_columns,):
        raise TypeError(
            f"{regressor} has no coef_ with one number for each feature: use a linear model of scikit-learn"
        )
    return coef.astype(float)


def _penalty(regressor):
    """Penalty and noise variance of a Gaussian posterior.

    (None, None) if there is none; noise None if it is to be estimated.
    """
    if isinstance(regressor, (BayesianRidge, ARDRegression)):
        penalty = np.broadcast_to(regressor.lambda_ / regressor.alpha_, regressor.coef_.shape)
        pruned = isinstance(regressor, ARDRegression) & (regressor.coef_ == 0)
        return np.where(pruned, np.inf, penalty), 1 / regressor.alpha_
    if isinstance(regressor, (Ridge, RidgeCV)) and not getattr(regressor, "positive", False):
        alpha = getattr(regressor, "alpha_", None) if isinstance(regressor, RidgeCV) else regressor.alpha
        return (float(alpha), None) if np.ndim(alpha) == 0 else (None, None)
    if isinstance(regressor, LinearRegression) and not regressor.positive:
        return 0.0, None
    return None, None


def _covariance(stacked, penalty):
    """Solution of the ridge problem; features of infinite penalty have no part in it."""
    penalty = np.broadcast_to(penalty, stacked.features.shape[1])
    kept = np.isfinite(penalty)
    features = stacked.features if kept.all() else stacked.features[:, kept]
    solution = solve_normal(features.T @ features, features.T @ stacked.target, penalty[kept])
    factor = np.zeros((len(kept), solution.factor.shape[1]))
    factor[kept] = solution.factor
    return solution._replace(factor=factor)
