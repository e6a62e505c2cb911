"""Properties of crystals by any ASE calculator or fitted model: numbers, arrays, plots."""

from mlfeat.properties._dynamics import ConstantPressureRun, EnergyDrift, npt_stability, nve_drift
from mlfeat.properties._dynamics_display import MolecularDynamicsDisplay
from mlfeat.properties._elastic import elastic_constants
from mlfeat.properties._elastic_tensor import ElasticConstants, ModulusAverages
from mlfeat.properties._equation_of_state import EquationOfState, equation_of_state, fit_equation_of_state
from mlfeat.properties._equation_of_state_display import EquationOfStateDisplay
from mlfeat.properties._lattice import cohesive_energy, crystal_of_element, lattice_constants, relax_crystal
from mlfeat.properties._migration import MigrationPath, vacancy_migration
from mlfeat.properties._migration_display import MigrationDisplay
from mlfeat.properties._phonon_display import PhononDisplay
from mlfeat.properties._phonons import Phonons, phonons
from mlfeat.properties._summary import crystal_properties
from mlfeat.properties._summary_display import CrystalPropertiesDisplay
from mlfeat.properties._surface import surface_energy
from mlfeat.properties._vacancy import vacancy_formation_energy

__all__ = [
    "ConstantPressureRun",
    "CrystalPropertiesDisplay",
    "ElasticConstants",
    "EnergyDrift",
    "EquationOfState",
    "EquationOfStateDisplay",
    "MigrationDisplay",
    "MigrationPath",
    "ModulusAverages",
    "MolecularDynamicsDisplay",
    "PhononDisplay",
    "Phonons",
    "cohesive_energy",
    "crystal_of_element",
    "crystal_properties",
    "elastic_constants",
    "equation_of_state",
    "fit_equation_of_state",
    "lattice_constants",
    "npt_stability",
    "nve_drift",
    "phonons",
    "relax_crystal",
    "surface_energy",
    "vacancy_formation_energy",
    "vacancy_migration",
]
