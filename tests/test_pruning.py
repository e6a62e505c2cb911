"""Pruning of linear models: losses against refits, choices against brute force, costs of moments and products."""

import numpy as np
import pytest

from mlfeat.descriptors._moment_basis import moment_basis
from mlfeat.potentials import _pruning
from mlfeat.potentials._pruning import SharedCost, prune

N_NEIGHBORS, N_POLYNOMIALS = 30, 8


def problem(n_features, n_coefficients=1, n_intercepts=0, seed=0):
    """Normal matrix, right side and square of the targets; columns of features come before the intercepts."""
    rng = np.random.default_rng(seed)
    n = n_features * n_coefficients + n_intercepts
    rows = rng.normal(size=(5 * n, n)) @ (np.eye(n) + 0.3 * rng.normal(size=(n, n))) * np.geomspace(1e-2, 1e3, n)
    targets = rows @ (rng.normal(size=n) / np.geomspace(1e-2, 1e3, n)) + 0.3 * rng.normal(size=len(rows))
    return rows.T @ rows, rows.T @ targets, targets @ targets


def columns_of(n_features, n_coefficients):
    return np.arange(n_features * n_coefficients).reshape(n_coefficients, n_features).T


def refitted(gram, rhs, square, kept):
    return square - rhs[kept] @ np.linalg.solve(gram[np.ix_(kept, kept)], rhs[kept])


def kept_columns(path, step, columns, n_columns):
    others = np.setdiff1d(np.arange(n_columns), columns)
    return np.sort(np.concatenate([others, columns[path.kept(step)].ravel()]))


def shared_cost(n_features, seed=0):
    rng = np.random.default_rng(seed)
    needs = rng.random((n_features, 3 * n_features)) < 0.15
    needs[:, 0] = True
    costs = rng.random(3 * n_features)
    return SharedCost(needs, costs), needs, costs


def own_cost(n_features):
    return SharedCost(np.eye(n_features), np.ones(n_features))


@pytest.mark.parametrize("n_downdates", [1, 7, 1000])
@pytest.mark.parametrize(("n_coefficients", "n_intercepts"), [(1, 0), (1, 2), (3, 3)])
def test_losses_are_those_of_refits(monkeypatch, n_downdates, n_coefficients, n_intercepts):
    monkeypatch.setattr(_pruning, "N_DOWNDATES", n_downdates)
    gram, rhs, square = problem(20, n_coefficients, n_intercepts)
    columns = columns_of(20, n_coefficients)
    path = prune(gram, rhs, square, shared_cost(20)[0], columns=columns)
    assert path.n_kept[[0, -1]].tolist() == [20, 1]
    assert len(path.n_kept) == len(path.loss) == len(path.cost)
    for step in range(len(path.loss)):
        kept = kept_columns(path, step, columns, len(gram))
        assert len(path.kept(step)) == path.n_kept[step]
        assert path.loss[step] == pytest.approx(refitted(gram, rhs, square, kept), rel=1e-9)
    assert (np.diff(path.loss) >= 0).all()


def test_costs_are_those_of_the_parts_needed():
    gram, rhs, square = problem(15)
    cost, needs, costs = shared_cost(15)
    path = prune(gram, rhs, square, cost)
    for step, total in enumerate(path.cost):
        assert total == pytest.approx(costs[needs[path.kept(step)].any(axis=0)].sum(), rel=1e-12)


@pytest.mark.parametrize("n_coefficients", [1, 2])
def test_each_choice_is_the_best_by_brute_force(n_coefficients):
    gram, rhs, square = problem(9, n_coefficients, 1)
    columns = columns_of(9, n_coefficients)
    cost, needs, costs = shared_cost(9)
    path = prune(gram, rhs, square, cost, columns=columns)
    for step, gone in enumerate(path.removed):
        left = path.kept(step)
        users = needs[left].sum(axis=0)
        scores = []
        for feature in left:
            rest = left[left != feature]
            kept = np.append(columns[rest].ravel(), len(gram) - 1)
            share = sum(costs[part] / users[part] ** 2 for part in np.flatnonzero(needs[feature]))
            scores.append((refitted(gram, rhs, square, kept) - path.loss[step]) / share)
        assert left[int(np.argmin(scores))] == gone


def test_of_features_that_explain_the_same_the_costly_one_goes():
    rows = np.random.default_rng(3).normal(size=(50, 3))
    rows = np.linalg.qr(rows)[0]
    gram, rhs = rows.T @ rows, np.ones(3)
    path = prune(gram, rhs, 4.0, SharedCost(np.eye(3), [1.0, 3.0, 2.0]))
    assert path.removed.tolist() == [1, 2]
    assert path.cost.tolist() == [6.0, 3.0, 1.0]
    np.testing.assert_allclose(path.loss, [1.0, 2.0, 3.0], rtol=1e-12)


def test_a_feature_that_explains_nothing_goes_first():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(50, 4))
    rows[:, 2] -= rows[:, [0, 1, 3]] @ np.linalg.lstsq(rows[:, [0, 1, 3]], rows[:, 2])[0]
    targets = rows[:, [0, 1, 3]] @ [1.0, 2.0, 3.0]
    path = prune(rows.T @ rows, rows.T @ targets, targets @ targets, own_cost(4))
    assert path.removed[0] == 2


def test_limits_end_the_path_where_they_say():
    gram, rhs, square = problem(12)
    whole = prune(gram, rhs, square, shared_cost(12)[0])
    for step in (0, 3, 8):
        limited = prune(gram, rhs, square, shared_cost(12)[0], max_loss=whole.loss[step] * (1 + 1e-9))
        np.testing.assert_array_equal(limited.removed, whole.removed[:step])
        np.testing.assert_array_equal(limited.cost, whole.cost[: step + 1])
        enough = prune(gram, rhs, square, shared_cost(12)[0], target_cost=whole.cost[step])
        np.testing.assert_array_equal(enough.removed, whole.removed[:step])


def test_dependent_features_need_a_penalty():
    rows = np.random.default_rng(4).normal(size=(30, 5))
    rows[:, 4] = rows[:, 0]
    targets = rows.sum(axis=1)
    gram, rhs, square = rows.T @ rows, rows.T @ targets, targets @ targets
    with pytest.raises(ValueError, match="add a penalty"):
        prune(gram, rhs, square, own_cost(5))
    path = prune(gram + 1e-8 * np.eye(5), rhs, square, own_cost(5))
    assert path.removed[0] in (0, 4)
    assert path.loss[1] == pytest.approx(path.loss[0], abs=1e-6)


def flop(basis):
    """As MomentBasis counts, with radial functions and the terms of the energy."""
    cost = basis.cost()
    radial = 4 * N_POLYNOMIALS * len(np.unique(basis.moments[:, 0]))
    neighbor = cost.neighbor_forward + cost.neighbor_reverse + radial
    return N_NEIGHBORS * neighbor + cost.atom_forward + cost.atom_reverse + 2 * cost.n_scalars


@pytest.mark.parametrize("level", [2, 8, 16])
def test_costs_of_moments_are_those_of_the_basis_that_is_left(level):
    basis = moment_basis(level)
    cost = SharedCost.of_moments(basis, N_NEIGHBORS, N_POLYNOMIALS)
    left = np.random.default_rng(5).permutation(len(basis.scalars))
    assert cost.total == flop(basis)
    while len(left) > 1:
        feature, left = left[0], left[1:]
        cost.drop(feature)
        rest = basis.subset(left)
        if len(np.unique(rest.moments[:, 0])) == len(np.unique(used_radial(rest))):
            assert cost.total == flop(rest)
    assert cost.shares()[left[0]] == cost.total


def used_radial(basis):
    """The μ of moments that products or scalars take: one that fills a gap between others is not among them."""
    nodes = np.concatenate([basis.products[:, :2].ravel(), basis.scalars])
    return basis.moments[np.unique(nodes[nodes < len(basis.moments)]), 0]
