"""Supercells of a crystal's conventional cell, and the relaxation of atoms in them."""

from dataclasses import dataclass

import ase
import numpy as np
from ase.build import make_supercell
from ase.optimize import LBFGS

from mlfeat.properties._calculator import energy_of, forces_of
from mlfeat.properties._crystal import Crystal
from mlfeat.properties._symmetry import KINDS

__all__ = ["Supercell", "relax_atoms"]

# Cubic crystals by their numbers of atoms in the primitive and the conventional cell: bcc, fcc, diamond (or rock salt).
_REPEATS = {(1, 2): 3, (1, 4): 3, (2, 8): 2}
_LENGTH = 9.0  # Å, of the others


@dataclass(frozen=True, eq=False)
class Supercell:
    """A supercell and how it was made.

    Attributes
    ----------
    atoms : ase.Atoms
        The supercell; its first atoms are those of the primitive cell, in their order.
    primitive : ase.Atoms
        The primitive cell, relaxed if that was asked for, in the frame of the atoms as given.
    conventional : int array of shape (3, 3)
        The conventional lattice vectors are ``conventional @ primitive.cell``.
    repeats : int array of shape (3, 3)
        The supercell's lattice vectors are ``repeats @ conventional @ primitive.cell``.
    sites : int array of shape (n_atoms,)
        Atom of the primitive cell that each of the atoms as given is a copy of.
    calculator : ase calculator
        That of the atoms.
    """

    atoms: ase.Atoms
    primitive: ase.Atoms
    conventional: np.ndarray
    repeats: np.ndarray
    sites: np.ndarray
    calculator: object

    @classmethod
    def from_atoms(cls, atoms, calculator, supercell=None, *, relax, symprec, kinds=KINDS):
        """Find the primitive cell, relax it, and repeat its conventional cell.

        Parameters
        ----------
        atoms : ase.Atoms
            Any cell of the crystal.
        calculator : ase calculator, model or None
            As `as_calculator` takes it.
        supercell : int, array-like or None
            A number, three numbers or an integer matrix, by which the conventional cell is multiplied. None for 54
            atoms of bcc, 108 of fcc, 64 of diamond, and 9 Å of others.
        relax : bool
            Relax the crystal first.
        symprec : float or None
            As `symmetry_of` takes it.
        kinds : tuple of str
            As `symmetry_of` takes them.

        Returns
        -------
        Supercell
        """
        crystal = Crystal.from_atoms(atoms, calculator, symprec, kinds)
        conventional = np.round(crystal.symmetry.conventional).astype(int)
        repeats = _repeats(supercell, conventional @ crystal.cell, crystal.n_atoms, abs(np.linalg.det(conventional)))
        sites = _sites(atoms.positions, crystal)
        if relax:
            crystal, _ = crystal.relaxed(fmax=1e-4, smax=1e-5, max_steps=200)
        primitive = crystal.to_atoms()
        large = make_supercell(primitive, repeats @ conventional, wrap=False)
        return cls(large, primitive, conventional, repeats, sites, crystal.calculator)


def _repeats(supercell, cell, n_primitive, n_cells):
    """Integer matrix (3, 3) that multiplies the conventional cell."""
    if supercell is None:
        lengths = np.linalg.norm(cell, axis=1)
        is_cubic = np.allclose(cell @ cell.T, lengths[0] ** 2 * np.eye(3), atol=1e-3 * lengths[0] ** 2)
        repeats = _REPEATS.get((n_primitive, n_primitive * round(n_cells))) if is_cubic else None
        if repeats is None:
            heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
            repeats = np.ceil(_LENGTH / heights - 1e-6)
        return np.diag(np.broadcast_to(repeats, 3)).astype(int)
    matrix = np.asarray(supercell)
    if matrix.shape in ((), (3,)):
        matrix = np.diag(np.broadcast_to(matrix, 3))
    whole = matrix.shape == (3, 3) and np.array_equal(matrix, np.round(matrix))
    if not whole or round(np.linalg.det(matrix)) < 1:
        raise ValueError(
            f"supercell={supercell!r}: must be a positive whole number, three of them, "
            "or a 3 x 3 matrix of whole numbers with a positive determinant"
        )
    return matrix.astype(int)


def _sites(positions, crystal):
    gaps = (positions[:, None] - crystal.positions) @ np.linalg.inv(crystal.cell)
    return np.linalg.norm((gaps - np.round(gaps)) @ crystal.cell, axis=-1).argmin(axis=1)


def relax_atoms(atoms, calculator, what, *, fmax, max_steps):
    """Relax the atoms of a structure in place, in a cell that stays, by ASE's L-BFGS.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure; it has no calculator afterwards.
    calculator : ase calculator
        What gives energy and forces.
    what : str
        What the structure is, for error messages.
    fmax : float
        Largest force left on an atom, eV/Å.
    max_steps : int
        Most steps.

    Returns
    -------
    float
        Energy of the relaxed structure, eV.

    Raises
    ------
    RuntimeError
        If it does not converge, or if the calculator gives NaN.
    """
    atoms.calc = calculator
    optimizer = LBFGS(atoms, logfile=None)
    optimizer.attach(lambda: forces_of(atoms, calculator, f"{what} at step {optimizer.nsteps} of its relaxation"))
    try:
        converged = optimizer.run(fmax=fmax, steps=max_steps)
    except Exception as error:
        error.add_note(f"in the relaxation of {what}, at step {optimizer.nsteps}")
        raise
    atoms.calc = None
    if not converged:
        raise RuntimeError(
            f"the relaxation of {what} has not reached fmax={fmax:g} eV/Å in {max_steps} steps; "
            "raise max_steps, or check that the potential is smooth and keeps the crystal whole"
        )
    return energy_of(atoms, calculator, what)
