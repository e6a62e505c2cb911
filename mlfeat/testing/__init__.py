"""Conformance suites: laws that hold for every descriptor and every potential, checked on awkward structures."""

from mlfeat.testing._compare import assert_close
from mlfeat.testing._descriptor import DESCRIPTOR_LAWS, check_descriptor
from mlfeat.testing._differences import central_difference, gradient
from mlfeat.testing._potential import POTENTIAL_LAWS, check_potential
from mlfeat.testing._structures import awkward_structures, crystal, same_structure, toy_training_set

__all__ = [
    "DESCRIPTOR_LAWS",
    "POTENTIAL_LAWS",
    "assert_close",
    "awkward_structures",
    "central_difference",
    "check_descriptor",
    "check_potential",
    "crystal",
    "gradient",
    "same_structure",
    "toy_training_set",
]
