"""What an evolution search is fitted to: structures in any sequence, their features, and parameters of the fit."""

import numpy as np
import pytest
from _toy import Shells
from _training import SPECIES, make_exact_targets, make_features, make_structures
from ase.build import bulk
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline

from mlfeat import DifferentialEvolutionSearch
from mlfeat.metrics import neg_force_rmse
from mlfeat.model_selection import property_scorer
from mlfeat.potentials import LinearPotential

WEIGHTS = {"group_weights[hot]": (0.1, 10.0, "log"), "force_weight": (0.1, 1.0)}
OF_PIPELINE = {f"linearpotential__{name}": given for name, given in WEIGHTS.items()}
CV = KFold(3, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def structures():
    return make_structures()


@pytest.fixture(scope="module")
def noisy(structures):
    return make_exact_targets(make_features(structures), noise=0.05)


@pytest.fixture
def model():
    return make_pipeline(Shells(species=SPECIES), LinearPotential(Ridge(1e-6), force_weight=0.1))


def search_of(estimator, bounds, **settings):
    settings = {"scoring": neg_force_rmse, "cv": CV, "n_trials": 6, "popsize": 2, "random_state": 0, **settings}
    return DifferentialEvolutionSearch(estimator, bounds, **settings)


def as_array(structures):
    array = np.empty(len(structures), dtype=object)
    array[:] = structures
    return array


# Groups of whatever has them


@pytest.mark.parametrize("kind", [tuple, as_array])
def test_structures_may_be_any_sequence(structures, noisy, model, tmp_path, kind):
    search = search_of(model, OF_PIPELINE, checkpoint=tmp_path / "search")
    expected = search.fit(structures, noisy).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(search.fit(kind(structures), noisy).cv_results_["mean_test_score"], expected)
    labeled = [atoms.copy() for atoms in structures]
    for atoms, target in zip(labeled, noisy, strict=True):
        atoms.info["energy"], atoms.arrays["forces"] = target["energy"], target["forces"]
        if np.isfinite(target["stress"]).all():
            atoms.info["stress"] = target["stress"]
    found = clone(search).set_params(checkpoint=None).fit(kind(labeled)).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="those of the structures are: 'bulk', 'hot'"):
        search_of(model, {"linearpotential__group_weights[cold]": (0.1, 1.0)}).fit(kind(structures), noisy)


def test_features_have_the_groups_of_their_structures(structures, noisy, model):
    features, potential = model[0].fit_transform(structures), model[-1]
    search = search_of(potential, WEIGHTS).fit(features, noisy)
    expected = search_of(model, OF_PIPELINE).fit(structures, noisy)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-8
    )
    inside = make_pipeline(clone(model[0]), search_of(potential, WEIGHTS)).fit(structures, noisy)
    np.testing.assert_array_equal(inside.predict(structures), search.predict(features))
    with pytest.raises(ValueError, match="those of the structures are: 'bulk', 'hot'"):
        search_of(potential, {"group_weights[cold]": (0.1, 1.0)}).fit(features, noisy)


def test_groups_that_are_unknown_are_not_checked():
    class Weighed(Ridge):
        def __init__(self, alpha=1.0, group_weights=None):
            super().__init__(alpha)
            self.group_weights = group_weights

    search = search_of(Weighed(), {"group_weights[A]": (0.1, 1.0)}, scoring=None).fit(*make_regression(20, 3))
    assert set(search.best_params_["group_weights"]) == {"A"}


# Parameters of the fit


def test_parameters_of_the_fit_are_cut_into_folds(structures, noisy, model):
    weights = np.random.default_rng(0).uniform(0.0, 3.0, len(structures))
    given = {"linearpotential__sample_weight": weights}
    search = search_of(model, OF_PIPELINE).fit(structures, noisy, **given)
    for params, score in zip(*(search.cv_results_[name] for name in ("params", "mean_test_score")), strict=True):
        tried = clone(model).set_params(**params)
        expected = cross_val_score(tried, structures, noisy, scoring=neg_force_rmse, cv=CV, params=given).mean()
        assert score == expected
    best = clone(model).set_params(**search.best_params_).fit(structures, noisy, **given)
    np.testing.assert_array_equal(search.best_estimator_[-1].coef_, best[-1].coef_)
    unweighted = search_of(model, OF_PIPELINE).fit(structures, noisy)
    assert not np.allclose(unweighted.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])


def test_properties_are_of_a_fit_with_its_parameters(structures, noisy, model):
    seen = []
    scorer = property_scorer(bulk("Cu"), lattice=3.6, force=0.3)
    scorer.properties = lambda fitted: seen.append(fitted[-1].coef_) or {"lattice_constant": 3.6}
    weights = np.linspace(0.0, 3.0, len(structures))
    search_of(model, OF_PIPELINE, scoring=scorer, n_trials=1).fit(
        structures, noisy, linearpotential__sample_weight=weights
    )
    expected = clone(model).fit(structures, noisy, linearpotential__sample_weight=weights)
    np.testing.assert_allclose(seen[0], expected[-1].coef_, rtol=1e-6)


def test_samples_may_be_weighted():
    X, y = make_regression(30, 4, noise=20.0, random_state=0)
    weights = np.random.default_rng(0).uniform(0.0, 3.0, 30)
    search = search_of(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, scoring=None).fit(X, y, sample_weight=weights.tolist())
    expected = Ridge(**search.best_params_).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(search.predict(X), expected.predict(X))


def test_a_checkpoint_is_of_the_parameters_of_the_fit(tmp_path):
    X, y = make_regression(30, 4, noise=20.0, random_state=0)
    search = search_of(Ridge(), {"alpha": (0.1, 10.0)}, scoring=None, checkpoint=tmp_path / "search")
    scores = search.fit(X, y, sample_weight=np.ones(30)).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(search.fit(X, y, sample_weight=np.ones(30)).cv_results_["mean_test_score"], scores)
    for other in ({}, {"sample_weight": np.linspace(1, 2, 30)}):
        with pytest.raises(ValueError, match="another search .fit_params was"):
            search.fit(X, y, **other)
