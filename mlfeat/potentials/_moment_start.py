"""Radial functions that training of moment tensors begins with, and the directions in which they change."""

import numpy as np
from scipy import linalg

FIRST_LEVEL, LEVEL_STEP = 8, 4  # a radial function more at every step


def training_levels(basis):
    """Levels after which training pauses: 8, 12, 16 … below the highest of the basis, then that."""
    levels = basis.levels
    first, last = max(FIRST_LEVEL, int(levels.min())), int(levels.max())
    return [*range(first, last, LEVEL_STEP), last]


def normalized(radial):
    """Radial functions (S, S, n_radial, K), each μ of norm one, and the norms (n_radial,); zero stays zero."""
    norms = np.sqrt(np.einsum("stmk,stmk->m", radial, radial))
    return radial / np.where(norms > 0, norms, 1.0)[:, None], norms


def random_functions(shape, rng):
    """Random radial functions (S, S, n_radial, K) of norm one, each orthogonal to those before as far as possible."""
    n_species, _, n_radial, n_polynomials = shape
    draws = rng.normal(size=(n_radial, n_species**2 * n_polynomials))
    for mu in range(1, min(len(draws), draws.shape[1])):
        before = draws[:mu]
        draws[mu] -= before.T @ np.linalg.lstsq(before.T, draws[mu], rcond=None)[0]
    functions = draws.reshape(n_radial, n_species, n_species, n_polynomials)
    return normalized(np.ascontiguousarray(functions.transpose(1, 2, 0, 3)))[0]


def tangents(radial):
    """Orthonormal directions, the columns (radial.size, n), that leave the norm of each μ as it is to first order."""
    places = np.arange(radial.size).reshape(radial.shape)
    blocks, rows = [], []
    for mu in range(radial.shape[2]):
        own = places[:, :, mu].ravel()
        vector = radial[:, :, mu].reshape(1, -1)
        blocks.append(linalg.null_space(vector) if vector.any() else np.eye(len(own)))
        rows.append(own)
    out = np.zeros((radial.size, sum(block.shape[1] for block in blocks)))
    out[np.concatenate(rows)] = linalg.block_diag(*blocks)
    return out


def unit_scaling(descriptor, radial, items):
    """Scaling with which the moment μ = ν = 0 has the root mean square one over the atoms of some structures."""
    tables = [[0, 0, 0, 0]], np.zeros((0, 4), dtype=np.intc), [0]
    first = descriptor.with_radial(radial[:, :, :1], scaling=1.0, basis=tables)
    squares = [np.sum(first.values(item.pairs) ** 2) for item in items]
    mean = sum(squares) / sum(item.n_atoms for item in items)
    return 1 / np.sqrt(mean) if mean > 0 else 1.0
