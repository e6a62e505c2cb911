"""Errors against sums written out, and scorers as scikit-learn calls them."""

import math
import pickle

import numpy as np
import pytest
from _toy import LeastSquares, Shells
from ase import Atoms
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline

from mlfeat import make_targets, metrics, predict_targets
from mlfeat.metrics import SCORERS, evaluate, neg_errors
from mlfeat.targets import empty_targets


def make_structures(n=9):
    """Cells and clusters of 3 to 5 atoms with made-up energies, forces and stresses."""
    rng = np.random.default_rng(0)
    structures = []
    for index in range(n):
        n_atoms = 3 + index % 3
        grid = np.array(list(np.ndindex(2, 2, 2)))[:n_atoms]
        atoms = Atoms(f"Cu{n_atoms}", 2.5 * grid + rng.uniform(-0.2, 0.2, grid.shape), cell=5 * np.eye(3))
        atoms.pbc = True
        atoms.info["energy"] = rng.normal()
        atoms.arrays["forces"] = rng.normal(size=(n_atoms, 3))
        atoms.info["stress"] = rng.normal(size=6)
        structures.append(atoms)
    del structures[1].arrays["forces"], structures[2].info["stress"], structures[3].info["stress"]
    structures[3].pbc, structures[3].cell = False, None
    return structures


STRUCTURES = make_structures()
TARGETS = make_targets(STRUCTURES)
NAMES = {f"{kind}_{measure}" for kind in ("energy", "force", "stress") for measure in ("rmse", "mae")}


@pytest.fixture(scope="module")
def model():
    return make_pipeline(Shells(n_shells=2), LeastSquares()).fit(STRUCTURES, TARGETS)


def test_errors_are_what_their_definitions_say(model):
    found = predict_targets(model, STRUCTURES)
    energy, force, stress = [], [], []
    for atoms, a, b in zip(STRUCTURES, found, TARGETS, strict=True):
        energy.append((a["energy"] - b["energy"]) / len(atoms))
        if b["forces"] is not None:
            force.extend((a["forces"] - b["forces"]).ravel())
        if "stress" in atoms.info:
            stress.extend(a["stress"] - b["stress"])
    assert len(stress) == 6 * 7
    expected = {}
    for kind, errors in {"energy": energy, "force": force, "stress": stress}.items():
        expected[f"{kind}_rmse"] = math.sqrt(sum(e * e for e in errors) / len(errors))
        expected[f"{kind}_mae"] = sum(map(abs, errors)) / len(errors)
    assert evaluate(model, STRUCTURES) == pytest.approx(expected, rel=1e-12)
    assert evaluate(model, STRUCTURES, TARGETS) == pytest.approx(expected, rel=1e-12)


def test_scorers_are_the_errors_with_a_minus_sign(model):
    errors = evaluate(model, STRUCTURES)
    assert {name.removeprefix("neg_") for name in SCORERS} == errors.keys() == NAMES
    for name, scorer in SCORERS.items():
        assert scorer is getattr(metrics, name)
        assert scorer(model, STRUCTURES, TARGETS) == -errors[name.removeprefix("neg_")]
        assert pickle.loads(pickle.dumps(scorer)) is scorer
    assert neg_errors(model, STRUCTURES, TARGETS) == {f"neg_{k}": -v for k, v in errors.items()}


def test_a_perfect_model_has_no_errors(model):
    errors = evaluate(model, STRUCTURES, predict_targets(model, STRUCTURES))
    assert max(errors.values()) < 1e-12


def test_energies_alone_have_energy_errors_only(model):
    errors = evaluate(model, STRUCTURES, TARGETS["energy"])
    assert {name for name, value in errors.items() if not math.isnan(value)} == {"energy_rmse", "energy_mae"}
    assert neg_errors(model, STRUCTURES, TARGETS["energy"]).keys() == {"neg_energy_rmse", "neg_energy_mae"}
    for kind, what in (("force", "forces"), ("stress", "stresses")):
        with pytest.raises(ValueError, match=f"no {what} to compare"):
            SCORERS[f"neg_{kind}_rmse"](model, STRUCTURES, TARGETS["energy"])


def test_scikit_learns_own_regressors_have_energy_errors_only():
    model = make_pipeline(Shells(), Ridge()).fit(STRUCTURES, TARGETS["energy"])
    errors = evaluate(model, STRUCTURES)
    assert math.isfinite(errors["energy_rmse"])
    assert math.isnan(errors["force_rmse"])
    assert math.isnan(errors["stress_mae"])
    with pytest.raises(ValueError, match="no forces to compare"):
        metrics.neg_force_rmse(model, STRUCTURES, TARGETS)


def test_a_potential_without_a_descriptor_takes_features(model):
    features = model[:-1].transform(STRUCTURES)
    assert evaluate(model[-1], features, TARGETS) == pytest.approx(evaluate(model, STRUCTURES, TARGETS))


def test_a_search_stands_for_its_best_estimator(model):
    search = GridSearchCV(model, {"shells__eta": [1.0, 2.0]}, cv=3, scoring=SCORERS, refit="neg_force_rmse")
    search.fit(STRUCTURES, TARGETS)
    assert evaluate(search, STRUCTURES) == evaluate(search.best_estimator_, STRUCTURES)


@pytest.mark.parametrize("scoring", [SCORERS, neg_errors, metrics.neg_force_mae], ids=["dict", "all", "one"])
def test_scikit_learn_takes_the_scorers(scoring, model):
    scores = cross_validate(model, STRUCTURES, TARGETS, cv=3, scoring=scoring, error_score="raise")
    keys = [key for key in scores if key.startswith("test_")]
    assert len(keys) == (1 if scoring is metrics.neg_force_mae else 6)
    assert all((scores[key] <= 0).all() for key in keys)


def test_all_scores_at_once_equal_the_scorers(model):
    one, several = (
        cross_validate(model, STRUCTURES, TARGETS, cv=3, scoring=scoring) for scoring in (neg_errors, SCORERS)
    )
    for name in SCORERS:
        np.testing.assert_allclose(one[f"test_{name}"], several[f"test_{name}"], rtol=1e-12)


def test_energy_scorers_compute_no_forces(model, monkeypatch):
    monkeypatch.setattr(metrics, "predict_targets", None)
    assert metrics.neg_energy_rmse(model, STRUCTURES, TARGETS) < 0


def test_a_blown_up_prediction_is_no_small_error(model):
    broken = make_pipeline(Shells(n_shells=2), LeastSquares()).fit(STRUCTURES, TARGETS)
    broken[-1].coef_ = [np.nan, 0.0]
    assert not any(math.isfinite(error) for error in evaluate(broken, STRUCTURES).values())


def test_the_number_of_targets_has_to_fit(model):
    with pytest.raises(ValueError, match="9 structures"):
        evaluate(model, STRUCTURES, TARGETS[:3])
    with pytest.raises(ValueError, match="structure 0"):
        evaluate(model, STRUCTURES, empty_targets(9))
