"""Tables of all scalars up to a level that take few products.

Every tensor can be split in several ways (`splits`), and what one needs others can share. Which splits take the fewest
products altogether is an integer program: x_s = 1 if split s is used, y_t = 1 if tensor t is made,

    minimize Σ_s n_products(s) x_s + Σ_t n_components(t) y_t
    subject to Σ_{s of t} x_s ≥ y_t,  y_t ≥ x_s for the parts t of s,  y_t = 1 for the scalars.
"""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from mlfeat.descriptors._moment_graphs import forget_shared, scalar_graphs
from mlfeat.descriptors._moment_splits import monomials, n_components, representatives, splits, terms

GAP = 0.01  # to the fewest products possible; what is left of it at the highest levels takes minutes to find


def contraction_tables(level):
    """Tables of all scalars up to a level: moments, products, scalars; see `MomentBasis`."""
    scalars = scalar_graphs(level)
    connected = [own[0] for own in scalars if len(own) == 1]
    chosen = choose_splits([graph for graph in connected if graph.n_moments > 1])
    parts = {part for split in chosen for part in split.parts} | set(connected)
    nodes = _Nodes()
    for graph in sorted((g for g in parts if g.n_moments == 1), key=lambda g: (g.colors, g.level)):
        nodes.add_moment(graph)
    for split in chosen:
        nodes.add_tensor(split)
    place = {}
    for own in scalars:
        place[own] = nodes.scalar(own[0]) if len(own) == 1 else nodes.product(place[own[:-1]], place[own[-1:]])
    forget_shared()
    return nodes.moments, nodes.products, list(place.values())


# --- which splits -----------------------------------------------------------------------------------------------------


def choose_splits(scalars):
    """Splits of the scalars and of all that they need, parts first, so that there are few products."""
    if not scalars:
        return []
    options = _options(scalars)
    used = _cheapest(options, scalars)
    chosen, needed = {}, list(scalars)
    while needed:
        graph = needed.pop()
        if graph not in chosen:
            chosen[graph] = next(split for split in options[graph] if split in used)
            needed += _made(chosen[graph])
    return [chosen[graph] for graph in sorted(chosen, key=lambda g: (g.n_moments, g))]


def _made(split):
    """Parts that are no moments."""
    return {part for part in split.parts if part.n_moments > 1}


def _options(scalars):
    """Splits of each tensor that may be needed, and their number of products.

    Without those that take more products than the tensor with all it needs, and those that need more than another and
    take no fewer products.
    """
    options, price = {}, {}

    def visit(graph):
        if graph not in price:
            own = sorted(((split, len(terms(split)[0])) for split in splits(graph)), key=lambda option: option[1])
            enough = min(n + sum(visit(part) for part in _made(split)) for split, n in own)
            options[graph] = {}
            for split, n in own:
                if n <= enough and not any(_made(other) <= _made(split) for other in options[graph]):
                    options[graph][split] = n
            price[graph] = enough + n_components(graph)
        return price[graph]

    for graph in scalars:
        visit(graph)
    return options


def _cheapest(options, scalars):
    """The set of splits that solves the integer program."""
    tensor = {graph: k for k, graph in enumerate(options)}
    all_splits = [split for own in options.values() for split in own]
    n_tensors, n_splits = len(tensor), len(all_splits)
    entries = [(k, k, -1) for k in range(n_tensors)]  # row, column, value
    n_rows = n_tensors
    for column, split in enumerate(all_splits, start=n_tensors):
        entries.append((tensor[split.result], column, 1))
        for part in _made(split):
            entries += [(n_rows, tensor[part], 1), (n_rows, column, -1)]
            n_rows += 1
    rows, columns, values = np.array(entries).T
    matrix = coo_array((values, (rows, columns)), shape=(n_rows, n_tensors + n_splits))
    cost = [n_components(graph) for graph in options] + [n for own in options.values() for n in own.values()]
    least = np.zeros(len(cost))
    least[[tensor[graph] for graph in scalars]] = 1
    found = milp(
        np.array(cost, dtype=float),
        integrality=np.ones(len(cost)),
        bounds=Bounds(least, 1),
        constraints=LinearConstraint(matrix.tocsr(), 0, np.inf),
        options={"mip_rel_gap": GAP},
    )
    return {split for split, x in zip(all_splits, found.x[n_tensors:], strict=True) if x > 0.5}


# --- tables -----------------------------------------------------------------------------------------------------------


class _Nodes:
    """The tables while they grow."""

    def __init__(self):
        self._moments, self._products, self._place, self._n = [], [], {}, 0

    def add_moment(self, graph):
        """All components of M_{μ,ν}."""
        exponents = monomials(sum(graph.edges[0]))
        self._moments.append(np.insert(exponents, 0, graph.colors[0], axis=1))
        self._place[graph] = self._new(np.arange(len(exponents)))

    def add_tensor(self, split):
        """The components of a tensor that no symmetry makes equal."""
        own = self._place[split.result] = self._new(representatives(split.result))
        first, second = (self._place[part] for part in split.parts)
        left, right, result, factor = terms(split)
        self._products.append(np.stack([first[left], second[right], factor, own[result]], axis=1))

    def scalar(self, graph):
        """Node of a graph without ports."""
        return self._place[graph][0]

    def product(self, first, second):
        """Node of a product of two."""
        (result,) = self._new(np.zeros(1, dtype=np.intp))
        self._products.append(np.array([[first, second, 1, result]]))
        return result

    @property
    def moments(self):
        """Rows μ, a, b, c."""
        return np.concatenate(self._moments)

    @property
    def products(self):
        """Rows first, second, factor, result."""
        return np.concatenate([np.empty((0, 4), dtype=np.intp), *self._products])

    def _new(self, representative):
        """Nodes for components, of which some are represented by others."""
        unique, where = np.unique(representative, return_inverse=True)
        self._n += len(unique)
        return self._n - len(unique) + where
