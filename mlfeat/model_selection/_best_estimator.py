"""What a fitted search does as its best estimator does it."""

from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

__all__ = ["BestEstimatorMixin"]


def _best_has(name):
    """Whether the best estimator, or the unfitted one, has a method."""

    def check(search):
        getattr(getattr(search, "best_estimator_", search.estimator), name)
        return True

    return check


def _delegated(name, what, shape):
    """A method that calls the best estimator's."""

    def method(self, X):
        return getattr(self._best(), name)(X)

    method.__name__ = name
    method.__doc__ = f"""{what}, by the best estimator.

    Parameters
    ----------
    X : array of shape (n_samples, n_columns)
        What the best estimator takes.

    Returns
    -------
    array of shape {shape}
        As the best estimator gives it.
    """
    return available_if(_best_has(name))(method)


class BestEstimatorMixin:
    """Methods of a search that has an `estimator`, and once fitted a `scorer_`, and with `refit` a `best_estimator_`.

    Those that the estimator lacks are not there.
    """

    def _best(self):
        check_is_fitted(self)
        if not self.refit:
            raise AttributeError("refit=False: there is no best_estimator_ to predict with; fit one with best_params_")
        return self.best_estimator_

    def __sklearn_is_fitted__(self):
        return hasattr(self, "cv_results_")

    def __sklearn_tags__(self):
        tags, own = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = own.estimator_type
        tags.classifier_tags, tags.regressor_tags = own.classifier_tags, own.regressor_tags
        tags.input_tags.pairwise, tags.input_tags.sparse = own.input_tags.pairwise, own.input_tags.sparse
        return tags

    @property
    def classes_(self):
        """Class labels of the best estimator."""
        return self._best().classes_

    @property
    def n_features_in_(self):
        """Number of features of the best estimator."""
        return self._best().n_features_in_

    def score(self, X, y=None):
        """Score of the best estimator, by the scorer of the search.

        Parameters
        ----------
        X : list of ase.Atoms, or array of shape (n_samples, n_features)
            What to predict.
        y : array of shape (n_samples,), default=None
            Targets.

        Returns
        -------
        float
            The larger the better.
        """
        return self.scorer_(self._best(), X, *([] if y is None else [y]))

    @available_if(_best_has("predict"))
    def predict(self, X):
        """Predict with the best estimator.

        Parameters
        ----------
        X : list of ase.Atoms, or array of shape (n_samples, n_features)
            What to predict; see :func:`mlfeat.predict_targets` for forces and stresses.

        Returns
        -------
        array of shape (n_samples,)
            As the best estimator gives it: of structures the energies, eV.
        """
        return self._best().predict(X)

    predict_proba = _delegated("predict_proba", "Probabilities of classes", "(n_samples, n_classes)")
    predict_log_proba = _delegated("predict_log_proba", "Logarithms of probabilities", "(n_samples, n_classes)")
    decision_function = _delegated("decision_function", "Decision function", "(n_samples,) or (n_samples, n_classes)")
    score_samples = _delegated("score_samples", "Score of each sample", "(n_samples,)")
    transform = _delegated("transform", "Transform", "(n_samples, n_columns)")
    inverse_transform = _delegated("inverse_transform", "Undo `transform`", "(n_samples, n_features)")
