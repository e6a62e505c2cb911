"""The SOAP power spectrum, descriptor of Gaussian approximation potentials."""

from numbers import Integral

import numpy as np

from mlfeat._ext import kernel
from mlfeat.descriptors._compiled import CompiledDescriptor, check_number
from mlfeat.descriptors._harmonics import legendre_tables
from mlfeat.descriptors._soap_radial import padded_cutoff, radial_spline

__all__ = ["SOAP"]

COMPRESSIONS = (None, "mu1nu1", "mu2", "random")
N_MAX, L_MAX = 24, 20


class SOAP(CompiledDescriptor):
    r"""Power spectrum of the smooth overlap of atomic positions (SOAP), as QUIP defines it.

    Each neighbor of atom i, and the atom itself, is a Gaussian of the density; that of species a has the coefficients

    .. math:: c_{nlm}^a = \sum_{j \in a} f_c(r_{ij})\, f_{nl}(r_{ij})\, Y_{lm}(\hat r_{ij})
        + \mathrm{central\_weight}\; \delta_{a s_i}\, f_{n0}(0)\, Y_{00}

    with real spherical harmonics and the radial functions of `radial_basis`. The cutoff function is 1, and falls as
    :math:`\tfrac12[1 + \cos(\pi(r - r_c + w)/w)]` over the last w = `cutoff_transition_width` before the cutoff. With
    k = (a, n), species outermost, the features are

    .. math:: p_{kk'l} = \sqrt{\frac{2 - \delta_{kk'}}{2l + 1}} \sum_m c_{klm}\, c_{k'lm}, \qquad k \ge k',

    k' running within k and l fastest, divided by their length, followed by one constant feature. The dot product of two
    such vectors compares two environments, see :class:`mlfeat.GaussianApproximationPotential`. For S species there
    are :math:`K(K+1)/2\,(l_{max}+1) + 1` features with :math:`K = S\,n_{max}`.

    Parameters
    ----------
    cutoff : float, default=5.0
        Distance beyond which an atom is no neighbor, Å.
    n_max : int, default=8
        Number of radial functions, at most 24.
    l_max : int, default=8
        Largest angular momentum, at most 20.
    species : sequence of str, default=None
        Chemical symbols, in the order of the features. None: those found in `fit`, sorted.
    sigma : float, default=0.5
        Width of the Gaussians, Å; QUIP's ``atom_sigma``.
    cutoff_transition_width : float, default=0.5
        Width w of the cutoff function, Å. 0: none; the features then jump as a neighbor passes the cutoff.
    central_weight : float, default=1.0
        Weight of the central atom in the density of its own species.
    normalize : bool, default=True
        Divide the features by their length.
    covariance_sigma0 : float, default=0.0
        The last feature.
    radial_basis : {"equispaced_gauss", "gto"}, default="equispaced_gauss"
        "equispaced_gauss": orthonormalized equispaced Gaussians, QUIP's. "gto": DScribe's Gaussian-type orbitals. With
        `cutoff_transition_width` 0 they count neighbors as DScribe does, up to beyond the cutoff; the features
        with `normalize` False are then DScribe's, times √2 where k ≠ k'.
    compression : {None, "mu1nu1", "mu2", "random"}, default=None
        Fewer features for many species (Darby et al.). "mu2": the densities of all species are added up, K = n_max.
        "mu1nu1": each :math:`c^a_n` times the sum over species, :math:`p_{kn'l}` for all k and n', S n_max²
        (l_max + 1) + 1 features, with no factor √2. "random": `n_channels` random combinations of all k in
        place of k.
    n_channels : int, default=None
        Number of combinations of "random" compression; None: `n_max`.
    random_state : int, default=0
        Seed of the combinations.
    n_jobs : int, default=None
        Threads, as in scikit-learn: None is 1, -1 all processors.

    Attributes
    ----------
    species_ : tuple of str
        Chemical symbols.
    cutoff_ : float
        Distance beyond which nothing counts, Å.
    n_features_out_ : int
        Number of features.

    Raises
    ------
    ValueError
        In `fit`, if a parameter is out of its range.

    Notes
    -----
    The radial functions come from a spline whose error is below 1e-12 of their largest value (up to 1e-10 for many
    "gto" functions, which have rounding errors of that size). The gradient is taken in reverse: cotangents of the
    features give those of c, and each neighbor needs one sweep over them.

    References
    ----------
    A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87, 184115 (2013).
    J. P. Darby, J. R. Kermode, G. Csányi, npj Comput. Mater. 8, 166 (2022), for `compression`.
    L. Himanen et al., Comput. Phys. Commun. 247, 106949 (2020), for "gto".

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mlfeat import SOAP
    >>> features = SOAP(cutoff=5.2).fit_transform([bulk("Mo", cubic=True)])
    >>> features.shape
    (1, 325)
    """

    def __init__(
        self,
        cutoff=5.0,
        n_max=8,
        l_max=8,
        *,
        species=None,
        sigma=0.5,
        cutoff_transition_width=0.5,
        central_weight=1.0,
        normalize=True,
        covariance_sigma0=0.0,
        radial_basis="equispaced_gauss",
        compression=None,
        n_channels=None,
        random_state=0,
        n_jobs=None,
    ):
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.species = species
        self.sigma = sigma
        self.cutoff_transition_width = cutoff_transition_width
        self.central_weight = central_weight
        self.normalize = normalize
        self.covariance_sigma0 = covariance_sigma0
        self.radial_basis = radial_basis
        self.compression = compression
        self.n_channels = n_channels
        self.random_state = random_state
        self.n_jobs = n_jobs

    # ---------------------------------------------------------------- parameters

    def _setup(self):
        check_number("cutoff", self.cutoff, lambda v: v > 0, "a positive number, in Å")
        check_number("sigma", self.sigma, lambda v: v > 0, "a positive number, in Å")
        _check_integer("n_max", self.n_max, 1, N_MAX)
        _check_integer("l_max", self.l_max, 0, L_MAX)
        width = self.cutoff_transition_width
        check_number("cutoff_transition_width", width, lambda v: 0 <= v <= self.cutoff, "from 0 to the cutoff, in Å")
        check_number("central_weight", self.central_weight, lambda v: v >= 0, "zero or a positive number")
        check_number("covariance_sigma0", self.covariance_sigma0, lambda v: v >= 0, "zero or a positive number")
        if not isinstance(self.normalize, (bool, np.bool_)):
            raise ValueError(f"normalize={self.normalize!r}: must be True or False")
        if self.compression not in COMPRESSIONS:
            raise ValueError(f"compression={self.compression!r}: must be one of {', '.join(map(repr, COMPRESSIONS))}")
        if self.n_channels is not None:
            _check_integer("n_channels", self.n_channels, 1, len(self.species_) * self.n_max)
        if not isinstance(self.random_state, Integral) or self.random_state < 0:
            raise ValueError(f"random_state={self.random_state!r}: must be an integer, the seed of the combinations")
        if self.radial_basis == "gto" and width == 0:
            self.cutoff_ = float(padded_cutoff(self.cutoff, self.sigma))
        else:
            self.cutoff_ = float(self.cutoff)
        self._spline()
        self.n_features_out_ = len(self._source()) + 1
        self._compiled = None

    def _spline(self):
        return radial_spline(
            self.radial_basis, int(self.n_max), int(self.l_max), float(self.cutoff), float(self.sigma), self.cutoff_
        )

    def _labels(self):
        """Names of the κ on the left and on the right."""
        orders = [str(n) for n in range(self.n_max)]
        every = [f"{symbol}{n}" for symbol in self.species_ for n in orders]
        if self.compression == "mu1nu1":
            return every, orders
        if self.compression == "random":
            every = [str(k) for k in range(self.n_channels or self.n_max)]
        return (orders, orders) if self.compression == "mu2" else (every, every)

    def _source(self):
        """l, κ, κ' of each component (n_spectrum, 3)."""
        left, right = (len(labels) for labels in self._labels())
        symmetric = self.compression != "mu1nu1"
        places = [
            (l, k, other)
            for k in range(left)
            for other in range(k + 1 if symmetric else right)
            for l in range(self.l_max + 1)
        ]
        return np.array(places, dtype=np.intc)

    def _mixtures(self):
        """Matrices (S n_max, κ) from the coefficients of the density to the factors of the spectrum, or None."""
        n_k = len(self.species_) * self.n_max
        if self.compression == "mu1nu1":
            return np.eye(n_k), np.tile(np.eye(self.n_max), (len(self.species_), 1))
        if self.compression == "random":
            mixture = _orthonormal(n_k, self.n_channels or self.n_max, int(self.random_state))
            return mixture, mixture
        return None, None

    # ---------------------------------------------------------------- kernel

    def _compile(self):
        step, spline, _ = self._spline()
        spline = spline / np.sqrt(4 * np.pi)  # the kernel's harmonics are √4π times the orthonormal ones
        source, n_species = self._source(), len(self.species_)
        l, k, other = source.T
        once = (k == other) | (self.compression == "mu1nu1")
        return kernel("soap").Kernel(
            legendre_tables(int(self.l_max)),
            spline,
            step,
            int(self.n_max),
            self.cutoff_,
            float(self.cutoff_transition_width),
            np.zeros(n_species, np.intc) if self.compression == "mu2" else np.arange(n_species, dtype=np.intc),
            float(self.central_weight) * spline[0, 0, 0, : self.n_max],
            *self._mixtures(),
            self.compression != "mu1nu1",
            source,
            np.sqrt(np.where(once, 1.0, 2.0) / (2 * l + 1)),
            bool(self.normalize),
            float(self.covariance_sigma0),
        )

    def get_feature_names_out(self, input_features=None):
        """Names such as ``p_Mo1_Mo0_8`` (k, k', l), and ``constant``."""
        left, right = self._labels()
        names = [f"p_{left[k]}_{right[other]}_{l}" for l, k, other in self._source()]
        return np.array([*names, "constant"], dtype=object)


def _check_integer(name, value, least, most):
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name}={value!r}: must be an integer from {least} to {most}")


def _orthonormal(n_rows, n_columns, seed):
    """Random orthonormal columns, the same with any NumPy and LAPACK: saved models rely on them."""
    columns, triangle = np.linalg.qr(np.random.RandomState(seed).standard_normal((n_rows, n_columns)))
    return columns * np.sign(np.diag(triangle))
