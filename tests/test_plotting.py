"""The figures: what they show, and what they refuse."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure  # noqa: E402

from mlfeat.plotting import learning_curve_plot, pareto_plot, parity_plot  # noqa: E402

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


def trained(n_members=1, *, validation=False, stress=True):
    """What a potential keeps of its training."""
    loss = np.array([4.0, 2.0, 1.0, 3.0])
    names = ("", "validation_") if validation else ("",)
    curve = {}
    for factor, prefix in enumerate(names, start=1):
        errors = factor * loss
        curve |= {f"{prefix}{name}": errors for name in ("loss", "energy", "forces")}
        curve[f"{prefix}stress"] = errors if stress else np.full(4, np.nan)
    if validation:
        curve["validation_loss"] = loss[::-1]
    return SimpleNamespace(history_=[curve] * n_members)


def test_learning_curve_has_a_panel_for_each_quantity_with_its_unit():
    figure = learning_curve_plot(trained(), figure=Figure())
    assert labels(figure) == [
        ("epoch", "energy RMSE (meV/atom)"),
        ("epoch", "force RMSE (eV/Å)"),
        ("epoch", "stress RMSE (GPa)"),
    ]
    assert len(learning_curve_plot(trained(stress=False), figure=Figure()).axes) == 2


def test_learning_curve_of_moments_has_iterations():
    potential = trained(stress=False)
    for curve in potential.history_:
        curve["level"] = np.array([8, 8, 12, 12])
    assert {label for label, _ in labels(learning_curve_plot(potential, figure=Figure()))} == {"iteration"}


def test_learning_curve_draws_errors_after_each_epoch_and_marks_the_least_loss():
    figure = learning_curve_plot(trained(), figure=Figure())
    curve, kept = (line.get_xydata() for line in figure.axes[0].lines)
    np.testing.assert_allclose(curve, [[1, 4000], [2, 2000], [3, 1000], [4, 3000]])
    np.testing.assert_allclose(kept, [[3, 1000]])


def test_learning_curve_marks_the_least_validation_loss_if_there_is_one():
    figure = learning_curve_plot(trained(validation=True), figure=Figure())
    *curves, kept = (line.get_xydata() for line in figure.axes[1].lines)
    np.testing.assert_allclose([curve[:, 1] for curve in curves], [[4, 2, 1, 3], [8, 4, 2, 6]])
    np.testing.assert_allclose(kept, [[2, 4]])


def test_learning_curve_has_the_lines_of_all_members_and_one_legend():
    figure = learning_curve_plot(trained(3, validation=True), figure=Figure())
    assert len(figure.axes[0].lines) == 3 * 3
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["training", "validation", "kept"]


def test_learning_curve_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no history of a training"):
        learning_curve_plot(SimpleNamespace(history_=[]), figure=Figure())


@pytest.mark.parametrize(
    "plot",
    [
        lambda **given: parity_plot(targets(0), targets(1), N_ATOMS, **given),
        lambda **given: pareto_plot(RESULTS, **given),
        lambda **given: learning_curve_plot(trained(), **given),
    ],
    ids=["parity", "pareto", "learning curve"],
)
def test_panels_stand_in_a_row_below_the_title(plot):
    given = Figure()
    figure = plot(title="Mo", figure=given)
    assert figure is given
    assert figure.get_suptitle() == "Mo"
    assert figure.axes[0].get_gridspec().get_geometry() == (1, len(figure.axes))


def test_figures_can_be_written_without_a_display(tmp_path):
    pareto_plot(RESULTS, title="Cost", figure=Figure()).savefig(tmp_path / "pareto.png")
    figure = parity_plot(targets(0), targets(1), N_ATOMS, title="SNAP", figure=Figure())
    figure.savefig(tmp_path / "parity.png")
    learning_curve_plot(trained(), title="NNP", figure=Figure()).savefig(tmp_path / "learning.png")
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")


def test_figure_of_pyplot_is_made_when_none_is_given():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    figure = pareto_plot(RESULTS)
    assert pyplot.gcf() is figure
    pyplot.close(figure)
