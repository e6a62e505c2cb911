"""Structures of pymatgen with what was calculated, as in the mlearn and maml data sets."""

import gzip
import json
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers

from mlfeat.io._structures_keys import find

SHEARS = ("yz", "xz", "xy")  # ASE's order
VASP_ORDER = ("xy", "yz", "xz")
_BLANKS = " \t\n\r"


def read_json(path, shear_order=None):
    """Yield the structures of a file.

    Parameters
    ----------
    path : path-like
        A list of records, or one.
    shear_order : sequence of str, or dict, default=None
        What the last three numbers of ``virial_stress`` are; a dict has one for each group.

    Yields
    ------
    ase.Atoms
        What was calculated is in ``info`` and ``arrays``, the stress in ASE's conventions.

    Raises
    ------
    ValueError
        If the file is not such a one, or is truncated.
    """
    orders = _orders(shear_order)
    opened = gzip.open if Path(path).suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        text = stream.read()
    for record in _records(text):
        yield _atoms(record, orders)


def _orders(shear_order):
    given = shear_order if isinstance(shear_order, dict) else {"": shear_order or VASP_ORDER}
    for group, order in given.items():
        if sorted(order) != sorted(SHEARS):
            raise ValueError(f"shear_order={order!r} (group {group!r}): should be xy, yz and xz in some order")
    return {"": VASP_ORDER} | given


def _records(text):
    """Each of the list's members as soon as it is complete."""
    decoder, place = json.JSONDecoder(), _skip(text, 0, _BLANKS)
    if text[place : place + 1] != "[":
        yield decoder.raw_decode(text, place)[0]
        return
    place = _skip(text, place + 1, _BLANKS)
    while text[place : place + 1] != "]":
        record, place = decoder.raw_decode(text, place)  # an error says where, also where the text ends
        yield record
        place = _skip(text, place, _BLANKS)
        if text[place : place + 1] not in (",", "]") or place >= len(text):
            raise ValueError(f"the list of structures is not ended: expected ',' or ']' at character {place}")
        place = _skip(text, place, "," + _BLANKS)


def _skip(text, place, characters):
    while place < len(text) and text[place] in characters:
        place += 1
    return place


def _atoms(record, orders):
    try:
        structure, outputs = record["structure"], dict(record["outputs"])
        symbols = [_symbol(site["species"]) for site in structure["sites"]]
        cell = np.array(structure["lattice"]["matrix"], dtype=float).reshape(3, 3)
        scaled = np.array([site["abc"] for site in structure["sites"]], dtype=float).reshape(-1, 3)
        pbc = structure["lattice"].get("pbc", True)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{type(error).__name__}: {error}; expected a record with 'structure' (lattice, sites) and 'outputs'"
        ) from error
    atoms = Atoms(symbols, scaled_positions=scaled, cell=cell, pbc=pbc)
    atoms.info.update({k: v for k, v in record.items() if isinstance(v, str | int | float)})
    virial_stress = outputs.pop("virial_stress", None)
    for key, value in outputs.items():
        if np.shape(value) == (len(atoms), 3):
            atoms.set_array(key, np.array(value, dtype=float))
        elif value is not None and find([{key: value}], "forces"):
            raise ValueError(f"{key} of shape {np.shape(value)} for {len(atoms)} atoms")
        elif value is not None:
            atoms.info[key] = value
    if virial_stress is not None:
        if "stress" in outputs:
            raise ValueError("both 'virial_stress' and 'stress'; leave one of them out")
        atoms.info["stress"] = _stress(virial_stress, orders.get(str(record.get("group", "")), orders[""]))
    return atoms


def _symbol(species):
    if len(species) != 1 or species[0].get("occu", 1) != 1 or atomic_numbers.get(species[0]["element"], 0) < 1:
        raise ValueError(f"a site is occupied by {species!r}; only sites of one element each are structures of atoms")
    return species[0]["element"]


def _stress(values, order):
    values = np.array(values, dtype=float)
    if values.shape != (6,):
        raise ValueError(f"virial_stress of shape {values.shape}, expected six numbers")
    shears = dict(zip(order, values[3:], strict=True))
    return -0.1 * units.GPa * np.array([*values[:3], *(shears[name] for name in SHEARS)])
