"""Bispectrum components, the descriptor of SNAP and qSNAP."""

from collections.abc import Mapping
from itertools import product
from numbers import Integral, Real

import numpy as np

from mlfeat._ext import kernel
from mlfeat.descriptors._bispectrum_tables import bispectrum_tables, components, radial_tables
from mlfeat.descriptors._compiled import CompiledDescriptor, check_number
from mlfeat.descriptors._harmonics import legendre_tables

__all__ = ["Bispectrum"]

TWOJMAX = 14
FLAGS = ("bzeroflag", "switchflag", "wselfallflag", "chemflag", "bnormflag", "switchinnerflag")


class Bispectrum(CompiledDescriptor):
    r"""Bispectrum components of the neighbor density, as LAMMPS defines them.

    The neighbors of atom i are mapped onto the 3-sphere and expanded in Wigner matrices; their density is

    .. math:: u^j = 1 + \sum_{r_{ij} < R_{ij}} w_j\, f_c(r_{ij})\, U^j(\psi_{ij}, \hat r_{ij}),\qquad
        \psi_{ij} = \mathrm{rfac0}\;\pi\,\frac{r_{ij} - \mathrm{rmin0}}{R_{ij} - \mathrm{rmin0}},

    with the pair cutoff :math:`R_{ij} = \mathrm{cutoff}\,(R_i + R_j)` and the cutoff function :math:`f_c = \tfrac12
    [1 + \cos(\pi (r - \mathrm{rmin0})/(R_{ij} - \mathrm{rmin0}))]`. The features of atom i are the scalar triple
    products

    .. math:: B_{j_1 j_2 j} = \mathrm{Re} \sum_{m m'} (u^j_{m m'})^*
        \sum C^{jm}_{j_1 m_1 j_2 m_2} C^{jm'}_{j_1 m'_1 j_2 m'_2}\,
        u^{j_1}_{m_1 m'_1} u^{j_2}_{m_2 m'_2},\qquad j_1 \ge j_2,\ j \ge j_1,\ 2j \le \mathrm{twojmax},

    30 of them for twojmax = 6 and 55 for twojmax = 8. Derivatives are with respect to the pair vectors r_ij.

    Parameters
    ----------
    cutoff : float, default=5.0
        LAMMPS' ``rcutfac``: the pair cutoff in units of the sum of two radii. With radii of 0.5 Å it is the cutoff
        in Å.
    twojmax : int, default=6
        Twice the largest angular momentum J, 0 to 14.
    species : sequence of str, default=None
        Chemical symbols, in the order of `radii` and `weights` and of the columns of the design matrix. None: those
        found in `fit`, sorted.
    radii : float, sequence or dict, default=0.5
        Radius R of each species, Å: one number for all, in the order of `species`, or by symbol.
    weights : float, sequence or dict, default=1.0
        Weight w of each species as a neighbor, likewise.
    rfac0 : float, default=0.99363
        Part of the sphere that is used, in (0, 1].
    rmin0 : float, default=0.0
        Distance that is mapped onto the pole, Å; at most half the smallest pair cutoff. Keep it below all distances
        that occur: as LAMMPS' formulas have it, odd U^j change sign there, and the features jump.
    bzeroflag : bool, default=False
        Subtract the components of an isolated atom.
    switchflag : bool, default=True
        Multiply by the cutoff function f_c; without it the features jump as a neighbor leaves.
    wselfallflag : bool, default=False
        With `chemflag`: the central atom stands in the density of every species, not of its own only.
    chemflag : bool, default=False
        Explicit species: one density for each species and components for each triple of species, which come outermost,
        n_species³ times as many features.
    bnormflag : bool, default=False
        Divide each component by 2j + 1.
    switchinnerflag : bool, default=False
        Switch neighbors off as they come nearer than the distance `sinner` ± `dinner`.
    sinner, dinner : float, sequence or dict, default=None
        Center and half width of the inner switching by species, Å; of a pair the means are taken.
    n_jobs : int, default=None
        Threads, as in scikit-learn: None is 1, -1 all processors.

    Attributes
    ----------
    species_ : tuple of str
        Chemical symbols.
    cutoff_ : float
        Largest pair cutoff, Å.
    n_features_out_ : int
        Number of components.

    Notes
    -----
    The sum over neighbors is done in hyperspherical harmonics, :math:`g_{nl}(\psi) Y_{lm}(\hat r)` with n = 2j, which
    span the same space as the matrices U^j and need no recursion over matrices; one constant sparse matrix leads from
    one to the other. The gradient is taken in reverse: the cotangents of the components give
    :math:`Y = \partial E/\partial u`, that leads back to the harmonics, and each neighbor needs one sweep over them.

    References
    ----------
    A. P. Thompson, L. P. Swiler, C. R. Trott, S. M. Foiles, G. J. Tucker, J. Comput. Phys. 285, 316 (2015), eqs. 1-10.
    A. P. Bartók, M. C. Payne, R. Kondor, G. Csányi, Phys. Rev. Lett. 104, 136403 (2010).
    M. A. Cusentino, M. A. Wood, A. P. Thompson, J. Phys. Chem. A 124, 5456 (2020), for `chemflag`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mlfeat import Bispectrum
    >>> features = Bispectrum(cutoff=4.6, twojmax=6).fit_transform([bulk("Mo", cubic=True)])
    >>> features.shape
    (1, 30)
    >>> features[0].values.shape
    (2, 30)
    """

    def __init__(
        self,
        cutoff=5.0,
        twojmax=6,
        *,
        species=None,
        radii=0.5,
        weights=1.0,
        rfac0=0.99363,
        rmin0=0.0,
        bzeroflag=False,
        switchflag=True,
        wselfallflag=False,
        chemflag=False,
        bnormflag=False,
        switchinnerflag=False,
        sinner=None,
        dinner=None,
        n_jobs=None,
    ):
        self.cutoff = cutoff
        self.twojmax = twojmax
        self.species = species
        self.radii = radii
        self.weights = weights
        self.rfac0 = rfac0
        self.rmin0 = rmin0
        self.bzeroflag = bzeroflag
        self.switchflag = switchflag
        self.wselfallflag = wselfallflag
        self.chemflag = chemflag
        self.bnormflag = bnormflag
        self.switchinnerflag = switchinnerflag
        self.sinner = sinner
        self.dinner = dinner
        self.n_jobs = n_jobs

    # ---------------------------------------------------------------- parameters

    def _setup(self):
        for name in FLAGS:
            value = getattr(self, name)
            if not isinstance(value, (bool, np.bool_, Integral)) or value not in (0, 1):
                raise ValueError(f"{name}={value!r}: must be True or False")
        check_number("cutoff", self.cutoff, lambda v: v > 0, "a positive number")
        if not isinstance(self.twojmax, Integral) or isinstance(self.twojmax, bool) or not 0 <= self.twojmax <= TWOJMAX:
            raise ValueError(f"twojmax={self.twojmax!r}: must be an integer from 0 to {TWOJMAX}")
        check_number("rfac0", self.rfac0, lambda v: 0 < v <= 1, "in (0, 1]")
        cutoffs = self._pair_cutoffs()
        limit = 0.5 * cutoffs.min()
        check_number(
            "rmin0", self.rmin0, lambda v: 0 <= v <= limit, f"in [0, {limit:g}], half the smallest pair cutoff"
        )
        self._inner_switching()
        self._per_species("weights")
        self.cutoff_ = float(cutoffs.max())
        self.n_features_out_ = len(components(self.twojmax)) * self._n_channels() ** 3
        self._compiled = None

    def _n_channels(self):
        return len(self.species_) if self.chemflag else 1

    def _per_species(self, name, positive=False):
        """The parameter as an array (n_species,)."""
        value, symbols = getattr(self, name), self.species_
        if isinstance(value, Real):
            values = [value] * len(symbols)
        elif isinstance(value, Mapping):
            missing = [symbol for symbol in symbols if symbol not in value]
            if missing:
                raise ValueError(f"{name}={value!r}: nothing for {', '.join(missing)}; add an entry for each species")
            values = [value[symbol] for symbol in symbols]
        elif value is None or isinstance(value, str) or len(value) != len(symbols):
            raise ValueError(
                f"{name}={value!r}: must be a number, a dict by symbol, or a sequence of {len(symbols)} numbers "
                f"for {', '.join(symbols)}"
            )
        else:
            values = value
        array = np.array(values, dtype=float)
        if not np.isfinite(array).all() or (positive and (array <= 0).any()):
            raise ValueError(f"{name}={value!r}: must be {'positive' if positive else 'finite'} numbers")
        return array

    def _pair_cutoffs(self):
        radii = self._per_species("radii", positive=True)
        return self.cutoff * (radii[:, None] + radii)

    def _inner_switching(self):
        """Center and half width (n_species, n_species, 2); zero where there is none."""
        inner = np.zeros((len(self.species_), len(self.species_), 2))
        if self.switchinnerflag:
            if self.sinner is None or self.dinner is None:
                raise ValueError("switchinnerflag needs sinner and dinner; give both, in Å")
            for k, values in enumerate((self._per_species("sinner"), self._per_species("dinner", positive=True))):
                inner[:, :, k] = 0.5 * (values[:, None] + values)
        return inner

    def _isolated(self, tables):
        """Components of an isolated atom of each species (n_species, n_features), or zeros without `bzeroflag`."""
        shift = np.zeros((len(self.species_), tables.n_features))
        if self.bzeroflag:
            value = np.ones(tables.n_features) if self.bnormflag else tables.feature_top + 1.0
            triples = np.array(list(product(range(tables.n_channels), repeat=3)))
            for s in range(len(self.species_)):
                own = np.ones(len(triples)) if self.wselfallflag or not self.chemflag else (triples == s).all(axis=1)
                shift[s] = value * np.repeat(own, len(tables.triples))
        return shift

    def _compile(self):
        tables = bispectrum_tables(self.twojmax, self._n_channels(), bool(self.bnormflag))
        return kernel("bispectrum").Kernel(
            tables,
            radial_tables(self.twojmax),
            legendre_tables(self.twojmax),
            self._pair_cutoffs(),
            self._per_species("weights"),
            self._inner_switching(),
            self._isolated(tables),
            self.rfac0,
            self.rmin0,
            self.switchflag,
            self.chemflag,
            self.wselfallflag,
        )

    def get_feature_names_out(self, input_features=None):
        """Names such as ``B_4_2_6`` (doubled j1, j2, j), with the triple of species before them if `chemflag`."""
        labels = ["_".join(map(str, triple)) for triple in components(self.twojmax)]
        channels = self.species_ if self.chemflag else ("",)
        prefixes = ["".join(triple) for triple in product(channels, repeat=3)]
        return np.array([f"B{prefix}_{label}" for prefix in prefixes for label in labels], dtype=object)
