"""
Tune with GridSearchCV
======================

Which cutoff, and how many components?

A potential is a scikit-learn pipeline, so the search over its parameters is scikit-learn's.
"""

# %%
from mlfeat.datasets import make_emt_structures, split_by_group

train, test = split_by_group(make_emt_structures("Cu"))

# %%
# Four cutoffs, three sizes and two penalties, each with three folds: 72 fits. The features and
# design rows of a structure are kept, so they are computed 12 times, once for each cutoff and
# size: penalties and folds cost linear algebra only.
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, make_targets
from mlfeat.metrics import neg_errors

model = make_pipeline(Bispectrum(), LinearPotential(Ridge(), energy_weight=1e4, stress_weight=100.0))
grid = {
    "bispectrum__cutoff": [3.2, 3.6, 4.0, 4.4],
    "bispectrum__twojmax": [4, 6, 8],
    "linearpotential__regressor__alpha": [1e-8, 1e2],
}
folds = KFold(3, shuffle=True, random_state=0)
search = GridSearchCV(model, grid, scoring=neg_errors, refit="neg_force_rmse", cv=folds)
search.fit(train, make_targets(train))
print(search.best_params_)

# %%
# All errors of all candidates are in ``cv_results_``, whichever of them chose the best one.
import matplotlib.pyplot as plt
import numpy as np

results = search.cv_results_
twojmax, alpha = (
    np.array(results[f"param_{name}"], dtype=float)
    for name in ("bispectrum__twojmax", "linearpotential__regressor__alpha")
)

fig, axes = plt.subplots(1, 2, figsize=(8, 3.5))
for ax, kind, unit in zip(axes, ("energy", "force"), ("meV/atom", "meV/Å"), strict=True):
    for color, size in enumerate(grid["bispectrum__twojmax"]):
        for style, penalty in zip(("o-", "o:"), grid["linearpotential__regressor__alpha"], strict=True):
            error = -1000 * results[f"mean_test_neg_{kind}_rmse"][(twojmax == size) & (alpha == penalty)]
            label = f"2J = {size}, penalty {penalty:g}"
            ax.semilogy(grid["bispectrum__cutoff"], error, style, color=f"C{color}", label=label)
    ax.set(xlabel="cutoff (Å)", ylabel=f"{kind} RMSE ({unit})")
axes[0].legend(fontsize="x-small")
fig.tight_layout()

# %%
# The best candidate was fitted once more to all training structures. Its errors on the test
# set, which had no say in the choice:
from mlfeat.metrics import evaluate

errors = evaluate(search, test)
print(f"{1000 * errors['energy_rmse']:.2f} meV/atom, {1000 * errors['force_rmse']:.1f} meV/Å")
