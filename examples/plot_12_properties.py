"""
Properties of a fitted potential
================================

Small errors of energies and forces: are stiffness and vibrations right too?

What a potential is for are properties that it was not fitted to. `mlfeat.properties` calculates them with a fitted
model or any ASE calculator, so that a reference (EMT here, DFT elsewhere) is one more call.
"""

# %%
# A potential for copper, fitted to EMT's energies, forces and stresses. Its settings are the best of eight tried by
# hand, so what follows is not what a first guess gives; the next example has them searched.
from ase.build import bulk
from ase.calculators.emt import EMT
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, make_targets, metrics
from mlfeat.datasets import make_emt_structures, split_by_group

train, test = split_by_group(make_emt_structures("Cu"))
potential = LinearPotential(Ridge(1e-8), energy_weight=1e3, stress_weight=1e4)
model = make_pipeline(Bispectrum(cutoff=3.8, twojmax=6), potential)
model.fit(train, make_targets(train))

errors = metrics.evaluate(model, test)
print(f"{1000 * errors['energy_rmse']:.1f} meV/atom, {errors['force_rmse']:.3f} eV/Å")

# %%
# Numbers first: lattice constant, elastic constants and moduli, what a vacancy costs, and what surfaces cost. The
# reference is EMT itself, or a dictionary of numbers, of DFT for instance.
from mlfeat.properties import CrystalPropertiesDisplay

copper = bulk("Cu")
which = ("lattice", "elastic", "vacancy", "surface")
CrystalPropertiesDisplay.from_estimator(model, copper, which=which, reference=EMT(), reference_label="EMT")

# %%
# Energy against volume, with the Birch-Murnaghan equation through it:
from mlfeat.properties import EquationOfStateDisplay, equation_of_state

EquationOfStateDisplay.from_estimator(model, copper, reference=equation_of_state(copper, EMT()), reference_label="EMT")

# %%
# Phonons need forces to a thousandth of an electronvolt per ångström when atoms move by a hundredth of an ångström.
# Bands follow seekpath's path through the Brillouin zone. None of them is imaginary: the crystal is stable.
from mlfeat.properties import PhononDisplay

display = PhononDisplay.from_estimator(model, copper, reference=EMT(), reference_label="EMT")
print(display.result, "stable" if display.result.is_stable else "not stable")

# %%
# Does it stay a crystal when it is hot? Dynamics at constant energy show whether forces are the gradient of the energy,
# at constant pressure whether atoms keep their places.
from mlfeat.properties import MolecularDynamicsDisplay, npt_stability, nve_drift

print(nve_drift(copper, model, n_steps=500, timestep=2.0))
run = npt_stability(copper, model, temperature=600, n_steps=500, timestep=2.0)
print(run)
MolecularDynamicsDisplay.from_result(run)
