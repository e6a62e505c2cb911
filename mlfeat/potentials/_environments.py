"""How far an atom's environment is from those that a model was fitted to."""

import copy

import numpy as np
from scipy import linalg

from mlfeat._archive import check_array

N_EXTREMES = 256  # environments of each species that are kept as they are
RELATIVE_NOISE = 1e-8  # features are trusted to this share of their size
RIDGE = 1e-10  # of a correlation matrix; keeps rounding from being taken for variation


class Environments:
    """Mean and covariance of the features of all environments seen, and the most extreme ones themselves.

    Sums are taken about the mean of the first environments seen, so that their differences keep
    their digits. The largest distance of any environment from the mean is needed with the final
    covariance, but streamed environments are seen only once: those farthest out are kept and
    measured again, and the leverage of the others when they were let go is an upper bound, since
    leverage never grows with more data.
    """

    def __init__(self, n_species, n_features):
        self.n_features = n_features
        self.species = [_OneSpecies(n_features) for _ in range(n_species)]

    def update(self, items):
        """See the environments of structures, objects with `values` (N, F) and `species` (N,)."""
        for s, seen in enumerate(self.species):
            parts = _Parts(items, s, len(self.species))
            if any(len(part) for part in parts):
                seen.update(parts)

    def copy(self):
        """A copy that can see more without the original."""
        return copy.deepcopy(self)

    def grader(self):
        """Arrays from which `grade` works, a dict.

        ``mean`` (n_species, F) and ``factor`` (n_species, F, F): an environment's grade is |(B - mean)
        factor|. The factor of a species that was never seen is NaN.
        """
        mean = np.full((len(self.species), self.n_features), np.nan)
        factor = np.full((len(self.species), self.n_features, self.n_features), np.nan)
        for s, seen in enumerate(self.species):
            if seen.count:
                mean[s], factor[s] = seen.mean, seen.factor() / seen.limit()
        return {"mean": mean, "factor": factor}


class _Parts:
    """Features of one species' atoms, structure by structure."""

    def __init__(self, items, s, n_species):
        self.items, self.s, self.n_species = items, s, n_species

    def __iter__(self):
        for item in self.items:
            yield item.values if self.n_species == 1 else item.values[item.species == self.s]


class _OneSpecies:
    def __init__(self, n_features):
        self.count = 0
        self.origin = None
        self.sum = np.zeros(n_features)
        self.moment = np.zeros((n_features, n_features))
        self.extremes = np.zeros((0, n_features))
        self.bound = 0.0  # no environment that was let go had a larger leverage

    @property
    def mean(self):
        return self.origin + self.sum / self.count

    def update(self, parts):
        for values in parts:
            if self.origin is None and len(values):
                self.origin = values.mean(axis=0)
            if len(values):
                centered = values - self.origin
                self.count += len(values)
                self.sum += centered.sum(axis=0)
                self.moment += centered.T @ centered
        self._keep_extremes([self.extremes, *parts])

    def _keep_extremes(self, parts):
        mean, factor = self.mean, self.factor()
        distances = np.concatenate([_lengths(part - mean, factor) for part in parts])
        order = np.argsort(distances, kind="stable")[::-1]
        edges = np.cumsum([0, *(len(part) for part in parts)])
        kept = np.sort(order[:N_EXTREMES])
        owner = np.searchsorted(edges, kept, side="right") - 1
        self.extremes = np.array([parts[o][k - edges[o]] for o, k in zip(owner, kept, strict=True)])
        if len(order) > N_EXTREMES:
            leverage = distances[order[N_EXTREMES]] ** 2 + 1 / self.count
            self.bound = max(self.bound, leverage)

    def factor(self):
        """W with |(B - mean) W| the distance of an environment, in units that shrink as 1/sqrt(count)."""
        shift = self.sum / self.count
        scatter = self.moment - self.count * np.outer(shift, shift)
        size = np.abs(self.mean)
        noise = self.count * (RELATIVE_NOISE * np.maximum(size, 1e-3 * size.max())) ** 2
        diagonal = np.diag(scatter) + noise
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        correlation = scatter * scale * scale[:, None]
        correlation[np.diag_indices_from(correlation)] = 1.0 + RIDGE
        lower = linalg.cholesky(correlation, lower=True, check_finite=False)
        inverse = linalg.solve_triangular(lower, np.eye(len(scale)), lower=True, check_finite=False)
        return scale[:, None] * inverse.T

    def limit(self):
        """Distance of the farthest environment seen."""
        farthest = _lengths(self.extremes - self.mean, self.factor()).max()
        let_go = np.sqrt(max(0.0, self.bound - 1 / self.count))
        limit = max(farthest, let_go) * (1 + 1e-9)  # rounding must not take one of them beyond 1
        return limit if limit > 0 else 1.0


def _lengths(rows, factor):
    product = rows @ factor
    return np.sqrt(np.einsum("mk,mk->m", product, product))


def check_grader(grader, n_species, n_features):
    """Raise ValueError unless `grade` can work from these arrays; a species that was never seen is NaN throughout."""
    if set(grader) != {"mean", "factor"}:
        raise ValueError(f"grader_ has the keys {sorted(grader)}")
    shapes = {"mean": (n_species, n_features), "factor": (n_species, n_features, n_features)}
    seen = np.ones(n_species, dtype=bool)
    if all(np.shape(grader[name]) == shape for name, shape in shapes.items()):
        seen = ~(np.isnan(grader["mean"]).all(axis=1) & np.isnan(grader["factor"]).all(axis=(1, 2)))
    for name, shape in shapes.items():
        array = grader[name]
        check_array(f"grader_[{name!r}]", array if seen.all() else array[seen], (int(seen.sum()), *shape[1:]))


def grade(values, species, mean, factor):
    """Extrapolation grade (M,) of environments with features (M, F); see LinearPotential.extrapolation_grade."""
    grades = np.full(len(values), np.inf)
    for s in np.unique(species):
        if np.isfinite(factor[s, 0, 0]):
            mine = species == s
            grades[mine] = _lengths(values[mine] - mean[s], factor[s])
    return grades
