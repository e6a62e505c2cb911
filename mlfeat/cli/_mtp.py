"""Moment tensor potentials for the command line: of a level that the data are enough for."""

from sklearn.pipeline import make_pipeline

from mlfeat.cli._guess import count_measurements, guess_cutoff, has_published_groups, published, species_of
from mlfeat.descriptors import MomentTensor
from mlfeat.descriptors._moment_basis import moment_basis
from mlfeat.potentials import MomentTensorPotential

WEIGHTS = ("energy_weight", "force_weight", "stress_weight")
OPTIONS = (*WEIGHTS, "level", "min_dist", "iterations", "models")
_UNKNOWN = {  # for data that no settings are published for
    "energy_weight": 1.0,
    "force_weight": 0.01,
    "stress_weight": 0.001,
    "group_weights": None,
    "weighting": "vibrations",
    "max_iter": 30,
    "n_models": 1,
}
# Measurements for each parameter. Level 20 errs less even with few of them, but takes several times as long as 16.
_SHARES = {20: 50, 16: 20, 12: 10}
_LOWEST = 8
_N_POLYNOMIALS = 8


def mtp(structures, settings):
    """Moment tensors and their potential; settings as published for the element, or from the data."""
    species = species_of(structures)
    model = published("mtp", species) if settings.presets else None
    # Weights go with the data that they were found for, and so does the level: it may take hours.
    known = model is not None and settings.cutoff is None and has_published_groups(structures)
    if model is None:
        cutoff = guess_cutoff(structures) if settings.cutoff is None else settings.cutoff
        descriptor = MomentTensor(cutoff, species=species, n_polynomials=_N_POLYNOMIALS)
        model = make_pipeline(descriptor, MomentTensorPotential(random_state=0))
    if not known:
        model[0].set_params(level=guess_level(count_measurements(structures), len(species)))
        model[-1].set_params(**_UNKNOWN)
    if settings.weights:
        model[-1].set_params(**{name: _UNKNOWN[name] for name in (*WEIGHTS, "group_weights")} | settings.weights)
    _set(model[0], cutoff=settings.cutoff, level=settings.level, min_dist=settings.min_dist)
    _set(model[-1], max_iter=settings.iterations, n_models=settings.models)
    return model.set_params(momenttensor__n_jobs=settings.threads, momenttensorpotential__n_jobs=settings.threads)


def _set(step, **asked):
    step.set_params(**{name: value for name, value in asked.items() if value is not None})


def guess_level(n_measurements, n_species):
    """The highest level whose parameters there are measurements enough for; at least the lowest."""
    for level, share in _SHARES.items():
        basis = moment_basis(level)
        n_parameters = len(basis.scalars) + n_species + n_species**2 * basis.n_radial * _N_POLYNOMIALS
        if n_parameters * share <= n_measurements:
            return level
    return _LOWEST


def fit_mtp(model, structures, targets, settings):
    """Train the radial functions and the coefficients; a bar on the terminal tells their errors."""
    potential = model[-1]
    if "force_weight" not in settings.weights and all(forces is None for forces in targets["forces"]):
        potential.set_params(force_weight=0.0)
    potential.set_params(verbose=True)
    model.fit(structures, targets)
    potential.set_params(verbose=False)
    return model
