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
