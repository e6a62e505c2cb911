"""Centering and scaling of the features of atoms."""

import logging

import numpy as np

from mlfeat._archive import check_array
from mlfeat.base import FeatureStep
from mlfeat.features import FeatureSet
from mlfeat.potentials import LinearEnergy, QuadraticEnergy

__all__ = ["FeatureScaler"]

CENTERS = ("mean", "min", None)
SCALES = ("std", "range", None)

logger = logging.getLogger("mlfeat")


class FeatureScaler(FeatureStep):
    r"""Features shifted and scaled by their statistics over the atoms that the step is fitted to.

    .. math:: B'_{ik} = a + (b - a) \frac{B_{ik} - c_{sk}}{\sigma_{sk}}, \qquad
              \frac{\partial B'_{ik}}{\partial r_{ij}} =
              \frac{b - a}{\sigma_{sk}} \frac{\partial B_{ik}}{\partial r_{ij}},

    with c and σ from all atoms of all structures, or with `by_species` from those of atom i's species s alone. By
    default they are mean and standard deviation, and a = 0, b = 1: a ridge penalty then weighs all features alike.
    scikit-learn's StandardScaler has no derivatives to pass on, and acts on sums over atoms.

    Networks want inputs of order one. As each element has a network of its own, they want `by_species`: features of
    two elements differ in size, and some are always zero for one of them. The scalings of n2p2 and RuNNer
    (`feature_range` = scale_min_short, scale_max_short) are

    ================================================  ========  =========
    keywords                                          `center`  `scale`
    ================================================  ========  =========
    scale_symmetry_functions                          "min"     "range"
    center_symmetry_functions                         "mean"    None
    both of them                                      "mean"    "range"
    scale_symmetry_functions_sigma                    "mean"    "std"
    none of them                                      None      None
    ================================================  ========  =========

    where without a scale they take no notice of scale_min_short and scale_max_short: a = 0, b = 1. Their standard
    deviation divides by one less than the number of atoms, this one by the number, as scikit-learn's does.

    Parameters
    ----------
    center : {"mean", "min"} or None, default="mean"
        What becomes a. A potential with an intercept per species fits the same with any.
    scale : {"std", "range"} or None, default="std"
        σ: the standard deviation; the distance from the least to the largest value, so that with ``center="min"`` the
        values seen span a to b; None: 1. Features without variance have σ = 1.
    feature_range : tuple of two floats, default=(0.0, 1.0)
        The numbers a and b.
    by_species : bool, default=False
        Take the statistics over the atoms of each species, not over all. The rows of an array count as atoms of one.

    Attributes
    ----------
    min_, max_, mean_, std_ : array of shape (n_species, n_features)
        The statistics; of shape (1, n_features) without `by_species`.
    center_, scale_ : array of the same shape
        Of these, c and σ.
    constant_ : bool array of the same shape
        Features without variance, to rounding (1e-12 of their size); see also `constant_features`.
    species_ : tuple of str, or None
        Chemical symbols, in the order of the statistics' rows; None if these are not by species.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Names of the input, if it was an array with names.

    Raises
    ------
    ValueError
        In `fit`, if a parameter has a value not listed above, or there are no atoms, with `by_species` of any species.

    References
    ----------
    A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from mlfeat import FeatureScaler
    >>> FeatureScaler("min", "range", feature_range=(-1.0, 1.0)).fit_transform(np.array([[2.0], [3.0], [6.0]])).ravel()
    array([-1. , -0.5,  1. ])
    """

    _state = ("min_", "max_", "mean_", "std_", "species_", "n_features_in_")

    def __init__(self, center="mean", scale="std", *, feature_range=(0.0, 1.0), by_species=False):
        self.center = center
        self.scale = scale
        self.feature_range = feature_range
        self.by_species = by_species

    def fit(self, X, y=None):
        """Learn the statistics; see `FeatureStep.fit`."""
        self._check_parameters()
        has_species = self.by_species and isinstance(X, FeatureSet) and len(X) > 0
        self.species_ = tuple(X[0].descriptor.species_) if has_species else None
        return super().fit(X, y)

    def _fit(self, values, species):
        if self.species_ is None:
            statistics = [_statistics(values, "")]
        else:
            statistics = [_statistics(values[species == s], f" of {name}") for s, name in enumerate(self.species_)]
        self.min_, self.max_, self.mean_, self.std_ = np.stack(statistics, axis=1)
        for name, constant in zip(self.species_ or ("all species",), self.constant_, strict=True):
            if constant.any():
                logger.info("%d of %d features have no variance in %s", constant.sum(), len(constant), name)

    def _check_parameters(self):
        if self.center not in CENTERS:
            raise ValueError(f"center={self.center!r}: must be one of {CENTERS}")
        if self.scale not in SCALES:
            raise ValueError(f"scale={self.scale!r}: must be one of {SCALES}")
        ends = np.asarray(self.feature_range)
        if ends.shape != (2,) or ends.dtype.kind not in "iuf" or not -np.inf < ends[0] < ends[1] < np.inf:
            raise ValueError(f"feature_range={self.feature_range!r}: must be two numbers, the lesser one first")

    def _check_fitted(self):
        self._check_parameters()
        if self.species_ is not None and not (self.by_species and isinstance(self.species_, tuple)):
            raise ValueError(f"species_ is {self.species_!r}")
        n_rows = 1 if self.species_ is None else len(self.species_)
        for name in ("min_", "max_", "mean_", "std_"):
            check_array(name, getattr(self, name), (n_rows, self.n_features_in_))
        if not (self.scale_ > 0).all():
            raise ValueError("scale_ is not positive")

    @property
    def center_(self):
        """What is subtracted: c, of shape (n_species, n_features)."""
        return {"mean": self.mean_, "min": self.min_, None: np.zeros_like(self.mean_)}[self.center]

    @property
    def scale_(self):
        """What is divided by: σ, of shape (n_species, n_features)."""
        scale = {"std": self.std_, "range": self.max_ - self.min_, None: np.ones_like(self.std_)}[self.scale]
        return np.where(self.constant_, 1.0, scale)

    @property
    def constant_(self):
        """Whether a feature has no variance, of shape (n_species, n_features)."""
        return is_constant(self.min_, self.max_) | (self.std_ == 0)

    def constant_features(self, input_features=None, species=None):
        """Name the features without variance.

        Parameters
        ----------
        input_features : array of str, shape (n_features,), default=None
            Names of the features, as for `get_feature_names_out`; those of a fitted model are
            ``model[0].get_feature_names_out()``.
        species : str, default=None
            With `by_species`, the symbol of the species in whose atoms they do not vary; None: in none.

        Returns
        -------
        array of str
            Names, in the features' order.
        """
        names = self.get_feature_names_out(input_features)
        if species is None:
            return names[self.constant_.all(axis=0)]
        if species not in (self.species_ or ()):
            known = "by_species=False" if self.species_ is None else ", ".join(self.species_)
            raise ValueError(f"species={species!r}: there are no statistics of it ({known})")
        return names[self.constant_[self.species_.index(species)]]

    def apply(self, values, species=None):
        """Scaled features (M, F)."""
        out = values - _of_atoms(self.center_, species)
        out *= _of_atoms(self._slope(), species)
        out += self.feature_range[0]
        return out

    def vjp(self, values, cotangents, species=None):
        """Cotangents (M, F) of the input for those of the output."""
        return cotangents * _of_atoms(self._slope(), species)

    def jvp(self, values, tangents, species=None):
        """Tangents (M, K, F) of the output for those of the input."""
        return tangents * _of_atoms(self._slope(), species)[:, None, :]

    def _slope(self):
        low, high = self.feature_range
        return (high - low) / self.scale_

    def absorb(self, model):
        """The energy `model` in terms of the features before they are scaled."""
        slope = self._slope()
        offset = self.feature_range[0] - slope * self.center_
        if isinstance(model, LinearEnergy):
            return LinearEnergy(model.coef * slope, model.intercept + np.sum(model.coef * offset, axis=1))
        if isinstance(model, QuadraticEnergy):
            return _absorb_quadratic(model, slope, offset)
        return super().absorb(model)


def is_constant(low, high):
    """Whether values between these limits differ by no more than rounding."""
    return high - low <= 1e-12 * np.maximum(np.abs(low), np.abs(high))


def _statistics(values, whose):
    """Least, largest and mean value and standard deviation of each column, (4, F)."""
    if len(values) == 0:
        raise ValueError(
            f"there are no atoms{whose} among the structures that FeatureScaler is fitted to; "
            "add some, or leave the species out of the descriptor's `species`, or set by_species=False"
        )
    low, high = values.min(axis=0), values.max(axis=0)
    apart = values - low  # so that the mean of equal values is that value, and nothing else
    mean = apart.mean(axis=0)
    apart -= mean
    return low, high, low + mean, np.sqrt(np.einsum("mf,mf->f", apart, apart) / len(values))


def _of_atoms(table, species):
    """Rows (M, F) of a table (n_species, F), or (1, F) where all atoms share one."""
    return table[:1] if species is None or len(table) == 1 else table[species]


def _absorb_quadratic(model, slope, offset):
    # E = b + β·B' + ½ B'ᵀAB' with B' = slope B + offset: expand about B = 0.
    pull = (model.matrix @ offset[:, :, None])[:, :, 0]
    beta = (model.beta + pull) * slope
    matrix = model.matrix * slope[:, :, None] * slope[:, None, :]
    return QuadraticEnergy(beta, matrix, model.intercept + np.sum((model.beta + 0.5 * pull) * offset, axis=1))
