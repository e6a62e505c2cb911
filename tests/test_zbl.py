"""ZBL: LAMMPS' numbers, derivatives, and its place as a baseline."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from sklearn.base import clone

from mlfeat.neighbors import NeighborPairs
from mlfeat.potentials import ZBL
from mlfeat.testing import awkward_structures, gradient
from mlfeat.testing._descriptor import strain_derivative

REFERENCE = json.loads((Path(__file__).parent / "data" / "zbl_lammps.json").read_text(encoding="utf-8"))["pairs"]
STRUCTURES = awkward_structures(("Ni", "Mo"))


@pytest.mark.parametrize("pair", REFERENCE, ids=lambda p: f"{p['charges']}-{p['inner']}-{p['distance']:.3f}")
def test_pair_has_the_energy_and_force_of_lammps(pair):
    atoms = Atoms("HHe", [[0, 0, 0], [pair["distance"], 0, 0]])
    atoms.calc = ZBL(pair["inner"], pair["outer"], charges=dict(zip(("H", "He"), pair["charges"], strict=True)))
    # LAMMPS sums the same terms in another order.
    scale = abs(pair["energy"]) + 1e-2
    assert atoms.get_potential_energy() == pytest.approx(pair["energy"], rel=1e-11, abs=1e-12 * scale)
    np.testing.assert_allclose(atoms.get_forces()[1], [pair["force"], 0, 0], rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_and_stress_are_derivatives_of_the_energy(name):
    atoms = STRUCTURES[name].copy()
    calculator = ZBL(1.5, 3.0)

    def energy(other):
        return calculator.get_property("energy", other)

    def energy_at(positions):
        moved = atoms.copy()
        moved.positions = positions
        return energy(moved)

    forces = calculator.get_property("forces", atoms)
    slope, error = gradient(energy_at, atoms.positions)
    tolerance = 1e-6 * max(1.0, np.abs(forces).max())
    np.testing.assert_allclose(forces, -slope, atol=np.max(error) + tolerance, rtol=0)
    if atoms.cell.rank == 3:
        slope, error = strain_derivative(energy, atoms)
        stress = calculator.get_property("stress", atoms) * atoms.get_volume()
        np.testing.assert_allclose(stress, slope, atol=np.max(error) + 1e-6 * max(1.0, np.abs(stress).max()), rtol=0)


def test_energies_of_atoms_sum_to_the_energy():
    atoms = STRUCTURES[next(iter(STRUCTURES))].copy()
    atoms.calc = ZBL(1.5, 3.0)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-12)


def test_nothing_is_left_beyond_the_outer_distance():
    atoms = bulk("Mo")
    atoms.calc = ZBL(1.0, 2.0)
    assert atoms.get_potential_energy() == 0.0
    assert not atoms.get_forces().any()
    assert not atoms.get_stress().any()


def test_energy_force_and_curvature_vanish_at_the_outer_distance():
    calculator = ZBL(1.0, 2.0)
    widths = np.array([1e-2, 1e-3])
    energies = [calculator.get_property("energy", Atoms("Mo2", [[0, 0, 0], [2.0 - w, 0, 0]])) for w in widths]
    assert energies[0] > energies[1] > 0
    assert energies[0] / energies[1] == pytest.approx(1e3, rel=0.05)  # as the third power


def test_a_longer_list_gives_the_same():
    atoms = bulk("Mo", cubic=True)
    atoms.rattle(0.1, seed=0)
    calculator = ZBL(1.0, 3.0)
    near, far = (NeighborPairs.from_atoms(atoms, cutoff) for cutoff in (3.0, 5.0))
    energies, gradients = calculator.evaluate(near)
    others = calculator.evaluate(far)
    np.testing.assert_allclose(others[0], energies, rtol=1e-13)
    np.testing.assert_allclose(far.forces(others[1]), near.forces(gradients), atol=1e-12)
    with pytest.raises(ValueError, match="before outer"):
        ZBL(1.0, 4.0).evaluate(near)


def test_a_cluster_has_no_stress():
    atoms = Atoms("Mo2", [[0, 0, 0], [1.5, 0, 0]])
    atoms.calc = ZBL()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


@pytest.mark.parametrize(("inner", "outer"), [(2.0, 2.0), (3.0, 2.0), (-1.0, 2.0)])
def test_distances_in_the_wrong_order_are_refused(inner, outer):
    with pytest.raises(ValueError, match="inner < outer"):
        ZBL(inner, outer).get_property("energy", bulk("Mo"))


def test_clones_and_new_parameters_forget_old_results():
    atoms = Atoms("Mo2", [[0, 0, 0], [1.2, 0, 0]])
    calculator = ZBL(1.0, 2.0)
    before = calculator.get_property("energy", atoms)
    copy = clone(calculator)
    assert copy.get_params() == calculator.get_params()
    assert copy.results == {}
    assert calculator.set_params(outer=3.0).get_property("energy", atoms) != before
    assert ZBL(1.0, 3.0).get_property("energy", atoms) == calculator.get_property("energy", atoms)
