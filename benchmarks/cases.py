"""What is measured: crystals near room temperature, and the published models for them."""

import os
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.build import bulk

from mlfeat.calculator import PotentialCalculator
from mlfeat.io import read_snap

SHARED = Path(os.environ.get("MLFEAT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
LATTICE = {"Mo": ("bcc", 3.1698), "Ni": ("fcc", 3.52), "Si": ("diamond", 5.43)}
DISPLACEMENT = 0.06  # Å along each axis, root mean square: about that of Mo at 300 K
SKIN = 0.5  # Å, for both programs


class Case(NamedTuple):
    """A published model and a bulk cell of n³ conventional cells for it."""

    element: str
    method: str  # snap or qsnap
    repeat: int

    @property
    def files(self):
        """Paths of coefficients and parameters."""
        stem = SHARED / "models" / self.element / self.method / "SNAPotential"
        return stem.with_suffix(".snapcoeff"), stem.with_suffix(".snapparam")

    def model(self):
        """The published model, read."""
        return read_snap(*self.files)

    def atoms(self):
        """The cell, with its atoms displaced."""
        structure, constant = LATTICE[self.element]
        atoms = bulk(self.element, structure, a=constant, cubic=True).repeat(self.repeat)
        atoms.rattle(DISPLACEMENT, seed=1)
        return atoms


class Dynamics:
    """Evaluations of energy, forces and stress as molecular dynamics asks for them: the atoms move a little in between.

    They move to and fro, within the skin of one neighbor list.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
        mlfeat's or another program's.
    atoms : ase.Atoms
        Where to begin.
    """

    def __init__(self, calculator, atoms):
        self.atoms = atoms.copy()
        self.atoms.calc = calculator
        self.places = cycle(atoms.positions + 0.002 * k * _directions(len(atoms)) for k in (0, 1, 2, 3, 2, 1))

    def step(self, n_steps):
        """Evaluate after each of some steps."""
        for _ in range(n_steps):
            self.atoms.positions = next(self.places)
            self.atoms.get_forces()
            self.atoms.get_potential_energy()
            self.atoms.get_stress()

    @property
    def n_list_builds(self):
        """How often mlfeat's neighbor list was built."""
        return self.atoms.calc.n_list_builds


def model_dynamics(model, atoms, n_threads=1):
    """`Dynamics` of a model by mlfeat."""
    return Dynamics(PotentialCalculator(model, skin=SKIN, n_threads=n_threads), atoms)


def _directions(n_atoms):
    return np.random.default_rng(2).normal(size=(n_atoms, 3))
