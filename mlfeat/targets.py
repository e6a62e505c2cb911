"""Targets: energies, forces and stresses of structures, one row a structure."""

import math

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from mlfeat.neighbors import check_structures, voigt

__all__ = ["TARGET_DTYPE", "as_targets", "baseline_targets", "get_groups", "make_targets"]

TARGET_DTYPE = np.dtype([("energy", "f8"), ("forces", object), ("stress", "f8", (6,))])


def make_targets(structures):
    """Collect what a potential learns.

    Energies, forces and stress come from each structure's calculator (what ``ase.io.read`` attaches), or else from
    ``atoms.info["energy"]``, ``atoms.arrays["forces"]`` and ``atoms.info["stress"]``. Forces are the raw ones: constraints
    are ignored.

    Parameters
    ----------
    structures : list of ase.Atoms

    Returns
    -------
    structured array of shape (n_structures,)
        Fields ``energy`` (eV), ``forces`` (an (n_atoms, 3) array in eV/Å, or None where missing), ``stress`` ((6,) Voigt
        xx yy zz yz xz xy in eV/Å³, ASE's sign; NaN where missing).

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
    """Targets of `n` structures with everything missing."""
    targets = np.empty(n, dtype=TARGET_DTYPE)
    targets["energy"] = math.nan
    targets["forces"] = None
    targets["stress"] = math.nan
    return targets


def as_targets(y, n):
    """Targets as a structured array of `n` rows; a plain array of floats is energies only.

    Raises
    ------
    ValueError
        If the length or the fields are wrong, or if an energy is NaN.
    """
    if y is None:
        raise ValueError("y is None: pass make_targets(structures), or an array of energies")
    y = np.asarray(y)
    if y.dtype.names is None:
        targets = empty_targets(n if y.ndim == 0 else len(y))
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}: pass make_targets(structures), or energies (n_structures,)")
        targets["energy"] = y
    elif set(TARGET_DTYPE.names) <= set(y.dtype.names):
        targets = y
    else:
        raise ValueError(f"y has fields {y.dtype.names}, expected {TARGET_DTYPE.names}; use make_targets(structures)")
    if len(targets) != n:
        raise ValueError(f"y has {len(targets)} rows for {n} structures")
    bad = ~np.isfinite(targets["energy"])
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"structure {index}: the energy is {targets['energy'][index]}; remove it or compute it")
    return targets


def get_groups(structures):
    """The group of each structure, ``atoms.info["group"]`` or "", for `GroupKFold` and for group weights.

    Returns
    -------
    array of str, shape (n_structures,)
    """
    return np.array([get_group(atoms) for atoms in structures])


def get_group(atoms):
    """The group of one structure as a string."""
    return str(atoms.info.get("group", ""))


def baseline_targets(baseline, pairs):
    """Energy (eV), forces (N, 3) and stress (6,) that an ASE calculator gives for the structure of `pairs`.

    The stress is NaN where the calculator or the structure has none.
    """
    atoms = pairs.to_atoms()
    atoms.calc = baseline
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    stress = _from_calculator(atoms, "stress")
    return energy, forces, np.full(6, math.nan) if stress is None else stress


def _from_calculator(atoms, name):
    if atoms.calc is None or (name == "stress" and atoms.cell.rank < 3):
        return None
    try:
        return atoms.calc.get_property(name, atoms)
    except (PropertyNotImplementedError, NotImplementedError):
        return None


def _energy(atoms, index):
    energy = _from_calculator(atoms, "energy")
    if energy is None:
        energy = atoms.info.get("energy")
    if energy is None:
        raise ValueError(
            f"structure {index} has no energy; attach a calculator, set atoms.info['energy'] (eV), or remove the structure"
        )
    return float(_checked(energy, (), "energy", index))


def _forces(atoms, index):
    forces = _from_calculator(atoms, "forces")
    if forces is None:
        forces = atoms.arrays.get("forces")
    return None if forces is None else _checked(forces, (len(atoms), 3), "forces", index)


def _stress(atoms, index):
    stress = _from_calculator(atoms, "stress")
    if stress is None:
        stress = atoms.info.get("stress")
    if stress is None:
        return np.full(6, math.nan)
    stress = np.asarray(stress, dtype=float)
    if stress.size == 9:
        stress = voigt(stress.reshape(3, 3))
    return _checked(stress, (6,), "stress", index)


def _checked(value, shape, name, index):
    value = np.array(value, dtype=float)
    if value.shape != shape:
        raise ValueError(f"structure {index}: {name} of shape {value.shape}, expected {shape}; repair or remove it")
    if not np.isfinite(value).all():
        raise ValueError(f"structure {index}: {name} must be finite, got NaN or infinity; remove it or the structure")
    return value
