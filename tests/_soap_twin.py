"""A readable NumPy twin of the SOAP power spectrum, the oracle of the compiled kernel.

Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), in the conventions of QUIP's ``soap`` and, for the basis "gto",
of DScribe; written from the formulas, without regard to speed. Integrals over r are done by quadrature.
"""

from dataclasses import dataclass
from functools import cache
from math import inf

import numpy as np
from _bispectrum_twin import brute_force_pairs
from scipy.special import gamma, ive, sph_harm_y


@dataclass(frozen=True)
class Parameters:
    """The parameters of :class:`mlfeat.SOAP` by their names."""

    cutoff: float = 5.0
    n_max: int = 8
    l_max: int = 8
    sigma: float = 0.5
    cutoff_transition_width: float = 0.5
    central_weight: float = 1.0
    normalize: bool = True
    covariance_sigma0: float = 0.0
    radial_basis: str = "equispaced_gauss"
    compression: str | None = None
    n_channels: int | None = None
    random_state: int = 0

    @property
    def eta(self):
        """Exponent of the neighbors' Gaussians, Å⁻²."""
        return 0.5 / self.sigma**2

    @property
    def reach(self):
        """Distance up to which neighbors count, Å: DScribe's is where the Gaussian at the cutoff has fallen to 1e-3."""
        if self.radial_basis == "gto" and self.cutoff_transition_width == 0:
            return self.cutoff + self.sigma * np.sqrt(-2 * np.log(1e-3))
        return self.cutoff


# --- The pieces ------------------------------------------------------------------------------------------------------


def cutoff_function(r, parameters):
    """1, then [1 + cos(π (r − r_c + w)/w)]/2 over the last w before the cutoff r_c; 1 everywhere if w is 0."""
    width = parameters.cutoff_transition_width
    if width == 0:
        return np.ones_like(r)
    x = np.clip((r - parameters.cutoff + width) / width, 0.0, 1.0)
    return 0.5 * (1.0 + np.cos(np.pi * x))


def scaled_bessel(order, x):
    """exp(−x) i_l(x), i_l the modified spherical Bessel function of the first kind."""
    x = np.maximum(x, 1e-150)
    return np.sqrt(np.pi / (2 * x)) * ive(order + 0.5, x)


legendre = cache(np.polynomial.legendre.leggauss)


def quadrature(stop, n_points=250):
    """Points and weights of Gauss and Legendre from 0 to `stop`."""
    x, w = legendre(n_points)
    return stop * (x + 1) / 2, stop * w / 2


def radial_functions(r, parameters):
    """f_nl(r) of distances (P,): (P, n_max, l_max + 1)."""
    parts = {"equispaced_gauss": equispaced_gauss, "gto": gto}[parameters.radial_basis]
    return np.stack([parts(r, order, parameters) for order in range(parameters.l_max + 1)], axis=-1)


def equispaced_gauss(r, order, parameters):
    """QUIP's: the Gaussian of the neighbor, known at the centers of the basis, in the orthonormalized basis.

    With S = L Lᵀ the orthonormal functions are e = L⁻¹ g, so that Σ_a w_a g_a = Σ_n (Lᵀ w)_n e_n.
    """
    eta = parameters.eta
    stop = parameters.cutoff + parameters.sigma * np.sqrt(2 * np.log(1e10))
    centers = stop * np.arange(parameters.n_max) / parameters.n_max

    def basis(x):
        return np.exp(-eta * (x[:, None] - centers) ** 2)

    x, w = quadrature(stop + 9 * parameters.sigma)
    overlap = np.einsum("x,xa,xb->ab", w * x**2, basis(x), basis(x))
    values = np.exp(-eta * (r[:, None] - centers) ** 2) * scaled_bessel(order, 2 * eta * r[:, None] * centers)
    weights = np.linalg.solve(basis(centers), values.T)
    return (np.linalg.cholesky(overlap).T @ weights).T


def gto_basis(x, order, parameters):
    """DScribe's orthonormal functions g_n(x): r^l exp(−α_n r²), fallen to 1e-3 at r_n, times S^(−1/2)."""
    fallen = np.linspace(1.0, parameters.cutoff, parameters.n_max)
    alpha = -np.log(1e-3 / fallen**order) / fallen**2
    overlap = gamma(order + 1.5) / 2 * (alpha[:, None] + alpha) ** -(order + 1.5)
    values, vectors = np.linalg.eigh(overlap)
    primitive = x[:, None] ** order * np.exp(-alpha * x[:, None] ** 2)
    return primitive @ (vectors / np.sqrt(values)) @ vectors.T


def gto(r, order, parameters):
    """Projection of the neighbor's Gaussian, 4π ∫ g_n(x) exp(−η(x² + r²)) i_l(2ηxr) x² dx, times √(π √8)."""
    eta = parameters.eta
    x, w = quadrature(r.max(initial=0.0) + 9 * parameters.sigma)
    gauss = np.exp(-eta * (x - r[:, None]) ** 2) * scaled_bessel(order, 2 * eta * x * r[:, None])
    return np.sqrt(np.pi * np.sqrt(8)) * 4 * np.pi * (gauss * w * x**2) @ gto_basis(x, order, parameters)


def harmonics(vectors, l_max):
    """Real orthonormal harmonics of the directions of vectors (P, 3): (P, l_max + 1, 2 l_max + 1), m = −m is at −m."""
    x, y, z = vectors.T
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    out = np.zeros((len(vectors), l_max + 1, 2 * l_max + 1))
    for order in range(l_max + 1):
        out[:, order, 0] = sph_harm_y(order, 0, theta, phi).real
        for m in range(1, order + 1):
            complex_one = np.sqrt(2) * sph_harm_y(order, m, theta, phi)
            out[:, order, m], out[:, order, -m] = complex_one.real, complex_one.imag
    return out


# --- The whole -------------------------------------------------------------------------------------------------------


def densities(species, n_species, first, second, vectors, parameters):
    """Coefficients c of atoms with species indices (N,): (N, S, n_max, l_max + 1, 2 l_max + 1)."""
    r = np.linalg.norm(vectors, axis=1)
    n_m = 2 * parameters.l_max + 1
    c = np.zeros((len(species), n_species, parameters.n_max, parameters.l_max + 1, n_m))
    terms = np.einsum(
        "p,pnl,plm->pnlm",
        cutoff_function(r, parameters),
        radial_functions(r, parameters),
        harmonics(vectors, parameters.l_max),
    )
    np.add.at(c, (first, species[second]), terms)
    center = radial_functions(np.zeros(1), parameters)[0, :, 0] / np.sqrt(4 * np.pi)
    c[np.arange(len(species)), species, :, 0, 0] += parameters.central_weight * center
    return c


def spectrum(left, right, symmetric):
    """Σ_m left_klm right_k'lm / √(2l + 1) of (N, K, L, M) and (N, K', L, M), l fastest.

    Of all k, k'; or, if `symmetric`, with k ≥ k' and √2 for k ≠ k'.
    """
    product = np.einsum("iklm,iqlm->ikql", left, right) / np.sqrt(2 * np.arange(left.shape[2]) + 1)
    if symmetric:
        k, q = np.tril_indices(left.shape[1])
        product = product[:, k, q] * np.where(k == q, 1.0, np.sqrt(2))[:, None]
    return product.reshape(len(left), -1)


def power_spectrum(c, parameters):
    """The components without normalization and constant, from coefficients (N, S, n, L, M)."""
    every = c.reshape(len(c), -1, *c.shape[3:])
    total = c.sum(axis=1)
    if parameters.compression == "mu1nu1":
        return spectrum(every, total, symmetric=False)
    if parameters.compression == "mu2":
        return spectrum(total, total, symmetric=True)
    if parameters.compression == "random":
        shape = every.shape[1], parameters.n_channels or parameters.n_max
        channels = []  # by Gram and Schmidt
        for column in np.random.RandomState(parameters.random_state).standard_normal(shape).T:
            column = column - sum((other * (other @ column) for other in channels), start=np.zeros(shape[0]))
            channels.append(column / np.linalg.norm(column))
        mixed = np.einsum("iklm,qk->iqlm", every, channels)
        return spectrum(mixed, mixed, symmetric=True)
    return spectrum(every, every, symmetric=True)


def soap(species, n_species, first, second, vectors, parameters):
    """Features (N, F) of atoms with species indices (N,) and pairs first, second (P,), vectors (P, 3)."""
    c = densities(np.asarray(species), n_species, first, second, vectors, parameters)
    p = power_spectrum(c, parameters)
    if parameters.normalize:
        length = np.linalg.norm(p, axis=1, keepdims=True)
        p /= np.where(length > 0, length, 1.0)
    return np.column_stack([p, np.full(len(p), parameters.covariance_sigma0)])


def soap_of(atoms, species, parameters):
    """Features (N, F) of `atoms`; `species` are the symbols in the order of the features."""
    index = np.array([species.index(symbol) for symbol in atoms.get_chemical_symbols()])
    pairs = brute_force_pairs(atoms, np.nextafter(parameters.reach, inf))
    return soap(index, len(species), *pairs, parameters)
