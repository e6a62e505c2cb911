"""FeatureScaler: mean and standard deviation over atoms, and energies that absorb them."""

import numpy as np
import pytest
from _toy import Shells
from ase.build import bulk
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlfeat.features import AtomFeatures
from mlfeat.potentials import LinearEnergy, QuadraticEnergy
from mlfeat.preprocessing import FeatureScaler


@parametrize_with_checks([FeatureScaler(), FeatureScaler(with_mean=False), FeatureScaler(with_std=False)])
def test_is_a_scikit_learn_transformer_of_arrays(estimator, check):
    check(estimator)


SETTINGS = [{}, {"with_mean": False}, {"with_std": False}]


@pytest.fixture
def values():
    return np.random.default_rng(3).normal(2.0, [0.1, 1.0, 50.0], size=(40, 3))


@pytest.mark.parametrize("settings", SETTINGS)
def test_agrees_with_scikit_learn(values, settings):
    scaled = FeatureScaler(**settings).fit_transform(values)
    np.testing.assert_allclose(scaled, StandardScaler(**settings).fit_transform(values), rtol=1e-12, atol=1e-12)


def test_constant_features_are_only_centered():
    values = np.column_stack([np.full(5, 1 / 3), np.arange(5.0)])
    scaler = FeatureScaler().fit(values)
    assert scaler.scale_[0] == 1.0
    np.testing.assert_allclose(scaler.transform(values)[:, 0], 0.0, atol=1e-15)


def test_statistics_are_over_all_atoms():
    structures = [bulk("Cu", cubic=True), bulk("Cu") * (3, 1, 1)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    scaled = FeatureScaler().fit_transform(Shells().fit_transform(structures))
    np.testing.assert_allclose(scaled.values.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(scaled.values.std(axis=0), 1.0, rtol=1e-12)


@pytest.mark.parametrize("settings", SETTINGS)
def test_derivatives_are_scaled(values, settings):
    rng = np.random.default_rng(1)
    scaler = FeatureScaler(**settings).fit(values)
    tangents, cotangents = rng.normal(size=(40, 2, 3)), rng.normal(size=(40, 3))
    forward = scaler.jvp(values, tangents)
    difference = scaler.apply(values + 0.5 * tangents[:, 0]) - scaler.apply(values - 0.5 * tangents[:, 0])
    np.testing.assert_allclose(forward[:, 0], difference, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        np.sum(cotangents * forward[:, 1]), np.sum(scaler.vjp(values, cotangents) * tangents[:, 1])
    )


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_absorbed_energy_equals_the_energy_of_scaled_features(values, settings, kind):
    rng = np.random.default_rng(2)
    scaler = FeatureScaler(**settings).fit(values)
    if kind == "linear":
        model = LinearEnergy(rng.normal(size=(2, 3)), rng.normal(size=2))
    else:
        model = QuadraticEnergy.from_packed(rng.normal(size=(2, 9)), rng.normal(size=2))
    species = rng.integers(2, size=len(values)).astype(np.intp)
    energies, cotangents = model.energy_and_cotangent(AtomFeatures(scaler.apply(values), species))
    absorbed = scaler.absorb(model)
    assert type(absorbed) is type(model)
    found = absorbed.energy_and_cotangent(AtomFeatures(values, species))
    np.testing.assert_allclose(found[0], energies, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found[1], scaler.vjp(values, cotangents), rtol=1e-10, atol=1e-10)
