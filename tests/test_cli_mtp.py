"""The commands with moment tensor potentials and MLIP's files of them."""

import io
import sys
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from _mtp_files import FILE, UNTRAINED
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.pipeline import make_pipeline

from mlfeat import MomentTensor, MomentTensorPotential, make_targets, predict_targets
from mlfeat.cli import main
from mlfeat.cli._methods import METHODS, Settings
from mlfeat.cli._mtp import guess_level
from mlfeat.io import read_mtp
from mlfeat.persistence import load

PROPERTIES = ("energy", "forces", "stress")
SMALL = ["--method=mtp", "--level=6", "--iterations=3", "--cutoff=4.1", "--min-dist=2"]


def copper(n, properties=PROPERTIES):
    found = []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in properties}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["group"] = "known"
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with structures, a model and a committee fitted to them, and files of MLIP."""
    folder = tmp_path_factory.mktemp("data")
    ase.io.write(folder / "train.xyz", copper(6))
    ase.io.write(folder / "alloy.xyz", bulk("NiMo", "cesiumchloride", a=3.0))
    for name, *more in (("one", "--force-weight=0.1"), ("two", "--models=2")):
        assert main(["fit", f"{folder}/train.xyz", f"{folder}/{name}.mlfeat", *SMALL, *more]) == 0
    (folder / "NiMo.mtp").write_text(FILE)
    (folder / "untrained.mtp").write_text(UNTRAINED)
    return folder


def test_a_potential_is_as_the_user_asks(data):
    one, two = load(data / "one.mlfeat"), load(data / "two.mlfeat")
    assert (one[0].cutoff, one[0].level, one[0].min_dist) == (4.1, 6, 2)
    assert (one[-1].energy_weight, one[-1].force_weight, one[-1].max_iter) == (1, 0.1, 3)
    assert (one[-1].n_models, two[-1].n_models) == (1, 2)
    assert not one[-1].verbose


def test_forecast_and_progress_are_shown_on_a_terminal(data, tmp_path, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["fit", f"{data}/train.xyz", f"{tmp_path}/m", *SMALL]) == 0
    shown = stream.getvalue()
    assert "training on 6 structures: about " in shown
    assert "level 6: " in shown
    assert "MTP: done: 100%" in shown


def test_predictions_of_a_committee_come_with_grades_and_error_bars(data, tmp_path):
    arguments = [f"{data}/two.mlfeat", f"{data}/train.xyz", "--predictions", f"{tmp_path}/out.xyz"]
    assert main(["evaluate", *arguments]) == 0
    model, structures = load(data / "two.mlfeat"), ase.io.read(data / "train.xyz", ":")
    images = ase.io.read(tmp_path / "out.xyz", ":")
    expected = model[-1].predict_std(model[:-1].transform(structures))
    np.testing.assert_allclose([atoms.info["energy_std"] for atoms in images], expected, rtol=1e-5)
    assert all(0 < atoms.info["extrapolation_grade"] <= 1.01 for atoms in images)


# --- MLIP's files ---------------------------------------------------------------------------------


def test_convert_there_and_back_changes_no_prediction(data, tmp_path, capsys):
    assert main(["convert", f"{data}/one.mlfeat", f"{tmp_path}/Cu.mtp"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/Cu.mtp (MLIP)\n"
    assert main(["convert", f"{tmp_path}/Cu.mtp", f"{tmp_path}/back.mlfeat", "--species", "Cu"]) == 0
    structures = ase.io.read(data / "train.xyz", ":")
    one, back = (predict_targets(load(path), structures) for path in (data / "one.mlfeat", tmp_path / "back.mlfeat"))
    for name in ("energy", "stress"):
        np.testing.assert_allclose(back[name], one[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("member", [0, 1])
def test_the_file_can_hold_each_member_of_a_committee(member, data, tmp_path):
    assert main(["convert", f"{data}/two.mlfeat", f"{tmp_path}/Cu.mtp", "--member", str(member)]) == 0
    found, expected = read_mtp(tmp_path / "Cu.mtp", ["Cu"])[-1], load(data / "two.mlfeat")[-1]
    for name in ("radial_coef_", "coef_", "intercept_"):
        np.testing.assert_array_equal(getattr(found, name)[0], getattr(expected, name)[member])


def test_evaluate_takes_the_file(data, tmp_path, capsys):
    arguments = [f"{data}/NiMo.mtp", f"{data}/alloy.xyz", "--predictions", f"{tmp_path}/out.xyz", "--species", "Ni,Mo"]
    assert main(["evaluate", *arguments]) == 0
    expected = read_mtp(data / "NiMo.mtp", ["Ni", "Mo"]).predict([ase.io.read(data / "alloy.xyz")])
    assert ase.io.read(tmp_path / "out.xyz").get_potential_energy() == pytest.approx(expected[0], rel=1e-6)
    assert capsys.readouterr().err == ""


def test_benchmark_times_the_file_and_the_model(data, capsys):
    for model in ([f"{data}/NiMo.mtp", "--species=Ni,Mo"], [f"{data}/two.mlfeat"]):
        assert main(["benchmark", *model, "--sizes", "30", "--seconds", "0.01"]) == 0
        assert capsys.readouterr().out.splitlines()[2].split()[0] == "32"


ERRORS = {
    "no species": (["convert", "NiMo.mtp", "m"], "NiMo.mtp: the file does not name its elements; give them with --sp"),
    "few species": (["convert", "NiMo.mtp", "m", "--species", "Ni"], "NiMo.mtp: the file is for 2 species"),
    "no element": (["convert", "NiMo.mtp", "m", "--species", "Ni,X"], "should be symbols of different elements"),
    "untrained": (["convert", "untrained.mtp", "m", "--species", "Ni,Mo"], "no coefficients, it is one to be trained"),
    "committee": (["convert", "two.mlfeat", "m.mtp"], "m.mtp: the model is a committee of 2"),
    "member": (["convert", "two.mlfeat", "m.mtp", "--member", "2"], "member=2: should be 0 to 1"),
    "foreign member": (["convert", "two.mlfeat", "m", "--member", "0"], "--member belongs to MLIP's files"),
    "other model": (["convert", "one.mlfeat", "m.snapcoeff"], "MomentTensor"),
    "level": (["fit", "train.xyz", "m", "--method", "mtp", "--level", "7"], "MTP: level must be an even number"),
    "min_dist": (["fit", "train.xyz", "m", "--method", "mtp", "--min-dist", "9"], "MTP: min_dist=9"),
    "foreign option": (["fit", "train.xyz", "m", "--level", "8"], "--level is an option of mtp, not of snap"),
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_wrong_usage_is_one_line(data, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(data)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (data / "m").exists()


# --- settings from the data -----------------------------------------------------------------------


def test_the_level_grows_with_the_data():
    levels = [guess_level(n, 1) for n in (10, 539, 540, 2499, 2500, 16449, 16450, 10**7)]
    assert levels == [8, 8, 12, 12, 16, 16, 20, 20]
    assert guess_level(2500, 3) < 16  # radial functions of nine pairs


def test_published_settings_are_for_the_published_data(monkeypatch):
    def mtp(element):
        if element != "Cu":
            raise ValueError(f"no settings for {element}")
        potential = MomentTensorPotential(force_weight=0.5, n_models=3, group_weights={"known": 2.0})
        return make_pipeline(MomentTensor(3.9, 20), potential)

    monkeypatch.setattr("mlfeat.cli._guess.presets", SimpleNamespace(mtp=mtp, GROUPS=("known",)))
    build, structures = METHODS["mtp"].build, copper(6)
    model = build(structures, Settings(weights={"stress_weight": 0.2}))
    assert (model[0].cutoff, model[0].level) == (3.9, 20)
    assert (model[-1].force_weight, model[-1].stress_weight, model[-1].group_weights) == (0.01, 0.2, None)
    model = build(structures, Settings(level=10))
    assert (model[0].level, model[-1].force_weight, model[-1].group_weights) == (10, 0.5, {"known": 2.0})
    for other in (build(structures, Settings(cutoff=4.0)), build(structures, Settings(presets=False))):
        assert (other[0].level, other[-1].force_weight, other[-1].group_weights) == (8, 0.01, None)
        assert other[-1].n_models == 1
    for atoms in structures:
        atoms.info["group"] = "other"
    model = build(structures, Settings())
    assert (model[0].cutoff, model[0].level, model[-1].group_weights) == (3.9, 8, None)


def test_potentials_are_trained_on_energies_alone_where_there_are_no_forces():
    structures, method, settings = copper(12, ("energy",)), METHODS["mtp"], Settings(cutoff=4.0, level=4, iterations=2)
    model = method.fit(method.build(structures, settings), structures, make_targets(structures), settings)
    assert model[-1].force_weight == 0
    assert np.isfinite(model.predict(structures)).all()
