"""Dropping features of a linear model: those first whose loss buys the most speed."""

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse

N_DOWNDATES = 32  # of the inverse, before it is made anew


class SharedCost:
    """What a set of features costs that share parts of the work, as contractions share products.

    The cost is that of all parts that one of the features needs at least.

    Parameters
    ----------
    needs : sparse array or array of bool, shape (F, n_parts)
        Which parts each feature needs, directly or through others; one at least.
    costs : array of shape (n_parts,)
        What a part costs, in any unit, above zero.
    """

    def __init__(self, needs, costs):
        self._needs = sparse.csr_array(needs, dtype=bool)
        self._costs = np.asarray(costs, dtype=float)
        self._users = np.bincount(self._needs.indices, minlength=len(self._costs))

    @property
    def total(self):
        """The cost of all features that were not dropped."""
        return float(self._costs[self._users > 0].sum())

    def shares(self):
        """What dropping a feature contributes to lower costs, (F,); of those dropped before the number means nothing.

        The whole cost of parts that it alone needs, and of those that u features need, 1/u². To count nothing for
        u > 1 hides what goes with several; to count 1/u, as if all of them were to go, makes for paths of larger
        loss, too.
        """
        return self._needs @ (self._costs / np.maximum(self._users, 1) ** 2)

    def drop(self, feature):
        """Drop a feature that was not dropped before."""
        self._users[self._needs.indices[self._needs.indptr[feature] : self._needs.indptr[feature + 1]]] -= 1

    @classmethod
    def of_moments(cls, basis, n_neighbors, n_polynomials):
        """FLOP of one atom's energy and of its derivatives, for scalars of a `MomentBasis`.

        Parameters
        ----------
        basis : MomentBasis
            Its scalars are the features; parts are the radial functions, monomials, moments and products, see
            `MomentBasis.cost`, and the terms of the energy themselves.
        n_neighbors : float
            Neighbors of an atom.
        n_polynomials : int
            Radial polynomials; a radial function is a sum over them, and so is its derivative.

        Returns
        -------
        SharedCost
        """
        moments, products, scalars = basis
        _, monomial = np.unique(moments[:, 1:], axis=0, return_inverse=True)
        n_nodes = max(len(moments), int(products[:, 3].max(initial=-1)) + 1)
        n_rows = np.bincount(products[:, 3], minlength=n_nodes)
        n_radial, n_monomials = int(moments[:, 0].max()) + 1, int(monomial.max()) + 1
        # Parts: nodes, then radial functions, monomials, and the scalars themselves.
        first_monomial = n_nodes + n_radial
        first_scalar = first_monomial + n_monomials
        costs = np.concatenate(
            [
                np.full(len(moments), 6.0 * n_neighbors),
                8.0 * n_rows[len(moments) :],
                np.full(n_radial, 4.0 * n_polynomials * n_neighbors),
                np.full(n_monomials, 9.0 * n_neighbors),
                np.full(len(scalars), 2.0),
            ]
        )
        needs = [
            1 << k | 1 << n_nodes + int(mu) | 1 << first_monomial + int(m)
            for k, (mu, m) in enumerate(zip(moments[:, 0], monomial.ravel(), strict=True))
        ]
        needs += [1 << k for k in range(len(moments), n_nodes)]
        for first, second, _, result in products.tolist():
            needs[result] |= needs[first] | needs[second]
        rows = [_bits(needs[node] | 1 << first_scalar + k) for k, node in enumerate(scalars.tolist())]
        ends = np.cumsum([0, *(len(row) for row in rows)])
        parts = np.concatenate(rows)
        shape = (len(scalars), len(costs))
        return cls(sparse.csr_array((np.ones(len(parts), dtype=bool), parts, ends), shape=shape), costs)


def _bits(number):
    octets = np.frombuffer(number.to_bytes((number.bit_length() + 7) // 8, "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(octets, bitorder="little"))


class PruningPath(NamedTuple):
    """Features in the order in which they were dropped, and what is left at each step; step 0 has all of them.

    Attributes
    ----------
    removed : array of int
        Features, in the order of dropping.
    n_kept, loss, cost : arrays of shape (n_steps + 1,)
        After each step; the loss never falls, the cost never grows.
    """

    removed: np.ndarray
    n_kept: np.ndarray
    loss: np.ndarray
    cost: np.ndarray

    def kept(self, step):
        """Indices of the features that are left after a step, ascending."""
        gone = self.removed[: self.n_kept[0] - self.n_kept[step]]
        return np.setdiff1d(np.arange(self.n_kept[0]), gone)


def prune(gram, rhs, square, cost, *, columns=None, max_loss=np.inf, target_cost=0.0):
    r"""Drop features of a linear model one after the other.

    The loss of the best coefficients θ of the features that are kept,

    .. math:: L = \min_\theta\; \theta^T G \theta - 2 b^T \theta + y^T W y, \qquad G = X^T W X + \Lambda, \quad
              b = X^T W y,

    grows by :math:`\theta_K^T [(G^{-1})_{KK}]^{-1} \theta_K` when the columns K of a feature go, with the best θ of the
    others. In each step the feature goes for which this is least relative to its part in the cost, see
    `SharedCost.shares`. The inverse is downdated: a step takes as long as the square of the number of columns.

    Parameters
    ----------
    gram : array of shape (n_columns, n_columns)
        G, positive definite; with the penalty Λ, which the loss has in it.
    rhs : array of shape (n_columns,)
        b.
    square : float
        yᵀ W y.
    cost : SharedCost
        What features cost; those that are dropped are dropped from it.
    columns : array of int of shape (F, n_coefficients), optional
        Columns of each feature, as many as there are species with coefficients of their own. Columns in none, such as
        intercepts, are always kept. By default column k is that of feature k.
    max_loss : float, default=inf
        The loss that is not exceeded.
    target_cost : float, default=0
        Dropping ends as soon as the cost is no more than this.

    Returns
    -------
    PruningPath

    Raises
    ------
    ValueError
        If G is not positive definite to rounding.
    """
    columns = np.arange(len(gram))[:, None] if columns is None else np.asarray(columns)
    model = _Model(gram, rhs, square)
    left = np.arange(len(columns))
    removed, n_kept, losses, costs = [], [len(left)], [model.loss], [cost.total]
    while len(left) > 1 and cost.total > target_cost:
        place = int(np.argmin(model.increases(columns[left]) / cost.shares()[left]))
        gone = left[place]
        if model.drop(columns[gone], max_loss) > max_loss:
            break
        cost.drop(gone)
        left = np.delete(left, place)
        removed.append(gone)
        n_kept.append(len(left))
        losses.append(max(model.loss, losses[-1]))
        costs.append(cost.total)
    return PruningPath(np.array(removed, dtype=np.intp), np.array(n_kept), np.array(losses), np.array(costs))


class _Model:
    """The least-squares solution and the inverse of what is left of G, in units that make its diagonal one."""

    def __init__(self, gram, rhs, square):
        diagonal = np.diag(gram)
        self._unit = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        self._gram, self._rhs, self._square = gram, rhs, square
        self._kept = np.ones(len(gram), dtype=bool)
        self._renew()

    def _renew(self):
        self._n_downdates = 0
        columns = np.flatnonzero(self._kept)
        self._place = np.cumsum(self._kept) - 1
        unit = self._unit[columns]
        scaled = self._gram[np.ix_(columns, columns)] * unit * unit[:, None]
        try:
            factor = linalg.cholesky(scaled, lower=True, check_finite=False, overwrite_a=True)
        except linalg.LinAlgError:
            raise ValueError(
                "the normal matrix is not positive definite to rounding: features depend on each other; add a penalty"
            ) from None
        rhs = unit * self._rhs[columns]
        self._theta = linalg.cho_solve((factor, True), rhs, check_finite=False)
        self._inverse = linalg.cho_solve((factor, True), np.eye(len(unit)), check_finite=False, overwrite_b=True)
        self.loss = self._square - rhs @ self._theta

    def increases(self, columns):
        """By how much the loss grows if the columns of a row (n, n_coefficients) go."""
        places = self._place[columns]
        theta = self._theta[places]
        blocks = self._inverse[places[:, :, None], places[:, None, :]]
        solved = np.linalg.solve(blocks, theta[:, :, None])[:, :, 0]
        return np.maximum(np.einsum("nk,nk->n", theta, solved), 0.0)

    def drop(self, columns, max_loss):
        """The loss without these columns; they stay if it is beyond the limit."""
        places = self._place[columns]
        beside = self._inverse[:, places]
        factor = linalg.cho_factor(beside[places], lower=True, check_finite=False)
        solved = linalg.cho_solve(factor, self._theta[places], check_finite=False)
        loss = self.loss + max(self._theta[places] @ solved, 0.0)
        if loss > max_loss:
            return loss
        self.loss = loss
        self._kept[columns] = False
        self._n_downdates += 1
        if self._n_downdates == N_DOWNDATES:
            self._renew()
        else:
            self._theta -= beside @ solved
            self._inverse -= beside @ linalg.cho_solve(factor, beside.T, check_finite=False)
        return loss
