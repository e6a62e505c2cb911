"""Phonons: crystals of harmonic bonds in closed form, sound, another program, and figures."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from _pair_crystal import BOND_STIFFNESS, bonds, nearest_neighbors, pair_crystal
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.phonons import Phonons as AsePhonons

from mlfeat.io import read_mtp, read_snap
from mlfeat.properties import PhononDisplay, crystal_properties, elastic_constants, phonons, relax_crystal

pytest.importorskip("phonopy")
pytest.importorskip("seekpath")

THZ = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi) / 1e12  # of sqrt(eV/Å²/u)


@pytest.fixture(scope="module")
def copper():
    return phonons(bulk("Cu"), EMT(), mesh=60.0)


@pytest.mark.parametrize("lattice", ["fcc", "bcc"])
def test_harmonic_bonds_have_the_dispersion_of_the_books(lattice):
    crystal = pair_crystal(lattice)
    found = phonons(crystal, bonds(), relax=False, distance=1e-3, mesh=20.0, spacing=0.05)
    neighbors = nearest_neighbors(found.primitive)
    directions = neighbors / np.linalg.norm(neighbors, axis=1)[:, None]
    assert len(neighbors) == {"fcc": 12, "bcc": 8}[lattice]
    waves = 2 * np.pi * found.qpoints @ found.primitive.cell.reciprocal().array
    weights = 1 - np.cos(waves @ neighbors.T)
    matrices = BOND_STIFFNESS * np.einsum("qn,ni,nj->qij", weights, directions, directions) / crystal.get_masses()[0]
    known = THZ**2 * np.linalg.eigvalsh(matrices)
    # Squares, which are linear in the forces: bonds alone leave some of bcc's waves without any.
    assert found.frequencies * np.abs(found.frequencies) == pytest.approx(known, abs=2e-4 * known.max())


def test_zone_boundary_of_fcc_bonds():
    found = phonons(pair_crystal("fcc"), bonds(), relax=False, distance=1e-3, mesh=20.0, path="Γ-X")
    across, along = THZ * np.sqrt(np.array([4, 8]) * BOND_STIFFNESS / found.primitive.get_masses()[0])
    assert found.labels == (("Γ", "X"),)
    assert found.frequencies[-1] == pytest.approx([across, across, along], rel=1e-4)
    constant = 2**0.5 * 2.5
    assert found.distances[-1] == pytest.approx(1 / constant)


def test_flat_dictionary_has_the_ends_of_the_bands():
    crystal = pair_crystal("fcc")
    found = crystal_properties(crystal, bonds(), ("lattice", "phonons"))
    along = THZ * np.sqrt(8 * BOND_STIFFNESS / crystal.get_masses()[0])
    assert list(found) == ["lattice_constant", "volume", "lowest_frequency", "highest_frequency"]
    assert found["highest_frequency"] == pytest.approx(along, rel=1e-3)
    assert found["lowest_frequency"] == pytest.approx(0, abs=1e-3)


def test_flat_dictionary_says_that_a_crystal_is_not_stable():
    """Copper as a simple cubic lattice shears by itself."""
    found = crystal_properties(bulk("Cu", "sc", a=2.4), EMT(), "phonons")
    assert found["lowest_frequency"] < -1
    assert found["highest_frequency"] > 1


def test_translations_cost_nothing(copper):
    assert np.abs(copper.force_constants.sum(axis=1)).max() < 1e-10
    assert np.abs(copper.frequencies_at([0, 0, 0])).max() < 1e-4


def test_noise_of_forces_does_not_bring_translations_back():
    class Noisy(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            noise = np.random.default_rng(0).normal(scale=1e-3, size=self.results["forces"].shape)
            self.results["forces"] = self.results["forces"] + noise

    found = phonons(bulk("Cu", a=3.5898), Noisy(), relax=False, supercell=2, mesh=10.0, path="Γ-X")
    assert np.abs(found.force_constants.sum(axis=1)).max() < 1e-10
    assert np.abs(found.frequencies[0]).max() < 1e-3


def test_sound_is_that_of_the_elastic_constants(copper):
    elastic = elastic_constants(bulk("Cu"), EMT())
    density = copper.primitive.get_masses().sum() / copper.primitive.cell.volume
    wave = np.array([0.5, 0, 0.5]) * 0.02  # towards X
    length = np.linalg.norm(wave @ copper.primitive.cell.reciprocal().array)
    speeds = copper.frequencies_at(wave)[0] / length  # THz Å
    known = [np.sqrt(modulus * units.GPa / density) * THZ * 2 * np.pi for modulus in (elastic.C44, elastic.C11)]
    assert speeds == pytest.approx([known[0], known[0], known[1]], rel=1e-3)


def test_emt_copper_agrees_with_ase(copper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    crystal = relax_crystal(bulk("Cu"), EMT())
    other = AsePhonons(crystal, EMT(), supercell=(7, 7, 7), delta=0.01)
    other.run()
    other.read(acoustic=True)
    points = [[0.5, 0, 0.5], [0.5, 0.5, 0.5], [0.25, 0.0, 0.25], [0.5, 0.25, 0.75]]
    cubic = np.linalg.solve(copper.primitive.cell.array, crystal.cell.array)
    known = other.band_structure(np.array(points) @ np.linalg.inv(cubic).T @ cubic.T) * units._e / units._hplanck / 1e12
    assert copper.frequencies_at(points) == pytest.approx(known, abs=0.05)


def test_any_cell_has_the_same_bands(copper):
    turned = bulk("Cu")
    turned.rotate(30, (1, 2, 3), rotate_cell=True)
    for crystal in (bulk("Cu", cubic=True), turned):
        other = phonons(crystal, EMT(), mesh=10.0)
        assert other.labels == copper.labels
        assert other.distances == pytest.approx(copper.distances, abs=1e-6)
        assert other.frequencies == pytest.approx(copper.frequencies, abs=1e-4)


def test_density_of_states_counts_the_bands(copper):
    assert np.trapezoid(copper.dos, copper.dos_frequencies) == pytest.approx(3, rel=5e-3)
    assert copper.dos_frequencies[copper.dos > 1e-3].max() == pytest.approx(copper.frequencies.max(), rel=0.02)


def test_path_has_names_and_segments(copper):
    assert copper.labels[0] == ("Γ", "X")
    assert copper.labels[2] == ("K", "Γ")
    assert copper.segments[0].start == 0
    assert copper.segments[-1].stop == len(copper.qpoints) == len(copper.distances) == len(copper.frequencies)
    assert copper.qpoints[copper.segments[0]][-1] == pytest.approx([0.5, 0, 0.5])
    assert (np.diff(copper.distances) >= 0).all()
    assert np.diff(copper.distances).max() < 0.005 + 1e-12


@pytest.mark.parametrize(("lattice", "n_atoms"), [("fcc", 108), ("bcc", 54), ("diamond", 64)])
def test_supercells_are_those_of_the_paper(lattice, n_atoms):
    found = phonons(pair_crystal(lattice), bonds(), relax=False, mesh=10.0, path="G-X" if lattice != "bcc" else "G-N")
    assert len(found.supercell) == n_atoms


def test_each_displacement_is_calculated_once():
    calculator = Counting()
    found = phonons(bulk("Cu"), calculator, supercell=2, relax=False, mesh=10.0)
    assert calculator.n_calls == len(found.phonopy.displacements) == 1


def test_a_crystal_that_is_not_stable_has_imaginary_frequencies():
    # Bonds to nearest neighbors alone do not keep bcc from shearing: under tension it holds, under pressure it buckles.
    found = []
    for scale in (1.02, 0.98):
        crystal = pair_crystal("bcc")
        crystal.set_cell(crystal.cell * scale, scale_atoms=True)
        found.append(phonons(crystal, bonds(), relax=False, mesh=20.0))
    assert found[0].is_stable
    assert not found[1].is_stable
    assert found[1].lowest_frequency < -0.1


def test_a_crystal_is_not_stable_either_where_the_path_does_not_lead():
    found = phonons(bulk("Cu", "bcc", a=2.87), EMT(), mesh=20.0, path="Γ-H")
    assert found.frequencies.min() > -0.01
    assert found.lowest_frequency < -1
    assert not found.is_stable


def test_masses_of_the_atoms_count(copper):
    heavy = bulk("Cu")
    heavy.set_masses(4 * heavy.get_masses())
    assert phonons(heavy, EMT(), mesh=10.0).frequencies == pytest.approx(copper.frequencies / 2, abs=1e-4)


class Disguise(EMT):
    """EMT of the elements that an array of the atoms stands for."""

    def __init__(self, name, elements):
        super().__init__()
        self.array, self.elements = name, elements

    def calculate(self, atoms, *args, **kwargs):
        disguised = atoms.copy()
        disguised.symbols[:] = [self.elements[value] for value in atoms.arrays[self.array]]
        super().calculate(disguised, *args, **kwargs)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("name", ["initial_magmoms", "initial_charges", "masses"])
def test_atoms_that_differ_otherwise_are_as_different_as_elements(name, order):
    alloy = bulk("CuAl", "cesiumchloride", a=3.03)
    alloy.set_masses([20.0, 60.0])
    atoms = alloy.copy()
    atoms.symbols[:] = "Cu"
    if name == "masses":
        calculators = EMT(), Disguise("numbers", {29: "Cu", 13: "Cu"})
    else:
        atoms.set_array(name, np.array([1.0, 2.0]))
        calculators = Disguise(name, {1.0: "Cu", 2.0: "Al"}), EMT()
    settings = {"relax": False, "supercell": 2, "mesh": 20.0, "spacing": 0.05}
    found, known = (
        phonons(crystal, calculator, **settings)
        for crystal, calculator in zip((atoms[order], alloy), calculators, strict=True)
    )
    assert found.labels == known.labels
    assert found.frequencies == pytest.approx(known.frequencies, abs=1e-6)
    means = [np.average(each.dos_frequencies, weights=each.dos) for each in (found, known)]
    assert means[0] == pytest.approx(means[1], rel=5e-3)
    values = atoms.arrays[name]
    assert sorted(found.primitive.arrays[name]) == sorted(values)
    assert sorted(found.supercell.arrays[name]) == sorted(np.repeat(values, 8))


def test_all_cells_see_the_same_moments(copper):
    class Seeing(EMT):
        def calculate(self, atoms, *args, **kwargs):
            layers = np.round(atoms.positions[:, 2] / (0.5 * 3.5898))
            np.testing.assert_array_equal(atoms.get_initial_magnetic_moments(), np.where(layers % 2, -1, 1))
            super().calculate(atoms, *args, **kwargs)

    atoms = bulk("Cu", a=3.5898, cubic=True)
    atoms.set_initial_magnetic_moments(np.where(atoms.positions[:, 2] < 1, 1, -1))
    found = phonons(atoms, Seeing(), mesh=10.0, relax=False)
    assert len(found.primitive) == 2
    # The zone is folded: what was at its boundary, along z, is at its center.
    known = np.sort(copper.frequencies_at([[0, 0, 0], [0.5, 0.5, 0]]).ravel())
    assert found.frequencies_at([0, 0, 0])[0] == pytest.approx(known, abs=0.05)


def test_moments_of_zero_change_nothing(copper):
    for moments in ([0.0], [[0.0, 0.0, 0.0]]):
        atoms = bulk("Cu")
        atoms.set_initial_magnetic_moments(moments)
        found = phonons(atoms, EMT(), mesh=10.0)
        assert found.labels == copper.labels
        assert found.frequencies == pytest.approx(copper.frequencies, abs=1e-4)


@pytest.mark.parametrize("symprec", [1e-3, None])
def test_primitive_cell_is_the_usual_one(symprec, copper):
    found = phonons(bulk("Cu", a=3.5898, cubic=True), EMT(), mesh=10.0, relax=False, supercell=2, symprec=symprec)
    assert found.labels == copper.labels
    assert found.primitive.cell.cellpar() == pytest.approx(copper.primitive.cell.cellpar(), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "Γ-Q"}, "no point 'Q' in this Brillouin zone; known are GAMMA, K, L, U, W, W_2, X"),
        ({"path": "Γ"}, "must name two points"),
        ({"distance": 0}, "distance=0: must be positive"),
        ({"mesh": (4, 0, 4)}, r"mesh=\(4, 0, 4\): must be positive"),
        ({"supercell": -1}, "positive whole number"),
    ],
)
def test_impossible_wishes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        phonons(bulk("Cu"), EMT(), **arguments)


def test_nan_says_at_which_displacement():
    with pytest.raises(RuntimeError, match="displacement 0 of 1"):
        phonons(bulk("Cu"), Counting(forces=np.nan), supercell=2, relax=False)


def test_without_phonopy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    calculator = Counting()
    for function, args in ((phonons, ()), (crystal_properties, (("lattice", "phonons"),))):
        with pytest.raises(ImportError, match=r"pip install 'mlfeat\[phonons\]'"):
            function(bulk("Cu"), calculator, *args)
    assert not calculator.n_calls


class Counting(EMT):
    """Counts the calculations of structures."""

    def __init__(self, forces=0.0):
        super().__init__()
        self.n_calls, self.shift = 0, forces

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.n_calls += 1
        self.results["forces"] = self.results["forces"] + self.shift


def test_display_draws_bands_names_and_reference(copper):
    display = PhononDisplay.from_result(copper, reference=copper, label="EMT", reference_label="again")
    bands, density = display.axes_
    assert [text.get_text() for text in bands.get_xticklabels()] == ["Γ", "X", "U|K", "Γ", "L", "W", "X"]
    curves = [line for line in bands.get_lines() if line.get_label() == "EMT" or line.get_linestyle() == "--"]
    assert len(curves) == 2 * 3 * len(copper.segments)
    drawn = np.concatenate([line.get_ydata() for line in bands.get_lines() if line.get_label() == "EMT"])
    assert drawn[: copper.segments[0].stop] == pytest.approx(copper.frequencies[copper.segments[0], 0])
    assert [text.get_text() for text in display.figure_.legends[0].get_texts()] == ["again", "EMT"]
    assert any(np.array_equal(line.get_xdata(), copper.dos) for line in density.get_lines())
    plt.close(display.figure_)


def test_display_draws_measured_points_where_they_are_on_the_path(copper):
    points = np.array([[0.25, 0, 0.25], [0.1, 0.2, 0.4], [0.25, 0.25, 0.25]])
    display = PhononDisplay.from_result(copper, reference=(points, [3.0, 4.0, 5.0]))
    drawn = [line.get_xydata() for line in display.axes_[0].get_lines() if line.get_marker() == "o"]
    middle_of_gx = copper.distances[copper.segments[0].stop - 1] / 2
    middle_of_gl = copper.distances[[copper.segments[3].start, copper.segments[3].stop - 1]].mean()
    assert np.concatenate(drawn) == pytest.approx(np.array([[middle_of_gx, 3.0], [middle_of_gl, 5.0]]))
    plt.close(display.figure_)


def test_display_of_a_calculator_calculates_the_reference_too():
    settings = {"supercell": 1, "mesh": 10.0, "path": "Γ-X"}
    display = PhononDisplay.from_calculator(EMT(), bulk("Cu"), reference=EMT(), **settings)
    assert display.result.labels == display.reference.labels == (("Γ", "X"),)
    plt.close(display.figure_)
    with pytest.raises(ValueError, match="another path: Γ-X, not Γ-L"):
        PhononDisplay(phonons(bulk("Cu"), EMT(), supercell=1, mesh=10.0, path="Γ-L"), reference=display.result)
    with pytest.raises(ValueError, match=r"must be \(n, 3\)"):
        PhononDisplay(display.result, reference=([[0, 0, 0]], [1.0, 2.0]))
    with pytest.raises(TypeError, match="reference=3: must be what phonons returns, or wave vectors and frequencies"):
        PhononDisplay(display.result, reference=3)


@pytest.mark.parametrize(
    ("element", "method", "highest", "n_atoms"),
    [("Mo", "snap", (7.5, 8.8), 54), ("Ni", "snap", (8.3, 9.5), 108), ("Mo", "mtp", (7.3, 8.8), 54)],
)
def test_published_potentials_are_stable(shared, element, method, highest, n_atoms):
    # Neutrons see highest frequencies of 8.1 THz in Mo and 8.9 THz in Ni.
    folder = shared / "models" / element / method
    if method == "snap":
        model = read_snap(*sorted(folder.glob("*.snapcoeff")), *sorted(folder.glob("*.snapparam")))
    else:
        model = read_mtp(folder / "fitted.mtp", species=[element])
    found = phonons(bulk(element), model, mesh=30.0)
    assert len(found.supercell) == n_atoms
    assert found.is_stable
    assert highest[0] < found.frequencies.max() < highest[1]
