"""Functions of the distances to the neighbors: the two-body part of Gaussian approximation potentials."""

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from numbers import Integral

import numpy as np

from mlfeat._ext import kernel
from mlfeat._parallel import run_chunks
from mlfeat.base import FeatureBlock
from mlfeat.descriptors._compiled import CompiledDescriptor, check_number
from mlfeat.neighbors import NeighborPairs

__all__ = ["PairDistance"]


class PairDistance(CompiledDescriptor):
    r"""Squared-exponential kernel of distances, summed over the neighbors: QUIP's ``distance_2b``.

    For each kind of pair, two species A and B, and each of its sparse distances d_s, a feature of atom i is

    .. math:: B_{AB,s}(i) = \sum_{j} k(r_{ij}, d_s),\qquad
        k(r, d) = f_c(r)\, f_c(d)\, \exp\Bigl(-\frac{(r - d)^2}{2 \theta_{AB}^2}\Bigr),

    the sum being over the neighbors j with which i makes a pair AB, whichever of the two i is. The cutoff function is 1
    up to :math:`\mathrm{cutoff} - w`, with the transition width w, and beyond it falls as
    :math:`\tfrac12 [1 + \cos(\pi (r - \mathrm{cutoff} + w) / w)]`. Derivatives are with respect to the pair vectors
    r_ij.

    An energy :math:`\sum_{is} c_s B_s(i)` is a pair potential that counts each pair twice, once for each of its atoms.

    Parameters
    ----------
    cutoff : float, default=5.0
        Cutoff radius, Å.
    n_sparse : int, default=20
        Number of sparse distances of each kind of pair, if `points` are not given.
    theta : float or dict, default=1.0
        Length scale θ, Å; one number for all kinds of pairs, or by kind: ``{("Mo", "Mo"): 1.0, ("Mo", "Nb"): 1.2}``.
    cutoff_transition_width : float, default=0.5
        Distance w over which the cutoff function falls, Å, at most `cutoff`.
    points : array or dict, default=None
        Sparse distances d_s, Å, below the cutoff: one array for all kinds of pairs, or a dict by kind as for `theta`,
        whose arrays may differ in length; kinds that are not in it have no features. None: `n_sparse` of each kind at
        equal spacings, from the shortest distance of that kind (of any, if it does not occur) in the structures that
        the descriptor is fitted to, up to the last before the cutoff.
    species : sequence of str, default=None
        Chemical symbols. None: those found in `fit`, sorted.
    n_jobs : int, default=None
        Threads, as in scikit-learn: None is 1, -1 all processors.

    Attributes
    ----------
    species_ : tuple of str
        Chemical symbols.
    points_ : tuple of arrays
        Sparse distances d_s of each kind of pair, Å, in the order of `pairs_`.
    cutoff_ : float
        The cutoff, Å.
    n_features_out_ : int
        Number of features: of sparse distances of all kinds together.

    Notes
    -----
    With GaussianApproximationPotential, whose weights w make :math:`E_i = \delta^2 \sum_s w_s B_s(i)`, this is QUIP's
    ``distance_2b``, and its ``distance_Nb`` of order 2, number by number: w is ``alpha``, d is in the ``sparseX`` file,
    :math:`f_c(d)` is ``sparseCutoff``, δ is ``delta``, θ is ``theta``. Each atom of a pair has one whole k(r, d) in its
    energy, so that a pair counts twice, whether its species are the same or not. Found by comparison with the energies,
    local energies and forces of quippy-ase 0.10.3.

    References
    ----------
    A. P. Bartók, G. Csányi, Int. J. Quantum Chem. 115, 1051 (2015).
    V. L. Deringer, G. Csányi, Phys. Rev. B 95, 094203 (2017), for the sum of two-body and many-body kernels.
    QUIP and GAP: https://libatoms.github.io/GAP.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mlfeat import PairDistance
    >>> features = PairDistance(cutoff=4.0, n_sparse=10).fit_transform([bulk("NaCl", "rocksalt", a=5.6)])
    >>> features.shape
    (1, 30)
    """

    _state = ("species_", "cutoff_", "n_features_out_", "points_")

    def __init__(
        self,
        cutoff=5.0,
        n_sparse=20,
        *,
        theta=1.0,
        cutoff_transition_width=0.5,
        points=None,
        species=None,
        n_jobs=None,
    ):
        self.cutoff = cutoff
        self.n_sparse = n_sparse
        self.theta = theta
        self.cutoff_transition_width = cutoff_transition_width
        self.points = points
        self.species = species
        self.n_jobs = n_jobs

    @property
    def pairs_(self):
        """Kinds of pairs, as two symbols each, in the order of the features."""
        return tuple(combinations_with_replacement(self.species_, 2))

    # ---------------------------------------------------------------- parameters

    def _setup(self):
        check_number("cutoff", self.cutoff, lambda v: v > 0, "a positive number")
        limit = self.cutoff
        check_number(
            "cutoff_transition_width", self.cutoff_transition_width, lambda v: 0 < v <= limit, f"in (0, {limit:g}]"
        )
        self._thetas()
        self.cutoff_ = float(self.cutoff)
        if self.points is not None:
            self.points_ = self._given_points()
            self.n_features_out_ = sum(map(len, self.points_))
        else:
            valid = isinstance(self.n_sparse, Integral) and not isinstance(self.n_sparse, bool) and self.n_sparse > 0
            if not valid:
                raise ValueError(f"n_sparse={self.n_sparse!r}: must be a positive integer")
            self.n_features_out_ = int(self.n_sparse) * len(self.pairs_)
        self._compiled = None

    def _by_kind(self, name):
        """A parameter's value for each kind of pair; None where a dict has none."""
        value = getattr(self, name)
        if not isinstance(value, Mapping):
            return [value] * len(self.pairs_)
        found = {}
        for key, item in value.items():
            kind = self._kind(name, key)
            if kind in found:
                raise ValueError(f"{name}: {'-'.join(kind)} is there twice, also as {'-'.join(kind[::-1])}; remove one")
            found[kind] = item
        return [found.get(kind) for kind in self.pairs_]

    def _kind(self, name, key):
        for kind in (key, key[::-1]) if isinstance(key, tuple) else ():
            if kind in self.pairs_:
                return kind
        raise ValueError(f"{name}: {key!r} is no pair of the species {', '.join(self.species_)}, as {self.pairs_[0]!r}")

    def _thetas(self):
        thetas = self._by_kind("theta")
        for kind, theta in zip(self.pairs_, thetas, strict=True):
            if theta is None:
                raise ValueError(f"theta={self.theta!r}: nothing for {kind!r}; add an entry for each pair of species")
            check_number("theta", theta, lambda v: v > 0, "a positive number, or a dict of those by pair of species")
        return np.array(thetas, dtype=float)

    def _given_points(self):
        points = tuple(self._checked_points(given) for given in self._by_kind("points"))
        if not sum(map(len, points)):
            raise ValueError("points: there are none; give some distances, or None to have them chosen")
        return points

    def _checked_points(self, given):
        if given is None:
            return np.empty(0)
        if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, str):
            points = np.array(given, dtype=float)
            if points.ndim == 1 and (points > 0).all() and (points < self.cutoff).all():
                return points
        raise ValueError(f"points={given!r}: must be distances between 0 and the cutoff, {self.cutoff:g} Å")

    # ---------------------------------------------------------------- fit

    def _learn(self, structures):
        if self.points is None:
            starts = self._shortest(structures)
            steps = np.arange(self.n_sparse) / self.n_sparse
            self.points_ = tuple(start + (self.cutoff_ - start) * steps for start in starts)

    def _shortest(self, structures):
        """Shortest distance of each kind of pair in the structures, or of all kinds where there is none."""
        shortest = np.full((len(structures), len(self.pairs_)), np.inf)

        def measure(start, stop):
            for k in range(start, stop):
                pairs = NeighborPairs.from_atoms(structures[k], self.cutoff_, index=k)
                species = self.species_index(pairs.numbers)
                kinds = self._kinds()[species[pairs.first], species[pairs.second]]
                np.minimum.at(shortest[k], kinds, pairs.distances)

        run_chunks(measure, len(structures), self.n_jobs, align=1)
        shortest = shortest.min(axis=0)
        if np.isinf(shortest).all():
            raise ValueError(f"no two atoms are closer than the cutoff, {self.cutoff_:g} Å; enlarge it, or give points")
        return np.where(np.isinf(shortest), shortest.min(), shortest)

    def _kinds(self):
        """Place in `pairs_` of the pair of two species (n_species, n_species)."""
        n = len(self.species_)
        kinds = np.zeros((n, n), dtype=np.intp)
        upper = np.triu_indices(n)
        kinds[upper] = kinds.T[upper] = np.arange(len(self.pairs_))
        return kinds

    def _check_fitted(self):
        """ValueError where the fitted points do not go with the rest."""
        lengths = [self.n_sparse] * len(self.pairs_) if self.points is None else map(len, self._given_points())
        if list(map(len, self.points_)) != list(lengths):
            raise ValueError(f"points_ has the lengths {list(map(len, self.points_))}")
        for points in self.points_:
            self._checked_points(points)

    # ---------------------------------------------------------------- kernel

    def _compile(self):
        return kernel("pair_distance").Kernel(
            self._kinds(),
            self.points_,
            [self._cutoff_function(points) for points in self.points_],
            self._thetas(),
            self.cutoff_,
            self.cutoff_transition_width,
        )

    def _cutoff_function(self, distances):
        begin = self.cutoff_ - self.cutoff_transition_width
        return 0.5 + 0.5 * np.cos(np.pi * np.clip((distances - begin) / self.cutoff_transition_width, 0, 1))

    def feature_blocks(self):
        """One block with the covariance k(d_s, d_t), zero between different kinds of pairs.

        Returns
        -------
        tuple of FeatureBlock
            Of one.
        """
        ((name, start, stop, _),) = super().feature_blocks()
        covariance = np.zeros((stop, stop))
        first = 0
        for points, theta in zip(self.points_, self._thetas(), strict=True):
            own = slice(first, first := first + len(points))
            cut = self._cutoff_function(points)
            covariance[own, own] = np.outer(cut, cut) * np.exp(-0.5 * ((points[:, None] - points) / theta) ** 2)
        return (FeatureBlock(name, start, stop, covariance),)

    def get_feature_names_out(self, input_features=None):
        """Names such as ``Mo-Nb_0``: the kind of pair and the number of its sparse distance."""
        super().get_feature_names_out()
        return np.array(
            [f"{a}-{b}_{s}" for (a, b), d in zip(self.pairs_, self.points_, strict=True) for s in range(len(d))],
            dtype=object,
        )
