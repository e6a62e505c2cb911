"""
Run molecular dynamics
======================

Is the energy conserved?

Forces that are not the gradient of the energy, a jump at the cutoff, or a neighbor list that is
too old would show as a drift of the total energy.
"""

# %%
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, PotentialCalculator, make_targets
from mlfeat.datasets import make_emt_structures

train = make_emt_structures("Cu")
potential = LinearPotential(Ridge(1e-8), energy_weight=1e4)
model = make_pipeline(Bispectrum(cutoff=3.6, twojmax=6), potential)
model.fit(train, make_targets(train))

# %%
# A fitted pipeline is an ASE calculator. 108 atoms at about 300 K (half of the initial kinetic
# energy becomes potential energy), for one picosecond after they have settled:
import numpy as np
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

atoms = bulk("Cu", cubic=True) * (3, 3, 3)
atoms.calc = PotentialCalculator(model)
thermalize_momenta(atoms, 600, rng=np.random.default_rng(0))
Stationary(atoms)

log = []
dynamics = VelocityVerlet(atoms, timestep=2 * units.fs)
dynamics.run(200)
dynamics.attach(lambda: log.append((atoms.get_temperature(), atoms.get_total_energy())))
dynamics.run(500)
temperature, energy = np.array(log).T
time = 2.0 * np.arange(len(log))  # fs

# %%
# The total energy oscillates with the time step, and stays where it was:
drift = np.polyfit(time / 1000, 1e6 * energy / len(atoms), 1)[0]
print(f"drift {drift:.2f} µeV/atom/ps, at {temperature.mean():.0f} K")
print(f"{atoms.calc.n_list_builds} neighbor lists in 700 steps")

# %%
import matplotlib.pyplot as plt

fig, (above, below) = plt.subplots(2, 1, figsize=(6, 4), sharex=True)
above.plot(time, temperature)
above.set(ylabel="temperature (K)")
below.plot(time, 1e6 * (energy - energy[0]) / len(atoms))
below.set(xlabel="time (fs)", ylabel="total energy (µeV/atom)")
fig.tight_layout()
