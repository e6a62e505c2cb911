r"""Recurrence coefficients of real spherical harmonics, for ``mlfeat._ext.harmonics``.

.. math:: Y_{l,\pm m}(x, y, z) = Q_{lm}(z)\; \mathrm{Re}, \mathrm{Im}\,(x + iy)^m,\qquad \sum_m Y_{lm}^2 = 2l + 1,

on the unit sphere: :math:`\sqrt{4\pi}` times the orthonormal ones, without the Condon-Shortley phase.
"""

from functools import lru_cache
from math import sqrt
from typing import NamedTuple

import numpy as np


class Legendre(NamedTuple):
    """Coefficients in triangular order l(l+1)/2 + m."""

    up: np.ndarray  # Q_lm = up (z Q_{l-1,m} - back Q_{l-2,m}); on l = m the constant Q_mm
    back: np.ndarray
    slope: np.ndarray  # d Q_lm / dz = slope Q_{l,m+1}


@lru_cache(maxsize=16)
def legendre_tables(l_max):
    """Coefficients up to `l_max`."""

    def constant(m):  # Q_mm, the factor sqrt(2) of m > 0 included
        value = sqrt(2.0) if m else 1.0
        for k in range(1, m + 1):
            value *= sqrt((2 * k + 1) / (2 * k))
        return value

    def up(l, m):
        return constant(m) if l == m else sqrt((4 * l * l - 1) / (l * l - m * m))

    def back(l, m):
        return sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1)) if l > m + 1 else 0.0

    def slope(l, m):
        return sqrt((l + m + 1) * (l - m)) * (1.0 if m else sqrt(0.5))

    return Legendre(*(triangle(function, l_max) for function in (up, back, slope)))


def triangle(function, k_max):
    """Values of function(k, i) for i <= k <= k_max, in the order k(k+1)/2 + i."""
    return np.array([float(function(k, i)) for k in range(k_max + 1) for i in range(k + 1)])
