r"""Index tables and coefficients of the bispectrum, for one 2J.

The kernel works in two bases of the functions on the 3-sphere, and these tables hold what joins them.

* *Neighbor density*: :math:`x_{nlm} = \sum_j A(r_j)\, g_{nl}(\psi_j)\, Y_{lm}(\hat r_j)`, with real spherical
  harmonics (:math:`\sum_m Y_{lm}^2 = 2l+1`) and the radial functions of the hyperspherical harmonics,
  :math:`g_{nl} \propto \sin^l\psi\; C^{(l+1)}_{n-l}(\cos\psi)`, orthonormal under :math:`(2/\pi)\sin^2\psi\,d\psi`.
  Here :math:`n = 2j = 0 \dots 2J`.
* *Wigner matrices* :math:`u^j_{m_b m_a}`, in which the Clebsch-Gordan products are sparsest. Both span the same space
  (Varshalovich, Moskalev, Khersonskii, Quantum Theory of Angular Momentum, 4.5), so the sum over neighbors is done
  in the first, where a neighbor takes few operations, and the products in the second.

All angular momenta are doubled, hence integers.
"""

from functools import lru_cache
from itertools import product
from math import comb, factorial, sqrt
from typing import NamedTuple

import numpy as np

from mlfeat.descriptors._harmonics import triangle


@lru_cache(maxsize=None)
def clebsch_gordan(j1, j2, j):
    """Coefficients (j1+1, j2+1), indexed by (m+j)/2; the third projection is the sum of the two.

    Racah's sum is done in integers, so that nothing cancels.
    """
    table = np.zeros((j1 + 1, j2 + 1))
    a, b, c = (j1 + j2 - j) // 2, (j + j1 - j2) // 2, (j + j2 - j1) // 2
    triangle = factorial(a) * factorial(b) * factorial(c) * factorial(a + b + c + 1)
    for i1, i2 in product(range(j1 + 1), range(j2 + 1)):
        i = i1 + i2 - a
        if not 0 <= i <= j:
            continue
        terms = range(max(0, j1 - i1 - b, i2 - c), min(a, j1 - i1, i2) + 1)
        racah = sum((-1) ** k * comb(a, k) * comb(b, j1 - i1 - k) * comb(c, i2 - k) for k in terms)
        shells = (
            factorial(i1) * factorial(j1 - i1) * factorial(i2) * factorial(j2 - i2) * factorial(i) * factorial(j - i)
        )
        table[i1, i2] = racah * sqrt((j + 1) * shells / triangle)
    return table


def components(twojmax):
    """Triples (j1, j2, j) with j1 >= j2 and j >= j1, in LAMMPS' order."""
    return [
        (j1, j2, j)
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    ]


def offsets(sizes):
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.intc)


class Sparse(NamedTuple):
    """A sparse matrix by rows."""

    start: np.ndarray
    column: np.ndarray
    value: np.ndarray

    @classmethod
    def from_dense(cls, dense, shift=0):
        rows, columns = np.nonzero(dense)
        start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))]).astype(np.intc)
        return cls(start, (columns + shift).astype(np.intc), dense[rows, columns])

    @classmethod
    def stack(cls, parts):
        start = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(p.start) for p in parts]))]).astype(np.intc)
        return cls(start, np.concatenate([p.column for p in parts]), np.concatenate([p.value for p in parts]))


def half_of(j):
    """Rows and columns (m_b, m_a) of the independent half of u^j; the rest follows by inversion symmetry."""
    return [(mb, ma) for mb in range(j // 2 + 1) for ma in range(j + 1 if 2 * mb < j else mb + 1)]


def half_weights(j):
    """How often each element of the half stands for elements of the whole."""
    return [1.0 if 2 * mb == j and 2 * ma == j else 2.0 for mb, ma in half_of(j)]


@lru_cache(maxsize=None)
def harmonics_to_wigner(j):
    r"""Matrix from x_{jlm} to u^j, (j+1)^2 complex rows by (j+1)^2 columns.

    .. math:: u^j_{m_b m_a} = \sum_{lm} \frac{(-i)^l (-1)^{j + \max(m_b, m_a)}}{\sqrt{j+1}}
        \langle j\,m_b\; j\,{-m_a} | l\mu \rangle\, \tau_{\mu m}\, x_{jlm}

    with τ = 1 for μ = m = 0, else 1/√2 for the cosine harmonic m = abs(μ) and i·sign(μ)/√2 for the sine one.
    """
    matrix = np.zeros((j + 1, j + 1, (j + 1) ** 2), complex)
    for l in range(j + 1):
        cg = clebsch_gordan(j, j, 2 * l)
        for mb, ma in product(range(j + 1), repeat=2):
            mu, center = mb - ma, l * l + l
            if abs(mu) > l:
                continue
            value = (-1j) ** l * (-1) ** (j + max(mb, ma)) * cg[mb, j - ma] / sqrt(j + 1)
            if mu == 0:
                matrix[mb, ma, center] = value
            else:
                matrix[mb, ma, center + abs(mu)] = value / sqrt(2)
                matrix[mb, ma, center - abs(mu)] = 1j * np.sign(mu) * value / sqrt(2)
    return matrix.reshape((j + 1) ** 2, -1)


def real_rows(matrix):
    """Rows (2k, 2k+1) = (real, imaginary) part of complex row k."""
    return np.stack([matrix.real, matrix.imag], axis=1).reshape(2 * len(matrix), -1)


class Products(NamedTuple):
    """Entries c·u1·u2 of the coupling (ja, jb) -> j, by element of the half of z^j."""

    start: np.ndarray
    first: np.ndarray
    second: np.ndarray
    value: np.ndarray


@lru_cache(maxsize=None)
def coupling(ja, jb, j, symmetric):
    """Products of z^j = (u^ja ⊗ u^jb) projected on j; `symmetric`: both factors are the same matrix."""
    cg, shift = clebsch_gordan(ja, jb, j), (ja + jb - j) // 2
    by_sum = []
    for m in range(j + 1):
        i1 = np.arange(max(0, m + shift - jb), min(ja, m + shift) + 1)
        i2 = m + shift - i1
        keep = cg[i1, i2] != 0
        by_sum.append((i1[keep], i2[keep], cg[i1[keep], i2[keep]]))
    parts = []
    for mb, ma in half_of(j):
        (b1, b2, cb), (a1, a2, ca) = by_sum[mb], by_sum[ma]
        first = np.add.outer(b1 * (ja + 1), a1).ravel()
        second = np.add.outer(b2 * (jb + 1), a2).ravel()
        value = np.multiply.outer(cb, ca).ravel()
        if symmetric:
            value = np.where(first == second, 1.0, 2.0) * value
            keep = first <= second
            first, second, value = first[keep], second[keep], value[keep]
        parts.append((first, second, value))
    start = offsets([len(p[0]) for p in parts])
    return Products(start, *(np.concatenate([p[k] for p in parts]) for k in range(3)))


class Tables(NamedTuple):
    """Everything the kernel reads, as flat arrays (int32 and float64)."""

    twojmax: int
    n_channels: int
    n_features: int
    triples: list  # (j1, j2, j) of each component of one triple of channels
    feature_top: np.ndarray  # 2j of each feature
    to_wigner: Sparse  # rows: 2 x all elements of u; columns: x
    from_wigner: Sparse  # rows: x; columns: 2 x half elements, weighted (the adjoint)
    half_offset: np.ndarray  # by j: first half element
    half_full: np.ndarray  # half element -> element of u
    half_weight: np.ndarray
    product_start: np.ndarray  # by output of a coupling: first product
    product_first: np.ndarray  # element of u, twice its index (real part)
    product_second: np.ndarray
    product_value: np.ndarray
    block: np.ndarray  # by block: j, first output, channel of the first factor, of the second
    sink_start: np.ndarray  # by block: first sink
    sink: np.ndarray  # by sink: feature, channel that receives, slot of the Jacobian
    sink_factor: np.ndarray
    value_block: np.ndarray  # by feature: block and channel whose overlap it is
    value_factor: np.ndarray
    slot_start: np.ndarray  # by feature: first slot
    slot: np.ndarray  # by slot: channel, j, offset in half elements, offset in x


class _Blocks:
    """Couplings that are needed, each once, with the features that they contribute to."""

    def __init__(self):
        self.index = {}
        self.sinks = []

    def add(self, a, b, j):
        """Index of the block coupling a = (j, channel) and b to j."""
        a, b = max(a, b), min(a, b)
        key = (a, b, j)
        if key not in self.index:
            self.index[key] = len(self.index)
            self.sinks.append({})
        return self.index[key]

    def sink(self, a, b, j, feature, channel, factor):
        sinks = self.sinks[self.add(a, b, j)]
        sinks[feature, channel] = sinks.get((feature, channel), 0.0) + factor


@lru_cache(maxsize=16)
def bispectrum_tables(twojmax, n_channels=1, normalized=False):
    r"""Tables for the components B^{abc}_{j1 j2 j} = Re Σ conj(u^{c,j}) z^{ab,j}_{j1 j2}, channels outermost.

    The derivative with respect to each of the three factors is a coupling of the other two,

    .. math:: \partial B_{j_1j_2j} = \bar z^{j}_{j_1j_2}\cdot\partial u^j
        + \frac{j+1}{j_1+1}\bar z^{j_1}_{j\,j_2}\cdot\partial u^{j_1}
        + \frac{j+1}{j_2+1}\bar z^{j_2}_{j\,j_1}\cdot\partial u^{j_2}

    (doubled momenta); couplings that occur several times are done once, with the factors added. `normalized` divides
    each component by 2j+1.
    """
    triples = components(twojmax)
    levels = range(twojmax + 1)
    full = offsets([(j + 1) ** 2 for j in levels])
    half = offsets([len(half_of(j)) for j in levels])

    blocks = _Blocks()
    value_block, value_factor, feature_top = [], [], []
    features = product(product(range(n_channels), repeat=3), triples)
    for feature, ((a, b, c), (j1, j2, j)) in enumerate(features):
        scale = 1.0 / (j + 1) if normalized else 1.0
        value_block.append((blocks.add((j1, a), (j2, b), j), c))
        value_factor.append(scale)
        feature_top.append(j)
        blocks.sink((j1, a), (j2, b), j, feature, c, scale)
        blocks.sink((j, c), (j2, b), j1, feature, a, scale * (j + 1) / (j1 + 1))
        blocks.sink((j, c), (j1, a), j2, feature, b, scale * (j + 1) / (j2 + 1))

    couplings, first_output = {}, 0
    for a, b, j in blocks.index:
        kind = (a[0], b[0], j, a == b)
        if kind not in couplings:
            couplings[kind] = first_output
            first_output += len(half_of(j))
    parts = [(coupling(*kind), full[kind[0]], full[kind[1]]) for kind in couplings]

    receivers = sorted({(f, e, key[2]) for key, k in blocks.index.items() for f, e in blocks.sinks[k]})
    slot_of, slots, half_size, x_size = {}, [], 0, 0
    for f, e, j in receivers:
        slot_of[f, e, j] = len(slots)
        slots.append((e, j, half_size, x_size))
        half_size += len(half_of(j))
        x_size += (j + 1) ** 2
    sinks = [(f, e, slot_of[f, e, key[2]]) for key, k in blocks.index.items() for f, e in blocks.sinks[k]]

    adjoint = [
        np.array(np.repeat(half_weights(j), 2))[:, None]
        * real_rows(harmonics_to_wigner(j)[[mb * (j + 1) + ma for mb, ma in half_of(j)]])
        for j in levels
    ]
    return Tables(
        twojmax=twojmax,
        n_channels=n_channels,
        n_features=len(feature_top),
        triples=triples,
        feature_top=np.array(feature_top, np.intc),
        to_wigner=Sparse.stack([Sparse.from_dense(real_rows(harmonics_to_wigner(j)), full[j]) for j in levels]),
        from_wigner=Sparse.stack([Sparse.from_dense(m.T, 2 * half[j]) for j, m in zip(levels, adjoint, strict=True)]),
        half_offset=half,
        half_full=np.array([full[j] + mb * (j + 1) + ma for j in levels for mb, ma in half_of(j)], np.intc),
        half_weight=np.array([w for j in levels for w in half_weights(j)]),
        product_start=offsets(np.concatenate([np.diff(p.start) for p, _, _ in parts])),
        product_first=np.concatenate([2 * (p.first + s) for p, s, _ in parts]).astype(np.intc),
        product_second=np.concatenate([2 * (p.second + s) for p, _, s in parts]).astype(np.intc),
        product_value=np.concatenate([p.value for p, _, _ in parts]),
        block=np.array([(j, couplings[a[0], b[0], j, a == b], a[1], b[1]) for a, b, j in blocks.index], np.intc),
        sink_start=offsets([len(s) for s in blocks.sinks]),
        sink=np.array(sinks, np.intc),
        sink_factor=np.array([v for s in blocks.sinks for v in s.values()]),
        value_block=np.array(value_block, np.intc),
        value_factor=np.array(value_factor),
        slot_start=offsets(np.bincount([f for f, _, _ in receivers], minlength=len(feature_top))),
        slot=np.array(slots, np.intc),
    )


class Radial(NamedTuple):
    """Coefficients of the recurrences of the radial functions, up to 2J, in triangular order n(n+1)/2 + l."""

    up: np.ndarray  # 1/a_nl, then a_{n-1,l}/a_nl; on l = n the ratio of g_ll to sin(psi) g_{l-1,l-1}
    back: np.ndarray
    slope_down: np.ndarray  # d g_nl / d psi = slope_down g_{n,l-1} - slope_up g_{n,l+1}
    slope_up: np.ndarray


@lru_cache(maxsize=16)
def radial_tables(twojmax):
    """Recurrence coefficients up to `twojmax`."""

    def overlap(n, l):  # <cos psi g_{n-1,l} | g_{n,l}>
        return 0.5 * sqrt((n - l) * (n + l + 1) / (n * (n + 1)))

    def up(n, l):
        return 1 / overlap(n, l) if l < n else sqrt((2 * l + 2) / (2 * l + 1)) if l else 1.0

    def back(n, l):
        return overlap(n - 1, l) if l < n - 1 else 0.0

    def slope_down(n, l):
        return l * sqrt((n + 1) ** 2 - l * l) / (2 * l + 1)

    def slope_up(n, l):
        return (l + 1) * sqrt((n + 1) ** 2 - (l + 1) ** 2) / (2 * l + 1)

    return Radial(*(triangle(function, twojmax) for function in (up, back, slope_down, slope_up)))
