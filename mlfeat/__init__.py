"""Machine-learning interatomic potentials in scikit-learn's idiom."""

from mlfeat import datasets, io, metrics, model_selection, presets, properties, selection
from mlfeat._cache import clear_cache, set_cache_limit
from mlfeat.base import ExtrapolationWarning, extrapolation_grades, predict_targets, select_structures
from mlfeat.calculator import PotentialCalculator
from mlfeat.descriptors import (
    ACSF,
    SOAP,
    Bispectrum,
    DescriptorUnion,
    MomentTensor,
    PairDistance,
    make_descriptor_union,
)
from mlfeat.model_selection import DifferentialEvolutionSearch
from mlfeat.persistence import load, save
from mlfeat.potentials import (
    ZBL,
    GaussianApproximationPotential,
    LinearPotential,
    MomentTensorPotential,
    NeuralNetworkPotential,
)
from mlfeat.preprocessing import FeatureScaler, FeatureSelector, QuadraticExpansion
from mlfeat.targets import get_groups, make_targets

__version__ = "0.1.0.dev0"

__all__ = [
    "ACSF",
    "SOAP",
    "ZBL",
    "Bispectrum",
    "DescriptorUnion",
    "DifferentialEvolutionSearch",
    "ExtrapolationWarning",
    "FeatureScaler",
    "FeatureSelector",
    "GaussianApproximationPotential",
    "LinearPotential",
    "MomentTensor",
    "MomentTensorPotential",
    "NeuralNetworkPotential",
    "PairDistance",
    "PotentialCalculator",
    "QuadraticExpansion",
    "clear_cache",
    "datasets",
    "extrapolation_grades",
    "get_groups",
    "io",
    "load",
    "make_descriptor_union",
    "make_targets",
    "metrics",
    "model_selection",
    "predict_targets",
    "presets",
    "properties",
    "save",
    "select_structures",
    "selection",
    "set_cache_limit",
]
