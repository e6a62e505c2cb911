import pickle

import numpy as np
import pytest
from _radial import Cubic, Linear, Radial, every_kind, metals
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils import _safe_indexing

import mlfeat.features
from mlfeat import make_targets
from mlfeat._cache import CACHE
from mlfeat.features import FeatureSet, StructureFeatures, center_blocks

STEPS = {
    "no step": (),
    "one step": (Cubic(),),
    "two steps": (Cubic(0.1), Cubic(-0.2)),
}
STRUCTURES = every_kind()


@pytest.fixture(scope="module", params=STEPS, ids=str)
def features(request):
    """A FeatureSet of every kind of structure behind each kind of steps."""
    return make_pipeline(Radial(4.2), *STEPS[request.param]).fit_transform(list(STRUCTURES.values()))


@pytest.fixture(params=range(len(STRUCTURES)), ids=list(STRUCTURES))
def item(request, features):
    return features[request.param]


@pytest.fixture
def X():
    return Radial().fit_transform(metals())


# one structure's features


def random(*shape):
    return np.random.default_rng(0).normal(size=shape)


def features_at(item, pairs):
    """Features of a structure at other pair vectors."""
    first = (pairs, item.descriptor.values(pairs), item.species, item.n_species, item.descriptor)
    return StructureFeatures(*first, steps=item.steps).values


def numerical_derivative(f, h=1e-4):
    """f'(0), of fourth order in the step h."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def test_shapes_are_as_documented(item):
    assert item.values.shape == (item.n_atoms, item.n_features)
    assert item.species.shape == (item.n_atoms,)
    assert item.n_species == 2
    assert not item.values.flags.writeable
    assert item.vjp(np.ones_like(item.values)).shape == (item.pairs.n_pairs, 3)
    assert item.jvp(np.ones((item.pairs.n_pairs, 3))).shape == item.values.shape
    assert item.rows().shape == (1 + 3 * item.n_atoms + 6, 2 * item.n_features)
    assert not item.rows().flags.writeable


def test_jvp_is_the_derivative_along_every_coordinate(item):
    pairs = item.pairs
    for a in range(min(3, item.n_atoms)):
        for x in range(3):
            direction = np.zeros((item.n_atoms, 3))
            direction[a, x] = 1
            numerical = numerical_derivative(lambda h: features_at(item, pairs.moved(pairs.positions + h * direction)))
            displacements = direction[pairs.second] - direction[pairs.first]
            np.testing.assert_allclose(item.jvp(displacements), numerical, rtol=1e-7, atol=1e-8)


def test_vjp_is_the_adjoint_of_jvp(item):
    cotangents, displacements = random(*item.values.shape), random(item.pairs.n_pairs, 3)
    forward, backward = np.sum(cotangents * item.jvp(displacements)), np.sum(item.vjp(cotangents) * displacements)
    assert forward == pytest.approx(backward, rel=1e-11, abs=1e-11)


def test_jacobian_contracts_to_vjp_and_jvp(item):
    jacobian = item.jacobian()
    cotangents, displacements = random(*item.values.shape), random(item.pairs.n_pairs, 3)
    gradients = np.einsum("pxk,pk->px", jacobian, cotangents[item.pairs.first])
    np.testing.assert_allclose(item.vjp(cotangents), gradients, rtol=1e-11, atol=1e-11)
    change = np.zeros_like(item.values)
    np.add.at(change, item.pairs.first, np.einsum("pxk,px->pk", jacobian, displacements))
    np.testing.assert_allclose(item.jvp(displacements), change, rtol=1e-11, atol=1e-11)


def test_jacobian_comes_in_blocks_of_centers(item):
    edges = sorted({0, item.n_atoms // 3, item.n_atoms // 2, item.n_atoms})
    blocks = [item.jacobian(start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_array_equal(np.concatenate(blocks), item.jacobian())


def test_rows_times_coefficients_are_energy_forces_and_stress(item):
    coef = random(item.n_species, item.n_features)
    gradients = item.vjp(coef[item.species])
    predicted = item.rows() @ coef.ravel()
    assert predicted[0] == pytest.approx(np.sum(coef[item.species] * item.values), rel=1e-12)
    np.testing.assert_allclose(predicted[1:-6].reshape(-1, 3), item.pairs.forces(gradients), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(predicted[-6:], item.pairs.stress(gradients), rtol=1e-10, atol=1e-12)


def test_rows_without_a_volume_have_no_stress(item):
    assert np.isnan(item.rows()[-6:]).all() == np.isnan(item.pairs.volume)
    assert np.isfinite(item.rows()[:-6]).all()


def test_rows_do_not_depend_on_blocks(item, monkeypatch):
    rows = item.rows()
    monkeypatch.setattr(mlfeat.features, "BLOCK_ALIGN", 1)
    monkeypatch.setattr(mlfeat.features.center_blocks, "__defaults__", (1,))
    np.testing.assert_allclose(item._rows(), rows, rtol=1e-12, atol=1e-12)


def test_pickled_features_are_the_same(item):
    twin = pickle.loads(pickle.dumps(item))
    np.testing.assert_array_equal(twin.values, item.values)
    np.testing.assert_array_equal(twin._rows(), item.rows())
    assert twin.group == item.group


def test_repr_says_what_it_is(X):
    assert repr(X[1]) == "StructureFeatures(n_atoms=8, n_features=3, group='group 1')"
    assert repr(X) == "FeatureSet(n_structures=6, n_features=3)"


@pytest.mark.parametrize("limit", [1, 1000, 10**5, 10**9])
@pytest.mark.parametrize("counts", [[0], [5], 100 * [3], [0, 0, 500, 0, 2] * 20], ids=len)
def test_blocks_cover_all_centers_in_order(counts, limit):
    offsets = np.cumsum([0, *counts])
    blocks = list(center_blocks(offsets, 10, limit))
    assert [center for start, stop in blocks for center in range(start, stop)] == list(range(len(counts)))
    assert all(start % 16 == 0 for start, _ in blocks)
    for start, stop in blocks:
        assert stop - start <= 16 or (offsets[stop] - offsets[start]) * 240 <= limit


# the set


def test_a_set_looks_like_an_array_of_structures(X):
    assert X.shape == (6, 3)
    assert X.ndim == 2
    assert X.dtype == np.float64
    assert len(X) == 6
    assert [item.group for item in X] == X.groups.tolist() == 2 * ["group 0", "group 1", "group 2"]
    assert not hasattr(X, "iloc")
    assert not hasattr(X, "columns")


def test_an_integer_gives_one_structure(X):
    assert X[2] is X.items[2]
    assert X[-1] is X.items[5]
    assert X[np.int64(2)] is X.items[2]
    assert X[np.array(2)] is X.items[2]
    with pytest.raises(IndexError):
        X[6]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [5, 3, 1]),
        ([3, 0, 3], [3, 0, 3]),
        (np.array([-1, 2]), [5, 2]),
        (np.array([True, False, False, True, False, False]), [0, 3]),
        ([False, True, False, False, False, False], [1]),
        ((np.array([4, 1]), Ellipsis), [4, 1]),
        ((slice(4, None), Ellipsis), [4, 5]),
        (range(2), [0, 1]),
        (slice(0, 0), []),
        (np.array([], dtype=int), []),
    ],
    ids=str,
)
def test_other_keys_give_a_set_that_shares_the_structures(X, key, expected):
    part = X[key]
    assert isinstance(part, FeatureSet)
    assert part.shape == (len(expected), 3)
    assert all(item is X.items[k] for item, k in zip(part, expected, strict=True))
    assert part.feature_names.tolist() == X.feature_names.tolist()


@pytest.mark.parametrize("key", [(slice(None), 0), (0, 1, 2), (Ellipsis, 0)], ids=str)
def test_columns_cannot_be_chosen(X, key):
    with pytest.raises(IndexError, match="indexed by structure only"):
        X[key]


def test_a_mask_of_another_length_is_refused(X):
    with pytest.raises(IndexError):
        X[np.array([True, False])]


def test_scikit_learn_indexes_it(X):
    for indices in ([0, 2], np.array([0, 2]), np.array([True, False, True, False, False, False]), slice(0, 3, 2)):
        part = _safe_indexing(X, indices)
        assert [item is X.items[k] for item, k in zip(part, (0, 2), strict=True)] == [True, True]


def test_the_array_is_the_sum_over_atoms(X):
    sums = np.asarray(X)
    np.testing.assert_allclose(sums, [item.values.sum(axis=0) for item in X], rtol=1e-15)
    np.testing.assert_allclose(sums, [item.rows()[0].reshape(2, 3).sum(axis=0) for item in X], rtol=1e-14)
    assert np.asarray(X, dtype=np.float32).dtype == np.float32
    assert np.asarray(X[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="made anew"):
        np.array(X, copy=False)


def test_values_are_those_of_all_atoms(X):
    np.testing.assert_array_equal(X.values, np.concatenate([item.values for item in X]))
    assert X[:0].values.shape == (0, 3)


def test_pickled_sets_are_the_same(X):
    twin = pickle.loads(pickle.dumps(X))
    np.testing.assert_array_equal(np.asarray(twin), np.asarray(X))
    assert twin.feature_names.tolist() == X.feature_names.tolist()
    assert twin[0].descriptor is twin[1].descriptor


def test_a_potential_is_searched_on_a_set(X):
    y = make_targets(metals())

    class Tilted(Linear, BaseEstimator):
        """Linear, times a factor that a search should find to be 1."""

        def __init__(self, factor=1.0):
            self.factor = factor

        def energy_and_cotangent(self, features):
            return tuple(self.factor * part for part in super().energy_and_cotangent(features))

    search = GridSearchCV(Tilted(), {"factor": [0.5, 1.0, 2.0]}, cv=KFold(3), error_score="raise").fit(X, y)
    assert search.best_params_ == {"factor": 1.0}
    assert cross_val_predict(Linear(), X, y, groups=X.groups, cv=GroupKFold(3)).shape == (6,)


# the cache


def test_rows_are_made_once(X):
    assert X[0].rows() is X[0].rows()
    again = Radial().fit_transform(metals())
    assert again[0].rows() is X[0].rows()


def test_rows_of_other_steps_are_others(X):
    steps = [Cubic(shift).fit(X) for shift in (0.0, 0.1)]
    one, other, same = (step.transform(X)[0].rows() for step in (*steps, steps[0]))
    assert same is one
    assert np.abs(other - one).max() > 1e-3


def test_an_item_without_key_leaves_no_trace(X):
    item = X[0]
    bare = StructureFeatures(item.pairs, item.values, item.species, item.n_species, item.descriptor)
    before = len(CACHE)
    np.testing.assert_array_equal(bare.rows(), item.descriptor.rows(item.pairs))
    assert bare.then(Cubic().fit(X), "step").key is None
    assert len(CACHE) == before
