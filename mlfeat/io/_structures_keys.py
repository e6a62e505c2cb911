"""Energies, forces and stresses under the names that files give them."""

import re

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from mlfeat.targets import _checked, _is_missing

_SOURCE = "dft|ref|mace_ref|qm|vasp|pbe"
NAMES = {"energy": "(total_|potential_)?energy", "forces": "forces?", "stress": "stress", "virial": "virials?"}
_PATTERNS = {
    name: re.compile(f"(({_SOURCE})_)?{core}(_({_SOURCE}))?", re.IGNORECASE | re.ASCII) for name, core in NAMES.items()
}


def find(stores, name, key=None):
    """Names under which a quantity is in some dicts.

    Parameters
    ----------
    stores : list of dict
        Where to look, the first one first.
    name : {"energy", "forces", "stress", "virial"}
        The quantity.
    key : str, default=None
        The only name that counts; None: the usual ones.

    Returns
    -------
    list of (dict, str)
        Where it is, and its name; one that is the quantity's own comes first.
    """
    if key is not None:
        return [(store, key) for store in stores if key in store]
    found = [(store, k) for store in stores for k in store if isinstance(k, str) and _PATTERNS[name].fullmatch(k)]
    return sorted(found, key=lambda item: item[1] != name)


def settle(atoms, keys):
    """Give a structure a calculator that holds its energy, forces and stress, under ASE's names and conventions.

    Parameters
    ----------
    atoms : ase.Atoms
        As a reader made it: what it did not know is in ``info`` and ``arrays``. What is used is taken out there.
    keys : dict
        Names of "energy", "forces", "stress" and "virial", or None where the usual ones are to be found.

    Returns
    -------
    list of (str, str)
        Names that were taken, and others for the same quantity with other numbers.

    Raises
    ------
    ValueError
        If something is of another shape, or not finite.
    """
    results = dict(getattr(atoms.calc, "results", {}))
    ambiguous, values = [], {}
    for name, key in keys.items():
        found = find([results, atoms.arrays if name == "forces" else atoms.info], name, key)
        taken = [np.asarray(store.pop(k)) for store, k in found[:1]]
        if key is not None:  # what has the usual name is something else then
            results.pop("stress" if name == "virial" else name, None)
        for store, k in found[1:]:
            if not np.array_equal(np.ravel(taken[0]), np.ravel(store[k])):
                ambiguous.append((found[0][1], k))
        if taken and not _empty(taken[0], name):
            values[name] = taken[0]
    results |= _converted(values, keys, atoms)
    atoms.calc = SinglePointCalculator(atoms, **results) if results else None
    return ambiguous


def _empty(value, name):
    try:
        none = value.size == 0 or value.dtype == object and value.ndim == 0
        return none or name != "energy" and _is_missing(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} should be numbers, not {value!r:.60}") from None


def _converted(values, keys, atoms):
    """Results in ASE's conventions."""
    results = {}
    if "energy" in values:
        results["energy"] = float(_checked(values["energy"].reshape(-1)[:2].squeeze(), (), "energy", 0))
    if "forces" in values:
        results["forces"] = _checked(values["forces"], (len(atoms), 3), "forces", 0)
    by_virial = "virial" in values and (keys["virial"] is not None or "stress" not in values)
    if by_virial and atoms.cell.rank == 3:
        results["stress"] = -_voigt(values["virial"], "virial") / atoms.get_volume()
    elif "stress" in values and not by_virial:
        results["stress"] = _voigt(values["stress"], "stress")
    return results


def _voigt(value, name):
    if value.size == 9:
        value = full_3x3_to_voigt_6_stress(value.reshape(3, 3).astype(float))
    return _checked(value, (6,), name, 0)
