"""Behler-Parrinello networks for the command line: a committee of them, with early stopping."""

import warnings

import numpy as np
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from mlfeat.cli._guess import count_measurements, guess_cutoff, has_published_groups, published, species_of
from mlfeat.descriptors import ACSF
from mlfeat.potentials import NeuralNetworkPotential
from mlfeat.preprocessing import FeatureScaler, FeatureSelector

WEIGHTS = ("energy_weight", "force_weight", "stress_weight")
OPTIONS = (*WEIGHTS, "epochs", "hidden_layers", "models")
_UNKNOWN = {  # for data that no settings are published for
    "energy_weight": 1.0,
    "force_weight": 5e-4,
    "stress_weight": 1.0,
    "group_weights": None,
    "early_stopping": True,
    "n_iter_no_change": 8,
    "max_iter": 40,
    "block_size": 2000,  # an update of more parameters with 64 measurements takes a tenth of a second and more
    "n_models": 4,
    "random_state": 0,
}
_MOST_FUNCTIONS = 64  # of each element
_NODES = (24, 20, 16, 12, 8)  # of each of two hidden layers
_SHARE = 10  # measurements for each of their parameters
_MOST_MEASUREMENTS = 20000  # of an epoch
_FEW = 20  # structures, too few to set some aside


def nnp(structures, settings):
    """Symmetry functions and networks; settings as published for the element, or from the data."""
    species = species_of(structures)
    model = published("nnp", species) if settings.presets else None
    # Weights and epochs go with the data that they were found for, symmetry functions with the element.
    known = model is not None and settings.cutoff is None and has_published_groups(structures)
    if model is None:
        cutoff = guess_cutoff(structures) if settings.cutoff is None else settings.cutoff
        descriptor = _telling_functions(ACSF(cutoff, species=species), structures)
        n_inputs = descriptor.fit(structures).n_features_out_
        potential = NeuralNetworkPotential(_layers(n_inputs, len(species), count_measurements(structures)))
        model = make_pipeline(descriptor, FeatureScaler("mean", "range", by_species=True), potential)
    elif settings.cutoff is not None:
        model[0].set_params(cutoff=settings.cutoff)
    if not known:
        share = min(1.0, _MOST_MEASUREMENTS / count_measurements(structures))
        model[-1].set_params(**_UNKNOWN, force_fraction=share)
    if settings.weights:
        model[-1].set_params(**{name: _UNKNOWN[name] for name in (*WEIGHTS, "group_weights")} | settings.weights)
    asked = {"max_iter": settings.epochs, "hidden_layer_sizes": settings.hidden_layers, "n_models": settings.models}
    model[-1].set_params(**{name: value for name, value in asked.items() if value is not None}, n_jobs=settings.threads)
    model[0].set_params(n_jobs=settings.threads)
    return model


def _telling_functions(descriptor, structures):
    """The descriptor with those functions of each element that vary; if they are many, those that tell the others."""
    features = descriptor.fit_transform(structures)
    radial, angular = {}, {}
    for s, (symbol, functions) in enumerate(zip(descriptor.species_, descriptor.functions_, strict=True)):
        values = np.concatenate([item.values[item.species == s] for item in features])
        for k in _telling_columns(values):
            function = functions[k]
            table, numbers = radial, (function.eta, function.r_s)
            if function.kind != 2:
                table, numbers = angular, (function.eta, function.zeta, function.lambda_)
            table.setdefault((symbol, *function.neighbors), []).append(numbers)
    return ACSF(descriptor.cutoff, radial, angular, species=descriptor.species)


def _telling_columns(values):
    if (np.ptp(values, axis=0) == 0).all():  # of a single atom, say
        return range(values.shape[1])
    many = values.shape[1] > _MOST_FUNCTIONS
    selector = FeatureSelector(_MOST_FUNCTIONS) if many else FeatureSelector(method="variance")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*linearly independent")  # then fewer do
        return selector.fit(values).indices_


def _layers(n_inputs, n_species, n_measurements):
    """Two hidden layers of as many nodes as there are measurements enough for; at least of the fewest."""
    for n in _NODES:
        if n_species * ((n_inputs + 1) * n + (n + 1) * n + n + 1) * _SHARE <= n_measurements:
            break
    return n, n


def fit_nnp(model, structures, targets, settings):
    """Train the networks; a bar on the terminal tells their errors."""
    potential = model[-1]
    if potential.early_stopping and len(structures) < _FEW:
        potential.set_params(early_stopping=False)
    if "force_weight" not in settings.weights and all(forces is None for forces in targets["forces"]):
        potential.set_params(force_weight=0.0)
    # Threads of BLAS gain little beside those of the fit, and wait long for one another on a busy machine.
    with threadpool_limits(1, "blas"):
        potential.set_params(verbose=True)
        model.fit(structures, targets)
        potential.set_params(verbose=False)
    return model
