"""Normal equations of coefficients and radial coefficients of moment tensor potentials together."""

from functools import partial

import numpy as np

from mlfeat._ext import blas
from mlfeat.features import assemble_rows
from mlfeat.potentials._moment_data import ordered_sum
from mlfeat.potentials._moment_model import center_groups, sum_by_group


def structure_rows(descriptor, data, k, n_groups, coef=None):
    """Weighted rows of structure k: ``[composition | features | radial | target]``.

    Features are the derivatives of energy, forces and stress by the coefficients, radial those by the radial
    coefficients where the coefficients are `coef`.

    Parameters
    ----------
    descriptor : MomentTensor
    data : MomentData
    k : int
    n_groups : int
        Numbers of sets of coefficients: one, or one for each species of the center.
    coef : array (n_groups, F), optional
        Without it there are no radial columns.

    Returns
    -------
    array (n_rows, n_species + n_groups F + n_species Q + 1)
    """
    item, target, weights = data.items[k], data.targets[k], data.weights[k]
    pairs, species, n_species = item.pairs, item.species, len(descriptor.species_)
    groups, has_gradients = center_groups(species, n_groups), weights[1:].any()
    first = descriptor.values(pairs), groups, n_groups, partial(descriptor.jacobian, pairs)
    parts = [_rows(pairs, *first, has_gradients)]
    if coef is not None:
        cotangents = coef[groups]
        radial = descriptor.radial_gradient(pairs, cotangents)[1]
        second = radial, species, n_species, partial(descriptor.radial_jacobian, pairs, cotangents)
        parts.append(_rows(pairs, *second, has_gradients))
    rows = np.zeros((len(parts[0]), n_species + sum(part.shape[1] for part in parts) + 1))
    rows[0, :n_species] = np.bincount(species, minlength=n_species)
    rows[0, -1] = target["energy"]
    np.concatenate(parts, axis=1, out=rows[:, n_species:-1])
    if has_gradients:
        rows[1:-6, -1] = 0.0 if target["forces"] is None else np.ravel(target["forces"])
        rows[-6:, -1] = target["stress"]
    factors = np.repeat(np.sqrt(weights), (1, *((3 * item.n_atoms, 6) if has_gradients else (0, 0))))
    used = factors > 0
    return rows[used] * factors[used, None]


def _rows(pairs, values, groups, n_groups, jacobian, has_gradients):
    if has_gradients:
        return assemble_rows(pairs, values, groups, n_groups, jacobian)
    return sum_by_group(values, groups, n_groups).reshape(1, -1)


def normal_matrix(descriptor, data, n_groups, coef=None, n_jobs=None):
    """Sum of the products of all rows, see `structure_rows`, in one pass over the structures."""

    def block_matrix(block):
        rows = np.concatenate([structure_rows(descriptor, data, k, n_groups, coef) for k in block])
        matrix = np.zeros((rows.shape[1], rows.shape[1]), order="F")
        blas.syrk(1.0, rows.T, matrix)
        return matrix

    lower = ordered_sum(block_matrix, data.blocks(), n_jobs)
    return np.tril(lower) + np.tril(lower, -1).T
