"""Normal equations of coefficients and radial coefficients of moment tensor potentials together."""

from functools import partial

import numpy as np

from mlfeat.features import assemble_rows
from mlfeat.potentials._moment_data import ordered_sum
from mlfeat.potentials._moment_model import center_groups, sum_by_group


class Design:
    """The least-squares problem at some radial functions.

    Rows are ``[composition | features | radial | target]``, weighted: features are the derivatives of energy, forces
    and stress by the coefficients, radial those by the radial coefficients, which depend on the coefficients.

    Parameters
    ----------
    descriptor : MomentTensor
        With the radial functions.
    data : MomentData
    n_groups : int
        Sets of coefficients: one, or one for each species of the center.
    n_jobs : int or None
    keep : bool
        Keep the rows of the features for `with_radial`, which makes them anew else.

    Attributes
    ----------
    matrix : array
        Sum of the products of all rows without the radial columns, from one pass over the structures.
    """

    def __init__(self, descriptor, data, n_groups, n_jobs=None, keep=False):
        self._descriptor, self._data, self._n_groups, self._n_jobs = descriptor, data, n_groups, n_jobs
        self._kept = {}

        def product(block):
            rows = self._rows(block)
            if keep:
                self._kept[block] = rows
            return rows.T @ rows

        self.matrix = ordered_sum(product, data.blocks(), n_jobs)

    def _rows(self, block):
        parts = (feature_rows(self._descriptor, self._data, k, self._n_groups) for k in block)
        return np.concatenate(list(parts))

    def with_radial(self, coef):
        """The matrix with radial columns, where the coefficients are `coef` (n_groups, F). What was kept is let go."""

        def product(block):
            rows = self._kept.pop(block) if block in self._kept else self._rows(block)
            radial = np.concatenate([radial_rows(self._descriptor, self._data, k, coef) for k in block])
            return np.concatenate([rows[:, :-1], radial, rows[:, -1:]], axis=1).T @ radial

        products = ordered_sum(product, self._data.blocks(), self._n_jobs)
        first, n = len(self.matrix) - 1, products.shape[1]
        full = np.empty((first + n + 1,) * 2)
        others = np.delete(np.arange(len(full)), np.s_[first : first + n])
        full[np.ix_(others, others)] = self.matrix
        full[:, first : first + n] = products
        full[first : first + n] = products.T
        return full


def feature_rows(descriptor, data, k, n_groups):
    """Weighted rows ``[composition | features | target]`` of structure k (n_rows, n_species + n_groups F + 1)."""
    item, target = data.items[k], data.targets[k]
    values, groups = descriptor.values(item.pairs), center_groups(item.species, n_groups)
    features = _assembled(data, k, values, groups, n_groups, partial(descriptor.jacobian, item.pairs))
    n_species = len(descriptor.species_)
    rows = np.zeros((len(features), n_species + features.shape[1] + 1))
    rows[0, :n_species] = np.bincount(item.species, minlength=n_species)
    rows[:, n_species:-1] = features
    rows[0, -1] = target["energy"]
    if len(rows) > 1:
        rows[1:-6, -1] = 0.0 if target["forces"] is None else np.ravel(target["forces"])
        rows[-6:, -1] = target["stress"]
    return _weighted(rows, data, k)


def radial_rows(descriptor, data, k, coef):
    """Weighted derivatives of energy, forces and stress of structure k by the radial coefficients (n_rows, S Q).

    Parameters
    ----------
    descriptor : MomentTensor
    data : MomentData
    k : int
    coef : array (n_groups, F)
        Coefficients of the features.

    Returns
    -------
    array
        The same rows as those of `feature_rows`.
    """
    pairs, species = data.items[k].pairs, data.items[k].species
    cotangents = coef[center_groups(species, len(coef))]
    values = descriptor.radial_gradient(pairs, cotangents)[1]
    jacobian = partial(descriptor.radial_jacobian, pairs, cotangents)
    return _weighted(_assembled(data, k, values, species, len(descriptor.species_), jacobian), data, k)


def _assembled(data, k, values, groups, n_groups, jacobian):
    if data.weights[k, 1:].any():
        return assemble_rows(data.items[k].pairs, values, groups, n_groups, jacobian)
    return sum_by_group(values, groups, n_groups).reshape(1, -1)


def _weighted(rows, data, k):
    """Rows times the square roots of their weights, without those that have none."""
    counts = (1, len(rows) - 7, 6) if len(rows) > 1 else (1, 0, 0)
    factors = np.repeat(np.sqrt(data.weights[k]), counts)
    used = factors > 0
    return rows[used] * factors[used, None]
