"""Descriptors: differentiable maps from the vectors between atoms to features of each atom."""

from mlfeat.descriptors._bispectrum import Bispectrum
from mlfeat.descriptors._pair_distance import PairDistance
from mlfeat.descriptors._soap import SOAP

__all__ = ["SOAP", "Bispectrum", "PairDistance"]
