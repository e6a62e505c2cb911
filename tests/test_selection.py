"""Choice of structures to compute: known answers, and each method against its definition."""

from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.distance import cdist
from sklearn.pipeline import make_pipeline

from mlfeat import SOAP, Bispectrum, FeatureScaler
from mlfeat.preprocessing._selector import choose_columns
from mlfeat.selection import cur, farthest_point, maxvol

METHODS = [farthest_point, cur, maxvol]


def points(n=40, n_features=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_features)) * np.arange(1, n_features + 1)


def crystals():
    """Perfect and hot cells, a dimer, an alloy."""
    found = [bulk("Cu", a=3.6, cubic=True), bulk("Cu", a=3.65, cubic=True)]
    for seed, size in enumerate((0.02, 0.05, 0.1, 0.2)):
        atoms = bulk("Cu", a=3.6, cubic=True) * (2, 1, 1)
        atoms.rattle(size, seed=seed)
        found.append(atoms)
    alloy = found[0].copy()
    alloy.numbers[0] = 28
    return [*found, alloy]


# --- farthest points -----------------------------------------------------------------------------


def test_farthest_points_on_a_line():
    line = np.array([[0.0], [1.0], [2.0], [10.0]])  # the mean is 3.25
    np.testing.assert_array_equal(farthest_point(line, 4), [2, 3, 0, 1])
    np.testing.assert_array_equal(farthest_point(line, 3, initial=0), [0, 3, 2])
    np.testing.assert_array_equal(farthest_point(line, 2, already=[[9.0]]), [0, 2])


@pytest.mark.parametrize("zeta", [1, 4])
@pytest.mark.parametrize("known", [0, 7])
def test_each_is_the_farthest_of_those_left(zeta, known):
    values, already = points(60), points(known + 1, seed=1)[:known]
    kernel = np.concatenate([values, already]) @ np.concatenate([values, already]).T
    kernel = kernel**zeta
    squared = np.diag(kernel)[:, None] + np.diag(kernel) - 2 * kernel
    if zeta == 1:
        np.testing.assert_allclose(squared[:60, :60], cdist(values, values) ** 2, atol=1e-9)
    chosen = farthest_point(values, 20, already=already if known else None, zeta=zeta)
    assert len(set(chosen)) == 20
    for k in range(0 if known else 1, 20):
        near = squared[:60][:, [*range(60, 60 + known), *chosen[:k]]].min(axis=1)
        assert near[chosen[k]] == pytest.approx(near[np.setdiff1d(range(60), chosen[:k])].max(), rel=1e-9)


def test_a_structure_is_as_new_as_its_newest_atom():
    """One atom far off its place counts more than many that are a bit off."""
    crystal = bulk("Cu", a=3.6, cubic=True) * (2, 2, 2)
    compressed = crystal.copy()
    compressed.set_cell(crystal.cell.array * 0.99, scale_atoms=True)
    one_off = crystal.copy()
    one_off.positions[0] += 0.4
    features = SOAP(cutoff=4.0, n_max=4, l_max=4).fit([crystal]).transform([compressed, one_off, crystal])
    assert farthest_point(features[:2], 1, already=features[2:])[0] == 1
    means = np.array([item.values.mean(axis=0) for item in features])
    np.testing.assert_array_equal(
        farthest_point(features, 3, reduce="mean", initial=2), farthest_point(means, 3, initial=2)
    )


def test_elements_are_kept_apart():
    """An element that was not there before is new, even where its features are those of known atoms of another one."""
    copper, strained = bulk("Cu", a=3.6, cubic=True), bulk("Cu", a=3.7, cubic=True)
    alloy = copper.copy()
    alloy.numbers[0] = 28
    features = Bispectrum(cutoff=4.0, twojmax=4, species=["Cu", "Ni"]).fit([alloy]).transform([copper, strained, alloy])
    np.testing.assert_allclose(features[2].values, features[0].values)
    for method in (farthest_point, maxvol):
        assert method(features[1:], 1, already=features[:1])[0] == 1
        assert method(features[1:], 1, already=features[:1], reduce="mean")[0] == 0


# --- CUR -----------------------------------------------------------------------------------------


def test_orthogonal_rows_come_by_length():
    values = np.diag([2.0, 5.0, 1.0, 3.0])
    np.testing.assert_array_equal(cur(values, 4), [1, 3, 0, 2])
    np.testing.assert_array_equal(cur(values, 2, already=values[1:2]), [3, 0])


def test_cur_of_structures_is_that_of_columns():
    values = points(30, 8)
    order, _ = choose_columns(values @ values.T, 8, 1e-6)
    np.testing.assert_array_equal(cur(values, 8), order)


def test_cur_begins_anew_when_all_is_spanned():
    values = points(30, 5)
    chosen = cur(values, 12)
    assert len(set(chosen)) == 12
    left = np.setdiff1d(np.arange(30), chosen[:5])
    np.testing.assert_array_equal(chosen[5:10], left[cur(values[left], 5)])


def test_cur_of_atoms_goes_by_the_atom_of_the_largest_score():
    structures = crystals()[:-1]
    features = SOAP(cutoff=4.0, n_max=4, l_max=4).fit(structures).transform(structures)
    left, chosen = features.values, cur(features, 6, reduce="atoms")
    assert sorted(chosen) == list(range(6))
    for k in (0, 1):
        leading = np.linalg.svd(left)[2][0]
        parts = np.split(left, np.cumsum([item.n_atoms for item in features])[:-1])
        scores = [np.max((part @ leading) ** 2) for part in parts]
        assert scores[chosen[k]] == pytest.approx(max(scores), rel=1e-7)
        left = left @ (np.eye(left.shape[1]) - np.linalg.pinv(parts[chosen[k]], rcond=1e-8) @ parts[chosen[k]])


# --- MaxVol --------------------------------------------------------------------------------------


def test_maxvol_on_a_line_takes_the_ends_and_stops():
    line = np.array([[0.0], [1.0], [2.0], [10.0]])
    np.testing.assert_array_equal(maxvol(line, 4), [2, 3, 0])  # 1 lies between
    np.testing.assert_array_equal(maxvol(line, 4, already=[[0.0], [10.0]]), [])
    np.testing.assert_array_equal(maxvol(line, 4, already=[[1.0], [3.0]]), [3, 0])
    assert len(maxvol(line, 4, threshold=0)) == 4


def test_maxvol_finds_a_simplex_of_large_volume():
    """Of all simplices on a few points; a greedy choice is at most a factor below, and here beats nearly all."""
    values = points(14, 3, seed=4)
    rows = np.hstack([np.ones((14, 1)), values])
    volumes = [abs(np.linalg.det(rows[list(c)])) for c in combinations(range(14), 4)]
    chosen = maxvol(values, 14)
    largest = max(abs(np.linalg.det(rows[list(c)])) for c in combinations(chosen, 4))
    assert largest > 0.9 * max(volumes)


def test_maxvol_does_not_depend_on_units_and_linear_transformations():
    values, already = points(50, 4), points(6, 4, seed=1)
    scaled = maxvol(values * [0.1, 1.0, 10.0, 7.0] + 1.0, 8, initial=0)
    np.testing.assert_array_equal(scaled, maxvol(values, 8, initial=0))
    mix = np.random.default_rng(3).normal(size=(4, 4)) * 1e3
    np.testing.assert_array_equal(maxvol(values @ mix, 8, already=already @ mix), maxvol(values, 8, already=already))


# --- all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_fewer_are_the_first_of_more(method):
    values = points()
    np.testing.assert_array_equal(method(values, 4), method(values, 9)[:4])


@pytest.mark.parametrize("method", METHODS)
def test_structures_through_a_descriptor(method):
    structures = crystals()
    descriptor = make_pipeline(SOAP(cutoff=4.0, n_max=3, l_max=2), FeatureScaler())
    features = descriptor.fit_transform(structures)
    chosen = method(structures, 2, descriptor=descriptor)
    np.testing.assert_array_equal(chosen, method(features, 2))
    unfitted = make_pipeline(SOAP(cutoff=4.0, n_max=3, l_max=2), FeatureScaler())
    np.testing.assert_array_equal(method(structures, 2, descriptor=unfitted), chosen)
    assert not hasattr(unfitted[0], "species_")
    later = method(structures[2:], 2, already=structures[:2], descriptor=descriptor)
    np.testing.assert_array_equal(later, method(features[2:], 2, already=features[:2]))


@pytest.mark.parametrize("method", METHODS)
def test_the_same_twice_is_chosen_last(method):
    values = points(6, 4)
    chosen = method(np.concatenate([values[:1], values]), 4, already=values[:1])
    assert not {0, 1} & set(chosen)


@pytest.mark.parametrize("method", [farthest_point, cur])
def test_none_is_chosen_twice_where_others_are_no_news(method):
    assert sorted(method([[1.0], [1.0], [2.0], [2.0]], 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", METHODS)
def test_misuse(method):
    values = points(5)
    for n in (0, 6, 2.0, True):
        with pytest.raises(ValueError, match="must be an int from 1 to 5"):
            method(values, n)
    with pytest.raises(ValueError, match="reduce='max'"):
        method(values, 2, reduce="max")
    with pytest.raises(ValueError, match="already has 3 features, and X has 5"):
        method(values, 2, already=values[:, :3])
    with pytest.raises(ValueError, match="features of shape"):
        method(values[0], 2)
    with pytest.raises(ValueError, match="features of structure 3 are not finite"):
        method(np.where(np.arange(5)[:, None] == 3, np.nan, values), 2)
    with pytest.raises(ValueError, match="pass the descriptor"):
        method([Atoms("Cu")], 1)
    features = [SOAP(cutoff=4.0, n_max=3, l_max=2).fit(part).transform(part) for part in (crystals()[:2], crystals())]
    with pytest.raises(ValueError, match="different lists of species"):
        method(features[0], 1, already=features[1])
    if method is not cur:
        with pytest.raises(ValueError, match="initial=5"):
            method(values, 2, initial=5)
