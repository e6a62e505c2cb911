"""``mlfeat compare``: its pieces of work, what they find, and how they go on after an interruption."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import ase.io
import numpy as np
import pytest
from _cli_data import copper
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import mlfeat
from mlfeat.cli import _compare, _forecast, _pieces, _plan, _tasks, _worker, main
from mlfeat.cli._data import as_data, read_structures
from mlfeat.cli._errors import UsageError, one_line
from mlfeat.cli._methods import METHODS, Settings
from mlfeat.cli._references import published_reference
from mlfeat.metrics import evaluate
from mlfeat.persistence import load
from mlfeat.properties import _summary, crystal_properties

OPTIONS_OF_ALL = (
    "--twojmax 4 --trials 5 --n-sparse 30 --level 8 --iterations 5 --hidden-layers 6,6 --epochs 3 --models 2"
).split()
ENVIRONMENT = os.environ | {"PYTHONPATH": str(mlfeat.__path__[0]) + "/.."}
MODELS = """
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from mlfeat import Bispectrum, LinearPotential

def of_size(structures):
    return make_pipeline(Bispectrum(4.0, 2 if len(structures) < 25 else 4), LinearPotential(Ridge(1e-6)))

small = make_pipeline(Bispectrum(4.0, 2), LinearPotential(Ridge(1e-6)))
number = 3
"""


class Inline:
    """Stands in for a process: does the work at once, and counts it."""

    done = []
    is_running = False

    def __init__(self, function, args, threads=1):
        try:
            self.value = function(*args)
        except Exception as error:
            self.value = {"status": "failed", "error": f"{type(error).__name__}: {one_line(error)}"}
        self.done.append(function.__name__)

    def result(self):
        return self.value

    def kill(self):
        pass


@pytest.fixture
def inline(monkeypatch):
    """Work done in this process; the names of functions called so far."""
    monkeypatch.setattr(Inline, "done", [])
    monkeypatch.setattr(_tasks, "Child", Inline)
    monkeypatch.setattr(_plan, "_SECONDS", dict.fromkeys(_plan._SECONDS, 0.01))
    return Inline.done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with train.xyz and test.xyz, and models of a user's."""
    folder = tmp_path_factory.mktemp("data")
    ase.io.write(folder / "train.xyz", copper(24, 0))
    ase.io.write(folder / "test.xyz", copper(6, 1))
    (folder / "my_models.py").write_text(MODELS)
    return folder


@pytest.fixture
def compare(data, tmp_path):
    """Run the command on the data; results are in tmp_path."""

    def run(*arguments, methods="snap"):
        files = ["--train", f"{data}/train.xyz", "--test", f"{data}/test.xyz", "--out", str(tmp_path)]
        small = ["--twojmax", "2", "--trials", "5"] if "snap" in methods else []
        return main(["compare", *files, "--methods", methods, *small, *arguments])

    return run


QUICK = ("--quick", "--no-forecast")


def results_of(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# --- the table of all five ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    """Folder, output and error stream of one comparison, in a program of its own."""
    folder = tmp_path_factory.mktemp("compared")
    command = ["compare", "--train", f"{data}/train.xyz", "--test", f"{data}/test.xyz", "--out", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "mlfeat", *command, *QUICK, *OPTIONS_OF_ALL],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_compare_prints_a_line_for_each_potential(compared):
    titles, units, *lines = [line.split() for line in compared[1].stdout.split("\n\n")[1].splitlines()]
    assert titles[:3] == ["method", "energy", "RMSE"]
    assert units[0] == "meV/atom"
    assert [line[0] for line in lines] == ["SNAP", "qSNAP", "GAP", "NNP", "MTP"]
    assert all(float(number) >= 0 for line in lines for number in line[1:])


def test_compare_is_quiet_where_there_is_no_terminal(compared):
    assert compared[1].stderr == ""


def test_compare_writes_all_numbers(compared):
    content = results_of(compared[0])
    assert content["train"]["structures"] == 24
    assert content["test"]["groups"] == {"even": 3, "odd": 3}
    assert content["command"].startswith("mlfeat compare --train")
    snap, qsnap, gap, nnp, mtp = content["methods"]
    for result in content["methods"]:
        assert result["status"] == "ok"
        assert 0 < result["memory_before_fit_bytes"] <= result["peak_memory_bytes"] < 2**32
        assert 0 < result["us_per_atom"] < 1e5
        assert result["timing"]["atoms"] >= 500
    for result in (snap, qsnap):
        assert result["settings"]["bispectrum"]["twojmax"] == 4
    assert snap["n_parameters"] == 14 + 1
    assert qsnap["n_parameters"] == 14 + 14 * 15 / 2 + 1
    assert gap["n_parameters"] >= gap["settings"]["gaussianapproximationpotential"]["n_sparse"] == 30
    assert 0 < gap["settings"]["gaussianapproximationpotential"]["force_sigma"] < 0.05  # found, not given
    assert nnp["settings"]["neuralnetworkpotential"]["hidden_layer_sizes"] == [6, 6]
    assert nnp["n_parameters"] == 6 * (23 + 1) + 6 * 7 + 7  # 4 of the 27 symmetry functions hardly vary
    assert mtp["settings"]["momenttensor"]["level"] == 8
    assert mtp["n_parameters"] == 9 + 1 + 2 * 8


@pytest.mark.filterwarnings("ignore::mlfeat.ExtrapolationWarning")  # the training set is tiny
def test_compare_saves_the_models_that_it_tested(compared, data):
    structures = ase.io.read(data / "test.xyz", ":")
    for result in results_of(compared[0])["methods"]:
        model = load(compared[0] / result["model"])
        for part, chosen in ((result["test"], slice(None)), (result["test"]["groups"]["odd"], slice(1, None, 2))):
            for name, error in evaluate(model, structures[chosen]).items():
                assert part[name] == pytest.approx(error, rel=1e-9)


def test_predictions_of_the_test_set_are_kept(compared, data):
    structures = ase.io.read(data / "test.xyz", ":")
    for name in METHODS:
        expected = mlfeat.predict_targets(load(compared[0] / f"{name}.mlfeat"), structures, extrapolation="ignore")
        with np.load(compared[0] / f"{name}.predictions.npz") as found:
            np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-12)
            np.testing.assert_allclose(found["forces"], np.concatenate(expected["forces"]), atol=1e-12)
            np.testing.assert_allclose(found["stress"], expected["stress"], atol=1e-14)
            assert found["offsets"].tolist() == [0, 4, 8, 12, 16, 20, 24]


def test_compare_draws_its_figures(compared):
    for name in (*(f"parity-{method}.png" for method in METHODS), "pareto.png"):
        assert (compared[0] / name).read_bytes().startswith(b"\x89PNG")


def test_compare_leaves_no_other_files(compared):
    names = {path.name for path in compared[0].iterdir()}
    forms = ("{}.mlfeat", "{}.predictions.npz", "parity-{}.png")
    files = {form.format(method) for method in METHODS for form in forms}
    assert names == files | {"results.json", "results.csv", "groups.csv", "pareto.png", "pieces", "report.html"}


def test_tables_are_files_too(compared):
    content = results_of(compared[0])
    rows = rows_of(compared[0] / "results.csv")
    assert [row["method"] for row in rows] == list(METHODS)
    for row, result in zip(rows, content["methods"], strict=True):
        assert float(row["test_energy_rmse"]) == result["test"]["energy_rmse"]
        assert float(row["train_force_mae"]) == result["train"]["force_mae"]
    groups = rows_of(compared[0] / "groups.csv")
    assert len(groups) == 5 * 2 * 2
    odd = content["methods"][0]["test"]["groups"]["odd"]
    assert groups[3] == {"method": "snap", "set": "test", "group": "odd"} | {key: str(odd[key]) for key in odd}


def test_compare_splits_by_group_without_test_data(data, tmp_path, inline):
    arguments = ["--train", f"{data}/train.xyz", "--test-fraction", "0.25", "--methods", "snap", *QUICK]
    out = tmp_path / "new" / "folder"
    assert main(["compare", *arguments, "--twojmax", "2", "--trials", "5", "--out", str(out)]) == 0
    content = results_of(out)
    assert content["train"]["groups"] == {"even": 9, "odd": 9}
    assert content["test"]["groups"] == {"even": 3, "odd": 3}


@pytest.mark.parametrize(
    ("properties", "missing"), [(("energy", "forces"), ["stress"]), (("energy",), ["force", "stress"])]
)
def test_compare_shows_a_dash_for_what_the_data_lack(properties, missing, tmp_path, capsys, inline):
    ase.io.write(tmp_path / "train.xyz", copper(30, 0, properties))
    arguments = ["--train", f"{tmp_path}/train.xyz", "--methods", "snap", "--twojmax", "2", "--trials", "5", *QUICK]
    assert main(["compare", *arguments, "--out", str(tmp_path)]) == 0
    (result,) = results_of(tmp_path)["methods"]
    for kind in ("energy", "force", "stress"):
        assert (result["test"][f"{kind}_rmse"] is None) == (kind in missing)
    out = capsys.readouterr().out
    told = {"force": "; 24 without forces", "stress": "; 24 without stress"}
    assert out.splitlines()[0].endswith("12 odd)" + "".join(told[kind] for kind in sorted(missing)))
    line = out.split("\n\n")[1].splitlines()[2].split()
    assert line[1:6].count("-") == sum(2 if kind == "force" else 1 for kind in missing)


# --- failures and interruptions -------------------------------------------------------------------


def test_failure_of_one_potential_keeps_the_others(compare, tmp_path, capfd):
    (tmp_path / "snap.mlfeat").mkdir()  # where the model should go
    assert compare(*QUICK, methods="snap,qsnap") == 1
    snap, qsnap = results_of(tmp_path)["methods"]
    assert snap["status"] == "failed"
    assert "snap.mlfeat" in snap["error"]
    assert qsnap["status"] == "ok"
    out, err = capfd.readouterr()
    assert err.startswith("mlfeat: error: SNAP: ")
    assert err.count("\n") == 1
    table = out.split("\n\n")[1].splitlines()
    assert table[2].split() == ["SNAP", *"-" * 9]
    assert "-" not in table[3].split()


def test_crash_of_one_potential_is_a_failure_like_others(compare, tmp_path, monkeypatch):
    monkeypatch.setattr(_worker, "_PROGRAM", "import os; os.kill(os.getpid(), 9)")
    assert compare(*QUICK) == 1
    assert "memory" in results_of(tmp_path)["methods"][0]["error"]


def test_a_failed_piece_is_tried_again(compare, tmp_path, inline, capsys):
    (tmp_path / "snap.mlfeat").mkdir()
    assert compare(*QUICK) == 1
    (tmp_path / "snap.mlfeat").rmdir()
    assert compare(*QUICK) == 0
    assert inline == ["fit_piece", "fit_piece", "cost_piece"]
    assert results_of(tmp_path)["methods"][0]["status"] == "ok"


def test_fits_do_not_import_from_the_working_directory(compare, tmp_path, monkeypatch):
    (tmp_path / "mlfeat").mkdir()
    (tmp_path / "mlfeat" / "__init__.py").write_text("raise RuntimeError('the wrong mlfeat')")
    monkeypatch.chdir(tmp_path)
    assert compare(*QUICK) == 0


def test_interrupted_comparison_keeps_what_it_has_and_goes_on_there(compare, tmp_path, capsys, monkeypatch, inline):
    class Interrupted(Inline):
        def __init__(self, function, args, threads=1):
            if args[0] == "qsnap":
                raise KeyboardInterrupt
            super().__init__(function, args, threads)

    monkeypatch.setattr(_tasks, "Child", Interrupted)
    assert compare(*QUICK, methods="snap,qsnap") == 130
    assert [result["method"] for result in results_of(tmp_path)["methods"]] == ["snap"]
    out, err = capsys.readouterr()
    assert "SNAP" in out
    assert err == "mlfeat: error: interrupted\n"
    before = results_of(tmp_path)["methods"][0]
    assert inline == ["fit_piece"]
    monkeypatch.setattr(_tasks, "Child", Inline)
    assert compare(*QUICK, methods="snap,qsnap") == 0
    assert inline == ["fit_piece", "fit_piece", "cost_piece", "cost_piece"]
    snap, qsnap = results_of(tmp_path)["methods"]
    assert before.items() <= snap.items()
    assert qsnap["status"] == "ok"


def test_only_what_other_settings_change_is_done_again(compare, tmp_path, inline, capsys):
    assert compare(*QUICK) == 0
    del inline[:]
    assert compare(*QUICK) == 0
    assert inline == []
    assert compare(*QUICK, "--threads", "1") == 0  # changes no result
    assert inline == []
    assert compare(*QUICK, "--alpha", "1e-3") == 0
    assert inline == ["fit_piece", "cost_piece"]
    (tmp_path / "snap.predictions.npz").unlink()
    assert compare(*QUICK, "--alpha", "1e-3") == 0
    assert inline == ["fit_piece", "cost_piece", "fit_piece"]  # the model is the same again
    del inline[:]
    (tmp_path / "snap.predictions.npz").write_bytes(b"of another program")
    assert compare(*QUICK, "--alpha", "1e-3") == 0
    assert inline == ["fit_piece"]
    del inline[:]
    assert compare("--quick", "--alpha", "1e-3", "--restart", "--forecast") == 0
    assert compare(*QUICK, "--alpha", "1e-3") == 0
    assert inline == ["forecast_piece"]  # which forgets nothing
    del inline[:]
    assert compare(*QUICK, "--alpha", "1e-3", "--restart") == 0
    assert inline == ["fit_piece", "cost_piece"]


def test_other_data_are_other_pieces(data, compare, tmp_path, inline, capsys):
    assert compare(*QUICK) == 0
    del inline[:]
    assert compare(*QUICK, "--test", f"{data}/test.xyz@:4") == 0
    assert inline[0] == "fit_piece"


@pytest.fixture
def started(data, tmp_path):
    """A comparison in a process group of its own, killed at the end; and its command."""
    files = ["--train", f"{data}/train.xyz", "--test", f"{data}/test.xyz", "--out", str(tmp_path)]
    small = ["--methods", "snap,mtp", "--twojmax", "2", "--trials", "5", "--level", "8", "--iterations", "500"]
    command = [sys.executable, "-m", "mlfeat", "compare", *files, *small, *QUICK]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, start_new_session=True, env=ENVIRONMENT) as process:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_ctrl_c_ends_without_a_traceback(started):
    assert started.stdout.readline().startswith("train:")  # now it begins to fit
    os.killpg(started.pid, signal.SIGINT)
    _, err = started.communicate()
    assert started.returncode == 130
    assert err == "mlfeat: error: interrupted\n"


def test_ctrl_c_while_python_starts_is_for_the_parent_alone(capfd):
    child = _worker.Child(max, (1, 2))
    os.kill(child._process.pid, signal.SIGINT)
    assert child.result() == 2
    assert capfd.readouterr().err == ""


def test_a_process_without_a_parent_ends_quietly(tmp_path, monkeypatch):
    monkeypatch.setattr(_worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(_worker.warnings, "showwarning", _worker.warnings.showwarning)  # which it changes
    _worker.main(tmp_path / "none" / "job", tmp_path / "none" / "result")


def test_a_killed_comparison_loses_the_piece_under_way_alone(started, tmp_path, data, inline, capsys):
    while not (tmp_path / "pieces" / "fit-snap.json").exists():
        assert started.poll() is None
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    files = ["--train", f"{data}/train.xyz", "--test", f"{data}/test.xyz", "--out", str(tmp_path)]
    assert main(["compare", *files, "--methods", "snap", "--twojmax", "2", "--trials", "5", *QUICK]) == 0
    assert inline.count("fit_piece") == 0  # the settings of mtp are none of snap's


# --- properties, learning curves, variants, scaling -----------------------------------------------


@pytest.fixture
def parts(compare, tmp_path, capsys, inline):
    """Results of all parts for one potential, what was printed, and which functions were called."""
    (tmp_path / "ladder.json").write_text(json.dumps({"snap": [{"twojmax": 4, "alpha": 1e-4}]}))
    (tmp_path / "reference.json").write_text(json.dumps({"C11": 200.0, "lattice_constant": 3.6}))
    given = [
        f"--variants={tmp_path}/ladder.json",
        f"--reference={tmp_path}/reference.json",
        "--properties=lattice,elastic",
    ]
    assert compare(*given, "--learning-curve=0.5,0.25", "--scaling=30,110", "--no-forecast") == 0
    return results_of(tmp_path), capsys.readouterr().out, inline


def test_all_parts_are_in_the_results(parts, tmp_path):
    content, out, done = parts
    (snap,) = content["methods"]
    assert [part["n_structures"] for part in snap["learning_curve"]] == [6, 12, 24]
    assert [part["fraction"] for part in snap["learning_curve"]] == [0.25, 0.5, 1.0]
    assert snap["learning_curve"][-1]["test"] == snap["test"]
    (variant,) = snap["variants"]
    assert (variant["settings"], variant["label"]) == ({"twojmax": 4, "alpha": 1e-4}, "2J = 4, alpha = 0.0001")
    assert variant["n_parameters"] == 14 + 1
    assert variant["us_per_atom"] > 0
    assert load(tmp_path / "variants" / "snap-twojmax=4,alpha=0.0001.mlfeat")[0].twojmax == 4
    assert [part["atoms"] for part in snap["scaling"]] == [32, 108]
    for part in snap["scaling"]:
        assert part["seconds_per_step"] == pytest.approx(1e-6 * part["atoms"] * part["us_per_atom"])
    for name, rows in (("learning_curve", 3), ("variants", 1), ("scaling", 2)):
        assert len(rows_of(tmp_path / f"{name}.csv")) == rows
    assert done[-3:] == ["cost_piece", "cost_piece", "scaling_piece"]  # alone, at the end
    for title in ("properties of", "test set by group", "learning curve", "variants", "scaling"):
        assert f"\n\n{title}" in out
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::mlfeat.ExtrapolationWarning")
def test_properties_are_those_of_the_saved_model_beside_the_reference(parts, tmp_path):
    content, out, _ = parts
    (snap,) = content["methods"]
    expected = crystal_properties(bulk("Cu", cubic=True), load(tmp_path / "snap.mlfeat"), ("lattice", "elastic"))
    assert snap["properties"] == pytest.approx(expected, rel=1e-6)
    assert content["reference_properties"] == {"C11": 200.0, "lattice_constant": 3.6}
    assert f"{100 * (expected['C11'] / 200 - 1):+.1f}%" in out
    (row,) = rows_of(tmp_path / "results.csv")
    assert float(row["C44"]) == snap["properties"]["C44"]


def test_tables_of_an_earlier_comparison_do_not_stay(parts, compare, tmp_path):
    assert compare(*QUICK) == 0
    assert {path.name for path in tmp_path.glob("*.csv")} == {"results.csv", "groups.csv"}


def test_properties_of_a_crystal_that_is_not_known_are_missed(tmp_path, inline, capsys):
    structures = copper(24, 0)
    for atoms in structures:
        atoms.symbols[0] = "Ni"
    ase.io.write(tmp_path / "train.xyz", structures)
    only = ["--no-learning-curve", "--no-variants", "--no-scaling", "--no-forecast", "--methods=snap"]
    arguments = [f"--train={tmp_path}/train.xyz", "--twojmax=2", "--trials=5", f"--out={tmp_path}", *only]
    assert main(["compare", *arguments]) == 0
    assert "no properties: " in capsys.readouterr().out
    assert "properties" not in results_of(tmp_path)["methods"][0]
    ase.io.write(tmp_path / "NiCu.cif", bulk("NiCu", "cesiumchloride", a=2.9))
    assert main(["compare", *arguments, f"--crystal={tmp_path}/NiCu.cif", "--properties=lattice"]) == 0
    assert "no properties: " not in capsys.readouterr().out
    assert 2 < results_of(tmp_path)["methods"][0]["properties"]["lattice_constant"] < 4


def test_phonons_and_dynamics_are_in_all_tables(compare, tmp_path, inline, capsys, monkeypatch):
    pytest.importorskip("phonopy")
    pytest.importorskip("seekpath")
    monkeypatch.setattr(_summary, "_DYNAMICS", {"temperature": 50.0, "n_steps": 10, "min_length": 0})
    (tmp_path / "reference.json").write_text('{"lowest_frequency": -1e-9, "highest_frequency": 8, "npt_whole": 1}')
    only = ["--no-learning-curve", "--no-variants", "--no-scaling", "--no-forecast"]
    options = ["--properties=lattice,elastic,phonons,dynamics", f"--reference={tmp_path}/reference.json"]
    assert compare(*only, *options) == 0
    (snap,) = results_of(tmp_path)["methods"]
    found = snap["properties"]
    assert list(found)[-4:] == ["lowest_frequency", "highest_frequency", "nve_drift", "npt_whole"]
    (row,) = rows_of(tmp_path / "results.csv")
    assert all(float(row[name]) == value for name, value in found.items())
    table = next(table for table in capsys.readouterr().out.split("\n\n") if table.startswith("properties of"))
    head, units, _, line = table.splitlines()
    assert re.split("  +", head)[-4:] == ["ν min", "ν max", "drift (NVE)", "whole (NPT)"]
    assert re.split("  +", units)[-4:] == ["THz", "THz", "eV/atom/ps", "share of run"]
    lowest, highest, drift = (found[name] for name in ("lowest_frequency", "highest_frequency", "nve_drift"))
    shown = [f"{lowest:z.2f}", f"{highest:.3f} {100 * (highest / 8 - 1):+.1f}%", f"{drift:.1e}", "1.00"]
    assert re.split("  +", line)[-4:] == shown
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("lowest frequency (THz)", "drift of the energy, NVE (eV/atom/ps)", "stays a crystal, NPT (share of"):
        assert name in page
    assert f">{drift:.1e}</td>" in page


def test_phonons_without_phonopy_are_refused_before_any_work(compare, monkeypatch, inline, capsys):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    assert compare("--properties=lattice,phonons") == 2
    assert "--properties: phonons need phonopy and seekpath: pip install 'mlfeat[phonons]'" in capsys.readouterr().err
    assert not inline


def test_emt_is_the_reference_of_its_data(tmp_path, monkeypatch, inline, capsys):
    monkeypatch.setattr(_compare, "make_emt_structures", lambda *args, **kwargs: copper(24, 2))
    only = ["--no-learning-curve", "--no-variants", "--no-scaling", "--no-forecast", "--properties=lattice,elastic"]
    arguments = ["--methods", "snap", "--twojmax", "2", "--trials", "5", "--out", str(tmp_path)]
    assert main(["compare", *arguments, *only]) == 0
    content = results_of(tmp_path)
    assert content["reference_source"] == "ASE's EMT"
    expected = crystal_properties(bulk("Cu"), EMT(), ("lattice", "elastic"))
    assert content["reference_properties"] == pytest.approx(expected, rel=1e-6)


def test_published_elastic_constants_are_for_the_published_data():
    molybdenum = bulk("Mo")
    assert published_reference([molybdenum]) is None
    molybdenum.info["group"] = "Elastic"
    assert published_reference([molybdenum]) == {"C11": 472, "C12": 158, "C44": 106}
    assert published_reference([molybdenum, bulk("Ni")]) is None


def test_a_property_that_fails_leaves_the_others(compare, tmp_path, inline, capsys, monkeypatch):
    def some(atoms, calculator, name):
        if name == "elastic":
            raise RuntimeError("no equilibrium")
        return {"lattice_constant": 3.6}

    monkeypatch.setattr(_pieces, "crystal_properties", some)
    only = ["--no-learning-curve", "--no-variants", "--no-scaling", "--no-forecast", "--properties=lattice,elastic"]
    assert compare(*only) == 0
    (snap,) = results_of(tmp_path)["methods"]
    assert snap["properties"] == {"lattice_constant": 3.6}
    assert snap["errors"] == {"properties-snap, elastic": "RuntimeError: no equilibrium"}
    assert capsys.readouterr().err == "mlfeat: warning: SNAP, elastic: RuntimeError: no equilibrium\n"


def test_molecules_have_no_scaling(tmp_path, inline, capsys):
    structures = [molecule("H2O", vacuum=5.0) for _ in range(12)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
    ase.io.write(tmp_path / "water.xyz", structures)
    only = ["--no-learning-curve", "--no-variants", "--no-forecast", "--methods=snap", "--twojmax=2", "--trials=0"]
    assert main(["compare", f"--train={tmp_path}/water.xyz", f"--out={tmp_path}", *only]) == 0
    assert inline == ["fit_piece", "cost_piece"]
    assert "no scaling: the data have no crystal to repeat; give one with --crystal\n" in capsys.readouterr().out


def test_a_file_may_have_an_at_sign_in_its_name(tmp_path):
    path = tmp_path / "copper@300K.xyz"
    ase.io.write(path, copper(3, 0))
    assert [len(read_structures(f"{path}{index}")) for index in ("", "@:2", "@-1")] == [3, 2, 1]
    assert [len(read_structures(f"{tmp_path}/copper@*.xyz{index}")) for index in ("", "@:2")] == [3, 2]
    with pytest.raises(UsageError, match="copper@1K.xyz: no such file"):
        read_structures(f"{tmp_path}/copper@1K.xyz")


# --- models of the user's -------------------------------------------------------------------------


def test_models_of_the_user_are_compared_too(data, compare, tmp_path, inline, capsys):
    (tmp_path / "ladder.json").write_text(json.dumps({"mine": [{"bispectrum__twojmax": 3}]}))
    place = f"{data}/my_models.py"
    models = [f"--model=Mine={place}:of_size", f"--model=the small={place}:small", f"--variants={tmp_path}/ladder.json"]
    only = ["--no-learning-curve", "--no-properties", "--no-scaling", "--no-forecast"]
    assert compare(*models, *only, methods="none") == 0
    mine, small = results_of(tmp_path)["methods"]
    assert (mine["label"], mine["method"], small["label"], small["method"]) == (
        "Mine",
        "mine",
        "the small",
        "the-small",
    )
    assert mine["n_parameters"] == small["n_parameters"] == 5 + 1
    assert mine["variants"][0]["n_parameters"] == 8 + 1
    expected = evaluate(load(tmp_path / "mine.mlfeat"), ase.io.read(data / "test.xyz", ":"))
    assert mine["test"]["force_rmse"] == pytest.approx(expected["force_rmse"])
    del inline[:]
    copy = tmp_path / "my_models.mlfeat"
    copy.write_bytes((tmp_path / "mine.mlfeat").read_bytes())
    assert compare(f"--model=fitted={copy}", *only, methods="none") == 0
    (fitted,) = results_of(tmp_path)["methods"]
    assert inline == ["fit_piece", "cost_piece"]
    assert "fit_seconds" not in fitted
    assert fitted["test"]["force_rmse"] == pytest.approx(expected["force_rmse"])


def test_a_model_of_the_user_is_imported_in_a_process_of_its_own(data, compare, tmp_path):
    (tmp_path / "other_models.py").write_text(MODELS)
    assert compare(f"--model=mine={tmp_path}/other_models.py:of_size", *QUICK, methods="none") == 0
    assert results_of(tmp_path)["methods"][0]["status"] == "ok"


BAD = {
    "no equals": (["--model", "mine"], "'mine' is neither NAME=module:attribute nor"),
    "no file": (["--model", "mine=none.py:model"], "--model mine: FileNotFoundError: none.py: no such file"),
    "no module": (["--model", "mine=nowhere:model"], "--model mine: ModuleNotFoundError"),
    "no attribute": (["--model", "mine={data}/my_models.py:model"], "--model mine: AttributeError"),
    "no model": (["--model", "mine={data}/my_models.py:number"], "mine: 'int' object is not callable"),
    "option of no method": (["--model", "mine={data}/my_models.py:small", "--twojmax", "4"], "none of which is fitted"),
    "no fitted file": (["--model", "mine=none.mlfeat"], "none.mlfeat: no such file"),
    "a name twice": (["--model", "snap={data}/my_models.py:small"], "there is a method of this name"),
    "nothing": ([], "there is nothing to compare"),
    "property": (["--properties", "color"], "no property 'color'; there are lattice"),
    "share": (["--learning-curve", "0.1,2"], "'2' is not between 0 and 1"),
    "size": (["--scaling", ","], "no size is named"),
    "crystal": (["--model", "mine={data}/my_models.py:small", "--crystal", "none.xyz"], "none.xyz: no such file"),
    "crystals": (["--model", "mine={data}/my_models.py:small", "--crystal", "{data}/test.xyz"], "choose one, as in"),
    "reference": (["--model", "mine={data}/my_models.py:small", "--reference", "list.json"], "one table of numbers"),
    "variants": (["--model", "mine={data}/my_models.py:small", "--variants", "list.json"], "a table of methods"),
    "variants of": (["--model", "mine={data}/my_models.py:small", "--variants", "snap.json"], "'snap' is not compared"),
    "setting": (
        ["--methods", "snap", "--variants", "level.json"],
        "snap: no setting 'level'; there are cutoff, twojmax",
    ),
    "value": (["--methods", "snap", "--variants", "value.json"], "snap: argument --twojmax: invalid int value: 'many'"),
    "a name of signs": (["--model", "!={data}/my_models.py:small"], "--model: a name needs a letter or a digit"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_before_any_work(case, data, tmp_path, capfd, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a piece began")

    monkeypatch.setattr(_tasks, "Child", never)
    monkeypatch.chdir(tmp_path)
    files = {
        "list.json": [1, 2],
        "snap.json": {"snap": [{"twojmax": 2}]},
        "level.json": {"snap": [{"level": 8}]},
        "value.json": {"snap": [{"twojmax": "many"}]},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    arguments, message = BAD[case]
    arguments = [
        "--train",
        "{data}/train.xyz",
        *(() if "--methods" in arguments else ("--methods", "none")),
        *arguments,
    ]
    assert main(["compare", *(argument.format(data=data) for argument in arguments)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == set(files)


def test_folder_that_cannot_be_written_is_an_error_before_any_work(compare, tmp_path, monkeypatch, capsys, inline):
    def refuse(*args, dir=None, **kwargs):
        raise PermissionError(13, "Permission denied", f"{dir}/x")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # as root may write everywhere
    assert compare(*QUICK) == 2
    assert capsys.readouterr() == ("", f"mlfeat: error: {tmp_path}: Permission denied\n")
    assert inline == []


# --- several at a time, and the forecast ----------------------------------------------------------


def test_results_do_not_depend_on_how_many_run_at_a_time(data, tmp_path, capsys, monkeypatch):
    found = []
    for n_jobs, child in (("2", _tasks.Child), ("1", Inline)):
        monkeypatch.setattr(_tasks, "Child", child)
        folder = tmp_path / n_jobs
        files = ["--train", f"{data}/train.xyz", "--test", f"{data}/test.xyz", "--out", str(folder)]
        small = ["--methods=snap,qsnap", "--twojmax=2", "--trials=5", f"--n-jobs={n_jobs}", f"--threads={n_jobs}"]
        assert main(["compare", *files, *small, *QUICK]) == 0
        found.append(results_of(folder)["methods"])
    for one, other in zip(*found, strict=True):
        assert one["settings"] == other["settings"]
        for name in ("energy_rmse", "force_rmse", "stress_rmse"):
            assert one["test"][name] == pytest.approx(other["test"][name], rel=1e-9)


class Slow(Inline):
    """Work that is under way for a while, and what was at the same time."""

    under_way, together = [], []

    def __init__(self, function, args, threads=1):
        super().__init__(function, args, threads)
        self.name, self.polls = function.__name__, 3
        self.under_way.append(self.name)
        self.together.append(tuple(self.under_way))

    @property
    def is_running(self):
        self.polls -= 1
        return self.polls > 0

    def result(self):
        self.under_way.remove(self.name)
        return self.value


def test_timings_run_alone(compare, monkeypatch, capsys, inline):
    monkeypatch.setattr(Slow, "under_way", [])
    monkeypatch.setattr(Slow, "together", [])
    monkeypatch.setattr(_tasks, "Child", Slow)
    assert compare(*QUICK, "--n-jobs", "2", methods="snap,qsnap") == 0
    assert ("fit_piece", "fit_piece") in Slow.together
    assert all(names == ("cost_piece",) for names in Slow.together if "cost_piece" in names)


def test_a_forecast_comes_first_and_is_all_on_request(compare, tmp_path, capsys, inline):
    arguments = [
        "--learning-curve=0.5",
        "--no-variants",
        "--no-properties",
        "--scaling=30",
        "--level=8",
        "--n-sparse=20",
    ]
    arguments += ["--iterations=5", "--hidden-layers=4", "--epochs=3", "--models=1"]
    assert compare(*arguments, "--forecast", methods="snap,gap,nnp,mtp") == 0
    assert set(inline) == {"forecast_piece"}
    lines = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert lines[0].startswith("forecast")
    for line, label in zip(lines[2:6], ("SNAP", "GAP", "NNP", "MTP"), strict=True):
        name, seconds, megabytes, pieces, total = line.split()
        assert name == label
        assert 0 < float(seconds) < 60
        assert 50 < float(megabytes) < 4000
        assert pieces == "4"
        assert float(total) > float(seconds)
    assert lines[6].startswith("about ")
    assert not (tmp_path / "results.json").exists()


def test_the_forecast_knows_the_iterations_that_a_preset_leaves_to_the_potential(monkeypatch):
    for atoms in (structures := [bulk("Mo"), bulk("Mo", cubic=True)]):
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
        atoms.info["group"] = "Elastic"
    train = as_data("Mo", structures)
    monkeypatch.setattr(_forecast, "_timed", lambda method, settings, *data: 2.0 + 0.5 * settings.iterations)
    assert METHODS["mtp"].build(structures, Settings())[-1].max_iter == "auto"
    assert _forecast._seconds("mtp", METHODS["mtp"], Settings(), train, train) == pytest.approx((2.0 + 0.5 * 60, 0.0))


def test_the_forecast_grows_with_the_data(monkeypatch):
    monkeypatch.setattr(_forecast, "_seconds", lambda *args: (2.0, 1.0))  # what grows, and what does not
    train = as_data("Cu", copper(250, 0))
    sample = _forecast._samples(train)[1]
    expected = 2.0 * train.n_atoms.sum() / sample.n_atoms.sum() + 1.0
    assert expected > 4
    assert _forecast.forecast_piece("snap", Settings(), train)["fit_seconds"] == pytest.approx(expected)
    n_bytes = [_forecast._extrapolated([100, 200], [2.0, 3.0], n) for n in (200, 400, 1000)]
    assert n_bytes == [3.0, 5.0, 11.0]
    assert _forecast._extrapolated([100, 200], [3.0, 2.0], 1000) == 3.0  # noise


def test_only_what_is_not_timed_is_shared_among_processes():
    def task(kind, label="", alone=False):
        return _tasks.Task(kind, "snap", max, (), {}, label, alone=alone)

    tasks = [task("fit"), task("learning", "0.5"), task("variant"), task("properties"), task("cost", alone=True)]
    fits = 4 * _forecast._START + 2.5 * 100
    assert _forecast._total(tasks, {"snap": 100.0}) == pytest.approx(fits + _forecast._TIMING)
    assert _forecast._total(tasks, {"snap": 100.0}, n_jobs=2) == pytest.approx(fits / 2 + _forecast._TIMING)


def test_pieces_are_counted_on_a_terminal(compare, monkeypatch, inline, capsys):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    assert compare(*QUICK) == 0
    assert "1/2 fit-snap\n" in stream.getvalue()
    assert "2/2 cost-snap\n" in stream.getvalue()
