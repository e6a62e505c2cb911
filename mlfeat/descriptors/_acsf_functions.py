"""Symmetry functions: what a descriptor's parameters ask for, checked and in the order of the features."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement, product
from numbers import Real
from typing import NamedTuple

import numpy as np

RADIAL, NARROW, WIDE = 2, 3, 9  # n2p2's numbers
RADIAL_FIELDS = ("eta", "r_s", "cutoff")
ANGULAR_FIELDS = ("eta", "zeta", "lambda_", "r_s", "cutoff")


class SymmetryFunction(NamedTuple):
    """One symmetry function of a center.

    Attributes
    ----------
    kind : {2, 3, 9}
        2: radial, 3: narrow angular, 9: wide angular; n2p2's numbers.
    neighbors : tuple of str
        Species of the one neighbor or of the two, these in the order of the descriptor's species.
    eta : float
        Å⁻².
    r_s : float
        Å.
    zeta, lambda_ : float or None
        None for radial functions.
    cutoff : float
        Å.
    """

    kind: int
    neighbors: tuple
    eta: float
    r_s: float
    zeta: float | None
    lambda_: float | None
    cutoff: float

    def name(self, default_cutoff, digits=6):
        """Words such as ``G3 Mo-Nb eta=0.1 zeta=4 lambda=-1``; what has its default value is left out."""
        shown = {"eta": self.eta}
        if self.kind != RADIAL:
            shown |= {"zeta": self.zeta, "lambda": self.lambda_}
        if self.kind == RADIAL or self.r_s:
            shown["r_s"] = self.r_s
        if self.cutoff != default_cutoff:
            shown["cutoff"] = self.cutoff
        numbers = " ".join(f"{key}={value:.{digits}g}" for key, value in shown.items())
        return f"G{self.kind} {'-'.join(self.neighbors)} {numbers}"


def symmetry_functions(species, cutoff, radial, angular, wide):
    """Functions of each center.

    Parameters
    ----------
    species : tuple of str
    cutoff : float
        Of functions that name none, and the largest that may be named, Å.
    radial, angular, wide : sequence or dict
        As the parameters of :class:`mlfeat.ACSF`.

    Returns
    -------
    tuple of tuple of SymmetryFunction
        One tuple a species, each in the order of its features.

    Raises
    ------
    ValueError
        Names the parameter and what to do.
    """
    tables = [
        (RADIAL, _by_neighbors("radial", radial, species, 1)),
        (NARROW, _by_neighbors("angular", angular, species, 2)),
        (WIDE, _by_neighbors("wide", wide, species, 2)),
    ]
    found = []
    for center in species:
        functions = [
            _function(kind, neighbors, given, cutoff)
            for kind, table in tables
            for neighbors in combinations_with_replacement(species, 1 if kind == RADIAL else 2)
            for given in table.get((center, *neighbors), ())
        ]
        _check_each_once(center, functions)
        found.append(tuple(functions))
    if not any(found):
        raise ValueError("radial, angular and wide are all empty: give at least one symmetry function")
    return tuple(found)


def _by_neighbors(name, given, species, n_neighbors):
    """Lists of parameters by center and neighbors, these in the order of the species."""
    if isinstance(given, Mapping):
        table = {}
        for key, entries in given.items():
            place = _place(name, key, species, n_neighbors)
            if place in table:
                raise ValueError(f"{name}: {key!r} is there twice, with its neighbors in another order; remove one")
            table[place] = _checked_list(f"{name}[{key!r}]", entries)
        return table
    entries = _checked_list(name, given)
    keys = (
        (center, *neighbors)
        for center, neighbors in product(species, combinations_with_replacement(species, n_neighbors))
    )
    return dict.fromkeys(keys, entries)


def _place(name, key, species, n_neighbors):
    roles = ", ".join(["center", *["neighbor"] * n_neighbors])
    if not isinstance(key, tuple) or len(key) != n_neighbors + 1:
        raise ValueError(f"{name}: the key {key!r} must be a tuple ({roles}) of chemical symbols")
    unknown = [symbol for symbol in key if symbol not in species]
    if unknown:
        raise ValueError(
            f"{name}: {unknown[0]!r} of the key {key!r} is not among the species {', '.join(species)}; remove the key, "
            "or name it in `species`"
        )
    return key[0], *sorted(key[1:], key=species.index)


def _checked_list(name, given):
    if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, str):
        return [tuple(entry) if isinstance(entry, (Sequence, np.ndarray)) else entry for entry in given]
    raise ValueError(f"{name}={given!r}: must be a list of tuples of numbers, or a dict of such lists")


def _function(kind, neighbors, given, cutoff):
    fields, least = (RADIAL_FIELDS, 2) if kind == RADIAL else (ANGULAR_FIELDS, 3)
    name = {RADIAL: "radial", NARROW: "angular", WIDE: "wide"}[kind]
    valid = isinstance(given, tuple) and least <= len(given) <= len(fields)
    if not valid or not all(isinstance(v, Real) and not isinstance(v, bool) and np.isfinite(v) for v in given):
        shown = ", ".join(fields[:least]) + "".join(f"[, {field}" for field in fields[least:])
        raise ValueError(f"{name}: {given!r} must be a tuple of numbers ({shown}{']' * (len(fields) - least)})")
    numbers = {"r_s": 0.0, "zeta": None, "lambda_": None, "cutoff": float(cutoff)}
    numbers |= dict(zip(fields, map(float, given), strict=False))
    function = SymmetryFunction(kind, neighbors, **numbers)
    _check(name, given, function, cutoff)
    return function


def _check(name, given, function, cutoff):
    limits = {
        "eta": (function.eta >= 0, "zero or positive, in Å⁻²"),
        "r_s": (function.r_s >= 0, "zero or positive, in Å"),
        "cutoff": (0 < function.cutoff <= cutoff, f"positive and at most the descriptor's, {cutoff:g} Å; enlarge that"),
    }
    if function.kind != RADIAL:
        limits["zeta"] = function.zeta >= 1, "at least 1, or its derivative is infinite where three atoms are in line"
        limits["lambda_"] = -1 <= function.lambda_ <= 1, "from -1 to 1, or the base of the power may be negative"
    for field, (valid, expected) in limits.items():
        if not valid:
            raise ValueError(f"{name}: {field}={getattr(function, field):g} in {given!r} must be {expected}")


def _check_each_once(center, functions):
    for function, count in Counter(functions).items():
        if count > 1:
            raise ValueError(f"{function.name(None)} of center {center} is there {count} times; keep one")


def feature_names(functions, cutoff):
    """Name each feature after its function, or after those that it is for different centers."""
    n_features = max(map(len, functions))
    for digits in (6, 17):
        names = [
            " | ".join(dict.fromkeys(own[k].name(cutoff, digits) for own in functions if k < len(own)))
            for k in range(n_features)
        ]
        if len(set(names)) == n_features:
            return names
    return [f"{k}: {name}" for k, name in enumerate(names)]
