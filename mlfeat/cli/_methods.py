"""The potentials that the command line knows: a new one is one entry in `METHODS`."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from mlfeat import presets
from mlfeat.descriptors import Bispectrum
from mlfeat.model_selection import search_weights
from mlfeat.neighbors import NeighborPairs
from mlfeat.potentials import LinearPotential
from mlfeat.preprocessing import FeatureScaler, QuadraticExpansion
from mlfeat.targets import get_groups

_SAMPLE = 50  # structures that the density is estimated from
_WEIGHTS = {"energy_weight": 1.0, "force_weight": 1e-4, "stress_weight": 0.1}  # what searches often find
_ALPHA = 1e-5, (1e-8, 0.1)  # for scaled features, and where to search
_MAX_BYTES = 2**30  # of the sums that it keeps


@dataclass(frozen=True)
class Settings:
    """What the user asks for; None leaves a choice to the method."""

    cutoff: float | None = None
    twojmax: int | None = None
    alpha: float | None = None
    weights: dict = field(default_factory=dict)  # energy_weight, force_weight, stress_weight
    trials: int | None = None
    presets: bool = True
    jobs: int = 1


@dataclass(frozen=True)
class Method:
    """A potential that the command line can fit.

    ``build(structures, settings)`` gives the unfitted Pipeline for training structures, ``fit(model, structures,
    targets, settings)`` the fitted one, after a search for what the settings leave open.
    """

    label: str
    about: str
    build: Callable
    fit: Callable


def snap(structures, settings, *steps, preset="snap"):
    """Bispectrum, steps and linear potential; settings as published for the element, or from the data."""
    species = species_of(structures)
    model = _published(preset, species) if settings.presets else None
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


def _published(preset, species):
    """Published settings for a single element, None where there are none."""
    try:
        return getattr(presets, preset)(*species) if len(species) == 1 else None
    except ValueError:
        return None


def _with_settings(model, settings):
    """The model with what the user asked for; weights found for other settings are dropped."""
    size = {"cutoff": settings.cutoff, "twojmax": settings.twojmax}
    size = {f"bispectrum__{key}": value for key, value in size.items() if value is not None}
    potential = {"solver": "gram", "n_jobs": settings.jobs}
    if size or settings.weights:
        potential |= _WEIGHTS | {"group_weights": None} | settings.weights
    if settings.alpha is not None:
        potential["regressor"] = Ridge(settings.alpha)
    potential = {f"linearpotential__{key}": value for key, value in potential.items()}
    return model.set_params(bispectrum__n_jobs=settings.jobs, **size, **potential)


def fit_linear(model, structures, targets, settings):
    """Fit a model that ends in a LinearPotential; search its weights unless they are known for the data's groups."""
    groups = set(get_groups(structures))
    n_features = clone(model[:-1]).fit_transform(structures[:1]).shape[1] * len(species_of(structures))
    n_folds = 5 if n_features < 200 else 3
    n_trials = settings.trials
    if n_trials is None:  # a few seconds of them
        n_trials = int(np.clip(200 * (500 / n_features) ** 2, 20, 1000))
    n_bytes = 8 * n_features**2 * 3 * n_folds * np.array([len(groups), 1])
    known = groups <= set(model[-1].group_weights or ())
    if not known and (settings.weights or n_bytes[0] > _MAX_BYTES):
        structures = [_ungrouped(atoms) for atoms in structures]  # sums for each group would fill the memory
    if known or settings.weights or n_trials == 0 or n_bytes[1] > _MAX_BYTES or len(structures) < 2 * n_folds:
        return model.fit(structures, targets)
    alpha = _ALPHA[1] if settings.alpha is None else (settings.alpha, settings.alpha)
    options = {"cv": n_folds, "n_trials": n_trials, "n_jobs": settings.jobs, "verbose": True}
    # Equations of some hundred unknowns gain nothing from threads, and wait long for them on a busy machine.
    with threadpool_limits(1, "blas"):
        return search_weights(model, structures, targets, alpha=alpha, **options).best_estimator_


def _ungrouped(atoms):
    atoms = atoms.copy()
    atoms.info.pop("group", None)
    return atoms


METHODS = {
    "snap": Method("SNAP", "linear in the bispectrum components", snap, fit_linear),
    "qsnap": Method("qSNAP", "linear in the components and their products", qsnap, fit_linear),
}


def species_of(structures):
    """Chemical symbols of structures, sorted."""
    return tuple(sorted(set().union(*(set(atoms.symbols) for atoms in structures))))


def guess_cutoff(structures):
    """A cutoff (Å) with about 26 neighbors: 1.85 times the cube root of the volume of an atom.

    For Ni, Cu, Li, Mo, Si and Ge this is within 6 % of the published cutoffs of SNAP. The volume is
    the median over the atoms of that counted within three times the distance of nearest neighbors, so
    that the vacuum of slabs and boxes does not matter. Molecules get at least 4 Å.
    """
    sample = structures[:: 1 + len(structures) // _SAMPLE]
    nearest = np.concatenate([_nearest(atoms) for atoms in sample])
    if len(nearest) == 0:
        return 5.0
    nearest = np.median(nearest)
    radius = 3 * nearest
    lists = [NeighborPairs.from_atoms(atoms, radius) for atoms in sample]
    counts = np.concatenate([np.diff(pairs.offsets) for pairs in lists])
    volume = 4 / 3 * np.pi * radius**3 / (1 + np.median(counts))
    cutoff = min(1.85 * np.cbrt(volume), max(2.4 * nearest, 4.0))
    return round(float(max(cutoff, 1.4 * nearest)), 2)


def _nearest(atoms):
    """Distance of each atom to its nearest neighbor; none for atoms alone within 6 Å."""
    pairs = NeighborPairs.from_atoms(atoms, 6.0)
    nearest = np.full(pairs.n_atoms, np.inf)
    np.minimum.at(nearest, pairs.first, pairs.distances)
    return nearest[np.isfinite(nearest)]
