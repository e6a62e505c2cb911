"""Ranges of parameters, and points of the unit box that stand for parameters of an estimator."""

import difflib
import re
from numbers import Integral, Real

import numpy as np

from mlfeat.potentials._rows import KINDS, group_factors

__all__ = ["SearchSpace"]

ENTRY = re.compile(r"(?P<name>[^\[]+)\[(?P<key>.+?)(?:,\s*(?P<kind>energy|force|stress))?\]")
KIND_INDEX = {"energy": 0, "force": 1, "stress": 2}
FORMS = "(low, high), (low, high, 'log'), (low, high, step) or a list of values"


class Interval:
    """All numbers between two ends, or their logarithms; integers if both ends are."""

    def __init__(self, name, low, high, log):
        if not (low < high and (low > 0 or not log)):
            must = "positive and rising" if log else "rising"
            raise ValueError(f"bounds of {name!r} are ({low}, {high}): must be {must}")
        self.integer = isinstance(low, Integral) and isinstance(high, Integral)
        self.log = log
        self.ends = (low, high)
        low, high = (low - 0.5, high + 0.5) if self.integer else (low, high)  # each integer has its share
        self.low, self.high = np.log([low, high]) if log else (float(low), float(high))

    def value(self, u):
        """The value at a number between 0 and 1."""
        value = self.low + u * (self.high - self.low)
        value = float(np.exp(value)) if self.log else float(value)
        value = round(value) if self.integer else value
        return min(max(value, self.ends[0]), self.ends[1])

    def point(self, value):
        """The number between 0 and 1 nearest to a value; the middle for what is no number."""
        if not isinstance(value, Real) or isinstance(value, bool):
            return 0.5
        value = min(max(value, self.ends[0]), self.ends[1])
        value = np.log(value) if self.log else value
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def snap(self, u):
        """A number that stands for the same value, one for each value."""
        return self.point(self.value(u)) if self.integer else u


class Choices:
    """A few values, in their order."""

    def __init__(self, name, values):
        if not values:
            raise ValueError(f"bounds of {name!r} are empty: give at least one value")
        self.values = values

    def value(self, u):
        """The value at a number between 0 and 1."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]

    def point(self, value):
        """The number of the value itself, else of the nearest number, else of the first."""
        same = [k for k, own in enumerate(self.values) if type(own) is type(value) and repr(own) == repr(value)]
        numbers = all(map(_is_number, [value, *self.values]))
        nearest = int(np.argmin(np.abs(np.subtract(self.values, value)))) if numbers else 0
        return ((same or [nearest])[0] + 0.5) / len(self.values)

    def snap(self, u):
        """A number that stands for the same value, one for each value."""
        return (min(int(u * len(self.values)), len(self.values) - 1) + 0.5) / len(self.values)


def make_range(name, given):
    """Interval or Choices of an entry of `bounds`."""
    if isinstance(given, (list, np.ndarray)):
        return Choices(name, list(given))
    if not isinstance(given, tuple) or len(given) not in (2, 3) or not all(map(_is_number, given[:2])):
        raise ValueError(f"bounds of {name!r} are {given!r}: must be {FORMS}")
    low, high, *third = given
    if third in ([], ["log"]):
        return Interval(name, low, high, bool(third))
    step = third[0]
    if not _is_number(step) or not (step > 0 and low <= high):
        raise ValueError(f"bounds of {name!r} are {given!r}: must be {FORMS}")
    count = int((high - low) / step + 1e-9) + 1
    values = [low + k * step for k in range(count)]
    return Choices(name, [v if isinstance(v, Integral) else round(v, 12) for v in values])


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(value)


class Entry:
    """What an entry of `bounds` sets: a parameter, an entry of one that is a dict, or factors of a group's weights."""

    def __init__(self, name, known):
        self.key = self.kind = None
        self.name = name
        match = ENTRY.fullmatch(name)
        if name not in known and match:
            self.name, self.key, self.kind = match["name"].strip(), match["key"].strip(), match["kind"]
        if self.name not in known:
            raise ValueError(_unknown(self.name, known))
        self.is_group = self.key is not None and self.name.rpartition("__")[2] == "group_weights"
        if self.kind and not self.is_group:
            raise ValueError(f"{name!r}: only group_weights have an entry for {self.kind}")
        self.current = self._current(known[self.name])

    def _current(self, value):
        if self.is_group:
            return 1.0
        if self.key is None:
            return value
        if not isinstance(value, dict) or self.key not in value:
            raise ValueError(f"{self.name} is {value!r}: it has no entry {self.key!r} to search; set one to begin with")
        return value[self.key]

    def apply(self, params, value, known):
        """Put a value into the parameters of a trial."""
        if self.key is None:
            params[self.name] = value
            return
        table = params.setdefault(self.name, {str(key): own for key, own in (known[self.name] or {}).items()})
        table[self.key] = self._factors(table, value) if self.is_group else value

    def _factors(self, table, value):
        own = group_factors({self.key: table.get(self.key, 1.0)})[self.key]
        chosen = range(len(KINDS)) if self.kind is None else (KIND_INDEX[self.kind],)
        return tuple(own[kind] * (value if k in chosen else 1.0) for k, kind in enumerate(KINDS))


def _unknown(name, known):
    prefix = name.rpartition("__")[0]
    if prefix in known and known[prefix] is None:
        return f"no parameter {name!r}: {prefix} is None; set it to an estimator, as in LinearPotential(Ridge())"
    close = difflib.get_close_matches(name, known, 3, 0.5) or sorted(known)
    return f"no parameter {name!r} of the estimator; there are {', '.join(close)}"


class SearchSpace:
    """The unit box of the parameters that are searched.

    Parameters
    ----------
    estimator : estimator
        Its own parameters are the start.
    bounds : dict
        By name of a parameter, its range.

    Raises
    ------
    ValueError
        If a range makes no sense or a parameter does not exist.
    """

    def __init__(self, estimator, bounds):
        if not isinstance(bounds, dict) or not bounds:
            raise ValueError(f"bounds={bounds!r}: give a dict of ranges by name of the parameter")
        self.known = estimator.get_params(deep=True)
        self.names = list(bounds)
        self.ranges = [make_range(name, given) for name, given in bounds.items()]
        self.entries = [Entry(name, self.known) for name in bounds]

    def check_groups(self, groups):
        """ValueError if a group whose weights are searched is not among those of the structures, None if not known."""
        if groups is None:
            return
        for entry in self.entries:
            if entry.is_group and entry.key not in groups:
                has = ", ".join(repr(str(group)) for group in sorted(set(groups) - {""})) or "none"
                raise ValueError(
                    f"bounds name the group {entry.key!r}, but those of the structures are: {has}; "
                    "a structure's group is atoms.info['group']"
                )

    @property
    def start(self):
        """The point of the estimator's own parameters, moved into their ranges."""
        return np.array([r.point(entry.current) for r, entry in zip(self.ranges, self.entries, strict=True)])

    def snap(self, point):
        """The one point that stands for the same values."""
        return np.array([r.snap(u) for r, u in zip(self.ranges, point, strict=True)], dtype=float)

    def values(self, point):
        """Value of each entry of the bounds."""
        return [r.value(u) for r, u in zip(self.ranges, point, strict=True)]

    def params(self, point):
        """Parameters for the estimator's `set_params`."""
        params = {}
        for entry, value in zip(self.entries, self.values(point), strict=True):
            entry.apply(params, value, self.known)
        return params
