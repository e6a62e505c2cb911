"""The SOAP power spectrum against quippy, and against its NumPy twin on awkward structures.

Of each component's largest number, values agree to 1e-11 and gradients to 2e-9: what the spline of the radial functions
and its slopes leave of components that are small themselves. 1e-10 and 1e-8 are asked for.
"""

import re
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from _soap_twin import Parameters, soap_of
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols

from mlfeat import SOAP
from mlfeat.testing import assert_close, awkward_structures

VALUES, GRADIENTS = 1e-10, 1e-8
CASES = {
    "Mo_n4_l3": "bcde",
    "Mo_n4_l3_unnormalised": "cd",
    "Mo_n8_l8": "bcde",
    "Ni-Mo_n4_l3": "bcde",
    "Ni-Mo_n8_l8": "cd",
    "Si_n4_l3_sigma0.4_cut4.5_width1.0_centralweight0.5_sigma0_0.1": "cd",
    "Si_n8_l8": "bcde",
}
STRUCTURES = [(case, letter) for case, letters in CASES.items() for letter in letters]
WITH_GRADIENTS = [
    *product(("Mo_n4_l3", "Ni-Mo_n4_l3"), "cd"),
    *product(("Mo_n4_l3_unnormalised", "Mo_n8_l8"), "cd"),
    ("Mo_n4_l3", "e"),
    ("Si_n4_l3_sigma0.4_cut4.5_width1.0_centralweight0.5_sigma0_0.1", "c"),
    ("Si_n8_l8", "c"),
]


# --- quippy ----------------------------------------------------------------------------------------------------------


class Reference:
    """One structure of one file: the structure, the parameters, QUIP's numbers."""

    def __init__(self, shared, case, letter):
        with np.load(file_of(shared, case)) as data:
            text = str(data["descriptor"])
            self.arrays = {key[2:]: data[key] for key in data if key.startswith(f"{letter}_")}
        positions, cell, pbc = (self.arrays[name] for name in ("positions", "cell", "pbc"))
        self.atoms = Atoms(self.arrays["numbers"], positions=positions, cell=cell, pbc=pbc)
        words = dict(re.findall(r"(\w+)=({[^}]*}|\S+)", text.removeprefix("soap ")))
        self.species = [chemical_symbols[int(z)] for z in words["species_Z"].strip("{}").split()]
        self.parameters = {
            "cutoff": float(words["cutoff"]),
            "n_max": int(words["n_max"]),
            "l_max": int(words["l_max"]),
            "sigma": float(words["atom_sigma"]),
            "cutoff_transition_width": float(words["cutoff_transition_width"]),
            "central_weight": float(words.get("central_weight", 1)),
            "covariance_sigma0": float(words.get("covariance_sigma0", 0)),
            "normalize": words.get("normalise", "T") != "F",
        }

    @property
    def features(self):
        """The structure's features by mlfeat."""
        return SOAP(species=self.species, **self.parameters).fit_transform([self.atoms])[0]

    @property
    def gradients(self):
        """QUIP's derivative of each center's features by each atom's position, (N, N, 3, F): sum over the images."""
        n, rows = len(self.atoms), self.arrays["grad_data"]
        total = np.zeros((n, n, *rows.shape[1:]))
        np.add.at(total, tuple(self.arrays["grad_index"].T), rows)
        return total


def file_of(shared, case):
    return Path(shared) / "reference" / "descriptors" / f"soap_{case}.npz"


def gradients_of(features):
    """mlfeat's: a pair's row moves the neighbor, and the center the other way."""
    pairs = features.pairs
    jacobian = features.descriptor.jacobian(pairs)
    total = np.zeros((pairs.n_atoms, pairs.n_atoms, 3, jacobian.shape[2]))
    np.add.at(total, (pairs.first, pairs.second), jacobian)
    np.add.at(total, (pairs.first, pairs.first), -jacobian)
    return total


@pytest.fixture
def reference(shared, case, letter):
    return Reference(shared, case, letter)


def test_every_file_is_tested(shared):
    found = {path.stem.removeprefix("soap_") for path in shared.glob("reference/descriptors/soap_*.npz")}
    assert found == set(CASES)
    with_gradients = set()
    for case, letters in CASES.items():
        with np.load(file_of(shared, case)) as data:
            assert {key[0] for key in data if key.endswith("_data")} == set(letters)
            with_gradients |= {(case, key[0]) for key in data if key.endswith("_grad_data")}
    assert with_gradients == set(WITH_GRADIENTS)


@pytest.mark.parametrize(("case", "letter"), STRUCTURES)
def test_the_twin_equals_quippy(reference):
    values = soap_of(reference.atoms, reference.species, Parameters(**reference.parameters))
    assert_close(values, reference.arrays["data"], "data[center, component]", rtol=1e-12)


@pytest.mark.parametrize(("case", "letter"), STRUCTURES)
def test_values_equal_quippy(reference):
    assert_close(reference.features.values, reference.arrays["data"], "data[center, component]", rtol=VALUES)


@pytest.mark.parametrize(("case", "letter"), WITH_GRADIENTS)
def test_gradients_equal_quippy(reference):
    found = gradients_of(reference.features)
    assert_close(found, reference.gradients, "grad[center, atom, xyz, component]", rtol=GRADIENTS)


# --- The twin --------------------------------------------------------------------------------------------------------


def random_parameters(seed):
    """Any parameters of SOAP; few functions of gto, which the twin orthonormalizes in double precision."""
    rng = np.random.default_rng(seed)
    basis = ("equispaced_gauss", "gto")[seed % 2]
    compression = (None, "mu1nu1", "mu2", "random")[seed // 2 % 4]
    cutoff = rng.uniform(3.0, 5.0)
    return Parameters(
        cutoff=cutoff,
        n_max=int(rng.integers(1, 6 if basis == "gto" else 11)),
        l_max=int(rng.integers(0, 10)),
        sigma=rng.uniform(0.3, 0.8),
        cutoff_transition_width=rng.choice([0.0, 0.5, rng.uniform(0, cutoff), cutoff]),
        central_weight=rng.choice([0.0, 1.0, rng.uniform(0, 2)]),
        normalize=bool(rng.integers(2)),
        covariance_sigma0=rng.choice([0.0, 0.3]),
        radial_basis=basis,
        compression=compression,
        random_state=seed,
    )


def difference(atoms, species, parameters):
    """Largest difference of SOAP from the twin, in units of the largest feature."""
    expected = soap_of(atoms, species, parameters)
    found = SOAP(species=species, **asdict(parameters)).fit_transform([atoms])[0].values
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max(initial=1e-300)


@pytest.mark.parametrize("seed", range(24))
def test_values_equal_the_twin(seed):
    parameters = random_parameters(seed)
    species = [["Mo", "Ni"], ["Ni", "Cu", "Mo"]][seed % 3 == 0]
    for name, atoms in awkward_structures().items():
        assert difference(atoms, species, parameters) < VALUES, name


@pytest.mark.parametrize("compression", [None, "mu1nu1", "mu2", "random"])
@pytest.mark.parametrize("n_channels", [None, 1, 5, 9])
def test_values_of_channels_equal_the_twin(compression, n_channels):
    parameters = Parameters(cutoff=4.2, n_max=3, l_max=4, compression=compression, n_channels=n_channels)
    atoms = awkward_structures(("Mo", "Ni", "Cu"))["triclinic"]
    assert difference(atoms, ["Cu", "Mo", "Ni"], parameters) < VALUES


@pytest.mark.parametrize("radial_basis", ["equispaced_gauss", "gto"])
def test_neighbors_on_the_axes_count(radial_basis):
    """On the z axis the angle around it is not defined."""
    parameters = Parameters(cutoff=4.5, n_max=4, l_max=9, radial_basis=radial_basis)
    star = Atoms("MoNi3Mo3", positions=np.concatenate([np.zeros((1, 3)), 2.3 * np.eye(3), -2.3 * np.eye(3)]))
    rocksalt = bulk("NiMo", "rocksalt", a=4.4, cubic=True)
    for atoms in (star, rocksalt):
        assert difference(atoms, ["Mo", "Ni"], parameters) < VALUES


@pytest.mark.parametrize("radial_basis", ["equispaced_gauss", "gto"])
@pytest.mark.parametrize("distance", [0.11, 0.2])
def test_atoms_almost_on_top_of_each_other_count(radial_basis, distance):
    parameters = Parameters(cutoff=4.5, n_max=4, l_max=6, radial_basis=radial_basis)
    atoms = Atoms("MoNiNi", positions=[[0, 0, 0], distance * np.array([0.6, 0, -0.8]), [1.0, 2.0, 0.5]])
    assert difference(atoms, ["Mo", "Ni"], parameters) < VALUES


@pytest.mark.parametrize("radial_basis", ["equispaced_gauss", "gto"])
@pytest.mark.parametrize("width", [0.0, 0.5])
@pytest.mark.parametrize("offset", [-1e-9, 1e-9])
def test_neighbors_count_up_to_the_cutoff(radial_basis, width, offset):
    """With a cutoff function nothing is left of them there, without they count in full."""
    parameters = Parameters(
        cutoff=4.0, n_max=4, l_max=3, cutoff_transition_width=width, radial_basis=radial_basis, normalize=False
    )
    dimer = Atoms("Mo2", positions=[[0, 0, 0], [0, 0, parameters.reach + offset]])
    soap = SOAP(species=["Mo"], **asdict(parameters)).fit([dimer])
    (first, _), (lone,) = (item.values for item in soap.transform([dimer, dimer[:1]]))
    assert np.array_equal(first, lone) == (offset > 0 or width > 0)
    assert difference(dimer, ["Mo"], parameters) < VALUES
