import pickle

import numpy as np
import pytest
from _radial import Cubic, Linear, Radial, every_kind, metals
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import clone, is_regressor
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlfeat import get_groups, make_targets, predict_targets, set_cache_limit
from mlfeat._cache import DEFAULT_LIMIT
from mlfeat.base import Composed, split_model
from mlfeat.features import AtomFeatures, FeatureSet
from mlfeat.neighbors import NeighborPairs

STRUCTURES = every_kind()


@pytest.fixture
def structures():
    return metals()


@pytest.fixture
def y(structures):
    return make_targets(structures)


@pytest.fixture
def calls():
    """Numbers of calls of the descriptor's kernels, from zero."""
    Radial.calls.update(values=0, jacobian=0)
    return Radial.calls


@pytest.fixture
def model(structures, y):
    return make_pipeline(Radial(5.0, 6), Cubic(), Linear()).fit(structures, y)


# descriptor: the generic operations


@pytest.fixture(params=STRUCTURES, ids=str)
def pairs(request):
    return NeighborPairs.from_atoms(STRUCTURES[request.param], 4.5)  # wider than the descriptor's cutoff


@pytest.fixture
def descriptor():
    return Radial().fit(list(STRUCTURES.values()))


def random(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_generic_operations_are_contractions_of_the_jacobian(descriptor, pairs):
    cotangents, displacements = random(pairs.n_atoms, 3), random(pairs.n_pairs, 3)
    jacobian = descriptor.jacobian(pairs)
    gradients = np.einsum("pxk,pk->px", jacobian, cotangents[pairs.first])
    change = np.zeros((pairs.n_atoms, 3))
    np.add.at(change, pairs.first, np.einsum("pxk,px->pk", jacobian, displacements))
    np.testing.assert_allclose(descriptor.vjp(pairs, cotangents), gradients, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(descriptor.jvp(pairs, displacements), change, rtol=1e-12, atol=1e-12)
    values, pullback = descriptor.values_and_pullback(pairs)
    np.testing.assert_array_equal(values, descriptor.values(pairs))
    np.testing.assert_array_equal(pullback(cotangents), descriptor.vjp(pairs, cotangents))


def test_generic_operations_do_not_depend_on_blocks(descriptor, pairs, monkeypatch):
    cotangents, displacements = random(pairs.n_atoms, 3), random(pairs.n_pairs, 3)

    def results():
        return descriptor.vjp(pairs, cotangents), descriptor.jvp(pairs, displacements), descriptor.rows(pairs)

    whole = results()
    monkeypatch.setattr("mlfeat.features.BLOCK_ALIGN", 1)
    monkeypatch.setattr("mlfeat.features.center_blocks.__defaults__", (1,))
    for one, other in zip(whole, results(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_pairs_beyond_the_cutoff_have_no_effect(descriptor):
    for atoms in STRUCTURES.values():
        near, wide = (NeighborPairs.from_atoms(atoms, cutoff) for cutoff in (4.0, 5.0))
        np.testing.assert_allclose(descriptor.values(near), descriptor.values(wide), rtol=1e-13)
        np.testing.assert_allclose(descriptor.rows(near), descriptor.rows(wide), rtol=1e-12, atol=1e-12)


# descriptor: the transformer


def test_fit_finds_the_species_sorted(structures):
    assert Radial().fit(structures).species_ == ("Au", "Cu")
    assert Radial(species=["Cu", "Au", "Pt"]).fit(structures).species_ == ("Cu", "Au", "Pt")


def test_species_order_is_that_of_features_and_columns(structures):
    one, other = (Radial(species=s).fit_transform(structures)[1] for s in (["Cu", "Au"], ["Au", "Cu"]))
    np.testing.assert_array_equal(one.species, 1 - other.species)
    np.testing.assert_array_equal(one.rows(), np.roll(other.rows(), 3, axis=1))


def test_transform_gives_a_set_in_order(structures):
    X = Radial().fit(structures).transform(structures)
    assert isinstance(X, FeatureSet)
    assert X.shape == (6, 3)
    assert X.groups.tolist() == get_groups(structures).tolist()
    for item, atoms in zip(X, structures, strict=True):
        np.testing.assert_array_equal(item.pairs.positions, atoms.positions)
        np.testing.assert_array_equal(item.values, item.descriptor.values(item.pairs))


def test_feature_names(structures):
    pipeline = make_pipeline(Radial(), Cubic()).fit(structures)
    names = ["radial0", "radial1", "radial2", "radial0^3", "radial1^3", "radial2^3"]
    assert pipeline.get_feature_names_out().tolist() == names
    assert pipeline.transform(structures).feature_names.tolist() == names
    with pytest.raises(NotFittedError):
        Radial().get_feature_names_out()


def test_features_outlive_another_fit(structures):
    radial = Radial()
    X = radial.fit_transform(structures)
    rows = X[0].rows().copy()
    radial.set_params(cutoff=5.0, n_features=7).fit(structures)
    np.testing.assert_array_equal(X[0]._rows(), rows)
    cubic = Cubic().fit(X)
    behind = cubic.transform(X)
    rows = behind[0].rows().copy()
    cubic.set_params(shift=3.0).fit(X)
    np.testing.assert_array_equal(behind[0]._rows(), rows)


@pytest.mark.parametrize("n_jobs", [1, 2, 3, -1])
def test_results_are_bit_equal_for_any_number_of_threads(structures, y, n_jobs):
    def results(n_jobs):
        model = make_pipeline(Radial(n_jobs=n_jobs), Cubic(), Linear(n_jobs=n_jobs)).fit(structures, y)
        return model[:-1].transform(structures).values, *predict_targets(model, structures).tolist()

    set_cache_limit(0)
    try:
        expected, found = results(None), results(n_jobs)
    finally:
        set_cache_limit(DEFAULT_LIMIT)
    np.testing.assert_array_equal(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


# descriptor: bad input


@pytest.mark.parametrize(
    ("species", "message"),
    [
        ("Cu", r"as in \['Cu'\]"),
        (["Cu", "Xx"], "Xx is no chemical symbol"),
        (["Cu", "Cu"], "each once"),
        ([], "one or more"),
        (["Au"], "structure 0: Cu not among the species Au of this Radial.*name them in `species`"),
    ],
    ids=str,
)
def test_bad_species_are_refused(species, message):
    with pytest.raises(ValueError, match=message):
        Radial(species=species).fit([bulk("Cu")])


@pytest.mark.parametrize("cutoff", [0, -1.0, np.nan, np.inf, "4"])
def test_cutoff_must_be_positive(cutoff):
    with pytest.raises(ValueError, match="cutoff=.*must be a positive number, in Å"):
        Radial(cutoff).fit([bulk("Cu")])


BAD = {
    "unknown species": (Atoms("OCu", [[0, 0, 0], [0, 0, 2]]), "structure 2: O not among the species Au, Cu"),
    "NaN": (Atoms("Cu", [[0, 0, np.nan]]), "structure 2: the position of atom 0"),
    "empty": (Atoms(), "structure 2 is empty"),
    "overlap": (Atoms("Cu2", [[0, 0, 0], [0, 0, 0.05]]), "structure 2: atoms 0 and 1 are 0.05 Å apart"),
}


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("name", BAD)
def test_bad_structures_are_refused_before_any_work(structures, calls, name, n_jobs):
    atoms, message = BAD[name]
    radial = Radial(n_jobs=n_jobs).fit(structures)
    with pytest.raises(ValueError, match=message):
        radial.transform([*structures[:2], atoms, *structures[2:], atoms])
    assert calls == {"values": 0, "jacobian": 0}


def test_structures_come_in_a_list(structures):
    for method in (Radial().fit, Radial().fit(structures).transform):
        with pytest.raises(TypeError, match=r"pass \[atoms\]"):
            method(structures[0])
        with pytest.raises(ValueError, match="empty list"):
            method([])


def test_transform_wants_a_fitted_descriptor(structures):
    with pytest.raises(NotFittedError):
        Radial().transform(structures)


# descriptor: scikit-learn


def test_clone_and_pickle(structures):
    radial = Radial(3.5, n_features=5, species=["Au", "Cu"]).fit(structures)
    assert clone(radial).get_params() == radial.get_params()
    assert not hasattr(clone(radial), "cutoff_")
    twin = pickle.loads(pickle.dumps(radial))
    np.testing.assert_array_equal(twin.transform(structures).values, radial.transform(structures).values)
    assert twin.cache_key() == radial.cache_key()


def test_stock_estimators_follow_for_energies(structures, y):
    energies = y["energy"]
    model = make_pipeline(Radial(5.0, 5), StandardScaler(), Ridge(1e-6))
    assert model.fit(structures, energies).score(structures, energies) > 0.9
    sums = np.asarray(Radial(5.0, 5).fit_transform(structures))
    by_hand = make_pipeline(StandardScaler(), Ridge(1e-6)).fit(sums, energies)
    np.testing.assert_allclose(model.predict(structures), by_hand.predict(sums), rtol=1e-12)


@pytest.mark.parametrize("tail", [[StandardScaler(), Ridge(1e-6)], [Cubic(), Linear()]], ids=["stock", "mlfeat"])
@pytest.mark.filterwarnings("ignore:R.2 score is not well-defined")
def test_the_tools_of_model_selection_work(structures, y, tail):
    y = y["energy"] if isinstance(tail[-1], Ridge) else y
    model = make_pipeline(Radial(), *tail)
    groups = get_groups(structures)
    search = GridSearchCV(model, {"radial__cutoff": [3.0, 4.0, 5.0]}, cv=3, error_score="raise").fit(structures, y)
    assert search.best_params_["radial__cutoff"] in (3.0, 4.0, 5.0)
    assert search.predict(structures).shape == (6,)
    assert cross_val_predict(model, structures, y, cv=GroupKFold(3), groups=groups).shape == (6,)
    sizes, *scores = learning_curve(model, structures, y, train_sizes=[2, 4], cv=3, error_score="raise")
    assert sizes.tolist() == [2, 4]
    assert np.isfinite(scores).all()
    found = cross_validate(model, structures, y, cv=GroupKFold(3), groups=groups, error_score="raise")
    assert np.isfinite(found["test_score"]).all()
    train, test, y_train, _ = train_test_split(structures, y, test_size=2, random_state=0)
    assert model.fit(train, y_train).predict(test).shape == (2,)


def test_search_in_processes_agrees(structures, y):
    model, grid = make_pipeline(Radial(), Cubic(), Linear()), {"radial__cutoff": [3.0, 4.0]}
    scores = [
        GridSearchCV(model, grid, cv=2, n_jobs=n, error_score="raise").fit(structures, y).cv_results_["mean_test_score"]
        for n in (1, 2)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-12)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_output_containers_leave_feature_sets_alone(structures, container):
    pytest.importorskip(container)
    pipeline = make_pipeline(Radial(), Cubic()).set_output(transform=container)
    assert isinstance(pipeline.fit_transform(structures), FeatureSet)
    assert isinstance(pipeline.transform(structures), FeatureSet)
    with config_context(transform_output=container):
        pipeline = make_pipeline(Radial(), Cubic())
        assert isinstance(pipeline.fit_transform(structures), FeatureSet)
    named = make_pipeline(Radial(), StandardScaler()).set_output(transform=container).fit_transform(structures)
    assert type(named).__module__.startswith(container)


# the cache


def test_each_structure_is_computed_once(structures, calls):
    radial = Radial().fit(structures)
    twice = radial.transform([*structures, *structures])
    assert calls["values"] == len(structures)
    assert twice[0].values is twice[6].values
    clone(radial).fit_transform(structures[::-1])
    Radial(n_jobs=2, species=["Au", "Cu"]).fit_transform(structures)
    assert calls["values"] == len(structures)


def test_what_changes_features_computes_anew(structures, calls):
    Radial().fit_transform(structures)
    for different in (Radial(4.5), Radial(n_features=4), Radial(species=["Cu", "Au"])):
        calls["values"] = 0
        different.fit_transform(structures)
        assert calls["values"] == len(structures)
    structures[0].positions[0, 0] += 1e-9
    calls["values"] = 0
    Radial().fit_transform(structures)
    assert calls["values"] == 1


def test_groups_are_not_cached(structures):
    radial = Radial().fit(structures)
    radial.transform(structures)
    structures[0].info["group"] = "other"
    assert radial.transform(structures).groups[0] == "other"


def test_a_search_behind_the_descriptor_computes_each_structure_once(structures, y, calls):
    model = make_pipeline(Radial(species=["Au", "Cu"]), Cubic(), Linear())
    GridSearchCV(model, {"linear__baseline": [None, EMT()]}, cv=3, error_score="raise").fit(structures, y)
    assert calls["values"] == len(structures)


def test_a_search_over_the_regressor_makes_rows_once(structures, y, calls):
    model = make_pipeline(Radial(species=["Au", "Cu"]), Linear())
    # each prediction of forces takes one Jacobian too, for lack of an adjoint form here; score energies only
    search = GridSearchCV(model, {"linear__n_jobs": [1, 2, 3]}, cv=KFold(3), scoring=energy_error, error_score="raise")
    search.fit(structures, y)
    assert calls == {"values": len(structures), "jacobian": len(structures)}


def energy_error(model, structures, y):
    return -np.abs(model.predict(structures) - y["energy"]).max()


def test_threads_of_joblib_share_the_cache(structures, y, calls):
    model = make_pipeline(Radial(species=["Au", "Cu"]), Linear())
    model.fit(structures, y)
    with parallel_config("threading", n_jobs=2):
        cross_val_predict(model, structures, y, cv=3)
    assert calls == {"values": len(structures), "jacobian": len(structures)}


# steps


@parametrize_with_checks([Cubic(), Cubic(0.5)])
def test_steps_pass_scikit_learns_checks(estimator, check):
    check(estimator)


def test_a_step_on_a_set_is_the_step_on_each_atom(structures):
    X = Radial().fit_transform(structures)
    cubic = Cubic(0.3).fit(X)
    behind = cubic.transform(X)
    assert behind.shape == (6, 6)
    assert behind[2].steps[0].shift == 0.3
    np.testing.assert_array_equal(behind.values, cubic.transform(X.values))
    np.testing.assert_allclose(cubic.mean_, X.values.mean(axis=0) + 0.3, rtol=1e-14)


def test_a_step_wants_the_features_it_was_fitted_to(structures):
    cubic = Cubic().fit(Radial().fit_transform(structures))
    with pytest.raises(ValueError, match="X has 5 features, but Cubic is expecting 3 features"):
        cubic.transform(Radial(n_features=5).fit_transform(structures))
    with pytest.raises(NotFittedError):
        Cubic().transform(Radial().fit_transform(structures))


def test_absorbed_steps_give_the_same_energies(model, structures):
    descriptor, (cubic,), potential = split_model(model)
    absorbed = cubic.absorb(potential.energy_model())
    assert isinstance(absorbed, Composed)
    for item, behind in zip(descriptor.transform(structures), model[:-1].transform(structures), strict=True):
        energies, cotangents = absorbed.energy_and_cotangent(AtomFeatures(item.values, item.species))
        expected, outer = potential.energy_and_cotangent(behind)
        np.testing.assert_allclose(energies, expected, rtol=1e-14)
        np.testing.assert_allclose(item.vjp(cotangents), behind.vjp(outer), rtol=1e-12, atol=1e-12)


# potentials


def test_forces_are_minus_the_gradient_and_stress_that_of_strain(model, structures):
    atoms = structures[1]
    target = predict_targets(model, [atoms])[0]
    h = 1e-3

    def slope(change):
        moved = [atoms.copy() for _ in range(4)]
        for twin, step in zip(moved, (-2, -1, 1, 2), strict=True):
            change(twin, step * h)
        a, b, c, d = predict_targets(model, moved)["energy"]
        return (8 * (c - b) - (d - a)) / (12 * h)

    for a in range(len(atoms)):
        for x in range(3):

            def move(twin, step, a=a, x=x):
                twin.positions[a, x] += step

            assert target["forces"][a, x] == pytest.approx(-slope(move), rel=1e-7, abs=1e-7)
    for v, (x, y) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):

        def strain(twin, step, x=x, y=y):
            deform = np.eye(3)
            deform[x, y] += 0.5 * step
            deform[y, x] += 0.5 * step
            twin.set_cell(twin.cell.array @ deform, scale_atoms=True)

        assert target["stress"][v] == pytest.approx(slope(strain) / atoms.get_volume(), rel=1e-7, abs=1e-9)


def test_predicted_energies_are_those_of_predicted_targets(model, structures):
    np.testing.assert_allclose(model.predict(structures), predict_targets(model, structures)["energy"], rtol=1e-14)


def test_targets_of_a_fitted_search_are_those_of_its_best(structures, y):
    search = GridSearchCV(make_pipeline(Radial(), Linear()), {"radial__cutoff": [4.0]}, cv=2).fit(structures, y)
    found, expected = (predict_targets(m, structures)["energy"] for m in (search, search.best_estimator_))
    np.testing.assert_array_equal(found, expected)


def test_targets_without_a_volume_have_no_stress(model):
    target = predict_targets(model, [Atoms("CuAu", [[0, 0, 0], [0, 0, 2.5]])])[0]
    assert np.isfinite(target["forces"]).all()
    assert np.isnan(target["stress"]).all()


def test_score_is_the_mean_of_two_coefficients_of_determination(model, structures, y):
    weight = np.arange(1.0, 7.0)
    predicted, n_atoms = predict_targets(model, structures), np.array([len(a) for a in structures])
    energy = r2_score(y["energy"] / n_atoms, predicted["energy"] / n_atoms, sample_weight=weight)
    forces = [np.concatenate(list(t["forces"])).ravel() for t in (y, predicted)]
    forces = r2_score(*forces, sample_weight=np.repeat(weight, 3 * n_atoms))
    X = model[:-1].transform(structures)
    assert model[-1].score(X, y, weight) == pytest.approx(0.5 * (energy + forces), rel=1e-12)
    assert model[-1].score(X, y["energy"], weight) == pytest.approx(energy, rel=1e-12)
    assert model.score(structures, y) < 1


def test_score_leaves_out_missing_forces(model, structures, y):
    some = y.copy()
    some["forces"][::2] = None
    X = model[:-1].transform(structures)
    weight = np.array([1.0, 1, 0, 1, 0, 1])
    expected = model[-1].score(X, y, weight), model[-1].score(X, y["energy"], weight)
    zeroed = y.copy()
    zeroed["forces"][[2, 4]] = None
    assert model[-1].score(X, zeroed, weight) == pytest.approx(expected[0], rel=1e-12)
    assert np.isfinite(model[-1].score(X, some))
    none = y.copy()
    none["forces"] = None
    assert model[-1].score(X, none, weight) == expected[1]


def test_a_baseline_is_added(model, structures, y):
    potential = Linear(baseline=EMT())
    potential.coef_ = model[-1].coef_
    X = model[:-1].transform(structures)
    plain, both = model[-1].predict_targets(X), potential.predict_targets(X)
    np.testing.assert_allclose(potential.predict(X), plain["energy"] + y["energy"], rtol=1e-12)
    np.testing.assert_allclose(both["energy"], plain["energy"] + y["energy"], rtol=1e-12)
    np.testing.assert_allclose(both["stress"], plain["stress"] + y["stress"], rtol=1e-12)
    for a, b, c in zip(both["forces"], plain["forces"], y["forces"], strict=True):
        np.testing.assert_allclose(a, b + c, rtol=1e-12, atol=1e-12)


def test_potentials_are_regressors_on_feature_sets(model):
    assert is_regressor(model[-1])
    assert is_regressor(model)
    for method in (model[-1].predict, model[-1].predict_targets, lambda X: model[-1].score(X, [0.0])):
        with pytest.raises(TypeError, match="expected a FeatureSet, got ndarray; put a descriptor before"):
            method(np.zeros((1, 12)))
    with pytest.raises(NotFittedError):
        Linear().predict(np.zeros((1, 12)))


def test_a_pickled_model_predicts_the_same(model, structures):
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict(structures), model.predict(structures))


# taking models apart


def test_a_model_comes_apart(model):
    assert split_model(model) == (model[0], (model[1],), model[2])
    assert split_model(make_pipeline(Radial(), Linear()))[1] == ()
    assert split_model(make_pipeline(Radial(), "passthrough", None, Linear()))[1] == ()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Linear(), "expected a Pipeline of descriptor, steps and potential, got Linear"),
        (GridSearchCV(make_pipeline(Radial(), Linear()), {}), "got GridSearchCV.*fit a search before"),
        (make_pipeline(Linear()), "first step must be a descriptor, got Linear"),
        (make_pipeline(Radial()), "last step must be a potential, got Radial"),
        (make_pipeline("passthrough"), "first step must be a descriptor, got NoneType"),
        (make_pipeline(Radial(), DummyRegressor()), "last step must be a potential, got DummyRegressor"),
        (make_pipeline(Cubic(), Linear()), "first step must be a descriptor, got Cubic"),
        (make_pipeline(Radial(), StandardScaler(), Linear()), "keeps derivatives.*got StandardScaler"),
    ],
    ids=str,
)
def test_other_models_are_refused(model, message):
    with pytest.raises(TypeError, match=message):
        split_model(model)
