"""Which contractions a moment tensor potential can do without."""

from typing import NamedTuple

import numpy as np

from mlfeat.potentials._pruning import PruningPath, SharedCost, prune

LEAST_ALPHA = 1e-12  # a penalty that keeps normal equations positive definite


class PruningReport(NamedTuple):
    """What pruning of a moment tensor potential did, as pairs (before, after).

    Attributes
    ----------
    n_features : tuple of int
        Numbers of features of an atom.
    cost : tuple of float
        Operations (FLOP) of an atom's energy and forces.
    errors : tuple of Errors
        ``loss``, and root mean square errors ``energy`` (eV/atom), ``forces`` (eV/Å), ``stress`` (eV/Å³) on the
        structures.
    path : PruningPath
        All steps: numbers of features, losses and costs.
    """

    n_features: tuple
    cost: tuple
    errors: tuple
    path: PruningPath


def pruning_path(problem, radial, max_increase, target):
    """Drop features of a MomentProblem, those first that cost much and help little.

    Parameters
    ----------
    problem : MomentProblem
    radial : array (S, S, n_radial, K)
        Radial functions.
    max_increase : float
        Share by which the loss may grow.
    target : float
        Share of the cost at which dropping ends.

    Returns
    -------
    PruningPath
    """
    projected = problem.begin(radial)
    n_features = len(problem.basis.scalars)
    penalty = np.maximum(projected.penalty, LEAST_ALPHA * projected.diagonal)
    n_neighbors = sum(item.pairs.n_pairs for item in problem.data.items) / sum(i.n_atoms for i in problem.data.items)
    cost = SharedCost.of_moments(problem.basis, n_neighbors, radial.shape[-1])
    return prune(
        projected.gram + np.diag(np.where(projected.diagonal > 0, penalty, 1.0)),
        projected.moment,
        projected.square,
        cost,
        columns=np.arange(problem.n_groups * n_features).reshape(problem.n_groups, n_features).T,
        max_loss=(1 + max_increase) * projected.loss,
        target_cost=target * cost.total,
    )
