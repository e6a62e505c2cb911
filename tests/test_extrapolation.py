"""Structures unlike the training data: grades above one, and a warning that names them."""

import warnings

import numpy as np
import pytest
from ase.build import bulk
from sklearn.pipeline import make_pipeline

from mlfeat import (
    Bispectrum,
    ExtrapolationWarning,
    LinearPotential,
    QuadraticExpansion,
    extrapolation_grades,
    make_targets,
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
