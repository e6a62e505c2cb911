"""Floating-point operations of the bispectrum, counted from the tables that the kernel runs on.

An addition, a multiplication or a division is one operation; a multiplication and an addition that the processor
does at once are two. Loading, comparing and gathering neighbors are none.
"""

from typing import NamedTuple

import numpy as np

from mlfeat.descriptors._bispectrum_tables import bispectrum_tables

SINCOSPI = 51  # the two polynomials of one angle


class Operations(NamedTuple):
    """Operations per atom of one evaluation of energy, forces and stress, by part."""

    density: float  # neighbors to density
    products: float  # Clebsch-Gordan products and sums of their results, values and adjoint
    bases: float  # between harmonics and Wigner matrices, both ways
    gradient: float  # density's cotangents to pair gradients
    model: float  # energies and cotangents of the features

    @property
    def total(self):
        return sum(self)


def count(twojmax, n_neighbors, quadratic=False):
    """Operations for one species with `n_neighbors` within the cutoff, a mean over atoms.

    Parameters
    ----------
    twojmax : int
    n_neighbors : float
    quadratic : bool

    Returns
    -------
    Operations
    """
    tables = bispectrum_tables(twojmax)
    n_features = tables.n_features
    used = set(tables.value_block[:, 0].tolist())
    products = sum(_coupling(tables, k) for k in used) + sum(_coupling(tables, k) for k in range(len(tables.block)))
    overlaps = sum(5 * _n_half(tables, tables.block[k, 0]) for k in tables.value_block[:, 0])
    sinks = sum(
        4 * _n_half(tables, tables.block[k, 0]) * (tables.sink_start[k + 1] - tables.sink_start[k])
        for k in range(len(tables.block))
    )
    # u is formed from the density twice, before the values and before the adjoint: that is cheaper than keeping it.
    bases = 2 * 2 * len(tables.to_wigner.value) + 2 * len(tables.from_wigner.value)
    parts = Operations(
        density=n_neighbors * _density(twojmax),
        products=products + overlaps + sinks,
        bases=bases,
        gradient=n_neighbors * _gradient(twojmax),
        model=2 * n_features + (2 * n_features**2 + 2 * n_features if quadratic else 0),
    )
    return Operations(*map(float, parts))


def _n_half(tables, j):
    return int(tables.half_offset[j + 1]) - int(tables.half_offset[j])


def _coupling(tables, block):
    """Complex products of a coupling, each with a real coefficient: 6 multiplications and 4 additions."""
    j, first = tables.block[block, :2]
    start = tables.product_start
    return 10 * int(start[first + _n_half(tables, j)] - start[first])


def _radial(top):
    """Radial functions times amplitude, and the cosines they are made of."""
    recurrences = sum(4 * max(n - 1, 0) + 4 for n in range(1, top + 1))
    return 2 * SINCOSPI + 3 + recurrences + (top + 1) * (top + 2) // 2


def _radial_slopes(top):
    return 10 + sum(4 + 6 * (n - 1) + 4 for n in range(1, top + 1))


def _harmonics(top):
    legendre = sum(4 * max(l - 1, 0) + 2 * (l > 0) for l in range(top + 1))
    return 6 * top + legendre + top * (top + 1)


def _density(top):
    return _radial(top) + _harmonics(top) + 2 * sum((n + 1) ** 2 for n in range(top + 1))


def _gradient(top):
    contraction = sum((2 * l + 1) * (4 * (top - l + 1) + 2) for l in range(top + 1))
    planes = sum(4 * (top - m + 1) * (m > 0) + (3 + 2 * (m > 0)) * (top - m) + 9 * (m > 0) for m in range(top + 1))
    return _radial(top) + _radial_slopes(top) + _harmonics(top) + contraction + planes + 5 + 3 * 5


def neighbors_within(pairs, cutoff):
    """Mean number of neighbors within the cutoff of a longer list."""
    return float(np.count_nonzero(pairs.distances < cutoff)) / pairs.n_atoms
