"""Targets: energies, forces and stresses of structures, one row a structure."""

import copy
import math

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from mlfeat.neighbors import check_structures, voigt

__all__ = ["TARGET_DTYPE", "as_targets", "baseline_targets", "get_groups", "make_targets"]

TARGET_DTYPE = np.dtype([("energy", "f8"), ("forces", object), ("stress", "f8", (6,))])


def make_targets(structures):
    """Collect what a potential learns from.

    Energies, forces and stresses come from each structure's calculator (where ``ase.io.read`` puts them), or else from
    ``atoms.info["energy"]``, ``atoms.arrays["forces"]`` and ``atoms.info["stress"]``. Forces are the raw ones:
    constraints do not act on them.

    Parameters
    ----------
    structures : list of ase.Atoms
        Structures with at least an energy each.

    Returns
    -------
    structured array of shape (n_structures,)
        Fields ``energy`` (eV), ``forces`` (an (n_atoms, 3) array in eV/Å, or None where missing) and ``stress`` ((6,),
        Voigt xx yy zz yz xz xy, ASE's sign, eV/Å³; NaN where missing).

    Raises
    ------
    ValueError
        If an energy is missing, or if a number is NaN or has the wrong shape; names the structure's index.
    """
    structures = check_structures(structures)
    targets = empty_targets(len(structures))
    for index, atoms in enumerate(structures):
        targets[index] = _energy(atoms, index), _forces(atoms, index), _stress(atoms, index)
    return targets


def empty_targets(n):
    """Make targets with everything missing.

    Parameters
    ----------
    n : int
        Number of structures.

    Returns
    -------
    structured array of shape (n,)
        Energies and stresses NaN, forces None.
    """
    targets = np.empty(n, dtype=TARGET_DTYPE)
    targets["energy"] = math.nan
    targets["forces"] = None
    targets["stress"] = math.nan
    return targets


def as_targets(y, n):
    """Check targets and bring them into their form.

    Parameters
    ----------
    y : structured array of shape (n,), or array of float of shape (n,)
        As from :func:`mlfeat.make_targets`; plain numbers are energies only.
    n : int
        Number of structures.

    Returns
    -------
    structured array of shape (n,)
        As from :func:`mlfeat.make_targets`.

    Raises
    ------
    ValueError
        If the number of rows or the fields are wrong, or if an energy is not finite.
    """
    y = np.asarray(y)
    if y.dtype.names is not None:
        missing = set(TARGET_DTYPE.names) - set(y.dtype.names)
        if missing:
            raise ValueError(f"y has no field {', '.join(sorted(missing))}; use make_targets(structures)")
        targets = y
    elif y.ndim == 1 and y.dtype.kind in "fiu":
        targets = empty_targets(len(y))
        targets["energy"] = y
    else:
        raise ValueError(
            f"y is of type {y.dtype} and shape {y.shape}; pass make_targets(structures), or energies (n_structures,)"
        )
    if targets.shape != (n,):
        raise ValueError(f"y has {targets.size} rows for {n} structures; pass one row a structure")
    finite = np.isfinite(targets["energy"])
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(
            f"structure {index}: the energy is {targets['energy'][index]}; compute it, or remove the structure"
        )
    return targets


def get_groups(structures):
    """Collect the group of each structure, for `GroupKFold` and for group weights.

    Parameters
    ----------
    structures : list of ase.Atoms
        Their groups are ``atoms.info["group"]``.

    Returns
    -------
    array of str, shape (n_structures,)
        "" where there is none.
    """
    return np.array([get_group(atoms) for atoms in structures], dtype=str)


def get_group(atoms):
    """Look up the group of a structure.

    Parameters
    ----------
    atoms : ase.Atoms
        Its group is ``atoms.info["group"]``.

    Returns
    -------
    str
        "" if there is none.
    """
    return str(atoms.info.get("group", ""))


def baseline_targets(baseline, pairs):
    """Evaluate a baseline.

    Parameters
    ----------
    baseline : ASE calculator
        Gives energy and forces; its stress is optional.
    pairs : NeighborPairs
        The structure.

    Returns
    -------
    energy : float
        Energy, eV.
    forces : array of shape (n_atoms, 3)
        Forces, eV/Å.
    stress : array of shape (6,)
        Stress, eV/Å³; NaN if the calculator or the structure has none.
    """
    atoms = pairs.to_atoms()
    atoms.calc = copy.deepcopy(baseline)  # what a calculation leaves behind must not end up in the model
    stress = _calculated(atoms, "stress")
    stress = np.full(6, math.nan) if stress is None else np.array(stress, dtype=float)
    return float(atoms.get_potential_energy()), np.array(atoms.get_forces(), dtype=float), stress


def _calculated(atoms, name):
    """What the calculator says, or None."""
    if atoms.calc is None or (name == "stress" and atoms.cell.rank < 3):
        return None
    try:
        return atoms.calc.get_property(name, atoms)
    except (PropertyNotImplementedError, NotImplementedError):
        return None


def _energy(atoms, index):
    energy = _calculated(atoms, "energy")
    if energy is None:
        energy = atoms.info.get("energy")
    if energy is None:
        raise ValueError(
            f"structure {index} has no energy; compute it with a calculator, set atoms.info['energy'] (eV), "
            "or remove the structure"
        )
    return float(_checked(energy, (), "energy", index))


def _forces(atoms, index):
    forces = _calculated(atoms, "forces")
    if forces is None:
        forces = atoms.arrays.get("forces")
    return None if _is_missing(forces) else _checked(forces, (len(atoms), 3), "forces", index)


def _stress(atoms, index):
    stress = _calculated(atoms, "stress")
    if stress is None:
        stress = atoms.info.get("stress")
    if _is_missing(stress):
        return np.full(6, math.nan)
    if np.size(stress) == 9:
        stress = voigt(np.reshape(np.asarray(stress, dtype=float), (3, 3)))
    return _checked(stress, (6,), "stress", index)


def _is_missing(value):
    return value is None or bool(np.isnan(np.asarray(value, dtype=float)).all())


def _checked(value, shape, name, index):
    value = np.array(value, dtype=float)
    if value.shape != shape:
        raise ValueError(f"structure {index}: {name} of shape {value.shape}, expected {shape}; repair or remove it")
    if not np.isfinite(value).all():
        raise ValueError(f"structure {index}: {name} must be finite, got NaN or infinity; repair or remove it")
    return value
