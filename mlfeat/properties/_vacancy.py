"""Formation energy of a vacancy."""

import numpy as np

from mlfeat.properties._calculator import energy_of
from mlfeat.properties._supercell import Supercell, relax_atoms

__all__ = ["vacancy_formation_energy"]


def vacancy_formation_energy(
    atoms,
    calculator=None,
    *,
    supercell=None,
    index=0,
    chemical_potential=None,
    relax=True,
    fmax=0.01,
    max_steps=500,
    symprec=1e-3,
):
    r"""Energy that it takes to move an atom of a crystal to where atoms are at home.

    With E(N) the energy of a supercell of N atoms and E(N - 1) that without one,

    .. math:: E_\mathrm{f} = E(N - 1) - E(N) + \mu,

    where the chemical potential of the atom is E(N) / N in a crystal of one element. The cell is that of the crystal:
    the vacancy forms at constant volume.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    supercell : int, array-like of shape (3,) or (3, 3), or None
        Multiples of the conventional cell. None takes those of [1]_: 54 atoms of bcc, 108 of fcc, 64 of diamond (and of
        rock salt and zinc blende); other crystals at least 9 Å between opposite faces.
    index : int, default=0
        Atom of `atoms` that is missing: where not all sites are equivalent, it matters.
    chemical_potential : float or None
        Energy of the atom where it goes, eV. It must be given for a compound.
    relax : bool, default=True
        Relax the crystal first, then the atoms around the vacancy. False leaves all where they are.
    fmax : float, default=0.01
        Largest force left on an atom around the vacancy, eV/Å.
    max_steps : int, default=500
        Most steps of this relaxation.
    symprec : float or None, default=1e-3
        As `relax_crystal` takes it.

    Returns
    -------
    float
        Formation energy, eV.

    Raises
    ------
    ValueError
        If a compound comes without `chemical_potential`, the structure has no atom `index`, or is not a crystal.
    RuntimeError
        If a relaxation does not converge, or if the calculator gives NaN.

    References
    ----------
    .. [1] Y. Zuo et al., J. Phys. Chem. A 2020, 124, 731.
    """
    if chemical_potential is None and len(set(atoms.numbers)) > 1:
        raise ValueError(f"{atoms.symbols} is a compound: pass the chemical_potential (eV) of the atom that is missing")
    check_index(atoms, index)
    large = Supercell.from_atoms(atoms, calculator, supercell, relax=relax, symprec=symprec)
    perfect = energy_of(large.atoms, large.calculator, "the supercell without a vacancy")
    if chemical_potential is None:
        chemical_potential = perfect / len(large.atoms)
    vacant = without(large.atoms, large.sites[index])
    what = "the supercell with a vacancy"
    if relax:
        energy = relax_atoms(vacant, large.calculator, what, fmax=fmax, max_steps=max_steps)
    else:
        energy = energy_of(vacant, large.calculator, what)
    return energy - perfect + chemical_potential


def check_index(atoms, index):
    """Check that a structure has an atom of this number.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    index : int
        The number.

    Raises
    ------
    ValueError
        If it has none.
    """
    if not -len(atoms) <= index < len(atoms):
        raise ValueError(f"index={index}: the structure has {len(atoms)} atoms")


def without(atoms, index):
    """Copy of a structure without one of its atoms.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    index : int
        Number of the atom.

    Returns
    -------
    ase.Atoms

    Raises
    ------
    ValueError
        If nothing is left.
    """
    if len(atoms) == 1:
        raise ValueError("a supercell of one atom has none beside the vacancy: make it larger")
    return atoms[np.arange(len(atoms)) != index]
