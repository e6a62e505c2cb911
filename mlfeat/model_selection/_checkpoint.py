"""Trials of a search in a file, so that it can go on where it stopped."""

import errno
import re
from collections.abc import Mapping
from pathlib import Path

import joblib
import numpy as np

from mlfeat._archive import BadFile, expect, pack, unpack, write_atomically
from mlfeat._cache import structure_hash
from mlfeat.model_selection._data import are_structures
from mlfeat.targets import get_groups

__all__ = ["Checkpoint", "describe"]

FORMAT = "mlfeat search"
VERSION = 1


class Checkpoint:
    """A file of points and what their trials gave: numbers and JSON, nothing that could be executed.

    Parameters
    ----------
    path : str or path-like
        The file.
    problem : dict of str to str
        What the trials depend on, in words or hashes.
    """

    def __init__(self, path, problem):
        self.path, self.problem = Path(path), problem

    def load(self, shape):
        """Seed, and trials by points; None if there is no such file yet.

        Parameters
        ----------
        shape : tuple of int
            Numbers of parameters and of columns of a trial.

        Returns
        -------
        tuple of int and dict, or None

        Raises
        ------
        FileNotFoundError
            If there is no folder to write it to.
        ValueError
            If the file is damaged, or of another problem.
        """
        if not self.path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no folder for the checkpoint; create it first", str(self.path))
        if not self.path.exists():
            return None
        try:
            document, arrays = unpack(self.path.read_bytes(), self._check)
            points, rows = arrays["points"], arrays["rows"]
            fits = points.dtype == rows.dtype == float and points.ndim == rows.ndim == 2 and len(points) == len(rows)
            expect(fits and (points.shape[1], rows.shape[1]) == shape, "its tables have other shapes")
            seed = document["seed"]
            expect(type(seed) is int and 0 <= seed < 2**32, "its seed is no number")
        except (BadFile, KeyError) as error:
            raise ValueError(
                f"cannot go on from {self.path}: {error}; move the file away, or name another in checkpoint"
            ) from error
        return seed, {point.tobytes(): row for point, row in zip(points, rows, strict=True)}

    def _check(self, document):
        same_format = (document.get("format"), document.get("version")) == (FORMAT, VERSION)
        expect(same_format, "it is not a checkpoint of a search of this version of mlfeat")
        theirs = document.get("problem")
        expect(isinstance(theirs, dict), "it does not say what its trials are of")
        other = [name for name in sorted({*theirs, *self.problem}) if theirs.get(name) != self.problem.get(name)]
        differs = "; ".join(f"{name} was {theirs.get(name)}, is {self.problem.get(name)}" for name in other[:3])
        expect(not other, f"its trials are of another search ({differs})")

    def save(self, seed, trials):
        """Write the file.

        Parameters
        ----------
        seed : int
            Seed of the search.
        trials : dict
            Rows by the bytes of points.
        """
        points = np.array([np.frombuffer(key) for key in trials])
        document = {"format": FORMAT, "version": VERSION, "seed": seed, "problem": self.problem}
        write_atomically(self.path, pack(document, {"points": points, "rows": np.array(list(trials.values()))}))


def describe(value):
    """What a value is, in words that are the same in every process."""
    if isinstance(value, np.ndarray) and value.size > 20:
        return joblib.hash(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {describe(own)}" for key, own in sorted(value.items(), key=str)) + "}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def describe_data(X, y):
    """Hash of the data: of structures their atoms, cells and groups, else of arrays."""
    if are_structures(X):
        X = [structure_hash(a.numbers, a.positions, a.cell.array, a.pbc) for a in X], get_groups(X).tolist()
    y = np.asarray(y)
    if y.dtype.names is not None:
        y = [[None if value is None else np.asarray(value, dtype=float) for value in y[name]] for name in y.dtype.names]
    return joblib.hash((X, y))
