"""
Train a moment tensor potential
===============================

What is gained by learning the radial functions?

A moment tensor potential is linear in contractions of moments: sums over neighbors of a radial function times products
of directions. With given radial functions it is solved for in one pass over the data. It can choose them itself, too.
"""

# %%
# Crystals, strained, with vacancies and surfaces, hot and molten:
from mlfeat.datasets import make_emt_structures, split_by_group

train, test = split_by_group(make_emt_structures("Cu"))

# %%
# `level` says which contractions there are: 92 at level 16, of four radial functions, each a sum of eight polynomials.
# In each iteration the coefficients of the contractions are solved for exactly, and those of the radial functions take
# a step that knows how the solution will follow: variable projection. Training begins with the contractions of level 8
# and random functions, goes on from the best of four such starts, and adds the others at levels 12 and 16.
from sklearn.pipeline import make_pipeline

from mlfeat import MomentTensor, MomentTensorPotential, make_targets, predict_targets
from mlfeat.plotting import ParityDisplay

targets = make_targets(train)
model = make_pipeline(MomentTensor(cutoff=5.0, level=16), MomentTensorPotential(random_state=0))
model.fit(train, targets)
potential = model[-1]
print(f"{potential.n_parameters_} parameters, {potential.n_iter_} iterations")

predicted = predict_targets(model, test)
ParityDisplay.from_predictions(make_targets(test), predicted, [len(atoms) for atoms in test])

# %%
# The radial functions, :math:`f_\mu(r) = s \sum_k c_{\mu k} T_k(\xi) (R - r)^2`, against distances in the data. On the
# left are those of a plain transformer, the first polynomials. The larger μ, the fewer contractions have it.
import matplotlib.pyplot as plt
import numpy as np
from numpy.polynomial.chebyshev import chebval

from mlfeat.neighbors import NeighborPairs

vectors = [NeighborPairs.from_atoms(atoms, cutoff=5.0).vectors for atoms in train]
distances = np.linalg.norm(np.concatenate(vectors), axis=1)
given, learnt = model[0], potential.learned_descriptor(model[0])
r = np.linspace(given.min_dist_, 5.0, 200)
xi = (2 * r - (given.min_dist_ + 5.0)) / (5.0 - given.min_dist_)

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8))
for ax, descriptor, title in zip(axes, (given, learnt), ("polynomials", "learnt"), strict=True):
    for mu, c in enumerate(descriptor.radial_coefficients_[0, 0]):
        ax.plot(r, descriptor.scaling * chebval(xi, c) * (5.0 - r) ** 2, label=f"$f_{mu}$")
    ax.axhline(0, color="0.7", linewidth=1, zorder=0)
    behind = ax.twinx()
    behind.hist(distances, bins=120, color="0.88")
    behind.set(yticks=[], zorder=-1)
    ax.patch.set_visible(False)
    ax.set(xlabel="distance (Å)", title=title)
axes[0].legend()
fig.tight_layout()

# %%
# What does it gain? For each level, the best that linear coefficients can do with the polynomials, and with functions
# learnt. A third of the structures will do, and `tol` = 0.01: training ends when two
# iterations lessen the loss by less than one percent.
from mlfeat.metrics import neg_force_rmse

some, some_targets, test_targets = train[::3], targets[::3], make_targets(test)
models = {
    (solver, level): make_pipeline(MomentTensor(5.0, level), MomentTensorPotential(solver, tol=0.01, random_state=0))
    for solver in ("ridge", "varpro")
    for level in (8, 12, 16, 20)
}
errors = {key: -neg_force_rmse(model.fit(some, some_targets), test, test_targets) for key, model in models.items()}

# %%
# The functions could also be found as MLIP does it, by BFGS for all parameters together. Its iterations are cheaper,
# but it takes many more of them, since with other radial functions all coefficients have to be others. Level 12, from
# two random starts, each one to its end:
import time

curves = {}
for solver in ("bfgs", "varpro"):
    for seed in range(2):
        start = time.process_time()
        fit = make_pipeline(MomentTensor(5.0, 12), MomentTensorPotential(solver, n_init=1, random_state=seed))
        history = fit.fit(train[::8], targets[::8])[-1].history_[0]["forces"]
        curves[solver, seed] = np.linspace(0, time.process_time() - start, len(history) + 1)[1:], history

# %%
names = {"ridge": "polynomials", "varpro": "learnt, variable projection", "bfgs": "learnt, BFGS"}
colors = {"ridge": "0.5", "varpro": "C0", "bfgs": "C1"}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8))
for solver in ("ridge", "varpro"):
    levels, own = zip(*((level, error) for (name, level), error in errors.items() if name == solver), strict=True)
    axes[0].semilogy(levels, own, "o-", color=colors[solver], label=names[solver])
axes[0].set(xlabel="level", ylabel="force RMSE in the test (eV/Å)", xticks=levels)
for (solver, seed), (times, history) in curves.items():
    axes[1].loglog(times, history, color=colors[solver], linewidth=1, label=None if seed else names[solver])
    axes[1].plot(times[-1], history[-1], "o", color=colors[solver], markersize=4)
axes[1].set(xlabel="time (s)", ylabel="force RMSE in training (eV/Å)")
axes[0].legend()
axes[1].legend(loc="upper right", fontsize="small")
fig.tight_layout()

# %%
# Not all contractions are needed. :meth:`~mlfeat.MomentTensorPotential.prune` drops those that cost much and help
# little, down to a share of the operations, and trains the rest on.
descriptor, potential = models["varpro", 20]
features, pruned = descriptor.transform(some), {}
for share in (0.5, 0.25, 0.15):
    smaller, report = potential.prune(features, some_targets, cost=share)
    pruned[share] = make_pipeline(descriptor, smaller)
    before, after = report.errors
    print(
        f"{report.n_features[1]} of {report.n_features[0]} contractions, {report.cost[1] / report.cost[0]:.0%} of the "
        f"operations: force RMSE in training {1000 * after.forces:.2f} meV/Å, before {1000 * before.forces:.2f}"
    )

# %%
# What a step costs, in a crystal of 864 atoms, and the errors in the test: pruned, the large potential becomes nearly
# as fast as small ones, and errs less. (EMT is a simple law of forces, for which few contractions do much.)
from ase.build import bulk

from mlfeat import PotentialCalculator


def time_of_step(model):
    """Energy and forces, µs per atom."""
    atoms, times = bulk("Cu", cubic=True) * (6, 6, 6), []
    atoms.rattle(0.1, seed=0)
    atoms.calc = PotentialCalculator(model)
    for _ in range(40):
        atoms.positions += 1e-6
        start = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / len(atoms)


by_level = {level: model for (solver, level), model in models.items() if solver == "varpro"}
fig, ax = plt.subplots(figsize=(5.5, 4))
for group, style, label, shift in ((by_level, "o-", "level {}", (5, 5)), (pruned, "s--", "{:.0%}", (-24, -12))):
    cost = [time_of_step(model) for model in group.values()]
    force_errors = [-1000 * neg_force_rmse(model, test, test_targets) for model in group.values()]
    ax.plot(cost, force_errors, style, label="all contractions" if group is by_level else "level 20, pruned")
    for name, *point in zip(group, cost, force_errors, strict=True):
        ax.annotate(label.format(name), point, xytext=shift, textcoords="offset points", fontsize="small")
ax.set(xlabel="time (µs per atom)", ylabel="force RMSE in the test (meV/Å)", ylim=(0, 4))
ax.margins(x=0.2)
ax.legend()
fig.tight_layout()
