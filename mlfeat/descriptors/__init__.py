"""Descriptors: differentiable maps from the vectors between atoms to features of each atom."""

from mlfeat.descriptors._bispectrum import Bispectrum

__all__ = ["Bispectrum"]
