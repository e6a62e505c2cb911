"""How moment tensors are contracted with few products: each tensor is a sum over products of two smaller ones.

A tensor is a `Graph` with ports. Its components are those of the symmetric tensors at its ports, a monomial x^a y^b z^c
for each. At a port with one vertex it is the tensor's component itself; at one with several the sum of all components
of the unsymmetrized tensor that fall together, so that a contraction with a symmetric tensor is a plain sum.

A split parts the vertices of a tensor in two sides, each a tensor whose ports are the edges cut. Edges that go
together are a bundle: a product's term has a monomial for each.
"""

from functools import cache
from itertools import combinations
from math import comb, factorial
from typing import NamedTuple

import numpy as np

from mlfeat.descriptors._moment_graphs import PORT, Graph, canonical, scalar_graphs

BASE = 32  # of the code a·BASE + b of a monomial: larger than any number of indices


class Bundle(NamedTuple):
    """Edges that are cut: their number, the port of either side and of the result that they belong to, or None."""

    size: int
    ports: tuple
    is_weighted: bool  # by the number of ways to give the monomial's factors to the edges


class Split(NamedTuple):
    """A tensor as a contraction of two others: bundles between them and to the result's ports."""

    result: Graph
    parts: tuple
    bundles: tuple
    n_products: int


def contraction_tables(level):
    """Tables of all scalars up to a level: moments, products, scalars; see `MomentBasis`."""
    scalars = scalar_graphs(level)
    plan = Plan([own[0] for own in scalars if len(own) == 1])
    nodes = _Nodes()
    for graph in plan.moments():
        nodes.add_moment(graph)
    for graph in plan.order():
        nodes.add_tensor(plan.choice[graph])
    place = {}
    for own in scalars:
        place[own] = nodes.scalar(own[0]) if len(own) == 1 else nodes.product(place[own[:-1]], place[own[-1:]])
    return nodes.moments, nodes.tables(), list(place.values())


# --- the choice of splits ---------------------------------------------------------------------------------------------


class Plan:
    """A split of every tensor needed, such that all take few products."""

    def __init__(self, targets):
        self.choice, self.users = {}, {}
        for graph in targets:
            self._need(graph)
        while any([self._improve(graph) for graph in list(self.choice)]):
            pass

    def moments(self):
        """Graphs of the moments used, by μ and ν."""
        return sorted((graph for graph in self.users if graph.n_moments == 1), key=lambda g: (g.colors[0], g.level))

    def order(self):
        """All other tensors, each after its parts."""
        return sorted(self.choice, key=lambda graph: (graph.n_moments, graph))

    def _need(self, graph):
        self.users[graph] = self.users.get(graph, 0) + 1
        if self.users[graph] == 1 and graph.n_moments > 1:
            self.choice[graph] = min(splits(graph), key=self._price)
            for part in self.choice[graph].parts:
                self._need(part)

    def _release(self, graph):
        self.users[graph] -= 1
        if not self.users[graph]:
            del self.users[graph]
            if graph.n_moments > 1:
                for part in self.choice.pop(graph).parts:
                    self._release(part)

    def _price(self, split):
        """Products of a split and of the tensors that it needs and that are not there yet."""
        new = {part for part in split.parts if part not in self.users and part.n_moments > 1}
        return split.n_products + sum(min(map(self._price, splits(part))) for part in new)

    def _improve(self, graph):
        if graph not in self.choice:
            return False
        old = self.choice[graph]
        for part in old.parts:
            self._release(part)
        new = min(splits(graph), key=self._price)
        is_better = self._price(new) < self._price(old)
        self.choice[graph] = new if is_better else old
        for part in self.choice[graph].parts:
            self._need(part)
        return is_better


@cache
def splits(graph):
    """All ways to split a tensor, those that make the same of the same once."""
    found = {}
    for size in range(graph.n_moments - 1):
        for others in combinations(range(1, graph.n_moments), size):
            side = (0, *others)
            for merged in (None, 0, 1):
                split = _split(graph, side, merged)
                found[split.parts, tuple(sorted((b.size, b.is_weighted) for b in split.bundles))] = split
    return [split._replace(n_products=len(terms(split)[0])) for split in found.values()]


def _split(graph, side, merged):
    """The split with the vertices of `side` on one side, those edges merged to bundles that go to a vertex of the other
    side (merged = 0: bundles of the first side, 1: of the second, None: only those between the same two vertices).

    Edges that go to a port are always merged.
    """
    n = graph.n_moments
    sides = side, tuple(v for v in range(n) if v not in side)
    bundles = []

    def add(sources, end, own):
        """Edges from vertices of the side `own` to one vertex or port."""
        tied = [v for v in sources if graph.edges[v][end]]
        size = sum(graph.edges[v][end] for v in tied)
        if not tied:
            return
        ports = [None, None, None]
        ports[own] = (end, *tied) if len(tied) > 1 else tied[0]
        ports[2 if end >= n else 1 - own] = end
        is_mixed = end < n or sum(map(bool, graph.edges[end])) > 1
        bundles.append(Bundle(size, tuple(ports), len(tied) == 1 and is_mixed))

    for end in range(n, len(graph.colors)):
        for own in (0, 1):
            add(sides[own], end, own)
    own = merged or 0
    for end in sides[1 - own]:
        for sources in [sides[own]] if merged is not None else [(v,) for v in sides[own]]:
            add(sources, end, own)
    parts, places = zip(*(_part(graph, sides[own], bundles, own) for own in (0, 1)), strict=True)
    places = (*places, {end: end - n for end in range(n, len(graph.colors))})
    named = [b._replace(ports=tuple(where.get(p) for where, p in zip(places, b.ports, strict=True))) for b in bundles]
    return Split(graph, parts, tuple(named), 0)


def _part(graph, side, bundles, own):
    """Tensor of one side, and the place among its ports of each port that bundles name."""
    ports = {}
    for bundle in bundles:
        name = bundle.ports[own]
        if isinstance(name, tuple):
            ports[name] = tuple(graph.edges[v][name[0]] if v in name[1:] else 0 for v in side)
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


@cache
def _monomials(size):
    """Exponents (a, b, c) of the monomials of a degree."""
    return [(a, b, size - a - b) for a in range(size, -1, -1) for b in range(size - a, -1, -1)]


@cache
def _codes(size):
    """Codes of the monomials, and in how many orders their factors can stand."""
    exponents = _monomials(size)
    orders = [factorial(size) // (factorial(a) * factorial(b) * factorial(c)) for a, b, c in exponents]
    return np.array([a * BASE + b for a, b, _ in exponents]), np.array(orders)


@cache
def _ranks(size):
    """Place of each code among the monomials of a degree."""
    ranks = np.zeros(BASE * BASE, dtype=np.intp)
    codes, _ = _codes(size)
    ranks[codes] = np.arange(len(codes))
    return ranks


@cache
def _representatives(graph):
    """For each component of a tensor the first one that equals it by the symmetry of the graph."""
    shape = _shape(graph)
    digits = np.indices(shape).reshape(len(shape), int(np.prod(shape)))
    symmetries = canonical(*graph).symmetries
    return np.min([_linear(digits[list(own)], shape) for own in symmetries], axis=0)


def _shape(graph):
    return tuple(comb(sum(row) + 2, 2) for row in graph.edges[graph.n_moments :])


def _linear(digits, shape):
    index = np.zeros(digits.shape[1], dtype=np.intp)
    for own, size in zip(digits, shape, strict=True):
        index = index * size + own
    return index


def terms(split):
    """Components of the first part, of the second and of the result, and the factor, of each product of a split.

    Only those of the result that no symmetry makes equal to an earlier one.
    """
    sizes = [bundle.size for bundle in split.bundles]
    codes, orders = zip(*map(_codes, sizes), strict=True) if sizes else ((), ())
    picks = np.indices([len(own) for own in codes]).reshape(len(sizes), -1)
    factor = np.ones(picks.shape[1] if sizes else 1, dtype=np.intp)
    for bundle, pick, own in zip(split.bundles, picks, orders, strict=True):
        if bundle.is_weighted:
            factor *= own[pick]
    picked = [own[pick] for own, pick in zip(codes, picks, strict=True)]
    components = []
    for place, graph in enumerate((*split.parts, split.result)):
        digits = np.zeros((len(graph.colors) - graph.n_moments, len(factor)), dtype=np.intp)
        for bundle, code in zip(split.bundles, picked, strict=True):
            if bundle.ports[place] is not None:
                digits[bundle.ports[place]] += code
        ranks = [_ranks(sum(row))[own] for row, own in zip(graph.edges[graph.n_moments :], digits, strict=True)]
        components.append(_linear(np.array(ranks, dtype=np.intp).reshape(digits.shape), _shape(graph)))
    first, second, result = components
    own = _representatives(split.result)[result] == result
    first, second = (_representatives(g)[c[own]] for g, c in zip(split.parts, (first, second), strict=True))
    if split.parts[0] == split.parts[1]:
        first, second = np.minimum(first, second), np.maximum(first, second)
    sizes = [len(_representatives(graph)) for graph in split.parts]
    keys, where = np.unique((result[own] * sizes[0] + first) * sizes[1] + second, return_inverse=True)
    factor = np.bincount(where, factor[own]).astype(np.intp)
    return keys // sizes[1] % sizes[0], keys % sizes[1], keys // (sizes[0] * sizes[1]), factor


class _Nodes:
    """The tables while they grow."""

    def __init__(self):
        self.moments, self._products, self._place, self._n = [], [], {}, 0

    def add_moment(self, graph):
        """All components of M_{μ,ν}."""
        exponents = _monomials(sum(graph.edges[0]))
        self.moments += [(graph.colors[0], *own) for own in exponents]
        self._place[graph] = self._new(np.arange(len(exponents)))

    def add_tensor(self, split):
        """The components of a tensor that no symmetry makes equal."""
        own = self._place[split.result] = self._new(_representatives(split.result))
        first, second, result, factor = terms(split)
        nodes = [self._place[part] for part in split.parts]
        self._products.append(np.stack([nodes[0][first], nodes[1][second], factor, own[result]], axis=1))

    def scalar(self, graph):
        """Node of a graph without ports."""
        return self._place[graph][0]

    def product(self, first, second):
        """Node of a product of two."""
        (result,) = self._new(np.zeros(1, dtype=np.intp))
        self._products.append(np.array([[first, second, 1, result]]))
        return result

    def tables(self):
        """Products so far."""
        return np.concatenate(self._products) if self._products else np.empty((0, 4), dtype=np.intp)

    def _new(self, representatives):
        unique, where = np.unique(representatives, return_inverse=True)
        self._n += len(unique)
        return self._n - len(unique) + where
