"""What users of scikit-learn expect to work, on structures."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from sklearn.base import clone
from sklearn.linear_model import ARDRegression, BayesianRidge, Lasso, LinearRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mlfeat import (
    Bispectrum,
    FeatureScaler,
    LinearPotential,
    QuadraticExpansion,
    clear_cache,
    get_groups,
    make_targets,
    predict_targets,
    set_cache_limit,
)
from mlfeat.metrics import SCORERS, evaluate, neg_energy_rmse, neg_force_rmse
from mlfeat.persistence import load, save
from mlfeat.potentials import ZBL

GROUPS = ("bulk", "hot", "strained", "vacancy")


def make_copper(n_structures=16, seed=0):
    """Small cells of copper in four groups, with EMT's energies, forces and stresses."""
    rng = np.random.default_rng(seed)
    structures = []
    for index in range(n_structures):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.info["group"] = GROUPS[index % len(GROUPS)]
        if atoms.info["group"] == "vacancy":
            del atoms[0]
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = EMT()
        atoms.get_stress()
        structures.append(atoms)
    return structures


STRUCTURES = make_copper()
TARGETS = make_targets(STRUCTURES)
N = len(STRUCTURES)


def make_model(alpha=1e-6):
    return make_pipeline(Bispectrum(cutoff=4.0, twojmax=4), LinearPotential(Ridge(alpha)))


MODELS = {
    "snap": make_model(),
    "scaled": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), FeatureScaler(), LinearPotential(Ridge(1e-6))),
    "qsnap": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), QuadraticExpansion(), LinearPotential(Ridge(1e-4))),
    "gram": make_pipeline(Bispectrum(cutoff=4.0, twojmax=4), LinearPotential(Ridge(1e-6), solver="gram")),
    "baseline": make_pipeline(
        Bispectrum(cutoff=4.0, twojmax=2), LinearPotential(LinearRegression(), baseline=ZBL(1.0, 2.5))
    ),
    "bayes": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), LinearPotential(BayesianRidge())),
    "ard": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), LinearPotential(ARDRegression())),
    "lasso": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), LinearPotential(Lasso(1e-3, tol=1e-2))),
    "energies": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), StandardScaler(), Ridge(1e-6)),
}
POTENTIALS = [name for name in MODELS if name != "energies"]


@pytest.fixture(params=MODELS)
def model(request):
    return clone(MODELS[request.param])


def targets_of(model):
    """What the model can be fitted to."""
    return TARGETS if isinstance(model[-1], LinearPotential) else TARGETS["energy"]


# --- estimators


def test_clone_makes_an_equal_unfitted_model(model):
    fitted = model.fit(STRUCTURES, targets_of(model))
    again = clone(fitted)
    assert repr(again.get_params()) == repr(fitted.get_params())
    assert not hasattr(again[0], "species_")
    energies = again.fit(STRUCTURES, targets_of(model)).predict(STRUCTURES)
    np.testing.assert_array_equal(energies, fitted.predict(STRUCTURES))


def test_nested_parameters_are_reached_by_name():
    model = make_model()
    assert model.get_params()["linearpotential__regressor__alpha"] == 1e-6
    model.set_params(bispectrum__twojmax=2, linearpotential__regressor__alpha=1e-3)
    assert model[0].twojmax == 2
    assert model[-1].regressor.alpha == 1e-3
    with pytest.raises(ValueError, match="Invalid parameter 'r_cut'"):
        model.set_params(bispectrum__r_cut=3.0)


def test_fitting_leaves_the_parameters_alone(model):
    before = repr(model.get_params())
    model.fit(STRUCTURES, targets_of(model))
    assert repr(model.get_params()) == before


def test_feature_names_go_through_the_pipeline():
    model = clone(MODELS["qsnap"]).fit(STRUCTURES, TARGETS)
    names = model[:-1].get_feature_names_out()
    assert len(names) == len(set(names)) == model[-1].coef_.shape[1]


def test_score_says_that_the_fit_explains_the_training_set():
    for name in ("snap", "scaled", "qsnap", "gram", "baseline", "energies"):
        model = clone(MODELS[name]).fit(STRUCTURES, targets_of(MODELS[name]))
        assert 0.3 < model.score(STRUCTURES, targets_of(model)) <= 1


def test_fitting_a_second_time_forgets_the_first():
    model = make_model().fit(STRUCTURES[:8], TARGETS[:8])
    first = model.predict(STRUCTURES)
    model.fit(STRUCTURES[8:], TARGETS[8:]).fit(STRUCTURES[:8], TARGETS[:8])
    np.testing.assert_array_equal(model.predict(STRUCTURES), first)


@pytest.mark.parametrize("name", POTENTIALS)
def test_saved_models_predict_the_same(name, tmp_path):
    model = clone(MODELS[name]).fit(STRUCTURES, TARGETS)
    again = load(save(model, tmp_path / "model"))
    expected, found = (predict_targets(m, STRUCTURES[:3]) for m in (model, again))
    for a, b in zip(expected, found, strict=True):
        assert a["energy"] == b["energy"]
        np.testing.assert_array_equal(a["forces"], b["forces"])
        np.testing.assert_array_equal(a["stress"], b["stress"])
    assert repr(again.get_params()) == repr(model.get_params())
    if hasattr(model[-1], "predict_std"):
        features = model[:-1].transform(STRUCTURES[:3])
        np.testing.assert_array_equal(again[-1].predict_std(features), model[-1].predict_std(features))


# --- model selection


def test_grid_search_gives_the_same_in_two_processes():
    grid = {"bispectrum__cutoff": [3.5, 4.0], "linearpotential__regressor__alpha": [1e-6, 1e-2]}
    one, two = (
        GridSearchCV(
            make_model(), grid, cv=3, scoring=SCORERS, refit="neg_force_rmse", n_jobs=n_jobs, error_score="raise"
        ).fit(STRUCTURES, TARGETS)
        for n_jobs in (1, 2)
    )
    assert one.best_params_ == two.best_params_
    for name in SCORERS:
        key = f"mean_test_{name}"
        np.testing.assert_array_equal(one.cv_results_[key], two.cv_results_[key])
    assert evaluate(two, STRUCTURES)["energy_rmse"] < 0.01


def test_a_search_over_steps_and_solvers():
    grid = {"scaler": ["passthrough", FeatureScaler()], "potential__solver": ["stacked", "gram", "qr"]}
    model = Pipeline(
        [
            ("bispectrum", Bispectrum(cutoff=4.0, twojmax=2)),
            ("scaler", "passthrough"),
            ("potential", LinearPotential(Ridge(1e-8))),
        ]
    )
    search = GridSearchCV(model, grid, cv=2, scoring=neg_force_rmse, error_score="raise").fit(STRUCTURES, TARGETS)
    scores = search.cv_results_["mean_test_score"]
    assert np.ptp(scores) < 1e-3 * abs(scores.mean())


def test_group_k_fold_keeps_groups_together():
    groups = get_groups(STRUCTURES)
    splits = list(GroupKFold(4).split(STRUCTURES, TARGETS, groups))
    assert all(len(set(groups[test])) == 1 for _, test in splits)
    scores = cross_val_score(
        make_model(), STRUCTURES, TARGETS, groups=groups, cv=GroupKFold(4), scoring=neg_energy_rmse
    )
    for (train, test), score in zip(splits, scores, strict=True):
        model = make_model().fit([STRUCTURES[k] for k in train], TARGETS[train])
        assert neg_energy_rmse(model, [STRUCTURES[k] for k in test], TARGETS[test]) == pytest.approx(score)


def test_cross_val_predict_gives_energies(model):
    energies = cross_val_predict(model, STRUCTURES, targets_of(model), cv=KFold(4))
    assert energies.shape == (N,)
    train, test = next(KFold(4).split(STRUCTURES))
    model.fit([STRUCTURES[k] for k in train], targets_of(model)[train])
    np.testing.assert_allclose(energies[test], model.predict([STRUCTURES[k] for k in test]))


def test_learning_curve_falls():
    sizes, _, scores = learning_curve(
        make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), LinearPotential(Ridge(1e-6))),
        STRUCTURES,
        TARGETS,
        train_sizes=[2, 6, 12],
        cv=4,
        scoring=neg_force_rmse,
        shuffle=True,
        random_state=0,
    )
    assert list(sizes) == [2, 6, 12]
    means = scores.mean(axis=1)
    assert means[0] < means[-1] < 0


def test_randomized_search_and_train_test_split():
    groups = get_groups(STRUCTURES)
    train, test, y_train, y_test = train_test_split(STRUCTURES, TARGETS, random_state=0, stratify=groups)
    distributions = {"linearpotential__force_weight": [0.01, 0.1, 1.0]}
    search = RandomizedSearchCV(make_model(), distributions, n_iter=2, cv=2, random_state=0, scoring=neg_energy_rmse)
    assert np.isfinite(search.fit(train, y_train).score(test, y_test))


def test_features_can_be_computed_first_and_searched_after():
    features = Bispectrum(cutoff=4.0, twojmax=4).fit_transform(STRUCTURES)
    grid = {"regressor__alpha": [1e-6, 1e-2]}
    search = GridSearchCV(LinearPotential(Ridge()), grid, cv=3, scoring=neg_force_rmse).fit(features, TARGETS)
    whole = GridSearchCV(
        make_model(), {f"linearpotential__{k}": v for k, v in grid.items()}, cv=3, scoring=neg_force_rmse
    ).fit(STRUCTURES, TARGETS)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], whole.cv_results_["mean_test_score"])


def test_energies_alone_work_with_scikit_learns_own_steps():
    model = clone(MODELS["energies"]).fit(STRUCTURES, TARGETS["energy"])
    per_atom = (model.predict(STRUCTURES) - TARGETS["energy"]) / [len(atoms) for atoms in STRUCTURES]
    assert np.sqrt(np.mean(per_atom**2)) < 0.05
    search = GridSearchCV(model, {"ridge__alpha": [1e-6, 1.0]}, cv=3, scoring="neg_root_mean_squared_error")
    assert search.fit(STRUCTURES, TARGETS["energy"]).best_params_ == {"ridge__alpha": 1e-6}


# --- the cache


@pytest.fixture
def n_calls(monkeypatch):
    """Counts calls of the kernels that make values and Jacobians."""
    counts = {"values": 0, "jacobian": 0}
    for name in counts:
        monkeypatch.setattr(Bispectrum, name, counting(getattr(Bispectrum, name), name, counts))
    return counts


def counting(method, name, counts):
    def counted(self, *args, **kwargs):
        counts[name] += 1
        return method(self, *args, **kwargs)

    return counted


def test_a_search_over_alpha_computes_each_structure_once(n_calls):
    grid = {"linearpotential__regressor__alpha": [1e-8, 1e-6, 1e-4, 1e-2]}
    search = GridSearchCV(make_model(), grid, cv=4, scoring=neg_energy_rmse, error_score="raise")
    search.fit(STRUCTURES, TARGETS)  # 4 alphas x 4 folds, and the refit: 17 fits
    assert n_calls == {"values": N, "jacobian": N}


@pytest.mark.parametrize("solver", ["gram", "qr"])
def test_so_does_a_search_with_a_streaming_solver(solver, n_calls):
    model = make_model().set_params(linearpotential__solver=solver)
    grid = {"linearpotential__regressor__alpha": [1e-8, 1e-2]}
    GridSearchCV(model, grid, cv=4, scoring=neg_energy_rmse, error_score="raise").fit(STRUCTURES, TARGETS)
    assert n_calls == {"values": N, "jacobian": N}


def test_a_search_over_the_cutoff_computes_each_structure_once_for_each(n_calls):
    grid = {"bispectrum__cutoff": [3.5, 4.0], "linearpotential__regressor__alpha": [1e-6, 1e-2]}
    GridSearchCV(make_model(), grid, cv=4, scoring=neg_energy_rmse).fit(STRUCTURES, TARGETS)
    assert n_calls == {"values": 2 * N, "jacobian": 2 * N}


def test_energy_only_work_never_computes_a_jacobian(n_calls):
    GridSearchCV(MODELS["energies"], {"ridge__alpha": [1e-6, 1.0]}, cv=4).fit(STRUCTURES, TARGETS["energy"])
    assert n_calls == {"values": N, "jacobian": 0}


def test_moved_atoms_are_computed_again(n_calls):
    structures = [atoms.copy() for atoms in STRUCTURES]
    descriptor = Bispectrum(cutoff=4.0, twojmax=2).fit(structures)
    descriptor.transform(structures)
    structures[3].positions[0, 0] += 1e-9
    descriptor.transform(structures)
    assert n_calls["values"] == N + 1


def test_the_cache_can_be_emptied_and_switched_off(n_calls):
    descriptor = Bispectrum(cutoff=4.0, twojmax=2).fit(STRUCTURES)
    for expected in (1, 1):
        descriptor.transform(STRUCTURES)
        assert n_calls["values"] == expected * N
    clear_cache()
    descriptor.transform(STRUCTURES)
    assert n_calls["values"] == 2 * N
    set_cache_limit(0)
    try:
        descriptor.transform(STRUCTURES)
        descriptor.transform(STRUCTURES)
    finally:
        set_cache_limit(2**30)
    assert n_calls["values"] == 4 * N
