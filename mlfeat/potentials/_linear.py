"""Potentials linear in the features, fitted to energies, forces and stresses."""

import warnings
from collections.abc import Mapping
from functools import partial

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import Ridge
from sklearn.utils.metaestimators import available_if

from mlfeat._archive import check_array
from mlfeat.base import PotentialMixin
from mlfeat.base._potential import check_features
from mlfeat.potentials import _uncertainty
from mlfeat.potentials._blocks import GramBlocks, TriangularBlocks
from mlfeat.potentials._energy import LinearEnergy
from mlfeat.potentials._environments import Environments, check_grader, grade
from mlfeat.potentials._fitting import accumulate, check_memory, stack
from mlfeat.potentials._regressors import fit_stacked, streaming_penalty
from mlfeat.potentials._rows import (
    DesignRows,
    KindWeights,
    Reference,
    check_baseline,
    check_sample_weight,
    residual_targets,
    warn_of_unknown_groups,
)

__all__ = ["LinearPotential"]

BLOCKS = {"gram": GramBlocks, "qr": TriangularBlocks}
REWEIGHTABLE = ("energy_weight", "force_weight", "stress_weight", "group_weights")


class LinearPotential(PotentialMixin, BaseEstimator):
    r"""Energy linear in the features, with coefficients from linear regression on energies, forces and stresses.

    .. math:: E = E_0 + \sum_i \Big( b_{s_i} + \sum_k \beta_{s_i k} B_{ik} \Big),

    :math:`s_i` the species of atom i, :math:`E_0` the baseline. The coefficients minimize

    .. math:: \sum_s c_s \Big[ w_E \Big(\frac{\Delta E_s}{N_s}\Big)^2 + w_F \sum_{ax} \Delta F_{s,ax}^2
              + w_S \sum_{m=1}^6 \Delta \sigma_{s,m}^2 \Big] + \text{penalty}(\beta)

    over structures s with :math:`N_s` atoms, :math:`c_s` the sample weight; the penalty is the regressor's
    (α‖β‖² for Ridge). Energies are in eV, forces in eV/Å, stresses in eV/Å³: stresses are small numbers and
    need a large weight. Structures without forces or stress contribute fewer rows.

    Parameters
    ----------
    regressor : estimator, default=Ridge(alpha=1e-8)
        scikit-learn linear model (Ridge, BayesianRidge, ARDRegression, Lasso, LinearRegression, ...):
        anything that has `coef_` after fitting. It is cloned, and its own intercept is switched off.
    energy_weight, force_weight, stress_weight : float, default=1.0
        w_E, w_F, w_S: weights of squared residuals.
    group_weights : dict, optional
        Factors by group (``str(atoms.info["group"])``): a number, or one each for energy, forces and stress. Others
        have 1.
    intercept : "species", dict or None, default="species"
        "species": one free intercept for each species, not penalized (the best ones are taken out of the energy rows
        exactly, for any regressor that minimizes squared residuals). A dict ``{symbol: eV}``: fixed reference energies.
        None: no intercept.
    baseline : ASE calculator, optional
        Subtracted before the fit and added to all predictions, e.g. `ZBL`.
    solver : {"stacked", "gram", "qr"}, default="stacked"
        "stacked" puts all rows into one array for the regressor. "gram" and "qr" are for Ridge and
        LinearRegression and give the same coefficients, with memory that does not grow with the number of
        structures: "gram" sums the normal equations, "qr" factorizes blocks of rows and keeps twice the
        digits. Both keep their sums for each group and kind of target, see `reweighted`, and have
        `partial_fit`.
    n_jobs : int, optional
        Number of joblib workers that compute rows: threads, or those of the active backend, a Dask cluster's included.
        The result does not depend on it.
    memory_limit : float, optional
        Bytes; a fit that is forecast to take more is refused. The forecast is logged in any case
        (``logging.getLogger("mlfeat")``).

    Attributes
    ----------
    coef_ : array of shape (n_species, n_features)
        β, eV per unit of feature.
    intercept_ : array of shape (n_species,)
        b, eV.
    species_ : tuple of str
        Symbols, in the order of the rows of `coef_`.
    n_features_in_ : int
        Number of features of an atom.
    regressor_ : estimator
        The fitted regressor; with solver "stacked".
    gram_ : GramBlocks or TriangularBlocks
        Sums of the rows by group and kind; with solvers "gram" and "qr".
    posterior_ : dict or None
        What `predict_std` works from; None if the regressor has no Gaussian posterior.
    grader_ : dict
        What `extrapolation_grade` works from.

    References
    ----------
    A. P. Thompson, L. P. Swiler, C. R. Trott, S. M. Foiles, G. J. Tucker, J. Comput. Phys. 285, 316 (2015).

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from mlfeat import Bispectrum, LinearPotential
    >>> model = make_pipeline(Bispectrum(cutoff=4.6), LinearPotential(Ridge(1e-8), force_weight=0.01))
    """

    _state = ("coef_", "intercept_", "species_", "n_features_in_", "posterior_", "grader_")

    def __init__(
        self,
        regressor=None,
        *,
        energy_weight=1.0,
        force_weight=1.0,
        stress_weight=1.0,
        group_weights=None,
        intercept="species",
        baseline=None,
        solver="stacked",
        n_jobs=None,
        memory_limit=None,
    ):
        self.regressor = regressor
        self.energy_weight = energy_weight
        self.force_weight = force_weight
        self.stress_weight = stress_weight
        self.group_weights = group_weights
        self.intercept = intercept
        self.baseline = baseline
        self.solver = solver
        self.n_jobs = n_jobs
        self.memory_limit = memory_limit

    def fit(self, X, y, sample_weight=None):
        """Fit to structures.

        Parameters
        ----------
        X : FeatureSet
        y : structured array of shape (n_structures,)
            From :func:`mlfeat.make_targets`; an array of floats is energies alone.
        sample_weight : array of shape (n_structures,), optional
            Weights of the structures' squared residuals.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a target is not finite or has the wrong shape (the message has the structure's index), or a
            parameter is wrong.
        MemoryError
            If the fit would take more than `memory_limit`.
        """
        rows, weights = self._start(X, y, sample_weight)
        warn_of_unknown_groups(self.group_weights, {item.group for item in X})
        if self.solver in BLOCKS:
            return self._add(rows, X)
        stacked = stack(rows, weights, self.n_jobs)
        self.regressor_, fit, posterior = fit_stacked(self._regressor(), stacked, self._free_intercept())
        self._environments = Environments(X[0].n_species, X.shape[1])
        self._environments.update(X)
        return self._finish(fit, posterior)

    def partial_fit(self, X, y, sample_weight=None):
        """Fit to more structures, as if all had been there at once. Solvers "gram" and "qr" only.

        The features must come from one descriptor, fitted once: in a Pipeline, use ``pipeline[:-1].transform(more)``.

        Parameters
        ----------
        X : FeatureSet
        y : structured array of shape (n_structures,)
        sample_weight : array of shape (n_structures,), optional

        Returns
        -------
        self
        """
        if self.solver not in BLOCKS:
            raise ValueError(f"solver={self.solver!r} keeps no sums to add to: partial_fit needs solver='gram' or 'qr'")
        if hasattr(self, "coef_") and not hasattr(self, "gram_"):
            raise ValueError("this model has coefficients but no sums to add to (files do not keep them): fit it again")
        rows, _ = self._start(X, y, sample_weight, again=hasattr(self, "gram_"))
        return self._add(rows, X)

    def _start(self, X, y, sample_weight, again=False):
        """Check everything before any work; returns the rows and their weights."""
        X = check_features(X)
        if self.solver not in ("stacked", *BLOCKS):
            raise ValueError(f"solver={self.solver!r}: must be 'stacked', 'gram' or 'qr'")
        if len(X) == 0:
            raise ValueError("no structures to fit to")
        weights = KindWeights(self.energy_weight, self.force_weight, self.stress_weight, self.group_weights)
        check_baseline(self.baseline)
        sample_weight = check_sample_weight(sample_weight, len(X))
        if self.solver in BLOCKS:
            streaming_penalty(self._regressor(), self.solver)
        species = tuple(X[0].descriptor.species_)
        if again and (species, X.shape[1]) != (self.species_, self.n_features_in_):
            raise ValueError(
                f"the fit began with {self.n_features_in_} features of {self.species_}, "
                f"not {X.shape[1]} of {species}: use one fitted descriptor"
            )
        fixed = self._fixed_intercept(species)
        rows = DesignRows(X, residual_targets(X, y, self.baseline, fixed), sample_weight)
        check_memory(rows, self.solver, self.n_jobs, self.memory_limit)
        self.species_, self.n_features_in_ = species, X.shape[1]
        if not again:
            self._forget(rows)
        rows.reference = self._reference
        return rows, weights

    def _forget(self, rows):
        for name in ("gram_", "regressor_", "_environments"):
            self.__dict__.pop(name, None)
        streams = self.solver in BLOCKS and self._free_intercept()
        self._reference = Reference.from_rows(rows) if streams else None

    def _add(self, rows, X):
        n_species = X[0].n_species
        blocks = accumulate(rows, partial(BLOCKS[self.solver], n_species), self.n_jobs)
        if hasattr(self, "gram_"):
            total = BLOCKS[self.solver](n_species)
            total.merge(self.gram_)
            total.merge(blocks)
            blocks = total
        else:
            self._environments = Environments(n_species, X.shape[1])
        self.gram_ = blocks
        self._environments.update(X)
        return self._solve()

    def _solve(self):
        penalty = streaming_penalty(self._regressor(), self.solver)
        weights = KindWeights(self.energy_weight, self.force_weight, self.stress_weight, self.group_weights)
        fit = self.gram_.solve(weights, penalty, self._free_intercept())
        return self._finish(fit, _uncertainty.posterior(fit, penalty))

    def _finish(self, fit, posterior):
        """Set the fitted attributes, in terms of features and energies without the reference."""
        shape = len(self.species_), self.n_features_in_
        self.coef_ = fit.solution.coef.reshape(shape)
        fixed = self._fixed_intercept(self.species_)
        self.intercept_ = fit.intercept.copy() if fixed is None else fixed
        reference = getattr(self, "_reference", None)
        if reference is not None:
            self.intercept_ += reference.energy - np.einsum("sf,sf->s", reference.features, self.coef_)
        self.posterior_ = None if posterior is None else _uncertainty.without_reference(posterior, reference)
        self.grader_ = self._environments.grader()
        self._warn_if_ill_conditioned(fit.solution.condition)
        return self

    def _warn_if_ill_conditioned(self, condition):
        if condition == np.inf:
            warnings.warn(
                f"the least-squares problem is singular to rounding (solver={self.solver!r}): the data do not "
                f"determine all coefficients. Raise the penalty of {self._regressor()}, add data, use fewer features"
                + ("." if self.solver == "qr" else ", or use solver='qr'."),
                LinAlgWarning,
                stacklevel=4,
            )

    def reweighted(self, *, alpha=None, **weights):
        """The potential fitted to the same data with other weights or another penalty, without a pass over the data.

        It costs O(p³) for p features over all species. Solvers "gram" and "qr" only. Sample weights stay as they were.

        Parameters
        ----------
        alpha : float, optional
            Penalty of the Ridge regressor.
        **weights
            New `energy_weight`, `force_weight`, `stress_weight`, `group_weights`.

        Returns
        -------
        LinearPotential
            A new, fitted one.
        """
        unknown = sorted(set(weights) - set(REWEIGHTABLE))
        if unknown:
            raise TypeError(f"reweighted() takes alpha, {', '.join(REWEIGHTABLE)}; not {', '.join(unknown)}")
        if not hasattr(self, "gram_"):
            raise ValueError("no sums by group to weigh again: fit with solver='gram' or 'qr' first")
        new = clone(self).set_params(**weights)
        if alpha is not None:
            new.set_params(regressor=clone(self._regressor()).set_params(alpha=alpha))
        for name in ("species_", "n_features_in_", "gram_", "_reference"):
            setattr(new, name, getattr(self, name))
        new._environments = self._environments.copy()
        warn_of_unknown_groups(new.group_weights, {group for group, _ in self.gram_.blocks})
        return new._solve()

    def _regressor(self):
        return Ridge(alpha=1e-8) if self.regressor is None else self.regressor

    def _free_intercept(self):
        return isinstance(self.intercept, str)

    def _fixed_intercept(self, species):
        """Fixed intercepts (n_species,), or None if they are free."""
        if self.intercept is None:
            return np.zeros(len(species))
        if isinstance(self.intercept, str):
            if self.intercept != "species":
                raise ValueError(f"intercept={self.intercept!r}: must be 'species', None, or energies by symbol")
            return None
        if not isinstance(self.intercept, Mapping):
            raise ValueError(f"intercept={self.intercept!r}: must be 'species', None, or energies by symbol")
        missing = [symbol for symbol in species if symbol not in self.intercept]
        if missing:
            raise ValueError(f"intercept has no energy of {', '.join(missing)}: give one (eV) for every species")
        return np.array([self.intercept[symbol] for symbol in species], dtype=float)

    def energy_and_cotangent(self, features):
        """E_i (n_atoms,) in eV and ∂E_i/∂B_i (n_atoms, n_features), without the baseline.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        energies : array of shape (n_atoms,)
        cotangents : array of shape (n_atoms, n_features)
        """
        return self.energy_model().energy_and_cotangent(features)

    def energy_model(self):
        """The LinearEnergy with these coefficients."""
        return LinearEnergy(self.coef_, self.intercept_)

    def _check_fitted(self):
        """Raise ValueError where fitted attributes do not go together; see `mlfeat.persistence`."""
        n_species, n_features = len(self.species_), self.n_features_in_
        check_array("coef_", self.coef_, (n_species, n_features))
        check_array("intercept_", self.intercept_, (n_species,))
        if self.posterior_ is not None:
            _uncertainty.check_posterior(self.posterior_, n_species, n_features)
        if self.grader_ is not None:
            check_grader(self.grader_, n_species, n_features)
        check_baseline(self.baseline)

    @property
    def n_parameters_(self):
        """Number of fitted numbers: coefficients, and intercepts if they are free."""
        return self.coef_.size + (len(self.intercept_) if self._free_intercept() else 0)

    @available_if(lambda self: getattr(self, "posterior_", None) is not None)
    def predict_std(self, X, include_noise=False):
        r"""Standard deviation of the energies from the posterior covariance of the coefficients.

        With design matrix X, weights W and penalty α, the coefficients have the covariance :math:`\sigma^2
        (X^T W X + α)^{-1}` (free intercepts included), where :math:`\sigma^2` is the weighted sum of squared
        residuals over rows less effective parameters: weights stand for inverse variances up to that common
        factor. BayesianRidge and ARDRegression bring their own noise. Errors that no coefficients could
        remove are not in it.

        Parameters
        ----------
        X : FeatureSet or sequence of features
            Features of structures, with `values` and `species`.
        include_noise : bool, default=False
            Add the residuals' own variance, N² σ²/w_E: the error to expect from a single calculation.

        Returns
        -------
        array of shape (n_structures,)
            eV, for total energies.
        """
        return _uncertainty.energy_std(X, self.posterior_, self.energy_weight if include_noise else None)

    @available_if(lambda self: getattr(self, "grader_", None) is not None)
    def extrapolation_grade(self, features):
        r"""How far each atom's environment is from those the potential was fitted to.

        .. math:: \gamma_i = \frac{d(B_i)}{\max_{train} d}, \qquad d(B)^2 = (B - \mu_s)^T C_s^{-1} (B - \mu_s),

        the Mahalanobis distance from the mean μ of the training environments of the same species, with their
        covariance C, as a share of the largest among them: at most one on the training data (after
        `partial_fit`, possibly a little less than the definition says). Above one the potential extrapolates.
        Infinite for a species without training data.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        array of shape (n_atoms,)
        """
        return grade(features.values, features.species, **self.grader_)
