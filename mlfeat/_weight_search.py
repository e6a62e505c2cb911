"""The parts of :func:`mlfeat.model_selection.search_weights`: folds, parameters, cross-validation from sums of rows."""

import warnings
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, StratifiedKFold, check_cv

from mlfeat.potentials._blocks import GramBlocks, eliminate_normal
from mlfeat.potentials._fitting import accumulate
from mlfeat.potentials._rows import KINDS, DesignRows, KindWeights, Reference, residual_targets
from mlfeat.potentials._solve import solve_normal

ERRORS = ("energy_rmse", "force_rmse", "stress_rmse")


def split_folds(cv, labels, groups, random_state):
    """Test indices of each fold; folds of a number `cv` have their share of every label."""
    if isinstance(cv, int):
        smallest = np.unique(labels, return_counts=True)[1].min()
        kind = StratifiedKFold if smallest >= cv else KFold
        cv, groups = kind(cv, shuffle=True, random_state=random_state), None
    elif groups is None:
        groups = labels
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)
        folds = [test for _, test in check_cv(cv).split(np.zeros(len(labels)), labels, groups)]
    if not np.array_equal(np.sort(np.concatenate(folds)), np.arange(len(labels))) or len(folds) < 2:
        raise ValueError("cv must put every structure into exactly one of two or more test sets, as KFold does")
    return folds


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
        for name, (low, high) in ranges.items():
            if not (0 < low <= high < np.inf or (low == high == 0 and name != "group_factor")):
                raise ValueError(
                    f"{name}=({low}, {high}): must be a range of positive numbers, or (0, 0) to leave it out"
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


class CrossValidation:
    """Normal equations of each fold by group and kind, and the errors that they give."""

    def __init__(self, features, targets, folds, potential, n_jobs):
        fixed = potential._fixed_intercept(tuple(features[0].descriptor.species_))
        self.free = fixed is None
        self.n_species = features[0].n_species
        rows = DesignRows(features, residual_targets(features, targets, potential.baseline, fixed))
        rows.reference = Reference.from_rows(rows) if self.free else None
        make = partial(GramBlocks, self.n_species)
        parts = [accumulate(rows[fold], make, n_jobs) for fold in folds]
        self.keys = sorted(set().union(*(part.blocks for part in parts)))
        width = self.n_species * (1 + features.shape[1]) + 1
        self.grams = np.zeros((len(self.keys), len(parts), width, width))  # keys first: weighting is one product
        for number, part in enumerate(parts):
            for own, key in zip(self.grams[:, number], self.keys, strict=True):
                own += part.blocks.get(key, 0)
        self.n_rows = np.array([sum(part.n_rows.get(key, 0) for part in parts) for key in self.keys])

    def errors(self, weights, alpha):
        """Errors over all test sets of the fits to the other folds, a dict; those of each group under "groups"."""
        by_fold = np.tensordot([weights(key) for key in self.keys], self.grams, 1)
        total = by_fold.sum(axis=0)
        squares = np.zeros(len(self.keys))
        for number, own in enumerate(by_fold):
            v = self._solution(total - own, alpha)
            squares += (self.grams[:, number] @ v) @ v
        groups = sorted({group for group, _ in self.keys})
        return {**self._rmse(squares, groups), "groups": {group: self._rmse(squares, [group]) for group in groups}}

    def _rmse(self, squares, groups):
        """Errors of some groups together, NaN for kinds that they lack."""
        errors = {}
        for name, kind in zip(ERRORS, KINDS, strict=True):
            mine = [key[1] == kind and key[0] in groups for key in self.keys]
            n_rows = self.n_rows[mine].sum()
            errors[name] = float(np.sqrt(max(0.0, squares[mine].sum()) / n_rows)) if n_rows else np.nan
        return errors

    def _solution(self, gram, alpha):
        """Row @ solution is the residual: minus intercepts, minus coefficients, one."""
        rest, intercepts, _ = eliminate_normal(gram, self.n_species, self.free)
        coef = solve_normal(rest[:-1, :-1], rest[:-1, -1], alpha, with_factor=False).coef
        v = np.append(-coef, 1.0)
        return np.concatenate([-intercepts @ v, v])
