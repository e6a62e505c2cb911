"""Tables of a moment basis as the kernel reads them."""

from functools import lru_cache
from itertools import pairwise
from math import comb, factorial
from typing import NamedTuple

import numpy as np


class FeatureParts(NamedTuple):
    """What each feature depends on, so that its derivative takes no more.

    Attributes
    ----------
    reverse : tuple of arrays (n_features + 1,), (n,)
        Starts of the features, and their results, as places in `MomentProgram.graph`, last ones first.
    basic : tuple of arrays (n_features + 1,), (n,)
        Starts of the features, and their basic moments.
    degrees : array of shape (n_features, n_radial)
        Highest degree of the moments of each radial function, -1 where there are none.
    """

    reverse: tuple
    basic: tuple
    degrees: np.ndarray


class RadialParts(NamedTuple):
    """What depends on each radial function.

    Attributes
    ----------
    forward : tuple of arrays (n_radial + 1,), (n,)
        Starts of the functions, and the results that change with each, as places in `MomentProgram.graph`.
    reverse : tuple of arrays (n_radial + 1,), (n,)
        Starts of the functions, and the results whose factors get another cotangent, last ones first.
    degrees : array of shape (n_radial, n_radial)
        Highest degree of the moments that get another cotangent, of each radial function; -1 where there are none.
    """

    forward: tuple
    reverse: tuple
    degrees: np.ndarray


class MomentProgram(NamedTuple):
    """What the kernel does for one basis; arrays of intc and float.

    A monomial p of the direction (x, y, z) to a neighbor is x^a y^b z^c/(a! b!) with c = 0 or 1; they are sorted by
    their degree ν, of which ν + 1 with c = 0 stand before ν with c = 1, each by b.

    Attributes
    ----------
    degrees : array of shape (n_radial,)
        Highest degree of the moments of each radial function.
    first_moment : array of shape (n_radial,)
        Place of the first moment of each radial function among all: it has those of all monomials up to its degree.
    n_moments, n_basic, n_nodes : int
        Numbers of moments of these monomials, of basic moments of the basis, of nodes.
    expand : tuple of arrays (n_basic + 1,), (n,), (n,)
        Starts of the rows, columns, and values of the matrix from moments to basic moments.
    graph : tuple of arrays (n_results,), (n_results + 1,), (n_products,), (n_products,), (n_products,)
        Node of each result, starts of its products, their two nodes and factor; all sorted so that nothing is used
        before it is finished.
    feature_parts : FeatureParts
        What each feature depends on.
    radial_parts : RadialParts
        What each radial function has an effect on.
    scalars : array of shape (n_features,)
        Nodes that are the features.
    inverse : array of float of shape (degree + 1,)
        1/n, and 0 for n = 0.
    """

    degrees: np.ndarray
    first_moment: np.ndarray
    n_moments: int
    n_basic: int
    n_nodes: int
    expand: tuple
    graph: tuple
    feature_parts: tuple
    radial_parts: tuple
    scalars: np.ndarray
    inverse: np.ndarray


def make_program(basis):
    """Make the tables of a basis.

    Parameters
    ----------
    basis : MomentBasis
        A checked one.

    Returns
    -------
    MomentProgram
        Its tables. They are kept for the next descriptor with an equal basis, as training makes them by the hundred.
    """
    return _make_program(_Tables(basis))


class _Tables:
    """A basis that equals another one with the same numbers."""

    def __init__(self, basis):
        self.basis, self.numbers = basis, tuple(np.asarray(table, dtype=np.intc).tobytes() for table in basis)

    def __eq__(self, other):
        return self.numbers == other.numbers

    def __hash__(self):
        return hash(self.numbers)


@lru_cache(maxsize=16)
def _make_program(tables):
    basis = tables.basis
    degrees = np.zeros(basis.n_radial, dtype=np.intc)
    np.maximum.at(degrees, basis.moments[:, 0], basis.moments[:, 1:].sum(axis=1))
    ends = np.cumsum((degrees + 1) ** 2)
    first_moment = np.concatenate([[0], ends[:-1]]).astype(np.intc)
    graph = _sorted_products(basis)
    return MomentProgram(
        degrees,
        first_moment,
        int(ends[-1]),
        len(basis.moments),
        basis.n_nodes,
        _expansion(basis.moments, first_moment),
        graph,
        _feature_parts(graph, basis),
        _radial_parts(graph, basis),
        np.ascontiguousarray(basis.scalars, dtype=np.intc),
        np.array([0.0, *(1 / n for n in range(1, int(degrees.max()) + 1))]),
    )


def _expansion(moments, first_moment):
    """Each basic moment in terms of the kernel's: even powers of z by z² = 1 − x² − y²."""
    start, columns, values = [0], [], []
    for mu, a, b, c in moments.tolist():
        terms = _reduced(a, b, c)
        columns += [first_moment[mu] + place for place, _ in terms]
        values += [value for _, value in terms]
        start.append(len(columns))
    return np.array(start, dtype=np.intc), np.array(columns, dtype=np.intc), np.array(values, dtype=float)


@lru_cache(maxsize=None)
def _reduced(a, b, c):
    """Places and factors of the monomials that make up x^a y^b z^c."""
    half, odd = divmod(c, 2)
    terms = []
    for i in range(half + 1):
        for j in range(half - i + 1):
            factor = (-1) ** (i + j) * comb(half, i + j) * comb(i + j, i)
            p, q = a + 2 * i, b + 2 * j
            terms.append((_place(p, q, odd), float(factor * factorial(p) * factorial(q))))
    return terms


def _place(a, b, c):
    degree = a + b + c
    return degree**2 + (degree + 1 if c else 0) + b


def _sorted_products(basis):
    """Products grouped by their result, results in the order in which they are finished."""
    result = basis.products[:, 3]
    last = np.zeros(basis.n_nodes, dtype=np.intp)
    last[result] = np.arange(len(result))  # the last assignment stays
    order = np.argsort(last[result], kind="stable")
    first, second, factor, result = basis.products[order].T
    starts = np.flatnonzero(np.diff(result, prepend=-1))
    return (
        np.ascontiguousarray(result[starts], dtype=np.intc),
        np.append(starts, len(result)).astype(np.intc),
        np.ascontiguousarray(first, dtype=np.intc),
        np.ascontiguousarray(second, dtype=np.intc),
        factor.astype(float),
    )


def _feature_parts(graph, basis):
    results, starts, first, second, _ = graph
    n_basic = len(basis.moments)
    place = np.full(basis.n_nodes, -1)
    place[results] = np.arange(len(results))
    factors = [np.unique(np.concatenate([first[a:b], second[a:b]])) for a, b in pairwise(starts)]
    needed = [place[nodes[nodes >= n_basic]].tolist() for nodes in factors]
    reverse, basic = [], []
    for node in basis.scalars.tolist():
        found, waiting = set(), [int(place[node])] if node >= n_basic else []
        while waiting:
            k = waiting.pop()
            if k not in found:
                found.add(k)
                waiting += needed[k]
        reverse.append(sorted(found, reverse=True))
        nodes = np.unique(np.concatenate([[node], *(factors[k] for k in found)]))
        basic.append(nodes[nodes < n_basic].astype(np.intp))
    degrees = np.stack([_degrees(basis, own) for own in basic])
    return FeatureParts(_joined(reverse), _joined(basic), degrees)


def _radial_parts(graph, basis):
    results, starts, first, second, _ = graph
    forward, reverse, degrees = [], [], []
    for mu in range(basis.n_radial):
        changed = np.zeros(basis.n_nodes, dtype=bool)
        changed[: len(basis.moments)] = basis.moments[:, 0] == mu
        forward.append([])
        for k, (a, b) in enumerate(pairwise(starts)):
            if changed[first[a:b]].any() or changed[second[a:b]].any():
                changed[results[k]] = True
                forward[-1].append(k)
        touched = np.zeros(basis.n_nodes, dtype=bool)  # cotangents that change
        reverse.append([])
        for k in range(len(results) - 1, -1, -1):
            own = slice(starts[k], starts[k + 1])
            a, b = first[own], second[own]
            if touched[results[k]] or changed[a].any() or changed[b].any():
                touched[a[touched[results[k]] | changed[b]]] = True
                touched[b[touched[results[k]] | changed[a]]] = True
                reverse[-1].append(k)
        degrees.append(_degrees(basis, np.flatnonzero(touched[: len(basis.moments)])))
    return RadialParts(_joined(forward), _joined(reverse), np.stack(degrees))


def _degrees(basis, basic):
    """Highest degree of some basic moments for each radial function, -1 if there are none."""
    degrees = np.full(basis.n_radial, -1, dtype=np.intc)
    np.maximum.at(degrees, basis.moments[basic, 0], basis.moments[basic, 1:].sum(axis=1).astype(np.intc))
    return degrees


def _joined(parts):
    """Starts of the parts, and all of them one after the other."""
    start = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return start.astype(np.intc), np.concatenate([*parts, [0]]).astype(np.intc)  # never empty
