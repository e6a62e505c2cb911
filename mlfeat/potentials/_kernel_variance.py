"""Variance of energies under a sparse Gaussian process."""

import numpy as np
from scipy import linalg

from mlfeat.potentials._kernels import dot_kernel, kernel_values, power

BLOCK = 1024  # atoms at a time
SPENT = 1e-10  # share of the largest eigenvalue below which directions of a covariance are rounding


def atom_variances(features, all_parts, factor, offset):
    """Variances (n_atoms,) of the energies of atoms."""
    variances = np.empty(len(features.values))
    for first in range(0, len(variances), BLOCK):
        part = _Some(features, slice(first, first + BLOCK))
        kernels = _scaled(kernel_values(part, all_parts), all_parts)
        variances[part.range] = _own_prior(part, all_parts, kernels) - np.sum((kernels @ factor) ** 2, axis=1)
    return np.maximum(variances, 0.0) + offset


def energy_variance(features, all_parts, factor, offset):
    """Variance of the sum of the energies of a structure's atoms."""
    n_atoms = len(features.values)
    kernels, prior = np.zeros(len(factor)), 0.0
    for first in range(0, n_atoms, BLOCK):
        part = _Some(features, slice(first, first + BLOCK))
        kernels += _scaled(kernel_values(part, all_parts), all_parts).sum(axis=0)
    for part in all_parts:
        if part.points is None:
            prior += _linear_prior(kernels[None, part.columns], part)[0]
        else:
            prior += part.delta**2 * _sum_of_kernels(features, part)
    return max(0.0, prior - np.sum((kernels @ factor) ** 2)) + n_atoms * offset


class _Some:
    """Features of some atoms."""

    def __init__(self, features, which):
        self.range, self.values, self.species = which, features.values[which], features.species[which]


def _scaled(kernels, all_parts):
    for part in all_parts:
        kernels[:, part.columns] *= part.delta**2
    return kernels


def _own_prior(features, all_parts, kernels):
    prior = np.zeros(len(kernels))
    for part in all_parts:
        if part.points is None:
            prior += _linear_prior(kernels[:, part.columns], part)
        else:
            mine = features.species == part.species
            own = features.values[mine, part.start : part.stop]
            prior[mine] += part.delta**2 * power(np.einsum("nf,nf->n", own, own), part.zeta)
    return prior


def _linear_prior(kernels, part):
    """k K⁻¹ k / δ² of features that are kernel functions; the process is that of their span.

    K is singular to rounding: its inverse would cancel all digits, its eigenvectors do not.
    """
    values, vectors = linalg.eigh(part.covariance, check_finite=False)
    kept = values > SPENT * values[-1]
    return np.sum((kernels @ (vectors[:, kept] / np.sqrt(values[kept]))) ** 2, axis=1) / part.delta**2


def _sum_of_kernels(features, part):
    values = features.values[features.species == part.species, part.start : part.stop]
    return sum(
        dot_kernel(values[first : first + BLOCK], values, part.zeta).sum() for first in range(0, len(values), BLOCK)
    )
