"""
GAP with error bars along a Bain path
=====================================

Does the potential know where it has not been fitted?

A Gaussian approximation potential is a Gaussian process: beside the energy it predicts how much the training data leave
open. Stretching an fcc crystal at constant volume until it is bcc, the Bain path, leads away from the data.
"""

# %%
# Copper from ASE's EMT potential, as a tetragonal cell: c/a = 1 is fcc and 0.71 is bcc. All training cells are close to
# fcc, 20 of them, their atoms a little off their sites.
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def tetragonal(ratio, a=3.59):
    """Four atoms at the volume of fcc."""
    atoms = bulk("Cu", a=a, cubic=True)
    atoms.set_cell(atoms.cell.lengths() * [ratio ** (-1 / 3), ratio ** (-1 / 3), ratio ** (2 / 3)], scale_atoms=True)
    return atoms


def training_cell(ratio):
    atoms = tetragonal(ratio, a=rng.uniform(3.5, 3.68))
    atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


rng = np.random.default_rng(0)
near_fcc = rng.uniform(0.92, 1.08, 20)
train = [training_cell(ratio) for ratio in near_fcc]

# %%
# The sigmas say how well energies (eV per atom) and forces (eV/Å) are to be met. EMT has no noise, so they are small.
from sklearn.pipeline import make_pipeline

from mlfeat import SOAP, GaussianApproximationPotential, make_targets

gap = GaussianApproximationPotential(n_sparse=60, energy_sigma=0.001, force_sigma=0.01)
model = make_pipeline(SOAP(cutoff=5.0, n_max=8, l_max=6), gap)
model.fit(train, make_targets(train))

# %%
# Energies along the path, with their standard deviations:
ratios = np.linspace(0.62, 1.15, 54)
path = [tetragonal(ratio) for ratio in ratios]
reference = np.array([EMT().get_potential_energy(atoms) / 4 for atoms in path])


def along_path(model):
    """Energy and its standard deviation, eV per atom."""
    return model.predict(path) / 4, model[-1].predict_std(model[:-1].transform(path)) / 4


energy, std = along_path(model)
print(f"the standard deviation is largest, {1000 * std.max():.0f} meV/atom, at c/a = {ratios[std.argmax()]:.2f}")

# %%
# That is bcc. Three cells about there, and the fit knows both crystals:
near_bcc = rng.uniform(0.69, 0.73, 3)
more = train + [training_cell(ratio) for ratio in near_bcc]
model.fit(more, make_targets(more))
energy_more, std_more = along_path(model)

# %%
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
zero = reference[np.argmin(abs(ratios - 1))]
before, after = (energy, std, near_fcc), (energy_more, std_more, np.concatenate([near_fcc, near_bcc]))
for ax, (mean, width, known) in zip(axes, (before, after), strict=True):
    band = (1000 * (mean - zero + side * width) for side in (-2, 2))
    ax.fill_between(ratios, *band, color="C0", alpha=0.25, linewidth=0, label="±2σ")
    ax.plot(ratios, 1000 * (mean - zero), color="C0", label="GAP")
    ax.plot(ratios, 1000 * (reference - zero), "k--", linewidth=1, label="EMT")
    ax.plot(known, np.full(len(known), -95), "|", color="C1", label="training cells")
    ax.set(xlabel="c/a", ylim=(-100, 200), title=f"{len(known)} training cells")
axes[0].set_ylabel("energy (meV/atom)")
axes[0].legend()
fig.tight_layout()

# %%
# The reference is within the band everywhere. Far from the data the width is that of the prior, `delta` = 1 eV for an
# atom less what similar environments tell: an assumption, to be checked where errors can be measured.
for mean, width, known in (before, after):
    at_bcc, at_fcc = 1000 * np.interp([np.sqrt(0.5), 1], ratios, width)
    inside = np.mean(abs(mean - reference) < 2 * width)
    print(f"{len(known)} cells: {100 * inside:.0f} % within 2σ; σ is {at_fcc:.2f} meV/atom at fcc, {at_bcc:.2f} at bcc")

# %%
# In a simulation, the calculator has the same numbers, and those of single atoms, when they are asked for. These atoms
# are all alike, so that their errors are too, and add up:
from mlfeat import PotentialCalculator

atoms = tetragonal(0.8)
atoms.calc = PotentialCalculator(model)
for name in ("energy_std", "energies_std"):
    print(name, 1000 * atoms.calc.get_property(name, atoms), "meV")
