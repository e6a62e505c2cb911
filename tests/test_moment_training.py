"""Training of moment tensor potentials: derivatives of the loss, normal equations, variable projection."""

import numpy as np
import pytest
from _moment_twin import evaluate

from mlfeat import MomentTensor, MomentTensorPotential, make_targets
from mlfeat.potentials._moment_data import MomentData, ordered_sum, weighting_factors
from mlfeat.potentials._moment_design import Design, feature_rows, radial_rows
from mlfeat.potentials._moment_model import errors_of
from mlfeat.potentials._moment_problem import MomentProblem
from mlfeat.potentials._moment_start import (
    normalized,
    random_functions,
    tangents,
    training_levels,
    unit_scaling,
)
from mlfeat.testing import toy_training_set

WEIGHTINGS = ("vibrations", "structures", "molecules")
KIND_WEIGHTS = np.array([1.3, 0.2, 0.05])


@pytest.fixture(scope="module")
def structures():
    """Two species; structures of different sizes, one of them without a cell."""
    listed = toy_training_set(("Mo", "Ni"), n_structures=4)
    listed[2].cell, listed[2].pbc = None, False
    del listed[3][[1, 4, 6]]
    return listed


@pytest.fixture(scope="module")
def features(structures):
    return MomentTensor(4.0, level=8, n_polynomials=3, n_jobs=1).fit_transform(structures)


@pytest.fixture(scope="module")
def targets(features):
    """Random ones: derivatives of the loss do not ask where they are from."""
    rng = np.random.default_rng(3)
    taught = np.empty(len(features), dtype=[("energy", "f8"), ("forces", object), ("stress", "f8", (6,))])
    for k, item in enumerate(features):
        taught[k] = rng.normal(), rng.normal(size=(item.n_atoms, 3)), 0.1 * rng.normal(size=6)
    taught["stress"][[1, 2]] = np.nan
    return taught


def data_of(features, targets, weighting="vibrations"):
    weights = KIND_WEIGHTS * weighting_factors(weighting, features)
    weights[np.isnan(targets["stress"][:, 0]), 2] = 0.0
    weights[0, 1] = 0.0  # and one structure without forces
    return MomentData(features.items, targets, weights)


def problem_of(features, targets, *, tied=True, weighting="vibrations", alpha=1e-3, free_intercept=True, n_jobs=None):
    descriptor = features[0].descriptor
    return MomentProblem(
        data_of(features, targets, weighting),
        descriptor,
        descriptor.basis_,
        scaling=0.3,
        alpha=alpha,
        free_intercept=free_intercept,
        tied=tied,
        n_jobs=n_jobs,
    )


def parameters_of(problem, seed=0):
    rng = np.random.RandomState(seed)
    radial = random_functions((2, 2, problem.basis.n_radial, 3), rng)
    n_columns = problem.n_groups * len(problem.basis.scalars)
    return radial, rng.normal(size=n_columns), rng.normal(size=2)


def residuals_of(problem, radial, coef, intercept):
    """Weighted residuals, row by row as `feature_rows` has them, from predictions."""
    model, rows = problem.model(radial, coef, intercept), []
    for item, target, weights in zip(problem.data.items, problem.data.targets, problem.data.weights, strict=True):
        energy, gradients = model.energy_and_gradients(item)
        w_energy, w_forces, w_stress = np.sqrt(weights)
        rows.append([w_energy * (energy - target["energy"])])
        if w_forces > 0:
            rows.append(w_forces * np.ravel(item.pairs.forces(gradients) - target["forces"]))
        if w_stress > 0:
            rows.append(w_stress * (item.pairs.stress(gradients) - target["stress"]))
    return np.concatenate(rows)


# ---------------------------------------------------------------------- the loss


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_gradient_of_the_loss(features, targets, weighting, tied):
    """With respect to every parameter, against central differences of order 4."""
    problem = problem_of(features, targets, weighting=weighting, tied=tied)
    parameters = parameters_of(problem)
    problem.penalty = np.linspace(0.1, 2.0, len(parameters[1]))
    derivatives = problem.loss(*parameters)[1]
    for place, (values, slopes) in enumerate(zip(parameters, derivatives, strict=True)):
        for index in np.ndindex(values.shape):

            def loss(step, place=place, index=index):
                moved = [part.copy() for part in parameters]
                moved[place][index] += step
                return problem.loss(*moved)[0]

            h = 2e-3
            expected = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
            np.testing.assert_allclose(slopes[index], expected, rtol=1e-6, atol=1e-7 * np.abs(slopes).max())


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_loss_is_that_of_the_definition(features, targets, weighting):
    problem = problem_of(features, targets, weighting=weighting)
    radial, coef, intercept = parameters_of(problem)
    problem.penalty = np.full(len(coef), 0.3)
    total, model = 0.3 * coef @ coef, problem.model(radial, coef, intercept)
    for k, (item, target) in enumerate(zip(features, targets, strict=True)):
        energy, gradients = model.energy_and_gradients(item)
        n, volume = item.n_atoms, item.pairs.volume
        p, q = {"vibrations": (1 / n, 1), "structures": (1 / n**2, 1 / n), "molecules": (1, 1)}[weighting]
        total += 1.3 * p * (energy - target["energy"]) ** 2
        total += (k != 0) * 0.2 * q * np.sum((item.pairs.forces(gradients) - target["forces"]) ** 2)
        if np.isfinite(target["stress"]).all():
            total += 0.05 * p * volume**2 * np.sum((item.pairs.stress(gradients) - target["stress"]) ** 2)
    np.testing.assert_allclose(problem.loss(radial, coef, intercept)[0], total, rtol=1e-12)
    np.testing.assert_allclose(np.sum(residuals_of(problem, radial, coef, intercept) ** 2) + 0.3 * coef @ coef, total)


def test_errors(features, targets):
    """Both ways to find them give those of the predictions."""
    problem = problem_of(features, targets)
    radial, coef, intercept = parameters_of(problem)
    problem.penalty = np.zeros(len(coef))
    model = problem.model(radial, coef, intercept)
    found, again = errors_of(model, problem.data), problem.loss(radial, coef, intercept)[2]
    np.testing.assert_allclose(found, again, rtol=1e-12)
    predicted = [model.energy_and_gradients(item) for item in features]
    energies = [(e - t) / i.n_atoms for (e, _), t, i in zip(predicted, targets["energy"], features, strict=True)]
    forces = [i.pairs.forces(g) - t for (_, g), t, i in zip(predicted, targets["forces"], features, strict=True)]
    np.testing.assert_allclose(found.energy, np.sqrt(np.mean(np.square(energies))), rtol=1e-12)
    np.testing.assert_allclose(found.forces, np.sqrt(np.mean(np.concatenate(forces[1:]) ** 2)), rtol=1e-12)
    np.testing.assert_allclose(found.loss * len(features), problem.loss(radial, coef, intercept)[0], rtol=1e-12)


# ---------------------------------------------------------------------- normal equations


@pytest.mark.parametrize("tied", [True, False])
def test_columns_are_derivatives_of_predictions(features, targets, tied):
    problem = problem_of(features, targets, tied=tied, weighting="structures")
    radial, coef, intercept = parameters_of(problem)
    descriptor, data, n = problem.descriptor(radial), problem.data, problem.n_groups
    rows = np.concatenate([feature_rows(descriptor, data, k, n) for k in range(len(features))])
    slopes = np.concatenate([radial_rows(descriptor, data, k, coef.reshape(n, -1)) for k in range(len(features))])
    linear = rows[:, :-1] @ np.concatenate([intercept, coef]) - rows[:, -1]
    np.testing.assert_allclose(linear, residuals_of(problem, radial, coef, intercept), rtol=1e-9, atol=1e-10)
    for column, index in enumerate(np.ndindex(radial.shape)):

        def residuals(step, index=index):
            moved = radial.copy()
            moved[index] += step
            return residuals_of(problem, moved, coef, intercept)

        h = 2e-3
        expected = (8 * (residuals(h) - residuals(-h)) - (residuals(2 * h) - residuals(-2 * h))) / (12 * h)
        np.testing.assert_allclose(slopes[:, column], expected, rtol=1e-6, atol=1e-7 * np.abs(slopes).max())


@pytest.mark.parametrize("keep", [True, False])
def test_matrix_is_the_product_of_all_rows(features, targets, keep):
    problem = problem_of(features, targets)
    radial, coef, _ = parameters_of(problem)
    descriptor, data, coef = problem.descriptor(radial), problem.data, coef[None]
    design = Design(descriptor, data, 1, keep=keep)
    rows = np.concatenate([feature_rows(descriptor, data, k, 1) for k in range(len(features))])
    np.testing.assert_allclose(design.matrix, rows.T @ rows, rtol=1e-12, atol=1e-12)
    slopes = np.concatenate([radial_rows(descriptor, data, k, coef) for k in range(len(features))])
    full = np.concatenate([rows[:, :-1], slopes, rows[:, -1:]], axis=1)
    np.testing.assert_allclose(design.with_radial(coef), full.T @ full, rtol=1e-10, atol=1e-10)


def test_rows_are_those_of_the_twin(structures, features, targets):
    """Of the definition in NumPy, with its own derivatives."""
    problem = problem_of(features, targets)
    radial, coef, _ = parameters_of(problem)
    descriptor = problem.descriptor(radial)
    item, weights = features[3], problem.data.weights[3]
    tables = descriptor.basis_
    twin = evaluate(item.pairs, item.species, tables, radial, 0.3, descriptor.min_dist_, 4.0)
    rows = feature_rows(descriptor, problem.data, 3, 1)
    np.testing.assert_allclose(rows[0, 2:-1], np.sqrt(weights[0]) * twin.values.sum(axis=0), rtol=1e-10)
    forces = np.stack([item.pairs.forces(np.ascontiguousarray(twin.jacobian[:, :, f])) for f in range(9)], axis=-1)
    np.testing.assert_allclose(rows[1:-6, 2:-1], np.sqrt(weights[1]) * forces.reshape(-1, 9), rtol=1e-9, atol=1e-12)
    slopes = radial_rows(descriptor, problem.data, 3, coef[None])
    mixed = twin.radial_jacobian(np.tile(coef, (item.n_atoms, 1)))
    own = np.where(item.species[item.pairs.first][:, None, None] == 1, mixed, 0.0)
    stress = [item.pairs.stress(np.ascontiguousarray(own[:, :, q])) for q in range(own.shape[2])]
    np.testing.assert_allclose(
        slopes[-6:, own.shape[2] :], np.sqrt(weights[2]) * np.transpose(stress), rtol=1e-9, atol=1e-12
    )


def test_sum_does_not_depend_on_threads():
    parts = list(np.random.default_rng(0).normal(size=(37, 5)))
    np.testing.assert_array_equal(ordered_sum(lambda part: part.copy(), parts, 3), sum(parts[1:], parts[0]))


# ---------------------------------------------------------------------- variable projection


@pytest.mark.parametrize("free_intercept", [True, False])
def test_linear_part_is_ridge_regression(features, targets, free_intercept):
    problem = problem_of(features, targets, alpha=1e-2, free_intercept=free_intercept)
    radial = parameters_of(problem)[0]
    projected = problem.project(radial)
    rows = np.concatenate([feature_rows(problem.descriptor(radial), problem.data, k, 1) for k in range(len(features))])
    design, target = rows[:, :-1] if free_intercept else rows[:, 2:-1], rows[:, -1]
    n_free = 2 * free_intercept
    penalty = np.diag(np.sqrt(np.concatenate([np.zeros(n_free), projected.penalty])))
    augmented = np.concatenate([design, penalty])
    solution, *_ = np.linalg.lstsq(augmented, np.concatenate([target, np.zeros(len(penalty))]), rcond=None)
    np.testing.assert_allclose(projected.coef, solution[n_free:], rtol=1e-8)
    np.testing.assert_allclose(projected.intercept, solution[:2] if free_intercept else 0.0, rtol=1e-8)
    residual = augmented @ solution - np.concatenate([target, np.zeros(len(penalty))])
    np.testing.assert_allclose(projected.loss, residual @ residual, rtol=1e-10)
    problem.penalty = projected.penalty
    np.testing.assert_allclose(problem.loss(radial, projected.coef, projected.intercept)[0], projected.loss, rtol=1e-10)
    np.testing.assert_allclose(problem.linearize(projected).loss, projected.loss, rtol=1e-10)


def test_step_is_that_of_the_joint_least_squares(features, targets):
    """Without damping: Gauss and Newton's, of linear and radial parameters together."""
    problem = problem_of(features, targets, alpha=1e-2)
    radial = parameters_of(problem)[0]
    projected = problem.project(radial)
    problem.penalty = projected.penalty
    directions = tangents(radial)[:, :6]
    step = problem.linearize(projected).step(directions, 0.0)
    descriptor, numbers = problem.descriptor(radial), range(len(features))
    rows = np.concatenate([feature_rows(descriptor, problem.data, k, 1) for k in numbers])
    slopes = np.concatenate([radial_rows(descriptor, problem.data, k, projected.coef[None]) for k in numbers])
    joint = np.concatenate([rows[:, :-1], slopes @ directions], axis=1)
    penalty = np.zeros((len(projected.coef), joint.shape[1]))
    penalty[:, 2 : 2 + len(penalty)] = np.diag(np.sqrt(projected.penalty))
    augmented = np.concatenate([joint, penalty])
    target = np.concatenate([rows[:, -1], np.zeros(len(penalty))])
    solution, *_ = np.linalg.lstsq(augmented, target, rcond=None)
    np.testing.assert_allclose(step.radial, directions @ solution[-6:], rtol=1e-6, atol=1e-9)
    left = np.sum((augmented @ solution - target) ** 2)
    np.testing.assert_allclose(step.predicted, projected.loss - left, rtol=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_known_potential_is_recovered(seed):
    """Energies, forces and stresses of a potential with random radial functions, from other random ones."""
    train = toy_training_set(("Mo", "Ni"), n_structures=8)
    X = MomentTensor(4.3, level=8, n_polynomials=4).fit_transform(train)
    teacher = MomentTensorPotential("ridge", initial="random", random_state=seed).fit(X, make_targets(train))
    taught = teacher.predict_targets(X)
    student = MomentTensorPotential(initial="random", random_state=seed + 10, alpha=1e-13, tol=0, max_iter=150)
    found = student.fit(X, taught).predict_targets(X)
    n_atoms = np.array([item.n_atoms for item in X])
    spread = np.std(taught["energy"] / n_atoms)
    np.testing.assert_allclose(found["energy"] / n_atoms, taught["energy"] / n_atoms, rtol=0, atol=1e-6 * spread)
    size = np.sqrt(np.mean(np.concatenate([f.ravel() for f in taught["forces"]]) ** 2))
    for a, b in zip(found["forces"], taught["forces"], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * size)


# ---------------------------------------------------------------------- where training begins


def test_random_functions_are_orthonormal():
    radial = random_functions((2, 2, 4, 3), np.random.RandomState(0))
    rows = radial.transpose(2, 0, 1, 3).reshape(4, -1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(4), atol=1e-12)
    many = random_functions((1, 1, 5, 3), np.random.RandomState(0))  # more than there are polynomials
    np.testing.assert_allclose(np.sum(many**2, axis=(0, 1, 3)), 1.0)


def test_tangents_keep_the_norms():
    radial = random_functions((2, 2, 3, 4), np.random.RandomState(0))
    directions = tangents(radial)
    assert directions.shape == (radial.size, radial.size - 3)
    np.testing.assert_allclose(directions.T @ directions, np.eye(radial.size - 3), atol=1e-12)
    along = directions.T.reshape(-1, *radial.shape)
    np.testing.assert_allclose(np.einsum("nstmk,stmk->nm", along, radial), 0.0, atol=1e-12)


def test_zero_functions_stay_zero():
    radial = np.zeros((1, 1, 2, 3))
    radial[0, 0, 0] = 3.0, 0.0, 4.0
    unit, norms = normalized(radial)
    np.testing.assert_allclose(norms, [5.0, 0.0])
    np.testing.assert_allclose(unit[0, 0], [[0.6, 0.0, 0.8], [0.0, 0.0, 0.0]])
    assert tangents(unit).shape == (6, 2 + 3)


def test_scaling_makes_the_first_moment_one(features):
    descriptor = features[0].descriptor
    radial = random_functions(descriptor.radial_coefficients_.shape, np.random.RandomState(0))
    scaling = unit_scaling(descriptor, radial, features.items)
    learned = descriptor.with_radial(radial, scaling=scaling)
    first = np.concatenate([learned.values(item.pairs)[:, 0] for item in features])
    assert learned.get_feature_names_out()[0] == "M(0,0)"
    np.testing.assert_allclose(np.sqrt(np.mean(first**2)), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("level", "expected"), [(6, [6]), (8, [8]), (10, [8, 10]), (16, [8, 12, 16]), (18, [8, 12, 16, 18])]
)
def test_levels(level, expected):
    basis = MomentTensor(level=level).basis_
    assert training_levels(basis) == expected
