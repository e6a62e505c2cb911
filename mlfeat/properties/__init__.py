"""Properties of crystals by any ASE calculator or fitted model: numbers, arrays, plots."""

from mlfeat.properties._elastic import elastic_constants
from mlfeat.properties._elastic_tensor import ElasticConstants, ModulusAverages
from mlfeat.properties._lattice import cohesive_energy, crystal_of_element, lattice_constants, relax_crystal

__all__ = [
    "ElasticConstants",
    "ModulusAverages",
    "cohesive_energy",
    "crystal_of_element",
    "elastic_constants",
    "lattice_constants",
    "relax_crystal",
]
