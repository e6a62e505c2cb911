"""Variance of energies from the posterior of a ridge fit."""

import numpy as np

from mlfeat._archive import check_array
from mlfeat.potentials._rows import sums_by_species


def posterior(fit, penalty, noise_variance=None):
    """What the variance of an energy follows from.

    Parameters
    ----------
    fit : Fit
    penalty : float or array (p,)
        Of the ridge fit; infinite for features that were left out.
    noise_variance : float, optional
        Of a row of weight one; estimated from the residuals where not given.

    Returns
    -------
    dict
        See `energy_std`.
    """
    if noise_variance is None:
        n_fitted = fit.solution.effective_parameters(penalty) + np.count_nonzero(np.diag(fit.intercept_covariance))
        noise_variance = fit.sum_of_squares / max(1.0, fit.n_rows - n_fitted)
    return {
        "factor": fit.solution.factor,
        "center": fit.center,
        "intercept_covariance": fit.intercept_covariance,
        "noise_variance": float(noise_variance),
    }


def check_posterior(posterior, n_species, n_features):
    """Raise ValueError unless `energy_std` can work from this."""
    n_columns = n_species * n_features
    shapes = {
        "factor": (n_columns, None),
        "center": (n_species, n_columns),
        "intercept_covariance": (n_species, n_species),
    }
    if set(posterior) != {*shapes, "noise_variance"}:
        raise ValueError(f"posterior_ has the keys {sorted(posterior)}")
    for name, shape in shapes.items():
        check_array(f"posterior_[{name!r}]", posterior[name], shape)
    if not 0 <= posterior["noise_variance"] < np.inf:
        raise ValueError(f"posterior_['noise_variance'] is {posterior['noise_variance']!r}")


def without_reference(posterior, reference):
    """The posterior in terms of features from which no reference was subtracted."""
    if reference is None:
        return posterior
    center = posterior["center"].copy()
    n_species, n_features = reference.features.shape
    for s in range(n_species):
        center[s, s * n_features : (s + 1) * n_features] += reference.features[s]
    return {**posterior, "center": center}


def energy_std(items, posterior, noise_weight=None):
    """Standard deviations (n_structures,) of energies.

    An energy with n atoms of each species and summed features x has the variance
    σ² [ |(x - nᵀ center) factor|² + nᵀ intercept_covariance n ], plus N² σ²/`noise_weight` if that is given.
    """
    variances = []
    for item in items:
        composition, sums = sums_by_species(item, len(posterior["center"]))
        along = (sums.ravel() - composition @ posterior["center"]) @ posterior["factor"]
        variance = along @ along + composition @ posterior["intercept_covariance"] @ composition
        if noise_weight is not None:
            variance += composition.sum() ** 2 / noise_weight if noise_weight > 0 else np.inf
        variances.append(posterior["noise_variance"] * variance)
    return np.sqrt(variances)
