"""Cross-validation of linear potentials from sums of rows, with no pass over the data for other weights."""

import warnings
from functools import partial

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, check_cv

from mlfeat.potentials._blocks import GramBlocks, eliminate_normal
from mlfeat.potentials._fitting import accumulate
from mlfeat.potentials._rows import KINDS, DesignRows, Reference, residual_targets
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


def complements(folds):
    """Splits (train, test) of test sets that have each structure once."""
    everything = np.arange(sum(map(len, folds)))
    return [(np.setdiff1d(everything, fold), fold) for fold in folds]


class CrossValidation:
    """Normal equations by group, kind and cell, and what fits to some of the cells say of the others.

    A cell is a set of structures that are together in all training and test sets: with folds, each fold is one.
    """

    def __init__(self, features, targets, splits, potential, n_jobs):
        self.fixed = potential._fixed_intercept(tuple(features[0].descriptor.species_))
        self.free = self.fixed is None
        self.n_species = features[0].n_species
        rows = DesignRows(features, residual_targets(features, targets, potential.baseline, self.fixed))
        rows.reference = self.reference = Reference.from_rows(rows) if self.free else None
        make = partial(GramBlocks, self.n_species)
        cells, self.train, self.test = _cells(splits, len(features))
        parts = [accumulate(rows[cell], make, n_jobs) for cell in cells]
        self.keys = sorted(set().union(*(part.blocks for part in parts)))
        self.width = self.n_species * (1 + features.shape[1]) + 1
        rows, columns = np.triu_indices(self.width)
        self.upper, self.lower = rows * self.width + columns, columns * self.width + rows
        # Upper triangles, half of the memory and of the time to weigh them; keys first: weighting is one product.
        self.grams = np.zeros((len(self.keys), len(parts), len(self.upper)))
        for number, part in enumerate(parts):
            for own, key in zip(self.grams[:, number], self.keys, strict=True):
                if key in part.blocks:
                    own += part.blocks[key].ravel()[self.upper]
        self.n_rows = np.array([[part.n_rows.get(key, 0) for part in parts] for key in self.keys])

    def errors(self, weights, alpha):
        """Errors over all test sets of the fits to their training sets, a dict; those of each group under "groups"."""
        squares, n_rows = self._squares(self.weighted(weights), alpha).sum(axis=0), sum(map(self._n_rows, self.test))
        groups = sorted({group for group, _ in self.keys})
        by_group = {group: self._rmse(squares, n_rows, [group]) for group in groups}
        return {**self._rmse(squares, n_rows, groups), "groups": by_group}

    def weighted(self, weights):
        """Upper triangle of the Gram matrix of each cell, (n_cells, n_elements)."""
        return np.tensordot([weights(key) for key in self.keys], self.grams, 1)

    def split_errors(self, weighted, alpha):
        """Errors over each test set of the fit to its training set, a list of dicts."""
        groups = {group for group, _ in self.keys}
        squares = self._squares(weighted, alpha)
        return [self._rmse(own, self._n_rows(test), groups) for own, test in zip(squares, self.test, strict=True)]

    def coefficients(self, weighted, alpha):
        """Coefficients (n_species, n_features) and intercepts (n_species,) of the fit to all structures."""
        v = self._solution(weighted.sum(axis=0), alpha)
        coef = -v[self.n_species : -1].reshape(self.n_species, -1)
        if not self.free:
            return coef, self.fixed
        origin = self.reference.energy - np.einsum("sf,sf->s", self.reference.features, coef)
        return coef, origin - v[: self.n_species]

    def _squares(self, weighted, alpha):
        """Sums of squared residuals in each test set, (n_splits, n_keys)."""
        squares = np.zeros((len(self.test), len(self.keys)))
        for own, train, test in zip(squares, self.train, self.test, strict=True):
            v = self._solution(weighted[train].sum(axis=0), alpha)
            products = np.outer(v, v).ravel()[self.upper]
            products[self.upper != self.lower] *= 2
            for cell in test:
                own += self.grams[:, cell] @ products
        return squares

    def _n_rows(self, test):
        return self.n_rows[:, test].sum(axis=1)

    def _rmse(self, squares, n_rows, groups):
        """Errors of some groups together, NaN for kinds that they lack."""
        errors = {}
        for name, kind in zip(ERRORS, KINDS, strict=True):
            mine = [key[1] == kind and key[0] in groups for key in self.keys]
            n = n_rows[mine].sum()
            errors[name] = float(np.sqrt(max(0.0, squares[mine].sum()) / n)) if n else np.nan
        return errors

    def _solution(self, triangle, alpha):
        """Row @ solution is the residual: minus intercepts, minus coefficients, one."""
        gram = np.empty(self.width**2)
        gram[self.upper] = gram[self.lower] = triangle
        gram = gram.reshape(self.width, self.width)
        rest, intercepts, _ = eliminate_normal(gram, self.n_species, self.free)
        coef = solve_normal(rest[:-1, :-1], rest[:-1, -1], alpha, with_factor=False).coef
        v = np.append(-coef, 1.0)
        return np.concatenate([-intercepts @ v, v])


def _cells(splits, n_structures):
    """Structures of each cell, and the cells of each training and of each test set."""
    member = np.zeros((2, len(splits), n_structures), dtype=bool)
    for number, parts in enumerate(splits):
        for own, part in zip(member[:, number], parts, strict=True):
            own[part] = True
    patterns, cell_of = np.unique(member.reshape(-1, n_structures), axis=1, return_inverse=True)
    cells = [np.flatnonzero(cell_of.ravel() == cell) for cell in range(patterns.shape[1])]
    train, test = ([np.flatnonzero(row) for row in part] for part in patterns.reshape(2, len(splits), -1))
    return cells, train, test
