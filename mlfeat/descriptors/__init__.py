"""Descriptors: differentiable maps from the vectors between atoms to features of each atom."""

from mlfeat.descriptors._acsf import ACSF
from mlfeat.descriptors._bispectrum import Bispectrum
from mlfeat.descriptors._moment_tensor import MomentTensor
from mlfeat.descriptors._pair_distance import PairDistance
from mlfeat.descriptors._soap import SOAP
from mlfeat.descriptors._union import DescriptorUnion, make_descriptor_union

__all__ = ["ACSF", "SOAP", "Bispectrum", "DescriptorUnion", "MomentTensor", "PairDistance", "make_descriptor_union"]
