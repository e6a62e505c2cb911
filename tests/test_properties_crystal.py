"""Relaxed crystals, cohesive energies, and published constants of published models."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from mlfeat import LinearPotential, PairDistance, PotentialCalculator, make_targets
from mlfeat.io import read_mtp, read_snap
from mlfeat.properties import (
    cohesive_energy,
    crystal_of_element,
    crystal_properties,
    elastic_constants,
    equation_of_state,
    lattice_constants,
    relax_crystal,
    surface_energy,
    vacancy_formation_energy,
)
from mlfeat.properties._calculator import as_calculator
from mlfeat.properties._names import description
from mlfeat.testing import toy_training_set


class Broken(Calculator):
    """Gives a NaN, or raises, once a crystal is larger than a volume."""

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, volume, error=None):
        super().__init__()
        self.volume, self.error = volume, error

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        within = atoms.get_volume() <= self.volume
        if not within and self.error is not None:
            raise self.error
        stress = np.array([-0.1] * 3 + [0.0] * 3)
        energy = -0.1 * atoms.get_volume() if within else np.nan
        self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3)), "stress": stress}


def rutile():
    """A tetragonal crystal with two strains and one coordinate that relax: copper in the places of titanium."""
    u = 0.32
    places = [
        [0, 0, 0],
        [0.5, 0.5, 0.5],
        [u, u, 0],
        [1 - u, 1 - u, 0],
        [0.5 + u, 0.5 - u, 0.5],
        [0.5 - u, 0.5 + u, 0.5],
    ]
    return Atoms("Cu2Al4", scaled_positions=places, cell=[5.4, 5.4, 4.45], pbc=True)


@pytest.mark.parametrize(
    "atoms",
    [
        pytest.param(bulk("Cu"), id="fcc"),
        pytest.param(bulk("Cu", "hcp", a=2.55, c=4.13), id="hcp"),
    ],
)
@pytest.mark.parametrize("symprec", [1e-3, None])
def test_relaxed_crystal_is_that_of_ase(atoms, symprec):
    before = atoms.copy()
    found = relax_crystal(atoms, EMT(), symprec=symprec)
    expected = atoms.copy()
    expected.calc = EMT()
    assert BFGS(FrechetCellFilter(expected), logfile=None).run(fmax=2e-4, steps=500)
    np.testing.assert_allclose(found.cell.array, expected.cell.array, atol=2e-4)
    gaps = found.get_scaled_positions() - expected.get_scaled_positions()
    np.testing.assert_allclose(gaps - gaps[0] - np.round(gaps - gaps[0]), 0, atol=2e-4)
    found.calc = EMT()
    assert np.abs(found.get_forces()).max() <= 1e-4
    assert np.abs(found.get_stress()).max() <= 1e-6
    assert atoms == before


def test_relaxation_without_symmetry_finds_the_same_crystal():
    found, free = (relax_crystal(rutile(), EMT(), symprec=symprec) for symprec in (1e-3, None))
    np.testing.assert_allclose(free.cell.array, found.cell.array, atol=1e-4)
    gaps = free.get_scaled_positions() - found.get_scaled_positions()
    np.testing.assert_allclose(gaps - gaps[0] - np.round(gaps - gaps[0]), 0, atol=1e-4)
    found.calc = EMT()
    assert np.abs(found.get_forces()).max() <= 1e-4
    assert np.abs(found.get_stress()).max() <= 1e-6


def test_supercell_is_relaxed_as_its_primitive_cell_and_keeps_its_atoms():
    primitive = bulk("Cu", "hcp", a=2.6, c=4.1)
    supercell = primitive * (2, 1, 2)
    supercell.positions += [0.3, -0.2, 5.0]
    supercell.info["name"] = "kept"
    found = relax_crystal(supercell, EMT())
    np.testing.assert_allclose(found.cell, relax_crystal(primitive, EMT()).cell * [[2], [1], [2]], atol=1e-5)
    np.testing.assert_array_equal(found.numbers, supercell.numbers)
    assert found.info["name"] == "kept"
    assert found.calc is None
    found.calc = EMT()
    assert np.abs(found.get_forces()).max() <= 1e-4
    assert np.abs(found.positions - supercell.positions).max() < 0.5


def test_noise_below_symprec_is_taken_away():
    noisy = bulk("Cu", cubic=True) * 2
    noisy.rattle(1e-4, seed=0)
    noisy.set_cell(noisy.cell.array + np.random.default_rng(1).normal(scale=1e-4, size=(3, 3)), scale_atoms=True)
    found = relax_crystal(noisy, EMT(), symprec=0.01)
    found.calc = EMT()
    assert np.abs(found.get_forces()).max() < 1e-10
    np.testing.assert_allclose(found.cell.cellpar()[:3], 2 * 3.58983, atol=1e-4)
    np.testing.assert_allclose(found.cell.cellpar()[3:], 90, atol=1e-6)


def test_symmetry_is_kept_or_not_as_asked():
    """bcc copper stays bcc, as far as it is a crystal's symmetry that holds it."""
    atoms = bulk("Cu", "bcc", a=2.87, cubic=True)
    kept = relax_crystal(atoms, EMT())
    np.testing.assert_allclose(kept.cell.cellpar()[:3], kept.cell.cellpar()[0], rtol=1e-12)
    atoms.set_cell([2.85, 2.87, 2.9], scale_atoms=True)
    freed = relax_crystal(atoms, EMT(), symprec=None)
    freed.calc = kept.calc = EMT()
    assert freed.get_potential_energy() < kept.get_potential_energy() - 0.01


def test_lattice_constants_are_those_of_the_conventional_cell():
    expected = relax_crystal(bulk("Cu", cubic=True), EMT()).cell.cellpar()[0]
    for atoms in (bulk("Cu"), bulk("Cu", cubic=True), bulk("Cu") * (1, 2, 3)):
        np.testing.assert_allclose(lattice_constants(atoms, EMT()), expected, rtol=1e-6)
    a, b, c = lattice_constants(bulk("Cu", "hcp", a=2.6, c=4.1) * (1, 1, 2), EMT())
    found = relax_crystal(bulk("Cu", "hcp", a=2.6, c=4.1), EMT()).cell.cellpar()
    np.testing.assert_allclose([a, b, c], found[:3], rtol=1e-6)
    np.testing.assert_allclose(lattice_constants(bulk("Mo", a=3.2), relax=False), 3.2)


def test_lennard_jones_crystal_has_the_sums_of_its_lattice():
    """E = -A6² / (2 A12) and (2 A12 / A6)^(1/6) for the nearest distance, with the sums of the fcc lattice.

    ASE's is cut at 8 sigma, and shifted to be zero there: 0.4 % of the energy.
    """
    sum_6, sum_12 = 14.45392, 12.13188
    calculator = LennardJones(sigma=1.0, epsilon=1.0, rc=8.0)
    atoms = bulk("Ar", "fcc", a=1.5)
    assert lattice_constants(atoms, calculator)[0] == pytest.approx((2 * sum_12 / sum_6) ** (1 / 6) * 2**0.5, rel=1e-3)
    assert cohesive_energy(atoms, calculator) == pytest.approx(sum_6**2 / (2 * sum_12), rel=5e-3)


def test_cohesive_energy_is_relative_to_atoms():
    atoms = bulk("Cu", cubic=True)
    relaxed = relax_crystal(atoms, EMT())
    relaxed.calc = EMT()
    alone = Atoms("Cu")
    alone.calc = EMT()
    bound = alone.get_potential_energy() - relaxed.get_potential_energy() / 4
    assert bound > 3
    assert cohesive_energy(atoms, EMT()) == pytest.approx(bound, abs=1e-8)
    given = cohesive_energy(atoms, EMT(), atom_energies={"Cu": alone.get_potential_energy() + 1})
    assert given == pytest.approx(bound + 1, abs=1e-8)
    alloy = bulk("CuAl", "cesiumchloride", a=3.0)
    alloy.calc = EMT()
    atom_energies = {"Cu": -1.0, "Al": -2.0}
    energy = cohesive_energy(alloy, atom_energies=atom_energies, relax=False)
    assert energy == pytest.approx((-3 - alloy.get_potential_energy()) / 2, abs=1e-9)
    with pytest.raises(ValueError, match="no energy of Al"):
        cohesive_energy(alloy, atom_energies={"Cu": -1.0})


def test_relaxation_that_does_not_end_is_an_error():
    with pytest.raises(RuntimeError, match="not relaxed after 4 calculations"):
        relax_crystal(bulk("Cu"), Broken(np.inf), max_steps=4)
    with pytest.raises(RuntimeError, match="not relaxed after 2 calculations"):
        relax_crystal(bulk("Cu", a=3.4), EMT(), max_steps=2)


def test_crystal_that_is_not_bound_is_an_error():
    """Not one of atoms that feel nothing any more."""
    with pytest.raises(RuntimeError, match="flies apart: its volume is 3"):
        relax_crystal(bulk("Cu"), Broken(np.inf))
    calculator = LennardJones(sigma=1.0, epsilon=1.0, rc=2.0)
    far = bulk("Ar", "fcc", a=1.4)
    calculator.parameters.epsilon = -1.0
    with pytest.raises(RuntimeError, match="flies apart|collapses"):
        relax_crystal(far, calculator)
    with pytest.raises(RuntimeError, match="out of each other's reach"):
        relax_crystal(bulk("Cu", a=12.0), EMT())


class Magnet(EMT):
    """Counts atoms and moments of what it is asked about."""

    def calculate(self, atoms, *args, **kwargs):
        self.seen = atoms.get_initial_magnetic_moments()
        super().calculate(atoms, *args, **kwargs)


def test_magnetic_moments_are_part_of_the_crystal():
    atoms = bulk("Ni", cubic=True)
    for moments, expected in (([1, 1, 1, 1], [1]), ([1, 1, -1, -1], [-1, 1])):
        atoms.set_initial_magnetic_moments(moments)
        calculator = Magnet()
        relaxed = relax_crystal(atoms, calculator)
        np.testing.assert_array_equal(sorted(calculator.seen), expected)
        np.testing.assert_array_equal(relaxed.get_initial_magnetic_moments(), moments)


def test_masses_are_no_part_of_the_crystal():
    atoms = bulk("Cu", cubic=True)
    atoms.set_masses([6, 7, 6, 6])
    atoms = atoms * (1, 1, 2)
    np.testing.assert_allclose(lattice_constants(atoms, EMT()), lattice_constants(bulk("Cu"), EMT()), rtol=1e-9)
    np.testing.assert_array_equal(relax_crystal(atoms, EMT()).get_masses(), atoms.get_masses())


class Unusual(EMT):
    """Gives the stress as a matrix, and all arrays in buffers that the next calculation overwrites."""

    def __init__(self):
        super().__init__()
        self.buffers = {}

    def get_property(self, name, atoms=None, allow_calculation=True):
        value = super().get_property(name, atoms, allow_calculation)
        if not isinstance(value, np.ndarray):
            return value
        if name == "stress":
            value = voigt_6_to_full_3x3_stress(value)
        buffer = self.buffers.setdefault((name, value.shape), np.empty(value.shape))
        buffer[:] = value
        return buffer


def test_stress_may_be_a_matrix_and_results_may_be_buffers():
    atoms = bulk("Cu", "hcp", a=2.55)
    found, expected = (elastic_constants(atoms, each) for each in (Unusual(), EMT()))
    np.testing.assert_allclose(found.tensor, expected.tensor, rtol=1e-9, atol=1e-9)
    found, expected = (vacancy_formation_energy(bulk("Cu"), each, supercell=2) for each in (Unusual(), EMT()))
    assert found == pytest.approx(expected, abs=1e-9)


def test_stress_of_another_shape_is_an_error():
    class Flat(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["stress"] = np.zeros(9)

    with pytest.raises(ValueError, match=r"stress of shape \(9,\) for the crystal as given"):
        relax_crystal(bulk("Cu"), Flat())


class EnergyOnly(Calculator):
    """EMT's energies; forces and stress are not known."""

    implemented_properties = ["energy"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": EMT().get_potential_energy(atoms)}


@pytest.mark.parametrize("function", [cohesive_energy, equation_of_state])
def test_crystals_as_they_are_need_only_energies(function):
    atoms = bulk("Cu")
    found, expected = (function(atoms, calculator, relax=False) for calculator in (EnergyOnly(), EMT()))
    if function is equation_of_state:
        found, expected = found.energies, expected.energies
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("calculator", [EnergyOnly(), EMT(), LennardJones(sigma=2.3, epsilon=0.2, rc=6.0)])
def test_volumes_without_relaxed_shapes_need_only_energies(calculator):
    atoms = bulk("Cu", "hcp", a=2.55, c=4.1)
    volumes = np.linspace(0.9, 1.1, 5)
    expected = []
    for volume in volumes:
        scaled = atoms.copy()
        scaled.set_cell(np.cbrt(volume) * atoms.cell, scale_atoms=True)
        expected.append(calculator.get_potential_energy(scaled) / 2)
    state = equation_of_state(atoms, calculator, volumes=volumes, relax=False, relax_shape=False)
    np.testing.assert_allclose(state.energies, expected, rtol=1e-9)


def test_calculator_that_fails_says_where():
    volume = 1.01 * bulk("Cu").get_volume()
    with pytest.raises(RuntimeError, match="NaN .* at step 1 of its relaxation"):
        relax_crystal(bulk("Cu"), Broken(volume))
    with pytest.raises(ZeroDivisionError) as raised:
        relax_crystal(bulk("Cu"), Broken(volume, ZeroDivisionError()))
    assert "at step 1 of its relaxation" in "".join(raised.value.__notes__)
    with pytest.raises(RuntimeError, match="NaN .* under strain 1"):
        elastic_constants(bulk("Cu"), Broken(1.0001 * bulk("Cu").get_volume()), relax=False)


@pytest.mark.parametrize(
    "function", [relax_crystal, lattice_constants, cohesive_energy, elastic_constants, equation_of_state]
)
def test_structure_and_calculator_are_checked(function):
    with pytest.raises(ValueError, match="no calculator: pass one"):
        function(bulk("Cu"))
    with pytest.raises(ValueError, match="periodic in all three directions"):
        function(Atoms("Cu", cell=[3, 3, 3], pbc=[True, True, False]), EMT())
    with pytest.raises(ValueError, match="structure 0 is empty"):
        function(Atoms(pbc=True, cell=[3, 3, 3]), EMT())
    with pytest.raises(TypeError, match="must be an ASE calculator or a fitted model"):
        function(bulk("Cu"), "emt")
    with pytest.raises(TypeError, match=r"calculator=EMT is a class: make one, as EMT\(\)"):
        function(bulk("Cu"), EMT)
    for symprec in (0, -1.0, np.nan, "low"):
        with pytest.raises(ValueError, match="symprec=.*must be a positive number"):
            function(bulk("Cu"), EMT(), symprec=symprec)


@pytest.fixture(scope="module")
def fitted():
    structures = toy_training_set()
    model = make_pipeline(PairDistance(cutoff=5.0), LinearPotential(Ridge(1e-6)))
    return structures, model.fit(structures, make_targets(structures))


def test_models_and_searches_are_calculators(fitted):
    structures, model = fitted
    atoms = structures[0]
    targets = make_targets(structures)
    search = GridSearchCV(model, {"linearpotential__regressor__alpha": [1e-6]}, cv=KFold(2)).fit(structures, targets)
    expected = PotentialCalculator(model).get_potential_energy(atoms)
    for source in (model, search):
        calculator = as_calculator(atoms, source)
        assert calculator.n_threads == 1
        assert calculator.extrapolation == "ignore"
        assert calculator.get_potential_energy(atoms) == pytest.approx(expected, rel=1e-9)
    own = atoms.copy()
    own.calc = PotentialCalculator(model)
    assert as_calculator(own) is own.calc
    assert as_calculator(own, calculator) is calculator


@pytest.mark.parametrize(
    ("element", "n_atoms"), [("Cu", 1), ("Mo", 1), ("Li", 1), ("Si", 2), ("Ge", 2), ("Ni", 1), ("Mg", 2)]
)
def test_crystals_of_elements_are_primitive_cells(element, n_atoms):
    atoms = crystal_of_element(element)
    assert len(atoms) == n_atoms
    assert set(atoms.symbols) == {element}
    assert atoms.pbc.all()


@pytest.mark.parametrize("element", ["Ga", "O", "Xx", ""])
def test_element_without_such_a_crystal_is_an_error(element):
    with pytest.raises(ValueError, match="pass the structure itself"):
        crystal_of_element(element)


def test_flat_dictionary_has_what_the_functions_give():
    atoms = bulk("Cu")
    found = crystal_properties(atoms, EMT(), ("lattice", "cohesive", "elastic", "eos"))
    elastic, state = elastic_constants(atoms, EMT()), equation_of_state(atoms, EMT())
    expected = {
        "lattice_constant": lattice_constants(atoms, EMT())[0],
        "volume": elastic.atoms.get_volume(),
        "cohesive_energy": cohesive_energy(atoms, EMT()),
        **elastic.constants,
        "bulk_modulus": elastic.bulk_modulus.hill,
        "shear_modulus": elastic.shear_modulus.hill,
        "eos_bulk_modulus": state.bulk_modulus,
        "bulk_modulus_derivative": state.bulk_modulus_derivative,
    }
    assert found == pytest.approx(expected, rel=1e-9)
    assert all(type(value) is float for value in found.values())


def test_flat_dictionary_of_a_hexagonal_crystal_has_its_own_keys():
    found = crystal_properties(bulk("Cu", "hcp", a=2.55, c=4.1), EMT(), ("lattice", "elastic"))
    lengths = ["lattice_a", "lattice_b", "lattice_c", "volume"]
    assert list(found) == [*lengths, "C11", "C12", "C13", "C33", "C44", "bulk_modulus", "shear_modulus"]


def test_flat_dictionary_of_a_compound_has_no_vacancy():
    crystal = bulk("CuAu", "cesiumchloride", a=3.03)
    with pytest.raises(ValueError, match="compound, .* leave 'vacancy' out"):
        crystal_properties(crystal, EMT())
    found = crystal_properties(crystal, EMT(), ("lattice", "cohesive"))
    assert found["lattice_constant"] == pytest.approx(3.02714, abs=1e-5)


def test_numbers_of_the_flat_dictionary_have_names_symbols_and_units():
    found = [*crystal_properties(bulk("Cu"), EMT()), "highest_frequency", "lowest_frequency", "nve_drift", "npt_whole"]
    names, symbols, units, *_ = zip(*map(description, found), strict=True)
    assert [name for name, unit in zip(found, units, strict=True) if not unit] == ["bulk_modulus_derivative"]
    assert len(set(names)) == len(set(symbols)) == len(found)
    assert description("shear_modulus")[:3] == ("shear modulus", "G", "GPa")
    assert description("C44")[:3] == ("C44", "C44", "GPa")


def test_all_of_the_flat_dictionary_has_the_symmetry_asked_for():
    """Without symmetry, indices belong to the cell as passed: (100) of the primitive one of fcc is (111)."""
    primitive = bulk("Cu")
    found = crystal_properties(primitive, EMT(), "surface", symprec=None)
    assert found["surface_energy_100"] == pytest.approx(surface_energy(primitive, EMT(), (1, 1, 1)), rel=1e-4)


def test_unknown_property_is_an_error():
    with pytest.raises(ValueError, match=r"which has 'hardness'; known are lattice, cohesive"):
        crystal_properties(bulk("Cu"), EMT(), ("lattice", "hardness"))


@pytest.mark.parametrize(
    ("kind", "element", "lattice", "constants"),
    [
        ("snap", "Mo", 3.169, (457, 158, 109)),
        ("snap", "Ni", 3.522, (283, 168, 129)),
        ("mtp", "Mo", 3.169, (472, 155, 103)),
        ("mtp", "Ni", 3.522, (285, 173, 127)),
    ],
)
def test_published_models_have_their_published_constants(shared, kind, element, lattice, constants):
    """To the digits printed, 0.001 Å and 1 GPa, but for C12 of molybdenum's MTP: 154.486, printed as 155."""
    folder = shared / "models" / element / kind
    if kind == "snap":
        model = read_snap(folder / "SNAPotential.snapcoeff", folder / "SNAPotential.snapparam")
    else:
        model = read_mtp(folder / "fitted.mtp", species=[element])
    found = crystal_properties(crystal_of_element(element), model, ("lattice", "elastic"))
    assert found["lattice_constant"] == pytest.approx(lattice, abs=5e-4)
    assert (found["C11"], found["C12"], found["C44"]) == pytest.approx(constants, abs=0.515)
