"""The scorer of properties: its numbers are those of `mlfeat.properties` and of the errors, for bad models too."""

import pickle

import numpy as np
import pytest
from _toy import Shells
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, DifferentialEvolutionSearch, LinearPotential, PotentialCalculator, make_targets
from mlfeat.metrics import evaluate, neg_errors
from mlfeat.model_selection import property_scorer
from mlfeat.properties import elastic_constants, lattice_constants

ELASTIC = {"C11": 170.0, "C12": (120.0, 5.0), "C44": 75.0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    structures = []
    for number in range(24):
        atoms = bulk("Cu", a=3.6 + 0.02 * (number % 5 - 2), cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.05 * (number % 3), rng=rng)
        atoms.calc = EMT()
        atoms.info["group"] = ("cold", "warm")[number % 2]
        structures.append(atoms)
    return structures, make_targets(structures)


@pytest.fixture(scope="module")
def fitted(data):
    potential = LinearPotential(Ridge(1e-8), energy_weight=1e4, stress_weight=100.0, solver="gram")
    return make_pipeline(Bispectrum(3.6, 4, species=("Cu",)), potential).fit(*data)


@pytest.fixture(scope="module")
def truth(fitted):
    calculator = PotentialCalculator(fitted, extrapolation="ignore")
    found = elastic_constants(bulk("Cu"), calculator).constants
    return {**found, "lattice_constant": lattice_constants(bulk("Cu"), calculator)[0]}


def test_properties_are_those_of_the_model(fitted, truth):
    found = property_scorer("Cu", elastic=ELASTIC, lattice=3.6).properties(fitted)
    assert set(found) == set(truth)
    assert found == pytest.approx(truth, rel=1e-6)
    assert truth["C11"] == pytest.approx(173, abs=30)  # EMT's
    only = property_scorer("Cu", lattice=3.6).properties(fitted)
    assert only == {"lattice_constant": pytest.approx(truth["lattice_constant"], rel=1e-6)}
    assert found == property_scorer(bulk("Cu", cubic=True), elastic=ELASTIC, lattice=3.6).properties(fitted) | {
        name: pytest.approx(value, rel=1e-6) for name, value in found.items()
    }
    assert property_scorer(elastic=ELASTIC).properties(fitted)["C44"] == pytest.approx(found["C44"])


def test_the_score_is_the_sum_of_squares(data, fitted, truth):
    scorer = property_scorer(
        "Cu", elastic=ELASTIC, lattice=(3.55, 0.1), energy=0.004, force=0.3, stress=0.01, elastic_tolerance=0.2
    )
    errors = evaluate(fitted, *data)
    terms = [
        (truth["C11"] - 170) / 34,
        (truth["C12"] - 120) / 5,
        (truth["C44"] - 75) / 15,
        (truth["lattice_constant"] - 3.55) / 0.1,
        errors["energy_rmse"] / 0.004,
        errors["force_rmse"] / 0.3,
        errors["stress_rmse"] / 0.01,
    ]
    assert scorer(fitted, *data) == pytest.approx(-np.square(terms).sum(), rel=1e-5)
    assert property_scorer(force=0.3)(fitted, *data) == pytest.approx(-(terms[5] ** 2))
    assert property_scorer("Cu", lattice=(3.55, 0.1))(fitted, *data) == pytest.approx(-(terms[3] ** 2), rel=1e-4)


def test_perfect_properties_score_nothing(fitted, truth):
    lattice = truth["lattice_constant"]
    elastic = {name: truth[name] for name in ELASTIC}
    assert property_scorer("Cu", elastic=elastic)(fitted, None, None) == pytest.approx(0, abs=1e-8)
    assert property_scorer("Cu", lattice={"a": lattice, "c": lattice})(fitted, None, None) == pytest.approx(0, abs=1e-8)


def test_errors_count_up_to_a_limit(fitted):
    scorer = property_scorer("Cu", elastic={"C11": (170.0, 1e-6), "C12": (120.0, 1e-9)}, max_error=10.0)
    assert scorer(fitted, None, None) == -200.0


@pytest.mark.parametrize("factor", [np.nan, -20.0, 0.0])
def test_models_that_do_not_bind_score_badly_but_something(fitted, factor):
    other = pickle.loads(pickle.dumps(fitted))
    other[-1].coef_ = factor * fitted[-1].coef_
    scorer = property_scorer("Cu", elastic=ELASTIC, lattice=3.6, max_error=30.0)
    score = scorer(other, None, None)
    assert -4 * 30.0**2 <= score < 10 * scorer(fitted, None, None)
    if np.isnan(factor):
        assert score == -4 * 30.0**2
        assert np.isnan(list(scorer.properties(other).values())).all()


def test_a_crystal_that_cannot_be_relaxed_scores_the_limit(fitted, monkeypatch):
    def unrelaxed(*args, **kwargs):
        raise RuntimeError("not relaxed")

    monkeypatch.setattr("mlfeat.model_selection._property_scorer.relax_crystal", unrelaxed)
    assert property_scorer("Cu", lattice=3.6, max_error=7.0)(fitted, None, None) == -49.0


def test_it_scores_in_searches(data):
    structures, targets = data
    potential = LinearPotential(Ridge(1e-8), energy_weight=1e4, stress_weight=100.0)
    model = make_pipeline(Bispectrum(3.6, 2, species=("Cu",)), potential)
    scorer = property_scorer("Cu", elastic=ELASTIC, energy=0.01, force=0.1)
    cv = KFold(3, shuffle=True, random_state=0)
    grid = {"linearpotential__regressor__alpha": [1e-8, 1e-2, 1e2]}
    by_grid = GridSearchCV(model, grid, scoring=scorer, cv=cv).fit(structures, targets)
    assert np.isfinite(by_grid.cv_results_["mean_test_score"]).all()
    search = DifferentialEvolutionSearch(model, grid, scoring=scorer, cv=cv, n_trials=20, random_state=0)
    search.fit(structures, targets)
    results = search.cv_results_
    for number in (0, search.best_index_):
        whole = clone(model).set_params(**results["params"][number]).fit(structures, targets)
        properties = scorer.properties(whole)
        for name in ELASTIC:
            assert results[f"property_{name}"][number] == pytest.approx(properties[name], rel=1e-5)
        folds = []
        for train, test in cv.split(structures):
            part = clone(model).set_params(**results["params"][number])
            part.fit([structures[k] for k in train], targets[train])
            errors = neg_errors(part, [structures[k] for k in test], targets[test])
            folds.append(scorer.score_errors({name[4:]: -error for name, error in errors.items()}))
        expected = np.mean(folds) + scorer.score_properties(properties)
        assert results["mean_test_score"][number] == pytest.approx(expected, rel=1e-4)
    assert search.score(structures, targets) == pytest.approx(scorer(search.best_estimator_, structures, targets))


def test_it_can_be_copied_and_read(fitted):
    scorer = property_scorer("Cu", elastic=ELASTIC, energy=0.004, max_error=50.0)
    words = f"property_scorer('Cu', elastic={ELASTIC!r}, energy=0.004, max_error=50.0)"
    for twin in (scorer, pickle.loads(pickle.dumps(scorer)), clone(scorer, safe=False)):
        assert repr(twin) == words
        assert twin.properties(fitted) == scorer.properties(fitted)
    crystals = bulk("Cu", cubic=True), bulk("Cu", cubic=True)
    crystals[1].positions[1] += 0.1
    first, second = (repr(property_scorer(crystal, elastic=ELASTIC)) for crystal in crystals)
    assert first != second  # a search's file tells by it whether trials are its own


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to score"),
        ({"elastic": 170.0}, "give a dict of targets"),
        ({"elastic": {"C11": "170"}}, "target of elastic 'C11'"),
        ({"elastic": {"C11": (170.0, 0.0)}}, "tolerance of elastic 'C11'"),
        ({"elastic": {"C11": 170.0}, "elastic_tolerance": 0}, "elastic_tolerance is 0"),
        ({"elastic": {"C11": 0.0}}, "tolerance of elastic 'C11' is 0.0"),
        ({"elastic": {"bulk_modulus": 140.0}}, "elastic 'bulk_modulus': there are constants as 'C11'"),
        ({"elastic": {11: 170.0}}, "elastic 11: there are constants as 'C11'"),
        ({"lattice": {"alpha": 90.0}}, "lattice 'lattice_alpha'"),
        ({"lattice": np.nan}, "target of lattice"),
        ({"energy": -1.0}, "energy is -1.0"),
        ({"energy": 1.0, "max_error": np.inf}, "max_error is inf"),
        ({"crystal": "Xx", "lattice": 3.0}, "symbol of an element"),
        ({"crystal": 29, "lattice": 3.0}, "must be ase.Atoms"),
        ({"crystal": Atoms("Cu2", cell=[2.5] * 3, pbc=True), "lattice": 2.5}, "crystal=.*atoms 0 and 1 are 0 Å apart"),
        ({"crystal": Atoms("Cu", cell=[0, 1, 1], pbc=True), "lattice": 2.5}, "crystal=.*zero or dependent"),
        ({"crystal": Atoms("Cu", [[np.nan] * 3], cell=[2.5] * 3, pbc=True), "lattice": 2.5}, "crystal=.*position"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        property_scorer(**given)


def test_crystals_and_constants_that_do_not_fit_are_refused(data, fitted):
    with pytest.raises(TypeError, match="the crystal has Mo, the model is for Cu"):
        property_scorer("Mo", lattice=3.1)(fitted, *data)
    with pytest.raises(KeyError, match="no property C33; it has .*C11"):
        property_scorer("Cu", elastic={"C33": 1.0})(fitted, *data)
    alloy = make_pipeline(Shells(species=("Cu", "Au")), LinearPotential()).fit(*data)
    with pytest.raises(TypeError, match="model is for Cu, Au: name the crystal"):
        property_scorer(lattice=3.6)(alloy, *data)
    with pytest.raises(ValueError, match="no errors of force and stress to score"):
        property_scorer(energy=0.1, force=0.1, stress=0.1)(fitted, data[0], data[1]["energy"])
