"""A readable NumPy twin of the bispectrum components, the oracle of the compiled kernel.

Thompson et al., J. Comput. Phys. 285, 316 (2015), in the conventions of LAMMPS' ``compute sna/atom``; written from the
formulas, without regard to speed. All angular momenta are doubled integers (``j`` here is 2j of the paper), so that a
matrix u_j has shape (j + 1, j + 1) and is indexed [mb, ma].
"""

from dataclasses import dataclass
from functools import cache
from math import factorial, sqrt

import numpy as np


@dataclass(frozen=True)
class Parameters:
    """The parameters of :class:`mlfeat.Bispectrum` by their names, with one value per species in the sequences."""

    cutoff: float
    twojmax: int
    radii: tuple = (0.5,)
    weights: tuple = (1.0,)
    rfac0: float = 0.99363
    rmin0: float = 0.0
    bzeroflag: bool = False
    switchflag: bool = True
    wselfallflag: bool = False
    chemflag: bool = False
    bnormflag: bool = False
    switchinnerflag: bool = False
    sinner: tuple = ()
    dinner: tuple = ()

    @property
    def n_channels(self):
        """Densities of one atom: one for all neighbors, or with `chemflag` one per species of the neighbors."""
        return len(self.radii) if self.chemflag else 1


def components(twojmax):
    """Triplets (j1, j2, j) with j2 <= j1 <= j, in LAMMPS' order."""
    return [
        (j1, j2, j)
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    ]


def brute_force_pairs(atoms, cutoff):
    """Return first, second and r_second - r_first of all pairs within `cutoff` Å, own images included, sorted by first.

    Only the images that the heights of the cell let into the cutoff are tried; none along directions without pbc.
    """
    cell = np.array(atoms.cell)
    reach = [0, 0, 0]
    if atoms.pbc.any():
        inverse = np.linalg.pinv(cell)
        span = np.ptp(atoms.positions @ inverse, axis=0)
        reach = np.where(atoms.pbc, np.ceil(cutoff * np.linalg.norm(inverse, axis=0) + span), 0).astype(int)
    shifts = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = (atoms.positions[None, :] - atoms.positions[:, None])[:, :, None] + shifts @ cell
    distances = np.linalg.norm(vectors, axis=-1)
    near = distances < cutoff
    near[np.arange(len(atoms)), np.arange(len(atoms)), np.flatnonzero(~shifts.any(axis=1))[0]] = False
    first, second, image = np.nonzero(near)
    return first, second, vectors[first, second, image]


# --- The pieces ------------------------------------------------------------------------------------------------------


def outer_switch(r, r_cut, parameters):
    """f_c(r) = [cos(π (r − rmin0)/(R − rmin0)) + 1]/2, 1 below rmin0, 0 beyond the cutoff R (or 1 without switch)."""
    if not parameters.switchflag:
        return np.where(r < r_cut, 1.0, 0.0)
    x = np.clip((r - parameters.rmin0) / (r_cut - parameters.rmin0), 0.0, 1.0)
    return 0.5 * (np.cos(np.pi * x) + 1.0)


def inner_switch(r, s, d):
    """f_in(r) = [1 − cos(π/2 (1 + (r − S)/D))]/2 between S − D and S + D, 0 below, 1 above."""
    x = np.clip(0.5 * (1.0 + (r - s) / d), 0.0, 1.0)
    return 0.5 * (1.0 - np.cos(np.pi * x))


def wigner_matrices(vectors, r_cut, parameters):
    """Wigner matrices u_j of the rotations that the vectors (P, 3) are mapped to: list of (P, j + 1, j + 1).

    The half 2 mb <= j comes from the recursion, the other from u_j[j − mb, j − ma] = (−1)^(ma − mb) conj(u_j[mb, ma]).
    """
    x, y, z = vectors.T
    r = np.linalg.norm(vectors, axis=1)
    theta0 = parameters.rfac0 * np.pi * (r - parameters.rmin0) / (r_cut - parameters.rmin0)
    z0 = r / np.tan(theta0)
    r0 = np.sqrt(r**2 + z0**2)
    a_conj = (z0 + 1j * z) / r0
    b_conj = (y + 1j * x) / r0
    u = [np.ones((len(r), 1, 1), complex)]
    for j in range(1, parameters.twojmax + 1):
        matrix = np.zeros((len(r), j + 1, j + 1), complex)
        for mb in range(j // 2 + 1):
            for ma in range(j):
                matrix[:, mb, ma] += sqrt((j - ma) / (j - mb)) * a_conj * u[j - 1][:, mb, ma]
                matrix[:, mb, ma + 1] -= sqrt((ma + 1) / (j - mb)) * b_conj * u[j - 1][:, mb, ma]
        for mb in range(j // 2 + 1):
            for ma in range(j + 1):
                matrix[:, j - mb, j - ma] = (-1) ** (ma - mb) * matrix[:, mb, ma].conj()
        u.append(matrix)
    return u


@cache
def clebsch_gordan(j1, j2, j):
    """Clebsch-Gordan coefficients <j1 m1 j2 m2 | j m>, indexed [m1, m2, m] from −j up; Racah's formula.

    Varshalovich, Moskalev, Khersonskii, Quantum Theory of Angular Momentum, 8.2.1 (5).
    """
    out = np.zeros((j1 + 1, j2 + 1, j + 1))
    triangle = _fact(j1 + j2 - j) * _fact(j1 - j2 + j) * _fact(-j1 + j2 + j) / factorial((j1 + j2 + j) // 2 + 1)
    for i1 in range(j1 + 1):
        for i2 in range(j2 + 1):
            m1, m2 = 2 * i1 - j1, 2 * i2 - j2
            m = m1 + m2
            if abs(m) > j:
                continue
            product = (j + 1) * triangle * _fact(j + m) * _fact(j - m)
            product *= _fact(j1 + m1) * _fact(j1 - m1) * _fact(j2 + m2) * _fact(j2 - m2)
            out[i1, i2, (m + j) // 2] = sqrt(product) * _racah_sum(j1, m1, j2, m2, j)
    return out


def _racah_sum(j1, m1, j2, m2, j):
    total = 0.0
    for k in range((j1 + j2 - j) // 2 + 1):
        twice = (j1 + j2 - j - 2 * k, j1 - m1 - 2 * k, j2 + m2 - 2 * k, j - j2 + m1 + 2 * k, j - j1 - m2 + 2 * k)
        if min(twice) >= 0:
            total += (-1) ** k / (factorial(k) * np.prod([float(_fact(t)) for t in twice]))
    return total


def _fact(twice):
    """Factorial of a half of an even number."""
    return factorial(twice // 2)


# --- The whole -------------------------------------------------------------------------------------------------------


def pair_cutoffs(species, first, second, parameters):
    """R_ij = cutoff (R_i + R_j) of each pair, Å."""
    radii = np.asarray(parameters.radii, float)[species]
    return parameters.cutoff * (radii[first] + radii[second])


def pair_weights(r, r_cut, species, first, second, parameters):
    """w_j f_c(r) f_in(r) of each pair: zero beyond its cutoff."""
    weights = np.where(r < r_cut, outer_switch(r, r_cut, parameters), 0.0)
    if parameters.switchinnerflag:
        s, d = (np.asarray(value, float)[species] for value in (parameters.sinner, parameters.dinner))
        weights *= inner_switch(r, 0.5 * (s[first] + s[second]), 0.5 * (d[first] + d[second]))
    return weights * np.asarray(parameters.weights, float)[species[second]]


def densities(species, first, second, vectors, parameters):
    """U_tot of each atom and channel: list over j of (N, channels, j + 1, j + 1).

    The atom itself adds the unit matrix: to the channel of its own species, or with `wselfallflag` to all.
    """
    r = np.linalg.norm(vectors, axis=1)
    r_cut = pair_cutoffs(species, first, second, parameters)
    weights = pair_weights(r, r_cut, species, first, second, parameters)
    channel = species if parameters.chemflag else np.zeros_like(species)
    self_weight = np.zeros((len(species), parameters.n_channels))
    self_weight[np.arange(len(species)), channel] = 1.0
    if parameters.wselfallflag:
        self_weight[:] = 1.0
    total = [self_weight[:, :, None, None] * np.eye(j + 1, dtype=complex) for j in range(parameters.twojmax + 1)]
    for u_tot, u in zip(total, wigner_matrices(vectors, r_cut, parameters), strict=True):
        np.add.at(u_tot, (first, channel[second]), weights[:, None, None] * u)
    return total


def bispectrum(species, first, second, vectors, parameters):
    """Bispectrum components (N, F) of atoms with species indices (N,) and pairs first, second (P,), vectors (P, 3).

    Z_j1j2j[mb, ma] = Σ <j1 mb1 j2 mb2|j mb> <j1 ma1 j2 ma2|j ma> u_j1[mb1, ma1] u_j2[mb2, ma2],
    B_j1j2j = Re Σ conj(u_j[mb, ma]) Z_j1j2j[mb, ma]. With `chemflag` u_j1, u_j2, u_j are of channels e1, e2, e3: the
    channels' triplets are outermost.
    """
    species = np.asarray(species)
    u = densities(species, first, second, vectors, parameters)
    channels = parameters.n_channels
    blocks = []
    for j1, j2, j in components(parameters.twojmax):
        cg = clebsch_gordan(j1, j2, j)
        left = np.einsum("abc,niad->nibcd", cg, u[j1], optimize=True)
        z = np.einsum("nibcd,nkbe,def->nikcf", left, u[j2], cg, optimize=True)
        b = np.einsum("nlcf,nikcf->nikl", u[j].conj(), z, optimize=True).real
        b -= _isolated_atom(species, j, parameters)
        blocks.append(b / (j + 1) if parameters.bnormflag else b)
    return np.stack(blocks, axis=-1).reshape(len(species), channels**3 * len(blocks))


def _isolated_atom(species, j, parameters):
    """What `bzeroflag` subtracts: j + 1 where the atom is in all three channels."""
    own = np.ones((len(species), parameters.n_channels))
    if parameters.chemflag and not parameters.wselfallflag:
        own = np.eye(parameters.n_channels)[species]
    own = own if parameters.bzeroflag else 0.0 * own
    return (j + 1) * np.einsum("ni,nk,nl->nikl", own, own, own)


def bispectrum_of(atoms, species, parameters):
    """Bispectrum components (N, F) of `atoms`, whose `species` are the symbols in the order of the parameters."""
    index = np.array([species.index(symbol) for symbol in atoms.get_chemical_symbols()])
    radius = parameters.cutoff * 2 * max(parameters.radii)
    return bispectrum(index, *brute_force_pairs(atoms, radius), parameters)


def quadratic(values):
    """The features followed by the packed upper triangle of their products: ½ B_k² on the diagonal, B_k B_l off it."""
    row, column = np.triu_indices(values.shape[1])
    products = values[:, row] * values[:, column]
    return np.concatenate([values, np.where(row == column, 0.5, 1.0) * products], axis=1)
