r"""Radial functions of SOAP: what a neighbor at the distance r adds to the coefficients of the density.

A neighbor is the Gaussian :math:`\exp(-\eta|\mathbf x - \mathbf r|^2)`, :math:`\eta = 1/2\sigma^2`, of the density.
Expanded in an orthonormal radial basis and real spherical harmonics it has the coefficients
:math:`f_{nl}(r)\, Y_{lm}(\hat r)`. Two bases are known here.

* ``equispaced_gauss``, that of QUIP: the Gaussians :math:`g_a(r) = \exp(-\eta(r - r_a)^2)` at
  :math:`r_a = a R/n_\mathrm{max}`, a = 0 … n_max − 1. R is where a Gaussian at the cutoff has fallen to 1e-10,
  :math:`R = r_\mathrm{cut} + \sigma\sqrt{20\ln 10}`. With scaled modified spherical Bessel functions
  :math:`\tilde\imath_l(x) = e^{-x} i_l(x)`, the neighbor's part of angular momentum l at r_a is

  .. math:: y_{al}(r) = e^{-\eta(r - r_a)^2}\, \tilde\imath_l(2\eta r r_a)

  (the factor 4π is left out). The combination of Gaussians that has these values at all r_a is orthonormalized:
  :math:`f_l = L^T C^{-1} y_l` with :math:`C_{ab} = e^{-\eta(r_a - r_b)^2}` and the Cholesky factor L of the overlap
  :math:`S_{ab} = \int_0^\infty g_a g_b r^2 dr = L L^T`.
* ``gto``, that of DScribe: :math:`r^l e^{-\alpha_{nl} r^2}`, which has fallen to 1e-3 at r_n, equispaced from 1 Å to
  the cutoff, orthonormalized by Löwdin's :math:`S^{-1/2}`. Before that, the projection of the neighbor is

  .. math:: y_{nl}(r) = \pi^{3/2} \frac{(\eta r)^l}{(\alpha_{nl} + \eta)^{l+3/2}}
      \exp\Big(-\frac{\alpha_{nl}\eta}{\alpha_{nl} + \eta} r^2\Big),

  times :math:`(8\pi^2)^{1/4}`, by which products of two have DScribe's prefactor :math:`\pi\sqrt 8`.

References
----------
A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87, 184115 (2013), eqs. 21-25, for the density.
L. Himanen et al., Comput. Phys. Commun. 247, 106949 (2020), section 2.2.4, for `gto`.
"""

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from scipy.special import erf, gamma, ive

__all__ = ["exact", "interpolate", "padded_cutoff", "radial_spline"]

PADDING = 8  # n_max is rounded up to a multiple of it, so that rows fill vector registers
ROUNDING = 1e-10  # what is let pass of it, in units of the largest value: gto with n_max = 12 has about 1e-11


def padded_cutoff(cutoff, sigma):
    """Distance up to which DScribe counts neighbors, Å: there the Gaussian has fallen to 1e-3 at the cutoff."""
    return cutoff + sigma * np.sqrt(-2 * np.log(1e-3))


def exact(basis, n_max, l_max, cutoff, sigma):
    """Make the radial functions of a basis.

    Parameters
    ----------
    basis : {"equispaced_gauss", "gto"}
        See the module's text.
    n_max : int
        Number of radial functions.
    l_max : int
        Largest angular momentum.
    cutoff : float
        Cutoff r_cut, Å; the cutoff function is not part of the radial functions.
    sigma : float
        Width of the neighbors' Gaussians, Å.

    Returns
    -------
    callable
        From distances (P,), Å, to f_nl, f_nl' and f_nl'', each (P, l_max + 1, n_max).

    Raises
    ------
    ValueError
        If the basis is unknown, or its functions are linearly dependent in double precision.
    """
    if basis not in BASES:
        raise ValueError(f"radial_basis={basis!r}: must be one of {', '.join(map(repr, BASES))}")
    try:
        primitives, mix = BASES[basis](n_max, l_max, cutoff, sigma)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"n_max={n_max}: the {basis!r} functions are linearly dependent in double precision at cutoff={cutoff}, "
            f"sigma={sigma}: take a smaller n_max or sigma"
        ) from None

    def functions(r):
        r = np.asarray(r, dtype=float)[:, None, None]
        return tuple(np.einsum("pla,lan->pln", part, mix) for part in primitives(r))

    return functions


@lru_cache(maxsize=64)
def radial_spline(basis, n_max, l_max, cutoff, sigma, reach, tolerance=1e-12):
    """Tabulate the radial functions for quintic Hermite interpolation.

    Parameters
    ----------
    basis : {"equispaced_gauss", "gto"}
        This and the next four: as those of :func:`exact`.
    n_max : int
        Number of radial functions.
    l_max : int
        Largest angular momentum.
    cutoff : float
        Cutoff r_cut, Å.
    sigma : float
        Width of the neighbors' Gaussians, Å.
    reach : float
        Largest distance that will be asked for, Å.
    tolerance : float, default=1e-12
        Largest error of a value, in units of the largest value of all functions.

    Returns
    -------
    step : float
        Distance between knots, Å.
    data : array of shape (n_knots, 3, l_max + 1, n_pad)
        f_nl, step·f_nl' and step²·f_nl'' at r = k·step, read-only; n_pad is `n_max` rounded up to a multiple of 8, and
        the functions beyond `n_max` are zero. The last knot lies beyond `reach`.
    error : float
        Largest error found between the knots, in the same units as `tolerance`. Above it, up to 1e-10, where rounding
        errors of the functions are, as with many functions of `gto`.

    Raises
    ------
    ValueError
        As :func:`exact`, and if the error is above the tolerance and 1e-10.
    """
    functions = exact(basis, n_max, l_max, cutoff, sigma)
    step, previous = sigma / 4, np.inf
    while True:
        data = _tabulate(functions, step, reach)
        error = _measure(functions, step, data)
        if error <= tolerance or error > previous / 2:  # finer knots do not help where only rounding is left
            break
        step, previous = step * min(0.95 * (tolerance / error) ** (1 / 6), 0.85), error  # the error goes as step⁶
    if error > max(tolerance, ROUNDING):
        raise ValueError(
            f"n_max={n_max}, l_max={l_max}: rounding errors of the {basis!r} radial functions are {error:.1g} of their "
            f"largest value at cutoff={cutoff}, sigma={sigma}: take a smaller n_max"
        )
    data.flags.writeable = False
    return step, data, error


def interpolate(step, data, r):
    """Values and slopes (P, l_max + 1, n_pad) of the table of :func:`radial_spline` at distances (P,), Å."""
    k = np.minimum((r / step).astype(int), len(data) - 2)
    t = (r / step - k)[:, None, None]
    s = 1 - t
    value, slope = 0.0, 0.0
    for knot, x, y, sign in ((data[k], t, s, 1), (data[k + 1], s, t, -1)):
        f, d, c = knot[:, 0], sign * knot[:, 1], knot[:, 2] / 2
        value += y**3 * ((1 + 3 * x + 6 * x**2) * f + (x + 3 * x**2) * d + x**2 * c)
        slope += sign * y**2 * (-30 * x**2 * f + (1 + 2 * x - 15 * x**2) * d + x * (2 - 5 * x) * c)
    return value, slope / step


def _tabulate(functions, step, reach):
    parts = functions(step * np.arange(int(reach / step) + 2))
    n_knots, n_l, n_max = parts[0].shape
    data = np.zeros((n_knots, 3, n_l, -(-n_max // PADDING) * PADDING))
    for order, part in enumerate(parts):
        data[:, order, :, :n_max] = step**order * part
    return data


def _measure(functions, step, data):
    """Largest error between the knots; it is largest near the middle of an interval."""
    r = (step * (np.arange(len(data) - 1) + np.array([[0.2], [0.4], [0.5], [0.7]]))).ravel()
    values = functions(r)[0]
    return np.abs(interpolate(step, data, r)[0][..., : values.shape[2]] - values).max() / np.abs(values).max()


# --- Bases: each returns a function from r (P, 1, 1) to the primitives and their two derivatives (P, L, n), and the
# --- matrices (L, n, n) that orthonormalize them ------------------------------------------------------------------


def _equispaced_gauss(n_max, l_max, cutoff, sigma):
    eta = 0.5 / sigma**2
    centers = np.arange(n_max) * (cutoff + sigma * np.sqrt(20 * np.log(10))) / n_max
    kappa = 2 * eta * centers

    def primitives(r):
        i, di, ddi = _bessel(l_max, (kappa * r)[:, 0])
        return _times_gaussian(np.exp(-eta * (r - centers) ** 2), eta, r, i, kappa * di, kappa**2 * ddi)

    interpolation = np.exp(-eta * (centers[:, None] - centers) ** 2)
    cholesky = np.linalg.cholesky(_overlap_of_gaussians(eta, centers[:, None], centers))
    mix = np.linalg.solve(interpolation, cholesky)
    return primitives, np.broadcast_to(mix, (l_max + 1, n_max, n_max))


def _times_gaussian(gauss, rate, r, f, df, ddf):
    """Product of a function with a Gaussian that goes as exp(−rate r²), and its first and second derivative."""
    first = df - 2 * rate * r * f
    second = ddf - 4 * rate * r * df + (4 * rate**2 * r**2 - 2 * rate) * f
    return gauss * f, gauss * first, gauss * second


def _overlap_of_gaussians(eta, a, b):
    """∫ exp(−η(r − a)²) exp(−η(r − b)²) r² dr from 0 to ∞: a Gaussian about the mean of a and b."""
    mean = (a + b) / 2
    whole = (mean**2 + 0.25 / eta) * np.sqrt(np.pi / (8 * eta)) * (1 + erf(np.sqrt(2 * eta) * mean))
    return np.exp(-eta * (a - b) ** 2 / 2) * (whole + mean * np.exp(-2 * eta * mean**2) / (4 * eta))


def _bessel(l_max, x):
    """Return exp(−x) times i_l(x), i_l'(x), i_l''(x) of x (P, n), each (P, l_max + 1, n).

    From (2l + 1) i_l' = l i_(l−1) + (l + 1) i_(l+1): sums of positive numbers, without a division by x.
    """
    order = np.arange(l_max + 3)[:, None]
    x = np.maximum(x, 1e-150)[:, None, :]
    i = np.sqrt(np.pi / (2 * x)) * ive(order + 0.5, x)
    di = _slopes(i)
    ddi = _slopes(di)
    return i[:, : l_max + 1], di[:, : l_max + 1], ddi


def _slopes(i):
    """Derivatives of all but the last i_l, or of their derivatives."""
    order = np.arange(i.shape[1] - 1)[:, None]
    below = np.concatenate([np.zeros_like(i[:, :1]), i[:, :-2]], axis=1)
    return (order * below + (order + 1) * i[:, 1:]) / (2 * order + 1)


def _gto(n_max, l_max, cutoff, sigma):
    if cutoff <= 1:
        raise ValueError(f"cutoff={cutoff}: must be larger than 1 Å, where the first of the 'gto' functions ends")
    order = np.arange(l_max + 1)[:, None]
    fallen = np.linspace(1.0, cutoff, n_max)
    alpha = (order * np.log(fallen) - np.log(1e-3)) / fallen**2
    eta = 0.5 / sigma**2
    rate = alpha * eta / (alpha + eta)
    scale = (8 * np.pi**2) ** 0.25 * np.pi**1.5 * eta**order / (alpha + eta) ** (order + 1.5)

    def primitives(r):
        powers = r**order, order * _power(r, order - 1), order * (order - 1) * _power(r, order - 2)
        return _times_gaussian(scale * np.exp(-rate * r**2), rate, r, *powers)

    mix = [_orthonormalization(*row) for row in zip(range(l_max + 1), alpha, strict=True)]
    return primitives, np.stack(mix)


def _power(r, exponent):
    """r^exponent, 1 where the exponent is negative: the derivative has the factor 0 there."""
    return r ** np.maximum(exponent, 0)


def _orthonormalization(order, alpha):
    """S^(-1/2) of S_ab = ∫ r^(2l+2) exp(−(α_a + α_b) r²) dr = Γ(l + 3/2)/2 (α_a + α_b)^(−l−3/2).

    In 50 digits: the condition number of S, 1e10 for n_max = l_max = 8, multiplies every rounding error of S.
    """
    with localcontext(prec=50):
        exact_alpha = np.array([Decimal(float(a)) for a in alpha])
        root = _inverse_root((exact_alpha[:, None] + exact_alpha) ** -(order + Decimal("1.5")))
    return root.astype(float) / np.sqrt(gamma(order + 1.5) / 2)


def _inverse_root(matrix):
    """Inverse square root of a positive matrix of Decimal, by the coupled iteration of Denman and Beavers (1976)."""
    root, inverse = matrix, np.array([[Decimal(int(i == k)) for i in range(len(matrix))] for k in range(len(matrix))])
    change = 1
    while change > 1e-20:
        previous = inverse
        root, inverse = (root + _inverse(inverse)) / 2, (inverse + _inverse(root)) / 2
        change = np.abs(inverse - previous).max() / np.abs(inverse).max()
    return inverse


def _inverse(matrix):
    """Inverse of a positive matrix of Decimal: elimination by Gauss and Jordan, in place."""
    matrix = matrix.copy()
    for k in range(len(matrix)):
        pivot = matrix[k, k]
        matrix[k, k] = Decimal(1)
        matrix[k] = matrix[k] / pivot
        for i in range(len(matrix)):
            if i != k:
                factor = matrix[i, k]
                matrix[i, k] = Decimal(0)
                matrix[i] = matrix[i] - factor * matrix[k]
    return matrix


BASES = {"equispaced_gauss": _equispaced_gauss, "gto": _gto}
