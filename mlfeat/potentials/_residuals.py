"""Residuals of forces and stress, and how their squares change with the pair gradients."""

import numpy as np

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def gradient_residuals(pairs, gradients, target, w_forces, w_stress):
    """Weighted squared residuals of forces and stress, and their derivative with respect to the pair gradients.

    Parameters
    ----------
    pairs : NeighborPairs
        The structure.
    gradients : array of shape (n_pairs, 3)
        The g_ij = ∂E/∂r_ij.
    target : row of targets
        With `forces` and `stress`.
    w_forces, w_stress : float
        Weights of the squares; zero where there is no target.

    Returns
    -------
    loss : float
        Sum of the weighted squares.
    displacements : array of shape (n_pairs, 3)
        Its derivatives ∂L/∂g_ij.
    """
    loss, displacements = 0.0, np.zeros((pairs.n_pairs, 3))
    if w_forces > 0:
        residual = pairs.forces(gradients) - target["forces"]
        loss += w_forces * np.sum(residual**2)
        displacements += 2 * w_forces * (residual[pairs.first] - residual[pairs.second])
    if w_stress > 0:
        residual = pairs.stress(gradients) - target["stress"]
        loss += w_stress * np.sum(residual**2)
        for factor, (x, y) in zip(2 * w_stress / pairs.volume * residual, _VOIGT, strict=True):
            displacements[:, x] += 0.5 * factor * pairs.vectors[:, y]
            displacements[:, y] += 0.5 * factor * pairs.vectors[:, x]
    return loss, displacements
