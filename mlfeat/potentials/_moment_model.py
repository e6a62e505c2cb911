"""A moment tensor potential in training: what it predicts of a structure, its errors, derivatives of its loss."""

from typing import NamedTuple

import numpy as np

from mlfeat.potentials._moment_data import ordered_sum
from mlfeat.potentials._residuals import gradient_residuals
from mlfeat.potentials._training import Errors


class MomentModel(NamedTuple):
    """Parameters of a potential.

    Attributes
    ----------
    descriptor : MomentTensor
        With the radial functions.
    coef : array (n_groups, F)
        Coefficients of the features: one set for all species of the center, or one for each.
    intercept : array (n_species,)
        Energies of the species, eV.
    """

    descriptor: object
    coef: np.ndarray
    intercept: np.ndarray

    def cotangents(self, species):
        """∂E_i/∂B_i (N, F)."""
        return self.coef[center_groups(species, len(self.coef))]

    def energy_and_gradients(self, item, forces=True):
        """Energy of a structure, and unless `forces` is False its pair gradients (P, 3)."""
        reference = self.intercept[item.species].sum()
        if not forces:
            values = self.descriptor.values(item.pairs)
            return np.sum(values * self.cotangents(item.species)) + reference, None
        coef = np.broadcast_to(self.coef, (len(self.intercept), self.coef.shape[1]))
        energies, gradients = self.descriptor.linear(item.pairs, coef)
        return energies.sum() + reference, gradients


def center_groups(species, n_groups):
    """Which coefficients each atom has."""
    return species if n_groups > 1 else np.zeros_like(species)


def errors_of(model, data, n_jobs=None):
    """Errors of a model on MomentData; the loss is the mean over structures, without the penalty."""

    def squares(block):
        return sum(_squares(model, data, k) for k in block)

    return to_errors(ordered_sum(squares, data.blocks(), n_jobs), len(data.items))


def to_errors(squares, n_structures):
    """Errors from sums (3, 3) over structures: weighted squares, squares, and how many, of each kind."""
    weighted, plain, counts = squares.T
    with np.errstate(invalid="ignore"):
        return Errors(weighted.sum() / n_structures, *np.sqrt(plain / counts))


def _squares(model, data, k):
    item, target, weights = data.items[k], data.targets[k], data.weights[k]
    energy, gradients = model.energy_and_gradients(item, weights[1:].any())
    return squares_of(item, target, weights, energy, gradients)


def squares_of(item, target, weights, energy, gradients):
    """Sums (3, 3) of a structure, as for `to_errors`; energies are per atom in the second column."""
    out = np.zeros((3, 3))
    if weights[0] > 0:
        residual = energy - target["energy"]
        out[0] = weights[0] * residual**2, (residual / item.n_atoms) ** 2, 1
    if weights[1] > 0:
        square = np.sum((item.pairs.forces(gradients) - target["forces"]) ** 2)
        out[1] = weights[1] * square, square, 3 * item.n_atoms
    if weights[2] > 0:
        square = np.sum((item.pairs.stress(gradients) - target["stress"]) ** 2)
        out[2] = weights[2] * square, square, 6
    return out


def loss_and_gradient(model, data, k):
    """Weighted squared residuals of structure k, and their derivatives.

    Energy and forces take one forward and one reverse sweep. With e = ∂L/∂E and u_ij = ∂L/∂g_ij the derivative of the
    loss is that of Σ_i β · (e B_i + Σ_j u_ij · ∂B_i/∂r_ij): one more sweep forward along u, and one back.

    Parameters
    ----------
    model : MomentModel
    data : MomentData
    k : int

    Returns
    -------
    squares : array (3, 3)
        See `squares_of`; the loss is the sum of the first column.
    coef, intercept, radial : arrays
        Derivatives by the coefficients, the intercepts and the radial coefficients, in their shapes.
    """
    item, target, weights = data.items[k], data.targets[k], data.weights[k]
    energy, gradients = model.energy_and_gradients(item, weights[1:].any())
    factor = 2 * weights[0] * (energy - target["energy"]) if weights[0] > 0 else 0.0
    displacements = None
    if gradients is not None:
        displacements = gradient_residuals(item.pairs, gradients, target, *weights[1:])[1]
    cotangents = model.cotangents(item.species)
    features, radial = model.descriptor.radial_gradient(item.pairs, cotangents, displacements, factor)
    n_species = len(model.intercept)
    coef = sum_by_group(features, center_groups(item.species, len(model.coef)), len(model.coef))
    return (
        squares_of(item, target, weights, energy, gradients),
        coef,
        factor * np.bincount(item.species, minlength=n_species),
        sum_by_group(radial, item.species, n_species).reshape(model.descriptor.radial_coefficients_.shape),
    )


def sum_by_group(rows, groups, n_groups):
    """Sums (n_groups, n) of rows (N, n)."""
    if n_groups == 1:
        return rows.sum(axis=0)[None]
    return np.stack([rows[groups == g].sum(axis=0) for g in range(n_groups)])
