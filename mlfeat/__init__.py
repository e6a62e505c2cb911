"""Machine-learning interatomic potentials in scikit-learn's idiom."""

from mlfeat._cache import clear_cache, set_cache_limit
from mlfeat.base import predict_targets
from mlfeat.descriptors import Bispectrum
from mlfeat.potentials import LinearPotential
from mlfeat.preprocessing import FeatureScaler, QuadraticExpansion
from mlfeat.targets import get_groups, make_targets

__version__ = "0.1.0.dev0"

__all__ = [
    "Bispectrum",
    "FeatureScaler",
    "LinearPotential",
    "QuadraticExpansion",
    "clear_cache",
    "get_groups",
    "make_targets",
    "predict_targets",
    "set_cache_limit",
]
