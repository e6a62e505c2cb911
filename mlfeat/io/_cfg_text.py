"""The text of MLIP's ``.cfg`` files, as plain data.

A structure is a record of fields between ``BEGIN_CFG`` and ``END_CFG``; a field is its name and, behind it or on the
following lines, its values.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlfeat.io._text import Line

CARTESIAN = ("cartes_x", "cartes_y", "cartes_z")
DIRECT = ("direct_x", "direct_y", "direct_z")
FORCES = ("fx", "fy", "fz")
RESULTS = {"energies": "site_en", "charges": "charge"}  # of atoms, in ASE's words and in the file's
GRADES = "nbh_grades"
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
ESCAPES = {" ": r"\_", "\t": r"\t", "\n": r"\n", "\r": r"\r"}  # in the name of a feature
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # whatever stands in a feature is kept
_COLUMNS = {"id", "type", *CARTESIAN, *DIRECT, *FORCES, *RESULTS.values(), GRADES}


class Record(NamedTuple):
    """A structure as the file says it."""

    line: Line  # of BEGIN_CFG
    cell: np.ndarray  # (3, 3)
    columns: dict  # name to a list, one entry an atom
    energy: float | None
    virial: list | None  # as the file: xx yy zz yz xz xy
    features: dict  # texts


class _Reader:
    """Lines of a file that hold something, one by one."""

    def __init__(self, path):
        self.path = Path(path)
        self._texts = self.path.read_bytes().decode(**ENCODING).split("\n")
        self._position = 0

    def peek(self):
        """The next line, or None at the end."""
        while self._position < len(self._texts):
            words = self._texts[self._position].split()
            if words:
                number = self._position + 1
                return Line(self.path, number, words, number < len(self._texts))
            self._position += 1
        return None

    def next(self, expected):
        line = self.peek()
        if line is None:
            raise ValueError(f"{self.path}: the file ends where {expected} should follow; it is truncated.")
        self._position += 1
        return line

    def text(self, line):
        """The whole of a line."""
        return self._texts[line.number - 1]

    def value(self, line, what):
        """The word that stands behind a field's name, or on the next line; and its line."""
        words = line.words[1:]
        if not words:
            line = self.next(what)
            words = line.words
        if len(words) != 1:
            raise line.error(f"expected {what}, one number, not {' '.join(words)[:40]!r}.")
        return line, words[0]


def _read_record(reader):
    begin = reader.next("BEGIN_CFG")
    if begin.words != ["BEGIN_CFG"]:
        raise begin.error(f"expected BEGIN_CFG, not {' '.join(begin.words)[:40]!r}.")
    found = {"Feature": {}}
    while (line := reader.next("END_CFG")).words != ["END_CFG"]:
        name = _OTHER_NAMES.get(line.words[0], line.words[0])
        if name not in _FIELDS:
            raise line.error(f"unknown field {name[:40]!r}.{_HINTS.get(name, '')}")
        if name != "Feature" and name in found:
            raise line.error(f"{name} occurs twice; is END_CFG missing?")
        found[name] = _FIELDS[name](reader, line, found)
    if "AtomData:" not in found:
        raise begin.error("the structure has no atoms (AtomData); remove it.")
    cell = found.get("Supercell", np.zeros((3, 3)))
    return Record(begin, cell, found["AtomData:"], found.get("Energy"), found.get("PlusStress:"), found["Feature"])


def _read_size(reader, line, found):
    line, word = reader.value(line, "the number of atoms")
    size = line.integer(word, "the number of atoms")
    if size < 1:
        raise line.error(f"the number of atoms should be positive, not {size}; remove structures without atoms.")
    return size


def _read_cell(reader, line, found):
    if len(line.words) > 1:
        raise line.error("the vectors of Supercell should follow on lines of their own.")
    cell = np.zeros((3, 3))
    for k in range(3):
        row = reader.peek()
        if row is None or not re.match(r"[-+.\d]", row.words[0]):
            break
        cell[k] = _reals(reader.next("a vector"), ["x", "y", "z"], f"vector {k + 1} of Supercell")
    periodic = cell[cell.any(axis=1)]
    if np.linalg.matrix_rank(periodic) < len(periodic):
        raise line.error("the vectors of Supercell are not independent.")
    return cell


def _read_energy(reader, line, found):
    line, word = reader.value(line, "the energy")
    return line.real(word, "the energy")


def _read_virial(reader, line, found):
    names = line.words[1:]
    if sorted(names) != sorted(VOIGT):
        raise line.error(f"the columns of PlusStress should be {' '.join(VOIGT)}, in any order.")
    values = _reals(reader.next("the values of PlusStress"), names, "PlusStress")
    return [values[names.index(name)] for name in VOIGT]


def _reals(line, names, what):
    if len(line.words) != len(names):
        raise line.error(f"expected {what}, {len(names)} numbers, not {len(line.words)}.")
    return [line.real(word, f"{name} of {what}") for name, word in zip(names, line.words, strict=True)]


def _read_feature(reader, line, found):
    """All features so far; one of several lines repeats its name."""
    if len(line.words) < 2:
        raise line.error("Feature without a name.")
    _, key, *rest = reader.text(line).split(None, 2)
    value = "".join(rest).strip()
    for character, escape in ESCAPES.items():
        key = key.replace(escape, character)
    features = found["Feature"]
    return features | {key: f"{features[key]}\n{value}" if key in features else value}


def _read_atoms(reader, line, found):
    names = line.words[1:]
    _check_columns(line, names)
    if "Size" not in found:
        raise line.error("AtomData without Size before it.")
    size = found["Size"]
    columns = {name: [] for name in names}
    for k in range(size):
        row = reader.next(f"atom {k + 1} of {size}")
        if len(row.words) != len(names):
            raise row.error(
                f"expected atom {k + 1} of {size}, {len(names)} columns as AtomData says, not {len(row.words)}; Size "
                "or the columns are wrong, or the file is damaged."
            )
        for name, word in zip(names, row.words, strict=True):
            read = row.integer if name in ("id", "type") else row.real
            columns[name].append(read(word, f"{name} of atom {k + 1}"))
        if "id" in columns and columns["id"][-1] != k + 1:
            raise row.error(f"the id of atom {k + 1} is {columns['id'][-1]}; sort the atoms by their id.")
    return columns


def _check_columns(line, names):
    for name in names:
        if name not in _COLUMNS:
            raise line.error(f"unknown column {name[:40]!r} of AtomData; known are {', '.join(sorted(_COLUMNS))}.")
        if names.count(name) > 1:
            raise line.error(f"column {name} of AtomData occurs twice.")
    for group in (CARTESIAN, DIRECT, FORCES):
        given = [name in names for name in group]
        if any(given) and not all(given):
            raise line.error(f"AtomData should have all of {', '.join(group)}, or none.")
    if (CARTESIAN[0] in names) == (DIRECT[0] in names):
        raise line.error("AtomData should have the positions of atoms, either cartes_x … or direct_x ….")


_FIELDS = {
    "Size": _read_size,
    "Supercell": _read_cell,
    "AtomData:": _read_atoms,
    "Energy": _read_energy,
    "PlusStress:": _read_virial,
    "Feature": _read_feature,
}
_OTHER_NAMES = {"SuperCell": "Supercell", "Atomic_data:": "AtomData:"}
_OLD_STRESS = " Old files have stresses of other signs and units so; convert to PlusStress, −V times the stress in eV."
_HINTS = {
    "BEGIN_CFG": " END_CFG of the structure before is missing.",
    "Stress:": _OLD_STRESS,
    "Virial:": _OLD_STRESS,
}


def read_records(path):
    """Yield each :class:`Record`; a ValueError names the index of the structure, the file and the line."""
    reader = _Reader(path)
    index = 0
    while reader.peek() is not None:
        try:
            record = _read_record(reader)
        except ValueError as error:
            raise ValueError(f"structure {index} of {error}") from error
        yield record
        index += 1
    if not index:
        raise ValueError(f"{path}: the file has no structure; each should begin with BEGIN_CFG.")
