"""
Choose the next structures by variance
======================================

Do fewer DFT calculations do, if the potential says which?

The standard deviation of a predicted energy needs no reference energy. So it can rank candidates before anything is
computed for them. Here the candidates do have energies, and random choices show what the ranking is worth.
"""

# %%
# 120 candidates: crystals, strained, with vacancies and surfaces, hot and molten; and 30 structures to test with.
import numpy as np

from mlfeat import SOAP, make_targets
from mlfeat.datasets import make_emt_structures, split_by_group

candidates, test = split_by_group(make_emt_structures("Cu"))
descriptor = SOAP(cutoff=4.0, n_max=8, l_max=4).fit(candidates)
features, targets = descriptor.transform(candidates), make_targets(candidates)
test_features, test_targets = descriptor.transform(test), make_targets(test)
n_atoms = np.array([len(atoms) for atoms in candidates])

# %%
# The noise of the energy of N atoms is taken to be σ√N. What a calculation would tell grows with the ratio of the
# standard deviation to that noise, by which structures of different sizes are compared.
from mlfeat import GaussianApproximationPotential


def by_variance(gap, rest, rng):
    ratio = gap.predict_std(features[rest]) / np.sqrt(n_atoms[rest])
    return rest[np.argsort(-ratio)]


def at_random(gap, rest, rng):
    return rng.permutation(rest)


# %%
# Five structures to start with, the same for both; then the first five of the ranking, a new fit, and so on.
from mlfeat.metrics import neg_errors


def learn(rank, seed, n_rounds=6, batch=5):
    """Errors of energy (meV/atom) and force (meV/Å) after each round, and what was chosen."""
    rng = np.random.default_rng(seed)
    chosen, errors = rng.permutation(len(candidates))[:batch], []
    for _ in range(n_rounds):
        n_sparse = min(400, n_atoms[chosen].sum())
        gap = GaussianApproximationPotential(n_sparse, energy_sigma=0.001, force_sigma=0.01)
        gap.fit(features[chosen], targets[chosen])
        scores = neg_errors(gap, test_features, test_targets)
        errors.append([-1000 * scores["neg_energy_rmse"], -1000 * scores["neg_force_rmse"]])
        rest = np.setdiff1d(np.arange(len(candidates)), chosen)
        chosen = np.concatenate([chosen, rank(gap, rest, rng)[:batch]])
    return np.array(errors), chosen[:-batch]


runs = {rank.__name__: [learn(rank, seed) for seed in range(3)] for rank in (at_random, by_variance)}

# %%
# Three starts each, and their geometric means:
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8))
sizes = 5 * np.arange(1, 7)
for color, (name, results) in zip(("0.5", "C0"), runs.items(), strict=True):
    errors = np.array([errors for errors, _ in results])
    for ax, single in zip(axes, np.moveaxis(errors, 2, 0), strict=True):
        ax.semilogy(sizes, single.T, color=color, linewidth=0.5)
        ax.semilogy(sizes, np.exp(np.log(single).mean(axis=0)), "o-", color=color, label=name.replace("_", " "))
labels = "energy RMSE (meV/atom)", "force RMSE (meV/Å)"
for ax, label, ticks in zip(axes, labels, ([0.5, 1, 2, 5, 10], [10, 20, 50]), strict=True):
    ax.set(xlabel="structures", ylabel=label, yticks=ticks, yticklabels=ticks)
    ax.minorticks_off()
axes[0].legend()
fig.tight_layout()

# %%
# Energies gain most: the ranking asks about them. Forces gain at first; later it matters little which structures they
# come from. What was chosen, of each kind:
groups = np.array([atoms.info["group"] for atoms in candidates])
for name, results in runs.items():
    chosen = np.concatenate([chosen for _, chosen in results])
    kinds = ", ".join(f"{np.sum(groups[chosen] == kind) / len(results):.0f} {kind}" for kind in np.unique(groups))
    print(f"{name}: {kinds}; {n_atoms[chosen].sum() / len(results):.0f} atoms")
