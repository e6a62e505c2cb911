"""Symmetry functions against n2p2 and DScribe, and against their NumPy twin on awkward structures.

Of each column's largest number values agree to 1e-12; 1e-9 is asked for.
"""

from pathlib import Path

import numpy as np
import pytest
from _acsf_twin import acsf_of
from ase import Atoms
from ase.build import molecule

from mlfeat import ACSF
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close, awkward_structures, crystal

VALUES = 1e-12
BOHR = 0.529177210903  # Å
CUTOFF_FUNCTIONS = (  # by n2p2's numbers
    "hard",
    "cosine",
    "tanh",
    "normalized tanh",
    "exponential",
    "poly1",
    "poly2",
    "poly3",
    "poly4",
)
ALLOY = [(0, 0.0), (1, 0.0), (1, 0.3), (2, 0.0), (3, 0.0), (4, 0.0), (4, 0.3), (5, 0.0), (6, 0.0), (7, 0.0), (7, 0.3)]
CASES = {
    **{f"{element}_published": "bcde" for element in ("Li", "Mo", "Ni", "Si")},
    **{f"Ni-Mo_cutofftype{kind}_alpha{alpha}": "cde" for kind, alpha in [*ALLOY, (8, 0.0)]},
}
STRUCTURES = [(case, letter) for case, letters in CASES.items() for letter in letters]


# --- n2p2 -------------------------------------------------------------------------------------------------------------


class Settings:
    """The symmetry functions of an input.nn: parameters of ACSF, and which line is which function."""

    def __init__(self, text):
        lists = {"2": {}, "3": {}, "9": {}}
        self.lines, self.kind, self.inner_cutoff = {}, 1, 0.0
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if line.startswith("elements"):
                self.species = words[1:]
            elif line.startswith("cutoff_type"):
                self.kind = int(words[1])
                self.inner_cutoff = float(words[2]) if len(words) > 2 else 0.0
            elif line.startswith("symfunction_short"):
                center, kind, *rest = words[1:]
                neighbors, numbers = self.read(kind, rest)
                lists[kind].setdefault((center, *neighbors), []).append(numbers)
                self.lines[number] = (center, int(kind), neighbors, numbers)
        self.radial, self.angular, self.wide = lists.values()
        self.cutoff = max(numbers[-1] for *_, numbers in self.lines.values())

    @staticmethod
    def read(kind, words):
        if kind == "2":
            eta, r_s, cutoff = map(float, words[1:])
            return (words[0],), (eta / BOHR**2, r_s * BOHR, cutoff * BOHR)
        eta, lambda_, zeta, cutoff, r_s = map(float, [*words[2:], 0.0][:5])
        return tuple(words[:2]), (eta / BOHR**2, zeta, lambda_, r_s * BOHR, cutoff * BOHR)

    def descriptor(self):
        """ACSF with these functions, fitted."""
        acsf = ACSF(
            self.cutoff,
            self.radial,
            self.angular,
            self.wide,
            cutoff_function=CUTOFF_FUNCTIONS[self.kind],
            inner_cutoff=self.inner_cutoff,
            species=self.species,
        )
        return acsf.fit([Atoms(self.species)])

    def column(self, functions, line):
        """Place among a center's functions of that on a line."""
        _, kind, neighbors, numbers = self.lines[line]
        for column, f in enumerate(functions):
            own = (f.eta, f.r_s, f.cutoff) if f.kind == 2 else (f.eta, f.zeta, f.lambda_, f.r_s, f.cutoff)
            if (f.kind, f.neighbors, own) == (kind, neighbors, numbers):
                return column
        raise AssertionError(f"no function for line {line}")


class Reference:
    """One structure of one file, n2p2's numbers, and its settings."""

    def __init__(self, shared, case, letter):
        with np.load(file_of(shared, case)) as data:
            arrays = {key: data[key] for key in data}
        self.values = arrays[f"{letter}_G_unscaled"]
        numbers, positions, cell, pbc = (arrays[f"{letter}_{name}"] for name in ("numbers", "positions", "cell", "pbc"))
        self.atoms = Atoms(numbers, positions=positions, cell=cell, pbc=pbc)
        if "input_nn" in arrays:
            self.settings = Settings(str(arrays["input_nn"]))
            self.order = {symbol: arrays[f"line_{symbol}"] for symbol in self.settings.species}
        else:
            element = case.partition("_")[0]
            self.settings = Settings((shared / "models" / element / "nnp" / "input.nn").read_text())
            self.order = {element: arrays["input_nn_line"]}

    def expected(self, descriptor):
        """n2p2's values in the order of mlfeat's columns."""
        expected = np.full((len(self.atoms), descriptor.n_features_out_), np.nan)
        for symbol, functions in zip(descriptor.species_, descriptor.functions_, strict=True):
            rows = self.atoms.symbols == symbol
            columns = [self.settings.column(functions, line) for line in self.order[symbol]]
            expected[np.ix_(rows, columns)] = self.values[rows]
        return expected


def file_of(shared, case):
    return Path(shared) / "reference" / "descriptors" / f"acsf_{case}.npz"


@pytest.fixture
def reference(shared, case, letter):
    return Reference(shared, case, letter)


def test_every_file_is_tested(shared):
    found = {path.stem.removeprefix("acsf_") for path in shared.glob("reference/descriptors/acsf_*.npz")}
    assert found == {*CASES, "Mo_dscribe"}
    for case, letters in CASES.items():
        with np.load(file_of(shared, case)) as data:
            assert {key[0] for key in data if key.endswith("_G_unscaled")} == set(letters)


@pytest.mark.parametrize(("case", "letter"), STRUCTURES)
def test_values_equal_n2p2(reference):
    descriptor = reference.settings.descriptor()
    values = descriptor.transform([reference.atoms])[0].values
    assert_close(values, reference.expected(descriptor), "G[center, function]", rtol=VALUES)


@pytest.mark.parametrize(("case", "letter"), [(case, letter) for case, letter in STRUCTURES if letter == "d"])
def test_the_twin_equals_n2p2(reference):
    settings, descriptor = reference.settings, reference.settings.descriptor()
    functions = dict(zip(descriptor.species_, descriptor.functions_, strict=True))
    values = acsf_of(reference.atoms, functions, CUTOFF_FUNCTIONS[settings.kind], settings.inner_cutoff)
    assert_close(values, reference.expected(descriptor), "G[center, function]", rtol=VALUES)


@pytest.mark.parametrize("letter", "bcd")
def test_values_equal_dscribe(shared, letter):
    """Its first column is the sum of the cutoff functions, a radial function with η = 0."""
    with np.load(file_of(shared, "Mo_dscribe")) as data:
        arrays = {key: data[key] for key in data}
    numbers, positions, cell, pbc = (arrays[f"{letter}_{name}"] for name in ("numbers", "positions", "cell", "pbc"))
    radial = [(0.0, 0.0), *arrays["g2_eta_rs_A"].tolist()]
    acsf = ACSF(float(arrays["r_cut_A"]), radial, arrays["g4_eta_zeta_lambda_A"].tolist())
    values = acsf.fit_transform([Atoms(numbers, positions=positions, cell=cell, pbc=pbc)])[0].values
    assert_close(values, arrays[f"{letter}_acsf"], "G[center, function]", rtol=VALUES)


# --- The twin --------------------------------------------------------------------------------------------------------

ANGULAR = [(0.1, 1, 1), (0.1, 4, -1), (0.2, 2.5, -1, 1.0), (0.3, 3, 0.5, 0.0, 3.1), (0.0, 1.0, 0.0), (0.25, 16, 1)]


def random_parameters(seed):
    """Parameters of every kind for Mo and Ni: lists or dicts, cutoffs of their own, whole and other powers."""
    rng = np.random.default_rng(seed)

    def some(functions):
        return [functions[k] for k in rng.permutation(len(functions))[: rng.integers(1, len(functions) + 1)]]

    radial = some([(0.0, 0.0), (0.5, 1.2), (0.25, 0.0, 3.3), (0.5, 0.0), (2.0, 2.1), (0.125, 0.0), (9.0, 2.6, 4.0)])
    angular, wide = some(ANGULAR), some(ANGULAR)
    if seed % 2:
        radial = {("Mo", "Ni"): radial, ("Ni", "Ni"): radial[:1]}
        angular = {("Mo", "Ni", "Mo"): angular, ("Ni", "Ni", "Ni"): angular[:2], ("Mo", "Ni", "Ni"): angular[-1:]}
        wide = {("Ni", "Mo", "Mo"): wide}
    return {
        "cutoff": rng.uniform(4.0, 4.8),
        "radial": radial,
        "angular": angular,
        "wide": wide,
        "cutoff_function": CUTOFF_FUNCTIONS[seed % len(CUTOFF_FUNCTIONS)],
        "inner_cutoff": rng.choice([0.0, 0.3, 0.8]),
    }


def check_equals_the_twin(descriptor, atoms, what):
    functions = dict(zip(descriptor.species_, descriptor.functions_, strict=True))
    expected = acsf_of(atoms, functions, descriptor.cutoff_function, descriptor.inner_cutoff)
    values = descriptor.values(NeighborPairs.from_atoms(atoms, descriptor.cutoff_ + 0.4))
    assert_close(values, expected, what, rtol=VALUES)


@pytest.mark.parametrize("seed", range(18))
def test_values_equal_the_twin(seed):
    descriptor = ACSF(**random_parameters(seed), species=("Mo", "Ni"))
    for name, atoms in awkward_structures().items():
        check_equals_the_twin(descriptor.fit([atoms]), atoms, name)


def test_three_species_equal_the_twin():
    atoms = awkward_structures(("Mo", "Ni", "Cu"))["triclinic"]
    check_equals_the_twin(ACSF(3.9, species=("Ni", "Cu", "Mo")).fit([atoms]), atoms, "three species")


def test_more_neighbors_than_a_block_equal_the_twin():
    """Triplets are taken in blocks; a block ends anywhere within the neighbors of one."""
    atoms = crystal(("Mo", "Ni"), (2, 2, 2), spacing=1.6)
    descriptor = ACSF(4.5, [(0.1, 0.0)], [(0.1, 2, 1)], [(0.1, 2, -1)]).fit([atoms])
    check_equals_the_twin(descriptor, atoms, "dense crystal")


def test_atoms_in_line_count():
    """1 + λ cos θ is zero there, and its powers and their derivatives finite."""
    atoms = molecule("C2H2")  # a line
    descriptor = ACSF(4.0, [], [(0.2, zeta, lambda_) for zeta in (1, 1.5, 2, 3.7) for lambda_ in (-1, 1)]).fit([atoms])
    check_equals_the_twin(descriptor, atoms, "acetylene")
    jacobian = descriptor.jacobian(NeighborPairs.from_atoms(atoms, 4.0))
    assert np.isfinite(jacobian).all()
    np.testing.assert_allclose(jacobian[:, :2], 0.0, atol=1e-7)  # no first-order change across the line
