"""
Tune with GridSearchCV
======================

Which cutoff, and how strong a penalty?

A potential is a scikit-learn pipeline, so the search over its parameters is scikit-learn's.
"""

# %%
from mlfeat.datasets import make_emt_structures, split_by_group

train, test = split_by_group(make_emt_structures("Cu"))

# %%
# Three cutoffs and four penalties, each with three folds: 36 fits. Features and design rows are kept for each structure, so they are computed three times (once for each
# cutoff) and not 36 times.
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, make_targets
from mlfeat.metrics import neg_errors

model = make_pipeline(
    Bispectrum(twojmax=6),
    LinearPotential(Ridge(), energy_weight=100.0, force_weight=1.0, stress_weight=100.0),
)
grid = {
    "bispectrum__cutoff": [4.0, 5.0, 6.0],
    "linearpotential__regressor__alpha": [1e-8, 1e-5, 1e-2, 1e1],
}
search = GridSearchCV(
    model, grid, scoring=neg_errors, refit="neg_force_rmse", cv=KFold(3, shuffle=True, random_state=0)
)
search.fit(train, make_targets(train))
print(search.best_params_)

# %%
# All errors of all candidates are in ``cv_results_``, whichever of them chose the best one.
import matplotlib.pyplot as plt
import numpy as np

results = search.cv_results_
cutoffs = np.array(results["param_bispectrum__cutoff"], dtype=float)
alphas = np.array(results["param_linearpotential__regressor__alpha"], dtype=float)

fig, axes = plt.subplots(1, 2, figsize=(8, 3.5), sharex=True)
for ax, kind, unit in zip(axes, ("energy", "force"), ("meV/atom", "meV/Å"), strict=True):
    for cutoff in grid["bispectrum__cutoff"]:
        mine = cutoffs == cutoff
        error = -1000 * results[f"mean_test_neg_{kind}_rmse"][mine]
        ax.loglog(alphas[mine], error, "o-", label=f"cutoff {cutoff} Å")
    ax.set(xlabel="penalty", ylabel=f"{kind} RMSE ({unit})")
axes[0].legend()
fig.tight_layout()

# %%
# The best candidate was fitted once more to all training structures. Its errors on the test set, which had no say in the choice:
from mlfeat.metrics import evaluate

errors = evaluate(search, test)
print(f"{1000 * errors['energy_rmse']:.2f} meV/atom, {1000 * errors['force_rmse']:.1f} meV/Å")
