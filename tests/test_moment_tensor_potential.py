"""MomentTensorPotential: what training does, what it refuses, models with it, extrapolation, pruning."""

import pickle
import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlfeat import (
    Bispectrum,
    FeatureScaler,
    LinearPotential,
    MomentTensor,
    MomentTensorPotential,
    PotentialCalculator,
    extrapolation_grades,
    load,
    make_targets,
    predict_targets,
    save,
    select_structures,
)
from mlfeat.base import warn_of_extrapolation
from mlfeat.features import AtomFeatures
from mlfeat.potentials import ZBL, _moment_training
from mlfeat.potentials._moment_model import errors_of
from mlfeat.potentials._moment_problem import MomentProblem
from mlfeat.potentials._moment_settings import MemoryForecast, iterations, memory_forecast
from mlfeat.potentials._moment_varpro import minimize_varpro
from mlfeat.testing import toy_training_set


@pytest.fixture(scope="module")
def train():
    return toy_training_set(("Mo", "Ni"), n_structures=10)


@pytest.fixture(scope="module")
def targets(train):
    return make_targets(train)


@pytest.fixture(scope="module")
def features(train):
    return descriptor().fit_transform(train)


def descriptor(level=8, **parameters):
    return MomentTensor(**{"cutoff": 4.0, "level": level, "n_polynomials": 4, **parameters})


def potential(solver="varpro", **parameters):
    return MomentTensorPotential(solver, **{"max_iter": 6, "random_state": 0, **parameters})


def model(level=8, **parameters):
    return make_pipeline(descriptor(level), potential(**parameters))


# ---------------------------------------------------------------------- training


def test_the_best_of_several_starts_goes_on(features, targets):
    one, two, four = (potential(n_init=n, random_state=1).fit(features, targets).history_[0]["loss"] for n in (1, 2, 4))
    assert two[-1] < 0.6 * one[-1]
    np.testing.assert_array_equal(four, two)  # of the one that is taken, not of those that were tried
    with pytest.raises(ValueError, match="n_init=0"):
        potential(n_init=0).fit(features, targets)


def test_the_best_start_has_the_least_validation_loss(features, targets, monkeypatch):
    """Whatever its last one is."""
    calls = []

    def minimize(problem, radial, max_iter, tol, report):
        calls.append(radial)
        if len(calls) > 1:
            return _moment_training.solve_ridge(problem, radial, max_iter, tol, report)
        minimize_varpro(problem, radial, max_iter, tol, report)
        return report(radial, np.full(9, 1e3), np.zeros(2))

    monkeypatch.setitem(_moment_training.MINIMIZE, "varpro", minimize)
    fitted = potential(n_init=2, early_stopping=True, validation_fraction=0.3, max_iter=20).fit(features, targets)
    assert len(calls) == 2
    assert fitted.n_iter_ > 1


@pytest.mark.parametrize(
    ("parameters", "share"),
    [
        ({"max_iter": 20}, 0.1),
        ({"max_iter": 20, "initial": "given"}, 0.1),
        ({"max_iter": 20, "initial": "random", "scaling": 0.02}, 0.1),
        ({"max_iter": 20, "tied": False, "weighting": "structures"}, 0.2),
        ({"max_iter": 20, "intercept": None, "weighting": "molecules"}, 0.2),
        ({"solver": "bfgs", "max_iter": 60}, 0.2),
        ({"solver": "bfgs", "max_iter": 60, "tied": False, "intercept": {"Mo": -1.0, "Ni": -2.0}}, 0.2),
    ],
)
def test_loss_falls(features, targets, parameters, share):
    fitted = potential(**parameters).fit(features, targets)
    losses = fitted.history_[0]["loss"]
    assert losses[-1] == losses.min() < share * losses[0]
    assert fitted.score(features, targets) > 0.95


@pytest.mark.parametrize("solver", ["varpro", "bfgs", "ridge"])
def test_history_is_what_the_potential_does(features, targets, solver):
    fitted = potential(solver).fit(features, targets)
    found, n_atoms = fitted.predict_targets(features), np.array([item.n_atoms for item in features])
    history = fitted.history_[0]
    energies = (found["energy"] - targets["energy"]) / n_atoms
    np.testing.assert_allclose(history["energy"][-1], np.sqrt(np.mean(energies**2)), rtol=1e-8)
    forces = np.concatenate([(a - b).ravel() for a, b in zip(found["forces"], targets["forces"], strict=True)])
    np.testing.assert_allclose(history["forces"][-1], np.sqrt(np.mean(forces**2)), rtol=1e-8)
    stress = found["stress"] - targets["stress"]
    np.testing.assert_allclose(history["stress"][-1], np.sqrt(np.mean(stress**2)), rtol=1e-8)
    assert fitted.n_iter_ == len(history["loss"]) == len(history["level"])


def test_tol_ends_varpro(features, targets):
    fitted = potential(initial="random", max_iter=60, alpha=0, tol=0.1).fit(features, targets)
    losses = fitted.history_[0]["loss"]
    assert 3 < len(losses) < 20
    assert losses[-1] > 0.9 * losses[-2]
    more = clone(fitted).set_params(tol=0).fit(features, targets).history_[0]["loss"]
    np.testing.assert_array_equal(more[: len(losses)], losses)
    assert len(more) > len(losses)


def test_tol_ends_bfgs(features, targets):
    """It looks back ten iterations; the last entry is that of the linear parameters solved for."""
    fitted = potential("bfgs", initial="random", max_iter=60, tol=1e6).fit(features, targets)
    assert fitted.n_iter_ == 11 + 1


def test_bfgs_makes_no_pass_for_errors_that_it_has(features, targets, monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(1)
        return errors_of(*arguments)

    monkeypatch.setattr(_moment_training, "errors_of", counted)
    fitted = potential("bfgs", initial="random", max_iter=10).fit(features, targets)
    assert fitted.n_iter_ > len(calls) == 1


@pytest.mark.parametrize(
    ("solver", "level", "expected"),
    [("bfgs", 16, 500), ("bfgs", 18, 1000), ("bfgs", 20, 1000), ("bfgs", 24, 2000), ("varpro", 24, 60)],
)
def test_iterations(solver, level, expected):
    assert iterations(MomentTensorPotential(solver), level) == expected
    assert iterations(MomentTensorPotential(solver, max_iter=7), level) == 7


@pytest.mark.parametrize(("max_iter", "early", "last"), [("auto", 15, 60), (20, 15, 20), (3, 3, 3)])
def test_early_levels_get_few_iterations(train, targets, monkeypatch, max_iter, early, last):
    seen = []

    def minimize(problem, radial, most, tol, report):
        seen.append((most, tol))
        _moment_training.solve_ridge(problem, radial, most, tol, report)

    monkeypatch.setitem(_moment_training.MINIMIZE, "varpro", minimize)
    model(level=14, max_iter=max_iter, n_init=1, alpha=1e-6).fit(train, targets)
    assert seen == [(early, 0.02), (early, 0.02), (last, 1e-3)]


def test_levels_rise(train, targets):
    fitted = model(level=14, max_iter=2, alpha=1e-6).fit(train, targets)[-1]
    levels = fitted.history_[0]["level"]
    assert list(dict.fromkeys(levels)) == [8, 12, 14]
    assert (np.diff(levels) >= 0).all()
    first = fitted.history_[0]["loss"][levels == 12][0]
    assert first < fitted.history_[0]["loss"][levels == 8][-1]  # all contractions of before are there


def test_ridge_leaves_the_radial_functions(features, targets):
    fitted = potential("ridge").fit(features, targets)
    np.testing.assert_array_equal(fitted.radial_coef_[0], features[0].descriptor.radial_coefficients_)
    radial = np.random.default_rng(0).normal(size=fitted.radial_coef_.shape[1:])
    given = features[0].descriptor.with_radial(radial).remake(features)
    fitted = potential("ridge", scaling=0.01).fit(given, targets)
    np.testing.assert_array_equal(fitted.radial_coef_[0], radial)
    assert fitted.scaling_ == [0.01]


def test_radial_functions_have_the_norm_one(features, targets):
    fitted = potential(n_models=2, max_iter=2).fit(features, targets)
    np.testing.assert_allclose(np.sum(fitted.radial_coef_**2, axis=(1, 2, 4)), 1.0, rtol=1e-12)


def test_tied_coefficients_are_alike(features, targets):
    coef = potential("ridge").fit(features, targets).coef_[0]
    np.testing.assert_array_equal(coef[0], coef[1])
    coef = potential("ridge", tied=False).fit(features, targets).coef_[0]
    assert not np.isclose(coef[0], coef[1]).any()


def test_penalty_makes_coefficients_small(features, targets):
    size = [np.linalg.norm(potential("ridge", alpha=a).fit(features, targets).coef_) for a in (1e-9, 1e-2, 1e2)]
    assert size[0] > 2 * size[1] > 20 * size[2]


def test_units_do_not_matter_to_the_penalty(features, targets):
    """Scaling changes the unit of the features, and not the fit."""
    expected = potential("ridge", alpha=0.01, scaling=0.02).fit(features, targets).predict(features)
    found = potential("ridge", alpha=0.01, scaling=0.1).fit(features, targets).predict(features)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_structures_without_weight_do_not_count(features, targets):
    weights = np.ones(len(features))
    weights[[0, 5]] = 0.0
    found = potential("ridge", scaling=0.02, intercept=None).fit(features, targets, weights)
    rest = np.flatnonzero(weights)
    expected = potential("ridge", scaling=0.02, intercept=None).fit(features[rest], targets[rest])
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-8)


def test_group_weights(train, targets):
    """A group's factor is as good as sample weights, and three factors weigh the kinds."""
    named = [atoms.copy() for atoms in train]
    for atoms in named[:4]:
        atoms.info["group"] = "first"
    features = descriptor().fit_transform(named)
    plain = {"scaling": 0.02, "intercept": None}
    found = potential("ridge", group_weights={"first": 3.0}, **plain).fit(features, targets).coef_
    weights = np.repeat([3.0, 1.0], [4, 6])
    np.testing.assert_allclose(found, potential("ridge", **plain).fit(features, targets, weights).coef_, rtol=1e-8)
    none = {"group_weights": {"first": (1.0, 0.0, 1.0)}}
    found = potential("ridge", **none, **plain).fit(features, targets).coef_
    part = targets.copy()
    part["forces"][:4] = None
    np.testing.assert_allclose(found, potential("ridge", **plain).fit(features, part).coef_, rtol=1e-8)
    with pytest.warns(UserWarning, match="group_weights names 'other'"):
        potential("ridge", group_weights={"other": 2.0}).fit(features, targets)


@pytest.mark.parametrize("solver", ["varpro", "bfgs"])
def test_energies_alone(features, targets, solver):
    fitted = potential(solver, force_weight=0, stress_weight=0, max_iter=20).fit(features, targets["energy"])
    assert fitted.history_[0]["energy"][-1] < 0.1 * np.std(targets["energy"] / 12)
    assert np.isnan(fitted.history_[0]["forces"]).all()


@pytest.mark.parametrize("solver", ["varpro", "bfgs"])
def test_missing_forces_and_stresses(features, targets, solver):
    part = targets.copy()
    part["forces"][::2] = None
    part["stress"][::3] = np.nan
    assert potential(solver, max_iter=20).fit(features, part).score(features, targets) > 0.9


def test_baseline(train, targets):
    baseline = ZBL(inner=1.6, outer=3.1)
    fitted = model(baseline=baseline, max_iter=15).fit(train, targets)
    found = predict_targets(fitted, train)
    assert fitted.score(train, targets) > 0.9
    calculator = PotentialCalculator(fitted)
    np.testing.assert_allclose(calculator.get_potential_energy(train[0]), found["energy"][0], rtol=1e-10)
    np.testing.assert_allclose(calculator.get_forces(train[0]), found["forces"][0], rtol=1e-8, atol=1e-10)


def test_fixed_intercept(features, targets):
    fitted = potential("ridge", intercept={"Mo": -1.0, "Ni": -2.0}).fit(features, targets)
    np.testing.assert_array_equal(fitted.intercept_, [[-1.0, -2.0]])
    np.testing.assert_array_equal(potential("ridge", intercept=None).fit(features, targets).intercept_, [[0.0, 0.0]])


# ---------------------------------------------------------------------- reproducible, and not lost


@pytest.mark.parametrize("solver", ["varpro", "bfgs"])
def test_same_seed_same_potential(features, targets, solver):
    first = potential(solver).fit(features, targets)
    again = potential(solver).fit(features, targets)
    np.testing.assert_array_equal(again.radial_coef_, first.radial_coef_)
    np.testing.assert_array_equal(again.coef_, first.coef_)
    assert not np.isclose(
        potential(solver, random_state=1).fit(features, targets).radial_coef_, first.radial_coef_
    ).all()


@pytest.mark.parametrize("solver", ["varpro", "bfgs"])
def test_result_does_not_depend_on_threads(features, targets, solver):
    expected = potential(solver).fit(features, targets)
    found = potential(solver, n_jobs=3).fit(features, targets)
    np.testing.assert_array_equal(found.coef_, expected.coef_)


def test_rows_that_are_not_kept(features, targets, monkeypatch):
    expected = potential().fit(features, targets)
    monkeypatch.setattr("mlfeat.potentials._moment_settings.KEPT_BYTES", 0)
    np.testing.assert_allclose(potential().fit(features, targets).coef_, expected.coef_, rtol=1e-6)


def test_warm_start_goes_on(features, targets):
    fitted = potential(max_iter=8, warm_start=True, initial="random").fit(features, targets)
    before = fitted.history_[0]["loss"][-1]
    fitted.fit(features, targets)
    assert fitted.history_[0]["loss"][0] < 1.01 * before
    wider = descriptor(n_polynomials=5).fit_transform([item.pairs.to_atoms() for item in features])
    with pytest.raises(ValueError, match="warm_start=False"):
        fitted.fit(wider, targets)


def test_warm_start_keeps_functions_and_scaling_of_each_member(features, targets):
    fitted = potential(max_iter=2, initial="random", n_models=2, warm_start=True).fit(features, targets)
    radial, scaling = fitted.radial_coef_, fitted.scaling_
    fitted.set_params(solver="ridge").fit(features[:6], targets[:6])
    np.testing.assert_array_equal(fitted.radial_coef_, radial)
    np.testing.assert_array_equal(fitted.scaling_, scaling)


def test_early_stopping_keeps_the_best(features, targets):
    stopping = {"early_stopping": True, "validation_fraction": 0.5, "n_iter_no_change": 3, "tol": 1e-3}
    noisy = targets.copy()
    noisy["energy"] += np.random.default_rng(0).normal(size=len(noisy))
    fitted = potential(max_iter=60, alpha=0, **stopping).fit(features, noisy)
    losses = fitted.history_[0]["validation_loss"]
    assert fitted.n_iter_ == len(losses) < 60
    assert np.argmin(losses) < len(losses) - 1
    again = clone(fitted).set_params(max_iter=max(1, int(np.argmin(losses)))).fit(features, noisy)
    assert again.history_[0]["validation_loss"].min() == losses.min()
    np.testing.assert_array_equal(again.coef_, fitted.coef_)


def interrupt(monkeypatch, call):
    """Raise KeyboardInterrupt when a problem is linearized that often."""
    linearize, calls = MomentProblem.linearize, []

    def interrupted(self, projected):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return linearize(self, projected)

    monkeypatch.setattr(MomentProblem, "linearize", interrupted)


def test_interruption_keeps_the_best(features, targets, monkeypatch):
    interrupt(monkeypatch, 4)
    fitted = potential(max_iter=20)
    with pytest.warns(UserWarning, match="interrupted in iteration 4 of potential 1 of 1"):
        fitted.fit(features, targets)
    losses = fitted.history_[0]["loss"]
    assert len(losses) == 3
    found = fitted.predict_targets(features)
    errors = (found["energy"] - targets["energy"]) / 12
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), fitted.history_[0]["energy"][-1], rtol=1e-8)


def test_interruption_at_a_low_level(train, targets, monkeypatch):
    """What was learnt there is a potential of the highest level, with coefficients that are zero."""
    interrupt(monkeypatch, 3)
    fitted = model(level=12)
    with pytest.warns(UserWarning, match="interrupted"):
        fitted.fit(train, targets)
    coef, levels = fitted[-1].coef_[0, 0], fitted[0].basis_.levels
    assert fitted[-1].history_[0]["level"].max() == 8
    assert not coef[levels > 8].any()
    assert coef[levels <= 8].all()
    errors = (fitted.predict(train) - targets["energy"]) / 12
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), fitted[-1].history_[0]["energy"][-1], rtol=1e-8)


def test_interruption_of_a_committee_keeps_whole_members(features, targets, monkeypatch):
    expected = potential().fit(features, targets)
    n = expected.n_iter_
    interrupt(monkeypatch, n + 1)
    fitted = potential(n_models=3)
    with pytest.warns(UserWarning, match=f"interrupted in iteration {n + 1} of potential 1 of 3"):
        fitted.fit(features, targets)
    np.testing.assert_array_equal(fitted.coef_, expected.coef_)


def test_interruption_before_the_first_iteration_is_passed_on(features, targets, monkeypatch):
    interrupt(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        potential().fit(features, targets)


def test_failure_leaves_the_potential_as_it_was(features, targets):
    fitted = potential("ridge").fit(features, targets)
    expected = fitted.predict(features)
    wrong = targets.copy()
    wrong["energy"][2] = np.nan
    with pytest.raises(ValueError, match="structure 2"):
        fitted.fit(features, wrong)
    with pytest.raises(ValueError, match="solver"):
        fitted.set_params(solver="sgd").fit(features, targets)
    np.testing.assert_array_equal(fitted.predict(features), expected)


def test_progress(features, targets, capsys):
    potential(max_iter=2, verbose=True).fit(features, targets)  # not on a terminal: silent
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------------- models


def test_descriptor_of_the_pipeline_stays(train, targets):
    fitted = model().fit(train, targets)
    plain = descriptor().fit(train)
    np.testing.assert_array_equal(fitted[0].radial_coefficients_, plain.radial_coefficients_)
    learned = fitted[-1].learned_descriptor(fitted[0])
    np.testing.assert_array_equal(learned.radial_coefficients_, fitted[-1].radial_coef_[0])
    assert fitted[-1].learned_descriptor(learned) is learned


def test_features_of_both_descriptors_give_the_same(train, targets):
    fitted = model(n_models=2).fit(train, targets)
    plain, learned = fitted[0].transform(train), fitted[-1].learned_descriptor(fitted[0]).transform(train)
    assert learned.shape[1] == 2 * plain.shape[1]
    np.testing.assert_array_equal(fitted[-1].predict(plain), fitted[-1].predict(learned))
    found = fitted[-1].predict_targets(plain)
    np.testing.assert_array_equal(found["stress"], fitted[-1].predict_targets(learned)["stress"])
    np.testing.assert_array_equal(found["energy"], predict_targets(fitted, train)["energy"])
    np.testing.assert_allclose(found["energy"], [PotentialCalculator(fitted).get_potential_energy(a) for a in train])
    calculator = PotentialCalculator(fitted)
    np.testing.assert_array_equal(calculator.model.predict(train), fitted.predict(train))


def test_foreign_features_are_refused(train, targets):
    fitted = model().fit(train, targets)
    plain = fitted[0].transform(train)
    for method in (fitted[-1].energy_and_cotangent, fitted[-1].extrapolation_grade):
        with pytest.raises(ValueError, match="learned_descriptor"):
            method(plain[0])
    other = Bispectrum(4.0, 2).fit_transform(train)
    with pytest.raises(ValueError, match="expecting 9 features"):
        fitted[-1].predict(other)
    few = Bispectrum(4.0, 2).fit(train).transform(train)
    fitted[-1].n_features_in_ = few.shape[1]
    with pytest.raises(ValueError, match="put a MomentTensor there"):
        fitted[-1].predict(few)


def test_model_is_an_estimator(train, targets, tmp_path):
    fitted = model(n_models=2, max_iter=3).fit(train, targets)
    expected = predict_targets(fitted, train)
    path = save(fitted, tmp_path / "model.mlfeat")
    for twin in (pickle.loads(pickle.dumps(fitted)), load(path), clone(fitted).fit(train, targets)):
        found = predict_targets(twin, train)
        np.testing.assert_array_equal(found["energy"], expected["energy"])
        np.testing.assert_array_equal(found["stress"], expected["stress"])
        np.testing.assert_array_equal(twin[-1].energy_model().coef, fitted[-1].energy_model().coef)
        np.testing.assert_array_equal(extrapolation_grades(twin, train), extrapolation_grades(fitted, train))
        assert twin[-1].history_[0]["loss"].shape == fitted[-1].history_[0]["loss"].shape
    energies = [PotentialCalculator(load(path)).get_potential_energy(atoms) for atoms in train]
    np.testing.assert_allclose(energies, expected["energy"], rtol=1e-12)


def test_damaged_state_is_refused(train, targets, tmp_path):
    fitted = model().fit(train, targets)
    fitted[-1].coef_ = fitted[-1].coef_[:, :, :-1]
    with pytest.raises(ValueError, match="8 features"):
        save(fitted, tmp_path / "model.mlfeat")


def test_grid_search(train, targets):
    grid = {"momenttensorpotential__alpha": [1e-8, 1e-2], "momenttensor__cutoff": [3.6, 4.0]}
    search = GridSearchCV(model(max_iter=2), grid, cv=2).fit(train, targets)
    assert np.isfinite(search.best_score_)
    assert search.best_params_["momenttensorpotential__alpha"] in (1e-8, 1e-2)


def test_forces_of_the_calculator_are_differences(train, targets):
    fitted = model(n_models=2, max_iter=3).fit(train, targets)
    atoms = train[0].copy()
    atoms.calc = PotentialCalculator(fitted)
    forces, h = atoms.get_forces(), 1e-3
    for index in ((0, 0), (7, 1), (11, 2)):
        energies = []
        for step in (2 * h, h, -h, -2 * h):
            moved = atoms.copy()
            moved.positions[index] += step
            energies.append(fitted.predict([moved])[0])
        slope = (8 * (energies[1] - energies[2]) - (energies[0] - energies[3])) / (12 * h)
        np.testing.assert_allclose(forces[index], -slope, rtol=1e-6, atol=1e-7)


def test_committee(train, targets):
    fitted = model(n_models=3, max_iter=3).fit(train, targets)
    features = fitted[:-1].transform(train)
    members = []
    for k in range(3):
        own = pickle.loads(pickle.dumps(fitted[-1]))
        for name in ("radial_coef_", "scaling_", "coef_", "intercept_"):
            setattr(own, name, getattr(own, name)[k : k + 1])
        members.append(own.predict_targets(features))
        assert not hasattr(own, "predict_std")
    energies, std = fitted.predict(train, return_std=True)
    np.testing.assert_allclose(energies, np.mean([m["energy"] for m in members], axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, np.std([m["energy"] for m in members], axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(fitted[-1].predict_std(features), std, rtol=1e-12)
    forces = np.array([m["forces"][1] for m in members])
    calculator = PotentialCalculator(fitted)
    np.testing.assert_allclose(calculator.get_property("forces", train[1]), forces.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(calculator.get_property("forces_std", train[1]), forces.std(axis=0, ddof=1), atol=1e-10)
    np.testing.assert_allclose(calculator.get_property("energy_std", train[1]), std[1], rtol=1e-9)
    assert calculator.get_property("energies_std", train[1]).shape == (12,)
    assert len(fitted[-1].history_) == 3


# ---------------------------------------------------------------------- extrapolation


def test_extrapolation(train, targets):
    fitted = model().fit(train, targets)
    assert extrapolation_grades(fitted, train).max() <= 1 + 1e-6
    close = train[0].copy()
    close.set_cell(0.85 * close.cell, scale_atoms=True)
    grades = extrapolation_grades(fitted, [*train, close])
    assert grades[-1] > 2
    calculator = PotentialCalculator(fitted)
    assert calculator.get_property("extrapolation_grade", close).shape == (12,)
    np.testing.assert_allclose(calculator.get_property("extrapolation_grade", close).max(), grades[-1], rtol=1e-9)
    with pytest.warns(UserWarning, match="extrapolates"):
        warn_of_extrapolation(fitted, [close])


def test_selection_takes_what_is_new(train, targets):
    fitted = model().fit(train, targets)
    close, wide = train[0].copy(), train[1].copy()
    close.set_cell(0.85 * close.cell, scale_atoms=True)
    wide.set_cell(1.15 * wide.cell, scale_atoms=True)
    candidates = [train[2], close, close.copy(), train[3], wide]
    chosen, grades = fitted[-1].select(fitted[:-1].transform(candidates), 5)
    assert len(set(chosen) & {1, 2}) == 1  # of two that are alike, one
    assert {*chosen} <= {1, 2, 4}
    assert (grades > 1).all()
    assert len(fitted[-1].select(fitted[:-1].transform(candidates), 1)[0]) == 1
    for found, expected in zip(select_structures(fitted, candidates, 5), (chosen, grades), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_potential_that_cannot_select(train, targets):
    other = make_pipeline(Bispectrum(twojmax=2), LinearPotential()).fit(train, targets)
    with pytest.raises(TypeError, match="LinearPotential cannot select structures.*extrapolation_grades"):
        select_structures(other, train, 2)
    without = model(solver="ridge").fit(train, targets)
    without[-1].active_set_ = None
    with pytest.raises(TypeError, match=r"what it was fitted to\)$"):
        select_structures(without, train, 2)


def test_potential_without_an_active_set(features, targets):
    fitted = potential("ridge").fit(features, targets)
    fitted.active_set_ = None
    assert not hasattr(fitted, "extrapolation_grade")
    assert not hasattr(fitted, "select")
    fitted._check_fitted()


# ---------------------------------------------------------------------- pruning


@pytest.mark.parametrize("tied", [True, False])
def test_pruning(train, targets, tied, tmp_path):
    fitted = model(level=12, tied=tied, max_iter=5).fit(train, targets)
    features = fitted[:-1].transform(train)
    small, report = fitted[-1].prune(features, targets, cost=0.5, refine=3)
    assert report.n_features == (29, len(small.basis_[2]))
    assert small.coef_.shape == (1, 2, report.n_features[1])
    assert report.cost[1] <= 0.5 * report.cost[0]
    assert small.get_params() == fitted[-1].get_params()
    found = small.predict_targets(features)
    errors = (found["energy"] - targets["energy"]) / 12
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), report.errors[1].energy, rtol=1e-7)
    np.testing.assert_allclose(report.errors[0].energy, fitted[-1].history_[0]["energy"][-1], rtol=1e-7)
    cheap = make_pipeline(fitted[0], small)
    np.testing.assert_allclose(cheap.predict(train), found["energy"], rtol=1e-12)
    calculator = PotentialCalculator(cheap)
    np.testing.assert_allclose(calculator.get_potential_energy(train[0]), found["energy"][0], rtol=1e-12)
    assert extrapolation_grades(cheap, train).max() <= 1 + 1e-6
    twin = load(save(cheap, tmp_path / "cheap.mlfeat"))
    np.testing.assert_array_equal(twin.predict(train), cheap.predict(train))
    again, second = twin[-1].prune(features, targets, cost=0.6, refine=0)
    assert second.n_features[0] == report.n_features[1] > second.n_features[1] == again.coef_.shape[-1]


def test_pruning_within_a_loss(train, targets):
    fitted = model(level=12, max_iter=5).fit(train, targets)
    features = fitted[:-1].transform(train)
    report = fitted[-1].prune(features, targets, cost=0, max_increase=0.1, refine=0)[1]
    assert report.path.loss[-1] <= 1.1 * report.path.loss[0]
    assert report.errors[1].loss < 1.2 * report.errors[0].loss
    assert 1 < report.n_features[1] < 29


def test_pruning_honours_sample_weights(train, targets):
    fitted = model(level=12, max_iter=5).fit(train, targets)
    features, weights = fitted[:-1].transform(train), np.repeat([1.0, 0.0], 5)
    reports = [fitted[-1].prune(features, targets, w, refine=0)[1] for w in (weights, 1 - weights, None)]
    some, others, every = (report.errors[0].loss for report in reports)
    np.testing.assert_allclose(some + others, every, rtol=1e-12)
    some, others, every = (report.path.loss[0] for report in reports)
    assert some + others < 0.99 * every  # each with the best coefficients of its own


def test_pruning_trains_radial_functions_again(train, targets):
    fitted = model(level=12, max_iter=5).fit(train, targets)
    features = fitted[:-1].transform(train)
    (left, as_it_was), (trained, better) = (
        fitted[-1].prune(features, targets, cost=0.3, refine=refine) for refine in (0, 4)
    )
    n_radial = left.radial_coef_.shape[3]
    np.testing.assert_array_equal(left.radial_coef_, fitted[-1].radial_coef_[:, :, :, :n_radial])
    assert not np.isclose(trained.radial_coef_, left.radial_coef_).all()
    assert better.errors[1].loss < 0.9 * as_it_was.errors[1].loss
    assert trained.n_iter_ <= 4 + 1


def test_pruning_counts_operations_of_all_neighbors(train, targets):
    fitted = model(max_iter=1).fit(train, targets)
    features = fitted[:-1].transform(train)
    report = fitted[-1].prune(features, targets, refine=0)[1]
    basis, n_neighbors = fitted[0].basis_, sum(i.pairs.n_pairs for i in features) / sum(i.n_atoms for i in features)
    cost = basis.cost()
    neighbor = cost.neighbor_forward + cost.neighbor_reverse + 4 * 4 * basis.n_radial  # of 4 polynomials
    atom = cost.atom_forward + cost.atom_reverse + 2 * cost.n_scalars
    np.testing.assert_allclose(report.cost[0], n_neighbors * neighbor + atom, rtol=1e-12)


@pytest.mark.parametrize("wrong", [{"cost": 1.5}, {"cost": "half"}, {"max_increase": -1}, {"refine": -1}])
def test_bad_pruning_is_refused(features, targets, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        potential("ridge").fit(features, targets).prune(features, targets, **wrong)


def test_committees_are_not_pruned(features, targets):
    with pytest.raises(ValueError, match="committee"):
        potential("ridge", initial="random", n_models=2).fit(features, targets).prune(features, targets)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("solver", "sgd"),
        ("weighting", "atoms"),
        ("initial", "zeros"),
        ("alpha", -1.0),
        ("tol", np.nan),
        ("max_iter", 0),
        ("max_iter", "many"),
        ("n_models", 0),
        ("scaling", 0.0),
        ("scaling", "auto"),
        ("tied", "yes"),
        ("force_weight", -1),
        ("validation_fraction", 1.0),
        ("n_iter_no_change", 0),
        ("intercept", {"Mo": -1.0}),
        ("intercept", "zero"),
        ("memory_limit", -5),
        ("early_stopping", "no"),
        ("group_weights", [1.0]),
    ],
)
def test_bad_parameters_are_refused(features, targets, name, value):
    with pytest.raises(ValueError, match=name.split("_weight")[0]):
        potential(**{name: value}).fit(features, targets)


def test_bad_seed_is_refused(features, targets):
    with pytest.raises(ValueError, match="seed"):
        potential(random_state="x").fit(features, targets)


def test_members_that_would_be_alike_are_refused(features, targets):
    for parameters in ({"solver": "ridge"}, {"initial": "given"}):
        with pytest.raises(ValueError, match="initial='random'"):
            potential(n_models=2, **parameters).fit(features, targets)


def test_other_descriptors_are_refused(train, targets):
    for steps in ([Bispectrum(4.0, 2)], [descriptor(), FeatureScaler()]):
        with pytest.raises(ValueError, match="right before"):
            make_pipeline(*steps, potential()).fit(train, targets)
    with pytest.raises(TypeError, match="FeatureSet"):
        potential().fit(train, targets)


def test_structures_instead_of_features_are_refused(train, targets):
    fitted = model(solver="ridge").fit(train, targets)
    for call in (lambda: fitted[-1].select(train, 2), lambda: fitted[-1].prune(train, targets)):
        with pytest.raises(TypeError, match=r"got list.*select_structures\(model, .*\[:-1\].transform\(structures\)"):
            call()


def test_features_through_steps_are_refused(features, targets):
    fitted = potential("ridge").fit(features, targets)
    with pytest.raises(ValueError, match="steps"):
        fitted.predict(FeatureScaler().fit_transform(features))


def test_species_without_data_is_refused(train, targets):
    with pytest.raises(ValueError, match="no training structure has W"):
        make_pipeline(descriptor(species=("Mo", "Ni", "W")), potential()).fit(train, targets)


def test_no_forces_are_refused(features, targets):
    with pytest.raises(ValueError, match="force_weight=0"):
        potential().fit(features, targets["energy"])


@pytest.mark.parametrize("solver", ["varpro", "bfgs", "ridge"])
def test_features_that_overflow_are_refused(features, targets, solver):
    with pytest.raises(ValueError, match="not finite"):
        potential(solver, scaling=1e200, n_jobs=2).fit(features, targets)


def test_no_structures_are_refused(features, targets):
    with pytest.raises(ValueError, match="no structures"):
        potential().fit(features[:0], targets[:0])


def test_memory_is_forecast(features, targets):
    with pytest.raises(MemoryError, match="n_jobs=1"):
        potential(memory_limit=1000).fit(features, targets)
    potential("ridge", memory_limit=1e9).fit(features, targets)


def forecast_of(fitted, features, targets):
    """The MemoryForecast, and the problem that training would solve."""
    own, data, _ = fitted._start(features, targets, None)
    return memory_forecast(fitted, own, data), _moment_training.moment_problem(fitted, data, own, own.basis_, 1.0)


@pytest.fixture(scope="module")
def many(train):
    """Enough atoms for their features and rows to count."""
    structures = [atoms.repeat((3, 2, 2)) for atoms in train]
    taught = make_targets(train)
    taught["energy"] *= 12
    for target in taught:
        target["forces"] = np.tile(target["forces"], (12, 1))
    return descriptor(level=12).fit_transform(structures), taught


@pytest.mark.parametrize("solver", ["varpro", "bfgs", "ridge"])
def test_memory_is_less_than_forecast(many, solver):
    fitted = potential(solver, max_iter=2, n_init=1)
    expected = forecast_of(fitted, *many)[0].total(None)
    tracemalloc.start()
    fitted.fit(*many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.2 * expected < peak < expected


def test_kept_rows_are_within_the_memory_limit(many):
    forecast, problem = forecast_of(potential(), *many)
    assert problem.project(many[0][0].descriptor.radial_coefficients_, keep=True).design._kept
    for room, kept in ((1.01, True), (0.99, False)):
        limit = max(forecast.training + room * forecast.rows, forecast.active_set)
        problem = forecast_of(potential(memory_limit=limit), *many)[1]
        assert bool(problem.project(many[0][0].descriptor.radial_coefficients_, keep=True).design._kept) == kept
        assert forecast.total(limit) <= limit


def test_forecast_is_of_the_highest_peak(many):
    forecast = MemoryForecast(training=10.0, rows=20.0, active_set=15.0)
    assert [forecast.total(limit) for limit in (None, 30.0, 29.0, 5.0)] == [30.0, 30.0, 15.0, 15.0]
    assert forecast_of(potential("ridge"), *many)[0].active_set > many[0].values.nbytes


def test_atom_features_are_trusted(features, targets):
    """Those of the calculator say nothing of their descriptor."""
    fitted = potential("ridge").fit(features, targets)
    item = fitted._input(features)[0]
    energies, cotangents = fitted.energy_and_cotangent(AtomFeatures(item.values, item.species))
    np.testing.assert_allclose(energies.sum(), fitted.predict(features)[0], rtol=1e-12)
    np.testing.assert_array_equal(cotangents, fitted.coef_[0][item.species])


def test_atoms_without_neighbors(train, targets):
    """They have the energy of their species, and teach it."""
    alone = Atoms("Ni", positions=[[0, 0, 0]])
    known = targets[:1].copy()
    known["energy"], known["forces"][0], known["stress"] = -0.5, np.zeros((1, 3)), np.nan
    fitted = model(energy_weight=100.0).fit([*train, alone], np.concatenate([targets, known]))
    np.testing.assert_allclose(fitted.predict([alone]), fitted[-1].intercept_[0, 1], rtol=1e-12)


def test_every_solver_is_there():
    assert set(_moment_training.MINIMIZE) == set(_moment_training.EARLY_ITERATIONS)


def test_remade_features_are_those_of_transform(train, features):
    radial = np.random.default_rng(1).normal(size=features[0].descriptor.radial_coefficients_.shape)
    other = features[0].descriptor.with_radial(radial)
    expected = other.transform(train)
    for found in (other.remake(features), other.remake(pickle.loads(pickle.dumps(features)))):
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.feature_names, expected.feature_names)
        np.testing.assert_array_equal(found.groups, expected.groups)
        assert [item.key for item in found] == [item.key for item in expected]
