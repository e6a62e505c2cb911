"""Structures from files of other programs: the same structures come back, whatever the format."""

import gzip
import json
import re

import ase.db
import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mlfeat import make_targets
from mlfeat.io import describe_structures, read_structures, write_cfg

KBAR = 0.1 * units.GPa
FULL = [0, 5, 4, 5, 1, 3, 4, 3, 2]  # of six components, a matrix


def labeled(atoms):
    """The structure with what EMT says, as files hold it."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystals(n=3):
    """Skewed, rattled cells, so that every component counts."""
    found = []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.numbers[-1] = 28
        strain = np.random.default_rng(seed).uniform(-0.04, 0.04, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.rattle(0.05, seed=seed)
        found.append(labeled(atoms))
    return found


STRUCTURES = crystals()


def check_same(found, expected=STRUCTURES, stress=True, tolerance=1e-6):
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        assert list(own.symbols) == list(other.symbols)
        np.testing.assert_allclose(own.cell.array, other.cell.array, atol=tolerance)
        np.testing.assert_allclose(own.positions, other.positions, atol=tolerance)
        np.testing.assert_array_equal(own.pbc, other.pbc)
    found, expected = make_targets(found), make_targets(expected)
    np.testing.assert_allclose(found["energy"], expected["energy"], atol=tolerance)
    for own, other in zip(found["forces"], expected["forces"], strict=True):
        np.testing.assert_allclose(own, other, atol=tolerance)
    if stress:
        np.testing.assert_allclose(found["stress"], expected["stress"], atol=tolerance)
    else:
        assert np.isnan(found["stress"]).all()


# --- a writer of each format ---------------------------------------------------------------------


def _matrix(values):
    return " ".join(f"{values[k]:.12f}" for k in FULL)


def write_xyz(path, energy="energy", forces="forces", stress="stress", structures=STRUCTURES, group=None):
    lines = []
    for atoms in structures:
        value = atoms.get_stress() * (-atoms.get_volume() if "virial" in stress else 1)
        cell = " ".join(f"{x:.12f}" for x in atoms.cell.array.ravel())
        label = f" {group}" if group else ""
        lines += [
            f"{len(atoms)}",
            f'Lattice="{cell}" Properties=species:S:1:pos:R:3:{forces}:R:3 pbc="T T T"{label} '
            f'{energy}={atoms.get_potential_energy():.12f} {stress}="{_matrix(value)}"',
        ]
        for symbol, *rows in zip(atoms.symbols, atoms.positions, atoms.get_forces(), strict=True):
            lines.append(" ".join([symbol, *(f"{x:.12f}" for x in np.concatenate(rows))]))
    path.write_text("\n".join([*lines, ""]))
    return path


def write_outcar(path):
    lines = [" vasp.6.4.2 20Jul23 complex", " POTCAR:    PAW_PBE Cu 22Jun2005", " POTCAR:    PAW_PBE Ni 02Aug2007"]
    lines += [
        " POTCAR:    PAW_PBE Cu 22Jun2005",
        " POTCAR:    PAW_PBE Ni 02Aug2007",
        "   ions per type =               3   1",
    ]
    for k, atoms in enumerate(STRUCTURES, start=1):
        stress, energy = -atoms.get_stress() / KBAR, atoms.get_potential_energy()
        lines.append(f"--- Iteration {k:6d}(   1)  ---")
        lines.append("  in kB  " + " ".join(f"{stress[m]:.8f}" for m in (0, 1, 2, 5, 3, 4)))
        lines.append("      direct lattice vectors                 reciprocal lattice vectors")
        lines += [" ".join(f"{x:.9f}" for x in [*row, 0, 0, 0]) for row in atoms.cell.array]
        lines += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " ---"]
        rows = np.hstack([atoms.positions, atoms.get_forces()])
        lines += [" ".join(f"{x:.9f}" for x in row) for row in rows]
        lines += [
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            "  ---",
            f"  free  energy   TOTEN  =  {energy:.8f} eV",
        ]
        lines += ["", f"  energy  without entropy=  {energy:.8f}  energy(sigma->0) =  {energy + 0.25:.8f}"]
    path.write_text("\n".join([*lines, " General timing and accounting informations for this job:", ""]))
    return path


def _varray(name, rows):
    return (
        f'<varray name="{name}">' + "".join(f"<v>{' '.join(map(repr, map(float, r)))}</v>" for r in rows) + "</varray>"
    )


def _xml_structure(atoms, name=""):
    scaled = _varray("positions", atoms.get_scaled_positions(wrap=False))
    return f"<structure{name}><crystal>{_varray('basis', atoms.cell.array)}</crystal>{scaled}</structure>"


def write_vasprun(path, head='<?xml version="1.0" encoding="ISO-8859-1"?>'):
    entries = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in STRUCTURES[0].symbols)
    parts = [head, "<modeling>", '<kpoints><varray name="kpointlist"><v>0 0 0</v></varray>']
    parts += ['<varray name="weights"><v>1</v></varray></kpoints><parameters></parameters>']
    parts += [f'<atominfo><array name="atoms"><set>{entries}</set></array></atominfo>']
    parts += [_xml_structure(STRUCTURES[0], ' name="initialpos"')]
    for atoms in STRUCTURES:
        stress, e = -atoms.get_stress()[FULL].reshape(3, 3) / KBAR, float(atoms.get_potential_energy())
        energy = f'<energy><i name="e_fr_energy">{e!r}</i><i name="e_0_energy">{e + 0.25!r}</i></energy>'
        parts += [f"<calculation><scstep>{energy}</scstep>{_xml_structure(atoms)}"]
        parts += [_varray("forces", atoms.get_forces()), _varray("stress", stress), f"{energy}</calculation>"]
    path.write_text("\n".join([*parts, "</modeling>", ""]))
    return path


def _record(atoms, order=("xy", "yz", "xz"), group="Elastic"):
    sites = [
        {"species": [{"element": s, "occu": 1}], "abc": list(map(float, scaled)), "label": s}
        for s, scaled in zip(atoms.symbols, atoms.get_scaled_positions(wrap=False), strict=True)
    ]
    stress = dict(zip(("xx", "yy", "zz", "yz", "xz", "xy"), -atoms.get_stress() / KBAR, strict=True))
    outputs = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
    outputs["virial_stress"] = [stress[name] for name in ("xx", "yy", "zz", *order)]
    structure = {"@class": "Structure", "lattice": {"matrix": atoms.cell.array.tolist()}, "sites": sites}
    return {"structure": structure, "outputs": outputs, "group": group, "tag": "train", "num_atoms": len(atoms)}


def write_json(path, **kwargs):
    path.write_text(json.dumps([_record(atoms, **kwargs) for atoms in STRUCTURES]))
    return path


def write_n2p2(path, length=1.0, energy=1.0):
    lines = []
    for atoms in STRUCTURES:
        lines += ["begin", "comment made for a test"]
        lines += ["lattice " + " ".join(f"{x / length:.12f}" for x in row) for row in atoms.cell.array]
        for symbol, x, f in zip(
            atoms.symbols, atoms.positions / length, atoms.get_forces() * length / energy, strict=True
        ):
            x, f = (" ".join(f"{value:.12f}" for value in row) for row in (x, f))
            lines.append(f"atom {x} {symbol} 0.0 0.0 {f}")
        lines += [f"energy {atoms.get_potential_energy() / energy:.12f}", "charge 0.0", "end"]
    path.write_text("\n".join([*lines, ""]))
    return path


def write_dump(path, head="ITEM: TIMESTEP\n0\n", structures=STRUCTURES):
    """Structures in LAMMPS' frame, which is that of the ones that come back."""
    lines, expected = [], []
    for atoms in structures:
        turned, rotation = atoms.cell.standard_form()
        own = atoms.copy()
        own.set_cell(turned)
        own.positions = atoms.positions @ rotation.T
        own = labeled(own)
        expected.append(own)
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = turned.array
        bounds = [
            (min(0, xy, xz, xy + xz), lx + max(0, xy, xz, xy + xz), xy),
            (min(0, yz), ly + max(0, yz), xz),
            (0.0, lz, yz),
        ]
        calculator = EMT()
        own_energies = calculator.get_property("energies", own.copy())
        lines += [head.strip(), "ITEM: NUMBER OF ATOMS", f"{len(own)}", "ITEM: BOX BOUNDS xy xz yz pp pp pp"]
        lines += [" ".join(f"{x:.12f}" for x in row) for row in bounds]
        lines.append("ITEM: ATOMS id type x y z fx fy fz c_pe " + " ".join(f"c_s[{k}]" for k in range(1, 7)))
        stress = own.get_stress()[[0, 1, 2, 5, 4, 3]] * own.get_volume() / len(own) / (1e-4 * units.GPa)
        for k in reversed(range(len(own))):
            row = [*own.positions[k], *own.get_forces()[k], own_energies[k], *stress]
            lines.append(f"{k + 1} {1 + (own.symbols[k] == 'Ni')} " + " ".join(f"{x:.12f}" for x in row))
    path.write_text("\n".join([*lines, ""]))
    return path, expected


# --- known answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energy", "forces", "stress"),
    [
        ("energy", "forces", "stress"),
        ("energy", "force", "virial"),
        ("dft_energy", "dft_force", "dft_virial"),
        ("dft_energy", "dft_forces", "dft_stress"),
        ("DFT_energy", "DFT_forces", "DFT_virial"),
        ("REF_energy", "REF_forces", "REF_stress"),
        ("REF_energy", "REF_forces", "REF_virials"),
        ("energy_dft", "forces_dft", "virials"),
        ("Energy", "Forces", "Stress"),
    ],
)
def test_usual_names_in_extended_xyz(tmp_path, energy, forces, stress):
    found = read_structures(write_xyz(tmp_path / "a.xyz", energy, forces, stress))
    check_same(found)
    assert energy == "energy" or energy not in found[0].info, "the same number twice"


def test_named_keys(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", "e_total", "f", "my_virial")
    with pytest.warns(UserWarning, match=r"no structure has an energy; the first one has f, e_total|e_total, f"):
        assert read_structures(path)[0].calc is None
    assert read_structures(path, check=False)[0].calc is None
    keys = {"energy_key": "e_total", "forces_key": "f", "virial_key": "my_virial"}
    check_same(read_structures(path, **keys))
    with pytest.raises(ValueError, match="no structure has 'e_tot', which energy_key asks for"):
        read_structures(path, **keys | {"energy_key": "e_tot"})


def test_two_energies_are_a_warning_and_the_key_decides(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", "dft_energy=1.5 energy")
    with pytest.warns(UserWarning, match=r"a.xyz@0: 'energy' and 'dft_energy' differ"):
        check_same(read_structures(path))
    assert read_structures(path, energy_key="dft_energy", check=False)[1].get_potential_energy() == 1.5


def test_outcar_has_all_steps_and_the_free_energy(tmp_path):
    path = write_outcar(tmp_path / "OUTCAR")
    check_same(read_structures(path))
    by_zero = read_structures(path, index=-1, energy_key="energy", check=False)[0]
    assert by_zero.get_potential_energy() == pytest.approx(STRUCTURES[-1].get_potential_energy() + 0.25)


def test_vasprun_has_all_steps_and_the_free_energy(tmp_path):
    path = write_vasprun(tmp_path / "vasprun.xml")
    check_same(read_structures(path))
    by_zero = read_structures(path, index=0, energy_key="energy", check=False)[0]
    assert by_zero.get_potential_energy() == pytest.approx(STRUCTURES[0].get_potential_energy() + 0.25)


def test_vasprun_with_entities_is_refused(tmp_path):
    bomb = '<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    with pytest.raises(ValueError, match="DTDForbidden"):
        read_structures(write_vasprun(tmp_path / "vasprun.xml", bomb))


@pytest.mark.parametrize("order", [("xy", "yz", "xz"), ("xy", "xz", "yz")])
def test_json_of_pymatgen(tmp_path, order):
    path = write_json(tmp_path / "train.json", order=order)
    found = read_structures(path, shear_order=order)
    check_same(found)
    assert found[0].info["group"] == "Elastic"
    assert found[0].info["source"] == f"{path}@0"
    check_same(read_structures(path, shear_order={"Elastic": order, "AIMD": ("yz", "xz", "xy")}))
    zipped = tmp_path / "train.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    check_same(read_structures(zipped, shear_order=order))


def test_json_misuse(tmp_path):
    path = write_json(tmp_path / "train.json")
    with pytest.raises(ValueError, match="should be xy, yz and xz in some order"):
        read_structures(path, shear_order=("xx", "yz", "xz"))
    records = json.loads(path.read_text())
    records[1]["structure"]["sites"][0]["species"] = [{"element": "Cu", "occu": 0.5}, {"element": "Ni", "occu": 0.5}]
    path.write_text(json.dumps(records))
    with pytest.raises(ValueError, match="structure 1 of .*a site is occupied by"):
        read_structures(path)
    path.write_text(json.dumps([{"structure": {}, "outputs": {}}]))
    with pytest.raises(ValueError, match="structure 0 of .*expected a record with 'structure'"):
        read_structures(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forces": [[0.0, 0.0, 0.0]]}, r"structure 1 of .*forces of shape \(1, 3\) for 4 atoms"),
        ({"stress": [0.0] * 6}, "structure 1 of .*both 'virial_stress' and 'stress'"),
    ],
)
def test_outputs_in_json_that_cannot_be_right(tmp_path, change, message):
    path = tmp_path / "train.json"
    records = [_record(atoms) for atoms in STRUCTURES[:2]]
    records[1]["outputs"] |= change
    path.write_text(json.dumps(records))
    with pytest.raises(ValueError, match=message):
        read_structures(path)


@pytest.mark.parametrize("content", [b"not compressed", gzip.compress(bytes(range(256)) * 50)[:100]])
def test_compressed_files_that_are_damaged_are_named(tmp_path, content):
    path = tmp_path / "a.xyz.gz"
    path.write_bytes(content)
    for place in (path, tmp_path):
        with pytest.raises(ValueError, match="a.xyz.gz: the compressed file is damaged"):
            read_structures(place)


def test_numbers_beside_the_outputs_in_json_are_no_forces(tmp_path):
    record = _record(STRUCTURES[0]) | {"force": 0.1}
    (tmp_path / "train.json").write_text(json.dumps([record]))
    atoms = read_structures(tmp_path / "train.json")[0]
    np.testing.assert_allclose(atoms.get_forces(), STRUCTURES[0].get_forces())
    assert atoms.info["force"] == 0.1


def test_an_energy_that_is_no_number_is_missing():
    atoms = bulk("Cu")
    atoms.info["energy"] = np.nan
    found = describe_structures([atoms])
    assert found.missing["energy"].tolist() == [0]
    assert found.energy_range is None


def test_n2p2_in_both_units(tmp_path):
    check_same(read_structures(write_n2p2(tmp_path / "input.data")), stress=False)
    path = write_n2p2(tmp_path / "input.data", units.Bohr, units.Hartree)
    check_same(read_structures(path, units="electron"), stress=False)


def test_lammps_dump_of_skewed_boxes(tmp_path):
    path, expected = write_dump(tmp_path / "run.dump")
    found = read_structures(path, species=["Cu", "Ni"])
    check_same(found, expected, stress=False)
    check_same(read_structures(path, species=["Cu", "Ni"], energy_key="c_pe", stress_key="c_s"), expected)
    with pytest.raises(ValueError, match="atoms have types, not elements; pass species"):
        read_structures(path)


def test_lammps_dump_says_its_units(tmp_path):
    path, expected = write_dump(tmp_path / "run.dump", head="ITEM: UNITS\nreal\nITEM: TIMESTEP\n0\n")
    (found, *_) = read_structures(path, species=["Cu", "Ni"])
    energy = expected[0].get_potential_energy() * units.kcal / units.mol
    assert found.get_potential_energy() == pytest.approx(energy)


def test_mlip_and_databases(tmp_path):
    check_same(read_structures(write_cfg(tmp_path / "a.cfg", STRUCTURES, ["Cu", "Ni"])))
    for name in ("a.db", "a.json"):
        with ase.db.connect(tmp_path / name) as database:
            for atoms in STRUCTURES:
                database.write(atoms, group="hot")
        found = read_structures(tmp_path / name)
        check_same(found)
        assert found[2].info["group"] == "hot"


def test_any_other_format_of_ase(tmp_path):
    ase.io.write(tmp_path / "a.traj", STRUCTURES)
    check_same(read_structures(tmp_path / "a.traj"))


def test_compressed_files(tmp_path):
    path = write_xyz(tmp_path / "a.xyz")
    zipped = tmp_path / "b.xyz.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    check_same(read_structures(zipped))


@pytest.mark.parametrize("index", [0, -1, slice(1, None), ":2", "-2:", "::2"])
def test_index(tmp_path, index):
    path = write_xyz(tmp_path / "a.xyz")
    expected = ase.io.read(path, index)
    found = read_structures(path, index, check=False)
    check_same(found, expected if isinstance(expected, list) else [expected])
    with pytest.raises(ValueError, match="there is no structure 3"):
        read_structures(path, 3)
    with pytest.raises(ValueError, match="there is no structure 3:5"):
        read_structures(path, "3:5")
    with pytest.raises(ValueError, match="index='x': should be a number or a slice"):
        read_structures(path, "x")


def test_folders_and_patterns(tmp_path):
    write_xyz(tmp_path / "surface.xyz")
    for run in ("0", "1"):
        folder = tmp_path / "bulk" / run
        folder.mkdir(parents=True)
        write_outcar(folder / "OUTCAR")
        (folder / "INCAR").write_text("ENCUT = 520\n")
    write_vasprun(tmp_path / "bulk" / "1" / "vasprun.xml")  # the OUTCAR beside it has the same
    found = read_structures(tmp_path)
    assert [atoms.info["group"] for atoms in found] == 6 * ["bulk"] + 3 * ["surface"]
    assert [atoms.info["source"].rpartition("/")[2] for atoms in found[2:5]] == [
        "OUTCAR@2",
        "vasprun.xml@0",
        "vasprun.xml@1",
    ]
    check_same(found, 3 * STRUCTURES)
    check_same(read_structures(str(tmp_path / "bulk/*/OUTCAR"), index=-1), 2 * STRUCTURES[-1:])
    check_same(read_structures([tmp_path / "surface.xyz", tmp_path / "bulk"]), 3 * STRUCTURES)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_structures(tmp_path / "*.cfg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no file of structures"):
        read_structures(tmp_path / "empty")


def test_groups(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", group="config_type=slab source=paper")
    (atoms, *_) = read_structures(path)
    assert (atoms.info["group"], atoms.info["source"]) == ("slab", "paper")
    assert read_structures(path, group="mine")[0].info["group"] == "mine"
    assert "group" not in read_structures(write_xyz(path))[0].info


def test_what_is_missing_is_reported(tmp_path):
    structures = [atoms.copy() for atoms in STRUCTURES]
    for atoms, k in zip(structures, (1, 2, 3), strict=True):
        results = dict(list(STRUCTURES[k - 1].calc.results.items())[:k])
        atoms.calc = SinglePointCalculator(atoms, **results)
    path = tmp_path / "a.traj"
    ase.io.write(path, structures)
    with pytest.warns(UserWarning, match="structures have no") as caught:
        found = read_structures(path)
    texts = [str(warning.message) for warning in caught]
    assert texts == ["1 of 3 structures have no forces: 0", "2 of 3 structures have no stress: 0, 1"]
    summary = describe_structures(found)
    assert {name: list(indices) for name, indices in summary.missing.items()} == {
        "energy": [],
        "forces": [0],
        "stress": [0, 1],
    }
    assert summary.species == {"Cu": 9, "Ni": 3}
    assert "without stress: 2 (0, 1)" in str(summary)


WRITERS = {
    "a.xyz": (write_xyz, {}),
    "OUTCAR": (write_outcar, {}),
    "vasprun.xml": (write_vasprun, {}),
    "a.json": (write_json, {}),
    "input.data": (write_n2p2, {}),
    "a.dump": (lambda path: write_dump(path)[0], {"species": ["Cu", "Ni"]}),
    "a.cfg": (lambda path: write_cfg(path, STRUCTURES), {}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files_name_the_structure(tmp_path, name):
    """Wherever the file is cut: an error that names the structure, and those before it can be read."""
    write, options = WRITERS[name]
    text = write(tmp_path / name).read_text()
    whole = read_structures(tmp_path / name, **options)
    path = tmp_path / "cut" / name
    path.parent.mkdir()
    places = [int(share * len(text)) for share in (0.85, 0.9, 0.97)]
    for place in [*places, *(text.index("\n", place) + 1 for place in places[:2] if "\n" in text)]:
        path.write_text(text[:place])
        with pytest.raises(ValueError, match=rf"structure 2 of .*{re.escape(name)}") as caught:
            read_structures(path, **options)
        assert "the 2 before it can be read with index=':2'" in str(caught.value)
        before = read_structures(path, index=":2", check=False, **options)
        check_same(before, whole[:2], stress="stress" in whole[0].calc.results)


def test_a_frame_without_its_atoms_is_not_passed_over(tmp_path):
    path, _ = write_dump(tmp_path / "a.dump")
    text = path.read_text()
    path.write_text(text[: text.rindex("ITEM: BOX BOUNDS")])
    with pytest.raises(ValueError, match="structure 2 of .*it has 0 of its 4 atoms"):
        read_structures(path, species=["Cu", "Ni"])


@pytest.mark.parametrize("name", ["a.xyz", "a.dump"])
def test_a_number_that_is_cut_is_not_read(tmp_path, name):
    write, options = WRITERS[name]
    path = write(tmp_path / name)
    path.write_text(path.read_text()[:-4])
    with pytest.raises(ValueError, match="structure 3 of .*the file ends within a line"):
        read_structures(path, **options)


def test_a_blank_line_hides_nothing(tmp_path):
    path = write_xyz(tmp_path / "a.xyz")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:6], "", *lines[6:], ""]))
    with pytest.raises(ValueError, match="structure 1 of .*an empty line comes before it"):
        read_structures(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"energy=[-.\d]+", "energy=nan"),
        (r"energy=[-.\d]+", "energy=low"),
        (r"(?m)^Cu ([-.\d]+)", "Cu nan"),
        (r"(?m)([-.\d]+)$", "nan"),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path, old, new):
    path = write_xyz(tmp_path / "a.xyz")
    path.write_text(re.sub(old, new, path.read_text(), count=1))
    with pytest.raises(ValueError, match="structure 0 of .*a.xyz"):
        read_structures(path)


def test_unknown_files(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no structures here\n")
    with pytest.raises(ValueError, match=r"structure 0 of .*notes.txt.*pass format"):
        read_structures(path)
    path.write_text("")
    with pytest.raises(ValueError, match="the file is empty"):
        read_structures(path)
