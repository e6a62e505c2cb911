"""Models of the user's in a comparison: what decides them, and which can be compared."""

import sys

import numpy as np
import pytest
from _cli_data import copper
from ase.build import bulk
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, persistence
from mlfeat.base import PotentialMixin
from mlfeat.cli import _train, _user_models
from mlfeat.cli._data import as_data
from mlfeat.cli._errors import UsageError
from mlfeat.cli._methods import Method, Settings
from mlfeat.cli._plan import Plan, Wanted
from mlfeat.cli._user_models import UserModel

CODE = """
from pathlib import Path
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from mlfeat import Bispectrum, LinearPotential
{}

def potential(structures):
    twojmax = int(Path(__file__).with_name("twojmax.txt").read_text())
    return make_pipeline(Bispectrum(4.0, twojmax), LinearPotential(Ridge(ALPHA)))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Folder that modules are imported from, and forgotten afterwards."""
    folder = tmp_path / "project"
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    folder.mkdir()
    yield folder
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def edited(path, model):
    """Whether a line more in a file makes another model."""
    before = model.inputs()
    path.write_text(path.read_text() + "\n")
    return model.inputs() != before


def test_other_weights_of_n2p2_are_another_model(tmp_path):
    for name in ("input.nn", "scaling.data", "weights.029.data", "nnp-train.log"):
        (tmp_path / name).write_text("1")
    places = [tmp_path, tmp_path / "input.nn"]
    before = [UserModel("mine", str(place)).inputs()["content"] for place in places]
    (tmp_path / "nnp-train.log").write_text("2")
    assert [UserModel("mine", str(place)).inputs()["content"] for place in places] == before
    (tmp_path / "weights.029.data").write_text("2")
    for place, content in zip(places, before, strict=True):
        assert UserModel("mine", str(place)).inputs()["content"] != content


def test_fitted_models_are_their_own_files_alone(tmp_path):
    others = ["a.predictions.npz", "a.mlfeat.png", "a.xml.mlfeat", "b.mlfeat"]
    sparse = "a.xml.sparseX.GAP_1"
    for name in ("a.mlfeat", "a.mtp", "a.snapcoeff", "a.snapparam", "a.xml", sparse, *others):
        (tmp_path / name).write_text(name)
    snap, gap = ["a.snapcoeff", "a.snapparam"], ["a.xml", sparse]
    expected = {"a.mlfeat": ["a.mlfeat"], "a.mtp": ["a.mtp"], "a.snapparam": snap, "a.snapcoeff": snap, "a.xml": gap}
    found = {name: UserModel("mine", str(tmp_path / name))._files() for name in expected}
    assert {name: [path.name for path in paths] for name, paths in found.items()} == expected


def test_a_model_is_another_one_after_an_edit_of_what_it_imports_beside_it(project, monkeypatch):
    installed = project / "venv" / "site-packages"
    installed.mkdir(parents=True)
    for path in (project / "beside.py", project / "never.py", installed / "elsewhere.py"):
        path.write_text("ALPHA = 1e-3")
    monkeypatch.syspath_prepend(str(installed))
    (project / "edited.py").write_text(CODE.format("import elsewhere\nfrom beside import ALPHA"))
    model = UserModel("mine", str(project / "edited.py"), "potential")
    assert edited(project / "edited.py", model)
    assert edited(project / "beside.py", model)
    assert not edited(project / "never.py", model)
    assert not edited(installed / "elsewhere.py", model)


def test_a_model_is_the_same_beside_others(project):
    for name in ("first", "second"):
        (project / f"{name}.py").write_text(CODE.format("ALPHA = 1e-3"))
    first, second = (UserModel(name, str(project / f"{name}.py"), "potential") for name in ("first", "second"))
    alone = first.inputs()
    second.inputs()
    assert first.inputs() == alone


def test_a_model_is_another_one_after_an_edit_of_its_package(project):
    for name in ("__init__", "alpha", "models", "never"):
        (project / f"{name}.py").write_text("ALPHA = 1e-3")
    (project / "models.py").write_text(CODE.format("from project.alpha import ALPHA"))
    model = UserModel("mine", "project.models", "potential")
    assert edited(project / "__init__.py", model)
    assert edited(project / "alpha.py", model)
    assert edited(project / "models.py", model)
    assert not edited(project / "never.py", model)


def test_a_model_is_another_one_if_its_function_makes_another(project):
    (project / "making.py").write_text(CODE.format("ALPHA = 1e-3"))
    source, data, found = UserModel("mine", str(project / "making.py"), "potential"), as_data("Cu", copper(4, 0)), []
    for number in (2, 4, 4):
        (project / "twojmax.txt").write_text(str(number))
        found.append(Plan([source], Settings(), data, data, project, Wanted(), {}).tasks[0].key(None))
    assert found[0] != found[1] == found[2]


def test_names_of_models_may_have_letters_of_any_script():
    assert UserModel("Мой потенциал", "x").name == "мой-потенциал"


class Mine(PotentialMixin, BaseEstimator):
    _state = ("energy_",)

    def fit(self, X, y):
        self.energy_ = float(np.mean(y["energy"]))
        return self

    def energy_and_cotangent(self, features):
        return np.full(features.n_atoms, self.energy_), np.zeros(features.values.shape)


def test_a_model_that_no_file_can_hold_is_refused_before_its_fit(tmp_path, monkeypatch):
    data, settings = as_data("Cu", copper(4, 0)), Settings()
    method = Method("Mine", "", lambda *_: make_pipeline(Bispectrum(4.0, 2), Mine()), _user_models._fit, ())
    with pytest.raises(UsageError, match=r"Mine: .*\.Mine, which a file of arrays cannot hold; .*register"):
        _train.checked_model(method, settings, data)
    monkeypatch.setattr(persistence, "_CLASSES", dict(persistence._CLASSES))
    persistence.register(Mine)
    result = _train.train_model(method, settings, data, None, tmp_path / "mine.mlfeat", verbose=False)
    assert (result["status"], result["n_parameters"]) == ("ok", None)  # it need not have a number of them


def test_species_of_a_file_that_does_not_name_them_are_not_guessed(tmp_path):
    (tmp_path / "CuNi.mtp").write_text("MTP")
    method = UserModel("mine", f"{tmp_path}/CuNi.mtp").method()
    with pytest.raises(UsageError, match=r"which of its species is which of Cu, Ni; .* --species LIST"):
        method.build([bulk("Cu"), bulk("Ni")], None)
