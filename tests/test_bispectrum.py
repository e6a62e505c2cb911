"""The bispectrum against its NumPy twin, for every setting and where angles, distances or batches are special."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from _bispectrum_twin import (
    Parameters,
    bispectrum,
    bispectrum_of,
    brute_force_pairs,
    clebsch_gordan,
    components,
    wigner_matrices,
)
from ase import Atoms
from ase.build import bulk

from mlfeat import Bispectrum
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close, awkward_structures, check_descriptor, crystal, gradient

SPECIES = ("Ni", "Mo")  # not sorted: the order is the user's
TWO = Parameters(cutoff=4.5, twojmax=5, radii=(0.5, 0.55), weights=(1.0, 0.7))
CHEM = replace(TWO, twojmax=3, chemflag=True)
SETTINGS = {
    "plain": TWO,
    "rfac0": replace(TWO, rfac0=0.8),
    "rmin0": replace(TWO, rmin0=0.7),
    "bzeroflag": replace(TWO, bzeroflag=True),
    "bnormflag": replace(TWO, bnormflag=True),
    "bnormflag bzeroflag": replace(TWO, bnormflag=True, bzeroflag=True),
    "no switchflag": replace(TWO, switchflag=False),
    "negative weight": replace(TWO, weights=(1.0, -0.4)),
    "switchinnerflag": replace(TWO, switchinnerflag=True, sinner=(2.4, 2.6), dinner=(0.2, 0.3)),
    "chemflag": CHEM,
    "chemflag wselfallflag": replace(CHEM, wselfallflag=True),
    "chemflag bzeroflag": replace(CHEM, bzeroflag=True, bnormflag=True),
    "chemflag wselfallflag bzeroflag": replace(CHEM, wselfallflag=True, bzeroflag=True),
    "chemflag switchinnerflag rmin0": replace(
        CHEM, switchinnerflag=True, sinner=(2.4, 2.6), dinner=(0.2, 0.3), rmin0=0.5, rfac0=0.95
    ),
    "everything": replace(
        CHEM,
        switchinnerflag=True,
        sinner=(2.4, 2.6),
        dinner=(0.2, 0.3),
        wselfallflag=True,
        bzeroflag=True,
        bnormflag=True,
    ),
}
STRUCTURES = awkward_structures(SPECIES)


def descriptor_of(parameters, species=SPECIES):
    settings = asdict(parameters)
    if not parameters.switchinnerflag:
        del settings["sinner"], settings["dinner"]
    return Bispectrum(species=species, **settings)


def values_of(descriptor, atoms):
    return descriptor.fit_transform([atoms])[0].values


# --- Against the twin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_values_equal_the_twin(setting, structure):
    parameters, atoms = SETTINGS[setting], STRUCTURES[structure]
    expected = bispectrum_of(atoms, SPECIES, parameters)
    # Without neighbors `bzeroflag` leaves nothing but the rounding of what it subtracts.
    assert_close(values_of(descriptor_of(parameters), atoms), expected, "values[atom, feature]", error=1e-12)


@pytest.mark.parametrize("twojmax", range(15))
def test_every_band_limit_equals_the_twin(twojmax):
    parameters = Parameters(cutoff=4.2, twojmax=twojmax)
    atoms = awkward_structures(["Si"])["triclinic"]
    found = values_of(descriptor_of(parameters, ["Si"]), atoms)
    # Components of large j are differences of terms 1e4 times as large.
    assert_close(found, bispectrum_of(atoms, ["Si"], parameters), "values[atom, feature]", rtol=1e-9)


@pytest.mark.parametrize("twojmax", [1, 9, 14])
def test_every_band_limit_has_right_derivatives(twojmax):
    structures = {name: awkward_structures(["Si"])[name] for name in ("tiny", "wire")}
    check_descriptor(Bispectrum(cutoff=3.6, twojmax=twojmax), structures)


@pytest.mark.parametrize("n_atoms", range(1, 20))
def test_any_number_of_atoms_fills_the_batches(n_atoms):
    """Numbers of atoms that are no multiple of a batch, and centers with different numbers of neighbors, or none."""
    atoms = crystal(SPECIES, (3, 3, 3))[:n_atoms]
    atoms.pbc = False
    atoms.positions[::4] += [60.0, 0.0, 0.0]
    parameters = replace(TWO, twojmax=3)
    found = values_of(descriptor_of(parameters), atoms)
    assert_close(found, bispectrum_of(atoms, SPECIES, parameters), "values[atom, feature]")


def test_many_neighbors_equal_the_twin():
    parameters = Parameters(cutoff=8.5, twojmax=4)
    atoms = bulk("Cu")
    assert len(brute_force_pairs(atoms, 8.5)[0]) > 200
    assert_close(
        values_of(descriptor_of(parameters, ["Cu"]), atoms), bispectrum_of(atoms, ["Cu"], parameters), "values"
    )


# --- Special places -------------------------------------------------------------------------------------------------


def pairs_along(directions, distance, cutoff=5.0):
    """One center, with a neighbor in each direction that has no neighbor but the center."""
    positions = np.concatenate([[[0, 0, 0]], np.asarray(directions, float) * distance])
    return NeighborPairs.from_atoms(Atoms(f"Si{len(positions)}", positions=positions), cutoff)


@pytest.mark.parametrize("crystal_structure", ["sc", "bcc", "fcc", "diamond"])
def test_neighbors_on_the_axes_are_not_special(crystal_structure):
    """Perfect crystals: polar angles 0, π/2 and π, where spherical coordinates have no derivative."""
    check_descriptor(Bispectrum(cutoff=4.1, twojmax=6), [bulk("Mo", crystal_structure, a=3.2)])


def test_derivatives_are_right_along_the_z_axis():
    descriptor = Bispectrum(twojmax=7).fit([Atoms("Si")])
    atoms = Atoms("Si3", positions=[[0, 0, 0], [0, 0, 2.3], [0, 0, -2.9]])
    pairs = NeighborPairs.from_atoms(atoms, 5.0)
    slope, error = gradient(lambda positions: descriptor.values(pairs.moved(positions)).sum(axis=0), atoms.positions)
    rows = descriptor.rows(pairs)[1:10].reshape(3, 3, -1)
    assert_close(rows, -slope, "force rows", rtol=1e-7, error=error)


def test_neighbors_at_rmin0_have_the_limit_from_above():
    """There the angle is zero and 1/tan(θ0) is infinite."""
    descriptor = Bispectrum(twojmax=6, rmin0=0.8).fit([Atoms("Si")])
    at, above = (pairs_along([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]], 0.8 + offset) for offset in (1e-15, 1e-7))
    assert_close(descriptor.values(at), descriptor.values(above), "values at rmin0", rtol=1e-6)
    assert_close(descriptor.jacobian(at), descriptor.jacobian(above), "jacobian at rmin0", rtol=1e-6)


@pytest.mark.parametrize("distance", [0.15, 0.5, 0.7999, 0.8001, 1.2])
def test_neighbors_below_rmin0_are_as_in_lammps(distance):
    """Its formulas change the sign of u_j there if j is odd: the features jump. Files in use have rmin0 = 0."""
    descriptor = Bispectrum(twojmax=6, rmin0=0.8).fit([Atoms("Si")])
    pairs = pairs_along([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]], distance)
    parameters = Parameters(cutoff=5.0, twojmax=6, rmin0=0.8)
    expected = bispectrum(np.zeros(3, int), pairs.first, pairs.second, pairs.vectors, parameters)
    assert_close(descriptor.values(pairs), expected, "values")
    positions = pairs.positions
    slope, error = gradient(lambda x: descriptor.values(pairs.moved(x)).sum(axis=0), positions)
    rows = descriptor.rows(pairs)[1:10].reshape(3, 3, -1)
    assert_close(rows, -slope, "force rows", rtol=1e-7, error=error)


def test_pairs_beyond_their_own_cutoff_do_not_count():
    """A pair of small atoms ends before the list does."""
    descriptor = Bispectrum(cutoff=5.0, twojmax=4, species=["H", "Cs"], radii=[0.3, 0.5], switchflag=False)
    far, apart, together = (Atoms("H2", positions=[[0, 0, 0], [0, 0, z]]) for z in (90.0, 3.01, 2.99))
    assert_close(values_of(descriptor, apart), values_of(descriptor, far), "values")
    assert np.abs(values_of(descriptor, together) - values_of(descriptor, apart)).max() > 0.1


@pytest.mark.parametrize("distance", [0.11, 0.5, 4.9999, 5.0, 5.0001])
def test_extreme_distances_are_finite(distance):
    descriptor = Bispectrum(twojmax=8).fit([Atoms("Si")])
    pairs = pairs_along([[0.36, 0.48, 0.8]], distance, cutoff=6.0)
    index = np.zeros(2, int)
    parameters = Parameters(cutoff=5.0, twojmax=8)
    assert_close(
        descriptor.values(pairs), bispectrum(index, pairs.first, pairs.second, pairs.vectors, parameters), "values"
    )
    assert np.isfinite(descriptor.jacobian(pairs)).all()


# --- What parameters mean -------------------------------------------------------------------------------------------


def test_published_numbers_of_components():
    counts = {twojmax: len(components(twojmax)) for twojmax in (0, 2, 4, 6, 8, 14)}
    assert counts == {0: 1, 2: 5, 4: 14, 6: 30, 8: 55, 14: 204}
    for twojmax, n in counts.items():
        assert Bispectrum(twojmax=twojmax).fit([bulk("Mo")]).n_features_out_ == n
    chem = Bispectrum(twojmax=6, species=["Ni", "Mo"], chemflag=True).fit([bulk("Mo")])
    assert chem.n_features_out_ == 8 * 30


def test_names_say_components_and_species():
    plain = Bispectrum(twojmax=2).fit([bulk("Mo")])
    expected = ["B" + "_".join(["", *map(str, triplet)]) for triplet in components(2)]
    assert list(plain.get_feature_names_out()) == expected
    chem = Bispectrum(twojmax=0, species=["Ni", "Mo"], chemflag=True).fit([bulk("Mo")])
    assert list(chem.get_feature_names_out()[:3]) == ["BNiNiNi_0_0_0", "BNiNiMo_0_0_0", "BNiMoNi_0_0_0"]


def test_cutoff_is_the_sum_of_radii_times_the_parameter():
    atoms = STRUCTURES["triclinic"]
    descriptor = Bispectrum(cutoff=4.5, species=SPECIES, radii=(0.5, 0.6)).fit([atoms])
    assert descriptor.cutoff_ == pytest.approx(4.5 * 1.2, rel=1e-15)
    scaled = Bispectrum(cutoff=2.25, species=SPECIES, radii=(1.0, 1.2))
    assert_close(values_of(scaled, atoms), values_of(descriptor, atoms), "values")


@pytest.mark.parametrize("atoms", [STRUCTURES["triclinic"], STRUCTURES["cluster"]])
def test_a_dict_means_the_same_as_a_sequence(atoms):
    common = {"cutoff": 4.5, "twojmax": 4, "switchinnerflag": True}
    sequence = Bispectrum(species=SPECIES, radii=[0.5, 0.55], weights=[1, 0.7], sinner=[2.4, 2.6], dinner=0.3, **common)
    by_symbol = Bispectrum(
        radii={"Mo": 0.55, "Ni": 0.5, "W": 0.1},
        weights={"Mo": 0.7, "Ni": 1},
        sinner={"Mo": 2.6, "Ni": 2.4},
        dinner={"Mo": 0.3, "Ni": 0.3},
        **common,
    )
    np.testing.assert_array_equal(values_of(sequence, atoms), values_of(by_symbol, atoms))
    assert by_symbol.species_ == ("Mo", "Ni")


def test_an_isolated_atom_has_the_value_that_bzeroflag_subtracts():
    atoms = Atoms("Mo")
    top = np.array([j for _, _, j in components(6)])
    assert_close(values_of(Bispectrum(), atoms)[0], top + 1.0, "isolated atom")
    assert_close(values_of(Bispectrum(bnormflag=True), atoms)[0], np.ones(30), "isolated atom, bnormflag")
    for settings in ({}, {"bnormflag": True}, {"chemflag": True}, {"chemflag": True, "wselfallflag": True}):
        descriptor = Bispectrum(bzeroflag=True, species=SPECIES, **settings)
        assert np.abs(values_of(descriptor, atoms)).max() < 1e-13


def test_one_species_with_chemflag_is_the_plain_bispectrum():
    atoms = awkward_structures(["Si"])["skewed"]
    assert_close(values_of(Bispectrum(chemflag=True), atoms), values_of(Bispectrum(), atoms), "values")


def test_equal_species_with_chemflag_add_up_to_the_plain_bispectrum():
    """B is cubic in the density: with the atom itself once, the sum over channels is the plain B."""
    atoms = STRUCTURES["triclinic"]
    chem = values_of(Bispectrum(species=SPECIES, chemflag=True), atoms)
    plain = values_of(Bispectrum(species=SPECIES), atoms)
    assert_close(chem.reshape(len(atoms), 8, 30).sum(axis=1), plain, "sum over triples of species")


def test_weights_scale_neighbors():
    atoms = STRUCTURES["cluster"]
    ghosts = Bispectrum(species=SPECIES, weights={"Ni": 1.0, "Mo": 0.0}, twojmax=4)
    alone = atoms[[atom.index for atom in atoms if atom.symbol == "Ni"]]
    keep = atoms.symbols == "Ni"
    assert_close(values_of(ghosts, atoms)[keep], values_of(ghosts, alone), "values among ghosts")


def test_without_switch_features_jump_at_the_cutoff():
    with pytest.raises(AssertionError, match="neighbors_leave_smoothly: Si leaving Si: the value"):
        check_descriptor(Bispectrum(twojmax=4, switchflag=False), awkward_structures(["Si"]))
    check_descriptor(
        Bispectrum(twojmax=4, switchflag=False), awkward_structures(["Si"]), skip=["neighbors_leave_smoothly"]
    )


# --- Bad parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0.0}, r"cutoff=0\.0: must be a positive number"),
        ({"cutoff": -4.0}, r"cutoff=-4\.0"),
        ({"cutoff": float("nan")}, r"cutoff=nan"),
        ({"cutoff": "4"}, r"cutoff='4'"),
        ({"twojmax": -1}, r"twojmax=-1: must be an integer from 0 to 14"),
        ({"twojmax": 15}, r"twojmax=15"),
        ({"twojmax": 6.5}, r"twojmax=6\.5"),
        ({"rfac0": 0.0}, r"rfac0=0\.0"),
        ({"rfac0": 1.5}, r"rfac0=1\.5"),
        ({"rmin0": -0.1}, r"rmin0=-0\.1"),
        ({"rmin0": 6.0}, r"rmin0=6\.0"),
        ({"radii": (0.5, 0.5, 0.5)}, r"radii=.*2 numbers for Ni, Mo"),
        ({"radii": (0.5, -0.5)}, r"radii=.*positive"),
        ({"radii": {"Ni": 0.5}}, r"radii=.*nothing for Mo"),
        ({"weights": (1.0, float("inf"))}, r"weights=.*finite"),
        ({"weights": "Mo"}, r"weights='Mo'"),
        ({"switchinnerflag": True}, r"sinner and dinner"),
        ({"switchinnerflag": True, "sinner": 2.0, "dinner": 0.0}, r"dinner=0\.0.*positive"),
        ({"species": "NiMo"}, r"species='NiMo'"),
        ({"species": ("Ni", "Ni")}, r"species="),
        ({"species": ("Ni", "Qq")}, r"species="),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_refused_with_name_and_value(parameters, message):
    descriptor = Bispectrum(**{"species": SPECIES, **parameters})
    with pytest.raises(ValueError, match=message):
        descriptor.fit([STRUCTURES["triclinic"]])


# --- The twin itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("j1", "j2"), [(0, 0), (1, 1), (3, 2), (6, 6), (14, 9)])
def test_clebsch_gordan_matrices_are_orthogonal(j1, j2):
    blocks = [clebsch_gordan(j1, j2, j).reshape(-1, j + 1) for j in range(abs(j1 - j2), j1 + j2 + 1, 2)]
    matrix = np.concatenate(blocks, axis=1)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(len(matrix)), atol=1e-12)


def test_wigner_matrices_are_unitary_and_multiply_like_rotations():
    vectors = np.random.default_rng(0).uniform(-2, 2, (5, 3))
    u = wigner_matrices(vectors, np.full(5, 5.0), Parameters(cutoff=5.0, twojmax=6))
    for j, matrix in enumerate(u):
        np.testing.assert_allclose(matrix @ matrix.conj().transpose(0, 2, 1), [np.eye(j + 1)] * 5, atol=1e-12)
    for j in range(2, 7):  # (½ ⊗ (j − 1)/2) projected on j/2: U of one rotation
        cg = clebsch_gordan(1, j - 1, j)
        product = np.einsum("abc,nad,nbe,def->ncf", cg, u[1], u[j - 1], cg)
        np.testing.assert_allclose(product, u[j], atol=1e-12)
