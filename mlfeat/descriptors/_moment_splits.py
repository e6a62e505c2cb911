"""Moment tensors as contractions of two smaller ones, component by component.

A tensor is a `Graph` with ports. Its components are those of the symmetric tensors at its ports: a monomial x^a y^b z^c
for each port. At a port with one moment such a component is the tensor's own; at a port with several it is the sum of
all components of the unsymmetrized tensor that fall together, so that a contraction with a symmetric tensor is a sum
without weights.
"""

from itertools import combinations
from math import comb, factorial
from typing import NamedTuple

import numpy as np

from mlfeat.descriptors._moment_graphs import PORT, Graph, canonical, shared

BASE = 32  # of the code a·BASE + b of a monomial: larger than any number of indices


class Bundle(NamedTuple):
    """Edges cut by a split that go together: a product of components has one monomial for all of them.

    Attributes
    ----------
    size : int
        Number of edges.
    ports : tuple
        The port of the first part, of the second and of the result that they belong to, or None.
    is_weighted : bool
        By the number of orders of the monomial's factors: each is a component of its own, and all are summed.
    """

    size: int
    ports: tuple
    is_weighted: bool


class Split(NamedTuple):
    """A tensor as a contraction of two others.

    Attributes
    ----------
    result : Graph
        The tensor.
    parts : tuple
        The two tensors.
    bundles : tuple
        The edges between them and to the result's ports.
    """

    result: Graph
    parts: tuple
    bundles: tuple


# --- splits -----------------------------------------------------------------------------------------------------------


def splits(graph):
    """All ways to split a tensor, those that make the same of the same once."""
    found = {}
    n = graph.n_moments
    for size in range(n - 1):
        for others in combinations(range(1, n), size):
            first = (0, *others)
            sides = first, tuple(v for v in range(n) if v not in first)
            for merging in (None, 0, 1):
                if merging is None or _can_merge(graph, sides, merging):
                    split = _split(graph, sides, merging)
                    key = split.parts, tuple(sorted((own.size, own.is_weighted) for own in split.bundles))
                    found.setdefault(key, split)
    return list(found.values())


def _can_merge(graph, sides, merging):
    """Whether edges of several moments of this side go to one of the other."""
    return any(sum(graph.edges[v][end] > 0 for v in sides[merging]) > 1 for end in sides[1 - merging])


def _split(graph, sides, merging):
    """The split of the moments into two sides.

    Edges from one side to a port go together. So do those of the side `merging` to a moment of the other side, which is
    symmetric in them; if that is None, only those between the same two moments.
    """
    n = graph.n_moments
    bundles = []
    for end in range(n, len(graph.colors)):
        for own in (0, 1):
            bundles += _bundles(graph, [sides[own]], end, own)
    own = merging or 0
    sources = [(v,) for v in sides[own]] if merging is None else [sides[own]]
    for end in sides[1 - own]:
        bundles += _bundles(graph, sources, end, own)
    parts, places = zip(*(_part(graph, sides[own], bundles, own) for own in (0, 1)), strict=True)
    places = *places, {end: end - n for end in range(n, len(graph.colors))}
    named = [b._replace(ports=tuple(where.get(p) for where, p in zip(places, b.ports, strict=True))) for b in bundles]
    return Split(graph, parts, tuple(named))


def _bundles(graph, sources, end, own):
    """Bundles from each set of moments of the side `own` to a moment of the other side or a port.

    A port of a side is named by the moment whose free indices it has, or by (end, moments) if it has several.
    """
    is_port = graph.colors[end] == PORT
    is_plain = is_port and sum(map(bool, graph.edges[end])) == 1
    for moments in sources:
        tied = [v for v in moments if graph.edges[v][end]]
        if tied:
            ports = [None, None, None]
            ports[own] = tied[0] if len(tied) == 1 else (end, *tied)
            ports[2 if is_port else 1 - own] = end
            size = sum(graph.edges[v][end] for v in tied)
            yield Bundle(size, tuple(ports), len(tied) == 1 and not is_plain)


def _part(graph, side, bundles, own):
    """The tensor of a side, and the place among its ports of each that bundles name."""
    ports = {}
    for bundle in bundles:
        name = bundle.ports[own]
        if isinstance(name, tuple):
            ports[name] = tuple(graph.edges[v][name[0]] for v in side)
        elif name is not None:
            before = ports.get(name, (0,) * len(side))
            ports[name] = tuple(k + bundle.size * (v == name) for k, v in zip(before, side, strict=True))
    inner = [
        tuple(graph.edges[v][w] for w in side) + tuple(row[k] for row in ports.values()) for k, v in enumerate(side)
    ]
    outer = [row + (0,) * len(ports) for row in ports.values()]
    colors = tuple(graph.colors[v] for v in side) + (PORT,) * len(ports)
    found = canonical(colors, (*inner, *outer))
    names = list(ports)
    return found.graph, {names[v - len(side)]: k for k, v in enumerate(found.order[len(side) :])}


# --- components -------------------------------------------------------------------------------------------------------


@shared
def monomials(size):
    """Exponents a, b, c of the monomials of a degree, as rows."""
    return np.array([(a, b, size - a - b) for a in range(size, -1, -1) for b in range(size - a, -1, -1)])


@shared
def _codes(size):
    """Codes of the monomials of a degree, and in how many orders the factors of each can stand."""
    exponents = monomials(size)
    orders = [factorial(size) // (factorial(a) * factorial(b) * factorial(c)) for a, b, c in exponents.tolist()]
    return exponents @ (BASE, 1, 0), np.array(orders)


@shared
def _ranks(size):
    """Place of each code among the monomials of a degree."""
    ranks = np.zeros(BASE * BASE, dtype=np.intp)
    codes, _ = _codes(size)
    ranks[codes] = np.arange(len(codes))
    return ranks


@shared
def representatives(graph):
    """For each component of a tensor the first one that equals it by the symmetry of the graph."""
    shape = _shape(graph)
    digits = np.indices(shape).reshape(len(shape), -1) if shape else np.zeros((0, 1), dtype=np.intp)
    symmetries = canonical(*graph).symmetries
    return np.min([_linear(digits[list(ports)], shape) for ports in symmetries], axis=0)


def n_components(graph):
    """Number of components of a tensor that differ."""
    own = representatives(graph)
    return np.count_nonzero(own == np.arange(len(own)))


def terms(split):
    """Components of the first part, of the second and of the result, and the factor, of each product of a split.

    Only those of the result that no symmetry makes equal to an earlier one.
    """
    codes, orders = zip(*(_codes(bundle.size) for bundle in split.bundles), strict=True)
    picks = np.indices([len(own) for own in codes]).reshape(len(codes), -1)
    picked = [own[pick] for own, pick in zip(codes, picks, strict=True)]
    result = _components(split, 2, picked)
    kept = representatives(split.result)[result] == result
    first, second = (
        representatives(part)[_components(split, place, picked)[kept]] for place, part in enumerate(split.parts)
    )
    if split.parts[0] == split.parts[1]:
        first, second = np.minimum(first, second), np.maximum(first, second)
    factor = np.ones(len(first), dtype=np.intp)
    for bundle, pick, own in zip(split.bundles, picks, orders, strict=True):
        if bundle.is_weighted:
            factor *= own[pick[kept]]
    n_first, n_second = (len(representatives(part)) for part in split.parts)
    keys, where = np.unique((result[kept] * n_first + first) * n_second + second, return_inverse=True)
    factor = np.bincount(where, factor).astype(np.intp)
    return keys // n_second % n_first, keys % n_second, keys // (n_first * n_second), factor


def _components(split, place, picked):
    """Components of a part, or of the result, that the codes picked for the bundles make up."""
    graph = (*split.parts, split.result)[place]
    shape = _shape(graph)
    codes = np.zeros((len(shape), len(picked[0])), dtype=np.intp)
    for bundle, code in zip(split.bundles, picked, strict=True):
        if bundle.ports[place] is not None:
            codes[bundle.ports[place]] += code
    ports = graph.edges[graph.n_moments :]
    return _linear([_ranks(sum(row))[own] for row, own in zip(ports, codes, strict=True)], shape, len(picked[0]))


def _shape(graph):
    return tuple(comb(sum(row) + 2, 2) for row in graph.edges[graph.n_moments :])


def _linear(digits, shape, n=1):
    index = np.zeros(n, dtype=np.intp)
    for own, size in zip(digits, shape, strict=True):
        index = index * size + own
    return index
