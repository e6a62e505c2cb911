"""The commands that take models, with those of n2p2."""

import ase.io
import numpy as np
import pytest
from _nnp_files import alloy, energy, write_files

from mlfeat.cli import main
from mlfeat.io import read_nnp


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path / "nnp")


def evaluated(model, tmp_path, *options):
    """Energies that ``mlfeat evaluate`` writes, and those of the potential."""
    structures = [alloy(seed) for seed in range(2)]
    ase.io.write(tmp_path / "some.xyz", structures)
    arguments = [str(model), str(tmp_path / "some.xyz"), "--predictions", str(tmp_path / "out.xyz"), *options]
    assert main(["evaluate", *arguments]) == 0
    return [atoms.get_potential_energy() for atoms in ase.io.read(tmp_path / "out.xyz", ":")], structures


@pytest.mark.parametrize("name", ["", "input.nn"], ids=["folder", "settings"])
def test_evaluate_takes_the_folder_and_its_settings(folder, tmp_path, name):
    found, structures = evaluated(folder / name, tmp_path)
    np.testing.assert_allclose(found, [energy(atoms) for atoms in structures], rtol=1e-7)


def test_units_can_be_told(folder, tmp_path):
    found, structures = evaluated(folder, tmp_path, "--units", "metal")
    np.testing.assert_allclose(found, [energy(atoms, length=1.0, unit=1.0) for atoms in structures], rtol=1e-7)


def test_convert_there_and_back_changes_no_prediction(folder, tmp_path, capsys):
    assert main(["convert", str(folder), f"{tmp_path}/one.mlfeat"]) == 0
    assert main(["convert", f"{tmp_path}/one.mlfeat", f"{tmp_path}/new/input.nn", "--units", "metal"]) == 0
    printed = capsys.readouterr().out.splitlines()
    names = ["input.nn", "scaling.data", "weights.004.data", "weights.028.data"]
    assert printed == [f"{tmp_path}/one.mlfeat (mlfeat)", *(f"{tmp_path}/new/{name} (n2p2)" for name in names)]
    one, other = read_nnp(folder), read_nnp(tmp_path / "new", length_unit="angstrom", energy_unit="eV")
    np.testing.assert_allclose(other.predict([alloy()]), one.predict([alloy()]), rtol=1e-12)


def test_convert_tells_an_existing_folder_from_a_new_file(folder, tmp_path, capsys):
    assert main(["convert", str(folder), f"{tmp_path}/cv"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/cv (mlfeat)\n"
    (tmp_path / "cv").unlink()
    (tmp_path / "cv").mkdir()
    assert main(["convert", str(folder), f"{tmp_path}/cv"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/cv/input.nn (n2p2)\n")


def test_benchmark_times_it(folder, capsys):
    assert main(["benchmark", str(folder), "--sizes", "16", "--seconds", "0.01"]) == 0
    assert "16" in capsys.readouterr().out


ERRORS = {
    "species": (["convert", "{folder}", "m", "--species", "Ni"], "belongs to LAMMPS' files, QUIP's and MLIP's"),
    "script": (["convert", "{folder}", "m", "--script", "in"], "--script belongs to LAMMPS' files"),
    "units": (["convert", "{folder}/scaling.data", "m", "--units", "metal"], "--units belongs to n2p2's files"),
    "no folder": (["convert", "{folder}/x/input.nn", "m"], "there is no such file; a potential of n2p2 is a folder"),
    "other folder": (["convert", "{folder}/..", "m"], "input.nn: there is no such file"),
    "target": (["convert", "{folder}", "none/nnp/input.nn"], "there is no folder none; create it first"),
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_wrong_usage_is_one_line(folder, capsys, arguments, message):
    assert main([argument.format(folder=folder) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
