"""The contracts: what a descriptor, a step between, and a potential promise."""

from mlfeat.base._descriptor import Descriptor
from mlfeat.base._model import predict_targets, split_model
from mlfeat.base._potential import PotentialMixin
from mlfeat.base._step import Composed, FeatureStep

__all__ = ["Composed", "Descriptor", "FeatureStep", "PotentialMixin", "predict_targets", "split_model"]
