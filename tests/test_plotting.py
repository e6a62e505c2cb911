"""The two figures: what they show, and what they refuse."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure  # noqa: E402

from mlfeat.plotting import pareto_plot, parity_plot  # noqa: E402

DTYPE = [("energy", "f8"), ("forces", "O"), ("stress", "f8", (6,))]
N_ATOMS = np.array([2, 3, 4])


def targets(seed, *, forces=True, stress=True):
    rng = np.random.default_rng(seed)
    rows = np.empty(len(N_ATOMS), dtype=DTYPE)
    for row, n in zip(rows, N_ATOMS, strict=True):
        row["energy"] = n * rng.normal(-3, 0.1)
        row["forces"] = rng.normal(size=(n, 3)) if forces else None
        row["stress"] = rng.normal(size=6) if stress else np.nan
    return rows


def labels(figure):
    return [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes]


def test_parity_has_a_panel_for_each_quantity_with_its_unit():
    figure = parity_plot(targets(0), targets(1), N_ATOMS, figure=Figure())
    assert labels(figure) == [
        ("reference energy (eV/atom)", "predicted energy (eV/atom)"),
        ("reference force component (eV/Å)", "predicted force component (eV/Å)"),
        ("reference stress component (GPa)", "predicted stress component (GPa)"),
    ]


def test_parity_draws_energies_per_atom_and_all_force_components():
    reference, predicted = targets(0), targets(1)
    figure = parity_plot(reference, predicted, N_ATOMS, figure=Figure())
    energies, forces = (ax.collections[0].get_offsets() for ax in figure.axes[:2])
    np.testing.assert_allclose(energies[:, 0], reference["energy"] / N_ATOMS)
    np.testing.assert_allclose(energies[:, 1], predicted["energy"] / N_ATOMS)
    np.testing.assert_allclose(forces[:, 1], np.concatenate(predicted["forces"]).ravel())


def test_parity_writes_the_error():
    reference = targets(0)
    predicted = reference.copy()
    predicted["energy"] += 0.004 * N_ATOMS
    figure = parity_plot(reference, predicted, N_ATOMS, figure=Figure())
    assert figure.axes[0].texts[0].get_text() == "RMSE 4 meV/atom\n3 values"


def test_parity_leaves_out_what_the_targets_lack():
    reference = targets(0, forces=False, stress=False)
    figure = parity_plot(reference, targets(1), N_ATOMS, figure=Figure())
    assert [x for x, _ in labels(figure)] == ["reference energy (eV/atom)"]
    reference = targets(0, stress=False)
    reference["forces"][1] = None
    figure = parity_plot(reference, targets(1), N_ATOMS, figure=Figure())
    assert len(figure.axes) == 2
    assert len(figure.axes[1].collections[0].get_offsets()) == 3 * (2 + 4)


def test_parity_of_nothing_is_refused():
    nothing = targets(0, forces=False, stress=False)
    nothing["energy"] = np.nan
    with pytest.raises(ValueError, match="no finite reference value"):
        parity_plot(nothing, targets(1), N_ATOMS, figure=Figure())


def test_parity_of_different_lengths_is_refused():
    with pytest.raises(ValueError, match="different lengths: 3, 2 and 3"):
        parity_plot(targets(0), targets(1)[:2], N_ATOMS, figure=Figure())


RESULTS = [
    {"label": "SNAP", "us_per_atom": 9.0, "energy_rmse": 0.004, "force_rmse": 0.10},
    {"label": "qSNAP", "us_per_atom": 14.0, "energy_rmse": 0.002, "force_rmse": 0.07},
    {"label": "NNP", "us_per_atom": 25.0, "energy_rmse": 0.003, "force_rmse": 0.04},
    {"label": "GAP", "us_per_atom": None, "energy_rmse": 0.001, "force_rmse": 0.02},
]


def test_pareto_has_one_point_and_one_legend_entry_for_each_method():
    figure = pareto_plot(RESULTS, figure=Figure())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SNAP", "qSNAP", "NNP"]
    for ax in figure.axes:
        assert len(ax.collections) == 3
        assert ax.get_xlabel() == "cost (µs per atom and step, one core)"
    assert figure.axes[0].get_ylabel() == "test energy RMSE (meV/atom)"
    assert figure.axes[1].get_ylabel() == "test force RMSE (eV/Å)"


def test_pareto_front_joins_the_methods_that_no_other_beats():
    figure = pareto_plot(RESULTS, figure=Figure())
    energy, force = (ax.lines[0].get_xydata() for ax in figure.axes)
    np.testing.assert_allclose(energy, [[9, 4], [14, 2]])
    np.testing.assert_allclose(force, [[9, 0.1], [14, 0.07], [25, 0.04]])


def test_pareto_without_forces_shows_energies():
    results = [result | {"force_rmse": None} for result in RESULTS]
    assert len(pareto_plot(results, figure=Figure()).axes) == 1


@pytest.mark.parametrize("results", [[], [{"label": "SNAP", "us_per_atom": float("nan")}]])
def test_pareto_of_nothing_is_refused(results):
    with pytest.raises(ValueError, match="no result has"):
        pareto_plot(results, figure=Figure())


def test_figures_can_be_written_without_a_display(tmp_path):
    pareto_plot(RESULTS, title="Cost", figure=Figure()).savefig(tmp_path / "pareto.png")
    figure = parity_plot(targets(0), targets(1), N_ATOMS, title="SNAP", figure=Figure())
    figure.savefig(tmp_path / "parity.png")
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")


def test_figure_of_pyplot_is_made_when_none_is_given():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    figure = pareto_plot(RESULTS)
    assert pyplot.gcf() is figure
    pyplot.close(figure)
