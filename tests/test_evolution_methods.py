"""A fitted search has the methods of its best estimator, as scikit-learn's own searches do."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from mlfeat import DifferentialEvolutionSearch

DATA = make_classification(60, n_features=8, random_state=0)
METHODS = [
    (LogisticRegression(), {"C": [0.1, 1.0]}, {"predict", "predict_proba", "predict_log_proba", "decision_function"}),
    (LinearSVC(), {"C": [0.1, 1.0]}, {"predict", "decision_function"}),
    (KernelDensity(), {"bandwidth": [0.5, 1.0]}, {"score_samples"}),
    (
        make_pipeline(StandardScaler(), PCA()),
        {"pca__n_components": [2, 3]},
        {"transform", "inverse_transform", "score_samples"},
    ),
]
ALL = set.union(*(methods for _, _, methods in METHODS))


@pytest.mark.parametrize(("estimator", "grid", "methods"), METHODS, ids=lambda value: type(value).__name__)
def test_methods_are_those_of_the_best_estimator(estimator, grid, methods):
    X, y = DATA
    search = DifferentialEvolutionSearch(estimator, grid, n_trials=10, random_state=0)
    assert {name for name in ALL if hasattr(search, name)} == methods
    search.fit(X, y)
    expected = clone(estimator).set_params(**search.best_params_).fit(X, y)
    for name in methods:
        given = expected.transform(X) if name == "inverse_transform" else X
        np.testing.assert_array_equal(getattr(search, name)(given), getattr(expected, name)(given))
    for name in ALL - methods:
        with pytest.raises(AttributeError, match=name):
            getattr(search, name)


def test_methods_need_a_last_fit():
    search = DifferentialEvolutionSearch(LinearSVC(), {"C": [0.1, 1.0]}, n_trials=4, refit=False).fit(*DATA)
    with pytest.raises(AttributeError, match="refit=False"):
        search.decision_function(DATA[0])


def test_searches_are_scored_by_what_they_decide():
    search = DifferentialEvolutionSearch(LinearSVC(), {"C": [0.1, 1.0]}, n_trials=4, random_state=0)
    scores = cross_val_score(search, *DATA, scoring="roc_auc", cv=3, error_score="raise")
    expected = cross_val_score(GridSearchCV(LinearSVC(), {"C": [0.1, 1.0]}), *DATA, scoring="roc_auc", cv=3)
    np.testing.assert_array_equal(scores, expected)


def test_methods_say_what_they_do():
    search = DifferentialEvolutionSearch
    for name in ALL:
        assert getattr(search, name).__name__ == name
        assert "Parameters\n" in getattr(search, name).__doc__
