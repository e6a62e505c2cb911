"""Structures from and to MLIP's .cfg files."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st

from mlfeat import make_targets
from mlfeat.io import read_cfg, write_cfg

FILE = """BEGIN_CFG
 Size
    2
 Supercell
         4.000000      0.000000      0.000000
         0.500000      5.000000      0.000000
         0.000000      0.000000      2.5
 AtomData:  id type       cartes_x      cartes_y      cartes_z           fx          fy          fz
             1    1       0.000000      0.100000      0.000000    0.000000   -0.020000    1e-3
             2    0       2.000000      2.500000      1.000000    0.000000    0.020000   -.001
 Energy
        -17.250000000000
 PlusStress:  xx          yy          zz          yz          xz          xy
         1.00000     2.00000     3.00000     4.00000     5.00000     6.00000
 Feature   EFS_by\tVASP
 Feature   mindist\t2.500000
END_CFG

"""


def read_text(tmp_path, text, species=("Ni", "Mo")):
    path = tmp_path / "a.cfg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_cfg(path, species)


def replaced(old, new, text=FILE):
    assert old in text
    return text.replace(old, new, 1)


def calculated(atoms, seed=0, **results):
    """The structure with results out of the air."""
    rng = np.random.default_rng(seed)
    results = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3))} | results
    if atoms.pbc.all():
        results.setdefault("stress", rng.normal(size=6) / 7)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def assert_same(ours, theirs):
    """The same to the last bit, less the rounding of a stress."""
    assert ours.get_chemical_symbols() == theirs.get_chemical_symbols()
    np.testing.assert_array_equal(ours.positions, theirs.positions)
    np.testing.assert_array_equal(ours.cell[ours.pbc], theirs.cell[theirs.pbc])
    np.testing.assert_array_equal(ours.pbc, theirs.pbc)
    assert ours.calc.results.keys() == theirs.calc.results.keys()
    for name, value in ours.calc.results.items():
        rtol = 3e-16 if name == "stress" else 0
        np.testing.assert_allclose(value, theirs.calc.results[name], rtol=rtol, atol=0)
    assert ours.info == theirs.info


# --- reading -------------------------------------------------------------------------------------


def test_a_file_of_mlip_is_read(tmp_path):
    (atoms,) = read_text(tmp_path, FILE)
    assert atoms.get_chemical_symbols() == ["Mo", "Ni"]
    assert atoms.pbc.all()
    np.testing.assert_array_equal(atoms.cell, [[4, 0, 0], [0.5, 5, 0], [0, 0, 2.5]])
    np.testing.assert_array_equal(atoms.positions, [[0, 0.1, 0], [2, 2.5, 1]])
    (targets,) = make_targets([atoms])
    assert targets["energy"] == -17.25
    np.testing.assert_array_equal(targets["forces"], [[0, -0.02, 0.001], [0, 0.02, -0.001]])
    np.testing.assert_allclose(targets["stress"], -np.arange(1, 7) / 50, rtol=1e-15)
    assert atoms.info == {"EFS_by": "VASP", "mindist": 2.5}


def test_plus_stress_is_minus_the_derivative_of_the_energy_with_respect_to_strain(tmp_path):
    atoms = bulk("Cu", cubic=True, a=3.5)
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    path = write_cfg(tmp_path / "a.cfg", [atoms])
    virial = np.array(path.read_text().split("PlusStress:")[1].split()[6:12], dtype=float)
    for (a, b), value in zip([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)], virial, strict=True):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * 1e-5
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain.T, scale_atoms=True)
            strained.calc = EMT()
            energies.append(strained.get_potential_energy())
        np.testing.assert_allclose(value, -(energies[0] - energies[1]) / 2e-5, rtol=1e-6)


def test_columns_and_components_are_read_in_any_order(tmp_path):
    (expected,) = read_text(tmp_path, FILE)
    old = "AtomData:  id type       cartes_x      cartes_y      cartes_z"
    text = replaced(old, "Atomic_data: fx cartes_z type cartes_x")
    text = replaced("           fx          fy          fz\n", " cartes_y id fz fy\n", text)
    lines = text.splitlines()
    lines[8] = "0 0 1 0 0.1 1 0.001 -0.02"
    lines[9] = "0 1 0 2 2.5 2 -0.001 0.02"
    lines[12:14] = ["PlusStress: xy xz yz zz yy xx", "6 5 4 3 2 1"]
    text = "\n".join(lines).replace("Supercell", "SuperCell")
    (atoms,) = read_text(tmp_path, text)
    assert_same(atoms, expected)


def test_fields_are_read_in_any_order_and_on_the_line_of_their_name(tmp_path):
    (expected,) = read_text(tmp_path, FILE)
    lines = FILE.splitlines()
    text = "\r\n".join(
        ["BEGIN_CFG", "Energy -17.25", *lines[12:16], "Size 2", *lines[7:10], *lines[3:7], "END_CFG"]
    )
    (atoms,) = read_text(tmp_path, text)
    assert_same(atoms, expected)


def test_direct_coordinates_are_those_of_the_cell(tmp_path):
    text = FILE.replace("cartes_", "direct_").replace("2.000000      2.500000      1.000000", "0.25 0.5 1.5")
    (atoms,) = read_text(tmp_path, text)
    np.testing.assert_allclose(atoms.positions[1], [1.25, 2.5, 3.75], rtol=1e-15)


def test_a_file_without_types_has_one_species(tmp_path):
    text = FILE.replace("id type", "id").replace("1    1 ", "1 ").replace("2    0 ", "2 ")
    (atoms,) = read_text(tmp_path, text, "Ni")
    assert atoms.get_chemical_symbols() == ["Ni", "Ni"]


CELLS = {
    "none": ([], [False, False, False]),
    "one": (["1 2 3"], [True, False, False]),
    "two": (["1 2 3", "0 1 0"], [True, True, False]),
    "third": (["0 0 0", "0 0 0", "0 0 1"], [False, False, True]),
    "three": (["1 2 3", "0 1 0", "0 0 1"], [True, True, True]),
}


@pytest.mark.parametrize(("rows", "pbc"), CELLS.values(), ids=CELLS)
def test_a_structure_is_periodic_along_the_vectors_given(tmp_path, rows, pbc):
    lines = FILE.splitlines()
    lines[3:7] = ["Supercell", *rows] if rows else []
    (atoms,) = read_text(tmp_path, "\n".join(lines))
    np.testing.assert_array_equal(atoms.pbc, pbc)
    expected = np.array(" ".join([*rows, *["0 0 0"] * (3 - len(rows))]).split(), dtype=float)
    np.testing.assert_array_equal(atoms.cell.array.ravel(), expected)
    assert ("stress" in atoms.calc.results) == all(pbc)


def test_columns_of_atoms_are_read(tmp_path):
    text = replaced("fz\n", "fz site_en charge nbh_grades\n")
    text = replaced("1e-3\n", "1e-3 -8 0.5 1.5\n", text)
    text = replaced("-.001\n", "-.001 -9.25 -0.5 0\n", text)
    (atoms,) = read_text(tmp_path, text)
    np.testing.assert_array_equal(atoms.calc.results["energies"], [-8, -9.25])
    np.testing.assert_array_equal(atoms.calc.results["charges"], [0.5, -0.5])
    np.testing.assert_array_equal(atoms.arrays["nbh_grades"], [1.5, 0])


FEATURES = {
    "EFS_by       VASP": ("EFS_by", "VASP"),
    "mindist\t2.5": ("mindist", 2.5),
    "ID\t12": ("ID", 12),
    "ID\t007": ("ID", "007"),
    "commit\t1e5": ("commit", "1e5"),
    "a\\_b\\tc\tx  y": ("a b\tc", "x  y"),
    "relaxed\tTrue": ("relaxed", True),
    "empty": ("empty", ""),
    "text\tone\n Feature   text\t\n Feature text\tthree": ("text", "one\n\nthree"),
    "Feature\tFeature": ("Feature", "Feature"),
}


@pytest.mark.parametrize(("line", "expected"), FEATURES.items())
def test_features_are_read(tmp_path, line, expected):
    (atoms,) = read_text(tmp_path, replaced("EFS_by\tVASP", line).replace(" Feature   mindist\t2.500000\n", ""))
    assert atoms.info == dict([expected])
    assert type(atoms.info[expected[0]]) is type(expected[1])


def test_what_a_file_does_not_have_is_missing(tmp_path):
    (atoms,) = read_text(tmp_path, "BEGIN_CFG\nSize 1\nAtomData: cartes_x cartes_y cartes_z\n0 0 1\nEND_CFG")
    assert atoms.calc is None
    assert atoms.info == {}


BAD = {
    "empty": ("", "has no structure; each should begin with BEGIN_CFG"),
    "other file": ("Lattice\n", "line 1: expected BEGIN_CFG, not 'Lattice'"),
    "binary": (b"\0\1\xff\xfe", "line 1: expected BEGIN_CFG"),
    "words behind": (replaced("BEGIN_CFG", "BEGIN_CFG 1"), "line 1: expected BEGIN_CFG, not 'BEGIN_CFG 1'"),
    "no end": (replaced("END_CFG\n", ""), "the file ends where END_CFG should follow; it is truncated"),
    "no end between": (replaced("END_CFG\n", FILE), "line 17: unknown field 'BEGIN_CFG'. END_CFG of the"),
    "field": (replaced("Energy", "Enthalpy"), "line 11: unknown field 'Enthalpy'"),
    "old stress": (replaced("PlusStress", "Stress"), "line 13: unknown field 'Stress:'. Old .* to PlusStress"),
    "twice": (replaced(" Feature", " Energy\n 1\n Feature"), "line 15: Energy occurs twice; is END_CFG missing"),
    "no atoms": ("BEGIN_CFG\nSize 2\nEND_CFG\n", "line 1: the structure has no atoms .AtomData.; remove it"),
    "no size": (replaced(" Size\n    2\n", ""), "line 6: AtomData without Size before it"),
    "size": (replaced("    2\n", "  two\n"), "line 3: the number of atoms should be an integer, not 'two'"),
    "size 0": (replaced("    2\n", "  0\n"), "line 3: the number of atoms should be positive, not 0"),
    "size words": (replaced("    2\n", "  2 2\n"), "line 3: expected the number of atoms, one number, not '2 2'"),
    "large": (replaced("    2\n", "  2000000000\n"), "line 11: expected atom 3 of 2000000000, .* not 1; Size or"),
    "small": (replaced("    2\n", "  1\n"), "line 10: unknown field '2'"),
    "vector": (replaced("0.500000      5.000000", "5.5"), "line 6: expected vector 2 of Supercell, 3 numbers, not 2"),
    "vector word": (replaced("0.500000      5", "0.5.1 5"), "line 6: y of vector|line 6: x of vector 2 .* not '0.5.1'"),
    "dependent": (replaced("0.500000      5", "0.5 0"), "line 4: the vectors of Supercell are not independent"),
    "cell line": (replaced("Supercell\n", "Supercell "), "line 4: the vectors of Supercell should follow on lines of"),
    "column": (replaced("           fx", " magmom"), "line 8: unknown column 'magmom' of AtomData; known are cartes_x"),
    "column twice": (replaced("id type", "type type"), "line 8: column type of AtomData occurs twice"),
    "no y": (replaced("cartes_y", ""), "line 8: AtomData should have all of cartes_x, cartes_y, cartes_z, or none"),
    "no fy": (replaced("fy", ""), "line 8: AtomData should have all of fx, fy, fz, or none"),
    "no place": (FILE.replace("cartes_x      cartes_y      cartes_z", ""), "line 8: AtomData should have the pos"),
    "two places": (
        replaced("id type", "direct_x direct_y direct_z"),
        "line 8: AtomData should have the positions of atoms, either",
    ),
    "row": (replaced("   1e-3", ""), "line 9: expected atom 1 of 2, 8 columns as AtomData says, not 7"),
    "no number": (replaced("1e-3", "nan"), "line 9: fz of atom 1 should be a finite number, not 'nan'"),
    "order": (replaced("  2    0", "  3    0"), "line 10: the id of atom 2 is 3; sort the atoms by their id"),
    "type": (replaced("  2    0", "  2    2"), "line 1: atom 2 of .* of type 2, but species has 2, Ni, Mo"),
    "negative": (replaced("  2    0", "  2   -1"), "line 1: atom 2 of the structure .* of type -1"),
    "energy": (replaced("-17.250000000000", "-17,25"), "line 12: the energy should be a finite number, not '-17,25'"),
    "components": (replaced("xx          yy", "xx xx"), "line 13: the columns of PlusStress should be xx yy zz"),
    "stress": (replaced("5.00000     6", "6"), "line 14: expected PlusStress, 6 numbers, not 5"),
    "stress word": (replaced("5.00000     6", "x 6"), "line 14: xz of PlusStress should be a finite number, not 'x'"),
    "feature": (replaced("EFS_by\tVASP", ""), "line 15: Feature without a name"),
    "direct": (
        re.sub("Supercell(\n.*){3}", "", FILE).replace("cartes", "direct"),
        "line 1: direct coordinates need the three vectors of Supercell",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.cfg(:|,) .*({message})"):
        read_text(tmp_path, text)


def test_errors_name_the_structure(tmp_path):
    with pytest.raises(ValueError, match="^structure 2 of .*a.cfg, line 44: unknown column 'id2'"):
        read_text(tmp_path, FILE + FILE + replaced("id type", "id2 type"))


def test_every_cut_is_an_error(tmp_path):
    for stop in range(1, len(FILE) - 2):
        with pytest.raises(ValueError, match="a.cfg"):
            read_text(tmp_path, FILE[:stop])


@given(st.binary(max_size=100), st.integers(0, len(FILE)))
@settings(max_examples=100, deadline=None)
def test_noise_is_a_clear_error_if_it_is_one(tmp_path_factory, noise, place):
    path = tmp_path_factory.mktemp("noise")
    assert complaint(path, FILE.encode()[:place] + noise + FILE.encode()[place:]) in (None, str(path / "a.cfg"))


def complaint(path, text):
    """The file that the error of reading a text names."""
    try:
        read_text(path, text)
    except ValueError as error:
        return re.match(r"(?:structure \d+ of )?([^,:]*)[,:]", str(error))[1]


# --- species -------------------------------------------------------------------------------------


def test_types_need_elements(tmp_path):
    with pytest.raises(ValueError, match="structure 0 of .*line 1: the file does not say which .* pass species"):
        read_text(tmp_path, FILE, None)


@pytest.mark.parametrize("species", [[], ["Ni", "Ni"], ["Ni", "Xx"], ["X"], [28, 42]])
def test_species_are_different_elements(tmp_path, species):
    with pytest.raises(ValueError, match="should be symbols of different elements, one for each type"):
        read_text(tmp_path, FILE, species)


def test_a_file_of_ours_says_its_species(tmp_path):
    atoms = calculated(Atoms("NiMo", [[0, 0, 0], [0, 0, 2]]))
    path = write_cfg(tmp_path / "a.cfg", [atoms])
    assert [line.split()[1] for line in path.read_text().splitlines()[4:6]] == ["1", "0"]
    assert read_cfg(path)[0].get_chemical_symbols() == ["Ni", "Mo"]
    path = write_cfg(path, [atoms], species=("Ni", "W", "Mo"))
    assert [line.split()[1] for line in path.read_text().splitlines()[4:6]] == ["0", "2"]
    assert read_cfg(path)[0].get_chemical_symbols() == ["Ni", "Mo"]
    with pytest.raises(ValueError, match="species is Mo, Ni, but species_of_types of the structure is Ni,W,Mo"):
        read_cfg(path, ["Mo", "Ni"])


def test_a_name_that_is_no_element_is_refused(tmp_path):
    with pytest.raises(ValueError, match="line 1: 'Xx' .species_of_types. is not the symbol of an element"):
        read_text(tmp_path, replaced("EFS_by\tVASP", "species_of_types\tNi,Xx"), None)


def test_structures_of_other_species_are_refused(tmp_path):
    structures = [calculated(Atoms("Ni")), calculated(Atoms("NiWMo", np.eye(3)))]
    with pytest.raises(ValueError, match="structure 1 has Mo, W, but species is Ni; add what is missing"):
        write_cfg(tmp_path / "a.cfg", structures, species="Ni")
    assert list(tmp_path.iterdir()) == []


# --- round trips ---------------------------------------------------------------------------------


def examples():
    cell = np.random.default_rng(1).normal(size=(3, 3)) + 4 * np.eye(3)
    alloy = Atoms("NiMoNi", np.random.default_rng(2).normal(size=(3, 3)) * 1e-3, cell=cell, pbc=True)
    slab = fcc111("Ni", (1, 1, 2), vacuum=3.0)
    wire = alloy.copy()
    wire.pbc = (False, False, True)
    molecule = Atoms("Mo2", [[0, 0, 0], [0, 1e-9, 2 / 3]])
    info = {"group": "Surface", "n": 3, "x": 1e-7 / 3, "flag": True, "a b": "two words\n\nÅ \udcff"}
    alloy.info, slab.info, wire.info, molecule.info = info, {"v": 1e22}, {}, {"Feature": "1.5x"}
    return [calculated(atoms, seed) for seed, atoms in enumerate([alloy, slab, wire, molecule])]


def test_what_is_written_is_read(tmp_path):
    structures = examples()
    again = read_cfg(write_cfg(tmp_path / "a.cfg", structures))
    for ours, theirs in zip(again, structures, strict=True):
        assert_same(ours, theirs)
        assert ours.cell.rank == ours.pbc.sum()


def test_what_is_read_is_written_the_same(tmp_path):
    rng = np.random.default_rng(0)
    structures = [
        calculated(Atoms("Ni", cell=np.diag(rng.uniform(2, 9, 3)), pbc=True), seed, stress=rng.normal(size=6) * 10.0**e)
        for seed, e in enumerate(rng.integers(-6, 3, 200))
    ]
    first = read_cfg(write_cfg(tmp_path / "a.cfg", structures))
    second = read_cfg(write_cfg(tmp_path / "b.cfg", first))
    for ours, theirs in zip(second, first, strict=True):
        np.testing.assert_array_equal(ours.calc.results["stress"], theirs.calc.results["stress"])
    assert sum(np.array_equal(a.get_stress(), b.get_stress()) for a, b in zip(first, structures, strict=True)) > 50


def test_energies_and_charges_of_atoms_and_grades_survive(tmp_path):
    atoms = calculated(Atoms("Ni2", np.eye(3)[:2]), energies=np.array([0.1, -1 / 3]), charges=np.array([1e-12, -2.0]))
    atoms.set_array("nbh_grades", np.array([0.5, 1.5]))
    (again,) = read_cfg(write_cfg(tmp_path / "a.cfg", [atoms]))
    assert_same(again, atoms)
    np.testing.assert_array_equal(again.arrays["nbh_grades"], atoms.arrays["nbh_grades"])


def test_targets_beside_a_calculator_are_written(tmp_path):
    atoms = Atoms("Ni", cell=np.eye(3) * 2, pbc=True)
    atoms.info.update(energy=-1.5, stress=np.diag([1.0, 2.0, 3.0]), virial=np.eye(3), table={"a": 1})
    atoms.set_array("forces", np.array([[1.0, 2.0, 3.0]]))
    (again,) = read_cfg(write_cfg(tmp_path / "a.cfg", [atoms]))
    assert repr(make_targets([again])) == repr(make_targets([atoms]))
    assert again.info == {}


def test_structures_without_results_are_written(tmp_path):
    (again,) = read_cfg(write_cfg(tmp_path / "a.cfg", [bulk("Ni")]))
    assert again.calc is None
    assert again == bulk("Ni")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    atoms = calculated(Atoms("Ni"), energy=np.nan)
    with pytest.raises(ValueError, match="structure 1: energy must be finite"):
        write_cfg(tmp_path / "a.cfg", [Atoms("Ni"), atoms])
    with pytest.raises(ValueError, match="structure 0: charges must be finite"):
        write_cfg(tmp_path / "a.cfg", [calculated(Atoms("Ni"), charges=np.array([np.inf]))])
    assert list(tmp_path.iterdir()) == []


def test_one_structure_and_no_structure_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"pass \[atoms\]"):
        write_cfg(tmp_path / "a.cfg", Atoms("Ni"))
    with pytest.raises(ValueError, match="empty list"):
        write_cfg(tmp_path / "a.cfg", [])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*missing; create it first"):
        write_cfg(tmp_path / "missing" / "a.cfg", [Atoms("Ni")])


@pytest.mark.parametrize("name", ["Li", "Mo", "Ni", "Si"])
def test_published_data_survive(shared, tmp_path, name):
    structures = read(shared / "data" / "zuo2020" / name / "test.xyz", ":")
    path = write_cfg(tmp_path / "a.cfg", structures)
    ours, theirs = make_targets(read_cfg(path)), make_targets(structures)
    np.testing.assert_array_equal(ours["energy"], theirs["energy"])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a["forces"], b["forces"])
        np.testing.assert_allclose(a["stress"], b["stress"], rtol=3e-16)


# --- motep ---------------------------------------------------------------------------------------


def test_motep_reads_and_writes_the_same(tmp_path):
    cfg = pytest.importorskip("motep.io.mlip.cfg", reason="motep is not installed")
    structures = [atoms for atoms in examples() if atoms.pbc.all() or not atoms.pbc.any()]
    structures[0].info = {"group": "Surface", "n": 3}
    path = str(write_cfg(tmp_path / "a.cfg", structures, species=["Ni", "Mo"]))
    theirs = cfg.read_cfg(path, ":", species=["Ni", "Mo"])
    for ours, other in zip(read_cfg(path), theirs, strict=True):
        assert_same_numbers(ours, other, 0)
        assert ours.info == {key: value for key, value in other.info.items() if key != "species_of_types"}
    cfg.write_cfg(str(tmp_path / "b.cfg"), theirs, species=["Ni", "Mo"])
    for ours, other in zip(read_cfg(tmp_path / "b.cfg", ["Ni", "Mo"]), theirs, strict=True):
        assert_same_numbers(ours, other, 1e-5)  # motep writes no more digits


def assert_same_numbers(ours, theirs, atol):
    assert ours.get_chemical_symbols() == theirs.get_chemical_symbols()
    np.testing.assert_allclose(ours.positions, theirs.positions, rtol=0, atol=atol)
    np.testing.assert_allclose(ours.cell, theirs.cell, rtol=0, atol=atol)
    for name, value in ours.calc.results.items():
        np.testing.assert_allclose(value, theirs.calc.results[name], rtol=0, atol=atol)
