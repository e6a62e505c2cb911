"""Features from a cluster: tasks carry structures, and bring back neighbor lists and values."""

import ase
import joblib
import numpy as np

from mlfeat._cluster import Parcel, count_workers, make_parallel

__all__ = ["compute_tasks", "divide"]

TASK_ATOMS = 1000  # at least: what is done before a task's messages have gone to and fro is better done here
TASKS_PER_WORKER = 4  # so that one whose part is cheap takes over from a slower one


def divide(structures, n_jobs):
    """Divide structures among tasks.

    Parameters
    ----------
    structures : sequence of (key, index, ase.Atoms)
    n_jobs : int or None

    Returns
    -------
    list of dict
        As `Descriptor._compute` takes them; of the atoms, only what features depend on.
    """
    n_atoms = sum(len(atoms) for *_, atoms in structures)
    least = max(TASK_ATOMS, n_atoms / (TASKS_PER_WORKER * count_workers(n_jobs)))
    tasks, n_atoms = [], np.inf
    for key, index, atoms in structures:
        if n_atoms >= least:
            tasks.append({})
            n_atoms = 0
        tasks[-1][key] = index, ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        n_atoms += len(atoms)
    return tasks


def compute_tasks(descriptor, tasks):
    """Pairs and values under each key of all tasks; the workers keep them in the caches of their own."""
    common = Parcel(descriptor)
    parts = make_parallel(descriptor.n_jobs)(joblib.delayed(_compute)(common, Parcel(task)) for task in tasks)
    found = {key: pair for part in parts for key, pair in part.items()}
    for _, values in found.values():
        values.flags.writeable = False
    return found


def _compute(common, part):
    (descriptor,), (structures,) = common.content, part.content
    return descriptor._compute(structures)
