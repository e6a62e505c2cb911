"""Several descriptors as one: the parts' features side by side, scikit-learn's idiom, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
from ase.build import bulk
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlfeat import (
    Bispectrum,
    DescriptorUnion,
    LinearPotential,
    PairDistance,
    PotentialCalculator,
    clear_cache,
    load,
    make_descriptor_union,
    make_targets,
    predict_targets,
    save,
)
from mlfeat.descriptors import _compiled
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close, awkward_structures, crystal, toy_training_set

SPECIES = ("Mo", "Nb")


def union(**parameters):
    return DescriptorUnion([("many", Bispectrum(4.0, 4)), ("pair", PairDistance(5.0, 6))], **parameters)


@pytest.fixture(scope="module")
def structures():
    return list(awkward_structures(SPECIES).values())


@pytest.fixture
def model():
    return make_pipeline(union(), LinearPotential(Ridge(1e-6)))


# --- features


def test_features_are_those_of_the_parts_side_by_side(structures):
    features = union().fit_transform(structures)
    parts = [part.fit_transform(structures) for part in (Bispectrum(4.0, 4), PairDistance(5.0, 6))]
    assert features.feature_names.tolist() == [
        *(f"many__{name}" for name in parts[0].feature_names),
        *(f"pair__{name}" for name in parts[1].feature_names),
    ]
    for found, *separate in zip(features, *parts, strict=True):
        np.testing.assert_allclose(found.values, np.hstack([part.values for part in separate]), rtol=1e-12, atol=1e-15)


def test_one_neighbor_list_of_the_largest_cutoff_serves_all_parts(structures, monkeypatch):
    fitted = union().fit(structures)
    radii, build = [], NeighborPairs.from_atoms

    def noted(atoms, cutoff, **how):
        radii.append(cutoff)
        return build(atoms, cutoff, **how)

    monkeypatch.setattr(NeighborPairs, "from_atoms", noted)
    clear_cache()
    fitted.transform(structures)
    assert radii == [5.0] * len(structures)


def test_gradients_come_from_the_parts_adjoints(structures, monkeypatch):
    """No explicit Jacobian is made."""
    fitted = union().fit(structures)
    pairs = NeighborPairs.from_atoms(structures[0], 5.5)
    cotangents = np.random.default_rng(0).normal(size=(len(structures[0]), fitted.n_features_out_))
    expected = np.einsum("pxf,pf->px", fitted.jacobian(pairs), cotangents[pairs.first])
    for kind in (Bispectrum, PairDistance, DescriptorUnion):
        monkeypatch.setattr(kind, "jacobian", None)
    values, pullback = fitted.values_and_pullback(pairs)
    np.testing.assert_array_equal(values, fitted.values(pairs))
    assert_close(pullback(cotangents), expected, "pullback")
    assert_close(fitted.vjp(pairs, cotangents), expected, "vjp")


def test_blocks_are_the_parts_with_the_unions_names(structures):
    pair = PairDistance(5.0, 6).fit(structures)
    nested = DescriptorUnion([("two", union()), ("near", PairDistance(3.3, 2))]).fit(structures)
    blocks = nested.feature_blocks()
    assert [block[:3] for block in blocks] == [("two__many", 0, 14), ("two__pair", 14, 32), ("near", 32, 38)]
    assert blocks[0].covariance is None
    np.testing.assert_array_equal(blocks[1].covariance, pair.feature_blocks()[0].covariance)


def test_names_come_from_the_classes():
    made = make_descriptor_union(PairDistance(3.0), Bispectrum(), PairDistance(4.0), species=SPECIES, n_jobs=2)
    assert [name for name, _ in made.descriptors] == ["pairdistance-1", "bispectrum", "pairdistance-2"]
    assert (made.species, made.n_jobs) == (SPECIES, 2)


# --- scikit-learn's idiom


def test_parameters_of_parts_have_the_parts_name():
    descriptor = union()
    parameters = descriptor.get_params()
    assert parameters["pair"] is descriptor.descriptors[1][1]
    assert parameters["pair__n_sparse"] == 6
    assert set(descriptor.get_params(deep=False)) == {"descriptors", "species", "n_jobs"}
    descriptor.set_params(pair__n_sparse=3, many=Bispectrum(3.0, 2), n_jobs=2)
    assert descriptor.descriptors[1][1].n_sparse == 3
    assert descriptor.descriptors[0][1].cutoff == 3.0
    with pytest.raises(ValueError, match="Invalid parameter 'wrong'"):
        descriptor.set_params(pair__wrong=1)


def test_fit_leaves_the_given_parts_alone(structures):
    parts = [("many", Bispectrum(4.0, 4)), ("pair", PairDistance(5.0, 6))]
    descriptor = DescriptorUnion(parts).fit(structures)
    assert not any(hasattr(part, "species_") or part.species for _, part in parts)
    assert descriptor.named_descriptors_.pair.points_
    assert descriptor.named_descriptors_.pair is not parts[1][1]


def test_a_grid_search_reaches_the_parts(model):
    train = toy_training_set(n_structures=8)
    grid = {"descriptorunion__many__cutoff": [3.0, 4.0], "descriptorunion__pair__n_sparse": [2, 6]}
    search = GridSearchCV(model, grid, cv=2).fit(train, make_targets(train))
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    best = search.best_estimator_[0]
    assert {f"descriptorunion__{name}": best.get_params()[name] for name in ("many__cutoff", "pair__n_sparse")} == (
        search.best_params_
    )
    assert len(best.descriptors_[1][1].points_[0]) == search.best_params_["descriptorunion__pair__n_sparse"]


@pytest.mark.parametrize(
    "copied",
    [
        lambda descriptor, folder, structures: pickle.loads(pickle.dumps(descriptor)),
        lambda descriptor, folder, structures: copy.deepcopy(descriptor),
        lambda descriptor, folder, structures: clone(descriptor).fit(structures),
        lambda descriptor, folder, structures: load(save(descriptor, folder / "union.mlfeat")),
    ],
    ids=["pickled", "copied", "cloned", "saved"],
)
def test_copies_and_files_give_the_same_features(copied, structures, tmp_path):
    descriptor = make_descriptor_union(union(), PairDistance(3.0, points=[2.0, 2.5])).fit(structures)
    expected = descriptor.transform(structures)
    clear_cache()
    twin = copied(descriptor, tmp_path, structures)
    found = twin.transform(structures)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.feature_names, expected.feature_names)
    assert twin.cache_key() == descriptor.cache_key()


def test_a_saved_model_predicts_the_same(model, tmp_path):
    train = toy_training_set(n_structures=8)
    model.fit(train, make_targets(train))
    again = load(save(model, tmp_path / "model.mlfeat"))
    for found, expected in zip(predict_targets(again, train), predict_targets(model, train), strict=True):
        np.testing.assert_array_equal(found["forces"], expected["forces"])
        assert found["energy"] == expected["energy"]


# --- the cache, threads, copies that do not change


@pytest.mark.parametrize(
    "other",
    [
        {"pair__theta": 0.5},
        {"pair__n_sparse": 5},
        {"many__cutoff": 3.9},
        {"pair": Bispectrum(5.0, 2)},
        {"pair__points": [2.0, 3.0]},
    ],
)
def test_the_cache_tells_parameters_of_parts_apart(structures, other):
    first, second = union().fit(structures), union().set_params(**other).fit(structures)
    assert first.cache_key() != second.cache_key()
    first.transform(structures)
    found = second.transform(structures).values
    clear_cache()
    np.testing.assert_array_equal(second.transform(structures).values, found)
    assert found.shape != first.transform(structures).values.shape or not np.allclose(
        found, first.transform(structures).values
    )


def test_the_cache_tells_what_parts_learnt_apart(structures):
    first, second = union().fit(structures), union().fit([crystal(SPECIES, spacing=2.9)])
    assert first.cache_key() != second.cache_key()
    assert first.cache_key() == union(n_jobs=2).set_params(pair__n_jobs=2).fit(structures).cache_key()


def test_parameters_of_parts_set_after_fit_need_another_fit(structures):
    descriptor = union().fit(structures)
    descriptor.transform(structures)
    descriptor.set_params(pair__n_jobs=2, n_jobs=2).transform(structures)
    with pytest.raises(NotFittedError, match="call fit again"):
        descriptor.set_params(pair__theta=0.4).transform(structures)


def test_the_unions_threads_are_the_parts(structures):
    descriptor = union().set_params(pair__n_jobs=3).fit(structures)
    pairs = NeighborPairs.from_atoms(structures[0], 5.0)
    descriptor.values(pairs)
    assert [part.n_jobs for _, part in descriptor.descriptors_] == [None, 3]
    descriptor.set_params(n_jobs=2).values(pairs)
    assert [part.n_jobs for _, part in descriptor.descriptors_] == [2, 2]


def test_a_calculator_keeps_copies_of_the_parts(model):
    train = toy_training_set(n_structures=8)
    model.fit(train, make_targets(train))
    atoms = train[0].copy()
    atoms.calc = PotentialCalculator(model, n_threads=2)
    expected = atoms.get_forces()
    assert [part.n_jobs for _, part in model[0].descriptors_] == [None, None]
    model.set_params(descriptorunion__pair__n_sparse=2).fit(train[:4], make_targets(train[:4]))
    atoms.calc.reset()
    np.testing.assert_array_equal(atoms.get_forces(), expected)


def test_features_keep_working_when_the_union_is_fitted_again(structures):
    descriptor = union().fit(structures)
    item = descriptor.transform(structures)[0]
    cotangents = np.ones(item.values.shape)
    expected = item.vjp(cotangents)
    descriptor.set_params(pair__theta=0.3).fit(structures)
    np.testing.assert_array_equal(item.vjp(cotangents), expected)


# --- species


def test_all_parts_see_the_unions_species():
    structures = [bulk("Mo"), bulk("Nb")]
    descriptor = union(species=["Nb", "Mo", "W"]).fit(structures)
    assert {part.species_ for _, part in descriptor.descriptors_} == {descriptor.species_} == {("Nb", "Mo", "W")}
    descriptor = union().fit(structures)
    assert descriptor.species_ == SPECIES


def test_the_union_takes_the_species_of_a_part():
    descriptor = make_descriptor_union(make_descriptor_union(Bispectrum(species=["Nb", "Mo"], radii=[0.5, 0.6])))
    assert descriptor.fit([bulk("Mo")]).species_ == ("Nb", "Mo")


@pytest.mark.parametrize("species", [None, ["Mo", "Nb"]])
def test_parts_of_different_species_are_refused(species):
    parts = Bispectrum(species=["Mo", "Nb"]), PairDistance(species=["Nb", "Mo"])
    with pytest.raises(ValueError, match="the part 'pairdistance' is for the species Nb, Mo, the union for Mo, Nb"):
        make_descriptor_union(*parts, species=species).fit([bulk("Mo")])


# --- what is refused


@pytest.mark.parametrize(
    ("descriptors", "error", "message"),
    [
        ([], ValueError, r"descriptors=\[\]: must be a list of one or more"),
        (None, ValueError, "descriptors=None: must be a list"),
        (Bispectrum(), ValueError, r"descriptors=Bispectrum\(\): must be a list"),
        ([Bispectrum()], TypeError, r"Bispectrum\(\) is no pair of name and descriptor"),
        ([(1, Bispectrum())], TypeError, "is no pair of name and descriptor"),
        ([("a", Ridge())], TypeError, r"'a' is Ridge\(\), expected a descriptor"),
        ([("a", Bispectrum)], TypeError, r"'a' is .*Bispectrum'>, expected a descriptor"),
        ([("a", Bispectrum()), ("a", PairDistance())], ValueError, "not unique"),
        ([("a__b", Bispectrum())], ValueError, "must not contain __"),
        ([("species", Bispectrum())], ValueError, "conflict with constructor arguments"),
        ([("a", Bispectrum(cutoff=-1.0))], ValueError, "cutoff=-1.0: must be a positive number"),
    ],
)
def test_bad_parts_are_refused(descriptors, error, message):
    with pytest.raises(error, match=message):
        DescriptorUnion(descriptors).fit([bulk("Mo")])


def test_cotangents_of_a_wrong_shape_are_refused(structures):
    descriptor = union().fit(structures)
    pairs = NeighborPairs.from_atoms(structures[0], 5.0)
    _, pullback = descriptor.values_and_pullback(pairs)
    for shape in [(pairs.n_atoms, 33), (pairs.n_atoms, 31), (pairs.n_atoms + 1, 32), (32,)]:
        with pytest.raises(ValueError, match="one for each atom and feature"):
            descriptor.vjp(pairs, np.ones(shape))
        with pytest.raises(ValueError, match="one for each atom and feature"):
            pullback(np.ones(shape))


def test_a_neighbor_list_that_is_too_short_is_refused(structures):
    with pytest.raises(ValueError, match="reaches 4.5 Å, the cutoff is 5 Å"):
        union().fit(structures).values(NeighborPairs.from_atoms(structures[0], 4.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.descriptors_.reverse(), "the fitted part 'pair' differs from the part 'many'"),
        (lambda d: d.descriptors_.pop(), r"n_features_out_|shorter"),
        (lambda d: d.descriptors_[1][1].set_params(theta=2.0), "the fitted part 'pair' differs from the part 'pair'"),
        (lambda d: d.set_params(pair__n_sparse=4), "n_features_out_ is 32, but the parameters give 26"),
        (lambda d: setattr(d, "cutoff_", 4.0), "cutoff_ is 4.0, but the parameters give 5.0"),
        (lambda d: setattr(d.descriptors_[1][1], "species_", ("Mo",)), "the fitted part 'pair' differs"),
    ],
)
def test_fitted_parts_that_are_not_the_given_ones_are_not_saved(structures, change, message, tmp_path):
    descriptor = union().fit(structures)
    change(descriptor)
    with pytest.raises(ValueError, match=message):
        save(descriptor, tmp_path / "union.mlfeat")


def test_parts_take_the_memory_of_their_densities_again(structures):
    """At each step of dynamics: fresh memory costs its page faults."""
    descriptor = make_descriptor_union(Bispectrum(4.0, 4), Bispectrum(4.0, 6), PairDistance(4.0, 4)).fit(structures)
    pairs = NeighborPairs.from_atoms(structures[0], 4.0)
    _compiled._SPARE.clear()
    descriptor.values_and_pullback(pairs)
    kept = {id(density) for density in _compiled._SPARE}
    assert len(kept) == 2
    for _ in range(3):
        descriptor.values_and_pullback(pairs)
        assert {id(density) for density in _compiled._SPARE} == kept
