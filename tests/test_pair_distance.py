"""Two-body features: QUIP's numbers, points and parameters of each kind of pair, and what is refused."""

import copy
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from mlfeat import PairDistance, _ext, clear_cache, load, save
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close, awkward_structures, crystal

SPECIES = ("Mo", "Nb")
QUIP = json.loads((Path(__file__).parent / "data" / "quip_pair_distance.json").read_text())["models"]


# --- QUIP


def quip_kind(descriptor):
    """Symbols from ``distance_2b Z1=14 Z2=14`` or ``distance_Nb ... Z={42 41}``."""
    return tuple(chemical_symbols[int(z)] for z in re.findall(r"\d\d", descriptor))


def quip_model(model):
    """A descriptor with the sparse points of a QUIP file, and the weights of its features."""
    by_kind = {quip_kind(pair["descriptor"]): pair for pair in model["pairs"]}
    descriptor = PairDistance(
        model["cutoff"],
        theta={kind: pair["theta"] for kind, pair in by_kind.items()},
        cutoff_transition_width=model["cutoff_transition_width"],
        points={kind: pair["points"] for kind, pair in by_kind.items()},
        species=sorted(model["e0"]),
    )
    descriptor.fit([Atoms(sorted(model["e0"])[:1])])
    return descriptor, np.concatenate([by_kind[kind]["alpha"] for kind in descriptor.pairs_])


@pytest.mark.parametrize("model", QUIP, ids=lambda model: model["name"])
def test_energies_forces_and_stress_are_quips(model):
    """With alpha as weights and delta² before them: each pair counts twice, once whole for each of its atoms."""
    descriptor, alpha = quip_model(model)
    for expected in model["structures"]:
        atoms = Atoms(expected["symbols"], positions=expected["positions"], cell=expected["cell"], pbc=True)
        pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
        values, pullback = descriptor.values_and_pullback(pairs)
        cotangents = np.tile(model["delta"] ** 2 * alpha, (len(atoms), 1))
        energies = [model["e0"][symbol] for symbol in atoms.symbols] + np.sum(values * cotangents, axis=1)
        gradients = pullback(cotangents)
        for name, found in {
            "energies": energies,
            "forces": pairs.forces(gradients),
            "stress": pairs.stress(gradients),
        }.items():
            np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-11 * np.abs(energies).max(), err_msg=name)


@pytest.mark.parametrize("model", QUIP, ids=lambda model: model["name"])
def test_sparse_cutoff_is_the_cutoff_function_at_the_points(model):
    """The square of it is on the diagonal of the covariance."""
    descriptor, _ = quip_model(model)
    by_kind = {quip_kind(pair["descriptor"]): pair["sparse_cutoff"] for pair in model["pairs"]}
    cut = np.concatenate([by_kind[kind] for kind in descriptor.pairs_])
    ((_, _, _, covariance),) = descriptor.feature_blocks()
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), cut, rtol=1e-14)


# --- values


def test_features_are_the_sum_over_neighbors():
    atoms = awkward_structures(SPECIES)["triclinic"]
    theta = {("Mo", "Mo"): 0.5, ("Nb", "Mo"): 0.9, ("Nb", "Nb"): 1.4}
    descriptor = PairDistance(4.1, 6, theta=theta, cutoff_transition_width=1.1).fit([atoms])
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    expected = np.zeros((len(atoms), 3, 6))
    for i, j, r in zip(pairs.first, pairs.second, pairs.distances, strict=True):
        symbols = tuple(sorted((atoms.symbols[i], atoms.symbols[j])))
        kind = descriptor.pairs_.index(symbols)
        d = descriptor.points_[kind]
        scale = theta[symbols[::-1]] if symbols == ("Mo", "Nb") else theta[symbols]
        expected[i, kind] += switch(r) * switch(d) * np.exp(-((r - d) ** 2) / (2 * scale**2))
    assert_close(descriptor.values(pairs), expected.reshape(len(atoms), 18), "values", rtol=1e-14)


def switch(r):
    """Cosine from 3.0 to 4.1 Å."""
    return np.where(r < 3.0, 1.0, 0.5 + 0.5 * np.cos(np.pi * (r - 3.0) / 1.1))


def test_narrow_gaussians_vanish_far_away():
    """Without overflow, where the exponent is beyond that of the smallest double."""
    descriptor = PairDistance(5.0, theta=1e-3, points=[2.0, 4.0]).fit([Atoms("Mo2", positions=[[0, 0, 0], [0, 0, 2]])])
    pairs = NeighborPairs.from_atoms(Atoms("Mo2", positions=[[0, 0, 0], [0, 0, 2.001]]), 5.0)
    np.testing.assert_allclose(descriptor.values(pairs), [[np.exp(-0.5), 0.0]] * 2, rtol=1e-10)
    assert np.isfinite(descriptor.jacobian(pairs)).all()


@pytest.mark.parametrize("isa", _ext.supported_isas()[1:])
def test_instruction_sets_agree(isa, monkeypatch):
    found = {}
    for name in ("baseline", isa):
        monkeypatch.setattr(_ext, "ISA", name)
        for key, atoms in awkward_structures(SPECIES).items():
            descriptor = PairDistance(4.6, theta=0.3, points=np.linspace(1.8, 4.5, 11), species=SPECIES).fit([atoms])
            pairs = NeighborPairs.from_atoms(atoms, 5.0)
            cotangents = np.random.default_rng(0).normal(size=(len(atoms), 33))
            operations = descriptor.values(pairs), descriptor.jacobian(pairs), descriptor.vjp(pairs, cotangents)
            if name == "baseline":
                found[key] = operations
            for expected, other in zip(found[key], operations, strict=True):
                assert_close(other, expected, f"{isa}, {key}", rtol=1e-13)


def test_the_covariance_is_the_features_of_a_pair_at_a_point():
    """A pair at the distance d_t has the features k(d_s, d_t), and none of other kinds of pairs."""
    structures = [crystal(SPECIES, (2, 2, 2))]
    descriptor = PairDistance(4.6, 5, theta=0.7).fit(structures)
    ((name, start, stop, covariance),) = descriptor.feature_blocks()
    assert (name, start, stop) == ("pairdistance", 0, 15)
    rows = []
    for kind, points in zip(descriptor.pairs_, descriptor.points_, strict=True):
        for d in points:
            pairs = NeighborPairs.from_atoms(Atoms(kind, positions=[[0, 0, 0], [0, 0, d]]), 4.6)
            first, second = descriptor.values(pairs)
            np.testing.assert_array_equal(first, second)
            rows.append(first)
    np.testing.assert_allclose(covariance, rows, rtol=1e-12, atol=1e-15)


# --- points


def test_points_reach_from_the_shortest_distance_to_the_cutoff():
    structures = [bulk("NaCl", "rocksalt", a=a) for a in (5.8, 5.6)]
    descriptor = PairDistance(5.0, 4).fit(structures)
    assert descriptor.pairs_ == (("Cl", "Cl"), ("Cl", "Na"), ("Na", "Na"))
    nearest = 5.6 / np.sqrt(2)
    for points, start in zip(descriptor.points_, (nearest, 2.8, nearest), strict=True):
        np.testing.assert_allclose(points, start + (5.0 - start) * np.array([0, 0.25, 0.5, 0.75]), rtol=1e-12)


def test_a_kind_that_does_not_occur_starts_where_the_shortest_does():
    descriptor = PairDistance(4.0, 3, species=["Cu", "Au"]).fit([bulk("Cu")])
    assert descriptor.pairs_ == (("Cu", "Cu"), ("Cu", "Au"), ("Au", "Au"))
    assert len({points.tobytes() for points in descriptor.points_}) == 1


def test_points_may_differ_in_number_and_be_left_out():
    structures = [crystal(SPECIES, (2, 2, 2))]
    points = {("Nb", "Mo"): [2.2, 3.0, 3.5], ("Nb", "Nb"): np.array([2.5])}
    descriptor = PairDistance(4.6, points=points).fit(structures)
    assert descriptor.get_feature_names_out().tolist() == ["Mo-Nb_0", "Mo-Nb_1", "Mo-Nb_2", "Nb-Nb_0"]
    everything = PairDistance(4.6, points=[2.2, 2.5, 3.0, 3.5]).fit(structures)
    pairs = NeighborPairs.from_atoms(structures[0], 4.6)
    chosen = [4, 6, 7, 9]
    np.testing.assert_allclose(descriptor.values(pairs), everything.values(pairs)[:, chosen], rtol=1e-14)
    np.testing.assert_allclose(
        descriptor.feature_blocks()[0].covariance, everything.feature_blocks()[0].covariance[np.ix_(chosen, chosen)]
    )


def test_points_of_another_fit_are_another_entry_of_the_cache():
    structures = [crystal(SPECIES, (2, 2, 2))]
    first = PairDistance(4.6, 5).fit(structures)
    second = PairDistance(4.6, 5).fit([crystal(SPECIES, (2, 2, 2), spacing=2.9)])
    values = first.transform(structures)[0].values
    assert not np.allclose(second.transform(structures)[0].values, values)
    assert first.cache_key() == PairDistance(4.6, 5, n_jobs=2).fit(structures).cache_key()
    clear_cache()


# --- life of an estimator


def test_threads_find_the_same_points():
    structures = [crystal(SPECIES, (2, 2, 2), seed=seed) for seed in range(5)]
    one, three = (PairDistance(n_jobs=n).fit(structures) for n in (1, 3))
    np.testing.assert_array_equal(one.points_, three.points_)


@pytest.mark.parametrize("points", [None, [2.0, 3.0], {("Mo", "Nb"): [2.0, 3.0]}], ids=["found", "array", "dict"])
def test_copies_and_files_give_the_same_values(points, tmp_path):
    structures = [crystal(SPECIES, (2, 2, 2))]
    descriptor = PairDistance(4.6, 5, theta={(a, b): 0.8 for a in SPECIES for b in SPECIES if a <= b}, points=points)
    descriptor.fit(structures)
    expected = descriptor.transform(structures)[0].values
    clear_cache()
    for twin in (
        pickle.loads(pickle.dumps(descriptor)),
        copy.deepcopy(descriptor),
        load(save(descriptor, tmp_path / "pairs.mlfeat")),
        clone(descriptor).fit(structures),
    ):
        pairs = NeighborPairs.from_atoms(structures[0], 4.6)
        np.testing.assert_array_equal(twin.values(pairs), expected)


def test_a_file_whose_points_are_not_those_of_its_parameters_is_refused(tmp_path):
    descriptor = PairDistance(4.6, 5).fit([crystal(SPECIES, (2, 2, 2))])
    descriptor.points_ = descriptor.points_[:2]
    with pytest.raises(ValueError, match=r"do not go together: points_ has the lengths \[5, 5\]"):
        save(descriptor, tmp_path / "pairs.mlfeat")
    descriptor.points_ = tuple(np.full(5, 4.7) for _ in range(3))
    with pytest.raises(ValueError, match="do not go together: .*must be distances between 0 and the cutoff"):
        save(descriptor, tmp_path / "pairs.mlfeat")


def test_parameters_set_after_fit_need_another_fit():
    structures = [crystal(SPECIES, (2, 2, 2))]
    descriptor = PairDistance(4.6, 5).fit(structures).set_params(theta=0.5)
    with pytest.raises(NotFittedError, match="call fit again"):
        descriptor.transform(structures)
    with pytest.raises(NotFittedError, match="call fit again"):
        descriptor.values(NeighborPairs.from_atoms(structures[0], 4.6))


# --- what is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0}, "cutoff=0: must be a positive number"),
        ({"n_sparse": 0}, "n_sparse=0: must be a positive integer"),
        ({"n_sparse": 2.5}, "n_sparse=2.5: must be a positive integer"),
        ({"cutoff_transition_width": 0}, r"cutoff_transition_width=0: must be in \(0, 5\]"),
        ({"cutoff_transition_width": 5.1}, r"cutoff_transition_width=5.1: must be in \(0, 5\]"),
        ({"theta": -1.0}, "theta=-1.0: must be a positive number"),
        ({"theta": "a"}, "theta='a': must be a positive number"),
        ({"theta": {("Mo", "Mo"): 1.0}}, r"theta=.*nothing for \('Mo', 'Nb'\); add an entry"),
        ({"theta": {("Mo", "W"): 1.0}}, r"theta: \('Mo', 'W'\) is no pair of the species Mo, Nb"),
        ({"theta": {"Mo": 1.0}}, r"theta: 'Mo' is no pair of the species Mo, Nb, as \('Mo', 'Mo'\)"),
        ({"theta": {("Mo", "Nb"): 1.0, ("Nb", "Mo"): 2.0}}, "theta: Mo-Nb is there twice, also as Nb-Mo"),
        ({"points": [2.0, 5.0]}, "points=.*must be distances between 0 and the cutoff, 5 Å"),
        ({"points": [np.nan]}, "points=.*must be distances"),
        ({"points": [[2.0]]}, "points=.*must be distances"),
        ({"points": "2.0"}, "points=.*must be distances"),
        ({"points": 2.0}, "points=.*must be distances"),
        ({"points": {}}, "points: there are none"),
        ({"points": {("Mo", "Nb"): [-1.0]}}, "points=.*must be distances"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        PairDistance(**parameters).fit([crystal(SPECIES, (2, 2, 2))])


def test_structures_without_pairs_leave_no_points_to_choose():
    with pytest.raises(ValueError, match="no two atoms are closer than the cutoff, 5 Å; enlarge it, or give points"):
        PairDistance().fit([Atoms("Mo")])


def test_atoms_on_top_of_each_other_are_no_shortest_distance():
    near = Atoms("Mo2", positions=[[0, 0, 0], [0, 0, 0.01]])
    with pytest.raises(ValueError, match="structure 1: atoms 0 and 1"):
        PairDistance().fit([crystal(("Mo",), (2, 2, 2)), near])


def test_cotangents_of_a_wrong_shape_are_refused():
    atoms = crystal(SPECIES, (2, 2, 2))
    descriptor = PairDistance(4.6, 5).fit([atoms])
    with pytest.raises(ValueError, match="one for each atom and feature"):
        descriptor.vjp(NeighborPairs.from_atoms(atoms, 4.6), np.ones((8, 14)))


def test_a_neighbor_list_that_is_too_short_is_refused():
    atoms = crystal(SPECIES, (2, 2, 2))
    with pytest.raises(ValueError, match="reaches 4 Å, the cutoff is 5 Å"):
        PairDistance().fit([atoms]).values(NeighborPairs.from_atoms(atoms, 4.0))
