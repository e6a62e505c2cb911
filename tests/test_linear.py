"""LinearPotential: the loss it minimizes, with any regressor, weights, intercepts and baselines."""

import numpy as np
import pytest
from _toy import Shells
from _training import (
    COEF,
    INTERCEPT,
    SPECIES,
    dense_problem,
    dense_ridge,
    make_exact_targets,
    make_features,
    make_structures,
)
from ase.calculators.lj import LennardJones
from scipy.linalg import LinAlgWarning
from sklearn.base import clone
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from mlfeat._cache import clear_cache
from mlfeat.base import predict_targets
from mlfeat.metrics import SCORERS
from mlfeat.persistence import register
from mlfeat.potentials import ZBL, LinearPotential
from mlfeat.preprocessing import FeatureScaler, QuadraticExpansion
from mlfeat.targets import as_targets, empty_targets, get_groups, make_targets
from mlfeat.testing import check_potential

register(Shells)

SOLVERS = ["stacked", "gram", "qr"]


@pytest.fixture(scope="module")
def structures():
    return make_structures()


@pytest.fixture(scope="module")
def features(structures):
    return make_features(structures)


@pytest.fixture
def targets(features):
    return make_exact_targets(features)


@pytest.fixture
def noisy(features):
    return make_exact_targets(features, noise=0.05)


def assert_same_fit(potential, other, rtol=1e-8):
    np.testing.assert_allclose(potential.coef_, other.coef_, rtol=rtol, atol=rtol * np.abs(other.coef_).max())
    np.testing.assert_allclose(potential.intercept_, other.intercept_, rtol=rtol)


@pytest.mark.parametrize("solver", SOLVERS)
def test_known_coefficients_are_recovered(features, targets, solver):
    potential = LinearPotential(Ridge(1e-12), solver=solver).fit(features, targets)
    np.testing.assert_allclose(potential.coef_, COEF, rtol=1e-8)
    np.testing.assert_allclose(potential.intercept_, INTERCEPT, rtol=1e-8)
    assert potential.species_ == SPECIES
    assert potential.n_features_in_ == 4
    assert potential.n_parameters_ == 10
    assert potential.score(features, targets) == pytest.approx(1.0)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("alpha", [1e-8, 0.1, 100.0])
def test_loss_is_the_documented_one(features, noisy, solver, alpha):
    weights = (3.0, 0.1, 40.0)
    names = ("energy_weight", "force_weight", "stress_weight")
    sample_weight = np.random.default_rng(1).uniform(0.1, 3.0, len(features))
    settings = dict(zip(names, weights, strict=True))
    potential = LinearPotential(Ridge(alpha), solver=solver, **settings).fit(features, noisy, sample_weight)
    coef, intercept = dense_ridge(*dense_problem(features, noisy, weights, sample_weight), alpha)
    np.testing.assert_allclose(potential.coef_, coef, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(potential.intercept_, intercept, rtol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_group_weights_are_sample_weights(features, noisy, solver):
    base = LinearPotential(Ridge(1e-6), solver=solver)
    grouped = clone(base).set_params(group_weights={"hot": 4.0, "absent": 9.0}).fit(features, noisy)
    sampled = clone(base).fit(features, noisy, np.where(features.groups == "hot", 4.0, 1.0))
    assert_same_fit(grouped, sampled)


@pytest.mark.parametrize("solver", SOLVERS)
def test_groups_are_named_as_strings(structures, noisy, solver):
    numbered = [atoms.copy() for atoms in structures]
    for atoms in numbered:
        atoms.info["group"] = int(atoms.info["group"] == "hot")
    features = make_features(numbered)
    fits = [LinearPotential(Ridge(1e-6), solver=solver, group_weights={key: 4.0}) for key in (1, "1")]
    first, second = (potential.fit(features, noisy).coef_ for potential in fits)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, LinearPotential(Ridge(1e-6), solver=solver).fit(features, noisy).coef_)


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_of_groups_that_are_not_there_warn(features, noisy, solver):
    potential = LinearPotential(Ridge(1e-6), solver=solver, group_weights={"hto": 4.0, 3: 2.0, "one": 1.0})
    with pytest.warns(UserWarning, match="names '3', 'hto', but the groups of the data are: 'bulk', 'hot';"):
        potential.fit(features, noisy)
    if solver != "stacked":
        with pytest.warns(UserWarning, match="names 'cold', but"):
            potential.reweighted(group_weights={"cold": 2.0})


@pytest.mark.parametrize("solver", SOLVERS)
def test_group_weights_of_a_kind_act_on_it_alone(features, noisy, solver):
    grouped = LinearPotential(Ridge(1e-6), solver=solver, group_weights={"hot": (1, 0, 1), "bulk": (1, 2, 1)})
    partly = noisy.copy()
    partly["forces"][features.groups == "hot"] = None
    plain = LinearPotential(Ridge(1e-6), solver=solver, force_weight=2.0)
    assert_same_fit(grouped.fit(features, noisy), plain.fit(features, partly))


def test_sample_weight_of_zero_leaves_a_structure_out(features, noisy):
    weights = np.r_[np.zeros(4), np.ones(len(features) - 4)]
    for solver in SOLVERS:
        base = LinearPotential(Ridge(1e-6), solver=solver)
        assert_same_fit(clone(base).fit(features, noisy, weights), clone(base).fit(features[4:], noisy[4:]))


@pytest.mark.parametrize("solver", SOLVERS)
def test_missing_forces_and_stresses_are_no_rows(features, noisy, solver):
    partly = noisy.copy()
    partly["forces"][::3] = None
    partly["stress"][1::3] = np.nan
    potential = LinearPotential(Ridge(1e-3), solver=solver).fit(features, partly)
    coef, _ = dense_ridge(*dense_problem(features, partly), 1e-3)
    np.testing.assert_allclose(potential.coef_, coef, rtol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_array_is_energies_only_and_needs_no_derivatives(features, noisy, solver, monkeypatch):
    monkeypatch.setattr(Shells, "jacobian", None)
    energies = make_features(make_structures())
    potential = LinearPotential(Ridge(1e-3), solver=solver).fit(energies, noisy["energy"])
    coef, _ = dense_ridge(*dense_problem(features, as_targets(noisy["energy"], len(features))), 1e-3)
    np.testing.assert_allclose(potential.coef_, coef, rtol=1e-7)


@pytest.mark.parametrize(
    "regressor",
    [
        BayesianRidge(),
        ARDRegression(),
        Lasso(1e-4),
        ElasticNet(1e-4),
        LinearRegression(),
        LinearRegression(positive=True),
        RidgeCV([1e-3, 1e-1]),
        Ridge(1e-2, positive=True),
        HuberRegressor(max_iter=1000),
    ],
    ids=repr,
)
def test_any_linear_model_of_scikit_learn_fits_the_stacked_rows(features, noisy, regressor):
    potential = LinearPotential(regressor, intercept=None).fit(features, noisy)
    rows, values = dense_problem(features, noisy)
    # The same order of rows: energies first.
    first = np.argsort(rows[:, :2].sum(axis=1) == 0, kind="stable")
    regressor = clone(regressor).set_params(fit_intercept=False).fit(rows[first, 2:], values[first])
    np.testing.assert_allclose(potential.coef_.ravel(), regressor.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(potential.intercept_, 0.0)


def test_free_intercepts_are_not_penalized_by_any_regressor(features, noisy):
    shifted = noisy.copy()
    shifted["energy"] += [np.array([100.0, -50.0])[item.species].sum() for item in features]
    for regressor in (Ridge(10.0), Lasso(1e-2), BayesianRidge()):
        potential = LinearPotential(regressor).fit(features, noisy)
        other = LinearPotential(regressor).fit(features, shifted)
        np.testing.assert_allclose(other.coef_, potential.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(other.intercept_ - potential.intercept_, [100.0, -50.0], rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_fixed_intercepts_are_kept(features, noisy, solver):
    fixed = {"Cu": -4.4, "Au": -3.1}
    potential = LinearPotential(Ridge(1e-3), solver=solver, intercept=fixed).fit(features, noisy)
    np.testing.assert_array_equal(potential.intercept_, [-3.1, -4.4])
    rows, values = dense_problem(features, noisy)
    coef, _ = dense_ridge(np.column_stack([0 * rows[:, :2], rows[:, 2:]]), values - rows[:, :2] @ [-3.1, -4.4], 1e-3)
    np.testing.assert_allclose(potential.coef_, coef, rtol=1e-8)
    assert potential.n_parameters_ == 8


def test_the_same_composition_everywhere_has_the_smallest_intercepts(features, targets):
    one = [number for number, item in enumerate(features) if item.species.sum() == features[2].species.sum()]
    expected = None
    for solver in SOLVERS:
        potential = LinearPotential(Ridge(1e-6), solver=solver).fit(features[one], targets[one])
        expected = potential.intercept_ if expected is None else expected
        predicted = potential.predict(features[one])
        np.testing.assert_allclose(predicted, targets["energy"][one], atol=1e-3)
        assert np.isfinite(potential.intercept_).all()


def test_baseline_is_subtracted_and_added_again(structures, features, targets):
    baseline = ZBL(2.0, 3.5)
    shifted = targets.copy()
    for number, atoms in enumerate(structures):
        shifted["energy"][number] += baseline.get_property("energy", atoms)
        shifted["forces"][number] = targets["forces"][number] + baseline.get_property("forces", atoms)
        if atoms.cell.rank == 3:
            shifted["stress"][number] += baseline.get_property("stress", atoms)
    for solver in SOLVERS:
        potential = LinearPotential(Ridge(1e-12), baseline=baseline, solver=solver).fit(features, shifted)
        np.testing.assert_allclose(potential.coef_, COEF, rtol=1e-7)
        np.testing.assert_allclose(potential.predict(features), shifted["energy"], rtol=1e-9)
    predicted = potential.predict_targets(features)
    np.testing.assert_allclose(predicted["forces"][0], shifted["forces"][0], atol=1e-8)
    np.testing.assert_allclose(predicted["stress"][0], shifted["stress"][0], atol=1e-9)


def test_a_baseline_without_stress_is_refused_where_there_are_stresses(features, targets):
    class NoStress(ZBL):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            del self.results["stress"]

    with pytest.raises(ValueError, match=r"structure 0 has a stress but the baseline NoStress gives none"):
        LinearPotential(baseline=NoStress()).fit(features[:3], targets[:3])


def test_any_ase_calculator_is_a_baseline(features, targets):
    potential = LinearPotential(baseline=LennardJones(sigma=2.0, epsilon=0.1, rc=4.0)).fit(features, targets)
    assert potential.score(features, targets) > 0.5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"solver": "svd"}, ValueError, "must be 'stacked', 'gram' or 'qr'"),
        ({"intercept": "none"}, ValueError, "must be 'species', None"),
        ({"intercept": True}, ValueError, "intercept=True: must be 'species', None"),
        ({"intercept": 1.5}, ValueError, "intercept=1.5: must be 'species', None"),
        ({"baseline": ZBL}, TypeError, r"baseline=ZBL is a class: give a calculator, as in baseline=ZBL\(\)"),
        ({"baseline": "zbl"}, TypeError, "baseline='zbl' is no calculator"),
        ({"group_weights": 2.0}, ValueError, "group_weights=2.0: give a dict"),
        ({"group_weights": [("hot", 1)]}, ValueError, "give a dict"),
        ({"group_weights": {1: 2.0, "1": 3.0}}, ValueError, "a group is named twice"),
        ({"intercept": {"Cu": 1.0}}, ValueError, "no energy of Au"),
        ({"force_weight": -1.0}, ValueError, "the weight of forces is -1.0"),
        ({"stress_weight": np.nan}, ValueError, "the weight of stress is nan"),
        ({"energy_weight": 0, "force_weight": 0, "stress_weight": 0}, ValueError, "all weights are zero"),
        ({"group_weights": {"hot": (1, 2)}}, ValueError, r"\(1, 2\): give a number, or three"),
        ({"group_weights": {"hot": "x"}}, ValueError, "'x': give a number, or three"),
        ({"group_weights": {"hot": (1, -2, 1)}}, ValueError, "weight of forces in group 'hot' is -2"),
        ({"group_weights": {"hot": 0, "bulk": 0}}, ValueError, "no row has a positive weight"),
        ({"group_weights": {"hot": 0, "bulk": 0}, "solver": "gram"}, ValueError, "no row has a positive weight"),
        ({"regressor": Lasso(), "solver": "gram"}, TypeError, "use solver='stacked'"),
        ({"regressor": Ridge(positive=True), "solver": "qr"}, TypeError, "use solver='stacked'"),
        ({"regressor": KNeighborsRegressor()}, TypeError, "has no coef_"),
        ({"memory_limit": 10}, MemoryError, "memory_limit is 10 bytes: use fewer features"),
        ({"memory_limit": 1000}, MemoryError, "memory_limit is 1.0 kB: use fewer features"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(features, targets, change, error, message):
    with pytest.raises(error, match=message):
        LinearPotential(**change).fit(features, targets)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("energy", np.nan, "structure 5: the energy is nan"),
        ("energy", np.inf, "structure 5: the energy is inf"),
        ("forces", np.zeros((3, 3)), r"structure 5: forces of shape \(3, 3\), expected \(8, 3\); repair"),
        ("forces", np.full((8, 3), np.nan), "structure 5: the force on atom 0 is"),
        ("stress", [np.nan, 0, 0, 0, 0, 0], "structure 5: the stress is"),
        ("stress", np.full(6, np.inf), "structure 5: the stress is"),
    ],
)
def test_targets_that_are_not_finite_are_refused_by_index(features, targets, field, value, message):
    targets[field][5] = value
    with pytest.raises(ValueError, match=message):
        LinearPotential().fit(features, targets)


@pytest.mark.parametrize(
    ("weight", "message"),
    [(np.ones(3), "one number a structure"), (np.r_[1, -1, np.ones(22)], r"sample_weight\[1\] is -1")],
)
def test_wrong_sample_weights_are_refused(features, targets, weight, message):
    with pytest.raises(ValueError, match=message):
        LinearPotential().fit(features, targets, weight)


def test_arrays_are_refused_with_the_remedy(targets):
    with pytest.raises(TypeError, match="put a descriptor before the potential"):
        LinearPotential().fit(np.zeros((24, 4)), targets)


def test_undetermined_coefficients_warn_and_say_what_to_do(features):
    few = empty_targets(3)
    few["energy"] = [1.0, 2.0, 3.0]
    for solver in SOLVERS:
        with pytest.warns(LinAlgWarning, match=r"Raise the penalty of Ridge\(alpha=1e-30\), add"):
            LinearPotential(Ridge(1e-30), solver=solver).fit(features[:3], few)


def test_fit_forgets_an_earlier_fit(features, noisy):
    potential = LinearPotential(Ridge(1e-3), solver="gram").fit(features, noisy)
    again = potential.fit(features[:10], noisy[:10])
    assert_same_fit(again, LinearPotential(Ridge(1e-3), solver="gram").fit(features[:10], noisy[:10]))
    stacked = potential.set_params(solver="stacked").fit(features, noisy)
    assert not hasattr(stacked, "gram_")


def test_fit_leaves_input_and_regressor_alone(features, noisy):
    before = noisy.copy()
    regressor = Ridge(1e-3)
    potential = LinearPotential(regressor, baseline=ZBL()).fit(features, noisy)
    np.testing.assert_array_equal(noisy["energy"], before["energy"])
    assert all(a is b for a, b in zip(noisy["forces"], before["forces"], strict=True))
    assert not hasattr(regressor, "coef_")
    assert potential.regressor is regressor


@pytest.mark.parametrize(
    "steps", [(), (FeatureScaler(),), (QuadraticExpansion(),), (FeatureScaler(), QuadraticExpansion())]
)
def test_pipelines_keep_the_laws_of_potentials(steps):
    # Enough of a penalty that the toy training set determines all coefficients.
    check_potential(make_pipeline(Shells(), *steps, LinearPotential(Ridge(1e-4))))


def test_a_model_with_a_baseline_keeps_the_laws_of_potentials():
    check_potential(make_pipeline(Shells(), LinearPotential(Ridge(1e-4), baseline=ZBL(1.5, 3.0))))


def test_scaling_does_not_change_an_unpenalized_fit(structures, noisy):
    plain, scaled = (
        make_pipeline(Shells(species=SPECIES), *steps, LinearPotential(LinearRegression())).fit(structures, noisy)
        for steps in ((), (FeatureScaler(),))
    )
    ours, theirs = (predict_targets(model, structures) for model in (plain, scaled))
    np.testing.assert_allclose(ours["energy"], theirs["energy"], rtol=1e-9)
    np.testing.assert_allclose(np.concatenate(ours["forces"]), np.concatenate(theirs["forces"]), atol=1e-9)


def test_targets_of_structures_feed_the_fit(structures, targets):
    for atoms, target in zip(structures, targets, strict=True):
        atoms.info["energy"] = target["energy"]
        atoms.arrays["forces"] = target["forces"]
    model = make_pipeline(Shells(species=SPECIES), LinearPotential(Ridge(1e-12)))
    model.fit(structures, make_targets(structures))
    np.testing.assert_allclose(model[-1].coef_, COEF, rtol=1e-8)


def test_a_search_over_alpha_computes_each_structure_once(structures, noisy, monkeypatch):
    calls = {"values": 0, "jacobian": 0}

    def counted(name, method):
        def call(*args, **kwargs):
            calls[name] += 1
            return method(*args, **kwargs)

        return call

    for name in calls:
        monkeypatch.setattr(Shells, name, counted(name, getattr(Shells, name)))
    model = make_pipeline(Shells(species=SPECIES), LinearPotential(Ridge()))
    grid = {"linearpotential__regressor__alpha": [1e-8, 1e-4, 1.0], "linearpotential__force_weight": [0.1, 1.0]}
    search = GridSearchCV(model, grid, cv=3, scoring=lambda model, X, y: -np.std(model.predict(X) - y["energy"]))
    clear_cache()  # the targets were made from rows
    search.fit(structures, noisy)
    # Six fits in each of three folds, as many predictions, a refit; these cells are one block of centers each.
    assert calls == {"values": len(structures), "jacobian": len(structures)}
    assert search.best_estimator_[-1].coef_.shape == (2, 4)


def test_tools_of_scikit_learn_take_the_pipeline(structures, noisy):
    model = make_pipeline(Shells(species=SPECIES), LinearPotential(Ridge(1e-6)))
    folds = KFold(3, shuffle=True, random_state=0)
    energies = cross_val_predict(model, structures, noisy["energy"], cv=folds)
    np.testing.assert_allclose(energies, noisy["energy"], atol=4.0)
    scores = cross_validate(
        model, structures, noisy, groups=get_groups(structures), cv=GroupKFold(2), scoring=SCORERS, error_score="raise"
    )
    assert (scores["test_neg_force_rmse"] < 0).all()
    sizes, _, test = learning_curve(model, structures, noisy, cv=folds, train_sizes=[0.5, 1.0], error_score="raise")
    assert test.shape == (2, 3)
    assert sizes.tolist() == [8, 16]


def test_searches_run_in_several_processes(structures, noisy):
    model = make_pipeline(Shells(species=SPECIES), LinearPotential(Ridge(1e-6)))
    grid = {"linearpotential__force_weight": [0.01, 1.0]}
    both = [GridSearchCV(model, grid, cv=3, n_jobs=n).fit(structures, noisy) for n in (1, 2)]
    np.testing.assert_array_equal(*(search.cv_results_["mean_test_score"] for search in both))
