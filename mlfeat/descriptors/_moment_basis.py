"""Contractions of moment tensors, as tables: which moments, which products of which nodes, which nodes are features."""

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mlfeat.descriptors._moment_contractions import contraction_tables

LEVELS = range(2, 29, 2)


class MomentCost(NamedTuple):
    """Size of a `MomentBasis` and what it costs to evaluate.

    Additions and multiplications of the contractions and of the sums over neighbors; the radial functions, whose cost
    depends on the number of polynomials, are not counted.

    Attributes
    ----------
    n_moments, n_nodes, n_products, n_scalars : int
        Basic moments, all nodes, products, features.
    neighbor_forward, neighbor_reverse : int
        FLOP of each neighbor: its part of the moments, and its force from the derivatives by the moments.
    atom_forward, atom_reverse : int
        FLOP of each atom: the products, and the derivatives by all nodes from those by the features.
    """

    n_moments: int
    n_nodes: int
    n_products: int
    n_scalars: int
    neighbor_forward: int
    neighbor_reverse: int
    atom_forward: int
    atom_reverse: int


class MomentBasis(NamedTuple):
    r"""Moments, products and scalars of a moment tensor potential.

    Nodes 0 … n_basic − 1 of an atom are its moments (Gubaev et al., Eq. 5; Shapeev, Eq. 2.4, by components)

    .. math:: M_{\mu,abc} = \sum_j f_\mu(r_j)\, \hat x_j^a \hat y_j^b \hat z_j^c,

    the others begin at zero and are summed in the order of `products`: node[result] += factor node[first] node[second].
    Feature k is node[scalars[k]]. Arrays are of integers and read-only when they come from `moment_basis`.

    Attributes
    ----------
    moments : array (n_basic, 4)
        μ, a, b, c; MLIP's alpha_index_basic.
    products : array (n_products, 4)
        first, second, factor, result; all products of a result stand before its first use. MLIP's alpha_index_times.
    scalars : array (n_scalars,)
        The nodes that are features; MLIP's alpha_moment_mapping.

    References
    ----------
    A. V. Shapeev, Multiscale Model. Simul. 14, 1153 (2016). K. Gubaev, E. V. Podryabinkin, G. L. W. Hart and
    A. V. Shapeev, Comput. Mater. Sci. 156, 148 (2019).
    """

    moments: np.ndarray
    products: np.ndarray
    scalars: np.ndarray

    @property
    def n_nodes(self):
        """Number of moments and results."""
        return len(self.moments) + len(np.unique(self.products[:, 3]))

    @property
    def n_radial(self):
        """Number of radial functions: the largest μ and one."""
        return int(self.moments[:, 0].max()) + 1

    @property
    def levels(self):
        """Level of each scalar (n_scalars,): Σ of 2 + 4μ + a + b + c over the moments that are multiplied."""
        own = 2 + 4 * self.moments[:, 0] + self.moments[:, 1:].sum(axis=1)
        return np.array([sum(own[m] for m in factors) for factors in self._factors()], dtype=np.intp)

    def _factors(self):
        """For each scalar the moments that one of its terms multiplies."""
        parts = {result: (first, second) for first, second, _, result in reversed(self.products.tolist())}

        def moments_of(node):
            return [m for part in parts[node] for m in moments_of(part)] if node in parts else [node]

        return [moments_of(node) for node in self.scalars.tolist()]

    def names(self):
        """Names of the scalars (n_scalars,): M(μ,ν) of the moments that are contracted; equal ones are counted."""
        kinds = np.stack([self.moments[:, 0], self.moments[:, 1:].sum(axis=1)], axis=1).tolist()
        contracted = [" ".join(f"M({m},{n})" for m, n in sorted(kinds[k] for k in own)) for own in self._factors()]
        seen, names = Counter(), []
        for name in contracted:
            seen[name] += 1
            names.append(f"{name} #{seen[name]}" if seen[name] > 1 else name)
        return np.array(names, dtype=str)

    def subset(self, chosen):
        """The basis of some scalars only.

        Parameters
        ----------
        chosen : array of int or bool
            Places of the scalars to keep, in the order wanted.

        Returns
        -------
        MomentBasis
            Without moments and products that none of them needs. Where all moments of a μ below the largest left are
            needless, its first is kept, so that f_μ keep their numbers.
        """
        chosen = np.asarray(chosen)
        scalars = self.scalars[chosen] if chosen.size else chosen
        if scalars.ndim != 1 or not scalars.size:
            raise ValueError("`chosen` must be a list of one or more scalars")
        needed, kept = set(scalars.tolist()), []
        for row in reversed(self.products.tolist()):
            if row[3] in needed:
                needed.update(row[:2])
                kept.append(row)
        n_basic = len(self.moments)
        basic = [node for node in needed if node < n_basic]
        mu, first = np.unique(self.moments[:, 0], return_index=True)
        left = set(self.moments[basic, 0].tolist())
        basic = sorted({*basic, *first[[m < max(left) and m not in left for m in mu]].tolist()})
        place = {node: k for k, node in enumerate([*basic, *sorted(n for n in needed if n >= n_basic)])}
        products = [(place[a], place[b], factor, place[c]) for a, b, factor, c in reversed(kept)]
        return _read_only(self.moments[basic], products, [place[node] for node in scalars.tolist()])

    def cost(self):
        """Size and FLOP, as `MomentCost`."""
        n, monomials = len(self.moments), len(np.unique(self.moments[:, 1:], axis=0))
        return MomentCost(
            n_moments=n,
            n_nodes=self.n_nodes,
            n_products=len(self.products),
            n_scalars=len(self.scalars),
            neighbor_forward=monomials + 2 * n,  # a product each; f_μ times it, added
            neighbor_reverse=4 * n + 8 * monomials,  # sums with f_μ and f'_μ over μ; a gradient and the sum with f'_μ
            atom_forward=3 * len(self.products),
            atom_reverse=5 * len(self.products),
        )

    def check(self):
        """Raise ValueError, saying where, if the tables cannot be evaluated."""
        for name, columns in zip(self._fields, (4, 4, None), strict=True):
            _check_array(name, getattr(self, name), columns)
        _check_moments(self.moments)
        _check_products(self.products, len(self.moments))
        n_nodes = self.n_nodes
        wrong = (self.scalars < 0) | (self.scalars >= n_nodes)
        if not self.scalars.size or wrong.any():
            which = f"scalar {wrong.argmax()} is node {self.scalars[wrong.argmax()]}" if wrong.any() else "none given"
            raise ValueError(f"scalars must be nodes 0 … {n_nodes - 1}; {which}")


def _check_array(name, values, columns):
    if not isinstance(values, np.ndarray) or values.dtype.kind != "i":
        raise ValueError(f"{name} must be an array of integers")
    if values.ndim != (1 if columns is None else 2) or (columns and values.shape[1] != columns):
        raise ValueError(f"{name} must have the shape (n{', 4' if columns else ''}), not {values.shape}")


def _check_moments(moments):
    if not len(moments):
        raise ValueError("a basis needs one moment at least")
    if (moments < 0).any():
        k = (moments < 0).any(axis=1).argmax()
        raise ValueError(f"moment {k} has a negative number: μ, a, b, c = {moments[k].tolist()}")
    unique, first = np.unique(moments, axis=0, return_index=True)
    if len(unique) < len(moments):
        k = np.setdiff1d(np.arange(len(moments)), first)[0]
        raise ValueError(f"moment {k} is a second {moments[k].tolist()}")
    missing = np.setdiff1d(np.arange(moments[:, 0].max() + 1), moments[:, 0])
    if missing.size:
        raise ValueError(f"no moment has μ = {missing[0]}, though some have a larger one; number μ from 0 without gaps")


def _check_products(products, n_basic):
    results = np.unique(products[:, 3])
    if not np.array_equal(results, np.arange(n_basic, n_basic + len(results))):
        k = np.argmax((products[:, 3] < n_basic) | (products[:, 3] >= n_basic + len(results)))
        raise ValueError(
            f"results of products must be the nodes after the {n_basic} moments, each of them; "
            f"product {k} is {products[k].tolist()}"
        )
    rows = np.arange(len(products))
    last = np.full(n_basic + len(results), -1)
    np.maximum.at(last, products[:, 3], rows)
    for column in (0, 1):
        used = products[:, column]
        outside = (used < 0) | (used >= len(last))
        if outside.any():
            k = outside.argmax()
            raise ValueError(f"product {k} takes node {used[k]}, which is none of the nodes 0 … {len(last) - 1}")
        early = last[used] >= rows
        if early.any():
            k = early.argmax()
            raise ValueError(
                f"product {k} takes node {used[k]} before it is finished by product {last[used[k]]}; "
                "put all products of a node before its first use"
            )


def _read_only(moments, products, scalars):
    arrays = [
        np.array(moments, dtype=np.intp).reshape(-1, 4),
        np.array(products, dtype=np.intp).reshape(-1, 4),
        np.array(scalars, dtype=np.intp),
    ]
    for values in arrays:
        values.setflags(write=False)
    return MomentBasis(*arrays)


@lru_cache(maxsize=None)
def moment_basis(level):
    r"""All contractions of moment tensors to scalars up to a level.

    The level of :math:`M_{\mu,\nu}` is :math:`2 + 4\mu + \nu`, that of a scalar the sum over the moments contracted
    (Gubaev et al., Sec. 2.1.2). A scalar is a multigraph: a vertex for each moment, an edge for each pair of indices
    contracted, ν the degree of a vertex. Edges within a moment are none: |r̂| = 1 reduces them to smaller ν. A product
    of scalars is a graph that is not connected. At most four moments are multiplied, as in the published potentials.
    Levels 8, 16, 20 and 24 have 9, 92, 288 and 864 scalars.

    Parameters
    ----------
    level : int
        Even, 2 … 28.

    Returns
    -------
    MomentBasis
        Its scalars go by level, then by the number of moments.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be an even number from {LEVELS[0]} to {LEVELS[-1]}, not {level!r}")
    return _read_only(*contraction_tables(level))
