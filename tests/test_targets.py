import numpy as np
import pytest
from _radial import metals
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write

from mlfeat import get_groups, make_targets
from mlfeat.neighbors import NeighborPairs
from mlfeat.targets import TARGET_DTYPE, as_targets, baseline_targets, empty_targets

FORCES = np.arange(12.0).reshape(4, 3)
STRESS = np.array([1.0, 2, 3, 4, 5, 6])


def copper(**results):
    atoms = bulk("Cu", cubic=True)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_results_of_the_calculator_are_collected():
    (target,) = make_targets([copper(energy=-1.5, forces=FORCES, stress=STRESS)])
    assert target.dtype == TARGET_DTYPE
    assert target["energy"] == -1.5
    np.testing.assert_array_equal(target["forces"], FORCES)
    np.testing.assert_array_equal(target["stress"], STRESS)


def test_info_and_arrays_serve_where_there_is_no_calculator():
    atoms = copper()
    atoms.info.update(energy=-1.5, stress=STRESS)
    atoms.arrays["forces"] = FORCES
    (target,) = make_targets([atoms])
    assert target["energy"] == -1.5
    np.testing.assert_array_equal(target["forces"], FORCES)
    np.testing.assert_array_equal(target["stress"], STRESS)


def test_what_the_calculator_lacks_comes_from_info():
    atoms = copper(energy=-1.5)
    atoms.arrays["forces"] = FORCES
    (target,) = make_targets([atoms])
    np.testing.assert_array_equal(target["forces"], FORCES)


def test_missing_forces_and_stress_are_marked():
    (target,) = make_targets([copper(energy=-1.5)])
    assert target["forces"] is None
    assert np.isnan(target["stress"]).all()


def test_forces_and_stress_of_nothing_but_nan_are_missing():
    atoms = copper(energy=-1.5)
    atoms.arrays["forces"] = np.full((4, 3), np.nan)
    atoms.info["stress"] = np.full(6, np.nan)
    (target,) = make_targets([atoms])
    assert target["forces"] is None
    assert np.isnan(target["stress"]).all()


def test_a_live_calculator_calculates():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    (target,) = make_targets([atoms])
    assert target["energy"] == atoms.get_potential_energy()
    np.testing.assert_array_equal(target["stress"], atoms.get_stress())


def test_a_molecule_has_no_stress():
    atoms = molecule("CO")
    atoms.calc = EMT()
    assert np.isnan(make_targets([atoms])["stress"]).all()


def test_forces_are_the_raw_ones():
    atoms = copper(energy=0.0, forces=FORCES)
    atoms.set_constraint(FixAtoms([1]))
    np.testing.assert_array_equal(make_targets([atoms])["forces"][0], FORCES)


def test_stress_as_a_tensor_becomes_voigt():
    atoms = copper()
    atoms.info["energy"] = 0.0
    tensor = np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3.0]])
    for stress in (tensor, tensor.ravel()):
        atoms.info["stress"] = stress
        np.testing.assert_array_equal(make_targets([atoms])["stress"][0], STRESS)


def test_a_file_keeps_them(tmp_path):
    structures = metals(3)
    before = make_targets(structures)
    write(tmp_path / "train.xyz", structures)
    after = make_targets(read(tmp_path / "train.xyz", ":"))
    np.testing.assert_allclose(after["energy"], before["energy"], rtol=1e-7)
    for a, b in zip(after["forces"], before["forces"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)  # digits of the format


def changed(**results):
    atoms = copper(energy=-1.5)
    atoms.calc.results.update(results)
    return atoms


def moved_after_the_calculation():
    atoms = copper(energy=-1.5)
    atoms.positions[0, 0] += 0.1
    return atoms


BAD = {
    "no energy": (copper(), "structure 1 has no energy; compute it .*or remove"),
    "forces alone": (copper(forces=FORCES), "structure 1 has no energy"),
    "energy of other positions": (moved_after_the_calculation(), "structure 1 has no energy"),
    "NaN energy": (changed(energy=np.nan), "structure 1: energy must be finite"),
    "energies": (changed(energy=np.ones(4)), r"structure 1: energy of shape \(4,\), expected \(\)"),
    "NaN force": (changed(forces=np.where(FORCES == 5, np.nan, FORCES)), "structure 1: forces must be finite"),
    "forces of others": (changed(forces=FORCES[:3]), r"structure 1: forces of shape \(3, 3\), expected \(4, 3\)"),
    "infinite stress": (changed(stress=np.inf * STRESS), "structure 1: stress must be finite"),
    "pressure": (changed(stress=np.array(1.0)), r"structure 1: stress of shape \(\), expected \(6,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_targets_are_refused_by_number(name):
    atoms, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make_targets([copper(energy=0.0), atoms])


def test_one_structure_must_be_in_a_list():
    with pytest.raises(TypeError, match=r"pass \[atoms\]"):
        make_targets(copper(energy=0.0))


def test_plain_numbers_are_energies():
    targets = as_targets([1, 2.5, 3], 3)
    np.testing.assert_array_equal(targets["energy"], [1, 2.5, 3])
    assert all(forces is None for forces in targets["forces"])
    assert np.isnan(targets["stress"]).all()


def test_targets_pass_through():
    targets = make_targets(metals(2))
    assert as_targets(targets, 2) is targets


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(2), "y has 2 rows for 3 structures"),
        (np.ones((3, 1)), "make_targets"),
        (None, "make_targets"),
        (["a", "b", "c"], "make_targets"),
        (np.zeros(3, dtype=[("energy", float)]), "no field forces, stress"),
        ([1.0, np.nan, 2.0], "structure 1: the energy is nan"),
        (empty_targets(3), "structure 0: the energy is nan"),
    ],
    ids=str,
)
def test_other_targets_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        as_targets(y, 3)


def test_groups_come_from_info():
    structures = [copper(), copper(), copper()]
    structures[0].info["group"] = "hot"
    structures[1].info["group"] = 3
    assert get_groups(structures).tolist() == ["hot", "3", ""]
    assert get_groups([]).dtype.kind == "U"


def test_a_baseline_is_evaluated_at_the_pairs_structure():
    atoms = metals(1)[0]
    energy, forces, stress = baseline_targets(EMT(), NeighborPairs.from_atoms(atoms, 3.0))
    assert energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(forces, atoms.get_forces())
    np.testing.assert_array_equal(stress, atoms.get_stress())


class NoStress(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms, properties, changes):
        self.results = {"energy": 1.0, "forces": np.zeros((len(atoms), 3))}


def test_a_baseline_may_lack_stress():
    for atoms, baseline in ((bulk("Cu"), NoStress()), (molecule("CO"), EMT()), (Atoms("Cu"), EMT())):
        assert np.isnan(baseline_targets(baseline, NeighborPairs.from_atoms(atoms, 3.0))[2]).all()
