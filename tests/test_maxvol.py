"""Active sets: volume, grades by their definition, data that say little, and choice of structures."""

import numpy as np
import pytest

from mlfeat.potentials import _maxvol
from mlfeat.potentials._maxvol import TOLERANCE, ActiveSet, grades, select

N_FEATURES = 6


def environments(n, n_features=N_FEATURES, seed=0):
    """Features that are correlated, of different size and away from zero."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, n_features))
    mixed = np.tanh(hidden) @ np.random.default_rng(1).normal(size=(n_features, n_features)) + 0.2 * hidden**2
    return (mixed + 3.0) * np.geomspace(1e-3, 1e3, n_features)


def labels_of(rows):
    return np.stack([np.arange(len(rows)) // 10, np.arange(len(rows)) % 10], axis=1)


def active_set_of(rows):
    return ActiveSet.from_rows(rows, labels_of(rows))


def with_constant(rows):
    return np.concatenate([np.ones((len(rows), 1)), rows], axis=1)


def dependent():
    rows = environments(200)
    return np.concatenate([rows, rows[:, :1] - rows[:, 1:2], rows[:, 2:3] * 2], axis=1)


LITTLE = {
    "many": environments(500),
    "as many as features": environments(N_FEATURES + 1),
    "fewer than features": environments(3),
    "one": environments(1),
    "equal": np.repeat(environments(1), 20, axis=0),
    "equal to rounding": environments(1) * (1 + 1e-14 * np.random.default_rng(2).normal(size=(20, N_FEATURES))),
    "twice": np.repeat(environments(100), 2, axis=0),
    "dependent features": dependent(),
    "a feature that does not vary": np.where(np.arange(N_FEATURES) == 2, 5.0, environments(100)),
    "a feature that is zero": np.where(np.arange(N_FEATURES) == 2, 0.0, environments(100)),
    "all zero": np.zeros((10, N_FEATURES)),
}


@pytest.mark.parametrize("rows", LITTLE.values(), ids=LITTLE.keys())
def test_training_environments_have_grades_of_at_most_one(rows):
    found = active_set_of(rows).grade(rows)
    assert np.isfinite(found).all()
    assert found.max() <= 1 + 1e-9
    assert found.max() >= (1 - 1e-9) / (1 + TOLERANCE)


@pytest.mark.parametrize("rows", LITTLE.values(), ids=LITTLE.keys())
def test_other_environments_have_finite_grades(rows):
    found = active_set_of(rows).grade(2 * rows + 1)
    assert np.isfinite(found).all()
    assert (found > 1).all()


def test_grades_are_those_of_the_definition():
    rows, others = environments(500), environments(100, seed=3)
    active = active_set_of(rows)
    assert len(active.environments) == N_FEATURES + 1
    matrix = with_constant(active.rows)
    expected = np.abs(np.linalg.solve(matrix.T, with_constant(others).T)).max(axis=0) / (1 + TOLERANCE)
    np.testing.assert_allclose(active.grade(others), expected, rtol=1e-8)


def test_no_swap_of_one_row_enlarges_the_volume():
    rows = environments(80)
    matrix = with_constant(active_set_of(rows).rows)
    volume = np.linalg.slogdet(matrix)[1]
    largest = -np.inf
    for k in range(len(matrix)):
        for row in with_constant(rows):
            swapped = matrix.copy()
            swapped[k] = row
            largest = max(largest, np.linalg.slogdet(swapped)[1])
    assert largest <= volume + np.log1p(TOLERANCE) + 1e-9


def test_active_environments_are_those_of_the_labels():
    rows = environments(200)
    active = active_set_of(rows)
    structure, atom = active.environments.T
    np.testing.assert_array_equal(active.rows, rows[10 * structure + atom])
    np.testing.assert_allclose(active.grade(active.rows), 1 / (1 + TOLERANCE), rtol=1e-9)


def test_stand_ins_are_left_where_no_environment_reaches():
    active = active_set_of(dependent())
    assert len(active.environments) == N_FEATURES + 1
    stand_in = active.labels[:, 0] < 0
    assert stand_in.sum() == 2
    assert not active.rows[stand_in].any()
    assert (active.labels[stand_in] == -1).all()


def test_breaking_a_dependence_of_the_training_data_is_far_outside():
    rows = dependent()
    active = active_set_of(rows)
    within = rows.mean(axis=0)
    broken = within.copy()
    broken[-1] *= 1.01
    assert active.grade(within[None])[0] < 1
    assert active.grade(broken[None])[0] > 100


def test_an_atom_alone_is_outside_of_a_solid():
    rows = environments(500)
    assert active_set_of(rows).grade(np.zeros((1, N_FEATURES)))[0] > 1


def test_grades_do_not_depend_on_the_units_of_features():
    rows, others = environments(300), environments(50, seed=3)
    units = np.array([1e-2, 3.0, -2e3, 0.1, 7e-3, 50.0])
    active, scaled = active_set_of(rows), active_set_of(rows * units)
    np.testing.assert_array_equal(active.labels, scaled.labels)
    np.testing.assert_allclose(active.grade(others), scaled.grade(others * units), rtol=1e-8)


def test_rows_may_come_in_parts(monkeypatch):
    rows = environments(500)
    whole = active_set_of(rows)
    parts = np.split(rows, [3, 3, 70, 74, 400])
    np.testing.assert_array_equal(ActiveSet.from_rows(parts, labels_of(rows)).labels, whole.labels)
    monkeypatch.setattr(_maxvol, "BLOCK", 32)
    monkeypatch.setattr(_maxvol, "N_POOLED", 20)
    small = ActiveSet.from_rows(parts, labels_of(rows))
    structure, atom = small.environments.T
    np.testing.assert_array_equal(small.rows, rows[10 * structure + atom])
    assert small.grade(rows).max() <= 1 + 1e-9


def test_without_training_data_everything_is_infinitely_far():
    empty = ActiveSet.empty(N_FEATURES)
    rows = environments(40)
    assert empty.is_empty
    assert np.isposinf(empty.grade(rows)).all()
    assert empty.grade(rows[:0]).shape == (0,)
    assert active_set_of(rows[:0]).is_empty


def test_state_makes_the_set_again():
    rows, others = environments(4), environments(50, seed=3)
    active = active_set_of(rows)
    again = ActiveSet.from_state(active.state(), N_FEATURES)
    np.testing.assert_array_equal(again.grade(others), active.grade(others))
    assert ActiveSet.from_state(ActiveSet.empty(N_FEATURES).state(), N_FEATURES).is_empty


DAMAGE = {
    "keys": ({"scale": None}, "keys"),
    "shape": ({"rows": np.zeros((3, 3))}, r"active_set_\[0\]\['rows'\] has the shape"),
    "numbers": ({"shift": np.full(N_FEATURES, np.nan)}, "not finite"),
    "labels": ({"labels": np.zeros((N_FEATURES + 1, 2))}, "integers"),
    "units": ({"scale": np.zeros(N_FEATURES)}, "positive"),
    "singular": ({"rows": np.ones((N_FEATURES + 1, N_FEATURES))}, "depend on each other"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_state_is_refused(damage, message):
    state = {**active_set_of(environments(100)).state(), **damage}
    state = {name: values for name, values in state.items() if values is not None}
    with pytest.raises(ValueError, match=message):
        ActiveSet.from_state(state, N_FEATURES, "active_set_[0]")


def test_species_have_sets_of_their_own():
    first, second = environments(100), 2 * environments(100, seed=3)
    sets = [active_set_of(first), active_set_of(second), ActiveSet.empty(N_FEATURES)]
    species = np.array([0, 1, 2, 1, 0])
    values = environments(5, seed=4)
    expected = [sets[s].grade(values[i : i + 1])[0] for i, s in enumerate(species)]
    np.testing.assert_allclose(grades(sets, values, species), expected, rtol=1e-10)


def pulled(rows, direction, by):
    """Structures of four environments, one of which is away from the others."""
    changed = rows.copy()
    changed[1] += by * direction
    return changed


def candidates():
    """Structures within the training data, and three kinds of new ones, several of each."""
    rows = environments(400)
    spread = rows.std(axis=0)
    inside = [rows[k : k + 4] * (1 - 1e-3) + 1e-3 * rows.mean(axis=0) for k in range(0, 80, 4)]
    axes = np.eye(N_FEATURES)
    new = [pulled(rows[:4], axes[k] * spread, by) for k, by in ((0, 30.0), (3, 100.0), (5, 60.0)) for _ in range(4)]
    structures = [*inside[:10], *new, *inside[10:]]
    return active_set_of(rows), structures, [np.zeros(4, dtype=int) for _ in structures]


def test_selection_takes_one_of_each_kind_that_is_new():
    active, structures, species = candidates()
    chosen, found = select([active], structures, species, 10)
    assert sorted((chosen - 10) // 4) == [0, 1, 2]
    assert (found > 1).all()
    assert (np.diff(found) <= 0).all()


def test_selection_stops_at_its_number_and_its_threshold():
    active, structures, species = candidates()
    chosen, found = select([active], structures, species, 10)
    for n in range(3):
        np.testing.assert_array_equal(select([active], structures, species, n)[0], chosen[:n])
    assert not len(select([active], structures, species, 10, threshold=2 * found.max())[0])
    assert not len(select([active], [], [], 10)[0])


@pytest.mark.parametrize("n_updates", [1, 3, 1000])
def test_selection_is_that_of_grades_made_anew(monkeypatch, n_updates):
    monkeypatch.setattr(_maxvol, "N_UPDATES", n_updates)
    sets = [active_set_of(environments(12)), active_set_of(environments(5, seed=5))]
    rng = np.random.default_rng(6)
    structures = [environments(n, seed=10 + n) for n in range(1, 25)]
    species = [rng.integers(2, size=len(rows)) for rows in structures]
    chosen, found = select(sets, structures, species, 12)
    current, least = list(sets), [np.inf] * len(structures)
    for k, expected in zip(chosen, found, strict=True):
        now = [grades(current, rows, s) for rows, s in zip(structures, species, strict=True)]
        least = [np.minimum(a, b) for a, b in zip(least, now, strict=True)]
        worst = [rows.max() for rows in least]
        assert int(np.argmax(worst)) == k
        assert worst[k] == pytest.approx(expected, rel=1e-6)
        least[k] = np.zeros(1)
        mine = [structures[k][species[k] == s] for s in range(2)]
        current = [a._copy()._spanning([rows], labels_of(rows)) for a, rows in zip(current, mine, strict=True)]
    assert len(chosen) > 5


def test_selection_begins_with_species_that_were_never_seen():
    active, structures, species = candidates()
    species[3] = np.array([0, 0, 1, 0])
    species[5] = np.array([2, 0, 2, 0])
    species[7] = np.array([0, 0, 1, 1])
    sets = [active, ActiveSet.empty(N_FEATURES), ActiveSet.empty(N_FEATURES)]
    chosen, found = select(sets, structures, species, 20)
    assert chosen[:2].tolist() == [3, 5]
    assert 7 in chosen
    assert np.isposinf(found[:2]).all()
    assert np.isfinite(found[2:]).all()
