"""Multigraphs of contractions of moment tensors: canonical forms and enumeration.

A vertex of color μ ≥ 0 is a moment M_{μ,ν}, an edge a contraction of an index of each of its ends. A vertex of color
PORT stands for open indices: those of the edges at it, symmetrized. A graph with ports is thus a tensor that is
symmetric in the indices of each port; one without is a scalar.
"""

from functools import cache
from itertools import combinations
from typing import NamedTuple

PORT = -1
MOST_MOMENTS = 4  # that a scalar multiplies

_SHARED = []


def shared(function):
    """Keep a function's results until `forget_shared`: while tables are made the same is asked for again and again."""
    _SHARED.append(cache(function))
    return _SHARED[-1]


def forget_shared():
    """Forget all results kept."""
    for function in _SHARED:
        function.cache_clear()


class Graph(NamedTuple):
    """A multigraph: colors of the vertices, ports last, and how many edges connect each two."""

    colors: tuple
    edges: tuple  # symmetric matrix as a tuple of rows

    @property
    def n_moments(self):
        """Number of vertices that are no ports."""
        return sum(color != PORT for color in self.colors)

    @property
    def level(self):
        """Σ of 2 + 4μ + ν."""
        own = zip(self.colors, self.edges, strict=True)
        return sum(2 + 4 * color + sum(row) for color, row in own if color != PORT)


class Canonical(NamedTuple):
    """Of isomorphic graphs the same one.

    Attributes
    ----------
    graph : Graph
        The representative.
    order : tuple
        Vertex of the given graph that is each vertex of the representative.
    symmetries : tuple of tuples
        Permutations of the representative's ports that leave it as it is.
    """

    graph: Graph
    order: tuple
    symmetries: tuple


@shared
def canonical(colors, edges):
    """The representative of a graph: of the orders that refinement leaves open the one with the smallest matrix."""
    n = len(colors)
    neighbors = [[(w, k) for w, k in enumerate(row) if k] for row in edges]
    largest = max(colors) + 1
    forms = {}
    stack = [[largest if color == PORT else color for color in colors]]
    while stack:
        cells = _refined(stack.pop(), neighbors)
        choice = _first_open(cells)
        for v in choice:
            stack.append([2 * cell + (v != w) for w, cell in enumerate(cells)])
        if not choice:
            order = sorted(range(n), key=cells.__getitem__)
            form = tuple(tuple(edges[v][w] for w in order) for v in order)
            forms.setdefault(form, []).append(order)
    best = min(forms)
    order = forms[best][0]
    n_ports = colors.count(PORT)
    ports = order[n - n_ports :]
    symmetries = sorted({tuple(ports.index(v) for v in other[n - n_ports :]) for other in forms[best]})
    return Canonical(Graph(tuple(colors[v] for v in order), best), tuple(order), tuple(symmetries))


def _refined(cells, neighbors):
    """Cells of vertices, split by the cells of their neighbors until that splits none."""
    n_cells = len(set(cells))
    while True:
        marks = [(cells[v], sorted([(cells[w], k) for w, k in own])) for v, own in enumerate(neighbors)]
        place = {}
        for v in sorted(range(len(cells)), key=marks.__getitem__):
            place.setdefault((marks[v][0], tuple(marks[v][1])), len(place))
        cells = [place[cell, tuple(own)] for cell, own in marks]
        if len(place) == n_cells:
            return cells
        n_cells = len(place)


def _first_open(cells):
    """Vertices of the first cell with several; none if every vertex has its own."""
    for cell in range(len(cells)):
        own = [v for v, c in enumerate(cells) if c == cell]
        if len(own) > 1:
            return own
    return []


def connected_graphs(level):
    """All connected multigraphs without loops and ports up to a level and of MOST_MOMENTS vertices at most, by level.

    Each comes from one of lower level by a further edge, a larger μ, or a further vertex with one edge.
    """
    found = {n: [] for n in range(2, level + 1, 2)}
    first = Graph((0,), ((0,),))
    found[first.level].append(first)
    seen = {first}
    for n in found:
        for graph in found[n]:
            for raised in _raised(graph):
                new = canonical(*raised).graph
                if new not in seen and new.level <= level and new.n_moments <= MOST_MOMENTS:
                    seen.add(new)
                    found[new.level].append(new)
    return [graph for own in found.values() for graph in sorted(own, key=lambda g: (g.n_moments, g))]


def _raised(graph):
    colors, edges = graph
    n = len(colors)
    for v in range(n):
        yield colors[:v] + (colors[v] + 1,) + colors[v + 1 :], edges
        tied = tuple(int(w == v) for w in range(n))
        yield colors + (0,), (*(row + (tied[w],) for w, row in enumerate(edges)), tied + (0,))
    for v, w in combinations(range(n), 2):
        rows = [list(row) for row in edges]
        rows[v][w] += 1
        rows[w][v] += 1
        yield colors, tuple(map(tuple, rows))


def scalar_graphs(level):
    """Scalars up to a level: tuples of connected graphs, of MOST_MOMENTS vertices at most altogether."""
    graphs = connected_graphs(level)
    levels = [graph.level for graph in graphs]

    def multisets(start, level_left, moments_left):
        yield ()
        for k in range(start, len(graphs)):
            if levels[k] > level_left:
                return
            if graphs[k].n_moments <= moments_left:
                for rest in multisets(k, level_left - levels[k], moments_left - graphs[k].n_moments):
                    yield (graphs[k], *rest)

    return sorted((own for own in multisets(0, level, MOST_MOMENTS) if own), key=_natural)


def _natural(graphs):
    n_moments = sum(graph.n_moments for graph in graphs)
    return sum(graph.level for graph in graphs), n_moments, len(graphs), graphs
