"""Pieces of work of a comparison: what they are, what decides their results, and in which order they are done."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import mlfeat
from mlfeat.cli._report import plain
from mlfeat.cli._worker import Child
from mlfeat.targets import get_groups

_POLL = 0.05  # s


@dataclass(frozen=True)
class Task:
    """A piece of work, done in a process of its own.

    ``kind``, ``method`` and ``label`` name it; ``function(*args)`` is what to do, ``inputs`` everything that decides
    the result and can be written as JSON. ``needs`` names another task whose files it reads, ``files`` are those that
    it writes. What times something is ``alone``, and comes after the others.
    """

    kind: str
    method: str
    function: Callable
    args: tuple
    inputs: dict
    label: str = ""
    needs: str | None = None
    files: tuple = ()
    alone: bool = False

    @property
    def name(self):
        """Name of the task, and of the file of its result."""
        return "-".join(filter(None, [self.kind, self.method, self.label]))

    def key(self, hashes):
        """Hash of all that decides the result; ``hashes`` are those of the files that it reads."""
        content = [mlfeat.__version__, self.kind, self.method, self.label, plain(self.inputs), hashes]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint(data):
    """Hash of structures with their targets and groups."""
    digest = hashlib.sha256()
    for atoms, target, group in zip(data.structures, data.targets, get_groups(data.structures), strict=True):
        arrays = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, target["energy"], target["stress"]
        for array in (*arrays, target["forces"]):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        digest.update(f"{len(atoms)} {group}\n".encode())
    return digest.hexdigest()


def run_tasks(tasks, store, *, n_jobs=1, threads=1, tell):
    """Do all tasks that are not done: `n_jobs` of them at a time, those that are alone at the end and one by one.

    Parameters
    ----------
    tasks : list of Task
        In the order in which they should begin.
    store : Store
        Where results are kept.
    n_jobs : int, default=1
        Processes at a time.
    threads : int, default=1
        Threads of linear algebra of each.
    tell : callable
        Called as ``tell(task, result, again)`` after each task, ``again`` if the result was there before. That of a
        task whose ``needs`` failed is None.
    """
    todo = sorted(tasks, key=lambda task: task.alone)  # a stable sort
    done, running = {}, []
    try:
        while todo or running:
            for entry in [entry for entry in running if not entry[1].is_running]:
                running.remove(entry)
                task, child = entry
                done[task.name] = result = store.keep(task, child.result())
                tell(task, result, False)
            task = _next(todo, done, running, n_jobs)
            if task is None:
                time.sleep(_POLL)
            elif not _skip(task, done, store, tell):
                running.append((task, Child(task.function, task.args, threads)))
    finally:
        for _, child in running:
            child.kill()


def _next(todo, done, running, n_jobs):
    """Take the first task that can begin now out of the list; None if there is none."""
    alone = any(task.alone for task, _ in running)
    for index, task in enumerate(todo):
        free = not running if task.alone else len(running) < n_jobs and not alone
        if free and (task.needs is None or task.needs in done):
            return todo.pop(index)
        if task.alone:
            break  # not before those that came before it
    return None


def _skip(task, done, store, tell):
    """Whether a task need not or cannot be done; its result is told of."""
    impossible = task.needs is not None and done[task.needs].get("status") == "failed"
    result = None if impossible else store.find(task)
    if result is None and not impossible:
        return False
    done[task.name] = {"status": "failed"} if impossible else result
    tell(task, result, True)
    return True
