"""The "gto" basis of SOAP against DScribe: molecules and crystals, every compression that DScribe has too.

DScribe orthonormalizes its basis in double precision; with n_max = l_max = 8 that leaves 1e-8 of the functions of the
largest l, and 1e-9 of the largest value. tests/test_soap_radial.py shows that mlfeat has no such error.
"""

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mlfeat import SOAP
from mlfeat.testing import awkward_structures, same_structure

dscribe = pytest.importorskip("dscribe.descriptors")

TOLERANCE = 1e-8  # of the largest value


def rattled(atoms, seed=0):
    atoms.rattle(0.1, seed=seed)
    return atoms


def wrapped(atoms):
    """DScribe misses neighbors of atoms outside the cell."""
    atoms.wrap()
    return atoms


# Name: structure, species in DScribe's order, that of atomic numbers.
STRUCTURES = {
    "water": (molecule("H2O"), ["H", "O"]),
    "ethanol": (molecule("CH3CH2OH"), ["H", "C", "O"]),
    "silicon": (rattled(bulk("Si", cubic=True)), ["Si"]),
    "one atom": (bulk("Mo"), ["Mo"]),
    "rocksalt": (rattled(bulk("NaCl", "rocksalt", a=5.6)), ["Na", "Cl"]),
    "rocksalt in another cell": (wrapped(same_structure(rattled(bulk("NaCl", "rocksalt", a=5.6)))), ["Na", "Cl"]),
    "triclinic": (awkward_structures()["triclinic"], ["Ni", "Mo"]),
    "cluster": (awkward_structures()["cluster"], ["Ni", "Mo"]),
}
SETTINGS = [(1, 0, 4.0, 0.5), (3, 5, 3.5, 0.3), (5, 2, 5.0, 0.8), (8, 8, 4.5, 0.5)]
PARAMETERS = [(name, setting) for name, setting in product(STRUCTURES, SETTINGS)]


def order_of(n_species, n_max, l_max, compression):
    """Rows (a, n, a', n', l) in the order in which DScribe's documentation has its features."""
    if compression == "mu1nu1":
        return [(a, n, 0, m, l) for a, l, n, m in product(*map(range, (n_species, l_max + 1, n_max, n_max)))]
    n_species = 1 if compression == "mu2" else n_species
    every = product(*map(range, (n_species, n_species, l_max + 1, n_max, n_max)))
    return [(a, n, b, m, l) for a, b, l, n, m in every if (a, n) <= (b, m) and a <= b]


def descriptor_of(atoms, species, setting, compression=None, weighting=None):
    """DScribe's."""
    n_max, l_max, cutoff, sigma = setting
    return dscribe.SOAP(
        species=species,
        periodic=bool(atoms.pbc.any()),
        r_cut=cutoff,
        n_max=n_max,
        l_max=l_max,
        sigma=sigma,
        rbf="gto",
        compression={"mode": compression or "off", "species_weighting": None},
        weighting=weighting,
    )


def reordered(values, n_species, setting, compression=None):
    """DScribe's values (..., F) in the order of mlfeat's features, with the √2 of k ≠ k'."""
    n_max, l_max = setting[:2]
    order = order_of(n_species, n_max, l_max, compression)
    assert values.shape[-1] == len(order)
    column = {((a, n), (b, m), l): k for k, (a, n, b, m, l) in enumerate(order)}
    if compression == "mu1nu1":
        every = product(np.ndindex(n_species, n_max), range(n_max), range(l_max + 1))
        return values[..., [column[k, (0, m), l] for k, m, l in every]]
    kinds = list(np.ndindex(1 if compression == "mu2" else n_species, n_max))
    pairs = [(k, other) for i, k in enumerate(kinds) for other in kinds[: i + 1]]
    places = [[at(column, k, other, l) for l in range(l_max + 1)] for k, other in pairs]
    factors = np.array([1.0 if k == other else np.sqrt(2) for k, other in pairs])
    return (values[..., places] * factors[:, None]).reshape(*values.shape[:-1], -1)


def expected_features(atoms, species, setting, compression=None, **keywords):
    values = descriptor_of(atoms, species, setting, compression, **keywords).create(atoms)
    return reordered(values, len(species), setting, compression)


def at(column, k, other, l):
    """Column of the pair in either order."""
    return column[(other, k, l) if (other, k, l) in column else (k, other, l)]


def features_of(atoms, species, setting, compression=None, **keywords):
    n_max, l_max, cutoff, sigma = setting
    soap = SOAP(
        cutoff,
        n_max,
        l_max,
        species=species,
        sigma=sigma,
        cutoff_transition_width=0.0,
        normalize=False,
        radial_basis="gto",
        compression=compression,
        **keywords,
    )
    return soap.fit_transform([atoms])[0]


def assert_equal_to_largest(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("compression", [None, "mu1nu1", "mu2"])
@pytest.mark.parametrize(("name", "setting"), PARAMETERS, ids=str)
def test_values_equal_dscribe(name, setting, compression):
    atoms, species = STRUCTURES[name]
    expected = expected_features(atoms, species, setting, compression)
    assert_equal_to_largest(features_of(atoms, species, setting, compression).values[:, :-1], expected)


@pytest.mark.parametrize("central_weight", [0.0, 0.5])
def test_central_weight_is_dscribes_w0(central_weight):
    atoms, species = STRUCTURES["triclinic"]
    expected = expected_features(atoms, species, SETTINGS[1], weighting={"w0": central_weight})
    features = features_of(atoms, species, SETTINGS[1], central_weight=central_weight)
    assert_equal_to_largest(features.values[:, :-1], expected)


@pytest.mark.parametrize("offset", [-1e-9, 1e-9])
def test_neighbors_count_up_to_dscribes_padded_cutoff(offset):
    setting = SETTINGS[1]
    alone = Atoms("Mo", positions=[[0.0, 0.0, 0.0]])
    padded = features_of(alone, ["Mo"], setting).pairs.cutoff
    dimer = alone + Atoms("Mo", positions=[[0.0, 0.0, padded + offset]])
    expected, found = (
        part - whole[0]
        for part, whole in (
            (expected_features(dimer, ["Mo"], setting), expected_features(alone, ["Mo"], setting)),
            (features_of(dimer, ["Mo"], setting).values[:, :-1], features_of(alone, ["Mo"], setting).values[:, :-1]),
        )
    )
    assert expected.any() == found.any() == (offset < 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["water", "ethanol", "cluster"])
def test_gradients_equal_dscribes(name):
    """Its analytical ones: of structures without periodicity, by positions."""
    atoms, species = STRUCTURES[name]
    setting = (4, 3, 4.0, 0.5)
    by_atom = descriptor_of(atoms, species, setting).derivatives(atoms, method="analytical", attach=True)[0]
    expected = reordered(by_atom, len(species), setting)
    features = features_of(atoms, species, setting)
    pairs, jacobian = features.pairs, features.descriptor.jacobian(features.pairs)[..., :-1]
    found = np.zeros_like(expected)
    found[pairs.first, pairs.second] = jacobian
    np.add.at(found, (pairs.first, pairs.first), -jacobian)
    assert_equal_to_largest(found, expected)
