"""The command line: what it prints and writes, and how it fails."""

import argparse
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from _cli_data import PROPERTIES, copper
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import mlfeat
from mlfeat import (
    ACSF,
    SOAP,
    Bispectrum,
    FeatureScaler,
    GaussianApproximationPotential,
    LinearPotential,
    NeuralNetworkPotential,
)
from mlfeat.cli import main
from mlfeat.cli._data import add_data_options, read_structures
from mlfeat.cli._guess import guess_cutoff
from mlfeat.cli._methods import METHODS, Settings
from mlfeat.metrics import evaluate
from mlfeat.persistence import load

COMMANDS = ("compare", "fit", "evaluate", "convert", "benchmark")
KINDS = ("energy", "force", "stress")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with train.xyz and test.xyz, and a model fitted to them."""
    folder = tmp_path_factory.mktemp("data")
    ase.io.write(folder / "train.xyz", copper(24, 0))
    ase.io.write(folder / "test.xyz", copper(6, 1))
    arguments = ["fit", f"{folder}/train.xyz", f"{folder}/model.mlfeat", "--cutoff", "4.0", "--twojmax", "4"]
    assert main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def gap_model(data):
    """File of a small GAP fitted to the data."""
    path = data / "gap.mlfeat"
    assert main(["fit", f"{data}/train.xyz", str(path), "--method", "gap", "--n-sparse", "30", "--cutoff", "4.0"]) == 0
    return path


SMALL_NETWORKS = ["--hidden-layers", "6,6", "--epochs", "3", "--models", "2"]


@pytest.fixture(scope="module")
def nnp_model(data):
    """File of a small committee of networks fitted to the data."""
    path = data / "nnp.mlfeat"
    assert main(["fit", f"{data}/train.xyz", str(path), "--method", "nnp", "--cutoff", "4.0", *SMALL_NETWORKS]) == 0
    return path


# --- the other commands --------------------------------------------------------------------------


def test_fit_reports_training_and_test_errors(data, tmp_path, capsys):
    arguments = [f"{data}/train.xyz", f"{tmp_path}/model.mlfeat", "--test", f"{data}/test.xyz@:4"]
    assert main(["fit", *arguments, "--method", "qsnap", "--twojmax", "2", "--trials", "5", "--alpha", "1e-4"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines[2:4]] == [["train", "24"], ["test", "4"]]
    model = load(tmp_path / "model.mlfeat")
    assert {"bispectrum", "quadraticexpansion", "linearpotential"} <= dict(model.steps).keys()
    assert model[0].twojmax == 2
    assert model[-1].regressor.alpha == pytest.approx(1e-4)


def test_fit_takes_the_weights_of_the_user(data, tmp_path):
    arguments = [
        "--twojmax",
        "2",
        "--trials",
        "5",
        "--energy-weight",
        "7",
        "--force-weight",
        "0",
        "--stress-weight",
        "3",
    ]
    assert main(["fit", f"{data}/train.xyz", f"{tmp_path}/model", *arguments]) == 0
    potential = load(tmp_path / "model")[-1]
    assert (potential.energy_weight, potential.force_weight, potential.stress_weight) == (7, 0, 3)
    assert not potential.group_weights


@pytest.mark.filterwarnings("ignore::mlfeat.ExtrapolationWarning")
def test_evaluate_gives_the_errors_of_all_and_of_each_group(data, tmp_path, capsys):
    arguments = [f"{data}/model.mlfeat", f"{data}/test.xyz", "--json", f"{tmp_path}/errors.json"]
    assert main(["evaluate", *arguments]) == 0
    rows = json.loads((tmp_path / "errors.json").read_text(encoding="utf-8"))["errors"]
    assert [row["group"] for row in rows] == ["all", "even", "odd"]
    model, structures = load(data / "model.mlfeat"), ase.io.read(data / "test.xyz", ":")
    for row, chosen in zip(rows, (slice(None), slice(0, None, 2), slice(1, None, 2)), strict=True):
        for name, error in evaluate(model, structures[chosen]).items():
            assert row[name] == pytest.approx(error, rel=1e-9)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["all", "even", "odd"]


def test_predictions_stand_beside_the_references(data, tmp_path):
    path = tmp_path / "predicted.xyz"
    assert main(["evaluate", f"{data}/model.mlfeat", f"{data}/test.xyz", "--predictions", str(path)]) == 0
    structures, predicted = ase.io.read(data / "test.xyz", ":"), ase.io.read(path, ":")
    model = load(data / "model.mlfeat")
    for atoms, image, row in zip(structures, predicted, mlfeat.predict_targets(model, structures), strict=True):
        assert image.get_potential_energy() == pytest.approx(row["energy"], abs=1e-6)
        np.testing.assert_allclose(image.get_forces(), row["forces"], atol=1e-6)
        np.testing.assert_allclose(image.get_stress(), row["stress"], atol=1e-6)
        assert image.info["ref_energy"] == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(image.arrays["ref_forces"], atoms.get_forces(), atol=1e-6)
        assert image.info["group"] == atoms.info["group"]


def test_predictions_need_no_references(data, tmp_path, capsys):
    structures = [atoms.copy() for atoms in copper(3, 5)]
    ase.io.write(tmp_path / "bare.xyz", structures)
    arguments = [f"{data}/model.mlfeat", f"{tmp_path}/bare.xyz"]
    assert main(["evaluate", *arguments, "--predictions", f"{tmp_path}/out.xyz"]) == 0
    assert capsys.readouterr().out == ""
    assert len(ase.io.read(tmp_path / "out.xyz", ":")) == 3
    assert main(["evaluate", *arguments]) == 2
    assert "structure 0 has no energy" in capsys.readouterr().err


def test_extrapolation_is_told(data, tmp_path, capsys):
    far = copper(2, 7)
    far[1].set_cell(0.7 * far[1].cell, scale_atoms=True)
    for atoms in far:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    ase.io.write(tmp_path / "far.xyz", far)
    arguments = [f"{data}/model.mlfeat", f"{tmp_path}/far.xyz@1", "--predictions", f"{tmp_path}/out.xyz"]
    assert main(["evaluate", *arguments]) == 0
    err = capsys.readouterr().err
    assert "far.xyz@1: the model extrapolates to 1 of 1 structures, most in structure 0" in err
    assert err.count("\n") == 1
    assert ase.io.read(tmp_path / "out.xyz").info["extrapolation_grade"] > 1


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_evaluate_draws_in_the_format_of_the_name(suffix, data, tmp_path):
    path = tmp_path / f"parity.{suffix}"
    assert main(["evaluate", f"{data}/model.mlfeat", f"{data}/test.xyz", "--plot", str(path)]) == 0
    assert path.stat().st_size > 1000


def test_quantities_may_have_other_names(data, tmp_path, capsys):
    structures = copper(4, 6)
    for atoms in structures:
        atoms.info |= {"REF_energy": atoms.get_potential_energy(), "REF_stress": atoms.get_stress()}
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
    ase.io.write(tmp_path / "other.xyz", structures)
    ase.io.write(tmp_path / "same.xyz", copper(4, 6))
    keys = [f"--{name}-key=REF_{name}" for name in PROPERTIES]
    assert main(["evaluate", f"{data}/model.mlfeat", f"{tmp_path}/other.xyz", *keys]) == 0
    other = capsys.readouterr().out
    assert main(["evaluate", f"{data}/model.mlfeat", f"{tmp_path}/same.xyz"]) == 0
    assert other == capsys.readouterr().out
    assert main(["evaluate", f"{data}/model.mlfeat", f"{tmp_path}/same.xyz", *keys]) == 2
    assert "no structure has 'REF_energy'" in capsys.readouterr().err


def test_shears_may_be_in_another_order(tmp_path, capsys):
    atoms = copper(1, 6)[0]
    sites = [{"species": [{"element": "Cu", "occu": 1}], "abc": [*abc]} for abc in atoms.get_scaled_positions()]
    structure = {"lattice": {"matrix": atoms.cell.array.tolist()}, "sites": sites}
    outputs = {"energy": -1.0, "virial_stress": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    (tmp_path / "train.json").write_text(json.dumps([{"structure": structure, "outputs": outputs}]))
    parser = argparse.ArgumentParser()
    add_data_options(parser)
    for order, expected in (("xy,yz,xz", [5, 6, 4]), ("xy,xz,yz", [6, 5, 4])):
        arguments = parser.parse_args([f"--shear-order={order}"])
        stress = read_structures(tmp_path / "train.json", arguments)[0].get_stress()
        np.testing.assert_allclose(stress[3:], -0.1 * units.GPa * np.array(expected))
    assert main(["fit", f"{tmp_path}/train.json", f"{tmp_path}/model.mlfeat", "--shear-order=xx,xy,yz"]) == 2
    assert "should be xy, yz and xz in some order" in capsys.readouterr().err


def test_convert_there_and_back_changes_no_prediction(data, tmp_path, capsys):
    assert main(["convert", f"{data}/model.mlfeat", f"{tmp_path}/Cu.snapcoeff"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/Cu.snapcoeff (LAMMPS)\n{tmp_path}/Cu.snapparam (LAMMPS)\n"
    assert main(["convert", f"{tmp_path}/Cu.snapparam", f"{tmp_path}/back.mlfeat"]) == 0
    structures = ase.io.read(data / "test.xyz", ":")
    one, other = (
        mlfeat.predict_targets(load(path), structures) for path in (data / "model.mlfeat", tmp_path / "back.mlfeat")
    )
    np.testing.assert_allclose(one["energy"], other["energy"], rtol=1e-12)
    np.testing.assert_allclose(one["stress"], other["stress"], rtol=1e-9, atol=1e-12)


def test_lammps_files_are_models_too(data, tmp_path, capsys):
    assert main(["convert", f"{data}/model.mlfeat", f"{tmp_path}/Cu.snapcoeff"]) == 0
    capsys.readouterr()
    outputs = []
    for model in (f"{tmp_path}/Cu.snapcoeff", f"{data}/model.mlfeat"):
        assert main(["evaluate", model, f"{data}/test.xyz"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_benchmark_times_each_size(data, tmp_path, capsys):
    arguments = ["--sizes", "30,100", "--seconds", "0.01", "--json", f"{tmp_path}/timing.json"]
    assert main(["benchmark", f"{data}/model.mlfeat", *arguments]) == 0
    rows = json.loads((tmp_path / "timing.json").read_text(encoding="utf-8"))["results"]
    assert [row["atoms"] for row in rows] == [32, 128]
    assert all(row["us_per_atom"] > 0 and row["neighbors"] == 18 for row in rows)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_benchmark_takes_a_structure(data, capsys):
    arguments = ["--structure", f"{data}/test.xyz@0", "--sizes", "9", "--seconds", "0.01"]
    assert main(["benchmark", f"{data}/model.mlfeat", *arguments]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[0] == "16"


# --- GAP -----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::mlfeat.ExtrapolationWarning")
def test_gap_keeps_the_energies_that_it_was_fitted_with(gap_model, data):
    model, structures = load(gap_model), ase.io.read(data / "train.xyz", ":")
    potential = model[-1]
    assert "compressed_points" in potential.blocks_[0]
    given = make_pipeline(SOAP(**model[0].get_params()), GaussianApproximationPotential(**potential.get_params()))
    given.fit(structures, mlfeat.make_targets(structures))  # with the sigmas and δ that were found, and not compressed
    one, other = (mlfeat.predict_targets(each, structures) for each in (model, given))
    n_atoms = [len(atoms) for atoms in structures]
    np.testing.assert_allclose(one["energy"] / n_atoms, other["energy"] / n_atoms, rtol=0, atol=2e-6)


def test_gap_takes_the_sigmas_of_the_user(data, tmp_path):
    arguments = ["--method", "gap", "--n-sparse", "10", "--energy-sigma", "0.003", "--stress-sigma", "inf"]
    assert main(["fit", f"{data}/train.xyz", f"{tmp_path}/model", *arguments]) == 0
    potential = load(tmp_path / "model")[-1]
    assert (potential.energy_sigma_, potential.force_sigma_, potential.stress_sigma_) == (0.003, 0.05, np.inf)


def test_predictions_of_a_gap_come_with_error_bars(gap_model, data, tmp_path, capsys):
    structures, path = ase.io.read(data / "test.xyz", ":"), tmp_path / "predicted.xyz"
    assert main(["evaluate", str(gap_model), f"{data}/test.xyz", "--predictions", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["all", "6"]
    model = load(gap_model)
    for atoms, image in zip(structures, ase.io.read(path, ":"), strict=True):
        calculator = mlfeat.PotentialCalculator(model)
        assert image.info["energy_std"] == pytest.approx(calculator.get_property("energy_std", atoms), rel=1e-6)
        assert image.info["extrapolation_grade"] > 0


def test_gap_files_of_quip_are_models_too(gap_model, data, tmp_path, capsys):
    assert main(["convert", str(gap_model), f"{tmp_path}/Cu.xml"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/Cu.xml (QUIP)\n{tmp_path}/Cu.xml.sparseX")
    assert main(["convert", f"{tmp_path}/Cu.xml", f"{tmp_path}/back.mlfeat"]) == 0
    structures = ase.io.read(data / "test.xyz", ":")
    one, other = (mlfeat.predict_targets(load(path), structures) for path in (gap_model, tmp_path / "back.mlfeat"))
    np.testing.assert_allclose(one["energy"], other["energy"], rtol=0, atol=4 * 2e-6)  # one is compressed
    assert main(["convert", str(gap_model), f"{tmp_path}/Cu.snapcoeff"]) == 2
    assert "not SOAP" in capsys.readouterr().err


def test_benchmark_times_a_gap(gap_model, capsys):
    assert main(["benchmark", str(gap_model), "--sizes", "30", "--seconds", "0.01"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[0] == "32"


class Terminal(io.StringIO):
    """Where a program shows progress."""

    def isatty(self):
        return True


def test_forecast_and_progress_are_shown_on_a_terminal(data, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["fit", f"{data}/train.xyz", f"{tmp_path}/m", "--method", "gap", "--n-sparse", "10"]) == 0
    shown = sys.stderr.getvalue()
    assert "fit of 24 structures with 96 atoms, 456 rows, to " in shown
    assert "GAP: done: 100%" in shown
    assert "24/24" in shown


@pytest.mark.filterwarnings("ignore::mlfeat.ExtrapolationWarning")
def test_progress_of_networks_is_shown_on_a_terminal(data, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["fit", f"{data}/train.xyz", f"{tmp_path}/m", "--method", "nnp", *SMALL_NETWORKS]) == 0
    shown = sys.stderr.getvalue()
    assert "training: 100%" in shown
    assert "6/6" in shown  # three epochs of two networks
    assert "meV/atom" in shown
    assert "NNP: done: 100%" in shown
    assert not load(tmp_path / "m")[-1].verbose


# --- neural networks -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::mlfeat.ExtrapolationWarning")
def test_networks_are_those_that_the_user_asks_for(nnp_model, data):
    potential = load(nnp_model)[-1]
    assert potential.hidden_layer_sizes == (6, 6)
    assert len(potential.parameters_) == 2
    assert potential.n_iter_ == 3


def test_predictions_of_a_committee_come_with_error_bars(nnp_model, data, tmp_path):
    structures, path = ase.io.read(data / "test.xyz", ":"), tmp_path / "predicted.xyz"
    assert main(["evaluate", str(nnp_model), f"{data}/test.xyz", "--predictions", str(path)]) == 0
    model = load(nnp_model)
    expected = model[-1].predict_std(model[:-1].transform(structures))
    images = ase.io.read(path, ":")
    np.testing.assert_allclose([image.info["energy_std"] for image in images], expected, rtol=1e-5)
    assert all(image.info["extrapolation_grade"] > 0 for image in images)


def test_benchmark_times_a_network(nnp_model, capfd):
    assert main(["benchmark", str(nnp_model), "--sizes", "30", "--seconds", "0.01"]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[2].split()[0] == "32"
    assert err == ""


def test_networks_are_trained_on_energies_alone_where_there_are_no_forces(tmp_path):
    structures, method = copper(24, 0, ("energy",)), METHODS["nnp"]
    settings = Settings(cutoff=4.0, epochs=2, models=1, hidden_layers=(4,))
    model = method.fit(method.build(structures, settings), structures, mlfeat.make_targets(structures), settings)
    assert model[-1].force_weight == 0
    assert np.isfinite(model.predict(structures)).all()


# --- usage and bad input -------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)])
def test_help_is_there(arguments, capsys):
    assert main([*arguments, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: mlfeat")
    assert max(map(len, out.splitlines())) <= 100


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mlfeat {mlfeat.__version__}\n"


NAN = "1\npbc=F energy=nan\nCu 0 0 0\n"
FAR = "2\npbc=F energy=1\nCu 0 0 0\nCu 0 0 nan\n"
TWINS = "1\npbc=F energy=1\nCu 0 0 0\n2\npbc=F energy=1\nCu 0 0 0\nCu 0 0 0.001\n"

BAD = {
    "nothing": ([], "the following arguments are required: COMMAND (see mlfeat --help)"),
    "command": (["frobnicate"], "invalid choice: 'frobnicate'"),
    "no file": (["fit", "none.xyz", "m"], "none.xyz: no such file"),
    "empty file": (["fit", "empty.xyz", "m"], "empty.xyz: the file is empty"),
    "foreign file": (["fit", "binary.xyz", "m"], "structure 0 of binary.xyz: "),
    "truncated": (["fit", "truncated.xyz", "m"], "structure 1 of truncated.xyz: "),
    "bad index": (["fit", "{data}/train.xyz@x", "m"], "should be a number or a slice"),
    "no structures": (["fit", "{data}/train.xyz@99:", "m"], "there is no structure 99:"),
    "NaN energy": (["fit", "nan.xyz", "m"], "structure 0 of nan.xyz: energy must be finite"),
    "NaN position": (["fit", "far.xyz", "m"], "structure 0 of far.xyz: the position of atom 1"),
    "twins": (["fit", "twins.xyz", "m"], "twins.xyz: structure 1: atoms 0 and 1 are 0.001 Å apart"),
    "no energy": (["fit", "bare.xyz", "m"], "bare.xyz: structure 0 has no energy"),
    "folder": (["fit", "{data}/train.xyz", "none/m"], "none/m: not a file in an existing folder"),
    "cutoff": (["fit", "{data}/train.xyz", "m", "--cutoff", "0"], "'0' is not a positive number"),
    "not a number": (["fit", "{data}/train.xyz", "m", "--alpha", "nan"], "'nan' is not a number"),
    "twojmax": (["fit", "{data}/train.xyz", "m", "--twojmax", "15"], "an integer from 0 to 14"),
    "weights": (
        ["fit", "{data}/train.xyz", "m", "--energy-weight=0", "--force-weight=0", "--stress-weight=0"],
        "all weights are zero",
    ),
    "foreign option": (
        ["fit", "{data}/train.xyz", "m", "--method", "gap", "--alpha", "1"],
        "--alpha is an option of snap and qsnap, not of gap",
    ),
    "foreign options": (
        ["compare", "--methods", "snap,qsnap", "--force-sigma", "1"],
        "--force-sigma is an option of gap, not of snap and qsnap",
    ),
    "foreign option of networks": (
        ["compare", "--methods", "snap,gap", "--epochs", "3"],
        "--epochs is an option of nnp, not of snap and gap",
    ),
    "option of several": (
        ["fit", "{data}/train.xyz", "m", "--method", "gap", "--energy-weight", "1"],
        "--energy-weight is an option of snap, qsnap, nnp and mtp, not of gap",
    ),
    "layers": (["fit", "{data}/train.xyz", "m", "--method=nnp", "--hidden-layers=8,0"], "'0' is not a positive int"),
    "sigmas": (
        ["fit", "{data}/train.xyz", "m", "--method=gap", *(f"--{kind}-sigma=inf" for kind in KINDS)],
        "all sigmas are infinite",
    ),
    "sigma": (["fit", "{data}/train.xyz", "m", "--method=gap", "--force-sigma=0"], "'0' is not a positive number"),
    "n_sparse": (["fit", "{data}/train.xyz", "m", "--method=gap", "--n-sparse=0"], "'0' is not a positive integer"),
    "test species": (["fit", "{data}/train.xyz", "m", "--test", "Al.xyz"], "structure 0 has Al, but"),
    "threads": (["fit", "{data}/train.xyz", "m", "--threads", "0"], "'0' is not a positive integer"),
    "method": (["compare", "--methods", "snap,gup"], "no method 'gup'; there are snap, qsnap, gap, nnp, mtp"),
    "no method": (["compare", "--methods", ","], "no method is named"),
    "test alone": (["compare", "--test", "{data}/test.xyz"], "--test needs --train"),
    "element": (["compare", "--element", "Fe"], "choose one of the fcc metals Al, Ni, Cu"),
    "element and train": (["compare", "--train", "{data}/train.xyz", "--element", "Cu"], "use one of the two"),
    "fraction": (["compare", "--test-fraction", "1.5"], "'1.5' is not between 0 and 1"),
    "out": (["compare", "--train", "{data}/train.xyz", "--out", "bare.xyz"], "bare.xyz: File exists"),
    "unsplittable": (["compare", "--train", "{data}/train.xyz@:1"], "give a test set of its own"),
    "no model": (["evaluate", "none.mlfeat", "{data}/test.xyz"], "none.mlfeat: no such file"),
    "no partner": (["evaluate", "alone.snapcoeff", "{data}/test.xyz"], "alone.snapparam: no such file"),
    "other model": (["evaluate", "bare.xyz", "{data}/test.xyz"], "bare.xyz: no mlfeat model"),
    "species": (["evaluate", "{data}/model.mlfeat", "Al.xyz"], "Al.xyz: structure 0 has Al, but"),
    "option": (["convert", "{data}/model.mlfeat", "m", "--species", "Cu"], "belongs to LAMMPS' files, QUIP's and"),
    "script": (["convert", "{data}/model.mlfeat", "m", "--script", "in"], "belongs to LAMMPS' files"),
    "target": (["convert", "{data}/model.mlfeat", "none/m"], "none/m: there is no folder none; create it first"),
    "sizes": (["benchmark", "{data}/model.mlfeat", "--sizes", "10,x"], "'x' is not a positive integer"),
    "several": (["benchmark", "{data}/model.mlfeat", "--structure", "{data}/test.xyz"], "choose one"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Working directory with bad files."""
    monkeypatch.chdir(tmp_path)
    files = {"nan.xyz": NAN, "far.xyz": FAR, "twins.xyz": TWINS, "empty.xyz": "", "alone.snapcoeff": "1 31\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    ase.io.write("train.xyz", copper(2, 0))
    lines = (tmp_path / "train.xyz").read_text().splitlines(keepends=True)
    (tmp_path / "truncated.xyz").write_text("".join(lines[:-2]))
    (tmp_path / "binary.xyz").write_bytes(np.random.default_rng(0).bytes(2000))
    ase.io.write("bare.xyz", bulk("Cu"))
    aluminium = bulk("Al")
    aluminium.calc = EMT()
    aluminium.get_forces()
    ase.io.write("Al.xyz", aluminium)
    return tmp_path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_before_any_work(case, data, here, capfd, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a fit began")

    monkeypatch.setattr("mlfeat.cli._tasks.Child", never)
    monkeypatch.setattr("mlfeat.cli._fit.train_model", never)
    before = sorted(here.iterdir())
    arguments, message = BAD[case]
    assert main([argument.format(data=data) for argument in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("mlfeat: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(here.iterdir()) == before


def test_traceback_on_request(monkeypatch):
    monkeypatch.setenv("MLFEAT_DEBUG", "1")
    with pytest.raises(Exception, match="no such file"):
        main(["fit", "none.xyz", "m"])


def test_unexpected_errors_are_one_line_too(data, tmp_path, capsys, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("mlfeat.cli._fit.train_model", broken)
    assert main(["fit", f"{data}/train.xyz", f"{tmp_path}/m"]) == 1
    assert capsys.readouterr().err == "mlfeat: error: ZeroDivisionError: by zero\n"


def test_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m mlfeat fit --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(mlfeat.__path__[0]) + "/.."},
        check=False,
    )
    assert done.stderr == ""


# --- settings from the data ----------------------------------------------------------------------


@pytest.mark.parametrize(("symbol", "published"), [("Ni", 4.1), ("Cu", 4.1), ("Li", 5.1), ("Mo", 4.6), ("Si", 4.9)])
def test_guessed_cutoff_is_near_the_published_one(symbol, published):
    crystal = bulk(symbol, cubic=True)
    assert guess_cutoff([crystal]) == pytest.approx(published, rel=0.06)


def test_guessed_cutoff_ignores_vacuum():
    slab = bulk("Cu", cubic=True) * (1, 1, 6)
    full = guess_cutoff([slab])
    slab.center(vacuum=30, axis=2)
    assert guess_cutoff([slab]) == pytest.approx(full, rel=0.05)


@pytest.fixture
def published(monkeypatch):
    """Settings as if published for copper, with weights and sigmas for data of the two groups."""

    def snap(element):
        if element != "Cu":
            raise ValueError(f"no settings for {element}")
        potential = LinearPotential(Ridge(1e-5), group_weights={"even": 2.0, "odd": (1.0, 3.0, 1.0)})
        return make_pipeline(Bispectrum(4.2, 4), potential)

    def gap(element):
        if element != "Cu":
            raise ValueError(f"no settings for {element}")
        potential = GaussianApproximationPotential(40, force_sigma=0.02, stress_sigma=np.inf)
        return make_pipeline(SOAP(4.2, cutoff_transition_width=1.4), potential)

    def nnp(element):
        if element != "Cu":
            raise ValueError(f"no settings for {element}")
        functions = [(0.1, 0.0), (1.0, 2.0)], [(0.1, 1, 1)]
        potential = NeuralNetworkPotential((5, 5), force_weight=1e-3, max_iter=3, group_weights={"even": 2.0})
        return make_pipeline(ACSF(4.2, *functions, species=("Cu",)), FeatureScaler("mean", "range"), potential)

    fake = SimpleNamespace(snap=snap, gap=gap, nnp=nnp, GROUPS=("even", "odd"))
    monkeypatch.setattr("mlfeat.cli._guess.presets", fake)


def test_published_settings_are_used_where_there_are_some(published):
    model = METHODS["snap"].build(copper(1, 0), Settings())
    assert (model[0].cutoff, model[0].twojmax) == (4.2, 4)
    assert model[-1].group_weights["even"] == 2.0
    model = METHODS["snap"].build([bulk("Al")], Settings())
    assert model[0].twojmax == 6
    model = METHODS["snap"].build(copper(1, 0), Settings(presets=False))
    assert model[-1].group_weights is None


def test_settings_of_the_user_replace_published_ones(published):
    model = METHODS["snap"].build(copper(1, 0), Settings(cutoff=5.0))
    assert (model[0].cutoff, model[0].twojmax) == (5.0, 4)
    assert model[-1].group_weights is None  # they were found for another cutoff
    model = METHODS["snap"].build(copper(1, 0), Settings(weights={"force_weight": 0.5}, alpha=3.0))
    assert model[-1].get_params()["force_weight"] == 0.5
    assert model[-1].regressor.alpha == 3.0
    assert model[-1].group_weights is None


def test_weights_are_searched_for_only_where_they_are_not_known(published, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a search began")

    monkeypatch.setattr("mlfeat.cli._snap.search_weights", never)
    structures = copper(12, 0)
    targets = mlfeat.make_targets(structures)
    method = METHODS["snap"]
    for settings in (Settings(), Settings(weights={"force_weight": 0.5}), Settings(cutoff=4.0, trials=0)):
        method.fit(method.build(structures, settings), structures, targets, settings)
    for settings in (Settings(cutoff=4.0), Settings(presets=False)):
        with pytest.raises(AssertionError, match="a search began"):
            method.fit(method.build(structures, settings), structures, targets, settings)


def test_published_sigmas_are_for_the_published_data(published):
    structures, method = copper(6, 0), METHODS["gap"]
    model = method.build(structures, Settings())
    assert (model[0].cutoff, model[0].cutoff_transition_width) == (4.2, 1.4)
    assert (model[-1].force_sigma, model[-1].stress_sigma, model[-1].optimizer) == (0.02, np.inf, None)
    for atoms in structures:
        atoms.info["group"] = "other"
    model = method.build(structures, Settings())
    assert model[0].cutoff == 4.2
    assert (model[-1].stress_sigma, model[-1].optimizer) == (0.001, "fmin_l_bfgs_b")
    model = method.build(copper(6, 0), Settings(cutoff=3.0))
    assert (model[0].cutoff, model[0].cutoff_transition_width) == (3.0, pytest.approx(1.0))
    assert model[-1].optimizer == "fmin_l_bfgs_b"
    model = method.build(copper(6, 0), Settings(presets=False))
    assert model[0].cutoff_transition_width == model[0].cutoff / 2


def test_sparse_points_are_fewer_than_environments(published):
    method = METHODS["gap"]
    assert method.build(copper(6, 0), Settings())[-1].n_sparse == {"Cu": 12}
    assert method.build(copper(24, 0), Settings())[-1].n_sparse == {"Cu": 40}
    assert method.build(copper(6, 0), Settings(n_sparse=50))[-1].n_sparse == 50
    alloy = bulk("NiAl", "cesiumchloride", a=2.9) * (20, 20, 20)
    assert method.build([alloy], Settings())[-1].n_sparse == {"Al": 1000, "Ni": 1000}


def test_sigmas_are_searched_for_unless_they_are_given_or_known(published):
    structures, method = copper(6, 0), METHODS["gap"]
    targets = mlfeat.make_targets(structures)
    for settings, searched in (
        (Settings(), False),
        (Settings(sigmas={"energy_sigma": 0.01}, cutoff=4.0), False),
        (Settings(cutoff=4.0), True),
    ):
        model = method.build(structures, settings)
        before = model[-1].get_params()
        model = method.fit(model, structures, targets, settings)
        after = model[-1].get_params()
        changed = {name for name in before if before[name] is not after[name] and before[name] != after[name]}
        assert changed == ({"delta", "energy_sigma", "force_sigma", "stress_sigma", "optimizer"} if searched else set())


@pytest.mark.parametrize(("properties", "share"), [(PROPERTIES, 0.2), (("energy",), 1.0)])
def test_energies_count_more_than_the_likelihood_says_where_there_are_forces(properties, share):
    structures, method = copper(12, 0, properties), METHODS["gap"]
    targets, settings = mlfeat.make_targets(structures), Settings(n_sparse=10)
    plain = method.build(structures, settings).fit(structures, targets)[-1]
    model = method.fit(method.build(structures, settings), structures, targets, settings)
    assert model[-1].energy_sigma_ == pytest.approx(share * plain.energy_sigma_, rel=1e-6)
    assert model[-1].force_sigma_ == pytest.approx(plain.force_sigma_, rel=1e-6)


def test_published_training_is_for_the_published_data(published):
    structures, build = copper(24, 0), METHODS["nnp"].build
    known = build(structures, Settings())
    assert (known[0].cutoff, known[-1].hidden_layer_sizes, known[-1].max_iter) == (4.2, (5, 5), 3)
    assert known[-1].group_weights == {"even": 2.0}
    assert not known[-1].early_stopping
    other = build(structures, Settings(cutoff=4.0))
    assert (other[0].cutoff, other[-1].hidden_layer_sizes) == (4.0, (5, 5))
    assert (other[-1].early_stopping, other[-1].group_weights) == (True, None)
    for atoms in structures:
        atoms.info["group"] = "other"
    other = build(structures, Settings())
    assert (other[0].cutoff, other[-1].early_stopping, other[-1].group_weights) == (4.2, True, None)
    other = build(structures, Settings(presets=False))
    assert len(other[0].angular["Cu", "Cu", "Cu"]) > 1
    assert other[-1].hidden_layer_sizes == (8, 8)  # of the smallest networks, for little data


def test_weights_of_the_user_are_those_of_networks_too(published):
    model = METHODS["nnp"].build(copper(24, 0), Settings(weights={"stress_weight": 3.0}))
    potential = model[-1]
    assert (potential.energy_weight, potential.force_weight, potential.stress_weight) == (1.0, 5e-4, 3.0)
    assert potential.group_weights is None


def test_few_structures_are_all_trained_on():
    structures, method = copper(6, 0), METHODS["nnp"]
    settings = Settings(presets=False, cutoff=4.0, epochs=1, models=1)
    model = method.fit(method.build(structures, settings), structures, mlfeat.make_targets(structures), settings)
    assert not model[-1].early_stopping


def test_networks_grow_with_the_data(monkeypatch):
    build, structures = METHODS["nnp"].build, copper(24, 0)
    nodes = []
    for size in (1000, 6000, 20000, 10**6):
        monkeypatch.setattr("mlfeat.cli._nnp.count_measurements", lambda structures, size=size: size)
        potential = build(structures, Settings(presets=False, cutoff=4.0))[-1]
        nodes.append(potential.hidden_layer_sizes[0])
        assert potential.force_fraction == min(1, 20000 / size)  # an epoch of much data is a part of it
    assert nodes[0] == 8
    assert nodes == sorted(nodes)
    assert nodes[-1] == 24


def test_symmetry_functions_that_do_not_vary_are_left_out():
    dimers = [ase.Atoms("CuAl", [(0, 0, 0), (0, 0, distance)]) for distance in np.linspace(2.2, 3.2, 8)]
    for atoms in dimers:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    descriptor = METHODS["nnp"].build(dimers, Settings(cutoff=4.0))[0]
    assert set(descriptor.radial) == {("Al", "Cu"), ("Cu", "Al")}
    assert descriptor.angular == {}


def test_each_element_has_symmetry_functions_that_tell_the_others():
    rng = np.random.default_rng(0)
    alloys = []
    for _ in range(16):
        atoms = bulk("NiAl", "cesiumchloride", a=2.9) * 2
        atoms.rattle(0.2, rng=rng)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
        alloys.append(atoms)
    descriptor = METHODS["nnp"].build(alloys, Settings(cutoff=4.0))[0].fit(alloys)
    assert [len(functions) for functions in descriptor.functions_] == [64, 64]


def test_several_species_are_compressed():
    alloy = bulk("NiAl", "cesiumchloride", a=2.9)
    assert METHODS["gap"].build([alloy], Settings())[0].compression == "mu1nu1"
    assert METHODS["gap"].build(copper(1, 0), Settings())[0].compression is None


def test_several_species_get_weights_that_tell_them_apart():
    alloy = bulk("NiAl", "cesiumchloride", a=2.9)
    model = METHODS["qsnap"].build([alloy], Settings())
    assert tuple(model[0].species) == ("Al", "Ni")
    assert model[0].weights == [0.4, 0.2]


def test_every_method_has_a_label_and_says_what_it_is():
    for name, method in METHODS.items():
        assert name == name.lower()
        assert method.label
        assert method.about
