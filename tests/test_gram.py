"""Streaming fits: sums of rows by group and kind, in any number of workers, with any weights afterwards."""

import logging

import joblib
import numpy as np
import pytest
from _toy import Shells
from _training import SPECIES, make_exact_targets, make_features, make_structures
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline

from mlfeat.potentials import LinearPotential, _fitting
from mlfeat.potentials._blocks import GramBlocks, TriangularBlocks, eliminate_normal, eliminate_rows
from mlfeat.potentials._solve import solve_normal, solve_rows
from mlfeat.targets import make_targets

STREAMING = ["gram", "qr"]
WEIGHTS = {"energy_weight": 5.0, "force_weight": 0.02, "stress_weight": 30.0, "group_weights": {"hot": (2.0, 0.5, 1.0)}}


@pytest.fixture(scope="module")
def structures():
    return make_structures()


@pytest.fixture(scope="module")
def features(structures):
    return make_features(structures)


@pytest.fixture(scope="module")
def noisy(features):
    return make_exact_targets(features, noise=0.05)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few structures, so that there are several."""
    monkeypatch.setattr(_fitting, "BLOCK_ROWS", 60)
    monkeypatch.setattr(_fitting.structure_ranges, "__defaults__", (60,))


def assert_same_fit(potential, other, rtol=1e-8):
    scale = np.abs(other.coef_).max()
    np.testing.assert_allclose(potential.coef_, other.coef_, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(potential.intercept_, other.intercept_, rtol=rtol)


# --- All solvers are one fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", STREAMING)
@pytest.mark.parametrize("regressor", [Ridge(1e-8), Ridge(1.0), LinearRegression()], ids=repr)
@pytest.mark.parametrize("intercept", ["species", None])
@pytest.mark.usefixtures("small_blocks")
def test_streaming_equals_stacked(features, noisy, solver, regressor, intercept):
    stacked = LinearPotential(regressor, intercept=intercept, **WEIGHTS).fit(features, noisy)
    streamed = LinearPotential(regressor, intercept=intercept, solver=solver, **WEIGHTS).fit(features, noisy)
    assert_same_fit(streamed, stacked)
    np.testing.assert_allclose(streamed.predict_std(features), stacked.predict_std(features), rtol=1e-6)
    for item in features[:3]:
        np.testing.assert_array_equal(streamed.extrapolation_grade(item), stacked.extrapolation_grade(item))


def test_streaming_equals_stacked_for_the_bispectrum():
    from mlfeat import Bispectrum

    structures = make_structures(40)
    features = Bispectrum(cutoff=4.0, twojmax=4, species=SPECIES).fit_transform(structures)
    coef = np.random.default_rng(2).normal(size=(2, features.shape[1])) / np.abs(features.values).max(axis=0)
    targets = make_exact_targets(features, coef, noise=1e-3)
    stacked = LinearPotential(Ridge(1e-10)).fit(features, targets)
    for solver in STREAMING:
        streamed = LinearPotential(Ridge(1e-10), solver=solver).fit(features, targets)
        scale = np.abs(features.values).max(axis=0)
        np.testing.assert_allclose(streamed.coef_ * scale, stacked.coef_ * scale, atol=1e-7)
        np.testing.assert_allclose(streamed.predict(features), stacked.predict(features), rtol=1e-9)


@pytest.mark.parametrize("solver", STREAMING)
def test_partial_fit_equals_one_fit(features, noisy, solver):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(features))
    whole = LinearPotential(Ridge(1e-4), solver=solver, **WEIGHTS).fit(features, noisy, weights)
    parts = LinearPotential(Ridge(1e-4), solver=solver, **WEIGHTS)
    for part in (slice(0, 5), slice(5, 6), slice(6, 24)):
        parts.partial_fit(features[part], noisy[part], weights[part])
    assert_same_fit(parts, whole)
    np.testing.assert_allclose(parts.predict_std(features), whole.predict_std(features), rtol=1e-6)


@pytest.mark.parametrize("solver", STREAMING)
def test_the_potential_is_ready_after_each_partial_fit(features, noisy, solver):
    parts = LinearPotential(Ridge(1e-4), solver=solver).partial_fit(features[:8], noisy[:8])
    assert_same_fit(parts, LinearPotential(Ridge(1e-4), solver=solver).fit(features[:8], noisy[:8]))


def test_partial_fit_refuses_what_it_cannot_add(features, noisy):
    with pytest.raises(ValueError, match="needs solver='gram' or 'qr'"):
        LinearPotential().partial_fit(features, noisy)
    potential = LinearPotential(solver="gram").partial_fit(features, noisy)
    others = Shells(n_shells=3, species=SPECIES).fit_transform(make_structures(4))
    with pytest.raises(ValueError, match="use one fitted descriptor"):
        potential.partial_fit(others, noisy[:4])


# --- Other weights without another pass -----------------------------------------------------------------------------


@pytest.mark.parametrize("solver", STREAMING)
def test_reweighted_equals_a_fresh_fit(features, noisy, solver):
    first = LinearPotential(Ridge(1e-4), solver=solver).fit(features, noisy)
    before = first.coef_.copy()
    again = first.reweighted(alpha=0.3, **WEIGHTS)
    fresh = LinearPotential(Ridge(0.3), solver=solver, **WEIGHTS).fit(features, noisy)
    assert_same_fit(again, fresh, rtol=1e-10)
    np.testing.assert_allclose(again.predict_std(features), fresh.predict_std(features), rtol=1e-8)
    np.testing.assert_array_equal(first.coef_, before)
    assert again.get_params()["regressor__alpha"] == 0.3
    assert first.get_params()["regressor__alpha"] == 1e-4
    assert_same_fit(again.reweighted(alpha=1e-4, **dict.fromkeys(list(WEIGHTS)[:3], 1.0), group_weights=None), first)


def test_reweighted_makes_no_pass_over_the_data(features, noisy, monkeypatch):
    potential = LinearPotential(solver="gram").fit(features, noisy)
    monkeypatch.setattr("mlfeat.potentials._linear.accumulate", None)
    potential.reweighted(force_weight=0.0)


def test_a_reweighted_potential_grows_alone(features, noisy):
    first = LinearPotential(Ridge(1e-4), solver="gram").fit(features[:10], noisy[:10])
    second = first.reweighted(force_weight=0.5).partial_fit(features[10:], noisy[10:])
    assert_same_fit(second, LinearPotential(Ridge(1e-4), solver="gram", force_weight=0.5).fit(features, noisy))
    assert_same_fit(first.reweighted(), LinearPotential(Ridge(1e-4), solver="gram").fit(features[:10], noisy[:10]))


def test_reweighted_refuses_what_would_need_the_data(features, noisy):
    with pytest.raises(ValueError, match="fit with solver='gram' or 'qr' first"):
        LinearPotential().fit(features, noisy).reweighted(force_weight=2.0)
    with pytest.raises(TypeError, match="not baseline"):
        LinearPotential(solver="gram").fit(features, noisy).reweighted(baseline=None)


# --- Workers and memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", STREAMING)
@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
@pytest.mark.usefixtures("small_blocks")
def test_workers_do_not_change_a_bit(features, noisy, solver, backend):
    potential = LinearPotential(Ridge(1e-6), solver=solver)
    serial = clone(potential).fit(features, noisy)
    with joblib.parallel_config(backend, n_jobs=2):
        parallel = clone(potential).fit(features, noisy)
    np.testing.assert_array_equal(parallel.coef_, serial.coef_)
    np.testing.assert_array_equal(parallel.intercept_, serial.intercept_)
    for key, block in serial.gram_.blocks.items():
        np.testing.assert_array_equal(parallel.gram_.blocks[key], block)


def test_stacked_rows_do_not_depend_on_workers(features, noisy):
    serial, parallel = (LinearPotential(Ridge(1e-6), n_jobs=n).fit(features, noisy) for n in (1, 2))
    np.testing.assert_array_equal(parallel.coef_, serial.coef_)


def test_ranges_cover_all_structures_once(features, noisy):
    design = LinearPotential()._start(features, noisy, None)[0]
    ranges = list(_fitting.structure_ranges(design, 100))
    assert [r.start for r in ranges[1:]] == [r.stop for r in ranges[:-1]]
    assert (ranges[0].start, ranges[-1].stop) == (0, len(features))
    assert len(ranges) > 3


def test_memory_of_streams_does_not_grow_with_the_data(structures, noisy):
    once, often = (LinearPotential()._start(make_features(structures * n), np.tile(noisy, n), None)[0] for n in (1, 60))
    stacked = [_fitting.memory_forecast(rows, "stacked") for rows in (once, often)]
    streamed = [_fitting.memory_forecast(rows, "gram") for rows in (once, often)]
    assert stacked[1] > 50 * stacked[0]
    assert streamed[1] == streamed[0]


def test_forecast_is_logged_and_refusal_names_the_way_out(structures, noisy, caplog):
    many = make_features(structures * 60)
    targets = np.tile(noisy, 60)
    with caplog.at_level(logging.INFO, logger="mlfeat"):
        LinearPotential().fit(many[:3], targets[:3])
    assert "fit of 3 structures, solver='stacked': about" in caplog.text
    with pytest.raises(MemoryError, match=r"memory_limit is 5.0 MB: use solver='gram' or 'qr' \(.* MB\)"):
        LinearPotential(memory_limit=5e6).fit(many, targets)
    LinearPotential(memory_limit=5e6, solver="gram").fit(many[:3], targets[:3])
    with pytest.raises(MemoryError, match="use n_jobs=1"):
        LinearPotential(memory_limit=5e6, solver="gram", n_jobs=50).fit(many, targets)


def test_forecast_of_the_stack_is_what_it_takes(features, noisy):
    design, weights = LinearPotential()._start(features, noisy, None)
    stacked = _fitting.stack(design, weights)
    forecast = _fitting.memory_forecast(design, "stacked")
    assert stacked.features.nbytes < forecast < 4 * stacked.features.nbytes


def test_pipelines_stream_too(structures, features, noisy):
    for atoms, target in zip(structures, noisy, strict=True):
        atoms.info["energy"] = target["energy"]
    model = make_pipeline(Shells(species=SPECIES), LinearPotential(Ridge(1e-6), solver="gram"))
    model.fit(structures, make_targets(structures))
    expected = LinearPotential(Ridge(1e-6)).fit(features, noisy["energy"])
    assert_same_fit(model[-1], expected)


# --- Linear algebra -------------------------------------------------------------------------------------------------


@pytest.fixture
def problem():
    """Columns of very different scale, one of zeros."""
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(200, 8)) * 10.0 ** np.arange(-6, 10, 2)
    rows[:, 3] = 0.0
    return rows, rng.normal(size=200)


@pytest.mark.parametrize("penalty", [1e-3, np.logspace(-14, 10, 8)])
def test_solutions_minimize_the_penalized_squares(problem, penalty):
    rows, target = problem
    augmented = np.vstack([rows, np.diag(np.sqrt(np.broadcast_to(penalty, 8)))])
    scale = np.linalg.norm(augmented, axis=0)
    expected = np.linalg.lstsq(augmented / scale, np.r_[target, np.zeros(8)], rcond=None)[0]
    covariance = np.linalg.inv((augmented / scale).T @ (augmented / scale))
    for solution in (solve_normal(rows.T @ rows, rows.T @ target, penalty), solve_rows(rows, target, penalty)):
        np.testing.assert_allclose(solution.coef * scale, expected, atol=1e-12)
        np.testing.assert_allclose(
            scale[:, None] * solution.factor @ solution.factor.T * scale, covariance, rtol=1e-10, atol=1e-10
        )
        assert solution.condition < 1e4


@pytest.mark.parametrize("solve", ["normal", "rows"])
def test_scale_of_columns_does_not_matter(problem, solve):
    rows, target = problem
    rows[:, 3] = 1.0
    scale = 10.0 ** np.arange(8)
    both = []
    for x in (rows, rows * scale):
        both.append(solve_normal(x.T @ x, x.T @ target) if solve == "normal" else solve_rows(x, target))
    np.testing.assert_allclose(both[1].coef * scale, both[0].coef, rtol=1e-11)
    assert both[1].condition == pytest.approx(both[0].condition, rel=1e-3)


def test_twin_columns_share_their_coefficient(problem):
    rows, target = problem
    rows = np.column_stack([rows[:, 4:], rows[:, 4]])
    for solution in (solve_normal(rows.T @ rows, rows.T @ target), solve_rows(rows, target)):
        assert solution.condition == np.inf
        assert solution.coef[0] == pytest.approx(solution.coef[-1], rel=1e-6)
        residual = target - rows @ solution.coef
        np.testing.assert_allclose(rows.T @ residual / np.linalg.norm(rows, axis=0), 0.0, atol=1e-6)


def test_a_column_of_zeros_has_no_coefficient(problem):
    rows, target = problem
    for solution in (solve_normal(rows.T @ rows, rows.T @ target), solve_rows(rows, target)):
        assert solution.coef[3] == 0.0


def test_effective_parameters_are_the_trace_of_the_hat_matrix():
    rows = np.random.default_rng(0).normal(size=(30, 5))
    gram = rows.T @ rows
    for penalty in (1e-9, 3.0, np.arange(1.0, 6.0)):
        expected = np.trace(np.linalg.solve(gram + np.diag(np.broadcast_to(penalty, 5)), gram))
        assert solve_normal(gram, gram[0], penalty).effective_parameters(penalty) == pytest.approx(expected)
        assert solve_rows(rows, rows[:, 0], penalty).effective_parameters(penalty) == pytest.approx(expected)


@pytest.mark.parametrize("composition", ["general", "dependent", "absent"])
def test_both_eliminations_are_one(composition):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(20, 6))
    if composition == "dependent":
        rows[:, 1] = 2 * rows[:, 0]
    if composition == "absent":
        rows[:, :2] = 0
    rest, intercepts, covariance = eliminate_rows(rows, 2, True)
    other = eliminate_normal(rows.T @ rows, 2, True)
    np.testing.assert_allclose(rest.T @ rest, other[0], atol=1e-12)
    np.testing.assert_allclose(intercepts, other[1], atol=1e-12)
    np.testing.assert_allclose(covariance, other[2], atol=1e-12)


def test_triangles_keep_the_gram_matrix_in_few_rows():
    rng = np.random.default_rng(9)
    gram, triangles = GramBlocks(1), TriangularBlocks(1)
    for size in (3, 50, 1, 20):
        rows = rng.normal(size=(size, 7))
        gram.add(("a", "forces"), rows)
        triangles.add(("a", "forces"), rows)
    block = triangles.blocks["a", "forces"]
    assert block.shape == (7, 7)
    np.testing.assert_allclose(block.T @ block, gram.blocks["a", "forces"], rtol=1e-12, atol=1e-12)
    assert gram.n_rows == triangles.n_rows == {("a", "forces"): 74}


def test_qr_keeps_digits_that_normal_equations_lose():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(300, 6))
    rows[:, 5] = rows[:, 4] + 1e-6 * rng.normal(size=300)  # condition 1e12 of the normal matrix
    coef = np.ones(6)
    by_rows = solve_rows(rows, rows @ coef).coef
    by_gram = solve_normal(rows.T @ rows, rows.T @ (rows @ coef)).coef
    assert np.abs(by_rows - coef).max() < 1e-8 < np.abs(by_gram - coef).max()
