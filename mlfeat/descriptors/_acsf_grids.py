"""Sets of symmetry functions made from a cutoff and a few numbers."""

from numbers import Integral, Real

import numpy as np

from mlfeat.descriptors._compiled import check_number


def default_radial(cutoff):
    """η r_c² = 1, 4, 16 and r_s = 0, 0.2, ... 0.8 r_c."""
    return [(eta / cutoff**2, share * cutoff) for eta in (1.0, 4.0, 16.0) for share in (0.0, 0.2, 0.4, 0.6, 0.8)]


def default_angular(cutoff):
    """η r_c² = 1, 4, 16 and ζ = 1, 2, 4, 16, λ = -1, 1."""
    return angular_functions([eta / cutoff**2 for eta in (1.0, 4.0, 16.0)], (1.0, 2.0, 4.0, 16.0))


def angular_functions(etas, zetas):
    """(eta, zeta, lambda_) for all combinations with λ = -1, 1."""
    return [(float(eta), float(zeta), lambda_) for eta in etas for zeta in zetas for lambda_ in (-1.0, 1.0)]


def grid_functions(rule, cutoff, n_radial, n_angular, zetas, margin):
    """Lists of radial and of angular functions by a published rule; see :meth:`mlfeat.ACSF.from_grid`."""
    if not isinstance(rule, str) or rule not in _RULES:
        raise ValueError(f"rule={rule!r}: must be one of {', '.join(map(repr, _RULES))}")
    least, make = _RULES[rule]
    for name, number in (("n_radial", n_radial), ("n_angular", n_angular)):
        if not isinstance(number, Integral) or isinstance(number, bool) or number < least:
            raise ValueError(f"{name}={number!r}: must be an integer of at least {least} for the rule {rule!r}")
    check_number("margin", margin, lambda v: 0 < v < cutoff / 2, f"between 0 and half the cutoff, {cutoff:g} Å")
    if np.ndim(zetas) != 1 or not all(isinstance(v, Real) and 1 <= v < np.inf for v in zetas):
        raise ValueError(f"zeta={zetas!r}: must be a sequence of numbers of at least 1, as in (1.0, 4.0)")
    radial, etas = make(cutoff, int(n_radial), int(n_angular), margin)
    return [(float(eta), float(r_s)) for eta, r_s in radial], angular_functions(etas, zetas)


def _gastegger(cutoff, n_radial, n_angular, margin):
    shifts, step = np.linspace(margin, cutoff - margin, n_radial, retstep=True)
    widths = np.linspace(margin, cutoff - margin, n_angular)
    return [(0.5 / step**2, r_s) for r_s in shifts], 0.5 / widths**2


def _imbalzano(cutoff, n_radial, n_angular, margin):
    shifts = cutoff / n_radial ** (np.arange(n_radial + 1) / n_radial)
    shifted = list(zip(1 / np.diff(shifts) ** 2, shifts[1:], strict=True))
    centered = [(eta, 0.0) for eta in _centered(cutoff, n_radial)]
    return centered + shifted[::-1], _centered(cutoff, n_angular)


def _centered(cutoff, n):
    return ((n - 1) ** (np.arange(n) / (n - 1)) / cutoff) ** 2


_RULES = {"gastegger": (2, _gastegger), "imbalzano": (3, _imbalzano)}  # and the least number of points
