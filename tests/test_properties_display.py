"""Picture of the numbers of a crystal, a reference beside them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from mlfeat.properties import CrystalPropertiesDisplay, crystal_properties

FOUND = {"lattice_constant": 3.6, "C11": 180.0, "C12": 120.0, "surface_energy_111": 1.5, "surface_energy_100": -0.25}
KNOWN = {"C11": 160, "lattice_constant": 3.5, "surface_energy_100": 1.0, "surface_energy_111": None, "C66": 70.0}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def bars(ax, number):
    """Middles, lengths and texts of the bars of the model (0) or the reference (1)."""
    patches = ax.containers[number]
    texts = [text.get_text() for text in ax.texts]
    start = sum(len(other) for other in ax.containers[:number])
    middles = [bar.get_y() + bar.get_height() / 2 for bar in patches]
    return middles, [bar.get_width() for bar in patches], texts[start : start + len(patches)]


def names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_each_unit_has_a_panel_with_bars_and_values():
    display = CrystalPropertiesDisplay.from_result(FOUND)
    assert [ax.get_title("left") for ax in display.axes_] == ["Å", "GPa", "J/m²"]
    assert [names(ax) for ax in display.axes_] == [
        ["lattice constant"], ["C11", "C12"], ["surface (111)", "surface (100)"],
    ]  # fmt: skip
    assert bars(display.axes_[1], 0) == ([0, 1], [180.0, 120.0], ["180.0", "120.0"])
    assert bars(display.axes_[2], 0) == ([0, 1], [1.5, -0.25], ["1.500", "-0.2500"])
    assert all(len(ax.containers) == 1 for ax in display.axes_)
    assert not display.figure_.legends


def test_reference_is_beside_where_it_is_given():
    display = CrystalPropertiesDisplay.from_result(FOUND, reference=KNOWN, label="SNAP", reference_label="DFT")
    assert display.reference == {"C11": 160, "lattice_constant": 3.5, "surface_energy_100": 1.0, "C66": 70.0}
    _, elastic, surface = display.axes_
    places, lengths, texts = bars(elastic, 0)
    assert (places, lengths, texts) == (pytest.approx([-0.2, 1]), [180.0, 120.0], ["180.0  +12.5%", "120.0"])
    assert bars(elastic, 1) == (pytest.approx([0.2]), [160.0], ["160.0"])
    assert bars(surface, 0)[2] == ["1.500", "-0.2500  -125.0%"]
    assert bars(surface, 1)[:2] == (pytest.approx([1.2]), [1.0])
    assert [text.get_text() for text in display.figure_.legends[0].get_texts()] == ["SNAP", "DFT"]


@pytest.mark.parametrize("found", [FOUND, {"C11": -180.0}, {"C11": -180.0, "C12": 1.0}, {"lattice_constant": 3.6}])
def test_texts_lie_within_the_figure_beside_each_other(found):
    """Those of the longest bars too, to both sides of zero."""
    reference = {name: 1.25 * value for name, value in found.items()} | {"surface_energy_100": 2.0}
    display = CrystalPropertiesDisplay.from_result(found, reference=reference)
    display.figure_.draw_without_rendering()
    width, height = display.figure_.bbox.size
    for ax in display.axes_:
        names_end = max(label.get_window_extent().x1 for label in ax.get_yticklabels())
        boxes = [text.get_window_extent() for text in [*ax.texts, *ax.get_yticklabels(), ax._left_title]]
        assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
        assert all(box.x0 > names_end for box in boxes[: len(ax.texts)])


def test_bars_are_as_thick_in_all_panels():
    display = CrystalPropertiesDisplay.from_result({f"C{i}{i}": 1.0 for i in range(1, 7)} | FOUND)
    display.figure_.draw_without_rendering()
    rows = [ax.get_window_extent().height / len(ax.get_yticks()) for ax in display.axes_]
    np.testing.assert_allclose(rows, rows[0], rtol=1e-6)
    assert rows[0] > 15  # pixels at 100 per inch


@pytest.mark.parametrize("make", [CrystalPropertiesDisplay.from_calculator, CrystalPropertiesDisplay.from_estimator])
def test_display_of_a_calculator_calculates_it_and_its_reference(make):
    atoms, figure, which = bulk("Cu"), plt.figure(), ("lattice", "cohesive")
    display = make(EMT(), atoms, which=which, atom_energies={"Cu": 1.0}, reference=EMT(), figure=figure, label="EMT")
    expected = crystal_properties(atoms, EMT(), which, atom_energies={"Cu": 1.0})
    assert display.result == display.reference == pytest.approx(expected)
    assert display.figure_ is figure
    assert [ax.get_title("left") for ax in display.axes_] == ["Å", "Å³/atom", "eV/atom"]


def test_display_takes_dictionaries_of_numbers_that_share_names():
    with pytest.raises(TypeError, match=r"result=3\.6: must be a dictionary of numbers"):
        CrystalPropertiesDisplay(3.6)
    with pytest.raises(TypeError, match="reference has C11='160': must be a number"):
        CrystalPropertiesDisplay(FOUND, reference={"C11": "160"})
    with pytest.raises(TypeError, match=r"reference=\[160\]: must be a dictionary"):
        CrystalPropertiesDisplay.from_calculator(EMT(), bulk("Cu"), which="lattice", reference=[160])
    with pytest.raises(ValueError, match="result has no numbers"):
        CrystalPropertiesDisplay({"C11": np.nan})
    with pytest.raises(ValueError, match="reference has c11, none of C11"):
        CrystalPropertiesDisplay({"C11": 170.0}, reference={"c11": 160.0})


def test_what_should_be_zero_has_no_deviation_in_percent():
    found = {"lowest_frequency": -2e-7, "highest_frequency": 8.0, "nve_drift": 2.13e-5, "npt_whole": 0.25}
    display = CrystalPropertiesDisplay.from_result(found, reference=found | {"highest_frequency": 7.5, "npt_whole": 1})
    assert [bars(ax, 0)[2] for ax in display.axes_] == [["0.00", "8.000  +6.7%"], ["2.1e-05"], ["0.250"]]
    assert [bars(ax, 1)[2] for ax in display.axes_] == [["0.00", "7.500"], ["2.1e-05"], ["1.00"]]
    assert [ax.get_title("left") for ax in display.axes_] == ["THz", "eV/atom/ps", "share of run"]


def test_numbers_without_a_known_name_have_their_own():
    display = CrystalPropertiesDisplay.from_result({"hardness_by_hand": 2.0, "surface_energy_210": 1.0})
    assert [names(ax) for ax in display.axes_] == [["hardness by hand"], ["surface (210)"]]
    assert [ax.get_title("left") for ax in display.axes_] == ["", "J/m²"]
