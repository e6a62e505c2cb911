"""What must not change, does not: random cells, species, periodicity and motions, features and whole models."""

from functools import cache

import numpy as np
import pytest
from _bispectrum_twin import Parameters, bispectrum_of, brute_force_pairs
from ase import Atoms
from ase.build import bulk
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, make_targets, predict_targets
from mlfeat.testing import assert_close, central_difference, same_structure, toy_training_set

SPECIES = ("Mo", "Ni")
PARAMETERS = Parameters(cutoff=3.8, twojmax=4, radii=(0.5, 0.55), weights=(1.0, 0.7))
DESCRIPTOR = Bispectrum(
    PARAMETERS.cutoff, PARAMETERS.twojmax, species=SPECIES, radii=PARAMETERS.radii, weights=PARAMETERS.weights
)
# The same examples in every run; a slow machine is no failure; `assume` throws away crowded cells.
RANDOM = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
MIN_DISTANCE = 1.2  # Å; closer atoms are possible, but features grow with the third power of the density

numbers = st.floats(-1.0, 1.0, allow_subnormal=False)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def cells(draw):
    """Any three vectors of 2 to 6 Å whose heights are at least 1.2 Å: from cubes to needles and flat, skewed cells."""
    vectors = np.array(draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=3, max_size=3)))
    lengths = np.array(draw(st.lists(st.floats(2.0, 6.0), min_size=3, max_size=3)))
    norms = np.linalg.norm(vectors, axis=1)
    assume(norms.min() > 0.1)
    cell = vectors / norms[:, None] * lengths[:, None]
    assume(abs(cell[0] @ np.cross(cell[1], cell[2])) > 1e-2)
    assume((1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min() > MIN_DISTANCE)
    return cell


@st.composite
def structures(draw):
    """One to five atoms at random in a random cell with random periodicity, some of them outside it."""
    cell = draw(cells())
    n_atoms = draw(st.integers(1, 5))
    scaled = np.array(draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=n_atoms, max_size=n_atoms)))
    symbols = draw(st.lists(st.sampled_from(SPECIES), min_size=n_atoms, max_size=n_atoms))
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    atoms = Atoms(symbols, positions=1.7 * scaled @ cell, cell=cell, pbc=pbc)
    assume(len(brute_force_pairs(atoms, MIN_DISTANCE)[0]) == 0)
    return atoms


def values(atoms):
    return DESCRIPTOR.fit_transform([atoms])[0].values


def orthogonal(rng):
    """A random rotation or rotation with reflection."""
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


# --- Features -------------------------------------------------------------------------------------------------------


@RANDOM
@given(structures())
def test_values_equal_the_twin_on_any_structure(atoms):
    assert_close(values(atoms), bispectrum_of(atoms, SPECIES, PARAMETERS), "values[atom, feature]")


@RANDOM
@given(structures(), seeds)
def test_values_do_not_change_under_rotation_and_reflection(atoms, seed):
    rotation = orthogonal(np.random.default_rng(seed))
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    assert_close(values(turned), values(atoms), "values[atom, feature]")


@RANDOM
@given(structures(), seeds)
def test_values_do_not_depend_on_how_the_structure_is_told(atoms, seed):
    """Order of the atoms, origin, choice of lattice vectors, which image of an atom."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(atoms))
    told = same_structure(atoms, seed)[order]
    told.positions += rng.uniform(-20, 20, 3)
    assert_close(values(told), values(atoms)[order], "values[atom, feature]")


@RANDOM
@given(structures(), st.tuples(*[st.integers(1, 3)] * 3))
def test_supercells_repeat_values(atoms, repeats):
    repeats = np.where(atoms.pbc, repeats, 1)
    assert_close(values(atoms.repeat(repeats)), np.tile(values(atoms), (np.prod(repeats), 1)), "values[atom, feature]")


# --- Models ---------------------------------------------------------------------------------------------------------


@cache
def model():
    train = toy_training_set(SPECIES)
    return make_pipeline(DESCRIPTOR, LinearPotential(Ridge(1e-4))).fit(train, make_targets(train))


def terms(atoms):
    """Σ |β B| (eV): the size of what an energy is a sum of, and so of its rounding."""
    item = model()[0].transform([atoms])[0]
    return np.abs(model()[-1].coef_[item.species] * item.values).sum() + np.abs(model()[-1].intercept_).sum() * len(
        atoms
    )


@RANDOM
@given(structures(), seeds)
def test_forces_and_stress_are_derivatives_in_any_direction(atoms, seed):
    """Of the energy along a random motion of all atoms, and along a random strain."""
    rng = np.random.default_rng(seed)
    direction, strain = rng.normal(size=(len(atoms), 3)), rng.normal(size=(3, 3))
    strain = 0.5 * (strain + strain.T)

    def energy(t, along):
        moved = atoms.copy()
        moved.positions += t * direction if along == "motion" else t * atoms.positions @ strain
        if along == "strain":
            moved.set_cell(atoms.cell.array @ (np.eye(3) + t * strain))
        return model().predict([moved])[0]

    _, forces, stress = predict_targets(model(), [atoms])[0]
    xx, yy, zz, yz, xz, xy = stress
    virial = atoms.get_volume() * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    for along, slope in {"motion": -np.sum(forces * direction), "strain": np.sum(virial * strain)}.items():
        expected, error = central_difference(lambda t, a=along: energy(t, a))
        assert abs(slope - expected) < error + 1e-7 * (1.0 + abs(expected)) + 1e-10 * terms(atoms), along


@RANDOM
@given(structures(), seeds)
def test_energy_is_invariant_and_forces_turn_along(atoms, seed):
    rng = np.random.default_rng(seed)
    rotation, order = orthogonal(rng), rng.permutation(len(atoms))
    told = same_structure(atoms, seed)[order]
    told.positions = (told.positions + rng.uniform(-20, 20, 3)) @ rotation.T
    told.set_cell(told.cell.array @ rotation.T)
    energy, forces, _ = predict_targets(model(), [atoms])[0]
    found = predict_targets(model(), [told])[0]
    assert abs(found["energy"] - energy) < 1e-10 * terms(atoms)
    np.testing.assert_allclose(found["forces"], forces[order] @ rotation.T, rtol=0, atol=1e-9 * terms(atoms))


# --- Known crystals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["sc", "bcc", "fcc", "diamond"])
def test_primitive_and_conventional_cells_have_the_same_atoms(structure):
    primitive = bulk("Mo", structure, a=3.3)
    conventional = bulk("Mo", structure, a=3.3, cubic=True)
    one = values(primitive)[0]
    assert_close(values(conventional), np.tile(one, (len(conventional), 1)), "values[atom, feature]")


@pytest.mark.parametrize("structure", ["sc", "bcc", "fcc", "diamond", "hcp"])
def test_atoms_of_a_perfect_crystal_feel_no_force(structure):
    atoms = bulk("Ni", structure, a=2.9)
    assert np.abs(predict_targets(model(), [atoms])["forces"][0]).max() < 1e-11 * terms(atoms)


def test_an_atom_at_a_periodic_face_is_the_same_on_both_sides():
    atoms = bulk("Mo", "bcc", a=3.15, cubic=True)
    for shift in (-1e-16, 0.0, 1e-16, 3.15 - 1e-16, 3.15, 3.15 + 1e-15):
        moved = atoms.copy()
        moved.positions[0, 0] = shift
        assert_close(values(moved), values(atoms), f"values with the atom at {shift}")
