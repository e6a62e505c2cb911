"""Kernels between environments, and the columns that a sparse Gaussian process has: one for each sparse point.

A Gaussian process is described by its blocks, dicts with the keys ``name``, ``start``, ``stop`` (the features that it
works on), ``delta`` and either ``zeta``, ``sparse_points`` (M, F_b) and ``sparse_species`` (M,), sorted, for the kernel
(B·P)^ζ, or ``covariance`` (F_b, F_b), for features that are kernel functions already.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from mlfeat.features import Projection

SPENT = 1e-8  # share of the largest singular value of sparse points below which they are left out
WORTH = 0.9  # share of the work with sparse points that factors of them must not exceed


def power(base, exponent, out=None):
    """Integer power of an array, by multiplications alone; `out` must not be `base`."""
    if exponent == 0:
        out = np.empty_like(base) if out is None else out
        out.fill(1.0)
        return out
    digits = bin(exponent)[3:]
    if not digits:
        return np.positive(base, out=out)
    result = np.multiply(base, base, out=out)
    for place, digit in enumerate(digits):
        if place > 0:
            result *= result
        if digit == "1":
            result *= base
    return result


def dot_kernel(first, second, zeta):
    """(B·B')^ζ of the rows of two arrays."""
    return power(first @ second.T, zeta)


class Part(NamedTuple):
    """Columns of one block that belong to the centers of one species.

    The sparse points are ``points @ basis.T``, or `points` if `basis` is None. Both and `zeta` are None for features
    that are kernel functions already; then `species` is None, and the columns belong to all centers.
    """

    name: str
    start: int
    stop: int
    columns: slice
    delta: float
    species: int | None = None
    points: np.ndarray | None = None
    basis: np.ndarray | None = None
    zeta: int | None = None
    covariance: np.ndarray | None = None

    def reduced(self, values):
        """The features of this part, of atoms that have all features, as its points multiply them."""
        own = values[:, self.start : self.stop]
        return own if self.basis is None else own @ self.basis


def part_covariance(part):
    """K_MM of the columns of a part."""
    return part.covariance if part.points is None else dot_kernel(part.points, part.points, part.zeta)


def parts(blocks, n_species, unseen=False):
    """The parts of all blocks that have columns, in the order of the columns.

    With `unseen`, also parts without columns, for species of which no block has a point: they tell the prior. (Where
    another block has points of a species, a block without them has no kernel for it.)
    """
    seen = {s for block in blocks if block["covariance"] is None for s in np.unique(block["sparse_species"])}
    found, column = [], 0
    for block in blocks:
        common = {name: block[name] for name in ("name", "start", "stop", "delta")}
        if block["covariance"] is not None:
            columns = slice(column, column + block["stop"] - block["start"])
            found.append(Part(**common, columns=columns, covariance=block["covariance"]))
            column = columns.stop
            continue
        for s in range(n_species):
            points = block["sparse_points"][block["sparse_species"] == s]
            columns = slice(column, column + len(points))
            if len(points) or (unseen and s not in seen):
                points, basis = low_rank(points)
                found.append(Part(**common, columns=columns, species=s, points=points, basis=basis, zeta=block["zeta"]))
            column = columns.stop
    return found


def compressed(blocks):
    """Blocks with their compressed points, where there are such, in place of their sparse points."""
    return [{**block, "sparse_points": block.get("compressed_points", block["sparse_points"])} for block in blocks]


def without_compression(blocks):
    """Copies of blocks without their compressed points."""
    return [{name: value for name, value in block.items() if name != "compressed_points"} for block in blocks]


def low_rank(points):
    """Factors Q (M, r) and U (F, r) of sparse points Q Uᵀ, if they save work; else the points and None.

    Features of smooth densities depend on one another nearly linearly. What is left out is less than SPENT of the
    points; environments like them have as little of it, so that the error of products is the square of that. Of
    environments unlike all points it is some SPENT. (With SPENT = 1e-10 nothing is left out of SOAP of molybdenum.)
    """
    n_points, n_features = points.shape
    if n_points == 0:
        return points, None
    left, values, right = linalg.svd(points, full_matrices=False, check_finite=False)
    rank = max(1, np.count_nonzero(values > SPENT * values[0]))
    if rank * (n_points + n_features) > WORTH * n_points * n_features:
        return points, None
    return left[:, :rank] * values[:rank], np.ascontiguousarray(right[:rank].T)


def kernel_values(features, all_parts):
    """K_NM (n_atoms, n_columns): kernel of each atom with the sparse points of its species, zero elsewhere."""
    values = np.zeros((len(features.values), all_parts[-1].columns.stop))
    for part in all_parts:
        own = part.reduced(features.values)
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
        own = part.reduced(features.values)
        if part.points is None:
            sums[part.columns] = own.sum(axis=0)
            projections.append(Projection(np.eye(own.shape[1]), np.ones(own.shape), part.start, part.stop))
            continue
        products = own @ part.points.T
        slopes = power(products, part.zeta - 1)
        slopes[features.species != part.species] = 0.0
        sums[part.columns] = np.einsum("ns,ns->s", slopes, products)
        slopes *= part.zeta
        projections.append(Projection(part.points, slopes, part.start, part.stop, part.species, part.basis))
    return sums, projections
