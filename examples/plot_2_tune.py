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

potential = LinearPotential(Ridge(), energy_weight=1e4, stress_weight=100.0)
model = make_pipeline(Bispectrum(), potential)
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
cutoffs, sizes, penalties = grid.values()
sizes_of, penalties_of = (np.array(results[f"param_{name}"], dtype=float) for name in list(grid)[1:])

fig, axes = plt.subplots(1, 2, figsize=(8, 3.5))
for ax, kind, unit in zip(axes, ("energy", "force"), ("meV/atom", "meV/Å"), strict=True):
    error = -1000 * results[f"mean_test_neg_{kind}_rmse"]
    for color, size in enumerate(sizes):
        for style, penalty in zip(("o-", "o:"), penalties, strict=True):
            mine = (sizes_of == size) & (penalties_of == penalty)
            label = f"2J = {size}, penalty {penalty:g}"
            ax.semilogy(cutoffs, error[mine], style, color=f"C{color}", label=label)
    ax.set(xlabel="cutoff (Å)", ylabel=f"{kind} RMSE ({unit})")
axes[0].legend(fontsize="x-small")
fig.tight_layout()

# %%
# The best candidate was fitted once more to all training structures. Its errors on the test
# set, which had no say in the choice:
scores = neg_errors(search, test, make_targets(test))
print(f"energy {-1000 * scores['neg_energy_rmse']:6.2f} meV/atom")
print(f"forces {-1000 * scores['neg_force_rmse']:6.2f} meV/Å")
