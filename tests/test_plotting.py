"""The figures: what they show, and what they refuse."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from ase.build import bulk  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

from mlfeat import Bispectrum, LinearPotential, make_targets, predict_targets  # noqa: E402
from mlfeat.metrics import evaluate  # noqa: E402
from mlfeat.plotting import (  # noqa: E402
    LearningCurveDisplay,
    ParetoDisplay,
    ParityDisplay,
    TrainingHistoryDisplay,
)

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


@pytest.fixture(scope="module")
def crystals():
    """Two groups of small crystals with energies, forces and stresses of ASE's EMT."""
    structures = []
    for seed in range(30):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (0.97 + 0.002 * seed), scale_atoms=True)
        atoms.rattle(0.02 * (seed % 4), seed=seed)
        atoms.info["group"] = "still" if seed % 4 == 0 else "hot"
        atoms.calc = EMT()
        atoms.get_stress()
        structures.append(atoms)
    return structures


def labels(figure):
    return [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes]


def test_parity_has_a_panel_for_each_quantity_with_its_unit():
    figure = ParityDisplay.from_predictions(targets(0), targets(1), N_ATOMS, figure=Figure()).figure_
    assert labels(figure) == [
        ("reference energy (eV/atom)", "predicted energy (eV/atom)"),
        ("reference force component (eV/Å)", "predicted force component (eV/Å)"),
        ("reference stress component (GPa)", "predicted stress component (GPa)"),
    ]


def test_parity_draws_energies_per_atom_and_all_force_components():
    reference, predicted = targets(0), targets(1)
    figure = ParityDisplay.from_predictions(reference, predicted, N_ATOMS, figure=Figure()).figure_
    energies, forces = (ax.collections[0].get_offsets() for ax in figure.axes[:2])
    np.testing.assert_allclose(energies[:, 0], reference["energy"] / N_ATOMS)
    np.testing.assert_allclose(energies[:, 1], predicted["energy"] / N_ATOMS)
    np.testing.assert_allclose(forces[:, 1], np.concatenate(predicted["forces"]).ravel())


def test_parity_writes_the_error():
    reference = targets(0)
    predicted = reference.copy()
    predicted["energy"] += 0.004 * N_ATOMS
    figure = ParityDisplay.from_predictions(reference, predicted, N_ATOMS, figure=Figure()).figure_
    assert figure.axes[0].texts[0].get_text() == "RMSE 4 meV/atom\n3 values"


def test_parity_leaves_out_what_the_targets_lack():
    reference = targets(0, forces=False, stress=False)
    figure = ParityDisplay.from_predictions(reference, targets(1), N_ATOMS, figure=Figure()).figure_
    assert [x for x, _ in labels(figure)] == ["reference energy (eV/atom)"]
    reference = targets(0, stress=False)
    reference["forces"][1] = None
    figure = ParityDisplay.from_predictions(reference, targets(1), N_ATOMS, figure=Figure()).figure_
    assert len(figure.axes) == 2
    assert len(figure.axes[1].collections[0].get_offsets()) == 3 * (2 + 4)


def test_parity_colors_by_group():
    groups = ["hot", "cold", "hot"]
    display = ParityDisplay.from_predictions(targets(0), targets(1), N_ATOMS, groups=groups, figure=Figure())
    assert [text.get_text() for text in display.figure_.legends[0].get_texts()] == ["hot", "cold"]
    energies, forces, stress = ([len(points.get_offsets()) for points in ax.collections] for ax in display.axes_)
    assert (energies, forces, stress) == ([2, 1], [3 * (2 + 4), 3 * 3], [12, 6])


def test_parity_of_an_estimator_draws_its_predictions(crystals):
    structures = crystals[::3]
    fitted = model().fit(structures, make_targets(structures))
    display = ParityDisplay.from_estimator(fitted, structures, by_group=True, figure=Figure())
    predicted = predict_targets(fitted, structures)["energy"] / [len(atoms) for atoms in structures]
    np.testing.assert_allclose(display.values["energy"][1], predicted)
    assert set(display.values["energy"][2]) == {atoms.info["group"] for atoms in structures}


def test_parity_of_nothing_is_refused():
    nothing = targets(0, forces=False, stress=False)
    nothing["energy"] = np.nan
    with pytest.raises(ValueError, match="no finite reference value"):
        ParityDisplay.from_predictions(nothing, targets(1), N_ATOMS, figure=Figure())


def test_parity_of_different_lengths_is_refused():
    with pytest.raises(ValueError, match="different lengths: 3, 2 and 3"):
        ParityDisplay.from_predictions(targets(0), targets(1)[:2], N_ATOMS, figure=Figure())


def result(label, cost, energy, force, **others):
    errors = {"energy_rmse": energy, "force_rmse": force}
    return {"label": label, "us_per_atom": cost, "n_parameters": 5, "test": errors} | others


RESULTS = [
    result("SNAP", 9.0, 0.004, 0.10),
    result("qSNAP", 14.0, 0.002, 0.07),
    result("NNP", 25.0, 0.003, 0.04),
    result("GAP", None, 0.001, 0.02),
]


def lines(ax):
    """Coordinates of the lines that have a label."""
    return {line.get_label(): line.get_xydata() for line in ax.lines if not line.get_label().startswith("_")}


def test_pareto_has_one_point_and_one_legend_entry_for_each_method():
    figure = ParetoDisplay.from_results(RESULTS, figure=Figure()).figure_
    names = ["SNAP", "qSNAP", "NNP", "Pareto front"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    for ax in figure.axes:
        assert list(lines(ax)) == names
        assert ax.get_xlabel() == "cost (µs per atom and step, one core)"
    np.testing.assert_allclose(lines(figure.axes[0])["SNAP"], [[9, 4]])
    assert figure.axes[0].get_ylabel() == "test energy RMSE (meV/atom)"
    assert figure.axes[1].get_ylabel() == "test force RMSE (eV/Å)"


def test_pareto_front_joins_the_methods_that_no_other_beats():
    display = ParetoDisplay.from_results(RESULTS, figure=Figure())
    energy, force = (lines(ax)["Pareto front"] for ax in display.axes_)
    np.testing.assert_allclose(energy, [[9, 4], [14, 2]])
    np.testing.assert_allclose(force, [[9, 0.1], [14, 0.07], [25, 0.04]])


def test_pareto_front_has_the_better_of_two_of_the_same_cost():
    results = [result("a", 9.0, 0.004, 0.1), result("b", 9.0, 0.003, 0.2)]
    display = ParetoDisplay.from_results(results, figure=Figure())
    np.testing.assert_allclose(lines(display.axes_[0])["Pareto front"], [[9, 3]])


def test_settings_of_a_method_are_joined_by_growing_cost_and_may_be_on_the_front():
    variants = [
        result("2J = 4", 3.0, 0.008, 0.2),
        result("2J = 2", 1.0, 0.02, 0.5),
        {"label": "no", "status": "failed"},
    ]
    display = ParetoDisplay.from_results([RESULTS[0] | {"variants": variants}, RESULTS[1]], figure=Figure())
    found = lines(display.axes_[0])
    np.testing.assert_allclose(found["SNAP"], [[1, 20], [3, 8], [9, 4]])
    np.testing.assert_allclose(found["Pareto front"], [[1, 20], [3, 8], [9, 4], [14, 2]])


def test_errors_of_training_and_test_against_the_number_of_parameters():
    results = [result("SNAP", None, 0.004, 0.1, n_parameters=56, train={"energy_rmse": 0.003, "force_rmse": 0.09})]
    display = ParetoDisplay.from_results(results, cost="n_parameters", sets=("train", "test"), figure=Figure())
    ax = display.axes_[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("number of parameters", "train and test energy RMSE (meV/atom)")
    drawn = sorted(tuple(xy) for line in ax.lines if line.get_label() != "Pareto front" for xy in line.get_xydata())
    np.testing.assert_allclose(drawn, [(56, 3), (56, 4)])


def test_pareto_without_forces_shows_energies():
    results = [result(str(cost), cost, 0.01, None) for cost in (1.0, 2.0)]
    display = ParetoDisplay.from_results(results, figure=Figure())
    assert display.quantities == ["energy_rmse"]
    assert len(display.axes_) == 1


@pytest.mark.parametrize("results", [[], [{"label": "SNAP", "us_per_atom": float("nan")}]])
def test_pareto_of_nothing_is_refused(results):
    with pytest.raises(ValueError, match="no result has both us_per_atom and an error of test"):
        ParetoDisplay.from_results(results, figure=Figure())


def test_pareto_of_an_unknown_cost_is_refused():
    with pytest.raises(ValueError, match="cost='price': must be one of us_per_atom, n_parameters"):
        ParetoDisplay.from_results(RESULTS, cost="price", figure=Figure())


def point(n, error):
    errors = {"energy_rmse": error, "force_rmse": 10 * error, "stress_rmse": None}
    return {"n_structures": n, "train": errors, "test": {name: error and 2 * error for name, error in errors.items()}}


CURVES = [
    {"label": "SNAP", "learning_curve": [point(10, 0.004), point(100, 0.002)]},
    {"label": "failed"},
    {"label": "GAP", "learning_curve": [point(10, 0.003), point(100, 0.001)]},
]


def test_learning_curves_have_a_line_for_each_method_and_set():
    display = LearningCurveDisplay.from_results(CURVES, figure=Figure())
    assert display.quantities == ["energy_rmse", "force_rmse"]
    energy, force = (lines(ax) for ax in display.axes_)
    assert list(energy) == ["SNAP, test", "SNAP, train", "GAP, test", "GAP, train"]
    np.testing.assert_allclose(energy["SNAP, train"], [[10, 4], [100, 2]])
    np.testing.assert_allclose(energy["GAP, test"], [[10, 6], [100, 2]])
    np.testing.assert_allclose(force["SNAP, test"], [[10, 0.08], [100, 0.04]])
    assert labels(display.figure_)[0] == ("structures in the training set", "energy RMSE (meV/atom)")


def test_learning_curve_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no result has a learning_curve"):
        LearningCurveDisplay.from_results([{"label": "SNAP"}], figure=Figure())


def model():
    return make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), LinearPotential())


@pytest.mark.filterwarnings("ignore::mlfeat.ExtrapolationWarning")  # of the model that is compared with
def test_learning_curve_of_an_estimator_has_the_errors_of_fits_to_growing_sets(crystals):
    train, test = crystals[:20], crystals[20:]
    sizes = {"train_sizes": (5, 20), "figure": Figure()}
    display = LearningCurveDisplay.from_estimator(model(), train, test_structures=test, **sizes)
    (curve,) = display.curves.values()
    assert [point["n_structures"] for point in curve] == [5, 20]
    fitted = model().fit(train, make_targets(train))
    for name, whole in (("train", train), ("test", test)):
        for key, value in evaluate(fitted, whole).items():
            np.testing.assert_allclose(curve[-1][name][key], [value], rtol=1e-6)
    assert len(display.axes_) == 3
    assert list(lines(display.axes_[0])) == ["test", "train"]


def test_learning_curve_of_an_estimator_crosses_over_folds(crystals):
    structures = crystals[::2]
    settings = {"cv": 3, "train_sizes": (0.5, 1.0), "figure": Figure()}
    display = LearningCurveDisplay.from_estimator(model(), structures, **settings)
    (curve,) = display.curves.values()
    n_train = len(structures) - -(-len(structures) // 3)
    assert [point["n_structures"] for point in curve] == [round(0.5 * n_train), n_train]
    assert curve[0]["test"]["energy_rmse"].shape == (3,)
    mean = 1000 * curve[1]["test"]["energy_rmse"].mean()
    np.testing.assert_allclose(lines(display.axes_[0])["test"][-1], [n_train, mean])
    assert len(display.axes_[0].collections) == 2  # bands of the two lines


@pytest.mark.parametrize("sizes", [(0,), (11,), (1.5,), ()])
def test_learning_curve_of_an_impossible_size_is_refused(crystals, sizes):
    structures = crystals[:10]
    with pytest.raises(ValueError, match=r"must give 1 to 10 structures"):
        LearningCurveDisplay.from_estimator(model(), structures, test_structures=structures, train_sizes=sizes)


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


def test_training_history_has_a_panel_for_each_quantity_with_its_unit():
    figure = TrainingHistoryDisplay.from_estimator(trained(), figure=Figure()).figure_
    assert labels(figure) == [
        ("epoch", "energy RMSE (meV/atom)"),
        ("epoch", "force RMSE (eV/Å)"),
        ("epoch", "stress RMSE (GPa)"),
    ]
    assert len(TrainingHistoryDisplay.from_estimator(trained(stress=False), figure=Figure()).axes_) == 2


def test_training_history_of_moments_has_iterations():
    potential = trained(stress=False)
    for curve in potential.history_:
        curve["level"] = np.array([8, 8, 12, 12])
    figure = TrainingHistoryDisplay.from_estimator(potential, figure=Figure()).figure_
    assert {label for label, _ in labels(figure)} == {"iteration"}


def test_training_history_draws_errors_after_each_epoch_and_marks_the_least_loss():
    figure = TrainingHistoryDisplay.from_estimator(trained(), figure=Figure()).figure_
    curve, kept = (line.get_xydata() for line in figure.axes[0].lines)
    np.testing.assert_allclose(curve, [[1, 4000], [2, 2000], [3, 1000], [4, 3000]])
    np.testing.assert_allclose(kept, [[3, 1000]])


def test_training_history_marks_the_least_validation_loss_if_there_is_one():
    figure = TrainingHistoryDisplay.from_estimator(trained(validation=True), figure=Figure()).figure_
    *curves, kept = (line.get_xydata() for line in figure.axes[1].lines)
    np.testing.assert_allclose([curve[:, 1] for curve in curves], [[4, 2, 1, 3], [8, 4, 2, 6]])
    np.testing.assert_allclose(kept, [[2, 4]])


def test_training_history_has_the_lines_of_all_members_and_one_legend():
    figure = TrainingHistoryDisplay.from_estimator(trained(3, validation=True), figure=Figure()).figure_
    assert len(figure.axes[0].lines) == 3 * 3
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["training", "validation", "kept"]


def test_training_history_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no history of a training"):
        TrainingHistoryDisplay.from_estimator(SimpleNamespace(history_=[]), figure=Figure())


@pytest.mark.parametrize(
    "plot",
    [
        lambda **given: ParityDisplay.from_predictions(targets(0), targets(1), N_ATOMS, **given),
        lambda **given: ParetoDisplay.from_results(RESULTS, **given),
        lambda **given: LearningCurveDisplay.from_results(CURVES, **given),
        lambda **given: TrainingHistoryDisplay.from_estimator(trained(), **given),
    ],
    ids=["parity", "pareto", "learning curve", "history"],
)
def test_panels_stand_in_a_row_below_the_title(plot):
    given = Figure()
    figure = plot(title="Mo", figure=given).figure_
    assert figure is given
    assert figure.get_suptitle() == "Mo"
    assert figure.axes[0].get_gridspec().get_geometry() == (1, len(figure.axes))


def test_panels_can_be_axes_of_several_figures():
    axes = [Figure().add_subplot() for _ in range(2)]
    display = ParetoDisplay.from_results(RESULTS, axes=axes)
    assert list(display.axes_) == axes
    assert list(lines(axes[1])) == list(lines(display.plot(figure=Figure()).axes_[1]))
    with pytest.raises(ValueError, match="there are 1 axes for 2 panels"):
        display.plot(axes=axes[:1])


@pytest.mark.parametrize(("low", "high"), [(9.0, 9.5), (9.0, 30.0), (1.0, 99.0), (1e-3, 1e4)])
def test_logarithmic_axes_have_several_plain_numbers(low, high):
    results = [result(str(cost), cost, 0.001 * cost, None) for cost in (low, high)]
    ax = ParetoDisplay.from_results(results, figure=Figure()).axes_[0]
    for axis in (ax.xaxis, ax.yaxis):
        first, last = axis.get_view_interval()
        ticks = [tick for tick in axis.get_majorticklocs() if first <= tick <= last]
        assert 2 <= len(ticks) <= 10
        assert [float(axis.get_major_formatter()(tick)) for tick in ticks] == pytest.approx(ticks, rel=1e-5)
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_figures_can_be_written_without_a_display(tmp_path):
    ParetoDisplay.from_results(RESULTS, title="Cost", figure=Figure()).figure_.savefig(tmp_path / "pareto.png")
    figure = ParityDisplay.from_predictions(targets(0), targets(1), N_ATOMS, title="SNAP", figure=Figure()).figure_
    figure.savefig(tmp_path / "parity.png")
    TrainingHistoryDisplay.from_estimator(trained(), title="NNP", figure=Figure()).figure_.savefig(
        tmp_path / "learning.png"
    )
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")


def test_figure_of_pyplot_is_made_when_none_is_given():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    figure = ParetoDisplay.from_results(RESULTS).figure_
    assert pyplot.gcf() is figure
    pyplot.close(figure)
