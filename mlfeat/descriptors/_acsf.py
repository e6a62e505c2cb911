"""Atom-centered symmetry functions, descriptor of Behler-Parrinello networks."""

import numpy as np

from mlfeat._ext import kernel
from mlfeat._parallel import run_chunks
from mlfeat.descriptors._acsf_functions import feature_names, symmetry_functions
from mlfeat.descriptors._acsf_grids import default_angular, default_radial, grid_functions
from mlfeat.descriptors._acsf_program import make_program
from mlfeat.descriptors._compiled import CompiledDescriptor, check_number

__all__ = ["ACSF"]

CUTOFF_FUNCTIONS = (  # at their n2p2 numbers
    "hard",
    "cosine",
    "tanh",
    "normalized tanh",
    "exponential",
    "poly1",
    "poly2",
    "poly3",
    "poly4",
)


class ACSF(CompiledDescriptor):
    r"""Atom-centered symmetry functions of Behler and Parrinello, as n2p2 and RuNNer define them.

    Features of atom i are sums over its neighbors j of a species (type 2, radial)

    .. math:: G^2_i = \sum_j e^{-\eta (r_{ij} - r_s)^2} f_c(r_{ij})

    and over pairs j < k of neighbors of two species, with the angle :math:`\theta_{ijk}` between them (type 3, narrow
    angular)

    .. math:: G^3_i = 2^{1-\zeta} \sum_{j<k} (1 + \lambda \cos\theta_{ijk})^\zeta\,
        e^{-\eta [(r_{ij} - r_s)^2 + (r_{ik} - r_s)^2 + (r_{jk} - r_s)^2]}
        f_c(r_{ij}) f_c(r_{ik}) f_c(r_{jk}),

    or the same without the two factors of :math:`r_{jk}` (type 9, wide angular). Derivatives are with respect to the
    pair vectors r_ij.

    Parameters
    ----------
    cutoff : float, default=6.0
        Cutoff radius r_c of functions that name none, and the largest, Å.
    radial : list or dict, default=None
        Radial functions, ``(eta, r_s)`` or ``(eta, r_s, cutoff)`` of each, in Å⁻² and Å, for the neighbors of every
        species; or a dict of such lists by species, ``{(center, neighbor): [...]}``, pairs that are not in it having
        none.
        None: 15 functions, η = 1, 4, 16 in units of 1/cutoff², r_s = 0, 0.2, ... 0.8 cutoff.
    angular : list or dict, default=None
        Narrow angular functions, ``(eta, zeta, lambda_)`` of each, that may be followed by r_s (else 0) and the cutoff;
        or a dict ``{(center, neighbor, neighbor): [...]}``, the two neighbors in any order. None: 24 functions,
        η = 1, 4, 16 in units of 1/cutoff², ζ = 1, 2, 4, 16, λ = -1, 1.
    wide : list or dict, default=()
        Wide angular functions, as `angular`.
    cutoff_function : str, default="cosine"
        With x = (r - a r_c)/(r_c - a r_c), a = `inner_cutoff`, and 1 for x < 0 (number of n2p2's ``cutoff_type`` in
        brackets): "hard" (0), 1 up to the cutoff; "cosine" (1), ½(cos πx + 1); "tanh" (2), tanh³(1 - r/r_c);
        "normalized tanh" (3), tanh³(1 - r/r_c)/tanh³(1); "exponential" (4), exp(1 - 1/(1 - x²)); and polynomials of
        which one, two, three, four derivatives vanish at both ends, "poly1" (5), (2x - 3)x² + 1, "poly2" (6),
        ((15 - 6x)x - 10)x³ + 1, "poly3" (7), (x(x(20x - 70) + 84) - 35)x⁴ + 1, "poly4" (8),
        (x(x((315 - 70x)x - 540) + 420) - 126)x⁵ + 1.
    inner_cutoff : float, default=0.0
        Share a of the cutoff up to which the cutoff function is 1, n2p2's alpha; in [0, 1). It has no effect on
        "hard", "tanh" and "normalized tanh".
    species : sequence of str, default=None
        Chemical symbols, in the order of the features. None: those found in `fit`, sorted.
    n_jobs : int, default=None
        Threads, as in scikit-learn: None is 1, -1 all processors.

    Attributes
    ----------
    species_ : tuple of str
        Chemical symbols.
    functions_ : tuple of tuple of SymmetryFunction
        The functions of centers of each species, in the order of their features: radial ones by species of the
        neighbor, narrow ones by species of the two neighbors, wide ones likewise, and in the order of the lists.
    cutoff_ : float
        The cutoff, Å.
    n_features_out_ : int
        Number of features: of the longest tuple of functions. Centers with fewer functions have zeros behind theirs.

    Raises
    ------
    ValueError
        In `fit`, if a parameter is out of its range; it says which and what to do.

    Notes
    -----
    Lengths are in Å. n2p2 has them in bohr, usually: η/bohr⁻² = 0.2800285 η/Å⁻².

    All angular functions of the same neighbors, cutoff, η and r_s are one group, which shares its exponentials and
    cutoff functions; groups of one r_s whose η are multiples of the smallest share one exponential. Powers of
    1 + λ cos θ for whole ζ are products of each other. So sets of that kind are the fastest.

    References
    ----------
    J. Behler, M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007).
    J. Behler, J. Chem. Phys. 134, 074106 (2011).
    A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019), for the cutoff functions.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mlfeat import ACSF
    >>> acsf = ACSF(cutoff=5.2, radial=[(0.04, 0.0), (0.04, 2.0)], angular=[(0.04, 1, -1), (0.04, 1, 1)])
    >>> acsf.fit_transform([bulk("Mo", cubic=True)]).shape
    (1, 4)
    """

    def __init__(
        self,
        cutoff=6.0,
        radial=None,
        angular=None,
        wide=(),
        *,
        cutoff_function="cosine",
        inner_cutoff=0.0,
        species=None,
        n_jobs=None,
    ):
        self.cutoff = cutoff
        self.radial = radial
        self.angular = angular
        self.wide = wide
        self.cutoff_function = cutoff_function
        self.inner_cutoff = inner_cutoff
        self.species = species
        self.n_jobs = n_jobs

    @classmethod
    def from_grid(
        cls, cutoff=6.0, *, rule="gastegger", n_radial=8, n_angular=3, zeta=(1.0, 4.0, 16.0), margin=0.5, **parameters
    ):
        r"""Make a descriptor with lists of functions that a published rule generates.

        Parameters
        ----------
        cutoff : float, default=6.0
            Å.
        rule : {"gastegger", "imbalzano"}, default="gastegger"
            See Notes.
        n_radial, n_angular : int, default=8 and 3
            Number n of points of the radial grid, and number of the η of angular functions; at least 2 for "gastegger"
            and 3 for "imbalzano".
        zeta : sequence of float, default=(1.0, 4.0, 16.0)
            The ζ of angular functions, each with λ = -1 and 1.
        margin : float, default=0.5
            Distance of Gastegger's grid from the atom and from the cutoff, Å.
        **parameters
            Others of the constructor, such as `species` and `wide`.

        Returns
        -------
        ACSF
            With lists `radial` and `angular`, not fitted.

        Raises
        ------
        ValueError
            If `rule` is unknown, or a number is out of its range.

        Notes
        -----
        "gastegger": the grid is equidistant from `margin` to cutoff - `margin`, with the spacing ΔR. Radial functions
        are the shifted ones, :math:`r_s = R_m`, :math:`\eta = 1/2 \Delta R^2`, on a grid of `n_radial` points;
        angular functions are the centered ones, :math:`r_s = 0`, :math:`\eta = 1/2 R_m^2`, on a grid of `n_angular`.

        "imbalzano": radial functions are both the centered ones, :math:`r_s = 0`,
        :math:`\eta_m = (N^{m/N}/r_c)^2` for m = 0 ... N = n - 1, and the shifted ones,
        :math:`r_{s,m} = r_c/n^{m/n}` for m = n ... 1, each with the distance to the next larger one as its width,
        :math:`\eta_m = 1/(r_{s,m-1} - r_{s,m})^2`: 2 n in all. Angular functions are centered.

        References
        ----------
        M. Gastegger, L. Schwiedrzik, M. Bittermann, F. Berzsenyi, P. Marquetand, J. Chem. Phys. 148, 241709 (2018).
        G. Imbalzano, A. Anelli, D. Giofré, S. Klees, J. Behler, M. Ceriotti, J. Chem. Phys. 148, 241730 (2018).
        """
        check_number("cutoff", cutoff, lambda v: v > 0, "a positive number, in Å")
        radial, angular = grid_functions(rule, cutoff, n_radial, n_angular, zeta, margin)
        return cls(cutoff, radial, angular, **parameters)

    @property
    def functions_(self):
        """The symmetry functions of centers of each species, in the order of their features."""
        radial = default_radial(self.cutoff_) if self.radial is None else self.radial
        angular = default_angular(self.cutoff_) if self.angular is None else self.angular
        return symmetry_functions(self.species_, self.cutoff_, radial, angular, self.wide)

    # ---------------------------------------------------------------- parameters

    def _setup(self):
        check_number("cutoff", self.cutoff, lambda v: v > 0, "a positive number, in Å")
        check_number("inner_cutoff", self.inner_cutoff, lambda v: 0 <= v < 1, "a share of the cutoff, in [0, 1)")
        if self.cutoff_function not in CUTOFF_FUNCTIONS:
            names = ", ".join(map(repr, CUTOFF_FUNCTIONS))
            raise ValueError(f"cutoff_function={self.cutoff_function!r}: must be one of {names}")
        self.cutoff_ = float(self.cutoff)
        self.n_features_out_ = max(map(len, self.functions_))
        self._compiled = None

    # ---------------------------------------------------------------- kernel

    def _compile(self):
        return kernel("acsf").Kernel(
            make_program(self.functions_, self.species_),
            CUTOFF_FUNCTIONS.index(self.cutoff_function),
            float(self.inner_cutoff),
            self.n_features_out_,
        )

    def jvp(self, pairs, displacements):
        """Push changes of the pair vectors (n_pairs, 3) forward to the features (n_atoms, n_features)."""
        compiled, arguments = self._kernel(), self._arguments(pairs)
        displacements = np.ascontiguousarray(displacements, dtype=float)
        change = np.empty((pairs.n_atoms, self.n_features_out_))
        run_chunks(lambda a, b: compiled.jvp(*arguments, a, b, displacements, change), pairs.n_atoms, self.n_jobs)
        return change

    def get_feature_names_out(self, input_features=None):
        """Names such as ``G2 Mo eta=0.04 r_s=2``, joined by `` | `` where centers of different species differ."""
        super().get_feature_names_out()
        return np.array(feature_names(self.functions_, self.cutoff_), dtype=object)
