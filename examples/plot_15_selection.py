"""
Choose structures by their features
===================================

Of many candidates only a few can be computed. Does it matter which?

Features need neither reference energies nor a fitted model. Three rules that choose by them are compared with chance:
the structure that is farthest from all chosen before, the one with the largest leverage score (CUR), and the one that a
linear potential would extrapolate to farthest (MaxVol).
"""

# %%
# 120 candidates, most of them much like others: crystals, strained, with vacancies and surfaces, hot and molten; and
# 30 structures to test with.
import numpy as np

from mlfeat import SOAP, make_targets
from mlfeat.datasets import make_emt_structures, split_by_group

candidates, test = split_by_group(make_emt_structures("Cu"))
descriptor = SOAP(cutoff=4.0, n_max=8, l_max=4).fit(candidates)
features, targets = descriptor.transform(candidates), make_targets(candidates)
test_features, test_targets = descriptor.transform(test), make_targets(test)

# %%
# The rules choose one structure after the other, so that the first five of forty are the choice of five.
from mlfeat.selection import cur, farthest_point, maxvol

orders = {
    "farthest point": [farthest_point(features, 40)],
    "CUR": [cur(features, 40)],
    "MaxVol": [maxvol(features, 40, threshold=0)],
    "random": [np.random.default_rng(seed).permutation(len(candidates))[:40] for seed in range(5)],
}

# %%
# A Gaussian approximation potential is fitted to energies, forces and stresses of those that are chosen.
from mlfeat import GaussianApproximationPotential
from mlfeat.metrics import evaluate

sizes = [5, 8, 12, 20, 40]


def errors(chosen):
    """RMS errors in the test: of energies (meV/atom) and of forces (meV/Å)."""
    n_different = len(np.unique(features[chosen].values.round(6), axis=0))
    gap = GaussianApproximationPotential(min(400, n_different), energy_sigma=0.001, force_sigma=0.01, random_state=0)
    found = evaluate(gap.fit(features[chosen], targets[chosen]), test_features, test_targets)
    return 1000 * found["energy_rmse"], 1000 * found["force_rmse"]


curves = {
    name: np.array([[errors(order[:size]) for size in sizes] for order in choices]) for name, choices in orders.items()
}

# %%
# The band has all five random choices in it, the gray line is their median.
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(9.5, 4))
labels, colors = ("energy RMSE (meV/atom)", "force RMSE (meV/Å)"), ("C0", "C1", "C2", "0.5")
for k, (ax, label, ticks) in enumerate(zip(axes, labels, ([0.3, 1, 3, 10], [10, 30, 100]), strict=True)):
    for color, (name, curve) in zip(colors, curves.items(), strict=True):
        ax.loglog(sizes, np.median(curve[..., k], axis=0), "o-", color=color, label=name)
    spread = curves["random"][..., k]
    ax.fill_between(sizes, spread.min(axis=0), spread.max(axis=0), color="0.9", linewidth=0)
    ax.set(xlabel="structures", ylabel=label, xticks=sizes, xticklabels=sizes, yticks=ticks, yticklabels=ticks)
    ax.minorticks_off()
axes[0].legend()
fig.tight_layout()

# %%
# What was chosen first, and the errors with twenty structures:
groups = np.array([atoms.info["group"] for atoms in candidates])
for name, choices in orders.items():
    energy, force = np.median(curves[name][:, sizes.index(20)], axis=0)
    print(f"{name}: {', '.join(groups[choices[0][:5]])}; {energy:.2f} meV/atom, {force:.1f} meV/Å")

# %%
# From twenty structures on, all three rules do better than the median of chance, and none has its bad luck; farthest
# points do with fewer, too. They and MaxVol go by single atoms, and take large cells with unusual ones first, which
# forces gain by. CUR, of the means over the atoms of each structure, begins with small cells:
for name, choices in orders.items():
    n_atoms = np.mean([sum(len(candidates[k]) for k in order[:5]) for order in choices])
    print(f"{name}: {n_atoms:.0f} atoms in the first five structures")
