"""FeatureScaler: statistics over atoms, of each species if asked for, and energies that absorb them."""

import logging

import numpy as np
import pytest
from _radial import Radial, metals
from _toy import Shells
from ase.build import bulk
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlfeat import LinearPotential, PotentialCalculator, load, make_targets, predict_targets, save
from mlfeat.base import Composed
from mlfeat.features import AtomFeatures
from mlfeat.potentials import LinearEnergy, QuadraticEnergy
from mlfeat.preprocessing import FeatureScaler, QuadraticExpansion

SETTINGS = {
    "default": {},
    "center": {"scale": None},
    "std": {"center": None},
    "min range": {"center": "min", "scale": "range"},
    "mean range -1 1": {"scale": "range", "feature_range": (-1.0, 1.0)},
    "std 0.5 3": {"feature_range": (0.5, 3.0)},
    "nothing": {"center": None, "scale": None},
}


@parametrize_with_checks([FeatureScaler(**settings) for settings in (*SETTINGS.values(), {"by_species": True})])
def test_is_a_scikit_learn_transformer_of_arrays(estimator, check):
    check(estimator)


@pytest.fixture(params=SETTINGS, ids=str)
def settings(request):
    return SETTINGS[request.param]


@pytest.fixture
def values():
    return np.random.default_rng(3).normal(2.0, [0.1, 1.0, 50.0], size=(40, 3))


@pytest.fixture(scope="module")
def alloys():
    """Features of two species, whose sizes differ."""
    return Radial(species=["Au", "Cu"]).fit_transform(metals())


@pytest.fixture(params=[False, True], ids=["all species", "by species"])
def fitted(request, settings, alloys):
    return FeatureScaler(**settings, by_species=request.param).fit(alloys)


def twin(settings, values):
    """The definition, for atoms of one kind."""
    center = {"mean": values.mean(axis=0), "min": values.min(axis=0), None: 0.0}[settings.get("center", "mean")]
    scale = {"std": values.std(axis=0), "range": np.ptp(values, axis=0), None: 1.0}[settings.get("scale", "std")]
    low, high = settings.get("feature_range", (0.0, 1.0))
    return low + (high - low) * (values - center) / scale


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_agrees_with_scikit_learns_standard_scaler(values, with_mean, with_std):
    scaled = FeatureScaler("mean" if with_mean else None, "std" if with_std else None).fit_transform(values)
    expected = StandardScaler(with_mean=with_mean, with_std=with_std).fit_transform(values)
    np.testing.assert_allclose(scaled, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("feature_range", [(0.0, 1.0), (-2.0, 3.0)])
def test_agrees_with_scikit_learns_min_max_scaler(values, feature_range):
    scaled = FeatureScaler("min", "range", feature_range=feature_range).fit_transform(values)
    expected = MinMaxScaler(feature_range).fit_transform(values)
    np.testing.assert_allclose(scaled, expected, rtol=1e-12, atol=1e-12)


def test_values_are_those_of_the_definition(values, settings):
    scaled = FeatureScaler(**settings).fit_transform(values)
    np.testing.assert_allclose(scaled, twin(settings, values), rtol=1e-12, atol=1e-12)


def test_statistics_are_over_all_atoms():
    structures = [bulk("Cu", cubic=True), bulk("Cu") * (3, 1, 1)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    scaled = FeatureScaler().fit_transform(Shells().fit_transform(structures))
    np.testing.assert_allclose(scaled.values.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(scaled.values.std(axis=0), 1.0, rtol=1e-12)


def test_by_species_scales_the_atoms_of_each_as_if_they_were_alone(settings, alloys):
    scaler = FeatureScaler(**settings, by_species=True).fit(alloys)
    assert scaler.species_ == ("Au", "Cu")
    scaled = scaler.transform(alloys)
    for s in range(2):
        mine = alloys.values[alloys.species == s]
        np.testing.assert_allclose(scaled.values[alloys.species == s], twin(settings, mine), rtol=1e-11, atol=1e-11)
        for name, expected in (("min_", mine.min(axis=0)), ("max_", mine.max(axis=0)), ("mean_", mine.mean(axis=0))):
            np.testing.assert_allclose(getattr(scaler, name)[s], expected, rtol=1e-14)
        np.testing.assert_allclose(scaler.std_[s], mine.std(axis=0), rtol=1e-12)


def test_rows_without_species_are_of_the_first(alloys):
    scaler = FeatureScaler(by_species=True).fit(alloys)
    first = np.zeros(5, dtype=np.intp)
    values = alloys.values[:5]
    np.testing.assert_array_equal(scaler.apply(values), scaler.apply(values, first))
    np.testing.assert_array_equal(scaler.vjp(values, values), scaler.vjp(values, values, first))
    np.testing.assert_array_equal(scaler.jvp(values, values[:, None]), scaler.jvp(values, values[:, None], first))


def test_a_species_without_atoms_is_named():
    features = Radial(species=["Cu", "Ni"]).fit_transform([bulk("Cu")])
    FeatureScaler().fit(features)
    with pytest.raises(ValueError, match=r"no atoms of Ni .* by_species=False"):
        FeatureScaler(by_species=True).fit(features)
    with pytest.raises(ValueError, match="there are no atoms among"):
        FeatureScaler().fit(features[:0])


def test_features_of_other_species_are_refused(alloys):
    scaler = FeatureScaler(by_species=True).fit(alloys)
    with pytest.raises(ValueError, match=r"species \('Cu',\), but FeatureScaler is expecting \('Au', 'Cu'\)"):
        scaler.transform(Radial().fit_transform([bulk("Cu")]))


@pytest.mark.parametrize(
    "wrong",
    [{"center": "median"}, {"scale": True}, {"feature_range": (1, 1)}, {"feature_range": 1}, {"feature_range": "ab"}],
    ids=str,
)
def test_wrong_parameters_are_named(values, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}="):
        FeatureScaler(**wrong).fit(values)


# features without variance


@pytest.mark.parametrize("scale", ["std", "range"])
def test_constant_features_are_only_shifted(scale):
    values = np.column_stack([np.full(100_000, 1 / 3), np.arange(100_000.0)])
    scaler = FeatureScaler(scale=scale, feature_range=(0.0, 2.0)).fit(values)
    assert scaler.scale_[0, 0] == 1.0
    np.testing.assert_array_equal(scaler.transform(values)[:, 0], 0.0)
    np.testing.assert_allclose(scaler.transform(values + [0.25, 0.0])[:, 0], 0.5)


def test_rounding_is_no_variance():
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[:, 1] = 7.0 * (1 + 1e-15 * values[:, 1])
    scaler = FeatureScaler().fit(values)
    np.testing.assert_array_equal(scaler.constant_, [[False, True, False]])


def test_features_without_variance_are_reported(alloys, caplog):
    """One that is zero for gold only, as a symmetry function that copper's list alone has."""

    class Padded(Radial):
        def values(self, pairs):
            values = super().values(pairs)
            values[self.species_index(pairs.numbers) == 0, 1] = 0.0
            values[:, 2] = 1.0
            return values

    descriptor = Padded(species=["Au", "Cu"])
    features = descriptor.fit_transform(metals())
    with caplog.at_level(logging.INFO, "mlfeat"):
        scaler = FeatureScaler(by_species=True).fit(features)
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 3 features have no variance in Au",
        "1 of 3 features have no variance in Cu",
    ]
    np.testing.assert_array_equal(scaler.constant_, [[False, True, True], [False, False, True]])
    names = descriptor.get_feature_names_out()
    assert scaler.constant_features().tolist() == ["x2"]
    assert scaler.constant_features(names).tolist() == [names[2]]
    assert scaler.constant_features(names, "Au").tolist() == list(names[1:])
    assert scaler.constant_features(species="Cu").tolist() == ["x2"]
    with pytest.raises(ValueError, match=r"species='Ni': .*Au, Cu"):
        scaler.constant_features(species="Ni")
    with pytest.raises(ValueError, match="by_species=False"):
        FeatureScaler().fit(features).constant_features(species="Cu")
    assert not FeatureScaler().fit(alloys).constant_features().size


# derivatives


def test_derivatives_are_those_of_the_values(fitted, alloys):
    rng = np.random.default_rng(1)
    values, species = alloys.values, alloys.species
    tangents, cotangents = rng.normal(size=(len(values), 2, 3)), rng.normal(size=values.shape)
    forward = fitted.jvp(values, tangents, species)
    for k in range(2):  # differences of a linear function are exact
        ends = [fitted.apply(values + sign * 0.5 * tangents[:, k], species) for sign in (1, -1)]
        np.testing.assert_allclose(forward[:, k], ends[0] - ends[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        np.sum(cotangents * forward[:, 1]), np.sum(fitted.vjp(values, cotangents, species) * tangents[:, 1])
    )


def test_feature_sets_carry_derivatives_through(fitted, alloys):
    """In blocks of centers too, each with its own species."""
    rng = np.random.default_rng(4)
    for item in fitted.transform(alloys[:3]):
        cotangents = rng.normal(size=item.values.shape)
        gradients = item.vjp(cotangents)
        jacobian = np.concatenate([item.jacobian(0, 3), item.jacobian(3)])
        np.testing.assert_allclose(
            np.einsum("pxf,pf->px", jacobian, cotangents[item.pairs.first]), gradients, rtol=1e-9, atol=1e-9
        )
        displacements = rng.normal(size=gradients.shape)
        np.testing.assert_allclose(np.sum(cotangents * item.jvp(displacements)), np.sum(gradients * displacements))


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_absorbed_energy_equals_the_energy_of_scaled_features(fitted, alloys, kind):
    rng = np.random.default_rng(2)
    values, species = alloys.values, alloys.species
    if kind == "linear":
        model = LinearEnergy(rng.normal(size=(2, 3)), rng.normal(size=2))
    else:
        model = QuadraticEnergy.from_packed(rng.normal(size=(2, 9)), rng.normal(size=2))
    absorbed = fitted.absorb(model)
    assert type(absorbed) is type(model)
    found = absorbed.energy_and_cotangent(AtomFeatures(values, species))
    expected = Composed(fitted, model).energy_and_cotangent(AtomFeatures(values, species))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-9)


# models


@pytest.fixture(params=[(), (QuadraticExpansion(),)], ids=["linear", "quadratic"])
def model(request):
    scaler = FeatureScaler("min", "range", feature_range=(-1.0, 1.0), by_species=True)
    structures = metals()
    return make_pipeline(Radial(), scaler, *request.param, LinearPotential()).fit(structures, make_targets(structures))


def test_calculators_agree_with_predictions(model):
    for atoms in metals(3):
        expected = predict_targets(model, [atoms])[0]
        atoms.calc = PotentialCalculator(model)
        assert atoms.get_potential_energy() == pytest.approx(expected["energy"], rel=1e-10)
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], rtol=1e-8, atol=1e-9)


def test_saved_scalers_come_back(fitted, alloys, tmp_path):
    again = load(save(fitted, tmp_path / "scaler"))
    assert again.cache_key() == fitted.cache_key()
    np.testing.assert_array_equal(again.transform(alloys).values, fitted.transform(alloys).values)
