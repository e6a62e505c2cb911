"""Quadratic expansion of the features of atoms."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mlfeat._ext import quadratic
from mlfeat.base import FeatureStep
from mlfeat.potentials import LinearEnergy, QuadraticEnergy

__all__ = ["QuadraticExpansion"]


class QuadraticExpansion(FeatureStep):
    r"""Features and their products, as quadratic SNAP has them.

    The features :math:`B_k` of each atom (k = 1 … F) become F + F(F+1)/2: first the :math:`B_k` themselves,
    then the upper triangle of their products row by row, halved on the diagonal:

    .. math:: \tfrac12 B_1^2,\; B_1 B_2,\; \dots,\; B_1 B_F,\; \tfrac12 B_2^2,\; B_2 B_3,\; \dots,\; \tfrac12 B_F^2 .

    A potential linear in these is :math:`E_i = β·B_i + \tfrac12 B_i^T A B_i` with its coefficients β and the
    packed upper triangle of A. Derivatives go through by the product rule. In molecular dynamics the products
    are never formed: this step turns a linear energy on its output into a `QuadraticEnergy` on its input,
    whose gradient is β + A·B.

    Atoms are expanded before they are summed over, so this is no step for the sums that ``np.asarray`` of a
    FeatureSet gives.

    Attributes
    ----------
    n_features_in_ : int
        F.
    feature_names_in_ : array of str
        Names of the input, if it was an array with names.

    References
    ----------
    M. A. Wood and A. P. Thompson, J. Chem. Phys. 148, 241721 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from mlfeat import QuadraticExpansion
    >>> QuadraticExpansion().fit_transform(np.array([[2.0, 3.0]]))
    array([[2. , 3. , 2. , 6. , 4.5]])
    """

    _state = ("n_features_in_",)

    def apply(self, values, species=None):
        """Features (M, F + F(F+1)/2) from features (M, F)."""
        values = np.ascontiguousarray(values, dtype=float)
        out = np.empty((len(values), _n_out(values.shape[1])))
        quadratic.expand(values, out)
        return out

    def vjp(self, values, cotangents, species=None):
        """Cotangents (M, F) of the input for those of the output (M, F + F(F+1)/2)."""
        values = np.ascontiguousarray(values, dtype=float)
        out = np.empty_like(values)
        quadratic.vjp(values, np.ascontiguousarray(cotangents, dtype=float), out)
        return out

    def jvp(self, values, tangents, species=None):
        """Tangents (M, K, F + F(F+1)/2) of the output for those of the input (M, K, F)."""
        values = np.ascontiguousarray(values, dtype=float)
        tangents = np.ascontiguousarray(tangents, dtype=float)
        out = np.empty((*tangents.shape[:2], _n_out(values.shape[1])))
        quadratic.jvp(values, tangents, out)
        return out

    def absorb(self, model):
        """A QuadraticEnergy on the input equal to the LinearEnergy `model` on the output."""
        if isinstance(model, LinearEnergy):
            return QuadraticEnergy.from_packed(model.coef, model.intercept)
        return super().absorb(model)

    def get_feature_names_out(self, input_features=None):
        """Names of the output: "a", "b", "a^2/2", "a b", "b^2/2" for "a" and "b"."""
        check_is_fitted(self, "n_features_in_")
        names = super().get_feature_names_out(input_features)
        products = [f"{names[k]} {names[m]}" if k < m else f"{names[k]}^2/2" for k, m in _upper(len(names))]
        return np.array([*names, *products], dtype=object)


def _n_out(n_in):
    return n_in + n_in * (n_in + 1) // 2


def _upper(n):
    return zip(*np.triu_indices(n), strict=True)
