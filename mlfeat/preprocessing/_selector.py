"""Choice of some of the features of atoms."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from sklearn.utils.validation import check_is_fitted

from mlfeat.base import FeatureStep
from mlfeat.potentials import LinearEnergy, QuadraticEnergy
from mlfeat.preprocessing._scaler import is_constant

__all__ = ["FeatureSelector"]

METHODS = ("cur", "variance")
BLOCK = 4096  # atoms at a time
DENSE = 100  # features; for more, Lanczos iterations are faster
TIE = 1e-8  # scores closer than this are equal: rounding must not choose
LEAST_ERROR = 1e-6  # what a matrix of products of columns can tell from zero is the square of this


class FeatureSelector(FeatureStep):
    r"""Some of the features: those from which the others can be told best, or those that vary.

    ``method="cur"`` is the CUR decomposition of Imbalzano et al. Let X be the matrix of the features of all atoms of
    all structures (environments × features), each with its mean subtracted and divided by its standard deviation: a
    feature's units count for nothing, and neither does its mean, which the intercept of a potential makes up for. With
    v the right singular vector of X of the largest singular value, the feature c with the largest leverage score
    :math:`v_c^2` is chosen, then its direction is taken out of all of them,

    .. math:: X \leftarrow X - \frac{X_c X_c^T}{|X_c|^2} X,

    and so on with the X that is left. Its norm is the error of the best linear reconstruction of all features by the
    chosen columns C, relative to the norm at first

    .. math:: ε = \frac{|X - C C^+ X|}{|X|} .

    Only :math:`X^T X` (features × features) is kept, so that a fit takes one pass over the atoms and little memory;
    each choice then takes one eigenvector. Equal scores go to the first feature, so that the choice is always the same.

    ``method="variance"`` drops what does not vary: such features say nothing, and stand in the way of a scaler. With
    `min_std` it drops what hardly varies too. A symmetry function that is zero but for the closest of neighbors is such
    a feature: once it is scaled, a few atoms have values far from all others, and closer ones far beyond.

    The descriptor computes all of its features nevertheless. To save their time, construct it anew with those of its
    functions that `get_feature_names_out` names.

    Parameters
    ----------
    n_features : int or float, default=None
        How many to choose; a float is their share, in (0, 1]. None: as many as `tol` asks for. With ``method="cur"``
        only.
    method : {"cur", "variance"}, default="cur"
        How to choose.
    tol : float, default=0.01
        Without `n_features`, choose until ε is no larger than this; from 1e-6 on.
    min_std : float, default=0.0
        Features whose standard deviation is not larger are not chosen, in units of the features.

    Attributes
    ----------
    indices_ : intp array of shape (n_chosen,)
        The features chosen, in ascending order, which is that of the output.
    order_ : intp array of shape (n_chosen,), or None
        The same in the order of choice; None for "variance".
    errors_ : array of shape (n_chosen,), or None
        ε after each choice; None for "variance".
    n_features_in_ : int
        Number of features of the input.
    feature_names_in_ : array of str
        Names of the input, if it was an array with names.

    Raises
    ------
    ValueError
        In `fit`, if a parameter is out of range, or no feature varies.

    Warns
    -----
    UserWarning
        In `fit`, if fewer than `n_features` are linearly independent; the others are left out.

    References
    ----------
    G. Imbalzano, A. Anelli, D. Giofré, S. Klees, J. Behler, M. Ceriotti, J. Chem. Phys. 148, 241730 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from mlfeat import FeatureSelector
    >>> FeatureSelector(1).fit_transform(np.array([[1.0, 5.0, 2.0], [2.0, 5.0, 4.0], [4.0, 5.0, 8.0]]))
    array([[1.],
           [2.],
           [4.]])
    """

    _state = ("indices_", "order_", "errors_", "n_features_in_")

    def __init__(self, n_features=None, *, method="cur", tol=0.01, min_std=0.0):
        self.n_features = n_features
        self.method = method
        self.tol = tol
        self.min_std = min_std

    def _fit(self, values, species):
        self._check_parameters()
        if len(values) == 0:
            raise ValueError("there are no atoms among the structures that FeatureSelector is fitted to")
        varied = np.flatnonzero(~is_constant(values.min(axis=0), values.max(axis=0)))
        if self.min_std > 0:
            varied = varied[values[:, varied].std(axis=0) > self.min_std]
        if len(varied) == 0:
            enough = f" by more than min_std={self.min_std!r}" * bool(self.min_std > 0)
            raise ValueError(f"no feature varies{enough}" + " (there is only one sample)" * (len(values) == 1))
        self.order_ = self.errors_ = None
        self.indices_ = varied
        if self.method == "cur":
            n_most, tol = self._limits()
            order, self.errors_ = choose_columns(_correlation(values, varied), n_most, tol)
            self.order_ = varied[order]
            self.indices_ = np.sort(self.order_)
            if self.n_features is not None and len(order) < n_most:
                warnings.warn(
                    f"only {len(order)} of the {self.n_features_in_} features are linearly independent: "
                    f"n_features={self.n_features!r} asks for {n_most}",
                    UserWarning,
                    stacklevel=3,
                )

    def _check_parameters(self):
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r}: must be one of {METHODS}")
        if not isinstance(self.tol, Real) or not LEAST_ERROR <= self.tol < 1:
            raise ValueError(f"tol={self.tol!r}: must be at least {LEAST_ERROR} and less than 1")
        if not isinstance(self.min_std, Real) or not 0 <= self.min_std < np.inf:
            raise ValueError(f"min_std={self.min_std!r}: must be zero or a positive number")
        if self.n_features is not None and self.method != "cur":
            raise ValueError(f"n_features={self.n_features!r}: method={self.method!r} takes no number of features")

    def _limits(self):
        """Largest number of features, and the error to stop at."""
        n, n_in = self.n_features, self.n_features_in_
        if n is None:
            return n_in, self.tol
        if isinstance(n, Integral) and not isinstance(n, bool) and 1 <= n <= n_in:
            return int(n), LEAST_ERROR
        if isinstance(n, Real) and not isinstance(n, Integral) and 0 < n <= 1:
            return max(1, round(n * n_in)), LEAST_ERROR
        raise ValueError(f"n_features={n!r}: must be an int from 1 to {n_in}, or a share of these {n_in} in (0, 1]")

    def _check_fitted(self):
        self._check_parameters()
        if not _ascending(self.indices_, self.n_features_in_):
            raise ValueError(f"indices_ is {self.indices_!r}")
        if self.order_ is not None and not np.array_equal(np.sort(self.order_), self.indices_):
            raise ValueError("order_ does not have the numbers of indices_")

    def get_support(self, indices=False):
        """Tell which features are chosen.

        Parameters
        ----------
        indices : bool, default=False
            Return their numbers, not a mask.

        Returns
        -------
        bool array of shape (n_features,), or intp array of shape (n_chosen,)
            True where a feature is chosen, or the numbers of those that are.
        """
        check_is_fitted(self)
        if indices:
            return self.indices_.copy()
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[self.indices_] = True
        return mask

    def get_feature_names_out(self, input_features=None):
        """Names of the features chosen."""
        check_is_fitted(self)
        return super().get_feature_names_out(input_features)[self.indices_]

    def apply(self, values, species=None):
        """The features chosen, (M, n_chosen) of (M, F)."""
        return values[:, self.indices_]

    def vjp(self, values, cotangents, species=None):
        """Cotangents (M, F) of the input for those of the output (M, n_chosen): zero for what was left out."""
        return self._spread(cotangents)

    def jvp(self, values, tangents, species=None):
        """Tangents (M, K, n_chosen) of the output for those of the input (M, K, F)."""
        return tangents[:, :, self.indices_]

    def absorb(self, model):
        """The energy `model` in terms of all features, with coefficients of zero for those that were left out."""
        if isinstance(model, LinearEnergy):
            return LinearEnergy(self._spread(model.coef), model.intercept)
        if isinstance(model, QuadraticEnergy):
            rows = self._spread(model.matrix)
            matrix = self._spread(rows.transpose(0, 2, 1))
            return QuadraticEnergy(self._spread(model.beta), matrix, model.intercept)
        return super().absorb(model)

    def _spread(self, array):
        """Array (..., F) with the columns of one (..., n_chosen), and zeros between."""
        out = np.zeros((*array.shape[:-1], self.n_features_in_))
        out[..., self.indices_] = array
        return out


def choose_columns(gram, n_most, tol):
    """Choose columns of a matrix X by CUR, given its X^T X.

    Parameters
    ----------
    gram : array of shape (F, F)
        X^T X, used up.
    n_most : int
        Largest number of columns.
    tol : float
        Relative error of the reconstruction to stop at.

    Returns
    -------
    order : list of int
        The columns, in the order of choice.
    errors : array of float
        The error after each choice.
    """
    total = np.trace(gram)
    order, errors = [], []
    while len(order) < min(n_most, len(gram)) and (not errors or errors[-1] > tol):
        scores = leading_eigenvector(gram) ** 2
        chosen = int(np.argmax(scores >= (1 - TIE) * scores.max()))
        column = gram[:, chosen].copy()
        gram -= np.outer(column, column / column[chosen])
        gram[chosen] = gram[:, chosen] = 0.0  # to the last digit, so that none is chosen twice
        order.append(chosen)
        errors.append(np.sqrt(max(0.0, np.trace(gram)) / total))
    return order, np.array(errors)


def leading_eigenvector(matrix):
    """Eigenvector of the largest eigenvalue of a symmetric matrix."""
    n = len(matrix)
    if n > DENSE:
        start = matrix[np.argmax(np.diag(matrix))]  # without it the vector would differ from one call to the next
        try:
            return eigsh(matrix, k=1, which="LA", v0=start)[1][:, 0]
        except ArpackNoConvergence:
            pass  # largest eigenvalues as good as equal
    return linalg.eigh(matrix, subset_by_index=[n - 1, n - 1])[1][:, 0]


def _correlation(values, columns):
    """Correlation matrix of some of the columns, in blocks of rows."""
    mean = values.mean(axis=0)[columns]
    gram = np.zeros((len(columns), len(columns)))
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK, columns] - mean
        gram += block.T @ block
    scale = 1 / np.sqrt(np.diag(gram))
    return gram * scale * scale[:, None]


def _ascending(indices, n):
    is_list = isinstance(indices, np.ndarray) and indices.dtype.kind == "i" and indices.ndim == 1 and len(indices)
    return is_list and indices[0] >= 0 and indices[-1] < n and (np.diff(indices) > 0).all()
