"""
Error bars of a committee in molecular dynamics
===============================================

Does the simulation notice when it leaves the data?

Networks that were trained on the same data from different first weights agree where the data tell them what to say, and
may differ elsewhere. Their mean is the potential, their spread an error bar for energies and for each force.
"""

# %%
# Forty crystals of copper, by ASE's EMT potential, whose atoms are off their sites by up to 0.12 Å (one standard
# deviation of a component, that of several hundred kelvin). There is no defect among them, and no liquid.
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def crystal(a, spread=0.0):
    atoms = bulk("Cu", a=a, cubic=True) * (2, 2, 2)
    atoms.positions += rng.normal(scale=spread, size=atoms.positions.shape)
    return atoms


def labeled(atoms):
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces")}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


rng = np.random.default_rng(0)
train = [labeled(crystal(rng.uniform(3.55, 3.70), rng.uniform(0.03, 0.12))) for _ in range(40)]

# %%
# Four networks. ``n_jobs=2`` would train two at a time, and give the same ones.
from sklearn.pipeline import make_pipeline

from mlfeat import ACSF, FeatureScaler, NeuralNetworkPotential, PotentialCalculator, make_targets

committee = NeuralNetworkPotential((12, 12), n_models=4, max_iter=8, force_fraction=0.1, random_state=0)
model = make_pipeline(ACSF(cutoff=5.0), FeatureScaler("mean", "range"), committee)
model.fit(train, make_targets(train))

# %%
# The crystal is heated from 300 K to 2000 K in 4 ps, far beyond the data and the melting point. Every tenth step, EMT
# says what is true. The calculator compares all features with their ranges in training, and warns of those outside: at
# first, and whenever they are twice as far outside as before. Where nobody reads warnings, ``PotentialCalculator(model,
# extrapolation="raise")`` ends the run instead.
import warnings

from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from mlfeat import ExtrapolationWarning

atoms = crystal(3.62)
atoms.calc = calculator = PotentialCalculator(model)
thermalize_momenta(atoms, 300, rng=rng)
dynamics = Langevin(
    atoms, 4 * units.fs, temperature_K=300, friction=0.01 / units.fs, fixcm=False, rng=np.random.RandomState(0)
)


def compare():
    """Energy errors and standard deviations in meV/atom, those of force components in eV/Å."""
    reference = EMT()
    energy = atoms.get_potential_energy() - reference.get_potential_energy(atoms)
    forces = atoms.get_forces() - reference.get_forces(atoms)
    energy_std, forces_std = (calculator.get_property(name, atoms) for name in ("energy_std", "forces_std"))
    return 1000 * energy / len(atoms), 1000 * energy_std / len(atoms), forces, forces_std


frames, messages = [], []
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ExtrapolationWarning)
    for temperature in np.linspace(300, 2000, 100):
        dynamics.set_temperature(temperature_K=temperature)
        dynamics.run(10)
        time = dynamics.get_time() / units.fs / 1000
        frames.append((time, atoms.get_temperature(), *compare()))
        messages += [(time, str(entry.message)) for entry in caught]
        caught.clear()

for time, message in messages:
    print(f"{time:.2f} ps: {message.split(';')[0]}")

# %%
# The first warning (dotted lines) is of an atom hardly outside, the last of one whose neighbors are much closer than in
# any training structure. Errors grow with the temperature, and the spread with them; where features are far outside,
# both are of another size.
import matplotlib.pyplot as plt

time, temperature, energy, energy_std, forces, forces_std = map(np.array, zip(*frames, strict=True))

fig, axes = plt.subplots(3, 1, figsize=(7, 7), sharex=True)
axes[0].plot(time, temperature, color="0.4")
axes[0].set(ylabel="temperature (K)")
axes[1].errorbar(time, energy, 2 * energy_std, fmt=".", markersize=4, elinewidth=1)
axes[1].axhline(0, color="0.7", linewidth=1, zorder=0)
axes[1].set(ylabel="energy error, ±2σ\n(meV/atom)")
axes[2].semilogy(time, np.sqrt(np.mean(forces**2, axis=(1, 2))), label="error, RMS")
axes[2].semilogy(time, np.sqrt(np.mean(forces_std**2, axis=(1, 2))), label="committee's σ, RMS")
axes[2].set(xlabel="time (ps)", ylabel="force (eV/Å)")
axes[2].legend()
for ax in axes:
    for warned, _ in messages:
        ax.axvline(warned, color="C3", linewidth=1, linestyle=":")
fig.tight_layout()

# %%
# Force by force: the larger the spread, the larger the error. As an error bar it is too short, most of all where it is
# small: members that see the same data with the same descriptor share errors, of which the spread knows nothing. So
# read it as a ranking, of structures to compute next for example, or measure the factor on data of your own.
error, sigma = abs(forces).ravel(), forces_std.ravel()
edges = np.quantile(sigma, np.linspace(0, 1, 13))
bins = np.digitize(sigma, edges[1:-1])
typical = np.array([np.sqrt(np.mean(values[bins == k] ** 2)) for values in (sigma, error) for k in range(12)])

fig, ax = plt.subplots(figsize=(4.5, 4.5))
ax.loglog(sigma, error, ",", color="0.6")
ax.loglog(*typical.reshape(2, 12), "o-", label="RMS of a twelfth of them")
ax.axline((0.01, 0.01), (1, 1), color="k", linewidth=1, linestyle="--", label="error = σ")
ax.set(xlabel="committee's σ of a force component (eV/Å)", ylabel="its error (eV/Å)", ylim=(1e-5, 1))
ax.legend()
fig.tight_layout()
print(f"{100 * np.mean(error < 2 * sigma):.0f} % of the errors are below 2σ")
