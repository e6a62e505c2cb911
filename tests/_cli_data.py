"""Data for tests of the command line."""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

PROPERTIES = ("energy", "forces", "stress")


def copper(n, seed, properties=PROPERTIES):
    """Distorted copper cells of two groups."""
    rng = np.random.default_rng(seed)
    structures = []
    for index in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.08, rng=rng)
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in properties}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["group"] = ["even", "odd"][index % 2]
        structures.append(atoms)
    return structures
