"""Kernels between environments, and the columns that a sparse Gaussian process has: one for each sparse point.

A Gaussian process is described by its blocks, dicts with the keys ``name``, ``start``, ``stop`` (the features that it
works on), ``delta`` and either ``zeta``, ``sparse_points`` (M, F_b) and ``sparse_species`` (M,), sorted, for the kernel
(B·P)^ζ, or ``covariance`` (F_b, F_b), for features that are kernel functions already.
"""

from typing import NamedTuple

import numpy as np

from mlfeat.features import Projection


def power(base, exponent):
    """Integer power of an array, without logarithms."""
    result = np.ones_like(base) if exponent == 0 else base.copy()
    for bit in bin(exponent)[3:]:
        result *= result
        if bit == "1":
            result *= base
    return result


def dot_kernel(first, second, zeta):
    """(B·B')^ζ of the rows of two arrays."""
    return power(first @ second.T, zeta)


class Part(NamedTuple):
    """Columns of one block that belong to the centers of one species.

    `points` and `zeta` are None for features that are kernel functions already; then `species` is None, and the
    columns belong to all centers.
    """

    name: str
    start: int
    stop: int
    columns: slice
    species: int = None
    points: np.ndarray = None
    zeta: int = None
    delta: float = 1.0
    covariance: np.ndarray = None


def parts(blocks, n_species):
    """The parts of all blocks that have columns, in the order of the columns."""
    found, column = [], 0
    for block in blocks:
        common = block["name"], block["start"], block["stop"]
        if block["covariance"] is not None:
            columns = slice(column, column + block["stop"] - block["start"])
            found.append(Part(*common, columns, delta=block["delta"], covariance=block["covariance"]))
            column = columns.stop
            continue
        for s in range(n_species):
            points = block["sparse_points"][block["sparse_species"] == s]
            columns = slice(column, column + len(points))
            if len(points):
                found.append(Part(*common, columns, s, points, block["zeta"], block["delta"]))
            column = columns.stop
    return found


def part_covariance(part):
    """K_MM of a part's columns."""
    return part.covariance if part.points is None else dot_kernel(part.points, part.points, part.zeta)


def kernel_values(features, all_parts):
    """K_NM (n_atoms, n_columns): kernel of each atom with the sparse points of its species, zero elsewhere."""
    values = np.zeros((len(features.values), all_parts[-1].columns.stop))
    for part in all_parts:
        own = features.values[:, part.start : part.stop]
        if part.points is None:
            values[:, part.columns] = own
        else:
            mine = features.species == part.species
            values[mine, part.columns] = dot_kernel(own[mine], part.points, part.zeta)
    return values


def sums_and_projections(features, all_parts):
    """Kernel values summed over the atoms (n_columns,), and the Projections that give their derivatives."""
    sums, projections = np.zeros(all_parts[-1].columns.stop), []
    for part in all_parts:
        start, stop = part.start, part.stop
        own = features.values[:, start:stop]
        if part.points is None:
            sums[part.columns] = own.sum(axis=0)
            projections.append(Projection(np.eye(stop - start), np.ones(own.shape), start, stop, None))
            continue
        products = own @ part.points.T
        slopes = power(products, part.zeta - 1)
        slopes[features.species != part.species] = 0.0
        sums[part.columns] = np.einsum("ns,ns->s", slopes, products)
        slopes *= part.zeta
        projections.append(Projection(part.points, slopes, start, stop, part.species))
    return sums, projections
