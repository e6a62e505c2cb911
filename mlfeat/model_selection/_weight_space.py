"""Parameters of :func:`mlfeat.model_selection.search_weights` as points of a box, and the table of its trials."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import Ridge

from mlfeat.model_selection._cross_validation import ERRORS
from mlfeat.potentials._rows import KINDS, KindWeights
from mlfeat.potentials._settings import is_number


class Space:
    """Parameters as points of the unit box: their logarithms between the ends of the ranges."""

    def __init__(self, groups, alpha, force_weight, stress_weight, group_factor):
        self.groups = [str(group) for group in groups]
        n = 2 * len(groups) if len(groups) > 1 else 0
        ranges = {
            "alpha": alpha,
            "force_weight": force_weight,
            "stress_weight": stress_weight,
            "group_factor": group_factor,
        }
        for name, given in ranges.items():
            may_be_zero = name != "group_factor"
            if not _is_range(given, may_be_zero):
                zero = ", (0, 0) leave it out" if may_be_zero else ""
                raise ValueError(
                    f"{name}={given!r}: must be a range (low, high) of positive numbers; equal ends keep it fixed{zero}"
                )
        ends = np.array([alpha, force_weight, stress_weight, *([group_factor] * n)], dtype=float)
        self.zero = ends[:, 1] == 0
        self.low, self.high = np.log(np.where(self.zero[:, None], 1.0, ends)).T
        self.free = self.high > self.low

    def encode(self, potential, regressor):
        """The point nearest to a potential's parameters."""
        weights = KindWeights(1.0, 1.0, 1.0, potential.group_weights)
        start = [getattr(regressor, "alpha", 0.0), potential.force_weight, potential.stress_weight]
        start = np.array([start[0], *np.divide(start[1:], potential.energy_weight or 1.0)])
        factors = [weights((g, kind)) for kind in KINDS[:2] for g in self.groups] if len(self.low) > 3 else []
        logs = np.log(np.maximum([*start, *factors], 1e-300))
        span = np.where(self.free, self.high - self.low, 1.0)
        return np.clip((logs - self.low) / span, 0, 1)[self.free]

    def starts(self, potential, regressor, n_scan=8):
        """The point nearest to a potential's parameters, and a scan over its force weight, which matters most."""
        first = self.encode(potential, regressor)
        if not self.free[1]:
            return first[None]
        points = np.tile(first, (1 + n_scan, 1))
        points[1:, self.free[:1].sum()] = np.linspace(0, 1, n_scan)
        return points

    def decode(self, point):
        """Values of all parameters."""
        logs = self.low.copy()
        logs[self.free] += point * (self.high - self.low)[self.free]
        return np.where(self.zero, 0.0, np.exp(logs))

    def split(self, point):
        """Alpha, force and stress weight, and the factors of each group's energies and forces."""
        values = self.decode(point)
        factors = values[3:].reshape(2, -1) if len(values) > 3 else np.ones((2, len(self.groups)))
        return *values[:3], *factors

    def params(self, point, regressor):
        """Parameters of a LinearPotential."""
        alpha, force, stress, energy_factors, force_factors = self.split(point)
        weights = zip(self.groups, energy_factors.tolist(), force_factors.tolist(), strict=True)
        return {
            "regressor": clone(regressor).set_params(alpha=float(alpha)) if isinstance(regressor, Ridge) else regressor,
            "energy_weight": 1.0,
            "force_weight": float(force),
            "stress_weight": float(stress),
            "group_weights": {g: (e, f, e) for g, e, f in weights} if len(self.groups) > 1 else None,
        }


def _is_range(ends, may_be_zero):
    if not (isinstance(ends, (tuple, list, np.ndarray)) and len(ends) == 2 and all(map(is_number, ends))):
        return False
    low, high = ends
    return 0 < low <= high < np.inf or (may_be_zero and low == high == 0)


class Trials:
    """The function to minimize, which writes down what it is asked."""

    def __init__(self, space, problem, objective):
        self.space, self.problem, self.objective = space, problem, objective
        names = ("alpha", "force_weight", "stress_weight", "energy_factors", "force_factors", *ERRORS, "objective")
        self.table = {name: [] for name in names}
        self.points = []

    def __call__(self, point):
        alpha, force, stress, energy_factors, force_factors = values = self.space.split(point)
        factors = zip(self.space.groups, energy_factors, force_factors, strict=True)
        weights = KindWeights(1.0, force, stress, {g: (e, f, e) for g, e, f in factors})
        errors = self.problem.errors(weights, alpha)
        score = float(self.objective(errors))
        score = score if np.isfinite(score) else np.inf
        self.points.append(np.array(point))
        for name, value in zip(self.table, (*values, *(errors[name] for name in ERRORS), score), strict=True):
            self.table[name].append(value)
        return score

    @property
    def n_done(self):
        """Trials that are written down completely: an interrupt may come between two columns."""
        return len(self.table["objective"])

    def best(self):
        """Number of the trial with the lowest objective."""
        return int(np.argmin(self.table["objective"]))

    def as_arrays(self):
        return {name: np.array(values[: self.n_done]) for name, values in self.table.items()}
