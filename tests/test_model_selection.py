"""The weight search: its errors are those of real cross-validation, and it finds what it should."""

import numpy as np
import pytest
from _toy import LeastSquares, Shells
from _training import SPECIES, make_exact_targets, make_features, make_structures
from sklearn.base import clone
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit
from sklearn.pipeline import make_pipeline

from mlfeat.base import predict_targets
from mlfeat.model_selection import search_weights
from mlfeat.model_selection._cross_validation import split_folds
from mlfeat.model_selection._minimize import minimize
from mlfeat.potentials import ZBL, LinearPotential
from mlfeat.targets import get_groups


@pytest.fixture(scope="module")
def structures():
    return make_structures()


@pytest.fixture(scope="module")
def noisy(structures):
    targets = make_exact_targets(make_features(structures), noise=0.05)
    spoiled = get_groups(structures) == "hot"
    rng = np.random.default_rng(8)
    targets["energy"][spoiled] += rng.normal(size=spoiled.sum())
    return targets


@pytest.fixture
def model():
    return make_pipeline(Shells(species=SPECIES), LinearPotential(Ridge(1e-6), force_weight=0.1))


def errors_of(model, structures, targets):
    """Energy, force and stress RMSE."""
    found = predict_targets(model, structures)
    n_atoms = np.array([len(atoms) for atoms in structures])
    energy = (found["energy"] - targets["energy"]) / n_atoms
    forces = np.concatenate([a - b for a, b in zip(found["forces"], targets["forces"], strict=True)])
    periodic = [atoms.cell.rank == 3 for atoms in structures]
    return [energy, forces, (found["stress"] - targets["stress"])[periodic]]


def rmse(parts):
    return np.sqrt(np.mean(np.concatenate([part.ravel() for part in parts]) ** 2))


@pytest.mark.parametrize("intercept", ["species", None])
@pytest.mark.parametrize("baseline", [None, ZBL(2.0, 3.5)])
def test_errors_are_those_of_cross_validation(structures, noisy, model, intercept, baseline):
    model.set_params(linearpotential__intercept=intercept, linearpotential__baseline=baseline)
    cv = KFold(4, shuffle=True, random_state=1)
    search = search_weights(model, structures, noisy, cv=cv, n_trials=12)
    model.set_params(**{f"linearpotential__{name}": value for name, value in search.best_params_.items()})
    errors = []
    for train, test in cv.split(structures):
        fitted = clone(model).fit([structures[i] for i in train], noisy[train])
        errors.append(errors_of(fitted, [structures[i] for i in test], noisy[test]))
    expected = [rmse(parts) for parts in zip(*errors, strict=True)]
    assert list(search.best_errors_.values()) == pytest.approx(expected, rel=1e-6)
    assert list(search.best_errors_) == ["energy_rmse", "force_rmse", "stress_rmse"]


def test_best_estimator_has_the_best_parameters_and_all_structures(structures, noisy, model):
    search = search_weights(model, structures, noisy, n_trials=30)
    expected = clone(model).set_params(**{f"linearpotential__{k}": v for k, v in search.best_params_.items()})
    expected.fit(structures, noisy)
    np.testing.assert_array_equal(search.best_estimator_[-1].coef_, expected[-1].coef_)
    assert set(search.best_params_["group_weights"]) == {"bulk", "hot"} == set(search.groups_)
    assert not hasattr(model[-1], "coef_")


def test_search_improves_on_where_it_starts(structures, noisy, model):
    search = search_weights(model, structures, noisy, n_trials=200)
    trials = search.trials_["objective"]
    assert len(trials) == 200
    assert search.best_score_ == trials.min() < trials[0] - 0.1
    assert search.trials_["energy_factors"].shape == (200, 2)


def test_a_spoiled_group_gets_less_weight(structures, noisy, model):
    # Judged by the other group's energies: the spoiled one's say nothing about them.
    clean = np.flatnonzero(get_groups(structures) == "bulk")
    mixed = noisy.copy()
    search = search_weights(
        model,
        structures,
        mixed,
        cv=[
            (np.delete(np.arange(24), fold), fold)
            for fold in np.array_split(np.r_[clean, np.setdiff1d(range(24), clean)], 4)
        ],
        objective=lambda errors: errors["force_rmse"] + errors["energy_rmse"],
        n_trials=300,
        alpha=(1e-6, 1e-6),
        stress_weight=(0, 0),
    )
    energy_factors = dict(
        zip(search.groups_, [w[0] for w in search.best_params_["group_weights"].values()], strict=True)
    )
    assert energy_factors["hot"] < energy_factors["bulk"]


def test_searches_repeat(structures, noisy, model):
    one, other = (search_weights(model, structures, noisy, n_trials=40, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(one.trials_["objective"], other.trials_["objective"])
    assert one.best_errors_ == other.best_errors_


def test_ranges_are_kept(structures, noisy, model):
    search = search_weights(
        model,
        structures,
        noisy,
        n_trials=60,
        alpha=(1e-5, 1e-5),
        force_weight=(0.2, 0.3),
        stress_weight=(0, 0),
        group_factor=(1, 1),
    )
    trials = search.trials_
    assert trials["alpha"] == pytest.approx(1e-5)
    assert 0.2 - 1e-12 <= trials["force_weight"].min() < trials["force_weight"].max() <= 0.3 + 1e-12
    assert not trials["stress_weight"].any()
    assert trials["force_factors"] == pytest.approx(1.0)


def test_objective_sees_all_errors(structures, noisy, model):
    goals = {"energy_rmse": 0.1, "force_rmse": 0.2, "stress_rmse": 0.3}
    search = search_weights(
        model, structures, noisy, objective=lambda e: max(e[k] / v for k, v in goals.items()), n_trials=20
    )
    assert search.best_score_ == pytest.approx(max(search.best_errors_[k] / v for k, v in goals.items()))


def test_objective_sees_the_errors_of_each_group(structures, noisy, model):
    seen = []

    def objective(errors):
        seen.append(errors)
        return errors["groups"]["bulk"]["energy_rmse"]

    search_weights(model, structures, noisy, objective=objective, n_trials=10)
    hot, bulk = (seen[0]["groups"][group] for group in ("hot", "bulk"))  # twelve structures each
    assert hot["energy_rmse"] > 2 * bulk["energy_rmse"]
    assert seen[0]["energy_rmse"] ** 2 == pytest.approx((hot["energy_rmse"] ** 2 + bulk["energy_rmse"] ** 2) / 2)
    assert set(hot) == {"energy_rmse", "force_rmse", "stress_rmse"}


def test_energies_alone_can_be_searched(structures, noisy, model):
    search = search_weights(model, structures, noisy["energy"], n_trials=20)
    assert np.isfinite(search.best_errors_["energy_rmse"])
    assert np.isnan(search.best_errors_["force_rmse"])
    assert np.isfinite(search.best_score_)


def test_one_group_has_no_factors(structures, noisy, model):
    for atoms in (ungrouped := [atoms.copy() for atoms in structures]):
        del atoms.info["group"]
    search = search_weights(model, ungrouped, noisy, n_trials=20)
    assert search.best_params_["group_weights"] is None


def test_whole_groups_can_be_left_out(structures, noisy, model):
    search = search_weights(model, structures, noisy, cv=GroupKFold(2), n_trials=10)
    assert search.best_errors_["energy_rmse"] > 0
    numbers = np.arange(24) % 6
    other = search_weights(model, structures, noisy, cv=GroupKFold(3), groups=numbers, n_trials=10)
    assert other.best_errors_ != search.best_errors_


def test_folds_of_a_number_share_out_the_groups():
    labels = np.array(["a"] * 20 + ["b"] * 10)
    for fold in split_folds(5, labels, None, 0):
        assert np.unique(labels[fold], return_counts=True)[1].tolist() == [4, 2]
    rare = np.array(["a"] * 20 + ["b"] * 2)
    assert sorted(np.concatenate(split_folds(5, rare, None, 0))) == list(range(22))


def test_linear_regression_has_no_penalty_to_search(structures, noisy, model):
    model.set_params(linearpotential__regressor=LinearRegression())
    search = search_weights(model, structures, noisy, n_trials=10)
    assert isinstance(search.best_params_["regressor"], LinearRegression)
    assert not search.trials_["alpha"].any()


def test_what_cannot_be_searched_is_refused(structures, noisy, model):
    with pytest.raises(TypeError, match="model ends in LeastSquares"):
        search_weights(make_pipeline(Shells(), LeastSquares()), structures, noisy)
    with pytest.raises(TypeError, match="must be Ridge or LinearRegression"):
        search_weights(clone(model).set_params(linearpotential__regressor=Lasso()), structures, noisy)
    with pytest.raises(ValueError, match=r"alpha=\(0, 1\): must be a range"):
        search_weights(model, structures, noisy, alpha=(0, 1))
    with pytest.raises(ValueError, match=r"group_factor=\(0, 0\): must be a range .* keep it fixed$"):
        search_weights(model, structures, noisy, group_factor=(0, 0))
    for wrong in (1e-8, (1e-8,), ("1e-8", "1"), (2.0, 1.0), (1.0, np.inf), (1.0, np.nan), None):
        with pytest.raises(ValueError, match=r"force_weight=.*: must be a range \(low, high\)"):
            search_weights(model, structures, noisy, force_weight=wrong)
    for wrong in (0, -1, 2.5, True, None):
        with pytest.raises(ValueError, match="n_trials=.*: must be a positive integer"):
            search_weights(model, structures, noisy, n_trials=wrong)
    with pytest.raises(ValueError, match="every structure into exactly one"):
        search_weights(model, structures, noisy, cv=ShuffleSplit(3, random_state=0))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_minima_are_found(n):
    goal, scale = np.linspace(0.1, 0.95, n), np.logspace(0, 2, n)
    calls = []

    def bowl(x):
        calls.append(x)
        return float(scale @ (x - goal) ** 2)

    best, value = minimize(bowl, np.full((1, n), 0.5), 1500)
    assert len(calls) <= 1500
    assert value == bowl(best) < 1e-4
    assert np.min(calls) >= 0 <= 1 <= 1 + np.max(calls) <= 2


def test_infinities_and_few_trials_are_survived():
    assert minimize(lambda x: np.inf, np.full((1, 3), 0.5), 50)[1] == np.inf
    best, value = minimize(lambda x: float(x.sum()), [[0.6] * 3, [0.5] * 3, [0.1] * 3], 2)
    assert value == 1.5
    assert best.tolist() == [0.5, 0.5, 0.5]


def interrupting(after):
    """An objective during whose evaluation the user presses Ctrl-C."""
    seen = []

    def objective(errors):
        if len(seen) == after:
            raise KeyboardInterrupt
        seen.append(errors)
        return errors["energy_rmse"]

    return objective


def test_an_interrupted_search_returns_the_best_so_far(structures, noisy, model):
    with pytest.warns(UserWarning, match="interrupted after 15 of 40 trials"):
        search = search_weights(model, structures, noisy, cv=3, n_trials=40, objective=interrupting(15))
    assert all(len(column) == 15 for column in search.trials_.values())
    assert search.best_score_ == search.trials_["objective"].min() == search.best_errors_["energy_rmse"]
    assert search.best_params_["force_weight"] in search.trials_["force_weight"]
    assert len(search.best_estimator_.predict(structures)) == len(structures)


def test_a_search_interrupted_before_its_first_trial_has_nothing_to_return(structures, noisy, model):
    with pytest.raises(KeyboardInterrupt):
        search_weights(model, structures, noisy, cv=3, n_trials=40, objective=interrupting(0))
