"""QuadraticExpansion: products of features, their derivatives, and the energy that needs neither."""

import numpy as np
import pytest
from _toy import Shells
from ase.build import bulk
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlfeat.features import AtomFeatures
from mlfeat.potentials import LinearEnergy, QuadraticEnergy
from mlfeat.potentials._energy import n_linear_features
from mlfeat.preprocessing import QuadraticExpansion


@parametrize_with_checks([QuadraticExpansion()])
def test_is_a_scikit_learn_transformer_of_arrays(estimator, check):
    check(estimator)


@pytest.fixture
def expansion():
    return QuadraticExpansion()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def twin(values):
    """The expansion as its definition reads."""
    k, m = np.triu_indices(values.shape[-1])
    products = values[..., k] * values[..., m] * np.where(k == m, 0.5, 1.0)
    return np.concatenate([values, products], axis=-1)


@pytest.mark.parametrize("n_features", [1, 2, 5, 30])
def test_values_are_those_of_the_definition(expansion, rng, n_features):
    values = rng.normal(size=(11, n_features))
    np.testing.assert_allclose(expansion.apply(values), twin(values), rtol=1e-15)


@pytest.mark.parametrize("n_features", [1, 2, 5, 30])
def test_jvp_is_the_derivative_of_values(expansion, rng, n_features):
    values, tangents = rng.normal(size=(6, n_features)), rng.normal(size=(6, 4, n_features))
    # Central differences of a quadratic function are exact.
    difference = 0.5 * (twin(values[:, None] + tangents) - twin(values[:, None] - tangents))
    np.testing.assert_allclose(expansion.jvp(values, tangents), difference, atol=1e-13)


@pytest.mark.parametrize("n_features", [1, 2, 5, 30])
def test_vjp_is_the_adjoint_of_jvp(expansion, rng, n_features):
    values, tangents = rng.normal(size=(6, n_features)), rng.normal(size=(6, 1, n_features))
    forward = expansion.jvp(values, tangents)
    cotangents = rng.normal(size=forward[:, 0].shape)
    backward = expansion.vjp(values, cotangents)
    np.testing.assert_allclose(
        np.einsum("mf,mf->m", cotangents, forward[:, 0]), np.einsum("mf,mf->m", backward, tangents[:, 0]), rtol=1e-12
    )


def test_arrays_of_any_layout_are_accepted(expansion, rng):
    values = rng.normal(size=(4, 12))[:, ::2]
    np.testing.assert_array_equal(expansion.apply(values), expansion.apply(values.copy()))
    tangents = np.asfortranarray(rng.normal(size=(4, 3, 6)))
    np.testing.assert_array_equal(expansion.jvp(values, tangents), expansion.jvp(values, tangents.copy()))


def test_no_atoms_have_no_products(expansion):
    assert expansion.apply(np.empty((0, 3))).shape == (0, 9)
    assert expansion.jvp(np.empty((0, 3)), np.empty((0, 2, 3))).shape == (0, 2, 9)
    assert expansion.vjp(np.empty((0, 3)), np.empty((0, 9))).shape == (0, 3)


def test_names_follow_the_order_of_the_products(expansion):
    expansion.fit(np.ones((2, 2)))
    assert expansion.get_feature_names_out(["a", "b"]).tolist() == ["a", "b", "a^2/2", "a b", "b^2/2"]


def test_names_need_a_fit(expansion):
    with pytest.raises(NotFittedError):
        expansion.get_feature_names_out()


@pytest.mark.parametrize("n_species", [1, 2])
def test_absorbed_energy_equals_the_explicit_one(expansion, rng, n_species):
    features = AtomFeatures(rng.normal(size=(9, 5)), rng.integers(n_species, size=9).astype(np.intp))
    explicit = LinearEnergy(rng.normal(size=(n_species, 20)), rng.normal(size=n_species))
    absorbed = expansion.absorb(explicit)
    assert isinstance(absorbed, QuadraticEnergy)
    expanded = AtomFeatures(expansion.apply(features.values), features.species)
    energies, cotangents = explicit.energy_and_cotangent(expanded)
    found = absorbed.energy_and_cotangent(features)
    np.testing.assert_allclose(found[0], energies, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found[1], expansion.vjp(features.values, cotangents), rtol=1e-12, atol=1e-13)


def test_other_energies_are_composed(expansion, rng):
    model = QuadraticEnergy.from_packed(rng.normal(size=(1, 9 + 45)), [0.3])  # quadratic in the products: quartic
    features = AtomFeatures(rng.normal(size=(4, 3)), np.zeros(4, dtype=np.intp))
    energies, cotangents = expansion.absorb(model).energy_and_cotangent(features)
    expected = model.energy_and_cotangent(AtomFeatures(twin(features.values), features.species))
    np.testing.assert_allclose(energies, expected[0], rtol=1e-13)
    np.testing.assert_allclose(cotangents, expansion.vjp(features.values, expected[1]), rtol=1e-13)


def test_numbers_that_are_no_quadratic_features_are_refused():
    assert [n_linear_features(n) for n in (2, 5, 495, 1595)] == [1, 2, 30, 55]
    with pytest.raises(ValueError, match="no quadratic features"):
        n_linear_features(496)


def test_feature_sets_carry_derivatives_through(expansion, rng):
    structures = [bulk("Cu", cubic=True), bulk("Cu") * (2, 1, 1)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    inputs = Shells().fit_transform(structures)
    features = expansion.fit_transform(inputs)
    assert features.shape == (2, 14)
    for before, item in zip(inputs, features, strict=True):
        np.testing.assert_allclose(item.values, twin(before.values), rtol=1e-14)
        displacements = rng.normal(size=(item.pairs.n_pairs, 3))
        cotangents = rng.normal(size=item.values.shape)
        np.testing.assert_allclose(
            np.sum(cotangents * item.jvp(displacements)), np.sum(item.vjp(cotangents) * displacements), rtol=1e-11
        )
        jacobian = item.jacobian()
        np.testing.assert_allclose(
            np.einsum("pxf,pf->px", jacobian, cotangents[item.pairs.first]), item.vjp(cotangents), atol=1e-12
        )
