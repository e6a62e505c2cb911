"""
Tune a potential to elastic constants
=====================================

Can weights make a potential stiff where it should be?

A fit minimizes errors of energies and forces. An outer loop can look at properties, and change what the fit cannot see:
weights, penalty, cutoff. That is how the published SNAPs were made.
"""

# %%
# Reference data by ASE's effective-medium theory, and its elastic constants, which a paper would take from DFT.
from ase.build import bulk
from ase.calculators.emt import EMT

from mlfeat import make_targets
from mlfeat.datasets import make_emt_structures, split_by_group
from mlfeat.properties import elastic_constants, lattice_constants

train, test = split_by_group(make_emt_structures("Cu"))
crystal = bulk("Cu")
goal = {name: round(value, 1) for name, value in elastic_constants(crystal, EMT()).constants.items()}
lattice = round(float(lattice_constants(crystal, EMT())[0]), 3)
print(f"a = {lattice} Å, {goal} GPa")

# %%
# A small SNAP with weights that are as good as any guess.
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential

potential = LinearPotential(Ridge(1e-6), energy_weight=1.0, force_weight=0.01, stress_weight=1.0, solver="gram")
model = make_pipeline(Bispectrum(3.6, twojmax=4), potential).fit(train, make_targets(train))

# %%
# What is searched: the cutoff on a grid, so that features are computed five times and no more; penalty and weights; and
# how much the strained cells count. What is asked for: elastic constants within 3 % and energies and forces
# within 5 meV/atom and 0.1 eV/Å cost 1 each.
from sklearn.model_selection import KFold

from mlfeat import DifferentialEvolutionSearch
from mlfeat.model_selection import property_scorer

bounds = {
    "bispectrum__cutoff": (3.4, 4.2, 0.2),
    "linearpotential__regressor__alpha": (1e-9, 1e-2, "log"),
    "linearpotential__force_weight": (1e-4, 1.0, "log"),
    "linearpotential__stress_weight": (1e-2, 1e3, "log"),
    "linearpotential__group_weights[strained]": (0.1, 100.0, "log"),
}
search = DifferentialEvolutionSearch(
    model,
    bounds,
    scoring=property_scorer(
        crystal, elastic=goal, lattice=lattice, energy=0.005, force=0.1, elastic_tolerance=0.03, lattice_tolerance=1e-3
    ),
    cv=KFold(5, shuffle=True, random_state=0),
    n_trials=1500,
    random_state=0,
)
search.fit(train, make_targets(train))
for name, value in search.best_params_.items():
    print(name, value)

# %%
# The normal equations of each cutoff are kept, so that a trial costs milliseconds, its elastic constants included:
results = search.cv_results_
seconds = search.n_splits_ * (results["mean_fit_time"] + results["mean_score_time"]).mean()
print(f"{search.n_trials_} trials, {60 / seconds:.0f} a minute")

# %%
# Every trial is in ``cv_results_``, its properties and its errors in cross-validation included. Stiffness has its price
# in forces, a small one here.
import matplotlib.pyplot as plt
import numpy as np

off = np.max([abs(results[f"property_{name}"] / target - 1) for name, target in goal.items()], axis=0)
force = results["mean_test_force_rmse"]
fig, ax = plt.subplots(figsize=(6, 4))
points = ax.scatter(100 * off, 1000 * force, c=results["param_bispectrum__cutoff"], s=12, cmap="viridis")
ax.plot(100 * off[0], 1000 * force[0], "kx", ms=9, label="first guess")
best = search.best_index_
ax.plot(100 * off[best], 1000 * force[best], "r*", ms=13, label="best")
ax.set(xscale="log", ylim=(60, 220), xlabel="largest error of an elastic constant (%)", ylabel="force RMSE (meV/Å)")
fig.colorbar(points, label="cutoff (Å)")
ax.legend(loc="upper left")
fig.tight_layout()

# %%
# Errors on the test set, which had no say, and the elastic constants again:
from mlfeat.metrics import neg_errors

for name, fitted in (("first guess", model), ("best", search)):
    scores = neg_errors(fitted, test, make_targets(test))
    found = {key: round(value, 1) for key, value in elastic_constants(crystal, fitted).constants.items()}
    print(
        f"{name:12} energy {-1000 * scores['neg_energy_rmse']:5.2f} meV/atom, "
        f"forces {-1000 * scores['neg_force_rmse']:5.1f} meV/Å, {found} GPa"
    )
