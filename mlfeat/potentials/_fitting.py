"""Passes over the training structures: all rows stacked, or summed up in blocks of bounded size."""

import copy
import logging
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from mlfeat._cluster import Parcel, count_workers, make_parallel, on_cluster
from mlfeat.potentials._rows import KINDS

logger = logging.getLogger("mlfeat")

BLOCK_ROWS = 4096  # rows that are summed up at a time: enough for matrix products to run at full speed
WAVE_BYTES = 2**22  # of the sums from one worker that may wait to be merged


def n_columns(rows):
    """Number of features over all species."""
    return rows.items[0].n_species * rows.items[0].n_features


def structure_ranges(rows, limit=BLOCK_ROWS):
    """Ranges of consecutive structures with about `limit` rows; they do not depend on the number of workers."""
    start, total = 0, 0
    for index in range(len(rows)):
        total += sum(rows.n_rows(index, kind) for kind in KINDS)
        if total >= limit or index == len(rows) - 1:
            yield slice(start, index + 1)
            start, total = index + 1, 0


def accumulate(rows, make_blocks, n_jobs=None):
    """Sum up the rows of all structures.

    Ranges of structures are summed by joblib workers, on whatever backend is active, and merged in their
    order; linear algebra runs on one thread in each. The result is the same to the last bit for any number of
    workers. On a Dask cluster, tasks carry structures, of which the workers make the features again: that is less
    work than to send features and pairs.

    Parameters
    ----------
    rows : DesignRows
    make_blocks : callable
        Makes an empty accumulator, `GramBlocks` or `TriangularBlocks`.
    n_jobs : int or None

    Returns
    -------
    GramBlocks or TriangularBlocks
    """
    total = make_blocks()
    ranges = list(structure_ranges(rows))
    n_jobs = 1 if len(ranges) == 1 else n_jobs
    make_task = _cluster_tasks(rows, make_blocks) if on_cluster(n_jobs) else _tasks(rows, make_blocks)
    first, n_workers = 0, count_workers(n_jobs)
    wave = n_workers
    with threadpool_limits(1, "blas"), make_parallel(n_jobs) as parallel:
        while first < len(ranges):  # wave by wave, so that few blocks are in memory at a time
            part = ranges[first : first + wave]
            for blocks in parallel(map(make_task, part)):
                total.merge(blocks)
            logger.debug("summed up %d of %d structures", part[-1].stop, len(rows))
            first, wave = first + wave, n_workers * max(1, WAVE_BYTES // max(1, blocks.nbytes))
    return total


def _tasks(rows, make_blocks):
    return lambda part: delayed(_summarize)(rows[part], make_blocks)


def _cluster_tasks(rows, make_blocks):
    first, bare = rows.items[0], copy.copy(rows)
    bare.items = bare.targets = bare.sample_weight = None
    common = Parcel(bare, make_blocks, first.descriptor, first.steps, rows.items.feature_names)

    def make_task(part):
        structures = [_with_group(item.pairs.to_atoms(), item.group) for item in rows.items[part]]
        return delayed(_summarize_structures)(common, Parcel(structures, rows.targets[part], rows.sample_weight[part]))

    return make_task


def _with_group(atoms, group):
    atoms.info["group"] = group
    return atoms


def _summarize_structures(common, part):
    bare, make_blocks, descriptor, steps, names = common.content
    rows = copy.copy(bare)
    structures, rows.targets, rows.sample_weight = part.content
    rows.items = descriptor.transform(structures)
    for step in steps:
        rows.items = rows.items.then(step, names)
    return _summarize(rows, make_blocks)


def _summarize(rows, make_blocks):
    collected = {}
    for index in range(len(rows)):
        for kind, part in rows(index).items():
            collected.setdefault((rows.items[index].group, kind), []).append(part)
    blocks = make_blocks()
    with threadpool_limits(1, "blas"):  # here too: this may be another process
        for key, parts in collected.items():
            blocks.add(key, np.concatenate(parts))
    return blocks


class Stacked(NamedTuple):
    """Weighted rows of all structures, those of the energies first.

    ``features`` (n_rows, p), ``target`` (n_rows,), ``composition`` (n_energies, n_species).
    """

    features: np.ndarray
    target: np.ndarray
    composition: np.ndarray


def stack(rows, weights, n_jobs=None):
    """Stack the rows of all structures, weighted.

    Parameters
    ----------
    rows : DesignRows
    weights : KindWeights
    n_jobs : int or None
        Threads.

    Returns
    -------
    Stacked
    """
    places, n_rows, n_energies = _places(rows, weights)
    n_species = rows.items[0].n_species
    stacked = Stacked(np.empty((n_rows, n_columns(rows))), np.empty(n_rows), np.empty((n_energies, n_species)))

    def fill(part):
        for index in range(part.start, part.stop):
            for kind, block in rows(index, places[index]).items():
                block *= np.sqrt(weights((rows.items[index].group, kind)))
                place = places[index][kind]
                stacked.features[place] = block[:, n_species:-1]
                stacked.target[place] = block[:, -1]
                if kind == "energy":
                    stacked.composition[place] = block[:, :n_species]

    Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(fill)(part) for part in structure_ranges(rows))
    return stacked


def _places(rows, weights):
    """Where the rows of each structure go (a dict from kind to slice), and numbers of all rows and of energies."""
    places = [{} for _ in range(len(rows))]
    n_rows = 0
    for kinds in (KINDS[:1], KINDS[1:]):
        for index, place in enumerate(places):
            for kind in kinds:
                count = rows.n_rows(index, kind) if weights((rows.items[index].group, kind)) > 0 else 0
                if count:
                    place[kind] = slice(n_rows, n_rows + count)
                    n_rows += count
        if kinds == KINDS[:1]:
            n_energies = n_rows
    if not n_rows:
        raise ValueError("no row has a positive weight: nothing to fit")
    return places, n_rows, n_energies


def memory_forecast(rows, solver, n_jobs=None):
    """Bytes that a fit will take at its peak, beside the features themselves and what the cache keeps."""
    p = n_columns(rows)
    width = p + rows.items[0].n_species + 1
    counts = [sum(rows.n_rows(index, kind) for kind in KINDS) for index in range(len(rows))]
    if solver == "stacked":
        return 8 * (2 * sum(counts) * width + 4 * width**2)  # the regressor may copy
    n_workers = count_workers(n_jobs)
    n_keys = len(KINDS) * len({item.group for item in rows.items})
    block = max(BLOCK_ROWS, max(counts)) * width
    return 8 * (width**2 * (n_keys * (1 + n_workers) + 5) + 3 * block * n_workers)


def check_memory(rows, solver, n_jobs, memory_limit):
    """Log what a fit needs; raise MemoryError, with a remedy, if that is more than `memory_limit` bytes."""
    needed = memory_forecast(rows, solver, n_jobs)
    logger.info("fit of %d structures, solver=%r: about %s", len(rows), solver, size_in_words(needed))
    if memory_limit is None or needed <= memory_limit:
        return
    if solver == "stacked":
        other, change = memory_forecast(rows, "gram", n_jobs), "solver='gram' or 'qr'"
    else:
        other, change = memory_forecast(rows, solver, 1), "n_jobs=1"
    remedy = f"use {change} ({size_in_words(other)})" if other <= memory_limit else "use fewer features or groups"
    raise MemoryError(
        f"the fit needs about {size_in_words(needed)}, memory_limit is {size_in_words(memory_limit)}: {remedy}, or "
        "raise memory_limit"
    )


def size_in_words(n_bytes):
    """Bytes in the largest unit that they fill."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes:g} bytes"
