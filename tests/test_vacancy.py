"""Vacancies: energies of bonds that break, supercells made by hand, and saddle points found directly."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from _pair_crystal import bond_energy, bonds, pair_crystal
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixedPlane
from ase.optimize import BFGS

from mlfeat.io import read_snap
from mlfeat.properties import MigrationDisplay, relax_crystal, vacancy_formation_energy, vacancy_migration


@pytest.mark.parametrize(("lattice", "n_bonds"), [("fcc", 12), ("bcc", 8), ("diamond", 4)])
def test_a_vacancy_breaks_half_of_the_bonds_of_an_atom(lattice, n_bonds):
    # All its bonds break, and half as many are made where it goes.
    found = vacancy_formation_energy(pair_crystal(lattice), bonds(), relax=False)
    assert found == pytest.approx(-n_bonds / 2 * bond_energy(), rel=1e-9)


def test_a_chemical_potential_says_where_the_atom_goes():
    found = vacancy_formation_energy(pair_crystal("fcc"), bonds(), relax=False, chemical_potential=1.5)
    assert found == pytest.approx(-12 * bond_energy() + 1.5, rel=1e-9)


def test_vacancy_of_emt_copper_is_that_of_a_supercell_made_by_hand():
    crystal = relax_crystal(bulk("Cu", cubic=True), EMT())
    perfect = crystal * (3, 3, 3)
    perfect.calc = EMT()
    vacant = crystal * (3, 3, 3)
    del vacant[17]
    vacant.calc = EMT()
    BFGS(vacant, logfile=None).run(fmax=0.002)
    by_hand = vacant.get_potential_energy() - 107 / 108 * perfect.get_potential_energy()
    found = vacancy_formation_energy(bulk("Cu"), EMT(), fmax=0.002)
    assert found == pytest.approx(by_hand, abs=1e-4)
    assert found < vacancy_formation_energy(crystal, EMT(), relax=False) - 0.005


@pytest.mark.parametrize(("structure", "n_atoms"), [("bcc", 54), ("fcc", 108), ("diamond", 64)])
def test_supercells_are_those_of_the_paper(structure, n_atoms):
    counting = Counting()
    vacancy_formation_energy(pair_crystal(structure), counting, relax=False)
    assert counting.sizes == [n_atoms, n_atoms - 1]


def test_supercell_of_another_crystal_is_nine_angstroms_wide():
    counting = Counting()
    vacancy_formation_energy(bulk("Mg", "hcp", a=3.2, c=5.2), counting, relax=False)
    assert counting.sizes == [4 * 4 * 2 * 2, 63]  # the height of the hexagon's cell is 2.77 Å


@pytest.mark.parametrize(("supercell", "n_atoms"), [(2, 32), ((1, 2, 3), 24), ([[1, 1, 0], [1, -1, 0], [0, 0, -1]], 8)])
def test_a_supercell_may_be_given(supercell, n_atoms):
    counting = Counting()
    vacancy_formation_energy(bulk("Cu"), counting, supercell=supercell, relax=False)
    assert counting.sizes == [n_atoms, n_atoms - 1]


def test_the_atom_that_is_missing_is_the_one_asked_for():
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    for index in (0, 1, 6, 7):
        counting = Counting()
        vacancy_formation_energy(salt, counting, index=index, chemical_potential=0.0, relax=False)
        perfect, vacant = counting.structures
        missing = salt.symbols[index]
        assert len(vacant.symbols.search(missing)) == len(perfect.symbols.search(missing)) - 1


def test_the_structure_stays_as_it_was():
    crystal = bulk("Cu")
    crystal.calc = EMT()
    before = crystal.copy()
    vacancy_formation_energy(crystal, supercell=2)
    assert crystal == before
    assert crystal.calc is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": 1}, "index=1: the structure has 1 atoms"),
        ({"supercell": 0}, "positive whole number"),
        ({"supercell": (1.5, 1, 1)}, "positive whole number"),
        ({"supercell": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}, "positive determinant"),
    ],
)
def test_impossible_wishes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        vacancy_formation_energy(bulk("Cu"), EMT(), **arguments)


def test_a_compound_needs_a_chemical_potential():
    with pytest.raises(ValueError, match="chemical_potential"):
        vacancy_formation_energy(bulk("NaCl", "rocksalt", a=5.6), EMT())


def test_a_relaxation_that_does_not_converge_is_an_error():
    with pytest.raises(RuntimeError, match="a vacancy has not reached fmax=0.0001 eV/Å in 1 steps"):
        vacancy_formation_energy(bulk("Cu"), EMT(), fmax=1e-4, max_steps=1)


def test_a_calculator_that_fails_says_where():
    with pytest.raises(RuntimeError, match="supercell without a vacancy"):
        vacancy_formation_energy(bulk("Cu"), Counting(energy=np.nan), relax=False)

    class Failing(EMT):
        n_vacant = 0

        def calculate(self, atoms, *args, **kwargs):
            self.n_vacant += len(atoms) == 31
            if self.n_vacant == 3:
                raise ZeroDivisionError
            super().calculate(atoms, *args, **kwargs)

    with pytest.raises(ZeroDivisionError) as raised:
        vacancy_formation_energy(bulk("Cu"), Failing(), supercell=2, fmax=1e-4)
    assert "in the relaxation of the supercell with a vacancy, at step 2" in raised.value.__notes__[0]


@pytest.fixture(scope="module")
def copper_path():
    return vacancy_migration(bulk("Cu"), EMT(), supercell=2, n_images=3, fmax=0.01)


def test_path_of_a_symmetric_jump_is_symmetric(copper_path):
    assert copper_path.energies == pytest.approx(copper_path.energies[::-1], abs=1e-3)
    assert copper_path.energies.argmax() == 2
    assert copper_path.barrier == pytest.approx(copper_path.reverse_barrier, abs=1e-3)
    assert copper_path.distances[0] == 0
    assert copper_path.distances[2] == pytest.approx(copper_path.distances[-1] / 2, rel=1e-3)


def test_barrier_is_that_of_the_saddle_point(copper_path):
    # By symmetry, the saddle point is where the jumping atom is in the plane half way.
    crystal = relax_crystal(bulk("Cu", cubic=True), EMT()) * (2, 2, 2)
    start = crystal.copy()
    neighbor = int(np.argmin(np.where(np.arange(32) > 0, crystal.get_distances(0, range(32), mic=True), np.inf)))
    jump = -crystal.get_distance(0, neighbor, mic=True, vector=True)
    saddle = crystal.copy()
    saddle.positions[neighbor] += jump / 2
    far = int(np.argmax(crystal.get_distances(0, range(32), mic=True)))
    energies = []
    for structure in (start, saddle):
        del structure[0]
        structure.calc = EMT()
    saddle.set_constraint([FixedPlane([neighbor - 1], jump), FixAtoms([far - 1])])
    for structure in (start, saddle):
        BFGS(structure, logfile=None).run(fmax=0.005)
        energies.append(structure.get_potential_energy())
    assert copper_path.barrier == pytest.approx(energies[1] - energies[0], abs=2e-3)


def test_an_image_climbs_to_the_saddle_point(copper_path):
    # Of two images between the ends, none is half way by itself.
    climbed = vacancy_migration(bulk("Cu"), EMT(), supercell=2, n_images=2, fmax=0.01)
    assert climbed.barrier == pytest.approx(copper_path.barrier, abs=2e-3)


def test_images_keep_their_energies_and_forces(copper_path):
    image = copper_path.images[2]
    again = image.copy()
    again.calc = EMT()
    assert image.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-9)
    assert np.abs(image.get_forces() - again.get_forces()).max() < 1e-9
    assert np.linalg.norm(image.get_forces(), axis=1).max() < 0.02


def test_migration_needs_a_neighbor_and_images():
    with pytest.raises(ValueError, match="neighbor=40: the supercell has 31 other atoms"):
        vacancy_migration(bulk("Cu"), EMT(), supercell=2, neighbor=40)
    with pytest.raises(ValueError, match="n_images=0"):
        vacancy_migration(bulk("Cu"), EMT(), n_images=0)


class Counting(Calculator):
    """Remembers what it was asked for; all energies are the same."""

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, energy=0.0):
        super().__init__()
        self.energy, self.structures = energy, []

    @property
    def sizes(self):
        return [len(structure) for structure in self.structures]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        self.structures.append(atoms.copy())
        self.results = {"energy": self.energy, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


def test_display_draws_images_and_barrier(copper_path):
    display = MigrationDisplay.from_result(copper_path, reference=copper_path, label="EMT")
    dots = [line for line in display.ax_.get_lines() if line.get_marker() == "o"]
    assert dots[-1].get_xydata() == pytest.approx(np.column_stack([copper_path.distances, copper_path.energies]))
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == [f"{name}: {copper_path.barrier:.2f} eV" for name in ("reference", "EMT")]
    plt.close(display.figure_)
    with pytest.raises(TypeError, match="must be what vacancy_migration returns"):
        MigrationDisplay(copper_path, reference=(copper_path.distances, copper_path.energies))


# Ranges of DFT and of experiments, eV.
@pytest.mark.parametrize(
    ("element", "formation", "migration"), [("Ni", (1.4, 1.8), (1.0, 1.3)), ("Mo", (2.6, 3.2), (1.2, 1.6))]
)
def test_vacancies_of_published_potentials(shared, element, formation, migration):
    folder = shared / "models" / element / "snap"
    model = read_snap(*folder.glob("*.snapcoeff"), *folder.glob("*.snapparam"))
    assert formation[0] < vacancy_formation_energy(bulk(element), model) < formation[1]
    assert migration[0] < vacancy_migration(bulk(element), model, n_images=3).barrier < migration[1]
