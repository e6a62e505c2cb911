"""Structures of n2p2 and RuNNer, ``input.data``."""

import numpy as np
from ase import Atoms
from ase.calculators.lammps import convert
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers

from mlfeat.io._text import read_lines

_N_NUMBERS = {"lattice": 3, "energy": 1, "charge": 1}


def read_n2p2(path, units):
    """Yield the structures of a file.

    Parameters
    ----------
    path : path-like
        The file.
    units : str
        LAMMPS' name of its units: "metal" (eV, Å) or "electron" (Hartree, Bohr).

    Yields
    ------
    ase.Atoms
        One that is periodic along three lattice vectors, or not at all.

    Raises
    ------
    ValueError
        If the file is not such a one, or is truncated.
    """
    record = line = None
    for line in read_lines(path):
        word = line.words[0]
        if (word == "begin") != (record is None):
            raise line.error("expected the line 'begin'." if record is None else "'begin' before 'end'.")
        if word == "begin":
            record = {"lattice": [], "energy": [], "charge": [], "atom": []}
        elif word == "end":
            yield _atoms(record, line, units)
            record = None
        else:
            line.check_ended()
            _take(record, line)
    if record is not None:
        raise line.error("the file ends before the 'end' of the structure.")


def _take(record, line):
    word, *words = line.words
    if word == "atom":
        if len(words) < 9:
            raise line.error(f"atom has {len(words)} entries: x y z element charge unused fx fy fz are 9.")
        if atomic_numbers.get(words[3], 0) < 1:
            raise line.error(f"{words[3]!r} is not the symbol of an element.")
        numbers = [line.real(words[k], "an entry of atom") for k in (0, 1, 2, 4, 6, 7, 8)]
        record["atom"].append((words[3], numbers))
    elif word in _N_NUMBERS:
        if len(words) != _N_NUMBERS[word]:
            raise line.error(f"{word} has {len(words)} numbers, expected {_N_NUMBERS[word]}.")
        record[word].append([line.real(text, word) for text in words])
    elif word != "comment":
        raise line.error(f"the keyword {word!r} is not known.")


def _atoms(record, line, units):
    if not record["atom"] or len(record["lattice"]) not in (0, 3) or len(record["energy"]) > 1:
        raise line.error(
            f"the structure that ends here has {len(record['atom'])} atoms, {len(record['lattice'])} lattice vectors "
            f"and {len(record['energy'])} energies; expected at least one atom, none or three vectors, one energy."
        )
    symbols, numbers = zip(*record["atom"], strict=True)
    numbers = np.array(numbers)
    cell = np.array(record["lattice"]).reshape(-1, 3) if record["lattice"] else np.zeros((3, 3))
    atoms = Atoms(
        symbols,
        convert(numbers[:, :3], "distance", units, "ASE"),
        cell=convert(cell, "distance", units, "ASE"),
        pbc=bool(record["lattice"]),
    )
    results = {"forces": convert(numbers[:, 4:], "force", units, "ASE")}
    if numbers[:, 3].any():
        results["charges"] = numbers[:, 3]
    if record["energy"]:
        results["energy"] = convert(record["energy"][0][0], "energy", units, "ASE")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
