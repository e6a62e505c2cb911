"""What the tests of networks share."""

import numpy as np

from mlfeat import Bispectrum, FeatureScaler, make_targets
from mlfeat.testing import toy_training_set


def items_and_targets(species=("Mo", "Ni"), n=4):
    """Scaled features and targets of a few structures."""
    structures = toy_training_set(species)[:n]
    features = FeatureScaler("min", "range", by_species=True).fit_transform(
        Bispectrum(3.5, 2, species=species).fit_transform(structures)
    )
    return features.items, make_targets(structures)


def numerical(function, x, h=1e-4):
    """Derivatives (len(x), ...) by central differences of order 4."""
    found = []
    for k in range(len(x)):
        e = np.zeros(len(x))
        e[k] = h
        near, far = function(x + e) - function(x - e), function(x + 2 * e) - function(x - 2 * e)
        found.append((8 * near - far) / (12 * h))
    return np.array(found)
