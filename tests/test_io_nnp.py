"""Potentials from and to n2p2's files: n2p2's numbers, and the same numbers after writing and reading."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from _nnp_files import BOHR, HARTREE, alloy, write_files
from _toy import LeastSquares, Shells
from ase import Atoms
from ase.build import bulk
from ase.io import read
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from mlfeat import load, save
from mlfeat.base import ExtrapolationWarning, extrapolation_grades, predict_targets
from mlfeat.calculator import PotentialCalculator
from mlfeat.descriptors import ACSF
from mlfeat.descriptors._acsf import CUTOFF_FUNCTIONS
from mlfeat.io import read_nnp, write_nnp
from mlfeat.io._nnp_networks import deepened, merged, widened, with_columns, with_inputs, with_output
from mlfeat.io._nnp_reader import read_settings
from mlfeat.io._nnp_settings import in_file_order
from mlfeat.potentials import ZBL, NeuralNetworkPotential
from mlfeat.potentials._network import Network
from mlfeat.preprocessing import FeatureScaler, FeatureSelector, QuadraticExpansion
from mlfeat.targets import make_targets
from mlfeat.testing import toy_training_set

ELEMENTS = ("Li", "Mo", "Ni", "Si")
N2P2 = json.loads((Path(__file__).parent / "data" / "n2p2_two_elements.json").read_text())
SPECIES = ("Mo", "Ni")  # not in the order of atomic numbers


def published(shared, element):
    return shared / "models" / element / "nnp"


def reference(shared, element):
    return read(shared / "reference" / "nnp" / f"{element}.xyz", ":")


def predict(model, structures):
    return predict_targets(model, structures, extrapolation="ignore")


def assert_near(actual, desired, rtol):
    """Equal to a share of the largest number."""
    np.testing.assert_allclose(actual, desired, rtol=0, atol=rtol * np.abs(desired).max())


# --- n2p2's numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("element", ELEMENTS)
def test_published_potentials_give_the_energies_forces_and_stresses_of_n2p2(shared, element):
    structures = reference(shared, element)
    found = predict(read_nnp(published(shared, element)), structures)
    for atoms, target in zip(structures, found, strict=True):
        np.testing.assert_allclose(target["energy"], atoms.get_potential_energy(), rtol=1e-12)
        assert_near(target["forces"], atoms.get_forces(), 1e-11)  # of the largest component
        if atoms.pbc.all():
            assert_near(target["stress"], atoms.get_stress(), 1e-11)


@pytest.mark.parametrize("expected", N2P2["results"].values(), ids=N2P2["results"])
def test_potentials_of_two_elements_give_the_energies_and_forces_of_n2p2(tmp_path, expected):
    model = read_nnp(write_files(tmp_path, expected["settings"], **N2P2["files"]))
    atoms = Atoms(N2P2["symbols"], BOHR * np.array(N2P2["positions"]))
    (found,) = predict(model, [atoms])
    np.testing.assert_allclose(found["energy"], HARTREE * expected["energy"], rtol=1e-12)
    assert_near(found["forces"], HARTREE / BOHR * np.array(expected["forces"]), 1e-11)


@pytest.mark.parametrize("element", ELEMENTS)
def test_energies_of_atoms_are_those_of_n2p2(shared, element):
    for atoms in reference(shared, element):
        expected = atoms.get_potential_energies()
        atoms.calc = PotentialCalculator(read_nnp(published(shared, element)), extrapolation="ignore")
        np.testing.assert_allclose(atoms.get_potential_energies(), expected, rtol=1e-11)


@pytest.mark.parametrize("element", ELEMENTS)
def test_scaled_functions_are_those_of_n2p2(shared, element):
    model = read_nnp(published(shared, element))
    with np.load(shared / "reference" / "descriptors" / f"acsf_{element}_published.npz") as data:
        names = [key[0] for key in data if key.endswith("G_scaled")]
        expected = {name: data[f"{name}_G_scaled"] for name in names}
    structures = {atoms.info["name"][0]: atoms for atoms in reference(shared, element)}
    order = in_file_order(model[0].functions_[0])
    for name in names:
        values = model[:-1].transform([structures[name]])[0].values[:, order]
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-11)


@pytest.mark.parametrize("alpha", ["cutofftype1_alpha0.0", "cutofftype4_alpha0.3"])
def test_the_order_of_functions_of_two_elements_is_that_of_n2p2(shared, tmp_path, alpha):
    with np.load(shared / "reference" / "descriptors" / f"acsf_Ni-Mo_{alpha}.npz") as data:
        text, lines = str(data["input_nn"]), {symbol: data[f"line_{symbol}"] for symbol in ("Ni", "Mo")}
    settings = read_settings(write_files(tmp_path, text) / "input.nn")
    texts = text.splitlines()
    for symbol, functions in settings.functions.items():
        given = [k for k, line in enumerate(texts, 1) if line.startswith(f"symfunction_short {symbol}")]
        assert [given[k] for k in in_file_order(functions)] == lines[symbol].tolist()


@pytest.mark.parametrize("element", ELEMENTS)
def test_published_potentials_warn_where_they_extrapolate(shared, element):
    model, structures = read_nnp(published(shared, element)), reference(shared, element)
    assert extrapolation_grades(model, structures[:1]) < 1.1  # a test frame
    with pytest.warns(ExtrapolationWarning, match="G[23]"):
        predict_targets(model, structures[2:])


def test_training_settings_of_published_potentials(shared):
    potential = read_nnp(published(shared, "Mo"))[-1]
    assert (potential.solver, potential.kalman_type, potential.max_iter) == ("kalman", "noise", 30)
    assert (potential.hidden_layer_sizes, potential.activation) == ((16, 16), "tanh")
    assert (potential.force_fraction, potential.kalman_epsilon, potential.threshold_trials) == (0.02315, 0.01, 3)


# --- written and read again ----------------------------------------------------------------------

RADIAL = [(0.1, 0.0), (0.4, 2.0)]
ANGULAR = [(0.05, 1.0, -1.0), (0.05, 4.0, 1.0), (0.05, 2.5, 1.0, 1.0), (0.05, 2.0, 1.0, 0.0, 4.0)]
UNEVEN = {
    "radial": {("Mo", "Mo"): RADIAL, ("Mo", "Ni"): [(0.2, 1.0, 4.5)], ("Ni", "Mo"): RADIAL[:1]},
    "angular": {("Mo", "Ni", "Mo"): ANGULAR[:2], ("Ni", "Mo", "Mo"): ANGULAR[2:3]},
    "wide": {("Mo", "Ni", "Ni"): ANGULAR[1:2]},
}


def toy_model(*steps, species=SPECIES, layers=(4, 3), n_models=1, activation="tanh", seed=0, **functions):
    """A model as it would come out of a fit, and structures."""
    structures = toy_training_set(species, n_structures=3)
    descriptor = ACSF(5.0, species=species, **({"radial": RADIAL, "angular": ANGULAR} | functions))
    features = make_pipeline(descriptor, *steps).fit_transform(structures)
    rng, n_features = np.random.default_rng(seed), features.shape[1]
    layers = layers if isinstance(layers, dict) else dict.fromkeys(species, layers)
    potential = NeuralNetworkPotential(layers, activation, n_models=n_models)
    potential.layer_sizes_ = tuple((n_features, *layers[symbol]) for symbol in species)
    potential.activations_ = tuple((activation,) * len(layers[symbol]) for symbol in species)
    n = sum(Network.zeros(size, ("tanh",) * (len(size) - 1)).n_parameters for size in potential.layer_sizes_)
    potential.parameters_ = rng.normal(size=(n_models, n))
    potential.scale_, potential.intercept_ = 1.7, rng.normal(size=len(species)) - 5
    potential.species_, potential.n_features_in_ = species, n_features
    potential.n_iter_, potential.history_ = 0, []
    own = [features.values[features.species == s] for s in range(len(species))]
    potential.input_min_ = np.array([values.min(axis=0) for values in own])
    potential.input_max_ = np.array([values.max(axis=0) for values in own])
    return make_pipeline(descriptor, *steps, potential), structures


def check_round_trip(folder, model, structures, **units):
    write_nnp(model, folder, **units)
    again = read_nnp(folder, **units)
    assert again[0].species_ == model[0].species_
    expected, found = predict(model, structures), predict(again, structures)
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-12)
    for kind in ("forces", "stress"):
        for a, b in zip(found[kind], expected[kind], strict=True):
            assert_near(a, b, 1e-11)
    return again


STEPS = {
    "no scaler": [],
    "mean": [FeatureScaler("mean", None)],
    "range": [FeatureScaler("min", "range", by_species=True)],
    "range of -1 to 1": [FeatureScaler("min", "range", feature_range=(-1.0, 1.0), by_species=True)],
    "mean and range": [FeatureScaler("mean", "range", by_species=True)],
    "sigma": [FeatureScaler("mean", "std", by_species=True)],
    "all species alike": [FeatureScaler("min", "range")],
    "no keywords": [FeatureScaler("min", "std", by_species=True)],
    "no keywords, all alike": [FeatureScaler(None, "range", feature_range=(-1.0, 2.0))],
    "range without a scale": [FeatureScaler("mean", None, feature_range=(-1.0, 1.0))],
    "selector": [FeatureSelector(5)],
    "selector first": [FeatureSelector(7), FeatureScaler("min", "range", by_species=True)],
    "selector last": [FeatureScaler("min", "range", by_species=True), FeatureSelector(7)],
    "selectors": [FeatureSelector(9), FeatureScaler("mean", "std"), FeatureSelector(6)],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("functions", [{}, UNEVEN], ids=["alike", "uneven"])
def test_every_scaling_survives_writing_and_reading(tmp_path, steps, functions):
    if functions and any(isinstance(step, FeatureSelector) for step in steps):
        steps = [FeatureSelector(3) if isinstance(step, FeatureSelector) else step for step in steps]
    again = check_round_trip(tmp_path / "x", *toy_model(*steps, **functions))
    assert [type(step) for _, step in again.steps] == [ACSF, FeatureScaler, NeuralNetworkPotential]


KEYWORDS = {
    "mean": "center_symmetry_functions",
    "range": "scale_symmetry_functions scale_min_short scale_max_short",
    "mean and range": "center_symmetry_functions scale_symmetry_functions scale_min_short scale_max_short",
    "sigma": "scale_symmetry_functions_sigma scale_min_short scale_max_short",
    "no scaler": "",
    "no keywords": "",
}


@pytest.mark.parametrize(("name", "expected"), KEYWORDS.items(), ids=KEYWORDS)
def test_scalings_are_written_as_n2p2s_keywords(tmp_path, name, expected):
    model, _ = toy_model(*STEPS[name])
    text = write_nnp(model, tmp_path / "x")[0].read_text()
    assert re.findall(r"(?m)^(?:scale|center)_\w+", text) == expected.split()
    again = read_nnp(tmp_path / "x")[1]
    if expected:
        assert (again.center, again.scale) == (model[1].center, model[1].scale)


VARIANTS = {
    "one species": {"species": ("Ni",)},
    "three species": {"species": ("W", "Be", "Mo")},
    "one hidden layer": {"layers": (5,)},
    "no hidden layer": {"layers": ()},
    "three hidden layers": {"layers": (3, 4, 2)},
    "own layers": {"layers": {"Mo": (3, 4), "Ni": (5, 2)}},
    "own numbers of layers": {"layers": {"Mo": (3, 4, 2), "Ni": (5,)}},
    "one of three without layers": {"species": ("W", "Be", "Mo"), "layers": {"W": (3,), "Be": (), "Mo": (2,)}},
    "committee": {"n_models": 3},
    "committee of own layers": {"n_models": 2, "layers": {"Mo": (3,), "Ni": (5,)}},
    "committee without layers": {"n_models": 2, "layers": ()},
    "wide": {"wide": ANGULAR[:1]},
    "radial alone": {"angular": ()},
    "uneven": UNEVEN,
    "inner cutoff": {"cutoff_function": "poly2", "inner_cutoff": 0.2},
}
VARIANTS |= {name: {"activation": name} for name in ("softplus", "reverse_logistic", "gaussian", "relu", "harmonic")}
VARIANTS |= {f"cutoff {name}": {"cutoff_function": name} for name in CUTOFF_FUNCTIONS}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_form_survives_writing_and_reading(tmp_path, variant):
    check_round_trip(tmp_path / "x", *toy_model(FeatureScaler("min", "range", by_species=True), **variant))


@pytest.mark.parametrize("units", [("angstrom", "eV"), ("bohr", "eV")], ids=" ".join)
def test_other_units_survive_writing_and_reading(tmp_path, units):
    model, structures = toy_model(FeatureScaler("min", "range"), **UNEVEN)
    check_round_trip(tmp_path / "x", model, structures, length_unit=units[0], energy_unit=units[1])
    with pytest.raises(ValueError, match="energy_unit='Ry'"):
        write_nnp(model, tmp_path / "x", energy_unit="Ry")


@pytest.mark.parametrize("element", ["Mo", "Li"])
def test_published_potentials_survive_writing_and_reading(shared, tmp_path, element):
    model = read_nnp(published(shared, element))
    again = check_round_trip(tmp_path / element, model, reference(shared, element))
    np.testing.assert_array_equal(again[1].min_, model[1].min_)
    np.testing.assert_array_equal(again[1].std_, model[1].std_)
    np.testing.assert_allclose(again[-1].input_max_, model[-1].input_max_, rtol=1e-15)


@pytest.mark.parametrize("text", [one["settings"] for one in N2P2["results"].values()], ids=N2P2["results"])
def test_files_that_were_read_are_written_again(tmp_path, text):
    check_round_trip(tmp_path / "again", read_nnp(write_files(tmp_path / "x", text)), [alloy()])


@pytest.mark.parametrize("scaling", [("min", "range"), ("mean", "range"), ("mean", "std"), ("mean", None)])
def test_functions_that_do_not_vary_survive_and_n2p2_does_not_divide_by_zero(tmp_path, scaling):
    # At the hard cutoff of the first function there are no neighbors.
    radial = [(0.0, 0.0, 1.0), *RADIAL]
    model, structures = toy_model(FeatureScaler(*scaling, by_species=True), radial=radial)
    assert model[1].constant_.any()
    check_round_trip(tmp_path / "x", model, structures)
    rows = np.loadtxt(tmp_path / "x" / "scaling.data")
    assert (rows[:, 3] > rows[:, 2]).all() or scaling[1] != "range"
    assert (rows[:, 5] > 0).all() or scaling[1] != "std"


@pytest.mark.parametrize("scaling", [("mean", None), ("mean", "range"), (None, None)])
def test_ranges_of_features_survive(tmp_path, scaling):
    model, structures = toy_model(FeatureScaler(*scaling, by_species=True), **UNEVEN)
    write_nnp(model, tmp_path / "x")
    again = read_nnp(tmp_path / "x")
    features = model[:-1].transform(structures)
    np.testing.assert_allclose(again[-1].input_min_, model[-1].input_min_, atol=1e-12)
    np.testing.assert_allclose(again[-1].input_max_, model[-1].input_max_, atol=1e-12)
    assert max(again[-1].extrapolation_grade(item).max() for item in features) == pytest.approx(1)


def test_ranges_survive_without_a_scaler(tmp_path):
    model, _ = toy_model()
    write_nnp(model, tmp_path / "x")
    again = read_nnp(tmp_path / "x")
    np.testing.assert_allclose(again[-1].input_min_, model[-1].input_min_, rtol=1e-15)
    np.testing.assert_allclose(again[-1].input_max_, model[-1].input_max_, rtol=1e-15)


def test_a_model_that_was_read_can_be_saved_and_fitted_again(tmp_path):
    structures = toy_training_set(SPECIES, n_structures=4)
    targets = make_targets(structures)
    potential = NeuralNetworkPotential((3,), solver="lbfgs", max_iter=2, n_models=2, random_state=0)
    model = make_pipeline(ACSF(4.5, RADIAL, ANGULAR), FeatureScaler("min", "range", by_species=True), potential)
    again = check_round_trip(tmp_path / "x", model.fit(structures, targets), structures)
    predict_targets(again, structures, extrapolation="raise")
    save(again, tmp_path / "model.mlfeat")
    loaded = load(tmp_path / "model.mlfeat")
    np.testing.assert_array_equal(predict(loaded, structures)["energy"], predict(again, structures)["energy"])
    again.set_params(neuralnetworkpotential__solver="lbfgs", neuralnetworkpotential__max_iter=1)
    assert again.fit(structures, targets)[-1].n_iter_ == 1
    np.testing.assert_allclose(again[-1].intercept_, model[-1].intercept_, rtol=1e-14)


# --- the files -----------------------------------------------------------------------------------


def test_files_are_those_of_n2p2(tmp_path):
    model, _ = toy_model(FeatureScaler("min", "range"))
    paths = write_nnp(model, tmp_path / "x")
    names = ["input.nn", "scaling.data", "weights.028.data", "weights.042.data"]
    assert [path.name for path in paths] == names == sorted(path.name for path in (tmp_path / "x").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert all(line for line in paths[1].read_text().split("\n")[:-1])  # n2p2 stumbles over empty lines in it


def test_the_settings_say_how_to_use_them_in_lammps(tmp_path):
    model, _ = toy_model(FeatureScaler("min", "range"))
    lines = write_nnp(model, tmp_path / "x")[0].read_text().splitlines()
    assert "# Lengths are in bohr, energies in hartree. In LAMMPS, with units metal:" in lines
    style = next(line for line in lines if "pair_style" in line)
    assert style.startswith(f'# pair_style hdnnp 5.0 dir "{tmp_path / "x"}" cflength 1.8897261')
    assert " cfenergy 0.0367493" in style
    assert "# pair_coeff * * Mo Ni" in lines


def test_older_files_are_replaced(tmp_path):
    one, structures = toy_model(FeatureScaler("min", "range"))
    other, _ = toy_model(seed=1)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes").write_text("kept")
    check_round_trip(tmp_path / "x", one, structures)
    check_round_trip(tmp_path / "x" / "input.nn", other, structures)
    assert (tmp_path / "x" / "notes").read_text() == "kept"


def test_a_failure_leaves_older_files_as_they_are(tmp_path, monkeypatch):
    model, structures = toy_model()
    write_nnp(model, tmp_path / "x")
    before = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}

    def fail(path, blob):
        raise OSError("disk full")

    monkeypatch.setattr("mlfeat.io._nnp.write_atomically", fail)
    with pytest.raises(OSError, match="disk full"):
        write_nnp(toy_model(seed=1)[0], tmp_path / "x")
    assert {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_for_the_folder_has_to_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path / 'nowhere'}; create it"):
        write_nnp(toy_model()[0], tmp_path / "nowhere" / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="this is a file; name another folder"):
        write_nnp(toy_model()[0], tmp_path / "file")


# --- what the format cannot hold -----------------------------------------------------------------


def broken(**changes):
    model, _ = toy_model()
    for name, value in changes.items():
        setattr(model[-1], name, value)
    return model


def with_step(step):
    model, structures = toy_model(FeatureScaler())
    features = model[:-1].fit_transform(structures)
    return make_pipeline(model[0], model[1], step.fit(features), model[-1])


def without_functions_of_nickel():
    return toy_model(radial={("Mo", "Mo"): RADIAL}, angular=())[0]


def three_depths():
    return toy_model(species=("W", "Be", "Mo"), layers={"W": (3,), "Be": (2, 2), "Mo": (2, 2, 2)})[0]


def other_descriptor():
    structures = [bulk("Cu", cubic=True), bulk("Cu", cubic=True, a=3.7)]
    return make_pipeline(Shells(), LeastSquares()).fit(structures, [0.0, 1.0])


def other_potential():
    structures = [bulk("Cu", cubic=True), bulk("Cu", cubic=True, a=3.7)]
    return make_pipeline(ACSF(4.0, RADIAL, ()), LeastSquares()).fit(structures, [0.0, 1.0])


REFUSED = {
    "descriptor": (other_descriptor, TypeError, "symmetry functions, ACSF, not Shells"),
    "potential": (other_potential, TypeError, "a NeuralNetworkPotential, not LeastSquares"),
    "step": (lambda: with_step(QuadraticExpansion()), ValueError, "no counterpart of QuadraticExpansion between"),
    "scalers": (lambda: with_step(FeatureScaler()), ValueError, "no counterpart of FeatureScaler twice between"),
    "baseline": (lambda: broken(baseline=ZBL(1.0, 2.0)), ValueError, r"baseline, ZBL\(.* cannot hold"),
    "activation": (lambda: toy_model(activation="silu")[0], ValueError, "not have the activation function 'silu'"),
    "nan": (lambda: broken(parameters_=np.full((1, 77), np.nan)), ValueError, "not finite; fit it again"),
    "no functions": (without_functions_of_nickel, ValueError, "Ni has no symmetry functions, which n2p2 needs"),
    "depths": (three_depths, ValueError, "several elements have numbers of hidden layers of their own"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_n2p2_cannot_hold_is_refused(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        write_nnp(make(), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_models_that_are_not_fitted_are_refused(tmp_path):
    with pytest.raises(NotFittedError):
        write_nnp(make_pipeline(ACSF(4.0), NeuralNetworkPotential()), tmp_path / "x")


# --- networks in other forms ---------------------------------------------------------------------


def random_networks(sizes, n=3, activations=None, seed=0):
    rng = np.random.default_rng(seed)
    activations = activations or ("tanh", "softplus", "gaussian")[: len(sizes) - 1]
    one = Network.zeros(sizes, activations)
    return [one.with_parameters(rng.normal(size=one.n_parameters)) for _ in range(n)]


@pytest.mark.parametrize("sizes", [(4,), (4, 3), (4, 3, 2), (4, 3, 2, 5)], ids=str)
def test_merged_networks_are_the_mean(sizes):
    networks = random_networks(sizes)
    values = np.random.default_rng(1).normal(size=(6, 4))
    expected = np.mean([network.forward(values).energies for network in networks], axis=0)
    together = merged(iter(networks))
    np.testing.assert_allclose(together.forward(values).energies, expected, rtol=1e-12, atol=1e-13)
    assert together.sizes == (4, *(3 * n for n in sizes[1:] or (1,)))


def test_other_forms_give_the_same():
    (network,) = random_networks((4, 3, 2), 1)
    values = np.random.default_rng(1).normal(size=(6, 4))
    expected = network.forward(values).energies
    factors, offsets = np.array([2.0, 0.5, -1.0, 1.0]), np.array([0.0, 1.0, 0.0, -2.0])
    for form, argument in (
        (widened(network, 5), values),
        (deepened(network, 5), values),
        (with_inputs(network, factors, offsets), (values - offsets) / factors),
        (with_columns(network, [2, 0, 3, 1]), values[:, [2, 0, 3, 1]]),
        (with_output(network, 1 / 3), values),
    ):
        factor = 3 if form.biases[-1] != network.biases[-1] and len(form.biases) == 3 else 1
        np.testing.assert_allclose(factor * form.forward(argument).energies, expected, rtol=1e-12)
    assert widened(network, 5).sizes == (4, 3, 5)
    assert len(deepened(network, 5).activations) == 4
