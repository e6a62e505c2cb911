"""Bad input gets an error that names the structure's index, the value and what to do, before any work is done."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import (
    Bispectrum,
    GaussianApproximationPotential,
    LinearPotential,
    NeuralNetworkPotential,
    PotentialCalculator,
    QuadraticExpansion,
    load,
    make_targets,
    predict_targets,
    save,
)
from mlfeat.io import read_snap, write_snap
from mlfeat.testing import toy_training_set

SPECIES = ("Mo", "Ni")


def good(n=3):
    return toy_training_set(SPECIES, n_structures=n)


def reference(n):
    return make_targets(good(n))


def spoiled(change):
    atoms = good(1)[0].copy()
    change(atoms)
    return atoms


def on_top(atoms):
    atoms.positions[5] = atoms.positions[2] + [0.0, 0.03, 0.04]


def on_its_image(atoms):
    atoms.positions[5] = atoms.positions[2] + atoms.cell[0] + [0.0, 0.0, 0.05]


BAD_STRUCTURES = {
    "NaN position": (lambda a: a.positions.__setitem__((4, 2), np.nan), ValueError, r"atom 4 .*nan.*(repair|remove)"),
    "infinite position": (
        lambda a: a.positions.__setitem__((0, 0), np.inf),
        ValueError,
        r"atom 0 .*inf.*(repair|remove)",
    ),
    "empty": (lambda a: a.__delitem__(slice(None)), ValueError, r"empty.*remove"),
    "unknown species": (lambda a: a.symbols.__setitem__(1, "Xe"), ValueError, r"Xe not among the species Mo, Ni.*fit"),
    "placeholder element": (
        lambda a: a.symbols.__setitem__(1, "X"),
        ValueError,
        r"(atom 1 has .*'X'.*set its symbol|X not among the species Mo, Ni)",
    ),
    "atoms on top of each other": (on_top, ValueError, r"atoms 2 and 5 are 0\.05 Å apart.*remove"),
    "an atom on another's image": (on_its_image, ValueError, r"atoms 2 and 5 are 0\.05 Å apart.*remove"),
    "periodic without a cell": (
        lambda a: a.cell.__setitem__(2, 0.0),
        ValueError,
        r"lattice vectors.*zero or dependent; set",
    ),
    "dependent lattice vectors": (
        lambda a: a.cell.__setitem__(2, 2 * a.cell[1]),
        ValueError,
        r"lattice vectors.*zero or dependent; set",
    ),
    "NaN cell": (lambda a: a.cell.__setitem__((1, 1), np.nan), ValueError, r"cell is .*nan.*set_cell"),
}


@pytest.fixture(scope="module")
def model():
    train = good(8)
    return make_pipeline(Bispectrum(twojmax=2), LinearPotential(Ridge(1e-4))).fit(train, make_targets(train))


@pytest.fixture
def no_work(monkeypatch):
    """Fails a test that gets as far as computing features."""

    def work(*args, **kwargs):
        pytest.fail("features were computed before the input was checked")

    for name in ("values", "jacobian", "vjp", "values_and_pullback", "rows"):
        monkeypatch.setattr(Bispectrum, name, work)


# --- Structures -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("entry", ["transform", "predict", "predict_targets", "score"])
@pytest.mark.parametrize("case", BAD_STRUCTURES)
def test_a_bad_structure_is_named_by_its_index_before_any_work(model, case, entry):
    change, kind, message = BAD_STRUCTURES[case]
    structures = [*good(2), spoiled(change)]
    call = {
        "transform": lambda: model[0].transform(structures),
        "predict": lambda: model.predict(structures),
        "predict_targets": lambda: predict_targets(model, structures),
        "score": lambda: model.score(structures, np.zeros(3)),
    }[entry]
    with pytest.raises(kind, match=rf"structure 2\b.*{message}"):
        call()


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("case", BAD_STRUCTURES)
def test_fit_refuses_a_bad_structure_by_its_index(case):
    change, kind, message = BAD_STRUCTURES[case]
    structures = [*good(2), spoiled(change)]
    fresh = make_pipeline(Bispectrum(twojmax=2, species=SPECIES), LinearPotential())
    with pytest.raises(kind, match=rf"structure 2\b.*{message}"):
        fresh.fit(structures, np.zeros(3))


@pytest.mark.parametrize("case", BAD_STRUCTURES)
def test_the_calculator_refuses_a_bad_structure(model, case):
    change, kind, message = BAD_STRUCTURES[case]
    calculator = PotentialCalculator(model)
    atoms = spoiled(change)
    with pytest.raises(kind, match=message):
        calculator.get_property("forces", atoms)
    fine = good(1)[0]
    expected = PotentialCalculator(model).get_property("energy", fine)
    assert calculator.get_property("energy", fine) == expected  # and goes on afterwards


@pytest.mark.parametrize("skin", [0.5, 50.0])
def test_the_calculator_refuses_nan_positions_in_a_running_simulation(model, skin):
    """A NaN is no move larger than half of any skin, but the list does not hold any more."""
    atoms = good(1)[0].copy()
    calculator = PotentialCalculator(model, skin=skin)
    calculator.get_property("forces", atoms)
    atoms.positions[4, 2] = np.nan
    with pytest.raises(ValueError, match=r"atom 4 .*nan"):
        calculator.get_property("forces", atoms)


@pytest.mark.parametrize("bad", [bulk("Mo"), "train.xyz", None, 7, [], [bulk("Mo"), "Mo"], np.zeros((3, 3))])
def test_what_is_no_list_of_structures_is_refused(model, bad):
    for call in (
        lambda: Bispectrum().fit(bad),
        lambda: model[0].transform(bad),
        lambda: predict_targets(model, bad),
        lambda: make_targets(bad),
    ):
        with pytest.raises((TypeError, ValueError), match=r"list|structure \d"):
            call()


def test_a_single_structure_is_told_to_become_a_list(model):
    with pytest.raises(TypeError, match=r"pass \[atoms\]"):
        model.predict(bulk("Mo"))


# --- Parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("cutoff", [0, -1.0, np.nan, np.inf, "5", None, [5.0]])
def test_a_cutoff_that_is_not_positive_is_refused(cutoff):
    with pytest.raises((ValueError, TypeError), match=r"cutoff="):
        make_pipeline(Bispectrum(cutoff), LinearPotential()).fit(good(2), np.zeros(2))


# --- Targets --------------------------------------------------------------------------------------------------------


def with_results(**results):
    atoms = bulk("Mo", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


BAD_TARGETS = {
    "no energy": (bulk("Mo"), r"no energy.*(attach|set|remove)"),
    "forces without energy": (with_results(forces=np.zeros((2, 3))), r"no energy"),
    "NaN energy": (with_results(energy=np.nan), r"energy must be finite.*remove"),
    "NaN force": (with_results(energy=1.0, forces=[[0, 0, 0], [0, np.nan, 0]]), r"forces must be finite.*remove"),
    "NaN stress": (with_results(energy=1.0, stress=[0, 0, np.inf, 0, 0, 0]), r"stress must be finite.*remove"),
    "forces of other atoms": (
        with_results(energy=1.0, forces=np.zeros((3, 3))),
        r"forces of shape \(3, 3\), expected \(2, 3\)",
    ),
}


@pytest.mark.parametrize("case", BAD_TARGETS)
def test_bad_targets_are_named_by_their_index(case):
    atoms, message = BAD_TARGETS[case]
    with pytest.raises(ValueError, match=rf"structure 1\b.*{message}"):
        make_targets([good(1)[0], atoms])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros(3), r"3 rows for 2 structures"),
        (np.array([1.0, np.nan]), r"structure 1\b.*nan.*remove"),
        (np.zeros((2, 2)), r"shape \(2, 2\).*make_targets"),
        (None, r"make_targets"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        make_pipeline(Bispectrum(twojmax=2), LinearPotential()).fit(good(2), targets)


# --- Files ----------------------------------------------------------------------------------------------------------


def damaged(content):
    """What disks, transfers and people do to files, by name."""
    middle = len(content) // 2
    flipped = bytearray(content)
    flipped[middle] ^= 0x10
    return {
        "empty": b"",
        "cut in the middle": content[:middle],
        "cut at the end": content[:-40],
        "noise": np.random.default_rng(0).bytes(len(content)),
        "noise in the middle": content[:middle] + np.random.default_rng(1).bytes(64) + content[middle + 64 :],
        "a flipped bit": bytes(flipped),
        "foreign": b"<html><body>404 Not Found</body></html>",
        "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    }


DAMAGES = tuple(damaged(b" " * 200))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_file_is_refused_with_its_name(model, tmp_path, damage):
    path = tmp_path / "model.mlfeat"
    save(model, path)
    path.write_bytes(damaged(path.read_bytes())[damage])
    with pytest.raises(ValueError, match=r"model\.mlfeat"):
        load(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.mlfeat")


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "a flipped bit"])
@pytest.mark.parametrize("which", [0, 1], ids=["snapcoeff", "snapparam"])
def test_a_damaged_lammps_file_is_refused_with_its_name(model, tmp_path, which, damage):
    """Text has no content hash: a flipped bit may be another number. Whatever cannot be read as written is refused."""
    paths = [path for path in write_snap(model, tmp_path / "model") if str(path).endswith(("coeff", "param"))]
    content = damaged(paths[which].read_bytes())[damage]
    if which == 1 and damage.startswith("cut"):
        content = b"rcutfac 4.6\ntwojm"
    paths[which].write_bytes(content)
    with pytest.raises(ValueError, match=paths[which].name):
        read_snap(*paths)


# --- Models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        Bispectrum(),
        make_pipeline(Bispectrum()),
        make_pipeline(LinearPotential()),
        make_pipeline(Bispectrum(), Ridge()),
        make_pipeline(QuadraticExpansion(), LinearPotential()),
        None,
    ],
    ids=["descriptor alone", "no potential", "no descriptor", "foreign regressor", "step first", "None"],
)
def test_what_is_no_model_is_refused_by_the_calculator(model):
    with pytest.raises(TypeError, match=r"Pipeline|descriptor|potential"):
        PotentialCalculator(model)


@pytest.mark.parametrize(
    "call",
    [
        lambda potential, X: potential.predict(X),
        lambda potential, X: potential.predict(X, return_std=True),
        lambda potential, X: potential.predict_targets(X),
        lambda potential, X: potential.score(X, reference(len(X))),
    ],
    ids=["predict", "with standard deviations", "predict_targets", "score"],
)
@pytest.mark.parametrize(
    "potential",
    [
        LinearPotential(Ridge(1e-6)),
        GaussianApproximationPotential(4, random_state=0),
        NeuralNetworkPotential((4,), solver="adam", max_iter=1, n_models=2, random_state=0),
    ],
    ids=lambda potential: type(potential).__name__,
)
def test_features_of_another_descriptor_are_refused(potential, call):
    features, wider, turned = (
        Bispectrum(twojmax=twojmax, species=species).fit_transform(good())
        for twojmax, species in ((2, SPECIES), (4, SPECIES), (2, SPECIES[::-1]))
    )
    potential = clone(potential).fit(features, reference(3))
    call(potential, features)
    message = rf"X has {wider.shape[1]} features, but .* is expecting {features.shape[1]} features as input: use the"
    with pytest.raises(ValueError, match=message):
        call(potential, wider)
    message = r"X has features of the species \('Ni', 'Mo'\), but .* is expecting \('Mo', 'Ni'\): use the descriptor"
    with pytest.raises(ValueError, match=message):
        call(potential, turned)


def test_good_input_raises_nothing(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.predict([*good(2), Atoms("Mo"), bulk("Ni")])).all()
