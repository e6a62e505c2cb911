"""What a step between descriptor and potential promises."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from mlfeat.base._input import check_input
from mlfeat.base._keyed import Keyed
from mlfeat.features import AtomFeatures, FeatureSet


class _ArrayStep(TransformerMixin, BaseEstimator):
    """The part of a step that works on arrays, whose output scikit-learn's `set_output` wraps."""

    def transform(self, X):
        check_is_fitted(self)
        return self.apply(validate_data(self, X, reset=False, dtype=np.float64, order="C"))


class FeatureStep(Keyed, _ArrayStep, auto_wrap_output_keys=None):
    """Base of steps between descriptor and potential: differentiable functions of each atom's features.

    A FeatureSet goes in and comes out with its derivatives; an array (n_samples, n_features) comes out as an array.
    A subclass implements `apply`, `vjp` and `jvp`, all on M rows of features at once, and `_fit` if it learns
    something. Each row comes with its atom's species, so that a step may treat the environments of each element in a
    way of its own. A step that does keeps their symbols in `species_`; it is for features of these species only.
    """

    def apply(self, values, species=None):
        """Compute the step.

        Parameters
        ----------
        values : array of shape (M, n_in)
            Features.
        species : intp array of shape (M,), default=None
            Each atom's place in the list of species; None: all are of the first.

        Returns
        -------
        array of shape (M, n_out)
            Features.
        """
        raise NotImplementedError

    def vjp(self, values, cotangents, species=None):
        """Pull cotangents back through the step.

        Parameters
        ----------
        values : array of shape (M, n_in)
            Features where the derivative is taken.
        cotangents : array of shape (M, n_out)
            Derivatives of something with respect to the output.
        species : intp array of shape (M,), default=None
            As for `apply`.

        Returns
        -------
        array of shape (M, n_in)
            Derivatives of the same with respect to the input.
        """
        raise NotImplementedError

    def jvp(self, values, tangents, species=None):
        """Push tangents forward through the step.

        Parameters
        ----------
        values : array of shape (M, n_in)
            Features where the derivative is taken.
        tangents : array of shape (M, K, n_in)
            K directions for each.
        species : intp array of shape (M,), default=None
            As for `apply`.

        Returns
        -------
        array of shape (M, K, n_out)
            Changes of the output along them.
        """
        raise NotImplementedError

    def absorb(self, model):
        """Put the step into an energy model.

        Parameters
        ----------
        model : object with `energy_and_cotangent`
            Energy model on the step's output.

        Returns
        -------
        object with `energy_and_cotangent`
            Energy model on the step's input that gives the same.
        """
        return Composed(self, model)

    def _fit(self, values, species):
        """Learn from features (M, n_in) and species (M,), those of all atoms together."""

    def fit(self, X, y=None):
        """Fit to the features of all atoms.

        Parameters
        ----------
        X : FeatureSet or array of shape (n_samples, n_features)
            Features.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted step.
        """
        if isinstance(X, FeatureSet):
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
            self._fit(X.values, X.species)
        else:
            X = validate_data(self, X, dtype=np.float64, order="C")
            self._fit(X, np.zeros(len(X), dtype=np.intp))
        return self

    def transform(self, X):
        """Apply the step.

        Parameters
        ----------
        X : FeatureSet or array of shape (n_samples, n_features)
            Features.

        Returns
        -------
        FeatureSet or array
            As `X`; of an array, as `set_output` says.
        """
        if not isinstance(X, FeatureSet):
            return super().transform(X)
        check_is_fitted(self)
        check_input(self, X)
        return X.then(self._frozen(), self.get_feature_names_out(X.feature_names))

    def fit_transform(self, X, y=None):
        """Fit, then apply the step to the same features.

        Parameters
        ----------
        X : FeatureSet or array of shape (n_samples, n_features)
            Features.
        y : None
            Ignored.

        Returns
        -------
        FeatureSet or array
            As from `transform`.
        """
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features=None):
        """Name the output features.

        Parameters
        ----------
        input_features : array of str, shape (n_in,), default=None
            Names of the input features.

        Returns
        -------
        array of str, shape (n_out,)
            Here the same.
        """
        check_is_fitted(self)
        return _check_feature_names_in(self, input_features)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_features_in_")


class Composed:
    """Energy model on a step's input: the step, then a model on its output.

    Parameters
    ----------
    step : FeatureStep
        A fitted one.
    model : object with `energy_and_cotangent`
        Energy model on the step's output.
    """

    def __init__(self, step, model):
        self.step = step
        self.model = model

    def energy_and_cotangent(self, features):
        """Compute energies of atoms and their derivatives.

        Parameters
        ----------
        features : AtomFeatures or StructureFeatures
            The step's input.

        Returns
        -------
        energies : array of shape (n_atoms,)
            E_i, eV.
        cotangents : array of shape (n_atoms, n_in)
            Derivatives ∂E_i/∂B_i.
        """
        inside = AtomFeatures(self.step.apply(features.values, features.species), features.species)
        energies, cotangents = self.model.energy_and_cotangent(inside)
        return energies, self.step.vjp(features.values, cotangents, features.species)
