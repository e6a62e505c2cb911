"""FeatureSelector: the columns that the definition of CUR chooses, and energies that absorb the choice."""

import numpy as np
import pytest
from _radial import Radial, metals
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlfeat import (
    FeatureScaler,
    FeatureSelector,
    LinearPotential,
    PotentialCalculator,
    load,
    make_targets,
    predict_targets,
    preprocessing,
    save,
)
from mlfeat.base import Composed
from mlfeat.features import AtomFeatures
from mlfeat.potentials import LinearEnergy, QuadraticEnergy


@parametrize_with_checks([FeatureSelector(), FeatureSelector(0.5), FeatureSelector(method="variance")])
def test_is_a_scikit_learn_transformer_of_arrays(estimator, check):
    check(estimator)


@pytest.fixture
def values():
    """Sixty environments with twelve features of all sizes, mixed from five and some noise; the eighth is constant."""
    rng = np.random.default_rng(11)
    values = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 12)) + 0.1 * rng.normal(size=(60, 12))
    values = 7.0 + values * 10.0 ** rng.uniform(-3, 3, size=12)
    values[:, 7] = 1 / 3
    return values


def definition(values, n):
    """Columns of the environments × features matrix by leverage, each taken out of the others, and the errors."""
    spread = values.std(axis=0)
    spread[spread < 1e-12] = np.inf
    X = (values - values.mean(axis=0)) / spread
    left, order, errors = X.copy(), [], []
    for _ in range(n):
        v = np.linalg.svd(left)[2][0]
        order.append(np.argmax(v**2))
        unit = left[:, order[-1]] / np.linalg.norm(left[:, order[-1]])
        left = left - np.outer(unit, unit @ left)
        C = X[:, order]
        errors.append(np.linalg.norm(X - C @ np.linalg.pinv(C) @ X) / np.linalg.norm(X))
    return order, errors


@pytest.mark.parametrize("n", [1, 4, 11])
def test_the_choice_is_that_of_the_definition(values, n, monkeypatch):
    monkeypatch.setattr(preprocessing._selector, "BLOCK", 17)
    selector = FeatureSelector(n).fit(values)
    order, errors = definition(values, n)
    assert selector.order_.tolist() == order
    np.testing.assert_allclose(selector.errors_, errors, rtol=1e-7, atol=1e-7)
    assert selector.indices_.tolist() == sorted(order)
    np.testing.assert_array_equal(selector.transform(values), values[:, sorted(order)])


def test_long_lists_are_chosen_from_as_short_ones_are(values, monkeypatch):
    long = np.hstack([values[:, :7], values[:, 8:]])
    order = FeatureSelector(8).fit(long).order_
    monkeypatch.setattr(preprocessing._selector, "DENSE", 2)
    np.testing.assert_array_equal(FeatureSelector(8).fit(long).order_, order)

    def fail(*args, **kwargs):
        raise preprocessing._selector.ArpackNoConvergence("", [], [])

    monkeypatch.setattr(preprocessing._selector, "eigsh", fail)
    np.testing.assert_array_equal(FeatureSelector(8).fit(long).order_, order)


def test_units_and_zeros_of_features_do_not_matter(values):
    rng = np.random.default_rng(2)
    others = rng.normal(size=12) + values * 10.0 ** rng.uniform(-4, 4, size=12)
    np.testing.assert_array_equal(FeatureSelector(6).fit(values).order_, FeatureSelector(6).fit(others).order_)


def test_tol_stops_at_the_error(values):
    errors = FeatureSelector(11).fit(values).errors_
    assert (np.diff(errors) < 0).all()
    selector = FeatureSelector(tol=0.05).fit(values)
    assert selector.errors_[-1] <= 0.05 < selector.errors_[-2]
    np.testing.assert_array_equal(selector.errors_, errors[: len(selector.errors_)])


def test_a_share_is_one_of_all_features(values):
    assert len(FeatureSelector(0.25).fit(values).indices_) == 3
    assert len(FeatureSelector(1e-3).fit(values).indices_) == 1


def test_of_equal_features_the_first_is_chosen():
    column = np.random.default_rng(0).normal(size=(100, 1))
    noise = np.random.default_rng(1).normal(size=(100, 1))
    values = np.hstack([noise, column, 3 * column, 1 - column])
    with pytest.warns(UserWarning, match="only 2 of the 4 features are linearly independent: n_features=3"):
        selector = FeatureSelector(3).fit(values)
    assert selector.order_.tolist() == [1, 0]
    assert selector.errors_[-1] < 1e-7


def test_variance_drops_what_does_not_vary(values):
    selector = FeatureSelector(method="variance").fit(values)
    assert selector.get_support(indices=True).tolist() == [k for k in range(12) if k != 7]
    assert selector.get_support().sum() == 11
    assert selector.order_ is None


def test_names_are_those_of_the_features_chosen(values):
    selector = FeatureSelector(3).fit(values)
    names = np.array([f"G{k}" for k in range(12)], dtype=object)
    assert selector.get_feature_names_out(names).tolist() == names[selector.get_support()].tolist()
    features = Radial(n_features=4).fit_transform(metals())
    behind = FeatureSelector(2).fit_transform(features)
    assert behind.shape == (6, 2)
    assert set(behind.feature_names) < set(features.feature_names)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "pca"}, "method='pca'"),
        ({"tol": 1e-9}, "tol=1e-09"),
        ({"tol": 1.0}, "tol=1.0"),
        ({"n_features": 0}, "n_features=0: must be an int from 1 to 12, or a share"),
        ({"n_features": 13}, "n_features=13"),
        ({"n_features": 1.5}, "n_features=1.5"),
        ({"n_features": True}, "n_features=True"),
        ({"n_features": 3, "method": "variance"}, "takes no number"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(values, parameters, message):
    with pytest.raises(ValueError, match=message):
        FeatureSelector(**parameters).fit(values)


def test_features_that_never_vary_are_refused():
    with pytest.raises(ValueError, match="no feature varies"):
        FeatureSelector().fit(np.ones((5, 3)))
    with pytest.raises(ValueError, match="there are no atoms"):
        FeatureSelector().fit(Radial().fit_transform(metals())[:0])


def test_derivatives_are_those_of_the_features_chosen(values):
    rng = np.random.default_rng(3)
    selector = FeatureSelector(4).fit(values)
    tangents, cotangents = rng.normal(size=(60, 2, 12)), rng.normal(size=(60, 4))
    forward = selector.jvp(values, tangents)
    np.testing.assert_array_equal(forward[:, 1], selector.apply(tangents[:, 1]))
    backward = selector.vjp(values, cotangents)
    np.testing.assert_allclose(np.sum(cotangents * forward[:, 0]), np.sum(backward * tangents[:, 0]))
    assert not backward[:, ~selector.get_support()].any()


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_absorbed_energy_equals_the_energy_of_the_features_chosen(values, kind):
    rng = np.random.default_rng(5)
    selector = FeatureSelector(3).fit(values)
    if kind == "linear":
        model = LinearEnergy(rng.normal(size=(2, 3)), rng.normal(size=2))
    else:
        model = QuadraticEnergy.from_packed(rng.normal(size=(2, 9)), rng.normal(size=2))
    features = AtomFeatures(values, rng.integers(2, size=60).astype(np.intp))
    absorbed = selector.absorb(model)
    assert type(absorbed) is type(model)
    expected = Composed(selector, model).energy_and_cotangent(features)
    for found, wanted in zip(absorbed.energy_and_cotangent(features), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_models_with_a_choice_run_and_are_saved(tmp_path):
    structures = metals()
    steps = FeatureSelector(3), FeatureScaler("min", "range", by_species=True)
    model = make_pipeline(Radial(n_features=5), *steps, LinearPotential())
    model.fit(structures, make_targets(structures))
    expected = predict_targets(model, structures[:1])[0]
    forces = PotentialCalculator(model).get_property("forces", structures[0])
    np.testing.assert_allclose(forces, expected["forces"], rtol=1e-8, atol=1e-9)
    again = load(save(model[1], tmp_path / "selector"))
    assert again.cache_key() == model[1].cache_key()
    again.indices_ = again.indices_[::-1]
    with pytest.raises(ValueError, match="indices_"):
        save(again, tmp_path / "wrong")


@pytest.mark.parametrize("method", ["cur", "variance"])
def test_what_hardly_varies_is_left_out(values, method):
    spread = values.std(axis=0)
    limit = np.median(spread)
    chosen = FeatureSelector(method=method, tol=1e-6, min_std=limit).fit(values).indices_
    np.testing.assert_array_equal(chosen, np.flatnonzero(spread > limit))
    with pytest.raises(ValueError, match="min_std"):
        FeatureSelector(method=method, min_std=2 * spread.max()).fit(values)
    with pytest.raises(ValueError, match="min_std=-1"):
        FeatureSelector(method=method, min_std=-1).fit(values)
