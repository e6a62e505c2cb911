"""
Fit SNAP
========

How well does a linear potential with 30 coefficients learn copper?

The reference is ASE's EMT potential, which is cheap enough to make data on the spot. With DFT
data of your own, ``structures = ase.io.read("data.xyz", ":")`` takes the place of the first
cell.
"""

# %%
# Reference data: crystals, strained, with vacancies and surfaces, hot and molten, each with
# energy, forces and stress.
from mlfeat.datasets import make_emt_structures, split_by_group

train, test = split_by_group(make_emt_structures("Cu"))
print(len(train), "structures to fit,", len(test), "to test")

# %%
# SNAP is a pipeline of two: bispectrum components describe each atom's environment, and the
# energy is linear in them. The weights multiply squared residuals of the energy per atom (eV),
# of the forces (eV/Å) and of the stress (eV/Å³).
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, make_targets

model = make_pipeline(
    Bispectrum(cutoff=3.6, twojmax=6),
    LinearPotential(Ridge(1e-8), energy_weight=1e4, force_weight=1.0, stress_weight=100.0),
)
model.fit(train, make_targets(train))

# %%
# Errors on structures that the fit has not seen. One of them, from the hottest trajectory, is unlike
# all that the model was fitted to, and a warning says so:
from mlfeat.metrics import evaluate

errors = evaluate(model, test)
print(f"energy  {1000 * errors['energy_rmse']:8.2f} meV/atom")
print(f"forces  {1000 * errors['force_rmse']:8.2f} meV/Å")
print(f"stress  {160.2177 * errors['stress_rmse']:8.3f} GPa")

# %%
# And against the reference, force by force:
import matplotlib.pyplot as plt
import numpy as np

from mlfeat import predict_targets

true, predicted = make_targets(test), predict_targets(model, test)
x, y = (np.concatenate(targets["forces"]).ravel() for targets in (true, predicted))

fig, ax = plt.subplots(figsize=(4.5, 4.5))
ax.axline((0, 0), slope=1, color="0.7", linewidth=1)
ax.plot(x, y, ".", markersize=3)
ax.set(xlabel="force, EMT (eV/Å)", ylabel="force, SNAP (eV/Å)", aspect="equal")
fig.tight_layout()

# %%
# One file holds the model, without pickle.
import tempfile
from pathlib import Path

import mlfeat

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "copper.mlfeat"
    mlfeat.save(model, path)
    again = mlfeat.load(path)
print(abs(again.predict(test) - model.predict(test)).max(), "eV between the model and its copy")
