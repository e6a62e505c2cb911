"""SNAP and qSNAP for the command line: linear potentials, with a search for their weights."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from mlfeat.cli._guess import guess_cutoff, published, species_of, without_groups
from mlfeat.descriptors import Bispectrum
from mlfeat.model_selection import search_weights
from mlfeat.potentials import LinearPotential
from mlfeat.preprocessing import FeatureScaler, QuadraticExpansion
from mlfeat.targets import get_groups

OPTIONS = ("twojmax", "alpha", "energy_weight", "force_weight", "stress_weight", "trials")
_WEIGHTS = {"energy_weight": 1.0, "force_weight": 1e-4, "stress_weight": 0.1}  # what searches often find
_ALPHA = 1e-5, (1e-8, 0.1)  # for scaled features, and where to search
_MAX_BYTES = 2**30  # of the sums that it keeps


def snap(structures, settings, *steps, preset="snap"):
    """Bispectrum, steps and linear potential; settings as published for the element, or from the data."""
    species = species_of(structures)
    model = published(preset, species) if settings.presets else None
    if model is None:
        # Neighbors that weigh less than the central atom halve the errors of most metals (see mlfeat.presets);
        # those of different species need different weights to be told apart.
        weights = np.linspace(0.4, 0.2, len(species)).round(3).tolist()
        descriptor = Bispectrum(guess_cutoff(structures), 6, species=species, weights=weights)
        potential = LinearPotential(Ridge(_ALPHA[0]), **_WEIGHTS)
        model = make_pipeline(descriptor, FeatureScaler(), *steps, potential)
    return _with_settings(model, settings)


def qsnap(structures, settings):
    """As `snap`, with products of components."""
    return snap(structures, settings, QuadraticExpansion(), preset="qsnap")


def _with_settings(model, settings):
    """The model with what the user asked for; weights found for other settings are dropped."""
    size = {"cutoff": settings.cutoff, "twojmax": settings.twojmax}
    own = model[0].get_params()
    size = {f"bispectrum__{key}": value for key, value in size.items() if value not in (None, own[key])}
    potential = {"solver": "gram", "n_jobs": settings.threads}
    if size or settings.weights:
        potential |= _WEIGHTS | {"group_weights": None} | settings.weights
    if settings.alpha is not None:
        potential["regressor"] = Ridge(settings.alpha)
    potential = {f"linearpotential__{key}": value for key, value in potential.items()}
    return model.set_params(bispectrum__n_jobs=settings.threads, **size, **potential)


def _count_features(model, structures):
    return clone(model[:-1]).fit_transform(structures[:1]).shape[1] * len(species_of(structures))


def count_trials(model, structures):
    """Trials of the search for weights: a few seconds of them."""
    return int(np.clip(200 * (500 / _count_features(model, structures)) ** 2, 20, 1000))


def fit_linear(model, structures, targets, settings):
    """Fit a model that ends in a LinearPotential; search its weights unless they are known for the data's groups."""
    groups = set(get_groups(structures))
    n_features = _count_features(model, structures)
    n_folds = 5 if n_features < 200 else 3
    n_trials = count_trials(model, structures) if settings.trials is None else settings.trials
    n_bytes = 8 * n_features**2 * 3 * n_folds * np.array([len(groups), 1])
    known = groups <= set(model[-1].group_weights or ())
    if not known and (settings.weights or n_bytes[0] > _MAX_BYTES):
        structures = without_groups(structures)
    if known or settings.weights or n_trials == 0 or n_bytes[1] > _MAX_BYTES or len(structures) < 2 * n_folds:
        return model.fit(structures, targets)
    alpha = _ALPHA[1] if settings.alpha is None else (settings.alpha, settings.alpha)
    options = {"cv": n_folds, "n_trials": n_trials, "n_jobs": settings.threads, "verbose": True}
    # Equations of some hundred unknowns gain nothing from threads, and wait long for them on a busy machine.
    with threadpool_limits(1, "blas"):
        return search_weights(model, structures, targets, alpha=alpha, **options).best_estimator_
