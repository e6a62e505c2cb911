"""NeuralNetworkPotential: what training does, what it refuses, committees, extrapolation."""

import pickle
import threading
import time

import numpy as np
import pytest
from ase.build import bulk
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlfeat import (
    Bispectrum,
    FeatureScaler,
    FeatureSelector,
    NeuralNetworkPotential,
    load,
    make_targets,
    predict_targets,
    save,
)
from mlfeat.features import AtomFeatures
from mlfeat.potentials import _kalman_solver
from mlfeat.potentials._measurements import Measurements
from mlfeat.potentials._network import Network
from mlfeat.testing import toy_training_set


@pytest.fixture(scope="module")
def train():
    return toy_training_set(("Mo", "Ni"))


@pytest.fixture(scope="module")
def features(train):
    return make_pipeline(Bispectrum(3.6, 3), FeatureScaler("mean", "range", by_species=True)).fit_transform(train)


@pytest.fixture(scope="module")
def targets(train):
    return make_targets(train)


def potential(**parameters):
    return NeuralNetworkPotential(**{"hidden_layer_sizes": (5, 4), "max_iter": 3, "random_state": 0, **parameters})


FORGETTING = {"kalman_lambda": 0.98, "kalman_nu": 0.999}  # "auto" depends on max_iter


def shown_by(network_potential, features):
    """Targets that a fitted potential itself gives."""
    return network_potential.predict_targets(features)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"kalman_type": "noise"},
        {"batch_size": 8, "force_fraction": 0.1},
        {"block_size": 40},
        {"force_threshold": 1.0, "energy_threshold": 0.5, "force_fraction": 0.2},
        {"solver": "lbfgs"},
        {"solver": "adam", "learning_rate": 0.01, "max_iter": 15},
        {"hidden_layer_sizes": {"Mo": (6,), "Ni": (4, 3, 2)}, "activation": "softplus"},
        {"activation": ("gaussian", "logistic"), "alpha": 0.1},
        {"hidden_layer_sizes": ()},
    ],
)
def test_errors_fall(features, targets, parameters):
    start = potential(max_iter=1, solver="adam", learning_rate=1e-12).fit(features, targets).history_[0]["loss"][0]
    fitted = potential(**parameters).fit(features, targets)
    assert fitted.history_[0]["loss"][-1] < 0.5 * start
    assert fitted.score(features, targets) > 0.3


@pytest.mark.parametrize("solver", ["kalman", "lbfgs"])
def test_network_learns_what_another_network_does(features, targets, solver):
    """Energies, forces and stresses of a network are recovered by one of the same form."""
    start = {"hidden_layer_sizes": (3,), "max_iter": 1, "solver": "adam", "learning_rate": 1e-12}
    teacher = potential(**start, random_state=3).fit(features, targets)
    taught = shown_by(teacher, features)
    size = np.std(taught["energy"] / [item.n_atoms for item in features])
    student = NeuralNetworkPotential((3,), solver=solver, max_iter=60, random_state=1, kalman_epsilon=0.1)
    student.fit(features, taught)
    found = shown_by(student, features)
    n_atoms = np.array([item.n_atoms for item in features])
    assert np.sqrt(np.mean(((found["energy"] - taught["energy"]) / n_atoms) ** 2)) < 0.02 * size
    errors = np.concatenate([(a - b).ravel() for a, b in zip(found["forces"], taught["forces"], strict=True)])
    forces = np.concatenate([np.ravel(f) for f in taught["forces"]])
    assert np.sqrt(np.mean(errors**2)) < 0.05 * np.sqrt(np.mean(forces**2))


def test_energies_alone(features, targets):
    fitted = potential(force_weight=0, stress_weight=0, max_iter=10).fit(features, targets["energy"])
    assert fitted.history_[0]["energy"][-1] < 0.3 * np.std(targets["energy"] / [item.n_atoms for item in features])
    assert np.isnan(fitted.history_[0]["forces"]).all()


def test_missing_forces_and_stresses(features, targets):
    part = targets.copy()
    part["forces"][::2] = None
    part["stress"][::3] = np.nan
    assert potential().fit(features, part).score(features, targets) > 0.5


def test_same_seed_same_networks(features, targets):
    first = potential().fit(features, targets)
    np.testing.assert_array_equal(potential().fit(features, targets).parameters_, first.parameters_)
    assert not np.array_equal(potential(random_state=1).fit(features, targets).parameters_, first.parameters_)


@pytest.mark.parametrize("parameters", [{"n_jobs": 2}, {"memory_limit": 0}])
def test_result_does_not_depend_on_resources(features, targets, parameters):
    expected = potential(n_models=2).fit(features, targets)
    found = potential(n_models=2, **parameters).fit(features, targets)
    np.testing.assert_array_equal(found.parameters_, expected.parameters_)


def test_early_stopping_keeps_the_best(features, targets):
    stopping = {"early_stopping": True, "validation_fraction": 0.5, "n_iter_no_change": 2, "tol": 0.0}
    features, targets = features[:8], targets[:8]  # so few that they are soon learnt by heart
    fitted = potential(max_iter=40, **stopping, **FORGETTING)
    fitted.fit(features, targets)
    losses = fitted.history_[0]["validation_loss"]
    assert fitted.n_iter_ == len(losses) < 40
    assert np.argmin(losses) < len(losses) - 1
    again = clone(fitted).set_params(max_iter=int(np.argmin(losses)) + 1).fit(features, targets)
    np.testing.assert_array_equal(again.parameters_, fitted.parameters_)


def test_warm_start_goes_on(features, targets):
    once = potential(max_iter=4, **FORGETTING).fit(features, targets)
    twice = potential(max_iter=2, warm_start=True, **FORGETTING).fit(features, targets).fit(features, targets)
    assert twice.n_iter_ == 4
    np.testing.assert_array_equal(twice.parameters_, once.parameters_)


def test_warm_start_of_a_loaded_potential(train, targets, tmp_path):
    model = make_pipeline(Bispectrum(3.6, 2), FeatureScaler(), potential(max_iter=6, warm_start=True))
    model.fit(train, targets)
    loaded = load(save(model, tmp_path / "model.mlfeat")).set_params(neuralnetworkpotential__max_iter=1)
    before = loaded[-1].energy_model()
    loaded.fit(train, targets)
    assert loaded[-1].n_iter_ == 7
    assert loaded[-1].scale_ == before.scale
    fresh = clone(model).set_params(neuralnetworkpotential__max_iter=1).fit(train, targets)
    assert loaded[-1].history_[0]["loss"][0] < 0.5 * fresh[-1].history_[0]["loss"][0]
    loaded.set_params(neuralnetworkpotential__hidden_layer_sizes=(7,))
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        loaded.fit(train, targets)


def test_partial_fit_is_an_epoch(features, targets):
    fitted = potential()
    losses = [fitted.partial_fit(features, targets).history_[0]["loss"][-1] for _ in range(4)]
    assert fitted.n_iter_ == 4
    assert losses[-1] < losses[0]
    fitted.partial_fit(features[:5], targets[:5])
    assert fitted.n_iter_ == 5
    narrow = Bispectrum(3.6, 2).fit_transform([bulk("Mo")])
    with pytest.raises(ValueError, match="one fitted descriptor"):
        fitted.partial_fit(narrow, targets[:1])


def test_interruption_keeps_the_best(features, targets, monkeypatch):
    epoch = _kalman_solver.KalmanSolver.epoch
    calls = []

    def interrupted(self, data, stop):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        epoch(self, data, stop)

    monkeypatch.setattr(_kalman_solver.KalmanSolver, "epoch", interrupted)
    fitted = potential(max_iter=10, **FORGETTING)
    with pytest.warns(UserWarning, match="interrupted"):
        fitted.fit(features, targets)
    monkeypatch.undo()
    assert fitted.n_iter_ == 2
    expected = potential(max_iter=2, **FORGETTING).fit(features, targets)
    np.testing.assert_array_equal(fitted.parameters_, expected.parameters_)


def test_interruption_before_the_first_epoch_is_passed_on(features, targets, monkeypatch):
    def interrupted(self, data, stop):
        raise KeyboardInterrupt

    monkeypatch.setattr(_kalman_solver.KalmanSolver, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        potential().fit(features, targets)


def test_other_members_stop_when_interrupted(features, targets, monkeypatch):
    """In threads: what `fit` returns does not change any more."""
    epoch = _kalman_solver.KalmanSolver.epoch
    active = []

    def interrupted(self, data, stop):
        if len(active) == 5:
            raise KeyboardInterrupt
        active.append(1)
        epoch(self, data, stop)
        active.append(1)

    monkeypatch.setattr(_kalman_solver.KalmanSolver, "epoch", interrupted)
    fitted = potential(max_iter=50, n_models=2, n_jobs=2)
    with pytest.warns(UserWarning, match="interrupted"):
        fitted.fit(features, targets)
    before = [network.parameters for solver in fitted._solvers for network in solver.networks]
    time.sleep(0.3)
    after = [network.parameters for solver in fitted._solvers for network in solver.networks]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_failure_leaves_the_potential_as_it_was(features, targets):
    fitted = potential(max_iter=1).fit(features, targets)
    expected = fitted.predict(features)
    with pytest.raises(ValueError, match="random_state|seed"):
        fitted.set_params(random_state="x").fit(features, targets)
    wrong = targets.copy()
    wrong["energy"][2] = np.nan
    fitted.set_params(random_state=0)
    with pytest.raises(ValueError, match="structure 2"):
        fitted.fit(features, wrong)
    np.testing.assert_array_equal(fitted.predict(features), expected)


def test_divergence(features, targets):
    wild = potential(solver="adam", activation="exp", learning_rate=1e4, max_iter=5)
    with pytest.raises(ValueError, match="diverged in epoch"):
        wild.fit(features, targets)
    fitted = potential(max_iter=2, warm_start=True).fit(features, targets)
    best = fitted.parameters_
    fitted.set_params(solver="adam", learning_rate=1e300)
    with pytest.warns(UserWarning, match="diverged in epoch 1"):
        fitted.fit(features, targets)
    np.testing.assert_array_equal(fitted.parameters_, best)


def test_warm_start_keeps_the_best(features, targets):
    fitted = potential(max_iter=8, warm_start=True).fit(features, targets)
    loss = fitted.history_[0]["loss"].min()
    fitted.set_params(solver="adam", learning_rate=0.5, max_iter=1).fit(features, targets)
    assert fitted.history_[0]["loss"][0] > 2 * loss
    np.testing.assert_allclose(_loss(fitted, features, targets), loss, rtol=1e-9)


def _loss(fitted, features, targets):
    """Mean loss of the structures, by the definition."""
    found = fitted.predict_targets(features)
    total = 0.0
    for item, a, b in zip(features, found, targets, strict=True):
        total += ((a["energy"] - b["energy"]) / item.n_atoms) ** 2
        total += 5e-4 * np.sum((a["forces"] - b["forces"]) ** 2)
        total += np.sum((a["stress"] - b["stress"]) ** 2) if np.isfinite(a["stress"]).all() else 0.0
    return total / len(features)


def test_more_members_after_a_warm_start(features, targets):
    fitted = potential(max_iter=2, warm_start=True).fit(features, targets)
    fitted.set_params(n_models=3).fit(features, targets)
    assert len(fitted.parameters_) == 3
    fitted.partial_fit(features, targets)
    assert len(fitted.parameters_) == 3


def test_forces_that_are_rounding(features, targets):
    """Perfect crystals have no forces: the unit comes from the energies then."""
    still = targets.copy()
    still["forces"] = [1e-15 * forces for forces in targets["forces"]]
    expected = potential(force_weight=0, solver="lbfgs").fit(features, targets)
    fitted = potential(solver="lbfgs").fit(features, still)
    assert fitted.scale_ == expected.scale_


def test_stresses_alone(features, targets):
    fitted = potential(energy_weight=0, force_weight=0, max_iter=6).fit(features, targets)
    stress = fitted.history_[0]["stress"]
    assert stress.min() < 0.5 * np.sqrt(np.nanmean(targets["stress"] ** 2))


def test_early_stopping_needs_structures(features, targets):
    with pytest.raises(ValueError, match="early_stopping=False"):
        potential(early_stopping=True).fit(features[:1], targets[:1])


def test_grid_search(train, targets):
    model = make_pipeline(Bispectrum(3.6, 2), FeatureScaler(), potential(max_iter=2))
    grid = {"neuralnetworkpotential__hidden_layer_sizes": [(3,), (4, 4)], "bispectrum__cutoff": [3.4, 3.6]}
    search = GridSearchCV(model, grid, cv=2).fit(train, targets)
    assert np.isfinite(search.best_score_)


# ---------------------------------------------------------------------- the filter's measurements


class Recorder:
    """A filter that learns nothing, and keeps what it was given."""

    def __init__(self):
        self.updates = []

    def update(self, rows, errors):
        self.updates.append((rows, errors))
        return np.zeros(rows.shape[1])

    def end_epoch(self):
        pass


def recorded(features, targets, epochs=1, **settings):
    rng = np.random.RandomState(0)
    networks = [Network.random((features.shape[1], 4), ("tanh",), rng) for _ in range(2)]
    weights = np.tile([4.0, 0.25, 9.0], (len(features), 1))
    data = Measurements(features.items, targets, weights)
    settings = {
        "scale": 1.0,
        "noise": 0.1,
        "batch_size": 50,
        "fractions": (1.0, 1.0, 1.0),
        "thresholds": (0.0, 0.0, 0.0),
        "trials": 3,
        "alpha": 0.0,
    } | settings
    recorder = Recorder()
    solver = _kalman_solver.KalmanSolver(networks, recorder, rng=rng, **settings)
    for _ in range(epochs):
        solver.epoch(data, threading.Event())
    return recorder.updates, networks, data


def test_an_epoch_measures_everything_once(features, targets):
    updates, networks, data = recorded(features, targets)
    sizes = [len(errors) for _, errors in updates]
    assert set(sizes[:-1]) == {50}
    assert sizes[-1] <= 50
    assert sum(sizes) == data.count().sum()
    # With weights sqrt(4), sqrt(0.25), 3 and noise 0.1 these are all errors of the networks that never changed.
    from mlfeat.potentials._training import errors_of

    errors = errors_of(networks, data, 1.0)
    n_energies, n_forces, n_stresses = data.count()
    total = n_energies * 4 * errors.energy**2 + n_forces * 0.25 * errors.forces**2 + n_stresses * 9 * errors.stress**2
    np.testing.assert_allclose(sum(np.sum(e**2) for _, e in updates), total / 0.1**2, rtol=1e-10)


def test_fractions(features, targets):
    updates, _, data = recorded(features, targets, epochs=20, fractions=(0.5, 0.1, 0.0), batch_size=1)
    assert all(len(errors) == 1 for _, errors in updates)
    n_energies, n_forces, _ = data.count()
    expected = 20 * (0.5 * n_energies + 0.1 * n_forces)
    assert abs(len(updates) - expected) < 0.1 * expected


def test_thresholds_choose_large_errors(features, targets):
    plain = recorded(features, targets, epochs=3, fractions=(0.0, 0.1, 0.0))[0]
    chosen = recorded(features, targets, epochs=3, fractions=(0.0, 0.1, 0.0), thresholds=(0.0, 1.0, 0.0), trials=8)[0]
    sizes = [np.mean(np.abs(np.concatenate([e for _, e in updates]))) for updates in (plain, chosen)]
    assert sizes[1] > 1.3 * sizes[0]


def test_small_energies_are_left_out(features, targets):
    only = {"fractions": (1.0, 0.0, 0.0), "epochs": 2}
    everything = np.abs(np.concatenate([e for _, e in recorded(features, targets, **only)[0]]))
    chosen = recorded(features, targets, thresholds=(1.0, 0.0, 0.0), **only)[0]
    found = np.abs(np.concatenate([e for _, e in chosen]))
    n = len(features)
    large = np.sort(everything[:n][everything[:n] >= np.sqrt(np.mean(everything[:n] ** 2))])
    np.testing.assert_allclose(np.sort(found[:n]), np.sort(everything[:n]), rtol=1e-12)  # nothing is known yet
    np.testing.assert_allclose(np.sort(found[n:]), large, rtol=1e-12)


def test_prior_measures_weights_as_zero(features, targets):
    updates, networks, data = recorded(features, targets, alpha=2.0, epochs=40)
    parameters = np.concatenate([network.parameters for network in networks])
    penalty = information = 0.0
    for rows, errors in updates:
        single = np.count_nonzero(rows, axis=1) == 1
        penalty += np.sum(errors[single] ** 2)
        information += np.sum(rows[single] ** 2)
        np.testing.assert_allclose(errors[single], 0 - rows[single] @ parameters, rtol=1e-12)
    np.testing.assert_allclose(information, 40 * 2.0 * len(parameters), rtol=1e-10)
    np.testing.assert_allclose(penalty, 40 * 2.0 * np.sum(parameters**2), rtol=0.15)  # which are measured is random


# ---------------------------------------------------------------------- committees and extrapolation


def test_committee(features, targets):
    fitted = potential(n_models=3).fit(features, targets)
    assert len(fitted.networks_) == len(fitted.history_) == 3
    item = features[1]
    members = fitted.energy_model().member_energies(item)
    energies, cotangents = fitted.energy_and_cotangent(item)
    np.testing.assert_allclose(energies, members.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.energies_std(item), members.std(axis=0, ddof=1), rtol=1e-12)
    energy, std = fitted.predict(features[:2], return_std=True)
    np.testing.assert_allclose(std[1], members.sum(axis=1).std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(energy[1], energies.sum(), rtol=1e-12)
    forces = []
    for k in range(3):
        own = pickle.loads(pickle.dumps(fitted))
        own.parameters_ = fitted.parameters_[k : k + 1]
        forces.append(own.predict_targets(features[1:2])["forces"][0])
    np.testing.assert_allclose(fitted.predict_targets(features[1:2])["forces"][0], np.mean(forces, axis=0), atol=1e-12)
    np.testing.assert_allclose(fitted.forces_std(item), np.std(forces, axis=0, ddof=1), atol=1e-12)
    assert not hasattr(potential().fit(features, targets), "predict_std")


def test_extrapolation(features, targets):
    fitted = potential(max_iter=1).fit(features, targets)
    for item in features:
        assert fitted.extrapolation_grade(item).max() <= 1
        assert fitted.extrapolating_features(item) == []
    values, species = features[0].values.copy(), features[0].species
    low, high = fitted.input_min_[species[2], 4], fitted.input_max_[species[2], 4]
    values[2, 4] = high + 0.5 * (high - low)
    outside = AtomFeatures(values, species)
    np.testing.assert_allclose(fitted.extrapolation_grade(outside)[2], 2.0)
    assert fitted.extrapolating_features(outside) == [(2, 4, values[2, 4], low, high)]


def test_fewer_inputs_than_features(features, targets):
    """A network that has the first features only, as those of elements with fewer symmetry functions."""
    fitted = potential(max_iter=1, hidden_layer_sizes=(4,)).fit(features, targets)
    n_in = features.shape[1]
    narrow = []
    for network in fitted.networks_[0]:
        weights = (network.weights[0][:, : n_in - 2], *network.weights[1:])
        narrow.append(Network(weights, network.biases, network.activations))
    fitted.parameters_ = np.concatenate([network.parameters for network in narrow])[None]
    fitted.layer_sizes_ = tuple(network.sizes for network in narrow)
    fitted._check_fitted()
    energies, cotangents = fitted.energy_and_cotangent(features[0])
    expected = narrow[1].forward(features[0].values[:, : n_in - 2]).energies
    mine = features[0].species == 1
    np.testing.assert_allclose(energies[mine], fitted.scale_ * expected[mine] + fitted.intercept_[1], rtol=1e-12)
    assert not cotangents[:, n_in - 2 :].any()


# ---------------------------------------------------------------------- refusals


def test_constant_features_are_refused(train, targets):
    chemical = Bispectrum(3.6, 2, chemflag=True, bzeroflag=True)
    model = make_pipeline(chemical, potential(force_weight=0))
    with pytest.raises(ValueError, match=r"features are the same in all atoms.*FeatureSelector\(method='variance'\)"):
        model.fit([bulk("Mo", cubic=True)] * 3, targets[:3]["energy"])


def test_selector_is_the_remedy(train, targets):
    descriptor = Bispectrum(3.6, 2, species=("Mo", "Ni"), chemflag=True)
    pure = [atoms for atoms in train if len(set(atoms.symbols)) == 2][:4]
    model = make_pipeline(descriptor, FeatureSelector(method="variance"), FeatureScaler(), potential(max_iter=1))
    assert np.isfinite(predict_targets(model.fit(pure, make_targets(pure)), pure)["energy"]).all()


def test_species_without_data_is_refused(train, targets):
    model = make_pipeline(Bispectrum(3.6, 2, species=("Mo", "Ni", "W")), FeatureScaler(), potential())
    with pytest.raises(ValueError, match="no training structure has W"):
        model.fit(train, targets)


def test_no_forces_are_refused(features, targets):
    with pytest.raises(ValueError, match="force_weight=0"):
        potential().fit(features, targets["energy"])


def test_bad_targets_are_refused(features, targets):
    wrong = targets.copy()
    wrong["forces"][2] = np.full((features[2].n_atoms, 3), np.nan)
    with pytest.raises(ValueError, match="structure 2"):
        potential().fit(features, wrong)
    wrong = targets.copy()
    wrong["energy"][3] = np.nan
    with pytest.raises(ValueError, match="structure 3"):
        potential().fit(features, wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", (4, 0)),
        ("hidden_layer_sizes", {"Mo": (4,)}),
        ("hidden_layer_sizes", "big"),
        ("activation", "sigmoid"),
        ("activation", ("tanh",)),
        ("solver", "sgd"),
        ("kalman_type", "unscented"),
        ("kalman_lambda", 1.1),
        ("kalman_epsilon", 0),
        ("batch_size", 0),
        ("max_iter", 0),
        ("n_models", 1.5),
        ("block_size", -1),
        ("force_fraction", 2),
        ("force_weight", -1),
        ("validation_fraction", 1.0),
        ("learning_rate", np.nan),
        ("intercept", {"Mo": -1.0}),
        ("intercept", "zero"),
        ("memory_limit", -5),
        ("activation", 3),
        ("early_stopping", "no"),
    ],
)
def test_bad_parameters_are_refused(features, targets, name, value):
    with pytest.raises(ValueError, match=name.split("_weight")[0]):
        potential(**{name: value}).fit(features, targets)


def test_fixed_energies_of_species(features, targets):
    fitted = potential(intercept={"Mo": -3.0, "Ni": -1.0}, max_iter=1).fit(features, targets)
    np.testing.assert_array_equal(fitted.intercept_, [-3.0, -1.0])
    assert not potential(intercept=None, max_iter=1).fit(features, targets).intercept_.any()
