"""Centering and scaling of the features of atoms."""

import numpy as np

from mlfeat._archive import check_array
from mlfeat.base import FeatureStep
from mlfeat.potentials import LinearEnergy, QuadraticEnergy

__all__ = ["FeatureScaler"]


class FeatureScaler(FeatureStep):
    r"""Features with mean zero and standard deviation one over the atoms it is fitted to.

    .. math:: B'_{ik} = \frac{B_{ik} - \mu_k}{\sigma_k}, \qquad
              \frac{\partial B'_{ik}}{\partial r_{ij}} = \frac1{\sigma_k} \frac{\partial B_{ik}}{\partial r_{ij}},

    with the mean μ and standard deviation σ over all atoms of all structures. A ridge penalty then weighs all features
    alike. scikit-learn's StandardScaler has no derivatives to pass on, and acts on sums over atoms.

    Parameters
    ----------
    with_mean : bool, default=True
        Subtract the mean. A potential with an intercept per species fits the same either way.
    with_std : bool, default=True
        Divide by the standard deviation; features that do not vary are left as they are.

    Attributes
    ----------
    mean_ : array of shape (n_features,)
        μ, zero without `with_mean`.
    scale_ : array of shape (n_features,)
        σ, one without `with_std`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Names of the input, if it was an array with names.
    """

    _state = ("mean_", "scale_", "n_features_in_")

    def __init__(self, with_mean=True, with_std=True):
        self.with_mean = with_mean
        self.with_std = with_std

    def _fit(self, values):
        mean = values.mean(axis=0)
        scale = np.sqrt(np.mean((values - mean) ** 2, axis=0))
        constant = scale <= 10 * np.finfo(float).eps * np.abs(mean)  # rounding is no variation
        self.mean_ = mean if self.with_mean else np.zeros_like(mean)
        self.scale_ = np.where(constant, 1.0, scale) if self.with_std else np.ones_like(mean)

    def _check_fitted(self):
        for name in ("mean_", "scale_"):
            check_array(name, getattr(self, name), (self.n_features_in_,))
        if not (self.scale_ > 0).all():
            raise ValueError("scale_ is not positive")

    def apply(self, values):
        """Scaled features (M, F)."""
        return (values - self.mean_) / self.scale_

    def vjp(self, values, cotangents):
        """Cotangents (M, F) of the input for those of the output."""
        return cotangents / self.scale_

    def jvp(self, values, tangents):
        """Tangents (M, K, F) of the output for those of the input."""
        return tangents / self.scale_

    def absorb(self, model):
        """The energy `model` in terms of the features before they are scaled."""
        if isinstance(model, LinearEnergy):
            coef = model.coef / self.scale_
            return LinearEnergy(coef, model.intercept - coef @ self.mean_)
        if isinstance(model, QuadraticEnergy):
            return self._absorb_quadratic(model)
        return super().absorb(model)

    def _absorb_quadratic(self, model):
        # E = b + β·B' + ½ B'ᵀAB' with B' = (B - μ)/σ: expand about B = 0.
        matrix = model.matrix / (self.scale_ * self.scale_[:, None])
        slope = matrix @ self.mean_
        beta = model.beta / self.scale_
        intercept = model.intercept - beta @ self.mean_ + 0.5 * slope @ self.mean_
        return QuadraticEnergy(beta - slope, matrix, intercept)
