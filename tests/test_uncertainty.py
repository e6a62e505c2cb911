"""Standard deviations of energies, and extrapolation grades of environments."""

import numpy as np
import pytest
from _toy import Shells
from _training import (
    COEF,
    INTERCEPT,
    SPECIES,
    dense_problem,
    make_exact_targets,
    make_features,
    make_structures,
)
from ase.build import bulk
from sklearn.base import clone
from sklearn.linear_model import ARDRegression, BayesianRidge, Lasso, LinearRegression, Ridge, RidgeCV
from sklearn.pipeline import make_pipeline

from mlfeat.calculator import PotentialCalculator
from mlfeat.features import AtomFeatures
from mlfeat.potentials import LinearPotential, _environments
from mlfeat.potentials._environments import Environments, grade
from mlfeat.preprocessing import QuadraticExpansion

SOLVERS = ["stacked", "gram", "qr"]


@pytest.fixture(scope="module")
def features():
    return make_features(make_structures())


@pytest.fixture(scope="module")
def noisy(features):
    return make_exact_targets(features, noise=0.05)


def energy_rows(features):
    """Rows of total energies, [composition | features]."""
    return np.array([np.r_[np.bincount(x.species, minlength=2), x.rows()[0]] for x in features])


# --- Standard deviations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("alpha", [1e-9, 0.5])
def test_std_is_that_of_the_explicit_posterior(features, noisy, solver, alpha):
    weights = (4.0, 0.3, 20.0)
    potential = LinearPotential(Ridge(alpha), energy_weight=4.0, force_weight=0.3, stress_weight=20.0, solver=solver)
    potential.fit(features, noisy)
    rows, values = dense_problem(features, noisy, weights)
    precision = rows.T @ rows + np.diag(np.r_[0, 0, np.full(8, alpha)])
    covariance = np.linalg.inv(precision)
    residuals = values - rows @ np.linalg.solve(precision, rows.T @ values)
    n_fitted = np.trace(covariance @ rows.T @ rows)
    noise = residuals @ residuals / (len(rows) - n_fitted)
    x = energy_rows(features)
    variance = noise * np.einsum("sp,pq,sq->s", x, covariance, x)
    np.testing.assert_allclose(potential.predict_std(features), np.sqrt(variance), rtol=1e-6)
    n_atoms = np.array([item.n_atoms for item in features])
    expected = np.sqrt(variance + n_atoms**2 * noise / 4.0)
    np.testing.assert_allclose(potential.predict_std(features, include_noise=True), expected, rtol=1e-6)


@pytest.mark.parametrize("regressor", [BayesianRidge(), ARDRegression()], ids=repr)
def test_std_is_that_of_scikit_learn(features, noisy, regressor):
    potential = LinearPotential(regressor, intercept=None).fit(features, noisy)
    n_atoms = np.array([item.n_atoms for item in features])
    per_atom = energy_rows(features)[:, 2:] / n_atoms[:, None]
    _, std = potential.regressor_.predict(per_atom, return_std=True)
    np.testing.assert_allclose(potential.predict_std(features, include_noise=True) / n_atoms, std, rtol=1e-6)


def test_std_covers_the_error_of_repeated_fits(features):
    """Over draws of the noise, errors of the mean are as large as the standard deviation says."""
    sigma, exact = 0.03, energy_rows(features) @ np.r_[INTERCEPT, COEF.ravel()]
    ratios = []
    for seed in range(60):
        potential = LinearPotential(Ridge(1e-10)).fit(features, make_exact_targets(features, noise=sigma, seed=seed))
        ratios.append((potential.predict(features) - exact) / potential.predict_std(features))
    ratios = np.array(ratios)
    # 60 independent fits: the mean square of each structure's ratio is one within some tenths.
    assert 0.85 < np.mean(ratios**2) < 1.15
    assert 0.6 < np.mean(np.abs(ratios) < 1) < 0.76
    assert np.mean(np.abs(ratios) < 2) > 0.92


def test_noise_is_estimated_from_the_residuals(features):
    potential = LinearPotential(Ridge(1e-10)).fit(features, make_exact_targets(features, noise=0.03))
    assert np.sqrt(potential.posterior_["noise_variance"]) == pytest.approx(0.03, rel=0.1)


def test_more_data_leave_less_open(features):
    targets = make_exact_targets(features, noise=0.03)
    few, many = (LinearPotential(Ridge(1e-6)).fit(features[:n], targets[:n]).predict_std(features) for n in (8, 24))
    assert (many < few).mean() > 0.9


def test_std_of_a_structure_does_not_depend_on_the_zero_of_energies(features, noisy):
    shifted = noisy.copy()
    shifted["energy"] += [1e4 * item.n_atoms for item in features]
    for solver in SOLVERS:
        one, other = (LinearPotential(Ridge(1e-3), solver=solver).fit(features, y) for y in (noisy, shifted))
        np.testing.assert_allclose(other.predict_std(features), one.predict_std(features), rtol=1e-5)


@pytest.mark.parametrize("regressor", [LinearRegression(), RidgeCV([1e-3, 1.0]), Ridge(0.1)], ids=repr)
def test_ridge_like_regressors_have_a_std(features, noisy, regressor):
    assert (LinearPotential(regressor).fit(features, noisy).predict_std(features) > 0).all()


@pytest.mark.parametrize(
    "regressor", [Lasso(1e-3), Ridge(1e-3, positive=True), LinearRegression(positive=True)], ids=repr
)
def test_others_have_none_and_say_so(features, noisy, regressor):
    potential = LinearPotential(regressor).fit(features, noisy)
    assert not hasattr(potential, "predict_std")
    assert not hasattr(LinearPotential(), "predict_std")


# --- Extrapolation grades -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_grades_of_training_environments_are_at_most_one(features, noisy, solver):
    potential = LinearPotential(Ridge(1e-6), solver=solver).fit(features, noisy)
    grades = np.concatenate([potential.extrapolation_grade(item) for item in features])
    assert grades.max() <= 1.0
    species = np.concatenate([item.species for item in features])
    assert [grades[species == s].max() for s in (0, 1)] == pytest.approx([1.0, 1.0])


def test_grade_is_the_mahalanobis_distance(features, noisy):
    potential = LinearPotential().fit(features, noisy)
    species = np.concatenate([item.species for item in features])
    for s in (0, 1):
        values = features.values[species == s]
        centered = values - values.mean(axis=0)
        distance = np.sqrt(np.einsum("nf,fg,ng->n", centered, np.linalg.inv(np.cov(centered.T)), centered))
        found = potential.extrapolation_grade(AtomFeatures(values, np.full(len(values), s)))
        np.testing.assert_allclose(found, distance / distance.max(), rtol=1e-6)


def test_grade_is_large_outside(features, noisy):
    potential = LinearPotential().fit(features, noisy)
    squeezed = bulk("Cu", a=2.9, cubic=True)
    inside, outside = Shells(species=SPECIES).fit_transform([make_structures(3)[2], squeezed])
    assert potential.extrapolation_grade(inside).max() <= 1.0
    assert potential.extrapolation_grade(outside).min() > 2.0


def test_a_species_without_training_data_is_infinitely_far(features, noisy):
    only = [number for number, item in enumerate(features) if item.species.min() == 1]
    potential = LinearPotential().fit(features[only], noisy[only])
    mixed = features[5]
    grades = potential.extrapolation_grade(mixed)
    assert np.isinf(grades[mixed.species == 0]).all()
    assert np.isfinite(grades[mixed.species == 1]).all()


def test_streamed_grades_stay_at_most_one(features, noisy, monkeypatch):
    monkeypatch.setattr(_environments, "N_EXTREMES", 8)
    potential = LinearPotential(Ridge(1e-6), solver="gram")
    for start in range(0, 24, 3):
        potential.partial_fit(features[start : start + 3], noisy[start : start + 3])
        seen = np.concatenate([potential.extrapolation_grade(item) for item in features[: start + 3]])
        assert seen.max() <= 1.0
    whole = clone(potential).fit(features, noisy)
    streamed, at_once = (np.concatenate([p.extrapolation_grade(x) for x in features]) for p in (potential, whole))
    species = np.concatenate([item.species for item in features])
    for s in (0, 1):  # the same but for a factor: the bound on environments let go early is a loose one
        ratio = streamed[species == s] / at_once[species == s]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
        assert 0.3 < ratio[0] <= 1.0


@pytest.mark.parametrize(
    "values",
    [
        np.ones((1, 3)),
        np.ones((9, 3)),
        np.eye(3)[[0, 0, 1]],
        np.column_stack([np.arange(9.0), np.arange(9.0), np.ones(9)]),
    ],
    ids=["one", "same", "few", "dependent"],
)
def test_degenerate_training_environments_have_finite_grades(values):
    seen = Environments(1, 3)
    species = np.zeros(len(values), dtype=np.intp)
    seen.update([AtomFeatures(values, species)])
    assert grade(values, species, **seen.grader()).max() <= 1.0
    away = grade(values + [0.0, 0.0, 0.1], species, **seen.grader())
    assert np.isfinite(away).all()
    assert away.min() > 1.0


def test_grader_of_many_features_is_well_behaved():
    """More features than environments: every new environment is far from all."""
    rng = np.random.default_rng(0)
    values, species = rng.normal(size=(20, 50)), np.zeros(20, dtype=np.intp)
    seen = Environments(1, 50)
    seen.update([AtomFeatures(values, species)])
    assert grade(values, species, **seen.grader()).max() <= 1.0
    assert grade(rng.normal(size=(5, 50)), species[:5], **seen.grader()).min() > 10


# --- Through the calculator -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [(), (QuadraticExpansion(),)])
def test_calculator_gives_both(features, noisy, steps):
    structures = make_structures()
    model = make_pipeline(Shells(species=SPECIES), *steps, LinearPotential(Ridge(1e-6))).fit(structures, noisy)
    atoms = structures[1]
    atoms.calc = PotentialCalculator(model)
    transformed = model[:-1].transform([atoms])
    assert atoms.calc.get_property("energy_std", atoms) == pytest.approx(model[-1].predict_std(transformed)[0])
    np.testing.assert_allclose(
        atoms.calc.get_property("extrapolation_grade", atoms), model[-1].extrapolation_grade(transformed[0])
    )
