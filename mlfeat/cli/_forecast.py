"""Time and memory that a comparison will take, from short fits to a few structures."""

import dataclasses
import time
import warnings

import numpy as np

from mlfeat._cache import clear_cache
from mlfeat.base import split_model
from mlfeat.cli._measure import memory
from mlfeat.cli._plan import is_fitted, nested_subsets
from mlfeat.cli._report import Column, format_table
from mlfeat.cli._snap import count_trials
from mlfeat.cli._tasks import Task, run_tasks
from mlfeat.cli._train import checked_model
from mlfeat.cli._user_models import method_of
from mlfeat.potentials._forecast import matrix_product_rate, problem_size
from mlfeat.potentials._kernel_blocks import make_blocks, n_points, sparse_counts
from mlfeat.potentials._moment_settings import iterations
from mlfeat.potentials._rows import DesignRows

_ATOMS, _STRUCTURES = 400, 12  # of the larger sample, at least
_LOOPS = {  # what a fit repeats, and how often in the short fits
    "snap": ("trials", 1, 20),
    "qsnap": ("trials", 1, 20),
    "nnp": ("epochs", 1, 3),
    "mtp": ("iterations", 1, 4),
}
_START = 2.0  # s, of a process until it works
_TIMING = 3.0  # s, of one that times a model
METHOD = (
    "time of short fits to a few structures, in proportion to the number of atoms, and memory on a line through two of "
    "them; for gap operations are counted; trainings that end early take less; variants count as the fit of the table"
)


def forecast(plan, store, n_jobs, threads):
    """Forecast of what is not done, for ``results.json`` and in words."""
    tasks = {name: _task(plan, name) for name, source in plan.sources.items() if not is_fitted(source)}
    rows, found = [], {}
    run_tasks(
        list(tasks.values()),
        store,
        threads=threads,
        tell=lambda task, result, again: found.update({task.method: result}),
    )
    rest = [task for task in plan.tasks if store.find(task) is None]
    fits = {name: result.get("fit_seconds") for name, result in found.items()}
    for name in tasks:
        own = [task for task in rest if task.method == name]
        total = None if fits[name] is None else _total(own, fits)
        rows.append({"label": plan.labels[name], "pieces": len(own), **found[name], "seconds": total})
    content = {"methods": rows, "seconds": _total(rest, fits, n_jobs), "how": METHOD}
    columns = [
        Column("forecast", "", lambda row: row["label"]),
        Column("fit", "s", lambda row: row.get("fit_seconds"), digits=2),
        Column("peak memory", "MB", lambda row: row.get("peak_memory_bytes"), 1e-6, digits=2),
        Column("pieces to do", "", lambda row: row["pieces"]),
        Column("all of them", "s", lambda row: row["seconds"], digits=2),
    ]
    failed = [f"no forecast of {row['label']}: {row['error']}\n" for row in rows if row["status"] == "failed"]
    end = f"about {_in_words(content['seconds'])} with {n_jobs} at a time, {threads} threads each"
    return content, f"{format_table(columns, rows)}\n{''.join(failed)}{end} ({METHOD})"


def forecast_piece(source, settings, train):
    """Seconds and bytes of the fit of one method."""
    method, samples = method_of(source), _samples(train)
    peaks = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few structures determine little
        for sample in samples:  # of the first, time is spent on what is done only once
            grows, stays = _seconds(source, method, settings, train, sample)
            peaks.append(memory())
    sizes, size = [int(sample.n_atoms.sum()) for sample in samples], int(train.n_atoms.sum())
    fit_seconds = grows * size / sizes[1] + stays
    n_bytes = _extrapolated(sizes, peaks, size)
    if source == "gap":
        fit_seconds, n_bytes = _gap(method, settings, train, samples[-1], peaks[0])
    return {"status": "ok", "fit_seconds": fit_seconds, "peak_memory_bytes": n_bytes}


def _task(plan, name):
    source = plan.sources[name]
    args = source, plan.settings, plan.train
    return Task("forecast", name, forecast_piece, args, plan.inputs(source) | {"threads": plan.settings.threads})


def _samples(train):
    """A few structures of each group, and half as many."""
    share = max(_ATOMS / train.n_atoms.sum(), _STRUCTURES / len(train.structures))
    share = min(share, 1.0)
    half, whole = nested_subsets(train, (share / 2, share), 0).values()
    return half, whole


def _seconds(source, method, settings, train, sample):
    """Seconds of a fit to the sample that grow with the data, and those that do not."""
    loop = _LOOPS.get(source) if isinstance(source, str) else None
    if loop is None:
        clear_cache()
        return _timed(method, settings, train, sample), 0.0
    name, few, more = loop
    clear_cache()
    # The first fit computes features, which the others find in the cache.
    first, again, longer = (
        _timed(method, dataclasses.replace(settings, models=1, **{name: n}), train, sample) for n in (few, few, more)
    )
    one = max(longer - again, 0.0) / (more - few)
    model = method.build(train.structures, settings)
    if name == "trials":
        return max(first - few * one, 0.0), one * _trials(model, settings, sample)
    descriptor, _, potential = split_model(model)
    most = iterations(potential, descriptor.level) if name == "iterations" else potential.max_iter
    return first - again + potential.n_models * (again + (most - few) * one), 0.0


def _timed(method, settings, train, sample):
    model = checked_model(method, settings, train)
    start = time.perf_counter()
    method.fit(model, sample.structures, sample.targets, settings)
    return time.perf_counter() - start


def _trials(model, settings, sample):
    return count_trials(model, sample.structures) if settings.trials is None else settings.trials


def _gap(method, settings, train, sample, least):
    """Seconds and bytes of a Gaussian process, whose cost grows with its sparse points, which are those of all data."""
    model = method.build(train.structures, settings)
    start = time.perf_counter()
    features = model[:-1].fit_transform(sample.structures)
    rows = DesignRows(features, sample.targets)
    potential, species = model[-1], features[0].descriptor.species_
    blocks = make_blocks(features, potential.zeta, potential.delta)
    symbols = np.concatenate([atoms.symbols for atoms in train.structures])
    counts = sparse_counts(potential.n_sparse, species), [np.sum(symbols == symbol) for symbol in species]
    problem = problem_size(rows, n_points(blocks, *counts, potential.sparse_method))
    seconds = time.perf_counter() - start
    scale = train.n_atoms.sum() / sample.n_atoms.sum()
    problem = problem._replace(
        n_atoms=int(scale * problem.n_atoms),
        rows={key: int(scale * n) for key, n in problem.rows.items()},
        derivatives=int(scale * problem.derivatives),
    )
    rate = matrix_product_rate()
    return scale * seconds + problem.seconds(rate) / settings.threads, least + problem.n_bytes(settings.threads)


def _extrapolated(sizes, values, size):
    """The straight line through two points at another size, at least the larger value."""
    slope = (values[1] - values[0]) / max(sizes[1] - sizes[0], 1)
    return max(values[1] + slope * (size - sizes[1]), *values)


def _total(tasks, fits, n_jobs=1):
    """Seconds of tasks, several at a time but those that run alone; fits that are not known count as nothing."""
    together = [task for task in tasks if not task.alone]
    seconds = sum(_START + _share(task) * (fits.get(task.method) or 0.0) for task in together)
    return seconds / n_jobs + _TIMING * (len(tasks) - len(together))


def _share(task):
    """Time of a task in units of the fit of its method."""
    if task.kind == "learning":
        return float(task.label)
    return float(task.kind in ("fit", "variant"))


def _in_words(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
