"""Whether stresses are told to be what energies say, on EMT with errors put in, and on data with known ones."""

import re
from itertools import permutations

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mlfeat.io import check_stress, read_structures
from mlfeat.targets import get_groups

ASE_ORDER = ("yz", "xz", "xy")
SHEARED = [(0, 1), (0, 2), (1, 2)]  # xy, xz, yz


def calculated(atoms):
    atoms = atoms.copy()
    atoms.calc = EMT()
    return {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}


def strained(planes=SHEARED, rattle=0.0, orthorhombic=True, seed=0):
    """A crystal under axial strains, and shears in some planes. It is no cubic one, so that shears differ."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True)
    if orthorhombic:
        atoms.set_cell(atoms.cell.array @ np.diag([1.0, 1.02, 0.97]), scale_atoms=True)
    strains = [np.diag(e * np.eye(3)[k]) for k in range(3) for e in (-0.03, -0.015, 0.015, 0.03)] + [np.zeros((3, 3))]
    for plane in planes:
        for gamma in (-0.04, -0.02, 0.02, 0.04):
            strain = np.zeros((3, 3))
            strain[plane] = gamma
            strains.append(strain)
    found = []
    for strain in strains:
        copy = atoms.copy()
        copy.set_cell(copy.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        copy.positions += rattle * rng.uniform(-1, 1, (len(copy), 3)) + rng.uniform(0, 3, 3)  # and moved as a whole
        found.append((copy, calculated(copy)))
    return found


CRYSTALS = strained()


def with_stresses(change, crystals=CRYSTALS, forces=True):
    structures = []
    for atoms, results in crystals:
        atoms = atoms.copy()
        own = dict(results, stress=change(results["stress"], atoms))
        if not forces:
            own.pop("forces")
        atoms.calc = SinglePointCalculator(atoms, **own)
        structures.append(atoms)
    return structures


def test_right_stresses_are_right():
    check = check_stress(with_stresses(lambda stress, atoms: stress))
    assert check.contradictions == []
    assert check.factor == pytest.approx(1, abs=0.02)
    assert (check.factor_certain, check.shear_certain, check.shear_orders) == (True, True, [ASE_ORDER])
    assert abs(check.offset) < 0.2 * units.GPa
    assert check.n_shear_pairs > 10
    assert "CONTRADICTION" not in str(check)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize(
    ("factor", "unit", "text"),
    [
        (1.0, "eV/Å³", ""),
        (-1.0, "eV/Å³", "multiplied by -1.*positive under compression"),
        (-10 / units.GPa, "kbar", "look like kbar, positive under compression"),
        (1 / units.GPa, "GPa", "look like GPa"),
    ],
)
def test_sign_unit_and_order_are_found_together(order, factor, unit, text):
    check = check_stress(with_stresses(lambda s, atoms: factor * np.concatenate([s[:3], s[3:][list(order)]])))
    assert check.factor == pytest.approx(1 / factor, rel=0.03)
    assert check.factor_certain
    assert check.unit == unit
    assert check.shear_orders == [tuple(ASE_ORDER[k] for k in order)]
    messages = check.contradictions
    assert len(messages) == (factor != 1.0) + (order != (0, 1, 2))
    if text:
        assert re.search(text, messages[0])
    if order != (0, 1, 2):
        assert " ".join(ASE_ORDER[k] for k in order) in messages[-1]


def test_a_virial_for_a_stress():
    check = check_stress(with_stresses(lambda s, atoms: -s * atoms.get_volume()))
    assert check.unit == "a virial, not divided by the volume"
    assert check.factor < 0


def test_an_offset():
    pressure = 3 * units.GPa
    check = check_stress(with_stresses(lambda s, atoms: s + pressure * np.array([1, 1, 1, 0, 0, 0])))
    assert check.offset == pytest.approx(pressure, rel=0.05)
    assert len(check.contradictions) == 1
    assert "too large by a pressure of" in check.contradictions[0]


def test_shears_that_are_wrong_in_any_order():
    check = check_stress(with_stresses(lambda s, atoms: s * np.array([1, 1, 1, -0.3, -0.3, -0.3])))
    assert check.shear_orders == []
    assert check.factor == pytest.approx(1, abs=0.03)
    assert "in no order" in check.contradictions[0]


def test_one_plane_leaves_two_orders():
    crystals = strained([(1, 2)])
    check = check_stress(with_stresses(lambda s, atoms: s, crystals))
    assert set(check.shear_orders) == {ASE_ORDER, ("yz", "xy", "xz")}
    assert not check.shear_certain
    assert check.contradictions == []
    check = check_stress(with_stresses(lambda s, atoms: s[[0, 1, 2, 5, 3, 4]], crystals))  # VASP's order
    assert set(check.shear_orders) == {("xy", "yz", "xz"), ("xz", "yz", "xy")}
    assert len(check.contradictions) == 1


def randomly_strained(n, size, seed):
    """Copies of a cubic crystal under any strains."""
    rng = np.random.default_rng(seed)
    found = []
    for strain in rng.uniform(-size, size, (n, 3, 3)):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        found.append((atoms, calculated(atoms)))
    return found


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_few_crystals_that_are_right_are_not_called_wrong(n):
    for seed in range(12):
        check = check_stress(with_stresses(lambda s, atoms: s, randomly_strained(n, 0.05, seed)))
        assert check.contradictions == []


@pytest.mark.parametrize("n", [6, 8, 14])
@pytest.mark.parametrize("factor", [-1.0, 1 / units.GPa, -1 / units.GPa])
def test_few_crystals_tell_a_wrong_sign_or_unit(n, factor):
    for seed in range(4):
        check = check_stress(with_stresses(lambda s, atoms: factor * s, randomly_strained(n, 0.03, seed)))
        assert "multiplied by" in check.contradictions[0]


def test_many_strains_of_all_kinds_tell_one_order():
    check = check_stress(with_stresses(lambda s, atoms: s[[0, 1, 2, 4, 3, 5]], randomly_strained(40, 0.04, 0)))
    assert check.shear_orders == [("xz", "yz", "xy")]
    assert check.factor_certain
    assert len(check.contradictions) == 1


def test_atoms_off_their_places_need_forces():
    crystals = strained(rattle=0.03)
    swapped = with_stresses(lambda s, atoms: -s[[0, 1, 2, 4, 3, 5]], crystals)
    check = check_stress(swapped)
    assert check.factor == pytest.approx(-1, abs=0.03)
    assert check.shear_orders == [("xz", "yz", "xy")]
    assert check_stress(with_stresses(lambda s, atoms: s, crystals, forces=False)).n_pairs == 0
    assert check_stress(with_stresses(lambda s, atoms: s, forces=False)).shear_certain


@pytest.mark.parametrize("n_atoms", [1, 4])
def test_nothing_to_compare_is_no_contradiction(n_atoms):
    atoms = bulk("Cu", cubic=n_atoms == 4)
    atoms.rattle(0.3, seed=1)
    other = atoms.copy()
    other.set_cell(other.cell.array * 1.3, scale_atoms=True)
    alone = atoms.copy()
    alone.pbc = False
    pair = [(item, calculated(item)) for item in (atoms, other)]
    structures = [*with_stresses(lambda s, a: -s, pair), atoms, alone]
    check = check_stress(structures)
    assert (check.n_pairs, check.factor_certain, check.contradictions) == (0, False, [])
    assert len(check.shear_orders) == 6
    assert "not checked" in str(check)


def test_two_structures_are_not_certain():
    structures = with_stresses(lambda s, atoms: -s)[:2]
    assert check_stress(structures).contradictions == []


def test_reading_warns_of_wrong_stresses_by_group(tmp_path):
    wrong = with_stresses(lambda s, atoms: -s)
    right = with_stresses(lambda s, atoms: s)
    for name, structures in (("wrong", wrong), ("right", right)):
        for atoms in structures:
            atoms.info["group"] = name
    ase.io.write(tmp_path / "a.xyz", wrong + right)
    with pytest.warns(UserWarning, match="group 'wrong': stresses should be multiplied by -1") as caught:
        read_structures(tmp_path / "a.xyz")
    assert len(caught) == 1
    read_structures(tmp_path / "a.xyz", check=False)


@pytest.mark.parametrize(
    ("element", "contradiction"),
    [("Ni", "too large by a pressure of 2.8"), ("Li", "in no order"), ("Mo", ""), ("Si", "")],
)
def test_known_limits_of_published_data(shared, element, contradiction):
    """The offset of nickel and the shears of lithium are found, and the others are right."""
    structures = read_structures(shared / "data" / "zuo2020" / element / "train.xyz", check=False)
    check = check_stress([structures[k] for k in np.flatnonzero(get_groups(structures) == "Elastic")])
    assert check.factor == pytest.approx(1, abs=0.03)
    assert check.factor_certain
    assert (contradiction in " ".join(check.contradictions)) if contradiction else check.contradictions == []
    if element != "Li":
        assert check.shear_orders == [ASE_ORDER]
