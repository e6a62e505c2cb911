"""The bispectrum against LAMMPS: values, derivative sums and virials of its computes sna, snad and snav/atom.

The kernel agrees to 1e-12 of each component's largest value; 1e-10 is asked for, which leaves room for other compilers.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from _bispectrum_twin import Parameters, bispectrum_of, brute_force_pairs, components, quadratic
from ase import Atoms

from mlfeat import Bispectrum
from mlfeat.preprocessing import QuadraticExpansion
from mlfeat.testing import assert_close, gradient

RTOL = 1e-10
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
CASES = {
    "Mo_twojmax6": "bcde",
    "Mo_twojmax6_bzeroflag1": "cde",
    "Ni-Mo_twojmax4_chem": "cd",
    "Ni-Mo_twojmax4_chem_bnorm_wselfall0_bzero1": "cd",
    "Ni-Mo_twojmax4_chem_bnorm_wselfall1_bzero1": "cd",
    "Ni-Mo_twojmax6": "bcde",
    "Ni-Mo_twojmax6_switchinner": "cd",
    "Ni-Mo_twojmax8_bzeroflag1": "cd",
    "Si_twojmax6_quadratic": "cd",
    "Si_twojmax6_rmin0": "cd",
    "Si_twojmax8": "bcde",
}
STRUCTURES = [(case, letter) for case, letters in CASES.items() for letter in letters]


class Reference:
    """One structure of one file: the structure, the parameters, LAMMPS' numbers."""

    def __init__(self, folder, case, letter):
        with np.load(Path(folder) / f"bispectrum_{case}.npz") as data:
            self.settings = json.loads(str(data["settings"]))
            self.triplets = data["j1_j2_j"] if "j1_j2_j" in data else None
            arrays = {key[2:]: data[key] for key in data if key.startswith(f"{letter}_")}
        self.sna, self.snad, self.snav = arrays["sna"], arrays["snad"], arrays.get("snav_sum")
        self.atoms = Atoms(arrays["numbers"], positions=arrays["positions"], cell=arrays["cell"], pbc=arrays["pbc"])
        self.species = self.settings["types"]
        self.quadratic = bool(self.settings["kw"].get("quadraticflag"))

    @property
    def parameters(self):
        """Parameters of Bispectrum without the species."""
        keywords = dict(self.settings["kw"])
        keywords.pop("quadraticflag", None)
        chem = keywords.pop("chem", None)
        for name in ("sinner", "dinner"):
            if name in keywords:
                keywords[name] = tuple(float(word) for word in keywords[name].split())
        return {
            "cutoff": self.settings["rcutfac"],
            "twojmax": self.settings["twojmax"],
            "radii": tuple(self.settings["radii"]),
            "weights": tuple(self.settings["weights"]),
            "rfac0": self.settings["rfac0"],
            "chemflag": chem is not None,
            **keywords,
        }

    @property
    def features(self):
        """The structure's features by mlfeat."""
        features = Bispectrum(species=self.species, **self.parameters).fit_transform([self.atoms])
        return QuadraticExpansion().fit_transform(features)[0] if self.quadratic else features[0]

    def twin(self, atoms):
        """The structure's features by the twin."""
        values = bispectrum_of(atoms, self.species, Parameters(**self.parameters))
        return quadratic(values) if self.quadratic else values


@pytest.fixture
def reference(shared, case, letter):
    return Reference(shared / "reference" / "descriptors", case, letter)


def test_every_file_is_tested(shared):
    found = {path.stem.removeprefix("bispectrum_") for path in shared.glob("reference/descriptors/bispectrum_*.npz")}
    assert found == set(CASES)
    for case in CASES:
        with np.load(shared / "reference" / "descriptors" / f"bispectrum_{case}.npz") as data:
            assert {key[0] for key in data if key.endswith("_sna")} == set(CASES[case])


@pytest.mark.parametrize(("case", "letter"), STRUCTURES)
def test_values_equal_lammps(reference):
    assert_close(reference.features.values, reference.sna, "sna[atom, k]", rtol=RTOL)


@pytest.mark.parametrize(("case", "letter"), STRUCTURES)
def test_force_rows_equal_lammps(reference):
    """snad[i, t, x, k] = −Σ_{j of type t} ∂B_k(j)/∂r_ix."""
    n, n_species = len(reference.atoms), len(reference.species)
    rows = reference.features.rows()[1 : 1 + 3 * n].reshape(n, 3, n_species, -1)
    assert_close(rows.transpose(0, 2, 1, 3), reference.snad, "snad[atom, type, xyz, k]", rtol=RTOL)


@pytest.mark.parametrize(("case", "letter"), STRUCTURES)
def test_stress_rows_equal_lammps(reference):
    """snav_sum[t, x, y, k] = −(d/dstrain_xy) Σ_{j of type t} B_k(j)."""
    rows = reference.features.rows()[-6:].reshape(6, len(reference.species), -1)
    if not reference.atoms.pbc.all():
        assert reference.snav is None
        return
    expected = np.array([reference.snav[:, x, y] for x, y in VOIGT])
    assert_close(-reference.atoms.get_volume() * rows, expected, "snav[Voigt, type, k]", rtol=RTOL)


@pytest.mark.parametrize(("case", "letter"), STRUCTURES)
def test_the_twin_equals_lammps(reference):
    assert_close(reference.twin(reference.atoms), reference.sna, "sna[atom, k]", rtol=1e-12)


@pytest.mark.parametrize(("case", "letter"), [(case, "c") for case in CASES])
def test_differences_of_the_twin_equal_lammps(reference):
    """Settles the signs and the order of indices without the kernel's derivatives."""
    atoms = reference.atoms
    index = np.array([reference.species.index(symbol) for symbol in atoms.get_chemical_symbols()])

    def sums(positions):
        values = reference.twin(Atoms(atoms.numbers, positions=positions, cell=atoms.cell, pbc=atoms.pbc))
        return np.stack([values[index == t].sum(axis=0) for t in range(len(reference.species))])

    slope, error = (part.transpose(0, 2, 1, 3) for part in gradient(sums, atoms.positions))
    assert_close(reference.snad, -slope, "snad[atom, type, xyz, k]", rtol=1e-9, error=error)


@pytest.mark.parametrize("case", CASES)
def test_components_are_in_lammps_order(shared, case):
    reference = Reference(shared / "reference" / "descriptors", case, "c")
    if reference.triplets is not None:
        assert [tuple(triplet) for triplet in reference.triplets] == components(reference.settings["twojmax"])


@pytest.mark.parametrize(("case", "letter"), [("Mo_twojmax6", letter) for letter in "bcde"])
def test_neighbor_list_equals_brute_force(reference):
    pairs = reference.features.pairs
    first, _, vectors = brute_force_pairs(reference.atoms, pairs.cutoff)
    found = np.column_stack([pairs.first, pairs.vectors])
    expected = np.column_stack([first, vectors])
    assert found.shape == expected.shape
    for array in (found, expected):
        array[:] = array[np.lexsort(np.round(array, 7).T)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
