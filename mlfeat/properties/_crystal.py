"""A crystal in its primitive cell, evaluated and relaxed without losing its symmetry."""

from dataclasses import dataclass, replace

import ase
import numpy as np

from mlfeat.properties._calculator import as_calculator, energy_of, forces_of, stress_of
from mlfeat.properties._symmetry import KINDS, Symmetry, symmetry_of

__all__ = ["Crystal"]

_LONGEST = 0.05  # step of a relaxation: strain, or displacement in units of 4 Å
_LENGTH = 4.0  # Å
_MODULUS = 0.6  # eV/Å³, of the first guess of the Hessian
_APART = 3.0  # times its volume, a crystal is none


@dataclass(frozen=True, eq=False)
class Crystal:
    """A primitive cell and the calculator of its energy.

    Attributes
    ----------
    symmetry : Symmetry
        Of the crystal that this one was made of, by strains and displacements that keep it.
    cell : array of shape (3, 3)
        Rows are the primitive lattice vectors, Å.
    positions : array of shape (n_primitive, 3)
        Atoms of the primitive cell, Å.
    template : ase.Atoms
        Elements, magnetic moments and whatever else the atoms of the primitive cell have.
    calculator : ase calculator
        What gives energy, forces and stress.
    """

    symmetry: Symmetry
    cell: np.ndarray
    positions: np.ndarray
    template: ase.Atoms
    calculator: object

    @classmethod
    def from_atoms(cls, atoms, calculator, symprec, kinds=KINDS):
        """Find the primitive cell of a structure.

        Parameters
        ----------
        atoms : ase.Atoms
            Any cell of the crystal.
        calculator : ase calculator, model or None
            As `as_calculator` takes it.
        symprec : float or None
            As `symmetry_of` takes it.
        kinds : tuple of str
            As `symmetry_of` takes them.

        Returns
        -------
        Crystal
        """
        calculator = as_calculator(atoms, calculator)
        symmetry = symmetry_of(atoms, symprec, kinds)
        template = atoms[symmetry.indices]
        template.set_constraint()
        return cls(symmetry, symmetry.cell, symmetry.positions, template, calculator)

    @property
    def n_atoms(self):
        """Number of atoms of the primitive cell."""
        return len(self.positions)

    @property
    def volume(self):
        """Volume of the primitive cell, Å³."""
        return abs(np.linalg.det(self.cell))

    @property
    def lattice_constants(self):
        """Lengths (3,) of the conventional lattice vectors, Å."""
        return self.symmetry.lattice_constants(self.cell)

    def to_atoms(self):
        """Make a structure of the primitive cell.

        Returns
        -------
        ase.Atoms
            Without a calculator.
        """
        atoms = self.template.copy()
        atoms.set_cell(self.cell)
        atoms.positions[:] = self.positions
        return atoms

    def evaluate(self, what):
        """Calculate energy, forces and stress.

        Parameters
        ----------
        what : str
            What the crystal is, for the error message of a calculator that fails.

        Returns
        -------
        energy : float
            Of the primitive cell, eV.
        forces : array of shape (n_primitive, 3)
            Forces, eV/Å.
        stress : array of shape (3, 3)
            Stress, eV/Å³.

        Raises
        ------
        RuntimeError
            If one of them is not a finite number.
        """
        atoms, what = self.to_atoms(), f"the crystal {what}"
        # The energy last: most calculators know it by then.
        stress, forces, energy = (ask(atoms, self.calculator, what) for ask in (stress_of, forces_of, energy_of))
        return energy, forces, stress

    def energy(self, what):
        """Calculate the energy alone.

        Parameters
        ----------
        what : str
            As `evaluate` takes it.

        Returns
        -------
        float
            Of the primitive cell, eV.

        Raises
        ------
        RuntimeError
            If it is not a finite number.
        """
        return energy_of(self.to_atoms(), self.calculator, f"the crystal {what}")

    def deformed(self, strain, displacements=0.0):
        """Strain the crystal, then move its atoms.

        Parameters
        ----------
        strain : array of shape (3, 3)
            Added to the unit matrix, this is the deformation.
        displacements : array of shape (n_primitive, 3), default=0.0
            Å.

        Returns
        -------
        Crystal
        """
        deformation = np.eye(3) + strain
        return replace(self, cell=self.cell @ deformation.T, positions=self.positions @ deformation.T + displacements)

    def at_volume(self, volume):
        """Scale the crystal.

        Parameters
        ----------
        volume : float
            Volume of the primitive cell, Å³.

        Returns
        -------
        Crystal
        """
        return self.deformed((np.cbrt(volume / self.volume) - 1) * np.eye(3))

    def applied_to(self, atoms):
        """Structure with the cell and the positions of this crystal.

        Parameters
        ----------
        atoms : ase.Atoms
            The structure that the crystal was made of.

        Returns
        -------
        ase.Atoms
            A copy of it, without calculator and constraints.
        """
        start = self.symmetry
        inverse = np.linalg.inv(start.cell)
        gaps = (atoms.positions[:, None] - start.positions) @ inverse
        periods = np.round(gaps)
        alike = np.linalg.norm((gaps - periods) @ start.cell, axis=-1).argmin(axis=1)
        periods = periods[np.arange(len(atoms)), alike]
        moved = atoms.copy()
        moved.set_constraint()
        moved.set_cell(np.round(atoms.cell.array @ inverse) @ self.cell)
        moved.positions[:] = self.positions[alike] + periods @ self.cell
        return moved

    def relaxed(self, *, fmax, smax, max_steps, fixed_volume=False):
        """Relax cell and positions by a quasi-Newton method among strains and displacements that keep the symmetry.

        Parameters
        ----------
        fmax : float
            Largest force left, eV/Å.
        smax : float
            Largest stress left, eV/Å³.
        max_steps : int
            Most evaluations.
        fixed_volume : bool, default=False
            Keep the volume, and only relax the shape of the cell.

        Returns
        -------
        crystal : Crystal
            The relaxed one.
        energy : float
            Its energy, eV.

        Raises
        ------
        RuntimeError
            If it does not converge.
        """
        strains = _traceless(self.symmetry.strains) if fixed_volume else self.symmetry.strains
        if not len(strains) and not len(self.symmetry.displacements):  # only at fixed volume, as of a cubic crystal
            return self, self.energy("as given")
        modes = _Modes(strains, self.symmetry.displacements, fmax, smax)
        crystal, volume = self, self.volume
        energy, gradient, converged = modes.gradient(crystal, "as given")
        if converged and not gradient.any() and not fixed_volume:
            raise RuntimeError(
                "the crystal has neither forces nor stress at all: its atoms are out of each other's reach; "
                "start from a better structure"
            )
        hessian = _MODULUS * volume * np.eye(len(gradient))
        for number in range(1, max_steps):
            if converged:
                return crystal, energy
            step = -np.linalg.solve(hessian, gradient)
            step *= min(1.0, _LONGEST / np.abs(step).max())
            trial = crystal.deformed(*modes.expand(step))
            if fixed_volume:
                trial = trial.at_volume(volume)
            trial_energy, trial_gradient, small = modes.gradient(trial, f"at step {number} of its relaxation")
            hessian = _updated(hessian, step, trial_gradient - gradient)
            if trial_energy > energy + 1e-9 * abs(energy):
                hessian *= 2.0  # too far: a shorter step from where it was
            else:
                crystal, energy, gradient, converged = trial, trial_energy, trial_gradient, small
                _check_volume(crystal.volume / volume)
        if converged:
            return crystal, energy
        raise RuntimeError(
            f"the crystal is not relaxed after {max_steps} calculations (forces to {fmax:g} eV/Å, stress to {smax:g} "
            "eV/Å³); start from a better structure, raise max_steps, or check that the potential binds it"
        )


def _check_volume(ratio):
    # Atoms without neighbors have neither forces nor stress: not what is meant by relaxed.
    if not 1 / _APART < ratio < _APART:
        kind = "flies apart" if ratio > 1 else "collapses"
        raise RuntimeError(
            f"the crystal {kind}: its volume is {ratio:.2g} times what it was; "
            "start from a better structure, or check that the potential binds it"
        )


class _Modes:
    """Coordinates of a relaxation: amplitudes of strains, and of displacements in units of `_LENGTH`."""

    def __init__(self, strains, displacements, fmax, smax):
        self.strains, self.displacements = strains, displacements
        self.fmax, self.smax = fmax, smax

    def expand(self, step):
        n_strains = len(self.strains)
        strain = np.tensordot(step[:n_strains], self.strains, axes=1)
        return strain, _LENGTH * np.tensordot(step[n_strains:], self.displacements, axes=1)

    def gradient(self, crystal, what):
        """Energy, its derivative by the coordinates, and whether forces and stress are as small as asked for."""
        energy, forces, stress = crystal.evaluate(what)
        stresses = np.tensordot(self.strains, stress, axes=2)
        forces = np.tensordot(self.displacements, forces, axes=2)
        small_stress = np.abs(np.tensordot(stresses, self.strains, axes=1)).max() <= self.smax
        small_forces = np.abs(np.tensordot(forces, self.displacements, axes=1)).max(initial=0.0) <= self.fmax
        return energy, np.concatenate([stresses * crystal.volume, -_LENGTH * forces]), small_stress and small_forces


def _traceless(strains):
    """Orthonormal tensors of the span of the given ones that change no volume, to first order."""
    traces = np.trace(strains, axis1=1, axis2=2)
    values, vectors = np.linalg.eigh(np.eye(len(traces)) - np.outer(traces, traces) / (traces @ traces))
    return np.tensordot(vectors[:, values > 0.5].T, strains, axes=1)


def _updated(hessian, step, change):
    """BFGS; where the curvature along the step is not positive, the Hessian stays."""
    curvature = step @ change
    pushed = hessian @ step
    if curvature <= 1e-6 * (step @ pushed):
        return hessian
    return hessian + np.outer(change, change) / curvature - np.outer(pushed, pushed) / (step @ pushed)
