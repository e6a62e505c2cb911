"""Structures unlike the training data: grades above one, and warnings that name them, their atoms and features."""

import pickle
import warnings

import numpy as np
import pytest
from _radial import Linear, Radial, metals
from ase.build import bulk
from sklearn.pipeline import make_pipeline

from mlfeat import (
    Bispectrum,
    ExtrapolationWarning,
    FeatureScaler,
    FeatureSelector,
    LinearPotential,
    PotentialCalculator,
    QuadraticExpansion,
    extrapolation_grades,
    make_targets,
    predict_targets,
)
from mlfeat.metrics import evaluate, neg_errors
from mlfeat.testing import toy_training_set


@pytest.fixture(scope="module", params=[(), (QuadraticExpansion(),)], ids=["snap", "qsnap"])
def fitted(request):
    train = toy_training_set(("Mo",))
    model = make_pipeline(Bispectrum(4.0, 4), *request.param, LinearPotential())
    return model.fit(train, make_targets(train)), train


def squeezed():
    atoms = bulk("Mo", cubic=True, a=0.6 * 3.17)
    atoms.info["name"] = "squeezed"
    return atoms


def test_grades_of_training_structures_are_at_most_one(fitted):
    model, train = fitted
    grades = extrapolation_grades(model, train)
    assert grades.shape == (len(train),)
    assert grades.max() == pytest.approx(1, rel=1e-6)


def test_evaluate_warns_of_what_is_unlike_the_training_data(fitted):
    model, train = fitted
    structures = [train[0], squeezed()]
    targets = make_targets(train[:1] * 2)
    targets["forces"][1] = None
    targets["stress"] = np.nan
    assert extrapolation_grades(model, structures)[1] > 1
    with pytest.warns(ExtrapolationWarning, match=r"structure 1 \(squeezed, grade"):
        evaluate(model, structures, targets)


def test_searches_and_known_structures_do_not_warn(fitted):
    model, train = fitted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        neg_errors(model, [train[0], squeezed()], np.zeros(2))
        evaluate(model, train[:1])


def test_potentials_without_a_grade_have_none(fitted):
    model, train = fitted
    model = make_pipeline(*model[:-1], LinearPotential()).fit(train, make_targets(train))
    model[-1].grader_ = None
    assert np.isnan(extrapolation_grades(model, train)).all()


# potentials that check the range of each feature


class Boxed(Linear):
    """Knows the range of each feature among the training atoms of each species."""

    _state = ("coef_", "low_", "high_")

    def fit(self, X, y, sample_weight=None):
        kinds = [X.values[X.species == s] for s in range(X[0].n_species)]
        self.low_, self.high_ = (np.array([of(part, axis=0) for part in kinds]) for of in (np.min, np.max))
        return super().fit(X, y, sample_weight)

    def extrapolation_grade(self, features):
        low, high = self.low_[features.species], self.high_[features.species]
        return (np.abs(2 * features.values - low - high) / (high - low)).max(axis=1)

    def extrapolating_features(self, features):
        low, high = self.low_[features.species], self.high_[features.species]
        outside = (features.values < low) | (features.values > high)
        return [(i, k, features.values[i, k], low[i, k], high[i, k]) for i, k in np.argwhere(outside)]


STEPS = {
    "no step": (),
    "scaled": (FeatureScaler("min", "range", by_species=True),),
    "chosen": (FeatureSelector(2), FeatureScaler("min", "range", by_species=True)),
}


@pytest.fixture(scope="module", params=STEPS)
def boxed(request):
    return make_pipeline(Radial(), *STEPS[request.param], Boxed()).fit(metals(), make_targets(metals()))


@pytest.fixture
def atoms():
    return metals()[1]


def far(share):
    """A training structure, compressed by that share of its lengths."""
    atoms = metals()[1]
    atoms.set_cell((1 - share) * atoms.cell.array, scale_atoms=True)
    return atoms


def farthest(model, atoms):
    """Atom, name, value and range of the feature farthest beyond the range."""
    features = model[:-1].transform([atoms])
    item = features[0]
    low, high = model[-1].low_[item.species], model[-1].high_[item.species]
    grades = np.abs(2 * item.values - low - high) / (high - low)
    i, k = np.unravel_index(np.argmax(grades), grades.shape)
    return i, features.feature_names[k], item.values[i, k], low[i, k], high[i, k]


def expected_words(model, atoms):
    i, name, value, low, high = farthest(model, atoms)
    return f"atom {i} ({atoms.symbols[i]}): {name} = {value:.6g}, in training {low:.6g} to {high:.6g}; atom "


def caught(function, *args, **kwargs):
    """Messages of the ExtrapolationWarnings of a call."""
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    return [str(record.message) for record in records if record.category is ExtrapolationWarning]


def test_predictions_name_structure_atom_and_feature(boxed):
    structures = [*metals(2), far(0.3), far(0.4)]
    (message,) = caught(predict_targets, boxed, structures)
    assert message.startswith("the model extrapolates to structure 2 (")
    assert "; 3 (" in message
    for atoms in structures[2:]:
        assert expected_words(boxed, atoms) in message
    assert message.count("in training") == 6
    n = len(boxed[-1].extrapolating_features(boxed[:-1].transform(structures)[2]))
    assert f"; and {n - 3} more)" in message


def test_a_single_feature_beyond_the_range_has_no_more(boxed):
    class One(Boxed):
        def extrapolating_features(self, features):
            return super().extrapolating_features(features)[:1]

    potential = One()
    potential.__dict__.update(vars(boxed[-1]))
    (message,) = caught(predict_targets, make_pipeline(*boxed[:-1], potential), [far(0.3)])
    assert message.count("in training") == 1
    assert " more" not in message


def test_evaluate_warns_once(boxed):
    structures = [far(0.3)]
    targets = predict_targets(boxed, structures, extrapolation="ignore")
    (message,) = caught(evaluate, boxed, structures, targets)
    assert expected_words(boxed, structures[0]) in message


def test_warnings_of_predictions_can_be_switched(boxed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict_targets(boxed, metals())
        ignored = predict_targets(boxed, [far(0.3)], extrapolation="ignore")
        neg_errors(boxed, [far(0.3)], ignored)
        predict_targets(boxed, metals(), extrapolation="raise")
    with pytest.raises(ExtrapolationWarning, match="structure 0 .*in training"):
        predict_targets(boxed, [far(0.3)], extrapolation="raise")
    with pytest.warns(ExtrapolationWarning):
        warned = predict_targets(boxed, [far(0.3)])
    assert warned["energy"] == ignored["energy"]
    with pytest.raises(ValueError, match="extrapolation='shout': must be one of"):
        predict_targets(boxed, metals(), extrapolation="shout")


def test_potentials_that_do_not_check_ranges_cannot_raise(fitted):
    model, train = fitted
    assert not caught(predict_targets, model, [squeezed()])
    for make in (PotentialCalculator, lambda model, **settings: predict_targets(model, train, **settings)):
        with pytest.raises(ValueError, match="LinearPotential does not check .* extrapolation_grades"):
            make(model, extrapolation="raise")
    calculator = PotentialCalculator(model)
    assert not caught(calculator.get_property, "energy", squeezed())


def test_calculators_name_atom_and_feature(boxed):
    atoms = far(0.3)
    calculator = PotentialCalculator(boxed)
    (message,) = caught(calculator.get_property, "energy", atoms)
    grade = extrapolation_grades(boxed, [atoms])[0]
    assert message.startswith(f"the model extrapolates (grade {grade:.3g}): {expected_words(boxed, atoms)}")


def test_calculators_warn_again_when_the_grade_has_doubled(boxed):
    calculator = PotentialCalculator(boxed)
    shares = np.linspace(0, 0.4, 41)
    grades = extrapolation_grades(boxed, [far(share) for share in shares])
    warned, n_doublings = 0.0, 0
    for share, grade in zip(shares, grades, strict=True):
        messages = caught(calculator.get_property, "forces", far(share))
        expected = grade > max(1 + 1e-9, 2 * warned)
        assert len(messages) == expected
        if expected:
            warned, n_doublings = grade, n_doublings + 1
    assert n_doublings >= 2
    assert not caught(calculator.get_property, "energy", far(0.3)), "warned of on the way back"
    calculator = pickle.loads(pickle.dumps(calculator))
    assert not caught(calculator.get_property, "energy", far(0.31)), "warned of after pickling"


def test_other_atoms_are_warned_of_anew(boxed):
    calculator = PotentialCalculator(boxed)
    other = far(0.3)
    other.symbols[4] = "Au"
    for atoms in (far(0.3), other, far(0.3)):
        assert len(caught(calculator.get_property, "energy", atoms)) == 1
        assert not caught(calculator.get_property, "forces", atoms)


def test_calculators_can_ignore_and_raise(boxed, atoms):
    expected = PotentialCalculator(boxed).get_property("energy", atoms)
    ignoring = PotentialCalculator(boxed, extrapolation="ignore")
    raising = PotentialCalculator(boxed, extrapolation="raise")
    assert not caught(ignoring.get_property, "forces", far(0.3))
    assert raising.get_property("energy", atoms) == expected
    for _ in range(2):
        with pytest.raises(ExtrapolationWarning, match="the model extrapolates .*in training"):
            raising.get_property("energy", far(0.3))
    assert raising.get_property("energy", atoms) == expected
    with pytest.raises(ValueError, match="extrapolation=None: must be one of"):
        PotentialCalculator(boxed, extrapolation=None)


def test_a_filter_that_raises_does_so_every_time(boxed):
    calculator = PotentialCalculator(boxed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExtrapolationWarning)
        for _ in range(2):
            with pytest.raises(ExtrapolationWarning):
                calculator.get_property("energy", far(0.3))


def test_rounding_is_no_extrapolation(boxed):
    for atoms in metals():
        atoms.positions += 0.123
        assert not caught(PotentialCalculator(boxed).get_property, "energy", atoms)
