"""Many properties of a crystal at once, as a flat dictionary: for tables, comparisons and scores."""

import numpy as np

from mlfeat.properties._crystal import Crystal
from mlfeat.properties._elastic import elastic_constants_of
from mlfeat.properties._equation_of_state import equation_of_state_of
from mlfeat.properties._lattice import cohesive_energy_of

__all__ = ["crystal_properties"]

_SURFACES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
_RELAXATION = {"fmax": 1e-4, "smax": 1e-6, "max_steps": 200}


def crystal_properties(
    atoms,
    calculator=None,
    which=("lattice", "cohesive", "elastic", "eos", "vacancy", "surface"),
    *,
    atom_energies=None,
    symprec=1e-3,
):
    """Calculate properties of a crystal, which is relaxed first.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    which : sequence of str, default=("lattice", "cohesive", "elastic", "eos", "vacancy", "surface")
        What to calculate: "migration" too, which takes longest.
    atom_energies : dict or None
        Energies of isolated atoms for the cohesive energy, as `cohesive_energy` takes them.
    symprec : float or None, default=1e-3
        As `relax_crystal` takes it.

    Returns
    -------
    dict of str to float
        Keys and units by what was asked for:

        - lattice: ``lattice_constant`` (Å) of a cubic crystal, else ``lattice_a``, ``lattice_b``, ``lattice_c``;
          ``volume`` (Å³/atom).
        - cohesive: ``cohesive_energy`` (eV/atom).
        - elastic: the independent constants in the standard orientation, as ``C11``, ``C12``, ``C44``;
          ``bulk_modulus`` and ``shear_modulus``, Hill's averages (all in GPa).
        - eos: ``eos_bulk_modulus`` (GPa) and ``bulk_modulus_derivative`` of the equation of state.
        - vacancy: ``vacancy_formation_energy`` (eV); migration: ``vacancy_migration_energy`` (eV).
        - surface: ``surface_energy_100``, ``surface_energy_110``, ``surface_energy_111`` (J/m²).

    Raises
    ------
    ValueError
        If something unknown is asked for, or the structure is not periodic in three directions.
    RuntimeError
        If a relaxation does not converge, or the calculator gives NaN.
    """
    which = (which,) if isinstance(which, str) else tuple(which)
    unknown = [name for name in which if name not in _PIECES]
    if unknown:
        raise ValueError(f"which has {unknown[0]!r}; known are {', '.join(_PIECES)}")
    crystal, energy = Crystal.from_atoms(atoms, calculator, symprec).relaxed(**_RELAXATION)
    crystal_atoms = crystal.applied_to(atoms)
    return {
        key: float(value)
        for name in which
        for key, value in _PIECES[name](crystal, energy, crystal_atoms, atom_energies).items()
    }


def _lattice(crystal, energy, atoms, atom_energies):
    a, b, c = crystal.lattice_constants
    cubic = len(crystal.symmetry.tensors) == 3
    lengths = {"lattice_constant": a} if cubic else {"lattice_a": a, "lattice_b": b, "lattice_c": c}
    return {**lengths, "volume": crystal.volume / crystal.n_atoms}


def _cohesive(crystal, energy, atoms, atom_energies):
    return {"cohesive_energy": cohesive_energy_of(crystal, energy, atom_energies)}


def _elastic(crystal, energy, atoms, atom_energies):
    found = elastic_constants_of(crystal, atoms)
    return {
        **found.constants,
        "bulk_modulus": found.bulk_modulus.hill,
        "shear_modulus": found.shear_modulus.hill,
    }


def _eos(crystal, energy, atoms, atom_energies):
    found = equation_of_state_of(crystal, np.linspace(0.94, 1.06, 11), True, **_RELAXATION)
    return {"eos_bulk_modulus": found.bulk_modulus, "bulk_modulus_derivative": found.bulk_modulus_derivative}


def _vacancy(crystal, energy, atoms, atom_energies):
    from mlfeat.properties._vacancy import vacancy_formation_energy

    return {"vacancy_formation_energy": vacancy_formation_energy(atoms, crystal.calculator)}


def _migration(crystal, energy, atoms, atom_energies):
    from mlfeat.properties._migration import vacancy_migration

    return {"vacancy_migration_energy": vacancy_migration(atoms, crystal.calculator).barrier}


def _surface(crystal, energy, atoms, atom_energies):
    from mlfeat.properties._surface import surface_energy

    found = {}
    for indices in _SURFACES:
        name = "surface_energy_" + "".join(str(index) for index in indices)
        found[name] = surface_energy(atoms, crystal.calculator, indices)
    return found


_PIECES = {
    "lattice": _lattice,
    "cohesive": _cohesive,
    "elastic": _elastic,
    "eos": _eos,
    "vacancy": _vacancy,
    "migration": _migration,
    "surface": _surface,
}
