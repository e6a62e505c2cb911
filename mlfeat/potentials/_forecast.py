"""Memory and time that a fit of a sparse Gaussian process will take."""

import logging
import time
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from mlfeat.potentials._fitting import BLOCK_ROWS, size_in_words

logger = logging.getLogger("mlfeat")

QR_RATE = 0.6  # of the rate of matrix products, measured
OVERHEAD = 1.1  # what passes over memory add to matrix products
SMALL = 2**28  # bytes that an extrapolation grader may take in any case


class Problem(NamedTuple):
    """Size of a fit.

    ``rows`` is the number of rows of each (group, kind), ``largest`` that of the largest structure; ``derivatives``
    counts the rows that are multiplied by the sparse points; ``graded`` says whether there is an extrapolation grader.
    """

    n_structures: int
    n_atoms: int
    n_features: int
    n_points: int
    rows: dict
    largest: int
    derivatives: int
    n_species: int = 1
    graded: bool = False

    def n_bytes(self, n_workers):
        """Bytes at the peak, beside the features."""
        width = self.n_points + 1
        sums = sum(min(n, width) * width for n in self.rows.values())
        selection = self.n_atoms * (self.n_points + self.n_features)
        block = (BLOCK_ROWS + self.largest) * width
        solution = max(8 * width**2, self.grader_bytes() // 8)
        return int(8 * max(selection, sums + n_workers * (2 * width**2 + 3 * block), sums + solution))

    def grader_bytes(self):
        """Bytes of the matrices of the extrapolation grader: two of each species, and what making one takes."""
        return 8 * self.n_features**2 * (2 * self.n_species + 6) if self.graded else 0

    def grader_seconds(self, rate):
        """Seconds that the extrapolation grader takes."""
        n = self.n_features
        return (4 * self.n_species * n**3 + 4 * self.n_atoms * n**2) / rate if self.graded else 0.0

    def seconds(self, rate):
        """Seconds on one core with `rate` operations a second in matrix products."""
        n_rows = sum(self.rows.values())
        products = 2 * self.derivatives * self.n_features * self.n_points + 2 * n_rows * self.n_points**2
        selection = self.n_atoms * self.n_points * (self.n_points + 2 * self.n_features)
        qr = 2 * n_rows * self.n_points**2 + 30 * self.n_points**3
        return (OVERHEAD * (products + selection) + qr / QR_RATE) / rate


def matrix_product_rate(n=384, repeats=4):
    """Operations a second of a product of matrices that stay in the cache, measured now on one thread."""
    a, seconds = np.ones((n, n)), []
    with threadpool_limits(1, "blas"):
        for _ in range(repeats):
            started = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - started)
    return 2 * n**3 / min(seconds)


def check(problem, n_workers, memory_limit):
    """Log what a fit needs; raise MemoryError, with a remedy, if that is more than `memory_limit` bytes."""
    needed, rate = problem.n_bytes(n_workers), matrix_product_rate()
    seconds = problem.seconds(rate) / n_workers + problem.grader_seconds(rate)
    logger.info(
        "fit of %d structures with %d atoms, %d rows, to %d sparse points: about %s and %.2g s",
        problem.n_structures,
        problem.n_atoms,
        sum(problem.rows.values()),
        problem.n_points,
        size_in_words(needed),
        seconds,
    )
    if memory_limit is None or needed <= memory_limit:
        return
    fewer = problem
    while fewer.n_bytes(1) > memory_limit and fewer.n_points > 1:
        fewer = fewer._replace(n_points=int(0.9 * fewer.n_points))
    remedy = f"use n_jobs=1 and at most {fewer.n_points} sparse points altogether, or raise memory_limit"
    if fewer.n_bytes(1) > memory_limit:
        remedy = f"raise it to {size_in_words(fewer.n_bytes(1))} at least, which few sparse points need"
    raise MemoryError(
        f"the fit needs about {size_in_words(needed)}, memory_limit is {size_in_words(memory_limit)}: {remedy}"
    )


def with_grader(problem, n_workers, memory_limit):
    """The Problem with an extrapolation grader, if that needs no more memory than the fit, and `memory_limit` allows.

    It has a matrix (F, F) of each species, while the fit has none of that size. What is left out is logged.
    """
    alone, graded = problem.n_bytes(n_workers), problem._replace(graded=True)
    limit = np.inf if memory_limit is None else memory_limit
    if graded.grader_bytes() <= max(SMALL, alone) and (graded.n_bytes(n_workers) <= limit or alone > limit):
        return graded
    logger.warning(
        "there will be no extrapolation_grade: with %d features it would take about %s, the fit %s. Features of fewer "
        "components (compression) make it possible",
        problem.n_features,
        size_in_words(graded.grader_bytes()),
        size_in_words(alone),
    )
    return problem


def problem_size(rows, n_points):
    """The Problem of KernelRows or DesignRows and a number of sparse points, without an extrapolation grader.

    Parameters
    ----------
    rows : DesignRows
    n_points : int
        Over all species and blocks.

    Returns
    -------
    Problem
    """
    counts, largest, derivatives = {}, 0, 0
    for index, item in enumerate(rows.items):
        own = {kind: rows.n_rows(index, kind) for kind in ("energy", "forces", "stress")}
        for kind, n in own.items():
            counts[item.group, kind] = counts.get((item.group, kind), 0) + n
        largest = max(largest, sum(own.values()))
        if own["forces"] or own["stress"]:
            neighbors = np.minimum(np.diff(item.pairs.offsets), item.n_atoms)
            derivatives += 3 * int(neighbors.sum()) + 9 * item.n_atoms
    n_atoms = sum(item.n_atoms for item in rows.items)
    first = rows.items[0]
    return Problem(len(rows), n_atoms, first.n_features, n_points, counts, largest, derivatives, first.n_species)
