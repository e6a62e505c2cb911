"""The contracts: what a descriptor, a step between, and a potential promise."""

from mlfeat.base._descriptor import Descriptor, FeatureBlock
from mlfeat.base._extrapolation import ExtrapolationWarning
from mlfeat.base._model import (
    extrapolation_grades,
    predict_targets,
    select_structures,
    split_model,
    warn_of_extrapolation,
)
from mlfeat.base._potential import PotentialMixin
from mlfeat.base._step import Composed, FeatureStep

__all__ = [
    "Composed",
    "Descriptor",
    "ExtrapolationWarning",
    "FeatureBlock",
    "FeatureStep",
    "PotentialMixin",
    "extrapolation_grades",
    "predict_targets",
    "select_structures",
    "split_model",
    "warn_of_extrapolation",
]
