"""Contractions of moment tensors, descriptor of moment tensor potentials."""

import warnings
from numbers import Integral

import numpy as np

from mlfeat._ext import kernel
from mlfeat._parallel import run_chunks
from mlfeat.descriptors._compiled import CompiledDescriptor, check_number
from mlfeat.descriptors._moment_basis import MomentBasis, moment_basis
from mlfeat.descriptors._moment_program import make_program
from mlfeat.neighbors import NeighborPairs

__all__ = ["MomentTensor"]

MOST_POLYNOMIALS = 64


class MomentTensor(CompiledDescriptor):
    r"""Contractions of moment tensors, the basis functions of moment tensor potentials (MTP), as MLIP defines them.

    Moments of the environment of atom i are tensors of rank ν,

    .. math:: M_{\mu\nu}(i) = \sum_j f_\mu(r_{ij}, z_i, z_j)\, \hat r_{ij} \otimes \dots \otimes \hat r_{ij}, \qquad
        f_\mu(r, z_i, z_j) = s \sum_k c_{z_i z_j \mu k}\, T_k(\xi)\, (R - r)^2, \qquad
        \xi = \frac{2r - (r_{min} + R)}{R - r_{min}},

    with Chebyshev polynomials :math:`T_k`, the cutoff R, and :math:`\mathrm{level}(M_{\mu\nu}) = 2 + 4\mu + \nu`. The
    features are all contractions of products of moments to scalars whose level, the sum of those of the moments, is at
    most `level`. Derivatives are with respect to the pair vectors r_ij; `radial_gradient` and `radial_jacobian` give
    those with respect to the coefficients c.

    Parameters
    ----------
    cutoff : float, default=5.0
        R, Å; max_dist of MLIP.
    level : int, default=16
        Highest level, even, from 2 to 28: 9, 92, 288, 864 features for 8, 16, 20, 24.
    min_dist : float, default=None
        r_min, Å. None: the shortest distance in the structures of `fit`. Below it the polynomials go on, and rise fast.
    n_polynomials : int, default=8
        Number of polynomials k of each radial function, MLIP's radial_basis_size.
    radial_coefficients : array of shape (n_species, n_species, n_radial, n_polynomials), default=None
        The c, by species of center and neighbor, in the order of `species_`. None: the polynomials themselves,
        c = 1 for k = (μ + t) mod n_polynomials and neighbors of species number t, so that these are told apart.
        A :class:`mlfeat.MomentTensorPotential` learns them.
    scaling : float, default=1.0
        s.
    basis : MomentBasis or sequence of three int arrays, default=None
        Tables of moments, products and scalars instead of those that belong to `level`, as files have them; `level` has
        then no effect.
    species : sequence of str, default=None
        Chemical symbols. None: those found in `fit`, sorted.
    n_jobs : int, default=None
        Threads, as in scikit-learn: None is 1, -1 all processors.

    Attributes
    ----------
    species_ : tuple of str
        Chemical symbols.
    cutoff_ : float
        The cutoff, Å.
    min_dist_ : float
        r_min, Å.
    radial_coefficients_ : array of shape (n_species, n_species, n_radial, n_polynomials)
        The c.
    basis_ : MomentBasis
        The tables.
    n_features_out_ : int
        Number of features.

    Raises
    ------
    ValueError
        In `fit`, if a parameter is out of its range; it says which and what to do.

    Warns
    -----
    UserWarning
        In `fit`, if structures have distances below `min_dist`, or none within the cutoff.

    Notes
    -----
    A moment of degree ν has (ν + 1)(ν + 2)/2 components, of which the kernel sums 2ν + 1 over the neighbors: the others
    follow, since :math:`\hat r_{ij}` has the length one. The contractions share their parts; they are evaluated as a
    graph, and their derivatives by the graph in reverse. ``basis_.cost()`` counts its operations.

    References
    ----------
    A. V. Shapeev, Multiscale Model. Simul. 14, 1153 (2016).
    K. Gubaev, E. V. Podryabinkin, G. L. W. Hart, A. V. Shapeev, Comput. Mater. Sci. 156, 148 (2019).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mlfeat import MomentTensor
    >>> MomentTensor(cutoff=5.2, level=16).fit_transform([bulk("Mo", cubic=True)]).shape
    (1, 92)
    """

    _state = (*CompiledDescriptor._state, "min_dist_", "radial_coefficients_")

    def __init__(
        self,
        cutoff=5.0,
        level=16,
        *,
        min_dist=None,
        n_polynomials=8,
        radial_coefficients=None,
        scaling=1.0,
        basis=None,
        species=None,
        n_jobs=None,
    ):
        self.cutoff = cutoff
        self.level = level
        self.min_dist = min_dist
        self.n_polynomials = n_polynomials
        self.radial_coefficients = radial_coefficients
        self.scaling = scaling
        self.basis = basis
        self.species = species
        self.n_jobs = n_jobs

    # ---------------------------------------------------------------- parameters

    @property
    def basis_(self):
        """Tables of moments, products and scalars."""
        return moment_basis(self.level) if self.basis is None else as_basis(self.basis)

    def _setup(self):
        check_number("cutoff", self.cutoff, lambda v: v > 0, "a positive number, in Å")
        if self.min_dist is not None:
            expected = f"a distance in Å below the cutoff {self.cutoff:g}, or None for the shortest in the data"
            check_number("min_dist", self.min_dist, lambda v: 0 <= v < self.cutoff, expected)
        check_number("scaling", self.scaling, lambda v: v != 0, "a number other than zero")
        n = self.n_polynomials
        if not isinstance(n, Integral) or isinstance(n, bool) or not 1 <= n <= MOST_POLYNOMIALS:
            raise ValueError(f"n_polynomials={n!r}: must be a whole number from 1 to {MOST_POLYNOMIALS}")
        basis = self.basis_
        self.radial_coefficients_ = self._radial_coefficients(basis.n_radial)
        self.cutoff_ = float(self.cutoff)
        self.n_features_out_ = len(basis.scalars)
        self._compiled = None

    def _radial_coefficients(self, n_radial):
        n_species, n = len(self.species_), self.n_polynomials
        if self.radial_coefficients is None:
            if n < n_radial:
                whole = f"level {self.level}" if self.basis is None else "the basis"
                raise ValueError(
                    f"n_polynomials={n}: {whole} has {n_radial} radial functions, without radial_coefficients the "
                    f"polynomials themselves; set n_polynomials={n_radial} or more, also before a "
                    "MomentTensorPotential, which learns others"
                )
            mu, t = np.arange(n_radial)[:, None], np.arange(n_species)[:, None, None]
            shifted = (mu + t) % n == np.arange(n)
            return np.broadcast_to(shifted.astype(float), (n_species, n_species, n_radial, n)).copy()
        found = np.array(self.radial_coefficients, dtype=float, order="C")
        shape = n_species, n_species, n_radial, n
        if found.shape != shape or not np.isfinite(found).all():
            raise ValueError(
                f"radial_coefficients have the shape {found.shape}: must be finite and {shape}, "
                "(n_species, n_species, n_radial, n_polynomials)"
            )
        return found

    def _learn(self, structures):
        found = [NeighborPairs.from_atoms(atoms, self.cutoff_, index=k) for k, atoms in enumerate(structures)]
        shortest = np.array([np.min(np.linalg.norm(pairs.vectors, axis=1), initial=np.inf) for pairs in found])
        least = float(shortest.min())
        if not least < 0.999 * self.cutoff_ and any(len(atoms) > 1 or atoms.pbc.any() for atoms in structures):
            warnings.warn(
                f"no atom of any structure has a neighbor well within cutoff={self.cutoff:g} Å: features are zero; "
                "raise cutoff above the distances of neighbors, and see that positions and cells are in Å",
                stacklevel=3,
            )
        if self.min_dist is None:
            self.min_dist_ = least if least < 0.999 * self.cutoff_ else 0.5 * self.cutoff_
            return
        self.min_dist_ = float(self.min_dist)
        if least < self.min_dist_ - 1e-9:
            worst, n_below = int(shortest.argmin()), np.count_nonzero(shortest < self.min_dist_ - 1e-9)
            warnings.warn(
                f"structure {worst} has a distance of {least:.4g} Å, below min_dist={self.min_dist:g}; "
                f"{n_below} of {len(structures)} structures have such: the radial functions are polynomials that "
                "rise fast there; lower min_dist, or leave it to fit with min_dist=None",
                stacklevel=3,
            )

    def with_radial(self, radial_coefficients, *, scaling=None, basis=None):
        """Give this fitted descriptor other radial functions.

        Parameters
        ----------
        radial_coefficients : array of shape (n_species, n_species, n_radial, n_polynomials)
            The c.
        scaling : float, default=None
            The s; None: as it is.
        basis : MomentBasis or sequence of three int arrays, default=None
            Tables; None: those that there are.

        Returns
        -------
        MomentTensor
            A fitted one with the same cutoff, minimal distance and species.
        """
        self._check_unchanged()
        twin = self._frozen()
        twin.radial_coefficients = np.array(radial_coefficients, dtype=float)
        twin.n_polynomials = twin.radial_coefficients.shape[-1]
        twin.scaling = self.scaling if scaling is None else float(scaling)
        twin.basis = self.basis if basis is None else basis
        twin.__dict__.pop("_fitted_parameters")
        twin._setup()
        twin._check_unchanged()
        return twin

    # ---------------------------------------------------------------- kernel

    def _compile(self):
        return kernel("moment_tensor").Kernel(
            make_program(self.basis_),
            self.radial_coefficients_ * self.scaling,
            float(self.scaling),
            self.min_dist_,
            self.cutoff_,
        )

    def jvp(self, pairs, displacements):
        """Push changes of the pair vectors (n_pairs, 3) forward to the features (n_atoms, n_features)."""
        compiled, arguments = self._kernel(), self._arguments(pairs)
        displacements = np.ascontiguousarray(displacements, dtype=float)
        change = np.empty((pairs.n_atoms, self.n_features_out_))
        run_chunks(lambda a, b: compiled.jvp(*arguments, a, b, displacements, change), pairs.n_atoms, self.n_jobs)
        return change

    def linear(self, pairs, coef):
        """Evaluate a linear function of the features and derive it, in one sweep forward and one back.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.
        coef : array of shape (n_species, n_features)
            Coefficients, by species of the center.

        Returns
        -------
        energies : array of shape (n_atoms,)
            coef[s_i] · B_i.
        gradients : array of shape (n_pairs, 3)
            Their derivatives by r_ij.
        """
        compiled, arguments = self._kernel(), self._arguments(pairs)
        coef = np.ascontiguousarray(coef, dtype=float)
        energies, gradients = np.empty(pairs.n_atoms), np.empty((pairs.n_pairs, 3))
        run_chunks(
            lambda a, b: compiled.linear(*arguments, a, b, coef, energies, gradients), pairs.n_atoms, self.n_jobs
        )
        return energies, gradients

    def radial_gradient(self, pairs, cotangents, displacements=None, energy_factor=1.0):
        r"""Derive features, and their changes along displacements, with respect to the radial coefficients.

        With e the factor and :math:`D_u B_i = \sum_j u_{ij} \cdot \partial B_i / \partial r_{ij}`, it takes one forward
        and one reverse sweep to give

        .. math:: b_i = e B_i + D_u B_i \quad\text{and}\quad a_i \cdot \frac{\partial b_i}{\partial c_{z_i z \mu k}}.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.
        cotangents : array of shape (n_atoms, n_features)
            The a.
        displacements : array of shape (n_pairs, 3), default=None
            The u; None: zero.
        energy_factor : float, default=1.0
            The e.

        Returns
        -------
        features : array of shape (n_atoms, n_features)
            The b.
        radial : array of shape (n_atoms, n_species * n_radial * n_polynomials)
            Derivatives, by species z of the neighbor, μ, k.
        """
        compiled, arguments = self._kernel(), self._arguments(pairs)
        cotangents = np.ascontiguousarray(cotangents, dtype=float)
        u = np.zeros((pairs.n_pairs, 3)) if displacements is None else np.ascontiguousarray(displacements, dtype=float)
        features = np.empty((pairs.n_atoms, self.n_features_out_))
        radial = np.empty((pairs.n_atoms, self.radial_coefficients_[0].size))

        def work(start, stop):
            compiled.radial_gradient(*arguments, start, stop, u, cotangents, energy_factor, features, radial)

        run_chunks(work, pairs.n_atoms, self.n_jobs)
        return features, radial

    def radial_jacobian(self, pairs, cotangents, start=0, stop=None):
        r"""Derive pair gradients of some centers with respect to the radial coefficients.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure.
        cotangents : array of shape (n_atoms, n_features)
            The a.
        start, stop : int
            The centers ``start:stop``; all of them by default.

        Returns
        -------
        array of shape (n_block_pairs, 3, n_species * n_radial * n_polynomials)
            :math:`\partial (a_i \cdot \partial B_i/\partial r_{ij}) / \partial c_{z_i z \mu k}`, by species z of the
            neighbor, μ, k.
        """
        stop = pairs.n_atoms if stop is None else stop
        compiled, arguments = self._kernel(), self._arguments(pairs)
        cotangents = np.ascontiguousarray(cotangents, dtype=float)
        base = pairs.offsets[start]
        out = np.empty((pairs.offsets[stop] - base, 3, self.radial_coefficients_[0].size))

        def work(a, b):
            own = out[pairs.offsets[start + a] - base :]
            compiled.radial_jacobian(*arguments, start + a, start + b, cotangents, own)

        run_chunks(work, stop - start, self.n_jobs)
        return out

    def get_feature_names_out(self, input_features=None):
        """Names of the contractions, see `MomentBasis.names`."""
        super().get_feature_names_out()
        return np.array(self.basis_.names(), dtype=object)


def as_basis(tables):
    """Make a checked MomentBasis of one, or of the three arrays of one.

    Parameters
    ----------
    tables : sequence of three int arrays
        Moments, products and scalars.

    Returns
    -------
    MomentBasis
        With contiguous arrays of ints.
    """
    try:
        arrays = [np.ascontiguousarray(table, dtype=np.intc) for table in tables]
        basis = MomentBasis(*arrays)
    except (TypeError, ValueError) as error:
        raise ValueError("basis: must be a MomentBasis, or its three int arrays: moments, products, scalars") from error
    basis.check()
    return basis
