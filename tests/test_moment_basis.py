"""Contractions of moment tensors: their number, values, levels and cost, parts of a basis, and what is refused."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mlfeat.descriptors._moment_basis import LEVELS, MomentBasis, moment_basis
from mlfeat.descriptors._moment_graphs import MOST_MOMENTS, scalar_graphs

# By brute force (below); of levels 8, 14, 16, 20 and 24 published files have as many.
COUNTS = dict(zip(LEVELS, [1, 2, 5, 9, 16, 29, 52, 92, 163, 288, 500, 864, 1466, 2455], strict=True))
PUBLISHED_SIZES = {8: (14, 18), 14: (348, 174), 16: (969, 350), 20: (6349, 1352), 24: (36170, 4991)}  # products, nodes
PUBLISHED = {
    "reference/descriptors/motep_level08_one_species": 8,
    "models/MoNbTaW/mtp.2021.08/quaternary": 14,
    "models/Li/mtp/fitted": 16,
    "models/Mo/mtp/fitted": 20,
    "reference/descriptors/motep_level20_one_species": 20,
    "models/Si/mtp/fitted": 24,
}


class Environment:
    """Random neighbors of a center: unit vectors (n, 3) and f_μ (8, n)."""

    def __init__(self, seed, n_neighbors=12, rotation=None):
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(n_neighbors, 3))
        self.vectors = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        self.radial = rng.normal(size=(8, n_neighbors))
        if rotation is not None:
            self.vectors = rotation.apply(self.vectors)

    def moments(self, basis):
        mu, exponents = basis.moments[:, 0], basis.moments[:, None, 1:]
        return np.einsum("mn,mn->m", self.radial[mu], np.prod(self.vectors**exponents, axis=2))

    def features(self, basis):
        return scalars_of(basis, self.moments(basis))

    def scalar(self, graphs):
        """Σ_j … Π_v f_μv(j_v) Π_{v<w} (r̂_jv · r̂_jw)^k_vw of each connected graph."""
        value, cosines = 1.0, self.vectors @ self.vectors.T
        for graph in graphs:
            operands = []
            for v, mu in enumerate(graph.colors):
                operands += [self.radial[mu], [v]]
                for w in range(v):
                    operands += [cosines ** graph.edges[v][w], [v, w]]
            value *= np.einsum(*operands, [], optimize=True)
        return value


def scalars_of(basis, moments):
    """Node by node, as the tables say. The moments may have a second axis."""
    nodes = np.zeros((basis.n_nodes, *moments.shape[1:]))
    nodes[: len(moments)] = moments
    for first, second, factor, result in basis.products.tolist():
        nodes[result] += factor * nodes[first] * nodes[second]
    return nodes[basis.scalars]


def published(shared, name):
    """The tables of a file of MLIP."""
    text = (shared / f"{name}.mtp").read_text()

    def table(name, *shape):
        (values,) = re.findall(rf"^{name} = (.*)$", text, flags=re.MULTILINE)
        return np.array(re.findall(r"-?\d+", values), dtype=np.intp).reshape(-1, *shape)

    return MomentBasis(table("alpha_index_basic", 4), table("alpha_index_times", 4), table("alpha_moment_mapping"))


# --- scalars


def multigraphs(level):
    """By brute force: how many multigraphs of at most MOST_MOMENTS vertices have each level, up to isomorphism.

    Of all orders of the vertices only the smallest matrix counts.
    """
    found = Counter()
    for n in range(1, MOST_MOMENTS + 1):
        pairs = list(itertools.combinations(range(n), 2))
        orders = list(itertools.permutations(range(n)))
        places = np.array([[pairs.index(tuple(sorted((p[v], p[w])))) for v, w in pairs] for p in orders], dtype=int)
        most = level // 2 - n
        for edges in itertools.product(range(most + 1), repeat=len(pairs)):
            left = most - sum(edges)
            if left < 0:
                continue
            edges = np.array(edges, dtype=int)
            images = edges[places].tolist() if pairs else [[]]
            if min(images) != images[0]:
                continue
            alike = [p for p, image in zip(orders, images, strict=True) if image == images[0]]
            for mu in itertools.product(range(left // 2 + 1), repeat=n):
                if 2 * sum(mu) <= left and mu == min(tuple(mu[v] for v in p) for p in alike):
                    found[2 * (n + sum(edges.tolist())) + 4 * sum(mu)] += 1
    return found


def test_counts_are_those_of_all_multigraphs():
    found = multigraphs(28)
    assert list(itertools.accumulate(found[level] for level in LEVELS)) == list(COUNTS.values())


@pytest.mark.parametrize("level", LEVELS)
def test_number_of_scalars(level):
    assert len(scalar_graphs(level)) == COUNTS[level]


@pytest.mark.parametrize(
    "level", [*range(2, 26, 2), *(pytest.param(level, marks=pytest.mark.slow) for level in (26, 28))]
)
def test_scalars_are_the_contractions_of_their_graphs(level):
    """By sums over sets of neighbors, one for each moment."""
    basis = moment_basis(level)
    environment = Environment(seed=level, n_neighbors=5)
    graphs = scalar_graphs(level)
    expected = [environment.scalar(own) for own in graphs]
    np.testing.assert_allclose(environment.features(basis), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(basis.levels, [sum(graph.level for graph in own) for own in graphs])
    basis.check()


@pytest.mark.parametrize("level", [8, 16, 20])
def test_scalars_do_not_turn(level):
    basis = moment_basis(level)
    rotation = Rotation.from_rotvec([0.4, -1.1, 0.7])
    expected = Environment(3).features(basis)
    found = Environment(3, rotation=rotation).features(basis)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", PUBLISHED)
def test_scalars_are_those_of_published_tables(name, shared):
    """Each is one of theirs times a constant, in another order."""
    own, other = moment_basis(PUBLISHED[name]), published(shared, name)
    other.check()
    np.testing.assert_array_equal(own.moments, other.moments)
    moments = np.stack([Environment(seed).moments(own) for seed in range(10)], axis=1)
    values = [scalars_of(basis, moments) for basis in (own, other)]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in values]
    same = np.abs(unit[0] @ unit[1].T) > 1 - 1e-10
    np.testing.assert_array_equal(same.sum(axis=0), 1)
    np.testing.assert_array_equal(same.sum(axis=1), 1)
    np.testing.assert_array_equal(own.levels, other.levels[same.argmax(axis=1)])
    assert sorted(own.names()) == sorted(other.names())


@pytest.mark.parametrize(("level", "share"), [(8, 1), (14, 0.9), (16, 0.75), (20, 0.7), (24, 0.6)])
def test_products_and_nodes_are_fewer_than_in_published_tables(level, share):
    cost, (n_products, n_nodes) = moment_basis(level).cost(), PUBLISHED_SIZES[level]
    assert cost.n_scalars == COUNTS[level]
    assert cost.n_products <= share * n_products
    assert cost.n_nodes <= n_nodes


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_of_published_tables(name, shared):
    cost = published(shared, name).cost()
    assert (cost.n_products, cost.n_nodes) == PUBLISHED_SIZES[PUBLISHED[name]]


# --- the basis as an object


def test_a_basis_is_made_once_and_cannot_be_changed():
    basis = moment_basis(8)
    assert moment_basis(8) is basis
    for values in basis:
        assert values.dtype == np.intp
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1


@pytest.mark.parametrize("level", [0, 3, 30, -2, 16.5, None])
def test_other_levels_are_refused(level):
    with pytest.raises(ValueError, match="even number from 2 to 28"):
        moment_basis(level)


def test_small_bases():
    moment, square = moment_basis(2), moment_basis(4)
    assert moment.moments.tolist() == [[0, 0, 0, 0]]
    assert moment.products.shape == (0, 4)
    assert moment.scalars.tolist() == [0]
    assert square.products.tolist() == [[0, 0, 1, 1]]
    assert moment_basis(6).names().tolist() == [
        "M(0,0)",
        "M(0,0) M(0,0)",
        "M(1,0)",
        "M(0,1) M(0,1)",
        "M(0,0) M(0,0) M(0,0)",
    ]


@pytest.mark.parametrize("level", [2, 8, 16, 20])
def test_names_differ(level):
    names = moment_basis(level).names()
    assert names.shape == (COUNTS[level],)
    assert len(set(names)) == COUNTS[level]


@pytest.mark.parametrize(("level", "n_radial"), [(2, 1), (6, 2), (8, 2), (16, 4), (20, 5)])
def test_number_of_radial_functions(level, n_radial):
    assert moment_basis(level).n_radial == n_radial


def test_order_goes_by_level():
    assert (np.diff(moment_basis(20).levels) >= 0).all()


@pytest.mark.parametrize("chosen", [[3], [17, 4, 91, 0], np.arange(92) % 3 == 0, slice(None, None, -1)], ids=str)
def test_subsets_keep_values(chosen):
    basis = moment_basis(16)
    part = basis.subset(np.arange(92)[chosen])
    part.check()
    environment = Environment(1)
    np.testing.assert_allclose(environment.features(part), environment.features(basis)[chosen], rtol=1e-12)
    np.testing.assert_array_equal(part.levels, basis.levels[chosen])


def test_subsets_drop_what_nobody_needs():
    basis = moment_basis(16)
    (place,) = np.flatnonzero(basis.names() == "M(0,2) M(0,2)")
    part = basis.subset([place])
    assert len(part.moments) == len(part.products) == 6
    assert part.n_nodes == 7
    assert part.cost().n_scalars == 1


def test_subsets_keep_the_numbers_of_radial_functions():
    basis = moment_basis(16)
    (place,) = np.flatnonzero(basis.names() == "M(2,0)")
    assert basis.subset([place]).moments.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]]


def test_a_subset_of_a_mask_equals_that_of_places():
    mask = np.arange(92) % 5 == 1
    for found, expected in zip(*(moment_basis(16).subset(own) for own in (mask, np.flatnonzero(mask))), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("chosen", [[], [[1, 2]], 3, np.zeros(92, dtype=bool)], ids=str)
def test_subsets_of_nothing_are_refused(chosen):
    with pytest.raises(ValueError, match="one or more scalars"):
        moment_basis(16).subset(chosen)


@pytest.mark.parametrize("level", [8, 14])
def test_a_lower_level_is_a_part_of_a_higher(level):
    whole, own = moment_basis(18), moment_basis(level)
    part = whole.subset(whole.levels <= level)
    np.testing.assert_array_equal(part.moments, own.moments)
    environment = Environment(2)
    np.testing.assert_allclose(environment.features(part), environment.features(own), rtol=1e-10)


def test_cost_counts_operations():
    cost = moment_basis(6).cost()  # M000, M100, M0 of x, y and z; the square, the sum of squares, the cube
    assert cost[:4] == (5, 8, 5, 5)
    assert cost.neighbor_forward == 4 + 2 * 5
    assert (cost.atom_forward, cost.atom_reverse) == (15, 25)


# --- damaged tables


def damaged(table, place, value):
    basis = [own.copy() for own in moment_basis(8)]
    basis[table][place] = value
    return MomentBasis(*basis)


N_BASIC, N_NODES = 11, 18


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (damaged(0, (3, 2), -1), "moment 3 has a negative number"),
        (damaged(0, 2, (0, 1, 0, 0)), r"moment 2 is a second \[0, 1, 0, 0\]"),
        (damaged(0, (10, 0), 3), "no moment has μ = [12]"),
        (damaged(1, (0, 0), -1), "product 0 takes node -1"),
        (damaged(1, (4, 1), N_NODES), f"product 4 takes node {N_NODES}, which is none of"),
        (damaged(1, (0, 0), N_NODES - 1), f"product 0 takes node {N_NODES - 1} before it is finished"),
        (damaged(1, (2, 3), 4), f"after the {N_BASIC} moments, each of them; product 2"),
        (damaged(1, (-1, 3), N_NODES + 5), "results of products must be"),
        (damaged(2, 4, N_NODES), f"scalar 4 is node {N_NODES}"),
        (damaged(2, 1, -2), "scalar 1 is node -2"),
        (moment_basis(8)._replace(scalars=np.empty(0, dtype=int)), "none given"),
        (moment_basis(8)._replace(moments=np.empty((0, 4), dtype=int)), "one moment at least"),
        (moment_basis(8)._replace(products=np.zeros((3, 3), dtype=int)), r"products must have the shape \(n, 4\)"),
        (moment_basis(8)._replace(scalars=np.zeros((3, 3), dtype=int)), r"scalars must have the shape \(n\)"),
        (moment_basis(8)._replace(moments=np.zeros((3, 4))), "moments must be an array of integers"),
        (moment_basis(8)._replace(scalars=[1, 2]), "scalars must be an array of integers"),
    ],
)
def test_damaged_tables_are_refused(basis, message):
    with pytest.raises(ValueError, match=message):
        basis.check()


def test_a_sum_that_grows_after_its_use_is_refused():
    basis = moment_basis(8)
    last = len(basis.products) - 1
    late = basis.products[[0, 1, *range(3, last + 1), 2]]  # of M(0,1) M(0,1), which M(0,0) multiplies
    with pytest.raises(ValueError, match=f"node {N_BASIC} before it is finished by product {last}"):
        basis._replace(products=late).check()
