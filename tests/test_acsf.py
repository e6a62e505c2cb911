"""Symmetry functions: their order and names, tables of the kernel, derivatives, grids, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from mlfeat import ACSF, load, save
from mlfeat.base import Descriptor
from mlfeat.descriptors._acsf_functions import SymmetryFunction
from mlfeat.descriptors._acsf_program import addition_chain, make_program
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close, awkward_structures, check_descriptor, crystal

SPECIES = ("Mo", "Nb")
RADIAL = [(0.5, 1.0), (0.1, 0.0), (0.2, 0.0, 3.4)]
ANGULAR = [(0.1, 1, 1), (0.1, 4, -1), (0.2, 2.5, -1, 1.0), (0.3, 3, 0.5, 0.0, 3.1)]
BY_SPECIES = {
    "radial": {("Mo", "Nb"): RADIAL, ("Nb", "Nb"): RADIAL[1:]},
    "angular": {("Mo", "Nb", "Mo"): ANGULAR[:2], ("Nb", "Nb", "Nb"): ANGULAR},
    "wide": {("Nb", "Nb", "Mo"): ANGULAR[2:]},
}
SETS = {
    "default": ACSF(4.5),
    "lists": ACSF(4.5, RADIAL, ANGULAR, ANGULAR[::-1]),
    "by species": ACSF(4.5, **BY_SPECIES, species=SPECIES),
    "radial": ACSF(4.5, RADIAL, []),
    "wide": ACSF(4.5, [], [], ANGULAR, inner_cutoff=0.4),
    "gastegger": ACSF.from_grid(4.5),
    "imbalzano": ACSF.from_grid(4.5, rule="imbalzano", n_angular=4, zeta=[1.5], wide=[(0.1, 1, 1)]),
}
SMOOTH = ("cosine", "tanh", "normalized tanh", "exponential", "poly1", "poly2", "poly3", "poly4")


def fitted(descriptor, species=SPECIES):
    return clone(descriptor).fit([Atoms(species)])


# --- laws


@pytest.mark.parametrize("name", SETS)
def test_sets_keep_the_laws_of_descriptors(name):
    check_descriptor(SETS[name])


@pytest.mark.parametrize("inner_cutoff", [0.0, 0.35])
@pytest.mark.parametrize("cutoff_function", SMOOTH)
def test_cutoff_functions_keep_the_laws_of_descriptors(cutoff_function, inner_cutoff):
    structures = {name: awkward_structures()[name] for name in ("tiny", "cluster")}
    acsf = ACSF(4.0, RADIAL, ANGULAR, ANGULAR[:2], cutoff_function=cutoff_function, inner_cutoff=inner_cutoff)
    check_descriptor(acsf, structures)


def test_the_hard_cutoff_breaks_one_law():
    acsf = ACSF(4.0, RADIAL, ANGULAR, ANGULAR[:2], cutoff_function="hard")
    check_descriptor(acsf, {"cluster": awkward_structures()["cluster"]}, skip=["neighbors_leave_smoothly"])
    with pytest.raises(AssertionError, match="neighbors_leave_smoothly"):
        check_descriptor(acsf, {"cluster": awkward_structures()["cluster"]})


@pytest.mark.parametrize("name", SETS)
def test_the_forward_derivative_equals_the_loop_over_the_jacobian(name):
    """Both also where a pair is beyond the cutoff, and for any set of centers that a thread has."""
    atoms = crystal(SPECIES, (3, 3, 3))
    descriptor = fitted(SETS[name])
    pairs = NeighborPairs.from_atoms(atoms, 5.1)
    displacements = np.random.default_rng(0).normal(size=(pairs.n_pairs, 3))
    expected = Descriptor.jvp(descriptor, pairs, displacements)
    assert_close(descriptor.jvp(pairs, displacements), expected, "jvp", rtol=1e-12)
    np.testing.assert_array_equal(
        descriptor.jvp(pairs, displacements), copy.copy(descriptor).set_params(n_jobs=2).jvp(pairs, displacements)
    )


def test_the_forward_derivative_is_the_change_of_the_features():
    atoms = crystal(SPECIES, (3, 3, 3))
    descriptor = fitted(SETS["lists"])
    step = np.random.default_rng(1).normal(size=(len(atoms), 3))
    pairs = NeighborPairs.from_atoms(atoms, 5.0)
    expected, h = 0.0, 1e-3
    for weight, shift in ((8, h), (-8, -h), (-1, 2 * h), (1, -2 * h)):
        values = descriptor.values(pairs.moved(atoms.positions + shift * step))
        expected = expected + weight * values / (12 * h)
    found = descriptor.jvp(pairs, step[pairs.second] - step[pairs.first])
    assert_close(found, expected, "jvp", rtol=1e-9)


def test_powers_that_are_not_whole_are_smooth_between_whole_ones():
    atoms = crystal(SPECIES, (2, 2, 2))
    zetas = [2.0 - 1e-6, 2.0, 2.0 + 1e-6]
    descriptor = fitted(ACSF(4.5, [], [(0.1, zeta, -1) for zeta in zetas]))
    pairs = NeighborPairs.from_atoms(atoms, 4.5)
    for found in (descriptor.values(pairs), descriptor.jacobian(pairs)):
        below, at, above = np.moveaxis(found.reshape(*found.shape[:-1], 3, 3), -1, 0)
        np.testing.assert_allclose(0.5 * (below + above), at, rtol=0, atol=1e-10)
        assert np.abs(above - below).max() > 1e-9


def test_a_center_without_functions_has_zeros():
    atoms = crystal(SPECIES, (2, 2, 2))
    descriptor = fitted(ACSF(4.5, {("Mo", "Nb"): RADIAL}, {("Mo", "Nb", "Nb"): ANGULAR[:3]}, species=SPECIES))
    pairs = NeighborPairs.from_atoms(atoms, 4.5)
    niobium = atoms.symbols == "Nb"
    assert descriptor.functions_[1] == ()
    assert not descriptor.values(pairs)[niobium].any()
    assert descriptor.values(pairs)[~niobium].all()
    assert not descriptor.jacobian(pairs)[niobium[pairs.first]].any()


# --- order and names


def test_columns_go_by_kind_neighbors_and_list():
    descriptor = fitted(ACSF(5.0, [(0.2, 1.0), (0.1, 0.0)], [(0.3, 2, -1)], [(0.4, 1, 1, 0.5, 4.0)]))
    expected = [
        "G2 Mo eta=0.2 r_s=1",
        "G2 Mo eta=0.1 r_s=0",
        "G2 Nb eta=0.2 r_s=1",
        "G2 Nb eta=0.1 r_s=0",
        "G3 Mo-Mo eta=0.3 zeta=2 lambda=-1",
        "G3 Mo-Nb eta=0.3 zeta=2 lambda=-1",
        "G3 Nb-Nb eta=0.3 zeta=2 lambda=-1",
        "G9 Mo-Mo eta=0.4 zeta=1 lambda=1 r_s=0.5 cutoff=4",
        "G9 Mo-Nb eta=0.4 zeta=1 lambda=1 r_s=0.5 cutoff=4",
        "G9 Nb-Nb eta=0.4 zeta=1 lambda=1 r_s=0.5 cutoff=4",
    ]
    assert descriptor.get_feature_names_out().tolist() == expected
    assert descriptor.functions_[0] == descriptor.functions_[1]
    assert descriptor.functions_[0][-1] == SymmetryFunction(9, ("Nb", "Nb"), 0.4, 0.5, 1.0, 1.0, 4.0)


def test_centers_may_differ():
    """Neighbors in any order; the shorter list is filled up, and names tell the centers' functions apart."""
    radial = {("Nb", "Mo"): [(0.1, 0.0)], ("Mo", "Nb"): [(0.1, 0.0)]}
    angular = {("Mo", "Nb", "Mo"): [(0.3, 2, -1)], ("Mo", "Nb", "Nb"): [(0.3, 2, 1)]}
    descriptor = fitted(ACSF(5.0, radial, angular, species=("Nb", "Mo")))
    assert [len(own) for own in descriptor.functions_] == [1, 3]
    assert descriptor.functions_[1][2].neighbors == ("Nb", "Mo")
    assert descriptor.get_feature_names_out().tolist() == [
        "G2 Mo eta=0.1 r_s=0 | G2 Nb eta=0.1 r_s=0",
        "G3 Nb-Nb eta=0.3 zeta=2 lambda=1",
        "G3 Nb-Mo eta=0.3 zeta=2 lambda=-1",
    ]


def test_names_tell_close_parameters_apart():
    names = fitted(ACSF(5.0, [(0.1, 0.0), (0.1 + 1e-12, 0.0)], [])).get_feature_names_out()
    assert len(set(names)) == len(names)


def test_order_of_lists_is_the_order_of_columns():
    atoms = crystal(SPECIES, (2, 2, 2))
    pairs = NeighborPairs.from_atoms(atoms, 4.5)
    values = fitted(ACSF(4.5, RADIAL, ANGULAR)).values(pairs)
    turned = fitted(ACSF(4.5, RADIAL[::-1], ANGULAR[::-1])).values(pairs)
    order = np.concatenate(
        [np.arange(6).reshape(2, 3)[:, ::-1].ravel(), 6 + np.arange(12).reshape(3, 4)[:, ::-1].ravel()]
    )
    assert_close(turned, values[:, order], "values", rtol=1e-12)


def test_by_default_functions_scale_with_the_cutoff():
    """Distances and cutoff twice as long: the same features."""
    atoms = crystal(("Mo",), (2, 2, 2))
    large = atoms.copy()
    large.set_cell(2 * atoms.cell.array, scale_atoms=True)
    values, doubled = ACSF(3.0).fit_transform([atoms])[0].values, ACSF(6.0).fit_transform([large])[0].values
    assert values.shape == (8, 39)
    assert_close(doubled, values, "values", rtol=1e-12)


# --- tables of the kernel


@pytest.mark.parametrize("targets", [{1}, {2, 4, 16}, {3, 5, 7, 64}, {1, 2, 5, 10, 20, 50, 100, 200, 500}, {4095}])
def test_addition_chains_reach_their_targets(targets):
    steps = dict(addition_chain(targets))
    assert targets <= set(steps)
    seen = set()
    for number, factors in steps.items():
        assert number == sum(factors) if factors else number == 1
        assert set(factors) <= seen
        seen.add(number)
    assert len(steps) - 1 <= 2 * np.log2(max(targets)) + len(targets)


def count_exponentials(etas, r_s=0.0):
    functions = fitted(ACSF(5.0, [(eta, r_s) for eta in etas], []), ("Mo",)).functions_
    return int((make_program(functions, ("Mo",)).exp_rows[:, 0] < 0).sum())


def test_multiples_share_one_exponential():
    bohr = 0.529177210903
    assert count_exponentials([eta / bohr**2 for eta in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)]) == 1
    assert count_exponentials([0.3, 0.1, 0.2], r_s=1.5) == 1
    assert count_exponentials([0.0, 0.1, 0.2]) == 2
    assert count_exponentials([0.1, 0.1 * (1 + 1e-15), 0.2 * (1 + 1e-13), 0.4]) == 2


def test_sets_that_share_exponentials_equal_those_that_do_not():
    """One function at a time shares nothing."""
    atoms = crystal(("Mo",), (2, 2, 2))
    pairs = NeighborPairs.from_atoms(atoms, 4.5)
    radial = [(0.035 * m, r_s) for m in (1, 2, 5, 137, 500) for r_s in (0.0, 2.2)]
    angular = [(0.035 * m, zeta, lambda_) for m in (1, 2, 5) for zeta in (1, 2, 7, 30) for lambda_ in (-1, 1, 0.3)]
    whole = fitted(ACSF(4.5, radial, angular), ("Mo",))
    parts = [ACSF(4.5, [f], []) for f in radial] + [ACSF(4.5, [], [f]) for f in angular]
    for operation in (lambda d: d.values(pairs), lambda d: d.jacobian(pairs)):
        expected = np.concatenate([operation(fitted(part, ("Mo",))) for part in parts], axis=-1)
        assert_close(operation(whole), expected, "all at once", rtol=1e-12)


# --- grids


def test_gastegger_grids():
    acsf = ACSF.from_grid(6.0, n_radial=6, n_angular=3, zeta=[1, 8])
    spacing = 1.0
    np.testing.assert_allclose(acsf.radial, [(0.5 / spacing**2, r) for r in (0.5, 1.5, 2.5, 3.5, 4.5, 5.5)])
    etas = [1 / (2 * r**2) for r in (0.5, 3.0, 5.5)]
    assert len(acsf.angular) == 12
    np.testing.assert_allclose(acsf.angular, [(eta, zeta, sign) for eta in etas for zeta in (1, 8) for sign in (-1, 1)])


def test_imbalzano_grids():
    acsf = ACSF.from_grid(6.0, rule="imbalzano", n_radial=3, n_angular=4, zeta=[1])
    centered = [((2 ** (m / 2)) / 6.0) ** 2 for m in range(3)]
    shifts = [6.0, 6.0 / 3 ** (1 / 3), 6.0 / 3 ** (2 / 3), 2.0]
    shifted = [(1 / (shifts[m - 1] - shifts[m]) ** 2, shifts[m]) for m in (3, 2, 1)]
    np.testing.assert_allclose(acsf.radial, [(eta, 0.0) for eta in centered] + shifted)
    etas = [((3 ** (m / 3)) / 6.0) ** 2 for m in range(4)]
    np.testing.assert_allclose(acsf.angular, [(eta, 1, sign) for eta in etas for sign in (-1, 1)])


def test_grids_take_the_other_parameters():
    acsf = ACSF.from_grid(5.0, species=SPECIES, cutoff_function="poly2", n_jobs=2)
    assert (acsf.species, acsf.cutoff_function, acsf.n_jobs) == (SPECIES, "poly2", 2)
    assert fitted(acsf).n_features_out_ == 2 * 8 + 3 * 18


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rule": "behler"}, "rule='behler': must be one of 'gastegger', 'imbalzano'"),
        ({"n_radial": 1}, "n_radial=1: must be an integer of at least 2 for the rule 'gastegger'"),
        (
            {"rule": "imbalzano", "n_angular": 2},
            "n_angular=2: must be an integer of at least 3 for the rule 'imbalzano'",
        ),
        ({"n_radial": 4.0}, "n_radial=4.0: must be an integer"),
        ({"rule": [1]}, r"rule=\[1\]: must be one of 'gastegger', 'imbalzano'"),
        ({"margin": 3.0}, "margin=3.0: must be between 0 and half the cutoff, 6 Å"),
        ({"margin": "a"}, "margin='a': must be between 0 and half the cutoff"),
        ({"zeta": 4}, r"zeta=4: must be a sequence of numbers of at least 1, as in \(1.0, 4.0\)"),
        ({"zeta": "14"}, "zeta='14': must be a sequence of numbers"),
        ({"zeta": [1.0, "4"]}, "zeta=.*: must be a sequence of numbers"),
        ({"zeta": [0.5, 4.0]}, "zeta=.*: must be a sequence of numbers of at least 1"),
        ({"cutoff": -1.0}, "cutoff=-1.0: must be a positive number"),
    ],
)
def test_bad_grids_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        ACSF.from_grid(**parameters)


# --- life of an estimator


@pytest.mark.parametrize("name", SETS)
def test_copies_and_files_give_the_same_values(name, tmp_path):
    atoms = crystal(SPECIES, (2, 2, 2))
    descriptor = clone(SETS[name]).fit([atoms])
    pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
    expected = descriptor.values(pairs)
    for twin in (
        pickle.loads(pickle.dumps(descriptor)),
        copy.deepcopy(descriptor),
        load(save(descriptor, tmp_path / "acsf.mlfeat")),
        clone(descriptor).fit([atoms]),
    ):
        np.testing.assert_array_equal(twin.values(pairs), expected)
        assert twin.functions_ == descriptor.functions_
        assert twin.get_feature_names_out().tolist() == descriptor.get_feature_names_out().tolist()


def test_parameters_set_after_fit_need_another_fit():
    descriptor = fitted(SETS["lists"]).set_params(inner_cutoff=0.5)
    with pytest.raises(NotFittedError, match="call fit again"):
        descriptor.transform([bulk("Mo")])


def test_arrays_are_lists():
    atoms = crystal(("Mo",), (2, 2, 2))
    given = ACSF(4.5, np.array(RADIAL[:2]), np.array([f[:3] for f in ANGULAR])).fit_transform([atoms])
    expected = ACSF(4.5, RADIAL[:2], [f[:3] for f in ANGULAR]).fit_transform([atoms])
    np.testing.assert_array_equal(given[0].values, expected[0].values)


# --- what is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0}, "cutoff=0: must be a positive number, in Å"),
        ({"cutoff": np.inf}, "cutoff=inf: must be a positive number"),
        ({"inner_cutoff": 1.0}, r"inner_cutoff=1.0: must be a share of the cutoff, in \[0, 1\)"),
        ({"inner_cutoff": -0.1}, "inner_cutoff=-0.1: must be"),
        ({"cutoff_function": "cos"}, "cutoff_function='cos': must be one of 'hard', 'cosine'"),
        ({"cutoff_function": 1}, "cutoff_function=1: must be one of"),
        ({"radial": [], "angular": []}, "radial, angular and wide are all empty: give at least one"),
        ({"radial": {}, "angular": {}}, "radial, angular and wide are all empty"),
        ({"radial": [(-0.1, 0.0)]}, r"radial: eta=-0.1 in \(-0.1, 0.0\) must be zero or positive, in Å⁻²"),
        ({"radial": [(0.1, -1.0)]}, r"radial: r_s=-1 in .* must be zero or positive, in Å"),
        ({"radial": [(0.1,)]}, r"radial: \(0.1,\) must be a tuple of numbers \(eta, r_s\[, cutoff\]\)"),
        ({"radial": [(0.1, 0.0, 3.0, 1.0)]}, "radial: .* must be a tuple of numbers"),
        ({"radial": [0.1]}, "radial: 0.1 must be a tuple of numbers"),
        ({"radial": [(0.1, "0")]}, "radial: .* must be a tuple of numbers"),
        ({"radial": [(0.1, np.nan)]}, "radial: .* must be a tuple of numbers"),
        ({"radial": 0.1}, "radial=0.1: must be a list of tuples of numbers, or a dict"),
        ({"radial": "gastegger"}, "radial='gastegger': must be a list"),
        ({"radial": [(0.1, 0.0, 6.5)]}, "radial: cutoff=6.5 in .* positive and at most the descriptor's, 6 Å; enlarge"),
        ({"radial": [(0.1, 0.0, 0.0)]}, "radial: cutoff=0 in"),
        (
            {"radial": [(0.1, 0.0), (0.1, 0, 6.0)]},
            "G2 Mo eta=0.1 r_s=0 cutoff=6 of center Mo is there 2 times; keep one",
        ),
        ({"angular": [(0.1, 0.5, 1)]}, r"angular: zeta=0.5 in \(0.1, 0.5, 1\) must be at least 1"),
        ({"angular": [(0.1, 1, 1.5)]}, "angular: lambda_=1.5 in .* must be from -1 to 1"),
        ({"wide": [(0.1, 1, -2)]}, "wide: lambda_=-2 in"),
        ({"angular": [(0.1, 1)]}, r"angular: \(0.1, 1\) must be .* \(eta, zeta, lambda_\[, r_s\[, cutoff\]\]\)"),
        ({"wide": [(0.1, 1, 1), (0.1, 1.0, 1.0)]}, "G9 Mo-Mo .* of center Mo is there 2 times"),
        ({"radial": {("Mo", "W"): RADIAL}}, "radial: 'W' of the key .* not among the species Mo, Nb; remove the key"),
        ({"radial": {"Mo": RADIAL}}, r"radial: the key 'Mo' must be a tuple \(center, neighbor\) of chemical symbols"),
        ({"angular": {("Mo", "Nb"): ANGULAR}}, r"angular: the key .* must be a tuple \(center, neighbor, neighbor\)"),
        ({"angular": {("Mo", "Mo", "Nb"): ANGULAR, ("Mo", "Nb", "Mo"): ANGULAR}}, "angular: .* is there twice"),
        ({"wide": {("Mo", "Mo", "Nb"): 3}}, r"wide\[\('Mo', 'Mo', 'Nb'\)\]=3: must be a list"),
        ({"wide": None}, "wide=None: must be a list"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        ACSF(**parameters).fit([crystal(SPECIES, (2, 2, 2))])


@pytest.mark.parametrize("shape", [(8, 38), (7, 39), (8, 40)])
def test_cotangents_of_a_wrong_shape_are_refused(shape):
    atoms = crystal(("Mo",), (2, 2, 2))
    descriptor = fitted(ACSF(4.5), ("Mo",))
    with pytest.raises(ValueError, match=r"must have \(8, 39\): one for each atom and feature"):
        descriptor.vjp(NeighborPairs.from_atoms(atoms, 4.5), np.ones(shape))


def test_displacements_of_a_wrong_shape_are_refused():
    pairs = NeighborPairs.from_atoms(crystal(("Mo",), (2, 2, 2)), 4.5)
    with pytest.raises(ValueError, match="a vector for each pair"):
        fitted(ACSF(4.5), ("Mo",)).jvp(pairs, np.ones((pairs.n_pairs - 1, 3)))


def test_a_neighbor_list_that_is_too_short_is_refused():
    pairs = NeighborPairs.from_atoms(crystal(("Mo",), (2, 2, 2)), 4.0)
    with pytest.raises(ValueError, match="reaches 4 Å, the cutoff is 4.5 Å"):
        fitted(ACSF(4.5), ("Mo",)).values(pairs)
