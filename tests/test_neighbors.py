import copy
import pickle

import numpy as np
import pytest
from _brute_force import neighbor_set
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlfeat.neighbors import NeighborPairs, check_structures, voigt


def rattled(atoms, seed=0, stdev=0.1):
    atoms.rattle(stdev, seed=seed)
    return atoms


def cluster():
    return rattled(bulk("Cu", cubic=True) * 2, 1)


def triclinic():
    atoms = bulk("Si")
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.1, 0.05], [0, 0.95, -0.1], [0.02, 0, 1.1]], scale_atoms=True)
    return rattled(atoms * (2, 1, 2))


def skewed():
    """A sheared cell, whose heights are far smaller than its vectors are long."""
    cell = [[4, 0, 0], [11, 4.5, 0], [-7, 9, 5]]
    return Atoms("Ar3", [[0, 0, 0], [2.0, 1.0, 1.5], [9.0, 1.2, 3.5]], cell=cell, pbc=True)


def far_outside():
    """Atoms many cells away from the origin cell, where molecular dynamics leaves them."""
    atoms = rattled(bulk("Cu", cubic=True))
    atoms.positions += np.array([[3, 0, -4], [-2, 3, 0], [0, 0, 5], [0, 0, 0]]) @ atoms.cell.array
    return atoms


def with_pbc(atoms, pbc):
    atoms.pbc = pbc
    return atoms


def with_vectors(*vectors):
    """Two atoms, periodic along the vectors that are not zero."""
    return Atoms("C2", [[0, 0, 0], [0.5, 0.6, 1.2]], cell=vectors, pbc=np.any(vectors, axis=1))


STRUCTURES = {
    "cubic": cluster(),
    "triclinic": triclinic(),
    "skewed": skewed(),
    "left-handed": Atoms("Cu2", [[0, 0, 0], [1.8, 1.8, 0]], cell=[[0, 3.6, 0], [3.6, 0, 0], [0, 0, 3.6]], pbc=True),
    "one atom, smaller than the cutoff": bulk("Mo"),
    "tiny": Atoms("H", cell=[1.5, 1.4, 1.3], pbc=True),
    "no cell": molecule("CH3CH2OH"),
    "one atom, no cell": Atoms("He"),
    "cell but not periodic": with_pbc(cluster(), False),
    "slab": with_pbc(rattled(fcc111("Al", (2, 2, 3), vacuum=4.0)), [True, True, False]),
    "slab without third vector": with_vectors([2.8, 0, 0], [0, 2.9, 0], [0, 0, 0]),
    "wire along y": with_pbc(cluster(), [False, True, False]),
    "wire without other vectors": with_vectors([0, 0, 0], [0, 0, 0], [0.3, 0, 2.5]),
    "far outside": far_outside(),
}
CUTOFFS = [2.0, 4.1, 6.5]


def as_set(pairs):
    return set(map(tuple, np.column_stack([pairs.first, pairs.second, pairs.shifts]).tolist()))


@pytest.fixture(params=STRUCTURES, ids=str)
def atoms(request):
    return STRUCTURES[request.param]


@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_pairs_are_those_of_brute_force(atoms, cutoff):
    pairs = NeighborPairs.from_atoms(atoms, cutoff)
    assert as_set(pairs) == neighbor_set(atoms, cutoff)
    assert len(as_set(pairs)) == pairs.n_pairs


def test_layout_is_as_documented(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    assert pairs.n_atoms == len(atoms)
    assert pairs.cutoff == 4.1
    for name, dtype, shape in (
        ("numbers", np.int64, (pairs.n_atoms,)),
        ("positions", float, (pairs.n_atoms, 3)),
        ("cell", float, (3, 3)),
        ("pbc", bool, (3,)),
        ("first", np.int32, (pairs.n_pairs,)),
        ("second", np.int32, (pairs.n_pairs,)),
        ("shifts", np.int32, (pairs.n_pairs, 3)),
        ("offsets", np.intp, (pairs.n_atoms + 1,)),
        ("vectors", float, (pairs.n_pairs, 3)),
    ):
        array = getattr(pairs, name)
        assert (array.dtype, array.shape) == (dtype, shape)
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    for i in range(pairs.n_atoms):
        assert (pairs.first[pairs.offsets[i] : pairs.offsets[i + 1]] == i).all()
    assert pairs.offsets[-1] == pairs.n_pairs


def test_vectors_follow_the_convention(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    expected = atoms.positions[pairs.second] - atoms.positions[pairs.first] + pairs.shifts @ atoms.cell.array
    np.testing.assert_allclose(pairs.vectors, expected, rtol=0, atol=1e-12 * max(1, np.abs(atoms.positions).max()))
    np.testing.assert_allclose(pairs.distances, np.linalg.norm(pairs.vectors, axis=1), rtol=1e-15)


def test_every_pair_has_its_reverse(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    assert as_set(pairs) == {(j, i, -x, -y, -z) for i, j, x, y, z in as_set(pairs)}


def test_order_is_by_first_second_and_shift(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 6.5)
    order = np.column_stack([pairs.first, pairs.second, pairs.shifts]).tolist()
    assert order == sorted(order)


def test_a_list_of_larger_radius_starts_with_the_same_neighbors(atoms):
    near, wide = (NeighborPairs.from_atoms(atoms, cutoff) for cutoff in (4.1, 4.6))
    inside = wide.distances < 4.1
    np.testing.assert_array_equal(wide.vectors[inside], near.vectors)


@st.composite
def random_structures(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    n_atoms = draw(st.integers(1, 5))
    cell = rng.normal(size=(3, 3)) * draw(st.floats(1.0, 6.0))
    lengths = np.linalg.norm(cell, axis=1)
    assume(abs(np.linalg.det(cell / lengths[:, None])) > 0.05)
    assume(lengths.min() > 0.8)
    pbc = draw(st.tuples(*[st.booleans()] * 3))
    return Atoms(n_atoms * "H", rng.normal(size=(n_atoms, 3)) * draw(st.floats(0.5, 10.0)), cell=cell, pbc=pbc)


@settings(max_examples=60, deadline=None)
@given(random_structures(), st.floats(0.5, 5.0))
def test_random_cells_agree_with_brute_force(atoms, cutoff):
    if neighbor_set(atoms, 0.1):
        with pytest.raises(ValueError, match="on top of each other"):
            NeighborPairs.from_atoms(atoms, cutoff)
    else:
        assert as_set(NeighborPairs.from_atoms(atoms, cutoff)) == neighbor_set(atoms, cutoff)


# moving


def test_moved_pairs_are_those_at_the_new_positions(atoms):
    skin = 0.5
    built = NeighborPairs.from_atoms(atoms, 4.1 + skin)
    after = rattled(atoms.copy(), 7, 0.05)
    assert built.max_displacement(after.positions) < skin / 2
    moved = built.moved(after.positions)
    fresh = NeighborPairs.from_atoms(after, 4.1)
    inside = moved.distances < 4.1
    np.testing.assert_array_equal(moved.vectors[inside], fresh.vectors)
    np.testing.assert_array_equal(moved.second[inside], fresh.second)


def test_moved_shares_topology_and_leaves_the_original_alone():
    atoms = cluster()
    pairs = NeighborPairs.from_atoms(atoms, 3.0)
    before = pairs.vectors.copy()
    positions = atoms.positions + 0.1
    moved = pairs.moved(positions)
    positions += 1
    np.testing.assert_array_equal(pairs.vectors, before)
    np.testing.assert_array_equal(moved.positions, atoms.positions + 0.1)
    assert moved.first is pairs.first
    assert moved.volume == pairs.volume


@pytest.mark.parametrize("seed", range(20))
def test_a_list_that_covers_a_strain_has_all_pairs(seed):
    rng = np.random.default_rng(seed)
    atoms = Atoms("Mo4", rng.uniform(0, 4, (4, 3)), cell=4 * np.eye(3) + rng.uniform(-1, 1, (3, 3)), pbc=True)
    built = NeighborPairs.from_atoms(atoms, 5.0)
    moved = atoms.copy()
    moved.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3))), scale_atoms=True)
    moved.positions += rng.uniform(-0.05, 0.05, (4, 3))
    covered = [c for c in np.linspace(3.0, 5.0, 41) if built.covers(moved.positions, moved.cell.array, c)]
    assert covered
    after = built.moved(moved.positions, moved.cell.array)
    fresh = NeighborPairs.from_atoms(moved, covered[-1])
    assert after.volume == pytest.approx(fresh.volume, rel=1e-14)
    within = np.sort(after.distances[after.distances < covered[-1]])
    np.testing.assert_allclose(within, np.sort(fresh.distances), rtol=1e-12)


def test_a_changed_cell_without_volume_is_not_covered():
    atoms = Atoms("Mo2", [[0, 0, 0], [2, 0, 0]], cell=[3, 3, 0], pbc=(True, True, False))
    built = NeighborPairs.from_atoms(atoms, 5.0)
    assert built.covers(atoms.positions, atoms.cell.array, 5.0)
    assert not built.covers(atoms.positions, 1.001 * atoms.cell.array, 1.0)


def test_max_displacement_is_the_largest_distance():
    atoms = cluster()
    pairs = NeighborPairs.from_atoms(atoms, 3.0)
    assert pairs.max_displacement(atoms.positions) == 0
    moved = rattled(atoms.copy(), 3)
    expected = np.linalg.norm(moved.positions - atoms.positions, axis=1).max()
    assert pairs.max_displacement(moved.positions) == pytest.approx(expected, rel=1e-14)
    moved.positions[3, 1] = np.nan
    assert np.isnan(pairs.max_displacement(moved.positions))


def test_pairs_are_immutable():
    pairs = NeighborPairs.from_atoms(bulk("Cu"), 3.0)
    with pytest.raises(AttributeError, match="immutable"):
        pairs.cutoff = 4.0
    with pytest.raises(AttributeError, match="immutable"):
        del pairs.cell
    with pytest.raises(ValueError, match="read-only"):
        pairs.vectors[0] = 0


def test_copies_are_equal(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    for twin in (copy.copy(pairs), copy.deepcopy(pairs), pickle.loads(pickle.dumps(pairs))):
        for name in NeighborPairs.__slots__:
            np.testing.assert_array_equal(getattr(twin, name), getattr(pairs, name))
        assert not twin.vectors.flags.writeable


# forces, virial, stress


def pair_energy(pairs):
    """A smooth energy that depends on the direction of each vector, and its gradient."""
    weights = np.array([1.0, -0.4, 0.7])
    decay = np.exp(-0.1 * pairs.distances**2)
    along = pairs.vectors @ weights
    gradient = decay[:, None] * (2 * along[:, None] * weights - 0.2 * (along**2)[:, None] * pairs.vectors)
    return float(decay @ along**2), gradient


def test_forces_are_minus_the_gradient(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    forces = pairs.forces(pair_energy(pairs)[1])
    h = 1e-4
    for a in range(min(pairs.n_atoms, 4)):
        for x in range(3):
            energy = {}
            for step in (-2, -1, 1, 2):
                positions = atoms.positions.copy()
                positions[a, x] += step * h
                energy[step] = pair_energy(pairs.moved(positions))[0]
            slope = (8 * (energy[1] - energy[-1]) - (energy[2] - energy[-2])) / (12 * h)
            assert forces[a, x] == pytest.approx(-slope, abs=1e-8)


def test_forces_sum_to_zero(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 6.5)
    np.testing.assert_allclose(pairs.forces(pair_energy(pairs)[1]).sum(axis=0), 0, atol=1e-10)


def test_virial_is_the_derivative_with_respect_to_strain(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    virial = pairs.virial(pair_energy(pairs)[1])
    h = 1e-4
    for x in range(3):
        for y in range(3):
            energies = []
            for sign in (1, -1):
                deform = np.eye(3)
                deform[x, y] += sign * h
                given = (pairs.numbers, atoms.positions @ deform, pairs.cell @ deform, pairs.pbc)
                strained = NeighborPairs(*given, pairs.first, pairs.second, pairs.shifts, pairs.cutoff)
                energies.append(pair_energy(strained)[0])
            # second order in h: the tolerance is its error
            assert virial[x, y] == pytest.approx((energies[0] - energies[1]) / (2 * h), rel=1e-5, abs=1e-5)


def test_virials_of_centers_are_those_of_their_pairs(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 3.5)
    gradients = np.random.default_rng(0).normal(size=(pairs.n_pairs, 3))
    expected = np.zeros((len(atoms), 3, 3))
    np.add.at(expected, pairs.first, pairs.vectors[:, :, None] * gradients[:, None, :])
    np.testing.assert_allclose(pairs.virials(gradients), expected, rtol=0, atol=1e-12)


def test_stress_is_the_virial_over_the_volume(atoms):
    pairs = NeighborPairs.from_atoms(atoms, 4.1)
    gradient = pair_energy(pairs)[1]
    stress = pairs.stress(gradient)
    if atoms.cell.rank < 3:
        assert np.isnan(pairs.volume)
        assert np.isnan(stress).all()
    else:
        assert pairs.volume == pytest.approx(abs(np.linalg.det(atoms.cell.array)), rel=1e-13)
        np.testing.assert_allclose(stress, voigt(pairs.virial(gradient)) / pairs.volume, rtol=1e-13)


def test_voigt_order_is_ases():
    tensor = np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3.0]])
    np.testing.assert_array_equal(voigt(tensor), [1, 2, 3, 4, 5, 6])
    tensor[0, 1] += 1
    tensor[1, 0] -= 1
    np.testing.assert_array_equal(voigt(tensor), [1, 2, 3, 4, 5, 6])


def test_gradients_of_another_shape_are_refused():
    pairs = NeighborPairs.from_atoms(bulk("Cu"), 3.0)
    for method in (pairs.forces, pairs.virial, pairs.virials, pairs.stress):
        with pytest.raises(ValueError, match="pair gradients of shape"):
            method(np.zeros((pairs.n_pairs + 1, 3)))


def test_to_atoms_gives_the_structure_back(atoms):
    again = NeighborPairs.from_atoms(atoms, 2.0).to_atoms()
    assert again.calc is None
    np.testing.assert_array_equal(again.positions, atoms.positions)
    np.testing.assert_array_equal(again.numbers, atoms.numbers)
    np.testing.assert_array_equal(again.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(again.pbc, atoms.pbc)


# bad input


def with_position(value):
    atoms = bulk("Cu", cubic=True)
    atoms.positions[2, 1] = value
    return atoms


def two(distance, **kwargs):
    return Atoms("HH", [[0, 0, 0], [0, 0, distance]], **kwargs)


BAD = {
    "NaN position": (with_position(np.nan), r"structure 7: the position of atom 2 is \[1.805, nan, 1.805\]; remove"),
    "infinite position": (with_position(np.inf), "structure 7: the position of atom 2"),
    "empty": (Atoms(), "structure 7 is empty; remove it"),
    "NaN cell": (Atoms("H", cell=[1, np.nan, 1]), "structure 7: the cell is .*repair it"),
    "period without a vector": (Atoms("H", cell=[3, 0, 3], pbc=True), "structure 7: pbc=.*set_cell, or set atoms.pbc"),
    "dependent periods": (Atoms("H", cell=[[3, 0, 0], [3, 0, 0], [0, 0, 3]], pbc=True), "structure 7: pbc=.*dependent"),
    "overlap": (two(0.04), "structure 7: atoms 0 and 1 are 0.04 Å apart, on top of each other.*remove one"),
    "overlap of images": (two(3.0, cell=[3, 3, 3], pbc=True), "structure 7: atoms 0 and 1 are 0 Å apart"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_structures_are_refused_by_number(name):
    atoms, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        NeighborPairs.from_atoms(atoms, 3.0, index=7)


@pytest.mark.parametrize("cutoff", [0, -1.5, np.nan, np.inf, "3", None, True, [3.0]])
def test_cutoff_must_be_positive(cutoff):
    with pytest.raises(ValueError, match="cutoff=.*must be a positive number"):
        NeighborPairs.from_atoms(bulk("Cu"), cutoff)


def test_what_is_not_a_structure_is_refused():
    with pytest.raises(TypeError, match="structure 0 is of type str, expected ase.Atoms"):
        NeighborPairs.from_atoms("Cu", 3.0)


def test_moved_needs_positions_of_the_same_atoms():
    pairs = NeighborPairs.from_atoms(bulk("Cu"), 3.0)
    with pytest.raises(ValueError, match="build a new list"):
        pairs.moved(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="positions of shape"):
        pairs.max_displacement(np.zeros((2, 3)))


def test_structures_come_in_a_list():
    atoms = bulk("Cu")
    assert check_structures(iter([atoms])) == [atoms]
    with pytest.raises(TypeError, match=r"pass \[atoms\]"):
        check_structures(atoms)
    with pytest.raises(TypeError, match="ase.io.read"):
        check_structures("train.xyz")
    with pytest.raises(TypeError, match="expected a list"):
        check_structures(3)
    with pytest.raises(TypeError, match="structure 1 is of type int"):
        check_structures([atoms, 3])
    with pytest.raises(ValueError, match="empty list"):
        check_structures([])


@pytest.mark.parametrize("number", [0, -1, 200])
def test_an_atom_of_no_element_is_refused(number):
    structures = [Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.5]]) for _ in range(2)]
    structures[1].numbers[1] = number
    with pytest.raises(ValueError, match=f"structure 1: atom 1 has the atomic number {number} .*set its symbol"):
        check_structures(structures)
