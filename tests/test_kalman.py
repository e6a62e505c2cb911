"""The extended Kalman filter against closed forms, and its covariance in long runs."""

import copy
import logging
import pickle

import numpy as np
import pytest

from mlfeat.potentials._kalman import FadingMemory, KalmanFilter, ProcessNoise, layer_blocks
from mlfeat.potentials._packed import PENDING, WIDTH, PackedMatrix

CONSTANT = FadingMemory(1.0, 1.0)  # all measurements count alike


def linear_problem(n_rows=120, n=20, seed=0):
    """Rows, targets with noise of one, and the parameters behind them."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, n))
    parameters = rng.normal(size=n)
    return rows, rows @ parameters + rng.normal(size=n_rows), parameters


def run(kalman_filter, rows, target, size=1):
    """Parameters after updates with `size` rows each."""
    parameters = np.zeros(rows.shape[1])
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        parameters += kalman_filter.update(rows[part], target[part] - rows[part] @ parameters)
    return parameters


def ridge(rows, target, variance, weights=1.0, prior_weight=1.0):
    """Covariance and parameters by normal equations."""
    information = (rows.T * weights) @ rows + prior_weight / variance * np.eye(rows.shape[1])
    return np.linalg.inv(information), np.linalg.solve(information, (rows.T * weights) @ target)


def dense_update(covariance, rows, errors, noise, forgetting, diffusion):
    """Textbook form of an update: the change and the covariance."""
    innovation = noise * np.eye(len(rows)) + rows @ covariance @ rows.T
    gain = np.linalg.solve(innovation, rows @ covariance).T
    covariance = (covariance - gain @ rows @ covariance) / forgetting + diffusion * np.eye(len(covariance))
    return gain @ errors, covariance


def is_positive_definite(matrix):
    """Whether the correlations are, up to nothing: a decomposition exists."""
    scale = np.sqrt(np.diag(matrix))
    try:
        np.linalg.cholesky(matrix / scale / scale[:, None])
    except np.linalg.LinAlgError:
        return False
    return True


# ---------------------------------------------------------------- storage


@pytest.mark.parametrize("n_rows", [1, 5, PENDING, 3 * PENDING])
@pytest.mark.parametrize("size", [1, WIDTH - 1, WIDTH, 2 * WIDTH + 7])
def test_packed_matrix_is_the_dense_one(size, n_rows, capfd):
    rng = np.random.default_rng(size)
    matrix, dense = PackedMatrix(size, 3.0), 3.0 * np.eye(size)
    for number in (2.0, 0.5, 1e-60, 1e-60):
        rows = np.asfortranarray(rng.normal(size=(n_rows, size)))
        change = 0.3 * np.sqrt(abs(dense).max() / size / n_rows) * rows
        np.testing.assert_allclose(matrix.product(rows), rows @ dense, rtol=1e-12, atol=1e-12 * abs(dense).max())
        matrix.subtract(change)
        matrix.divide(number)
        matrix.add_diagonal(0.1)
        dense = (dense - change.T @ change) / number + 0.1 * np.eye(size)
        np.testing.assert_allclose(matrix.diagonal(), np.diag(dense), rtol=1e-12)
    np.testing.assert_allclose(matrix.dense(), np.tril(dense), rtol=1e-12, atol=1e-13 * abs(dense).max())
    assert capfd.readouterr() == ("", "")  # BLAS prints what it is not content with


def test_packed_matrix_takes_half_the_memory():
    size = 1500
    matrix = PackedMatrix(size, 1.0)
    stored = sum(array.size for array in matrix._above + matrix._squares) + matrix._pending.size
    assert stored < 0.5 * size**2 + (WIDTH + PENDING) * size


# ---------------------------------------------------------------- linear models


@pytest.mark.parametrize("size", [1, 7, 120])
def test_linear_model_gives_the_ridge_solution(size):
    rows, target, _ = linear_problem()
    kalman_filter = KalmanFilter(20, covariance=50.0, schedule=CONSTANT)
    found = run(kalman_filter, rows, target, size)
    covariance, expected = ridge(rows, target, 50.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(kalman_filter.dense(), covariance, rtol=0, atol=1e-10)
    np.testing.assert_allclose(kalman_filter.variances(), np.diag(covariance), rtol=0, atol=1e-10)


def test_order_of_measurements_does_not_matter():
    rows, target, _ = linear_problem()
    order = np.random.default_rng(1).permutation(len(rows))
    found = [run(KalmanFilter(20, schedule=CONSTANT), rows[k], target[k], 8) for k in (slice(None), order)]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-10)


def test_order_of_parameters_does_not_matter():
    rows, target, _ = linear_problem()
    order = np.random.default_rng(1).permutation(20)
    found = [run(KalmanFilter(20), rows[:, k], target, 8) for k in (slice(None), order)]
    np.testing.assert_allclose(found[0][order], found[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 6])
def test_forgetting_gives_exponentially_weighted_least_squares(size):
    rows, target, _ = linear_problem()
    kalman_filter = KalmanFilter(20, covariance=50.0, schedule=FadingMemory(0.97, 1.0), growth=np.inf)
    found = run(kalman_filter, rows, target, size)
    n_updates = len(rows) // size
    ages = n_updates - 1 - np.arange(len(rows)) // size
    covariance, expected = ridge(rows, target, 50.0, 0.97**ages, 0.97**n_updates)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(kalman_filter.dense(), covariance, rtol=0, atol=1e-10)


def test_forgetting_factor_approaches_one():
    schedule, factors = FadingMemory(0.95, 0.9), []
    for _ in range(300):
        factors.append(schedule.forgetting)
        schedule.end_update()
    np.testing.assert_allclose(factors, 1 - 0.05 * 0.9 ** np.arange(300), rtol=1e-12)


def test_prior_is_given_back():
    """Each time the covariance has grown by the limit, what the prior has lost is added."""
    rows, target, _ = linear_problem()
    schedule, limit = FadingMemory(0.9, 1.0), 2.0
    kalman_filter = KalmanFilter(20, covariance=5.0, schedule=schedule, growth=limit)
    information, remembered = np.eye(20) / 5, 1.0
    for row, value in zip(rows, target, strict=True):
        kalman_filter.update(row[None], [value])
        information = 0.9 * information + np.outer(row, row)
        remembered *= 0.9
        if remembered * limit < 1:
            information += (1 - remembered) / 5 * np.eye(20)
            remembered = 1.0
    np.testing.assert_allclose(kalman_filter.dense(), np.linalg.inv(information), rtol=0, atol=1e-10)


@pytest.mark.parametrize("growth", [1.5, 4.0])
def test_variance_of_what_is_not_measured_stays_below_the_prior(growth):
    kalman_filter = KalmanFilter(5, covariance=3.0, schedule=FadingMemory(0.9, 1.0), growth=growth)
    for _ in range(1000):
        kalman_filter.update([[1.0, 1.0, 0.0, 0.0, 0.0]], [0.1])
        assert np.linalg.eigvalsh(kalman_filter.dense())[-1] < 3.0 * growth / 0.9
    assert kalman_filter.dense()[:2, :2].sum() < 0.2  # the measured direction is still known
    assert kalman_filter.n_repairs == 0


@pytest.mark.parametrize("size", [1, 5])
def test_noise_form_is_the_textbook_filter(size):
    rows, target, _ = linear_problem(60)
    options = {"eta": 0.05, "eta_tau": 1.0, "eta_max": 0.5, "q": 0.02, "q_tau": 3.0, "q_min": 1e-4}
    n_updates = len(rows) // size
    kalman_filter = KalmanFilter(20, covariance=10.0, schedule=ProcessNoise(**options, updates_per_epoch=n_updates))
    found, expected, covariance = np.zeros(20), np.zeros(20), 10.0 * np.eye(20)
    for k in range(n_updates):
        part = slice(k * size, (k + 1) * size)
        found += kalman_filter.update(rows[part], target[part] - rows[part] @ found)
        eta = min(0.05 * np.exp((k + 1) / n_updates), 0.5)
        q = max(0.02 * np.exp(-3.0 * k / n_updates), 1e-4)
        errors = target[part] - rows[part] @ expected
        change, covariance = dense_update(covariance, rows[part], errors, 1 / eta, 1.0, q)
        expected += change
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(kalman_filter.dense(), covariance, rtol=0, atol=1e-10)


def test_noise_changes_by_epochs_where_their_length_is_unknown():
    kalman_filter = KalmanFilter(2, schedule=ProcessNoise(0.01, np.log(10), 0.5, 0.01, np.log(10), 1e-4))
    found = []
    for _ in range(4):
        kalman_filter.update(np.eye(2), np.zeros(2))
        found.append((kalman_filter.schedule.noise, kalman_filter.schedule.diffusion))
        kalman_filter.end_epoch()
    np.testing.assert_allclose(found, [(100, 1e-2), (10, 1e-3), (2, 1e-4), (2, 1e-4)], rtol=1e-12)


@pytest.mark.parametrize("schedule", [FadingMemory(0.97, 0.99), ProcessNoise(0.5)], ids=["fading", "noise"])
def test_blocks_are_a_block_diagonal_covariance(schedule):
    rows, target, _ = linear_problem(60)
    blocks = [slice(0, 7), slice(7, 8), slice(8, 20)]
    kalman_filter = KalmanFilter(20, blocks=blocks, covariance=4.0, schedule=schedule, growth=np.inf)
    schedule = copy.copy(schedule)
    mask = np.zeros((20, 20))
    for block in blocks:
        mask[block, block] = 1
    found, expected, covariance = np.zeros(20), np.zeros(20), 4.0 * np.eye(20)
    for part in (slice(k, k + 6) for k in range(0, 60, 6)):
        found += kalman_filter.update(rows[part], target[part] - rows[part] @ found)
        errors = target[part] - rows[part] @ expected
        form = schedule.noise, schedule.forgetting, schedule.diffusion
        change, covariance = dense_update(covariance, rows[part], errors, *form)
        covariance *= mask
        expected += change
        schedule.end_update()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(kalman_filter.dense(), covariance, rtol=0, atol=1e-10)


def test_many_parameters_and_updates_of_changing_size():
    """More parameters than a block of storage has columns, updates of fewer and more rows than it collects."""
    n = 2 * WIDTH + 30
    rows, target, _ = linear_problem(700, n)
    sizes = [1, 5, 1, PENDING, 3, 2 * PENDING, 1, PENDING - 1, 1, 300]
    kalman_filter, found, start = KalmanFilter(n, schedule=CONSTANT), np.zeros(n), 0
    for size in sizes:
        part = slice(start, start + size)
        found += kalman_filter.update(rows[part], target[part] - rows[part] @ found)
        start += size
    covariance, expected = ridge(rows[:start], target[:start], 1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(kalman_filter.dense(), covariance, rtol=0, atol=1e-10)
    assert kalman_filter.n_updates == len(sizes)


# ---------------------------------------------------------------- misuse


def state(kalman_filter):
    """All that an update depends on."""
    return pickle.dumps(kalman_filter)


def test_no_measurements_change_nothing():
    kalman_filter = KalmanFilter(4)
    before = state(kalman_filter)
    np.testing.assert_array_equal(kalman_filter.update(np.empty((0, 4)), []), np.zeros(4))
    assert state(kalman_filter) == before


@pytest.mark.parametrize(
    ("rows", "errors", "match"),
    [
        ([[1.0, np.nan, 0.0]], [1.0], "derivatives of measurements are not finite"),
        ([[1.0, np.inf, 0.0]], [1.0], "derivatives of measurements are not finite"),
        ([[1.0, 2.0, 0.0]], [np.nan], "errors of measurements are not finite"),
        ([[1e200, 2.0, 0.0]], [1.0], "overflow"),
        ([[1.0, 2.0]], [1.0], "do not fit"),
        ([[1.0, 2.0, 3.0]], [1.0, 2.0], "do not fit"),
        ([[1.0, 2.0, 3.0]], 1.0, "do not fit"),
    ],
)
def test_bad_measurements_leave_the_filter_as_it_was(rows, errors, match):
    kalman_filter = KalmanFilter(3)
    kalman_filter.update([[1.0, 2.0, 3.0]], [0.5])
    before = state(kalman_filter)
    with pytest.raises(ValueError, match=match):
        kalman_filter.update(rows, errors)
    assert state(kalman_filter) == before


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: KalmanFilter(3, covariance=0.0), "covariance"),
        (lambda: KalmanFilter(3, growth=1.0), "growth"),
        (lambda: KalmanFilter(3, blocks=[slice(0, 2)]), "do not cover"),
        (lambda: KalmanFilter(3, blocks=[slice(0, 2), slice(1, 3)]), "do not cover"),
        (lambda: FadingMemory(0.0, 1.0), "lambda"),
        (lambda: FadingMemory(0.9, 1.1), "nu"),
        (lambda: ProcessNoise(eta=2.0), "eta_max"),
        (lambda: ProcessNoise(q=-1.0), "q_min"),
    ],
)
def test_bad_parameters_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_a_copy_goes_on_alike_and_alone(duplicate):
    rows, target, _ = linear_problem()
    kalman_filter = KalmanFilter(20)
    run(kalman_filter, rows[:50], target[:50])
    other = duplicate(kalman_filter)
    before = state(other)
    expected = kalman_filter.update(rows[50:60], target[50:60])
    assert state(other) == before
    np.testing.assert_array_equal(other.update(rows[50:60], target[50:60]), expected)


def test_filters_do_not_share_a_schedule():
    schedule = FadingMemory(0.9, 0.9)
    KalmanFilter(2, schedule=schedule).update([[1.0, 1.0]], [1.0])
    assert schedule.lambda_ == 0.9


# ---------------------------------------------------------------- long runs


def bad_rows(rng, n, m):
    """Rows of scales 1e-6 to 1e6, of low rank, repeated, or all the same."""
    kind = rng.integers(4)
    rows = rng.normal(size=(m, n))
    if kind == 0:
        rows = rng.normal(size=(m, 2)) @ rng.normal(size=(2, n))
    elif kind == 1:
        rows[m // 2 :] = rows[: m - m // 2]
    elif kind == 2:
        rows = np.ones((m, n)) * (rng.random(n) < 0.1)
    return rows * 10 ** rng.uniform(-6, 6, size=(m, 1))


@pytest.mark.parametrize(
    ("schedule", "covariance"),
    [(FadingMemory(0.99, 1.0), 1.0), (FadingMemory(0.95, 0.9999), 100.0), (CONSTANT, 100.0), (ProcessNoise(), 100.0)],
    ids=["fading", "fading, large", "constant", "noise"],
)
def test_covariance_stays_positive_definite(schedule, covariance):
    rng = np.random.default_rng(3)
    n = 40
    kalman_filter = KalmanFilter(n, covariance=covariance, schedule=schedule)
    for k in range(12000):
        rows = bad_rows(rng, n, rng.integers(1, 9))
        change = kalman_filter.update(rows, rng.normal(size=len(rows)))
        assert np.isfinite(change).all()
        if k % 200 == 0:
            assert is_positive_definite(kalman_filter.dense())
    assert kalman_filter.n_repairs == 0


@pytest.mark.parametrize(("forgetting", "covariance"), [(0.95, 1.0), (0.95, 100.0), (1.0, 1.0), (1.0, 100.0)])
def test_long_runs_agree_with_normal_equations(forgetting, covariance):
    """In every direction, relative to its variance: Lᵀ P L = 1 with the information L Lᵀ, summed up in long double."""
    rng = np.random.default_rng(0)
    n, limit = 20, 2.0
    kalman_filter = KalmanFilter(n, covariance=covariance, schedule=FadingMemory(forgetting, 1.0), growth=limit)
    information, remembered = np.eye(n, dtype=np.longdouble) / covariance, 1.0
    for k in range(3000):
        rows = bad_rows(rng, n, rng.integers(1, 6))
        rows *= 10 ** rng.uniform(-2, 2) / max(np.linalg.norm(rows), 1e-12)
        kalman_filter.update(rows, np.zeros(len(rows)))
        rows = rows.astype(np.longdouble)
        information = forgetting * information + rows.T @ rows
        remembered *= forgetting
        if remembered * limit < 1:
            information += (1 - remembered) / covariance * np.eye(n)
            remembered = 1.0
        if k % 100 == 99:
            factor = np.linalg.cholesky(information.astype(float))
            np.testing.assert_allclose(factor.T @ kalman_filter.dense() @ factor, np.eye(n), rtol=0, atol=1e-8)


def test_repair_keeps_what_was_learnt(caplog):
    rows, target, _ = linear_problem()
    kalman_filter = KalmanFilter(20, blocks=layer_blocks([10, 10], 10), schedule=CONSTANT)
    run(kalman_filter, rows, target)
    before = kalman_filter.dense()
    values, vectors = np.linalg.eigh(before[:10, :10])
    damage = (1 + 1e-6) * values[0] * np.outer(vectors[:, 0], vectors[:, 0])
    kalman_filter._matrices[0].assign(before[:10, :10] - damage)
    with caplog.at_level(logging.WARNING, "mlfeat"):
        kalman_filter.update(1e6 * np.append(vectors[:, 0], np.zeros(10))[None], [0.0])
    assert kalman_filter.n_repairs == 1
    assert "not positive definite" in caplog.text
    after = kalman_filter.dense()
    assert is_positive_definite(after)
    np.testing.assert_allclose(after[10:, 10:], before[10:, 10:], rtol=0, atol=1e-12)
    kept = before[:10, :10] - values[0] * np.outer(vectors[:, 0], vectors[:, 0])
    np.testing.assert_allclose(after[:10, :10], kept, rtol=0, atol=1e-5)  # one part in a thousand


# ---------------------------------------------------------------- blocks of layers


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ([656, 272, 17], 1000, [945]),
        ([656, 272, 17], 700, [656, 289]),
        ([656, 272, 17], 300, [218, 219, 219, 289]),
        ([3, 3, 3, 3], 6, [6, 6]),
        ([10, 1, 1], 5, [5, 5, 2]),
        ([1, 1, 10], 5, [2, 5, 5]),
        ([4], 1, [1, 1, 1, 1]),
        ([], 5, []),
    ],
)
def test_layer_blocks(sizes, limit, expected):
    edges = np.cumsum([0] + expected)
    assert layer_blocks(sizes, limit) == [slice(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]


def test_layer_blocks_need_a_limit():
    with pytest.raises(ValueError, match="at least one"):
        layer_blocks([3], 0)
