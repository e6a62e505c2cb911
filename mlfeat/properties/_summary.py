"""Many properties of a crystal at once, as a flat dictionary: for tables, comparisons and scores."""

import numpy as np

from mlfeat.properties._crystal import Crystal
from mlfeat.properties._dynamics import npt_stability, nve_drift
from mlfeat.properties._elastic import elastic_constants_of
from mlfeat.properties._equation_of_state import equation_of_state_of
from mlfeat.properties._lattice import cohesive_energy_of
from mlfeat.properties._migration import vacancy_migration
from mlfeat.properties._phonons import phonons, require_phonopy
from mlfeat.properties._surface import surface_energy
from mlfeat.properties._vacancy import vacancy_formation_energy

__all__ = ["crystal_properties"]

_SURFACES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
_RELAXATION = {"fmax": 1e-4, "smax": 1e-6, "max_steps": 200}
_DYNAMICS = {"temperature": 300.0, "n_steps": 300, "timestep": 2.0}


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
        What to calculate: "migration", "phonons" and "dynamics" too, which take longest.
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
        - phonons: ``lowest_frequency`` and ``highest_frequency`` (THz); the lowest is negative where it is imaginary,
          and zero of a stable crystal.
        - dynamics: ``nve_drift``, the drift of the energy (eV/atom/ps), NaN if the run fails, and ``npt_whole``, the
          share of a run at constant pressure in which the crystal stayed whole: 1 if it did to the end. Each run has
          300 steps of 2 fs at 300 K: short, a calculation of some hundred atoms at each step.

    Raises
    ------
    ImportError
        If phonons are asked for, and phonopy or seekpath are not installed: ``pip install 'mlfeat[phonons]'``.
    ValueError
        If something unknown is asked for, or a vacancy of a compound, or the structure is not periodic in three
        directions.
    RuntimeError
        If a relaxation does not converge, or the calculator gives NaN.
    """
    which = (which,) if isinstance(which, str) else tuple(which)
    unknown = [name for name in which if name not in _PIECES]
    if unknown:
        raise ValueError(f"which has {unknown[0]!r}; known are {', '.join(_PIECES)}")
    if "vacancy" in which and len(set(atoms.numbers)) > 1:
        raise ValueError(
            f"{atoms.symbols} is a compound, whose vacancies need a chemical potential: leave 'vacancy' out of which, "
            "and call vacancy_formation_energy"
        )
    if "phonons" in which:
        require_phonopy()
    crystal, energy = Crystal.from_atoms(atoms, calculator, symprec).relaxed(**_RELAXATION)
    crystal_atoms = crystal.applied_to(atoms)
    settings = {"atom_energies": atom_energies, "symprec": symprec}
    return {
        key: float(value)
        for name in which
        for key, value in _PIECES[name](crystal, energy, crystal_atoms, settings).items()
    }


def _lattice(crystal, energy, atoms, settings):
    a, b, c = crystal.lattice_constants
    cubic = len(crystal.symmetry.tensors) == 3
    lengths = {"lattice_constant": a} if cubic else {"lattice_a": a, "lattice_b": b, "lattice_c": c}
    return {**lengths, "volume": crystal.volume / crystal.n_atoms}


def _cohesive(crystal, energy, atoms, settings):
    return {"cohesive_energy": cohesive_energy_of(crystal, energy, settings["atom_energies"])}


def _elastic(crystal, energy, atoms, settings):
    found = elastic_constants_of(crystal, atoms)
    return {
        **found.constants,
        "bulk_modulus": found.bulk_modulus.hill,
        "shear_modulus": found.shear_modulus.hill,
    }


def _eos(crystal, energy, atoms, settings):
    found = equation_of_state_of(crystal, np.linspace(0.94, 1.06, 11), True, **_RELAXATION)
    return {"eos_bulk_modulus": found.bulk_modulus, "bulk_modulus_derivative": found.bulk_modulus_derivative}


def _vacancy(crystal, energy, atoms, settings):
    found = vacancy_formation_energy(atoms, crystal.calculator, symprec=settings["symprec"])
    return {"vacancy_formation_energy": found}


def _migration(crystal, energy, atoms, settings):
    found = vacancy_migration(atoms, crystal.calculator, symprec=settings["symprec"])
    return {"vacancy_migration_energy": found.barrier}


def _surface(crystal, energy, atoms, settings):
    found = {}
    for indices in _SURFACES:
        name = "surface_energy_" + "".join(str(index) for index in indices)
        found[name] = surface_energy(atoms, crystal.calculator, indices, symprec=settings["symprec"])
    return found


def _phonons(crystal, energy, atoms, settings):
    found = phonons(atoms, crystal.calculator, relax=False, symprec=settings["symprec"])
    return {"lowest_frequency": found.lowest_frequency, "highest_frequency": found.frequencies.max()}


def _dynamics(crystal, energy, atoms, settings):
    run = npt_stability(atoms, crystal.calculator, **_DYNAMICS)
    n_whole = len(run.times) - (not run.is_whole)
    try:
        drift = nve_drift(atoms, crystal.calculator, **_DYNAMICS).drift
    except RuntimeError:  # it did not come to the end
        drift = np.nan
    return {"nve_drift": drift, "npt_whole": n_whole / (_DYNAMICS["n_steps"] + 1)}


_PIECES = {
    "lattice": _lattice,
    "cohesive": _cohesive,
    "elastic": _elastic,
    "eos": _eos,
    "vacancy": _vacancy,
    "migration": _migration,
    "surface": _surface,
    "phonons": _phonons,
    "dynamics": _dynamics,
}
