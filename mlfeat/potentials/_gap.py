"""Gaussian approximation potentials: sparse Gaussian-process regression on energies, forces and stresses."""

import logging
import time
import warnings
from functools import partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import optimize
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from mlfeat._archive import check_array
from mlfeat._cluster import count_workers
from mlfeat.base import PotentialMixin
from mlfeat.base._potential import check_features
from mlfeat.potentials import _forecast
from mlfeat.potentials._basis import SOLVERS, Basis
from mlfeat.potentials._blocks import TriangularBlocks
from mlfeat.potentials._compression import compress
from mlfeat.potentials._environments import Environments, check_grader, grade
from mlfeat.potentials._evidence import Evidence
from mlfeat.potentials._fitting import accumulate
from mlfeat.potentials._kernel_blocks import (
    check_blocks,
    check_method,
    choose_points,
    deltas_of,
    given_points,
    make_blocks,
    n_points,
    sparse_counts,
)
from mlfeat.potentials._kernel_rows import KernelRows
from mlfeat.potentials._kernel_variance import atom_variances, energy_variance
from mlfeat.potentials._kernels import compressed, parts, without_compression
from mlfeat.potentials._reference_energies import reference_energies
from mlfeat.potentials._rows import (
    KINDS,
    check_baseline,
    check_sample_weight,
    group_factors,
    residual_targets,
    warn_of_unknown_groups,
)
from mlfeat.potentials._sparse_energy import SparseKernelEnergy

__all__ = ["GaussianApproximationPotential"]

logger = logging.getLogger("mlfeat")

SIGMAS = ("energy_sigma", "force_sigma", "stress_sigma")
SIGMA_OF = dict(zip(KINDS, SIGMAS, strict=True))
RETUNABLE = (*SIGMAS, "group_sigmas", "delta", "solver", "jitter", "optimizer", "n_restarts_optimizer")
RANGE = 1e3  # the optimizer keeps sigmas and δ within this factor of the given ones


class Sums(NamedTuple):
    """What a fit with other sigmas and δ needs of the data: triangular factors of its rows by group and kind."""

    parts: list
    blocks: TriangularBlocks
    log_scale: dict
    n_free: int
    e0: np.ndarray


class GaussianApproximationPotential(PotentialMixin, BaseEstimator):
    r"""Gaussian approximation potential (GAP): sparse Gaussian-process regression of the energies of atoms.

    .. math:: E = E_0 + \sum_i \Big( e_{s_i} + \sum_b \delta_b^2 \sum_{P \in s_i} w_P \, (B_i^b \cdot P)^{\zeta_b}
              \Big),

    :math:`s_i` the species of atom i, P the sparse points of the same species, :math:`B_i^b` the features of block b
    (one descriptor; several of a union), :math:`E_0` the baseline. Blocks that come with a covariance of their own, as
    those of `PairDistance`, contribute :math:`\delta_b^2 w \cdot B_i^b`. The weights maximize the posterior of

    .. math:: w \sim N(0, K_{MM}^{-1} / \delta^2), \qquad
              \Delta E \sim N(0, N \sigma_E^2), \quad \Delta F_{ax} \sim N(0, \sigma_F^2), \quad
              \Delta \sigma_m \sim N(0, \sigma_S^2)

    with all errors independent, by QR factorization of their rows, never of normal equations.

    Parameters
    ----------
    n_sparse : int or dict, default=1000
        Number of sparse points of each species and block, or by symbol.
    zeta : int, tuple of int or dict, default=4
        ζ, or by the block's name. Of several, as in ``(1, 4)``, the kernels are added, each with its own δ and sparse
        points; they are blocks named ``soap_zeta1``, ``soap_zeta4``.
    delta : float or dict, default=1.0
        δ, eV, or by the block's name.
    sparse_method : {"cur", "fps", "kmeans", "random"}, default="cur"
        How sparse points are chosen among the training environments: by CUR decomposition of the kernel matrix
        (randomly pivoted Cholesky factorization: where the points chosen before say least), farthest-point sampling in
        the kernel's metric, nearest to the means of k-means clusters, at random. None is chosen twice. The choice does
        not depend on the order of the structures, unless rounding decides between environments.
    sparse_points : array of shape (M, F) or dict, optional
        Given sparse points instead; by symbol where there are several species, and by the block's name, as in
        ``{"soap": {"Mo": points}}``, where several blocks have sparse points. With a tuple of ζ, ``"soap"`` gives them
        to all of ``"soap_zeta1"``, ``"soap_zeta4"`` that are not named.
    energy_sigma : float, default=0.01
        σ_E, eV: the error of the energy of N atoms has the standard deviation σ_E √N.
    force_sigma : float, default=0.05
        σ_F, eV/Å, of a component.
    stress_sigma : float, default=0.001
        σ_S, eV/Å³, of a component. Infinite sigmas leave a kind of target out.
    group_sigmas : dict, optional
        Factors of the sigmas by group (``str(atoms.info["group"])``): a number, or one each for energy, forces and
        stress. Others have 1.
    e0 : {"average", "isolated", "fit"} or dict, default="average"
        Energies of species without neighbors, eV. "average": those that explain the energies of the training
        structures best, by least squares. "isolated": of training structures that are a single atom without neighbors.
        "fit": free, fitted with the weights. A dict ``{symbol: eV}``.
    baseline : ASE calculator, optional
        Subtracted before the fit and added to all predictions, e.g. `ZBL`.
    solver : {"rkhs-qr", "qr"}, default="rkhs-qr"
        "rkhs-qr" solves for the coefficients of eigenvectors of K_MM, "qr" for the weights themselves.
    jitter : float, default=1e-10
        "rkhs-qr": eigenvectors whose eigenvalues are less than this share of the largest are left out. "qr": this
        share of the norm of K_MM is added to its diagonal.
    optimizer : {"fmin_l_bfgs_b"}, optional
        Maximizes the log marginal likelihood over sigmas and δ, from the given ones. None keeps these.
    n_restarts_optimizer : int, default=0
        How often it starts again from random ones, within a factor of 1000 of the given.
    memory_limit : float, optional
        Bytes; a fit that is forecast to take more is refused. The forecast of memory and time is logged in any case
        (``logging.getLogger("mlfeat")``).
    random_state : int, RandomState or None, default=0
        Of the choice of sparse points and of the restarts.
    n_jobs : int, optional
        Number of joblib workers that compute rows: threads, or those of the active backend, a Dask cluster's included.
        The result does not depend on it.

    Attributes
    ----------
    blocks_ : list of dict
        Of each block ``name``, ``start``, ``stop`` (its features), ``zeta``, ``delta``, ``sparse_points`` (M, F_b),
        ``sparse_species`` (M,), ascending, ``weights``; or instead of ζ and points (None) its ``covariance``. After
        `compress_`, also ``compressed_points`` (M, F_b), with which energies and forces are computed.
    e0_ : array of shape (n_species,)
        e, eV.
    species_ : tuple of str
        Symbols, in the order of `e0_`.
    n_features_in_ : int
        Number of features of an atom.
    energy_sigma_, force_sigma_, stress_sigma_ : float
        The sigmas of the fit.
    log_marginal_likelihood_ : float or None
        Logarithm of the probability density of the targets (in eV, eV/Å and eV/Å³).
    variance_ : dict or None
        What `predict_std` works from: ``factor`` F (M, rank) and ``offset``. An energy of N atoms whose kernels with
        the sparse points sum up to k/δ² has the variance δ²k** - abs(kF)² + N offset.
    sums_ : Sums
        What `reweighted` and `log_marginal_likelihood` work from: for each group and kind of target a triangle of up to
        8 M² bytes for M sparse points. Files do not keep it, pickles do; ``del potential.sums_`` makes them small.
    grader_ : dict or None
        What `extrapolation_grade` works from, a matrix (n_features, n_features) of each species. None where these
        would take more memory than the fit (and than 256 MB), or than `memory_limit` allows.

    Notes
    -----
    Where sparse points depend on one another, they are multiplied by way of their leading singular vectors; what is
    less than 1e-8 of the largest is left out. That changes the energies of environments like those of the fit by
    rounding only, of others by some 1e-7 of their size: as much as they may differ from those of other programs that
    run the same model.

    References
    ----------
    A. P. Bartók, M. C. Payne, R. Kondor, G. Csányi, Phys. Rev. Lett. 104, 136403 (2010); A. P. Bartók, G. Csányi,
    Int. J. Quantum Chem. 115, 1051 (2015); V. L. Deringer et al., Chem. Rev. 121, 10073 (2021).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from mlfeat import Bispectrum, FeatureScaler, GaussianApproximationPotential
    >>> model = make_pipeline(Bispectrum(cutoff=4.6), FeatureScaler(), GaussianApproximationPotential(n_sparse=200))
    """

    _state = (
        "blocks_",
        "e0_",
        "species_",
        "n_features_in_",
        "energy_sigma_",
        "force_sigma_",
        "stress_sigma_",
        "log_marginal_likelihood_",
        "variance_",
        "grader_",
    )

    def __init__(
        self,
        n_sparse=1000,
        *,
        zeta=4,
        delta=1.0,
        sparse_method="cur",
        sparse_points=None,
        energy_sigma=0.01,
        force_sigma=0.05,
        stress_sigma=0.001,
        group_sigmas=None,
        e0="average",
        baseline=None,
        solver="rkhs-qr",
        jitter=1e-10,
        optimizer=None,
        n_restarts_optimizer=0,
        memory_limit=None,
        random_state=0,
        n_jobs=None,
    ):
        self.n_sparse = n_sparse
        self.zeta = zeta
        self.delta = delta
        self.sparse_method = sparse_method
        self.sparse_points = sparse_points
        self.energy_sigma = energy_sigma
        self.force_sigma = force_sigma
        self.stress_sigma = stress_sigma
        self.group_sigmas = group_sigmas
        self.e0 = e0
        self.baseline = baseline
        self.solver = solver
        self.jitter = jitter
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.memory_limit = memory_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X, y, sample_weight=None):
        """Fit to structures.

        Parameters
        ----------
        X : FeatureSet
        y : structured array of shape (n_structures,)
            From :func:`mlfeat.make_targets`; an array of floats is energies alone.
        sample_weight : array of shape (n_structures,), optional
            Factors of the inverse variances of the structures' errors.

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
        started = time.perf_counter()
        X = check_features(X)
        rows, blocks, counts, given, e0, graded = self._start(X, y, sample_weight)
        self.__dict__.pop("sums_", None)
        self.species_, self.n_features_in_ = tuple(X[0].descriptor.species_), X.shape[1]
        choose_points(blocks, X, counts, self.sparse_method, given, self.random_state)
        rows.parts = parts(blocks, len(self.species_))
        sums = accumulate(rows, partial(TriangularBlocks, rows.n_free), self.n_jobs)
        log_scale = {kind: rows.log_scale(kind) for kind in KINDS}
        self.sums_ = Sums(rows.parts, sums, log_scale, rows.n_free, e0)
        self.grader_ = None
        if graded:
            environments = Environments(len(self.species_), X.shape[1])
            environments.update(X)
            self.grader_ = environments.grader()
        self._solve(blocks)
        logger.info("fitted in %.1f s", time.perf_counter() - started)
        return self

    def _start(self, X, y, sample_weight):
        """Check everything before any work."""
        if len(X) == 0:
            raise ValueError("no structures to fit to")
        self._check_parameters()
        species = tuple(X[0].descriptor.species_)
        blocks = make_blocks(X, self.zeta, self.delta)
        given = None if self.sparse_points is None else given_points(self.sparse_points, X, blocks)
        counts = sparse_counts(self.n_sparse, species)
        targets = residual_targets(X, y, self.baseline)
        e0 = reference_energies(self.e0, X, targets, species)
        targets["energy"] -= [e0[item.species].sum() for item in X]
        self._leave_out(targets)
        weight = check_sample_weight(sample_weight, len(X))
        rows = KernelRows(X, targets, weight, len(species) if isinstance(self.e0, str) and self.e0 == "fit" else 0)
        warn_of_unknown_groups(self.group_sigmas, {item.group for item in X}, "group_sigmas", stacklevel=4)
        atoms = sum(np.bincount(item.species, minlength=len(species)) for item in X)
        problem = _forecast.problem_size(rows, n_points(blocks, counts, atoms, self.sparse_method, given))
        if not any(n and np.isfinite(getattr(self, SIGMA_OF[kind])) for (_, kind), n in problem.rows.items()):
            raise ValueError("no target has a finite sigma and a weight: nothing to fit")
        n_workers = count_workers(self.n_jobs)
        problem = _forecast.with_grader(problem, n_workers, self.memory_limit)
        _forecast.check(problem, n_workers, self.memory_limit)
        return rows, blocks, counts, given, e0, problem.graded

    def _leave_out(self, targets):
        """Mark forces and stresses whose sigma is infinite as missing, so that their rows are not made."""
        if np.isinf(self.force_sigma):
            targets["forces"] = None
        if np.isinf(self.stress_sigma):
            targets["stress"] = np.nan

    def _check_parameters(self):
        check_baseline(self.baseline)
        for name in SIGMAS:
            sigma = getattr(self, name)
            if not (isinstance(sigma, Real) and sigma > 0):
                raise ValueError(f"{name}={sigma!r}: must be a positive number; infinity leaves these targets out")
        self._group_weights()
        check_method(self.sparse_method)
        if self.solver not in SOLVERS:
            raise ValueError(f"solver={self.solver!r}: must be one of {', '.join(map(repr, SOLVERS))}")
        if not (isinstance(self.jitter, Real) and 0 < self.jitter < 1):
            raise ValueError(f"jitter={self.jitter!r}: must be a small positive number, as 1e-10")
        if self.optimizer not in (None, "fmin_l_bfgs_b"):
            raise ValueError(f"optimizer={self.optimizer!r}: must be 'fmin_l_bfgs_b' or None")
        n = self.n_restarts_optimizer
        if not (isinstance(n, Integral) and n >= 0):
            raise ValueError(f"n_restarts_optimizer={n!r}: must be an integer, zero or more")
        if not (self.memory_limit is None or isinstance(self.memory_limit, Real) and self.memory_limit > 0):
            raise ValueError(f"memory_limit={self.memory_limit!r}: must be a number of bytes, as 6e9, or None")
        check_random_state(self.random_state)

    def _group_weights(self):
        """Weight of a key (group, kind) from the factors of sigmas alone."""
        factors = group_factors(self.group_sigmas or {}, "group_sigmas", zero=False)
        return lambda key: factors[key[0]][key[1]] ** -2.0 if key[0] in factors else 1.0

    def _solve(self, blocks):
        """Fitted attributes from `sums_`, the sigmas and the δ of `blocks`."""
        sigmas = {kind: float(getattr(self, name)) for kind, name in SIGMA_OF.items()}
        deltas = np.array([block["delta"] for block in blocks])
        with threadpool_limits(1, "blas"):  # equal results everywhere, and no waiting for threads on a busy machine
            evidence = self._evidence()
            if self.optimizer is not None:
                sigmas, deltas = self._optimized(evidence, sigmas, deltas)
            posterior = evidence.posterior(sigmas, deltas)
            coef = evidence.basis.unwhiten(posterior.coef)
            factor = evidence.variance_factor(posterior, deltas)
        self.blocks_ = []
        for block, delta in zip(blocks, deltas, strict=True):
            own = [part for part in self.sums_.parts if part.name == block["name"]]
            weights = np.concatenate([coef[part.columns] for part in own]) / delta**2
            self.blocks_.append({**block, "delta": float(delta), "weights": weights})
        self.e0_ = self.sums_.e0 + (posterior.intercept if self.sums_.n_free else 0.0)
        self.energy_sigma_, self.force_sigma_, self.stress_sigma_ = (sigmas[kind] for kind in KINDS)
        self.log_marginal_likelihood_ = posterior.log_likelihood
        self.variance_ = {"factor": factor, "offset": 0.0}
        return self

    def _evidence(self):
        sums = self.sums_
        basis = Basis(sums.parts, self.solver, self.jitter)
        return Evidence(basis, sums.blocks, self._group_weights(), sums.log_scale, sums.n_free)

    def _optimized(self, evidence, sigmas, deltas):
        """Sigmas and δ of the largest log marginal likelihood found."""
        start = evidence.pack(sigmas, deltas)
        reach = np.log(RANGE)
        rng = check_random_state(self.random_state)
        starts = [start, *(start + rng.uniform(-reach, reach, (self.n_restarts_optimizer, len(start))))]

        best = [-np.inf, start]

        def negative(theta):
            value, gradient = evidence.value_and_gradient(*evidence.unpack(theta, sigmas))
            if value > best[0]:
                best[:] = value, theta.copy()
            return -value, -gradient

        bounds = np.column_stack([start - reach, start + reach])
        try:
            for theta in starts:
                found = optimize.minimize(negative, theta, jac=True, method="L-BFGS-B", bounds=bounds)
                if not found.success:
                    warnings.warn(f"the optimizer stopped early: {found.message}", ConvergenceWarning, stacklevel=4)
        except KeyboardInterrupt:
            warnings.warn("the optimizer was interrupted: the best so far is kept", ConvergenceWarning, stacklevel=4)
        logger.info("log marginal likelihood %.8g", best[0])
        return evidence.unpack(best[1], sigmas)

    def log_marginal_likelihood(self, theta=None, eval_gradient=False):
        """Logarithm of the probability density of the training targets.

        Parameters
        ----------
        theta : array, optional
            Natural logarithms of the sigmas of those kinds of targets that the data have (energy, force, stress), then
            of δ of each block. Default: those of the fit.
        eval_gradient : bool, default=False
            Return also the gradient with respect to theta.

        Returns
        -------
        value : float
        gradient : array, optional

        Notes
        -----
        It needs the fit's sums over the data, which files do not keep.
        """
        self._check_sums()
        evidence = self._evidence()
        sigmas = {kind: getattr(self, name + "_") for kind, name in SIGMA_OF.items()}
        deltas = np.array([block["delta"] for block in self.blocks_])
        if theta is not None:
            sigmas, deltas = evidence.unpack(np.asarray(theta, dtype=float), sigmas)
        if eval_gradient:
            return evidence.value_and_gradient(sigmas, deltas)
        return evidence.posterior(sigmas, deltas).log_likelihood

    def reweighted(self, **parameters):
        """The potential fitted to the same data and sparse points with other sigmas or δ, without a pass over the data.

        Parameters
        ----------
        **parameters
            New `energy_sigma`, `force_sigma`, `stress_sigma`, `group_sigmas`, `delta`, `solver`, `jitter`,
            `optimizer`, `n_restarts_optimizer`.

        Returns
        -------
        GaussianApproximationPotential
            A new, fitted one.
        """
        unknown = sorted(set(parameters) - set(RETUNABLE))
        if unknown:
            raise TypeError(f"reweighted() takes {', '.join(RETUNABLE)}; not {', '.join(unknown)}")
        self._check_sums()
        new = clone(self).set_params(**parameters)
        new._check_parameters()
        deltas = deltas_of([block["name"] for block in self.blocks_], new.delta)
        for name in ("species_", "n_features_in_", "sums_", "grader_"):
            setattr(new, name, getattr(self, name))
        warn_of_unknown_groups(new.group_sigmas, {group for group, _ in self.sums_.blocks.blocks}, "group_sigmas")
        blocks = without_compression(self.blocks_)
        return new._solve([{**block, "delta": delta} for block, delta in zip(blocks, deltas, strict=True)])

    def _check_sums(self):
        if not hasattr(self, "sums_"):
            raise ValueError("there are no sums over the training data (files do not keep them): fit first")

    def compress_(self, tolerance=1e-5, X=None):
        """Make evaluation faster: move the sparse points into the smallest subspace that keeps the atoms' energies.

        SOAP's features of a material depend on one another, and the energy depends on still fewer combinations of them;
        with rank r of the points (M, F), an atom costs r (M + F) multiplications instead of M F. Standard deviations,
        and files of other programs, keep the points as they were fitted.

        Parameters
        ----------
        tolerance : float, default=1e-5
            eV; the largest change of an atom's energy from one block, over the environments.
        X : FeatureSet, optional
            Structures with the environments that matter, e.g. of the training data. Default: the sparse points, which
            do not tell how forces change.

        Returns
        -------
        dict
            ``ranks`` (by block and symbol), ``energy_error`` (eV, the largest of an atom from one block) and
            ``force_error`` (eV/Å, the largest of a component in X; None without it).
        """
        if not tolerance > 0:
            raise ValueError(f"tolerance={tolerance!r}: must be a positive number (eV)")
        check_is_fitted(self)
        if X is not None and len(check_features(X)) == 0:
            raise ValueError("X has no structures: leave it out, or give some with the environments that matter")
        before = None if X is None else self.predict_targets(X)["forces"]
        blocks, ranks, errors = [], {}, [0.0]
        for block in without_compression(self.blocks_):
            blocks.append(block)
            if block["covariance"] is not None:
                continue
            points, coef = block["sparse_points"].copy(), block["delta"] ** 2 * block["weights"]
            for s, symbol in enumerate(self.species_):
                mine = block["sparse_species"] == s
                environments = points[mine] if X is None else _environments(X, s, block)
                if mine.any() and len(environments):
                    points[mine], rank, error = compress(
                        points[mine], coef[mine], block["zeta"], environments, tolerance
                    )
                    ranks[block["name"], symbol] = rank
                    errors.append(float(error))
            block["compressed_points"] = points
        self.blocks_ = blocks
        force_error = None
        if X is not None:
            after = self.predict_targets(X)["forces"]
            force_error = max(float(np.abs(a - b).max()) for a, b in zip(after, before, strict=True))
        return {"ranks": ranks, "energy_error": max(errors), "force_error": force_error}

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
        """The SparseKernelEnergy with these weights."""
        return self._made()[1]

    def _made(self):
        """Parts of the blocks as they were fitted, and energy model; kept, as factors of sparse points are sought."""
        kept = self.__dict__.get("_kept")
        if kept is None or kept[0] is not self.blocks_ or kept[1] is not self.e0_:
            coef = np.concatenate([block["delta"] ** 2 * block["weights"] for block in self.blocks_])
            fitted = parts(self.blocks_, len(self.species_), unseen=True)
            used = parts(compressed(self.blocks_), len(self.species_))
            kept = self._kept = self.blocks_, self.e0_, (fitted, SparseKernelEnergy(used, coef, self.e0_))
        return kept[2]

    @available_if(lambda self: getattr(self, "variance_", None) is not None)
    def predict_std(self, X):
        """Standard deviation of the energies under the posterior Gaussian process.

        Energies of species (`e0`) count as known, and errors that the descriptor or the cutoff cause are not in it.
        Atoms of a species without sparse points have the deviation of the prior.

        Parameters
        ----------
        X : FeatureSet or sequence of features
            Features of structures, with `values` and `species`.

        Returns
        -------
        array of shape (n_structures,)
            eV, for total energies.
        """
        found = self._made()[0]
        return np.sqrt([energy_variance(item, found, **self.variance_) for item in X])

    @available_if(lambda self: getattr(self, "variance_", None) is not None)
    def energies_std(self, features):
        """Standard deviation of each atom's energy under the posterior Gaussian process.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        array of shape (n_atoms,)
            eV.
        """
        return np.sqrt(atom_variances(features, self._made()[0], **self.variance_))

    @available_if(lambda self: getattr(self, "grader_", None) is not None)
    def extrapolation_grade(self, features):
        """How far each atom's environment is from those of the fit; see `LinearPotential.extrapolation_grade`.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        array of shape (n_atoms,)
            At most one on the training data.
        """
        return grade(features.values, features.species, **self.grader_)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}

    @property
    def n_parameters_(self):
        """Number of weights."""
        return sum(len(block["weights"]) for block in self.blocks_)

    def _check_fitted(self):
        """Raise ValueError where fitted attributes do not go together; see `mlfeat.persistence`."""
        n_species = len(self.species_)
        check_array("e0_", self.e0_, (n_species,))
        check_blocks(self.blocks_, n_species, self.n_features_in_)
        if self.variance_ is not None:
            check_array("variance_['factor']", self.variance_["factor"], (self.n_parameters_, None))
            if set(self.variance_) != {"factor", "offset"} or not 0 <= self.variance_["offset"] < np.inf:
                raise ValueError("variance_ must have a factor and an offset of zero or more")
        if self.grader_ is not None:
            check_grader(self.grader_, n_species, self.n_features_in_)


def _environments(X, s, block):
    values = [item.values[item.species == s, block["start"] : block["stop"]] for item in X]
    return np.concatenate(values)
