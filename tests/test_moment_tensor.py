"""Contractions of moments: against their NumPy twin, laws, what the features span, and what is refused."""

import pickle
from itertools import product

import numpy as np
import pytest
from _moment_twin import evaluate
from ase import Atoms
from ase.build import bulk
from numpy.polynomial.legendre import legval
from scipy.spatial.distance import pdist
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from mlfeat import MomentTensor, load, save
from mlfeat.descriptors._moment_basis import moment_basis
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close, awkward_structures, check_descriptor, crystal

SPECIES = ("Mo", "Ni")
STRUCTURES = awkward_structures(SPECIES)


def random_descriptor(level=8, n_species=2, n_polynomials=5, **parameters):
    """A descriptor with random radial functions, fitted."""
    n_radial = moment_basis(level).n_radial
    shape = n_species, n_species, n_radial, n_polynomials
    coefficients = np.random.default_rng(level).normal(size=shape)
    given = {"min_dist": 1.5, "scaling": 0.2, "n_polynomials": n_polynomials, **parameters}
    species = SPECIES[:n_species]
    descriptor = MomentTensor(4.3, level, radial_coefficients=coefficients, species=species, **given)
    return descriptor.fit([Atoms(species, 3.0 * np.eye(n_species, 3))])


@pytest.fixture(scope="module", params=[2, 6, 10])
def level(request):
    return request.param


@pytest.fixture(scope="module", params=["tiny", "cluster"])
def case(request, level):
    """Descriptor, pairs (longer than the cutoff), the twin's numbers, and random cotangents and displacements."""
    descriptor = random_descriptor(level)
    pairs = NeighborPairs.from_atoms(STRUCTURES[request.param], descriptor.cutoff_ + 0.4)
    twin = evaluate(
        pairs,
        descriptor.species_index(pairs.numbers),
        descriptor.basis_,
        descriptor.radial_coefficients_,
        descriptor.scaling,
        descriptor.min_dist_,
        descriptor.cutoff_,
    )
    rng = np.random.default_rng(0)
    return descriptor, pairs, twin, rng.normal(size=twin.values.shape), rng.normal(size=(pairs.n_pairs, 3))


# --- twin


def close(found, expected, what):
    assert_close(found, expected, what, rtol=1e-11)


def test_features_and_their_derivatives_are_those_of_the_definition(case):
    descriptor, pairs, twin, cotangents, displacements = case
    close(descriptor.values(pairs), twin.values, "values")
    close(descriptor.jacobian(pairs), twin.jacobian, "jacobian")
    close(descriptor.vjp(pairs, cotangents), twin.vjp(cotangents), "vjp")
    close(descriptor.jvp(pairs, displacements), twin.jvp(displacements), "jvp")


def test_a_linear_function_is_that_of_the_features(case):
    descriptor, pairs, twin, cotangents, _ = case
    coef = cotangents[: len(SPECIES)]
    energies, gradients = descriptor.linear(pairs, coef)
    of_atoms = coef[descriptor.species_index(pairs.numbers)]
    close(energies, np.sum(of_atoms * twin.values, axis=1), "energies")
    close(gradients, twin.vjp(of_atoms), "gradients")
    with pytest.raises(ValueError, match="coefficients"):
        descriptor.linear(pairs, coef[:1])


def test_derivatives_by_radial_coefficients_are_those_of_the_definition(case):
    descriptor, pairs, twin, cotangents, displacements = case
    for given in ((cotangents, displacements, 0.7), (cotangents,), (cotangents, displacements, 0.0)):
        found, expected = descriptor.radial_gradient(pairs, *given), twin.radial_gradient(*given)
        close(found[0], expected[0], "features")
        close(found[1], expected[1], "radial")
    expected = twin.radial_jacobian(cotangents)
    close(descriptor.radial_jacobian(pairs, cotangents), expected, "radial jacobian")
    stop = pairs.n_atoms - 1
    block = expected[pairs.offsets[1] : pairs.offsets[stop]]
    close(descriptor.radial_jacobian(pairs, cotangents, 1, stop), block, "block of the radial jacobian")


def test_derivatives_by_radial_coefficients_at_a_high_level_are_finite_differences():
    descriptor = random_descriptor(16, n_polynomials=4)
    pairs = NeighborPairs.from_atoms(STRUCTURES["cluster"], descriptor.cutoff_)
    rng = np.random.default_rng(1)
    values = descriptor.values(pairs)
    cotangents = rng.normal(size=values.shape) / np.abs(values).max(axis=0)
    displacements = rng.normal(size=(pairs.n_pairs, 3))
    _, radial = descriptor.radial_gradient(pairs, cotangents, displacements, 0.3)
    mixed = descriptor.radial_jacobian(pairs, cotangents)
    for q in range(0, radial.shape[1], 3):
        step = 1e-5
        changed = []
        for sign in (1, -1):
            c = descriptor.radial_coefficients_.copy()
            c.reshape(len(c), -1)[:, q] += sign * step
            moved = descriptor.with_radial(c)
            features = 0.3 * moved.values(pairs) + moved.jvp(pairs, displacements)
            changed.append((np.sum(cotangents * features, axis=1), moved.vjp(pairs, cotangents)))
        for found, part in ((radial, 0), (mixed, 1)):
            expected = (changed[0][part] - changed[1][part]) / (2 * step)
            assert_close(found[..., q], expected, f"column {q}", rtol=1e-7, error=1e-9 * np.abs(found).max())


# --- laws


@pytest.mark.parametrize("level", [2, 4, 12, 20])
def test_levels_keep_the_laws_of_descriptors(level):
    check_descriptor(MomentTensor(4.2, level))


def test_random_functions_keep_the_laws_of_descriptors():
    check_descriptor(random_descriptor(14), STRUCTURES)


@pytest.mark.parametrize("level", [8, 16, 24])
def test_rotations_and_reflections_change_nothing(level):
    atoms = crystal(("Mo",), (2, 2, 2))
    descriptor = MomentTensor(4.5, level).fit([atoms])
    expected = descriptor.values(NeighborPairs.from_atoms(atoms, 4.5))
    matrix, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    for turn in (matrix, -matrix):
        turned = atoms.copy()
        turned.set_cell(atoms.cell @ turn, scale_atoms=True)
        found = descriptor.values(NeighborPairs.from_atoms(turned, 4.5))
        assert_close(found, expected, "features", rtol=1e-12)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_change_no_bit(n_jobs):
    atoms = crystal(SPECIES, (3, 3, 3))
    one = random_descriptor(12)
    pairs = NeighborPairs.from_atoms(atoms, one.cutoff_)
    rng = np.random.default_rng(0)
    cotangents = rng.normal(size=(len(atoms), one.n_features_out_))
    displacements = rng.normal(size=(pairs.n_pairs, 3))
    several = clone(one).set_params(n_jobs=n_jobs).fit([atoms])
    for name, arguments in {
        "values": (),
        "vjp": (cotangents,),
        "jvp": (displacements,),
        "linear": (cotangents[:2],),
        "jacobian": (),
        "radial_gradient": (cotangents, displacements),
        "radial_jacobian": (cotangents,),
    }.items():
        found = (getattr(descriptor, name)(pairs, *arguments) for descriptor in (one, several))
        np.testing.assert_array_equal(*(np.concatenate([np.ravel(part) for part in result]) for result in found), name)


# --- what the features span


def environments(n, n_neighbors=9):
    """Random unit vectors (n, n_neighbors, 3) and distances (n, n_neighbors), no two neighbors very close."""
    rng = np.random.default_rng(0)
    directions, distances = np.empty((n, n_neighbors, 3)), np.empty((n, n_neighbors))
    for unit, length in zip(directions, distances, strict=True):
        while True:
            vectors = rng.normal(size=(n_neighbors, 3))
            unit[:] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            length[:] = rng.uniform(1.6, 4.0, size=n_neighbors)
            if pdist(unit * length[:, None]).min() > 0.2:
                break
    return directions, distances


def features_of(descriptor, directions, distances):
    """Features of the first atom of clusters; the second species of atoms cannot be seen from it."""
    rows = []
    for unit, length in zip(directions, distances, strict=True):
        atoms = Atoms("Mo" * (len(length) + 1), np.concatenate([[np.zeros(3)], unit * length[:, None]]))
        rows.append(descriptor.values(NeighborPairs.from_atoms(atoms, descriptor.cutoff_))[0])
    return np.array(rows)


def radial_functions(descriptor, distances, n_radial):
    xi = (2 * distances - (descriptor.min_dist_ + descriptor.cutoff_)) / (descriptor.cutoff_ - descriptor.min_dist_)
    return [np.cos(mu * np.arccos(xi)) * (descriptor.cutoff_ - distances) ** 2 for mu in range(n_radial)]


@pytest.mark.parametrize(("level", "n_dependent"), [(8, 0), (12, 0), (14, 0), (16, 1)])
def test_features_are_linearly_independent(level, n_dependent):
    """But for what three dimensions make equal: Cayley and Hamilton's tr A⁴ of A = M_02, of level 16, is the first."""
    descriptor = MomentTensor(4.3, level, min_dist=1.5).fit([Atoms("Mo")])
    n = descriptor.n_features_out_
    rows = features_of(descriptor, *environments(3 * n))
    assert np.linalg.matrix_rank(rows / np.linalg.norm(rows, axis=0), tol=1e-10) == n - n_dependent


@pytest.mark.parametrize("level", [8, 12, 16])
def test_features_span_invariants_of_two_and_three_neighbors(level):
    """Sums over neighbors of functions of their angles whose level is low enough are linear in the features."""
    descriptor = MomentTensor(4.3, level, min_dist=1.5).fit([Atoms("Mo")])
    directions, distances = environments(3 * descriptor.n_features_out_)
    rows = features_of(descriptor, directions, distances)
    scaled = rows / np.linalg.norm(rows, axis=0)
    f = radial_functions(descriptor, distances, descriptor.basis_.n_radial)
    cosines = np.einsum("njx,nkx->njk", directions, directions)
    invariants = []
    for a, b, l in product(range(len(f)), range(len(f)), range(level)):
        if 4 + 4 * (a + b) + 2 * l <= level:
            invariants.append(np.einsum("nj,nk,njk->n", f[a], f[b], legval(cosines, np.eye(l + 1)[l])))
    for p, q, s in product(range(level), repeat=3):
        if 6 + 2 * (p + q + s) <= level:
            powers = cosines**p, cosines**q, cosines**s
            invariants.append(np.einsum("nj,nk,nl,njk,nkl,nlj->n", f[0], f[0], f[0], *powers, optimize=True))
    assert len(invariants) > 4
    for invariant in invariants:
        solution = np.linalg.lstsq(scaled, invariant, rcond=1e-12)[0]
        assert np.linalg.norm(scaled @ solution - invariant) < 1e-9 * np.linalg.norm(invariant)


# --- parameters


def test_min_dist_is_the_shortest_distance_of_the_data():
    atoms = bulk("Mo", cubic=True)
    assert MomentTensor(4.0).fit([atoms, bulk("Mo", a=3.0)]).min_dist_ == pytest.approx(3.0 * 0.75**0.5)
    assert MomentTensor(4.0).fit([Atoms("Mo")]).min_dist_ == 2.0


def test_distances_below_min_dist_are_warned_of():
    structures = [bulk("Mo", a=3.2), bulk("Mo", a=2.6), bulk("Mo", a=3.1)]
    with pytest.warns(UserWarning, match=r"structure 1 has a distance of 2\.252 Å.*1 of 3 structures have such"):
        assert MomentTensor(4.0, min_dist=2.5).fit(structures).min_dist_ == 2.5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0.0}, "cutoff=0.0: must be a positive"),
        ({"level": 7}, "level must be an even number from 2 to 28, not 7"),
        ({"level": 30}, "not 30"),
        ({"min_dist": 5.0}, "min_dist=5.0: must be a distance in Å below the cutoff"),
        ({"min_dist": -0.1}, "min_dist=-0.1"),
        ({"scaling": 0.0}, "scaling=0.0"),
        ({"scaling": np.nan}, "scaling=nan"),
        ({"n_polynomials": 0}, "n_polynomials=0"),
        ({"n_polynomials": 3}, "level 16 has 4 radial functions.* set n_polynomials=4 or more"),
        ({"radial_coefficients": np.ones((1, 1, 3, 8))}, r"\(1, 1, 3, 8\): must be finite and \(1, 1, 4, 8\)"),
        ({"radial_coefficients": np.full((1, 1, 4, 8), np.inf)}, "must be finite"),
        ({"basis": 5}, "basis: must be a MomentBasis"),
        ({"basis": ([[0, 0, 0, 0]], [[0, 0, 1, 3]], [2])}, "basis|moment|product|node"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        MomentTensor(**parameters).fit([bulk("Mo")])


def test_parameters_changed_after_fit_are_refused():
    descriptor = MomentTensor(4.0).fit([bulk("Mo")])
    descriptor.set_params(level=8)
    with pytest.raises(NotFittedError, match="changed after it was fitted"):
        descriptor.transform([bulk("Mo")])


def test_tables_stand_for_a_level():
    atoms = [STRUCTURES["cluster"]]
    basis = moment_basis(10)
    expected = MomentTensor(4.0, 10).fit_transform(atoms)
    for given in (basis, tuple(table.tolist() for table in basis)):
        found = MomentTensor(4.0, basis=given).fit_transform(atoms)
        np.testing.assert_array_equal(found.values, expected.values)


def test_a_part_of_the_tables_gives_a_part_of_the_features():
    atoms = [STRUCTURES["cluster"]]
    whole = MomentTensor(4.0, 12).fit(atoms)
    chosen = [17, 3, 9]
    part = whole.with_radial(whole.radial_coefficients_, basis=whole.basis_.subset(chosen))
    assert_close(part.transform(atoms).values, whole.transform(atoms).values[:, chosen], "features")


def test_other_radial_functions_leave_the_descriptor_as_it_is():
    atoms = [STRUCTURES["cluster"]]
    descriptor = random_descriptor()
    before = descriptor.transform(atoms).values.copy()
    other = descriptor.with_radial(2 * descriptor.radial_coefficients_, scaling=0.5 * descriptor.scaling)
    assert_close(other.transform(atoms).values, before, "rescaled", rtol=1e-13)
    np.testing.assert_array_equal(descriptor.transform(atoms).values, before)
    assert other.min_dist_ == descriptor.min_dist_
    assert other.cache_key() != descriptor.cache_key()


def test_neighbors_of_other_species_are_told_apart():
    same, other = (Atoms(["Mo", symbol], [[0, 0, 0], [2.4, 0, 0]]) for symbol in SPECIES)
    descriptor = MomentTensor(4.0, 8, min_dist=2.0).fit([same, other])
    found = [descriptor.transform([atoms])[0].values[0] for atoms in (same, other)]
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_names_are_distinct():
    names = MomentTensor(level=20).fit([bulk("Mo")]).get_feature_names_out()
    assert len(set(names)) == len(names) == 288


def test_a_copy_from_a_file_gives_the_same(tmp_path):
    descriptor = random_descriptor(10)
    atoms = [STRUCTURES["cluster"]]
    expected = descriptor.transform(atoms).values
    save(descriptor, tmp_path / "moments.mlfeat")
    for copy in (load(tmp_path / "moments.mlfeat"), pickle.loads(pickle.dumps(descriptor))):
        np.testing.assert_array_equal(copy.transform(atoms).values, expected)


def test_cotangents_and_displacements_of_the_wrong_shape_are_refused():
    descriptor = random_descriptor()
    pairs = NeighborPairs.from_atoms(STRUCTURES["cluster"], descriptor.cutoff_)
    cotangents = np.zeros((pairs.n_atoms, descriptor.n_features_out_))
    with pytest.raises(ValueError, match="cotangents have the shape"):
        descriptor.vjp(pairs, cotangents[:, 1:])
    with pytest.raises(ValueError, match="displacements have the shape"):
        descriptor.jvp(pairs, np.zeros((pairs.n_pairs + 1, 3)))
    with pytest.raises(ValueError, match="displacements have the shape"):
        descriptor.radial_gradient(pairs, cotangents, np.zeros((pairs.n_pairs, 2)))


@pytest.mark.parametrize("min_dist", [None, 1.0])
def test_a_cutoff_below_all_distances_is_warned_of(min_dist):
    """Not of atoms alone, which cannot have neighbors."""
    crystal, alone = bulk("Mo"), Atoms("Mo", positions=[[0, 0, 0]])
    for listed in ([crystal], [alone, crystal], [Atoms("Mo2", positions=[[0, 0, 0], [0, 0, 2.5]])]):
        with pytest.warns(UserWarning, match="neighbor well within cutoff=2 Å.*raise cutoff"):
            MomentTensor(2.0, level=4, min_dist=min_dist).fit(listed)
    MomentTensor(2.0, level=4, min_dist=min_dist).fit([alone])
    MomentTensor(3.0, level=4, min_dist=min_dist).fit([alone, crystal])
