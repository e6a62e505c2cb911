"""Relaxed crystals: lattice constants and cohesive energy."""

import ase
import ase.build
from ase.data import atomic_numbers, reference_states

from mlfeat.properties._calculator import energy_of
from mlfeat.properties._crystal import Crystal
from mlfeat.properties._symmetry import symmetry_of

__all__ = ["cohesive_energy", "crystal_of_element", "lattice_constants", "relax_crystal"]

_STRUCTURES = ("fcc", "bcc", "diamond", "hcp")


def relax_crystal(atoms, calculator=None, *, fmax=1e-4, smax=1e-6, max_steps=200, symprec=1e-3):
    """Relax the cell and the atoms of a crystal, with its symmetry kept.

    The primitive cell is relaxed, by a quasi-Newton method (BFGS) among the strains and displacements that leave the
    crystal as symmetric as it is: one variable for a cubic crystal with atoms at fixed places.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions. Its constraints are ignored.
    calculator : ase calculator, Pipeline, search or None
        What gives energy, forces and stress: a calculator, a fitted model or a fitted search over one; None for
        that of the atoms.
    fmax : float, default=1e-4
        Largest force left, eV/Å.
    smax : float, default=1e-6
        Largest stress left, eV/Å³ (1e-6 are 0.16 MPa).
    max_steps : int, default=200
        Most calculations.
    symprec : float or None, default=1e-3
        Distance, Å, up to which atoms count as equivalent. None relaxes everything, in the cell as it is.

    Returns
    -------
    ase.Atoms
        The same cell of the relaxed crystal, not rotated; without calculator and constraints.

    Raises
    ------
    ValueError
        If the structure is not periodic in three directions.
    RuntimeError
        If the relaxation does not converge or the crystal flies apart, or if the calculator gives NaN.
    """
    crystal = Crystal.from_atoms(atoms, calculator, symprec)
    return crystal.relaxed(fmax=fmax, smax=smax, max_steps=max_steps)[0].applied_to(atoms)


def lattice_constants(atoms, calculator=None, *, relax=True, fmax=1e-4, smax=1e-6, max_steps=200, symprec=1e-3):
    """Lengths of the lattice vectors of the conventional cell, as spglib has it.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    relax : bool, default=True
        Relax the crystal first; False needs no calculator.
    fmax, smax, max_steps, symprec : float or int
        As `relax_crystal` takes them.

    Returns
    -------
    array of shape (3,)
        The lengths a, b and c, Å.

    Raises
    ------
    ValueError, RuntimeError
        As `relax_crystal` does.
    """
    if not relax:
        symmetry = symmetry_of(atoms, symprec)
        return symmetry.lattice_constants(symmetry.cell)
    crystal = Crystal.from_atoms(atoms, calculator, symprec)
    return crystal.relaxed(fmax=fmax, smax=smax, max_steps=max_steps)[0].lattice_constants


def cohesive_energy(
    atoms, calculator=None, *, atom_energies=None, relax=True, fmax=1e-4, smax=1e-6, max_steps=200, symprec=1e-3
):
    """Energy that it takes to separate a crystal into atoms.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    atom_energies : dict or None
        Energies of isolated atoms, eV, as ``{"Mo": -4.6}``. None lets the calculator say: fitted potentials
        that have seen only condensed structures have no meaningful answer.
    relax : bool, default=True
        Relax the crystal first.
    fmax, smax, max_steps, symprec : float or int
        As `relax_crystal` takes them.

    Returns
    -------
    float
        Cohesive energy, eV/atom; positive if the crystal is bound.

    Raises
    ------
    ValueError
        If `atom_energies` lacks an element, or the structure is not periodic in three directions.
    RuntimeError
        As `relax_crystal` does.
    """
    elements = set(atoms.symbols)
    if atom_energies is not None and elements - set(atom_energies):
        raise ValueError(f"atom_energies has no energy of {', '.join(sorted(elements - set(atom_energies)))}; add it")
    crystal = Crystal.from_atoms(atoms, calculator, symprec)
    if relax:
        energy = crystal.relaxed(fmax=fmax, smax=smax, max_steps=max_steps)[1]
    else:
        energy = crystal.energy("as given")
    return cohesive_energy_of(crystal, energy, atom_energies)


def cohesive_energy_of(crystal, energy, atom_energies=None):
    """Cohesive energy of a primitive cell.

    Parameters
    ----------
    crystal : Crystal
        The primitive cell.
    energy : float
        Its energy, eV.
    atom_energies : dict or None
        As `cohesive_energy` takes it.

    Returns
    -------
    float
        Cohesive energy, eV/atom.
    """
    symbols = crystal.template.get_chemical_symbols()
    if atom_energies is None:
        atom_energies = {symbol: _atom_energy(symbol, crystal.calculator) for symbol in set(symbols)}
    return float(sum(atom_energies[symbol] for symbol in symbols) - energy) / len(symbols)


def _atom_energy(symbol, calculator):
    # In a box, as some calculators know no structure without a cell.
    atom = ase.Atoms(symbol, positions=[[10.0, 10.0, 10.0]], cell=[20.0, 20.0, 20.0], pbc=False)
    return energy_of(atom, calculator, f"an isolated atom of {symbol}; pass atom_energies to do without")


def crystal_of_element(element):
    """Crystal of an element at its experimental lattice constants, as ASE has it.

    Parameters
    ----------
    element : str
        Symbol of an element that crystallizes as fcc, bcc, diamond or hcp.

    Returns
    -------
    ase.Atoms
        Its primitive cell.

    Raises
    ------
    ValueError
        If it is no element, or has another crystal structure.
    """
    state = reference_states[atomic_numbers[element]] if element in atomic_numbers else None
    if state is None or state["symmetry"] not in _STRUCTURES:
        kind = "no known crystal" if state is None else f"the crystal structure {state['symmetry']!r}"
        raise ValueError(f"{element!r} has {kind}, known are {', '.join(_STRUCTURES)}; pass the structure itself")
    return ase.build.bulk(element)
