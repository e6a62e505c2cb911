"""What files of n2p2 say: every keyword, both formats of weights, and what is refused."""

import re
import shutil

import numpy as np
import pytest
from _nnp_files import HARTREE, INPUT, alloy, energy, layers, scaling_text, weights_text, write_files
from hypothesis import given, settings
from hypothesis import strategies as st

from mlfeat.base import predict_targets
from mlfeat.io import read_nnp
from mlfeat.io._nnp_reader import read_settings
from mlfeat.potentials import NeuralNetworkPotential

FLAGS = "scale_symmetry_functions\ncenter_symmetry_functions ! another\n"


def energy_of(model, atoms):
    return predict_targets(model, [atoms], extrapolation="ignore")["energy"][0]


def replaced(old, new, text=INPUT):
    assert old in text
    return text.replace(old, new)


# --- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("short", [False, True], ids=["with places", "numbers alone"])
def test_both_formats_of_weights_are_read(tmp_path, short):
    model = read_nnp(write_files(tmp_path / "x", short=short))
    for seed in range(3):
        np.testing.assert_allclose(energy_of(model, alloy(seed)), energy(alloy(seed)), rtol=1e-12)


def test_the_path_of_input_nn_is_the_folder(tmp_path):
    folder = write_files(tmp_path / "x")
    assert energy_of(read_nnp(folder / "input.nn"), alloy()) == energy_of(read_nnp(str(folder)), alloy())


def test_parts_have_the_names_and_species_of_the_file(tmp_path):
    descriptor, scaler, potential = (step for _, step in read_nnp(write_files(tmp_path / "x")).steps)
    assert descriptor.species_ == scaler.species_ == potential.species_ == ("Ni", "Be")
    assert potential.layer_sizes_ == ((5, 3, 2), (3, 3, 2))
    assert potential.activations_ == (("tanh", "softplus"),) * 2
    assert potential.hidden_layer_sizes == (3, 2)
    assert potential.activation == ("tanh", "softplus")


SCALINGS = {
    "": (None, None),
    "scale_symmetry_functions\n": ("min", "range"),
    "center_symmetry_functions\n": ("mean", None),
    FLAGS: ("mean", "range"),
    "scale_symmetry_functions_sigma\n": ("mean", "std"),
}


@pytest.mark.parametrize(("flags", "scaling"), SCALINGS.items(), ids=["none", "scale", "center", "both", "sigma"])
def test_every_scaling(tmp_path, flags, scaling):
    model = read_nnp(write_files(tmp_path / "x", replaced(FLAGS, flags)))
    center, scale = scaling
    np.testing.assert_allclose(energy_of(model, alloy()), energy(alloy(), center=center, scale=scale), rtol=1e-12)


def test_the_range_of_scaled_functions_is_0_to_1_if_not_given(tmp_path):
    text = replaced("scale_min_short -1.0\nscale_max_short 1.0\n", "")
    model = read_nnp(write_files(tmp_path / "x", text))
    np.testing.assert_allclose(energy_of(model, alloy()), energy(alloy(), ends=(0.0, 1.0)), rtol=1e-12)


def test_normalized_nodes(tmp_path):
    model = read_nnp(write_files(tmp_path / "x", INPUT + "normalize_nodes\n"))
    np.testing.assert_allclose(energy_of(model, alloy()), energy(alloy(), normalize=True), rtol=1e-12)


def test_a_normalized_data_set(tmp_path):
    text = INPUT + "mean_energy -1.25\nconv_energy 40.0\nconv_length 2.5\n"
    model = read_nnp(write_files(tmp_path / "x", text))
    expected = energy(alloy(), mean_energy=-1.25, conv_energy=40.0)
    np.testing.assert_allclose(energy_of(model, alloy()), expected, rtol=1e-12)
    assert model[-1].intercept == pytest.approx({"Ni": -1.75 * HARTREE, "Be": -1.0 * HARTREE})


def test_other_units(tmp_path):
    model = read_nnp(write_files(tmp_path / "x"), length_unit="angstrom", energy_unit="eV")
    np.testing.assert_allclose(energy_of(model, alloy()), energy(alloy(), length=1.0, unit=1.0), rtol=1e-12)
    with pytest.raises(ValueError, match="length_unit='nm': must be one of 'bohr', 'angstrom'"):
        read_nnp(tmp_path / "x", length_unit="nm")
    with pytest.raises(ValueError, match="energy_unit='ev': must be one of 'hartree', 'eV'"):
        read_nnp(tmp_path / "x", energy_unit="ev")


def test_cutoff_types_and_their_inner_cutoffs(tmp_path):
    descriptor = read_nnp(write_files(tmp_path / "x", replaced("cutoff_type 1", "cutoff_type 6 0.25")))[0]
    assert (descriptor.cutoff_function, descriptor.inner_cutoff) == ("poly2", 0.25)


def test_layers_by_element(tmp_path):
    own = {"Ni": layers()["Ni"], "Be": [(np.ones((3, 4)), np.ones(4)), (np.ones((4, 1)), np.ones(1))]}
    values = np.arange(21.0)
    text = INPUT + "element_hidden_layers_short Be 1\nelement_nodes_short Be 4\nelement_activation_short Be S l\n"
    model = read_nnp(write_files(tmp_path / "x", text, **{"weights.004.data": weights_text(values, own["Be"], False)}))
    assert model[-1].layer_sizes_ == ((5, 3, 2), (3, 4))
    assert model[-1].activations_ == (("tanh", "softplus"), ("reverse_logistic",))
    assert model[-1].hidden_layer_sizes == {"Ni": (3, 2), "Be": (4,)}
    network = model[-1].networks_[0][1]
    # Functions of Be in the descriptor's order: the one of the cutoff of 8 bohr is first in the file.
    np.testing.assert_array_equal(network.weights[0].T, values[:12].reshape(3, 4)[[1, 2, 0]][[0, 2, 1]])
    np.testing.assert_array_equal(network.biases[0], values[12:16])
    np.testing.assert_array_equal(network.weights[1], values[None, 16:20])


def test_nodes_of_the_last_hidden_layer_are_those_that_the_weights_have(tmp_path):
    text = INPUT + "element_nodes_short Be 3 7\n"
    model = read_nnp(write_files(tmp_path / "x", text))  # as n2p2 reads it
    np.testing.assert_allclose(energy_of(model, alloy()), energy(alloy()), rtol=1e-12)
    seven = weights_text(np.ones(48), [(np.ones(s), None) for s in ((3, 3), (3, 7), (7, 1))], False)
    model = read_nnp(write_files(tmp_path / "x", text, **{"weights.004.data": seven}))  # as it says
    assert model[-1].layer_sizes_ == ((5, 3, 2), (3, 3, 7))


def test_scaling_without_sigma_and_with_energies_at_the_end(tmp_path):
    rows = [" ".join(line.split()[:5]) for line in scaling_text().splitlines()[1:]]
    old = "\n".join([*rows, "-1.0 2.0", ""])
    model = read_nnp(write_files(tmp_path / "x", **{"scaling.data": old}))
    np.testing.assert_allclose(energy_of(model, alloy()), energy(alloy()), rtol=1e-12)
    write_files(tmp_path / "x", replaced(FLAGS, "scale_symmetry_functions_sigma\n"), **{"scaling.data": old})
    with pytest.raises(ValueError, match="scaling.data, line 1: no sigma"):
        read_nnp(tmp_path / "x")


TRAINING = """\
epochs 7
random_seed 2147483647
updater_type 1
kalman_type 1
kalman_epsilon 0.03
kalman_q0 0.02
kalman_qtau 2.0
kalman_qmin 1e-5
kalman_eta 0.04
kalman_etatau 2.5
kalman_etamax 0.9
kalman_lambda_short 0.97
kalman_nue_short 0.999
short_energy_fraction 0.5
short_force_fraction 0.25
short_energy_error_threshold 0.1
short_force_error_threshold 0.9
rmse_threshold_trials 4
force_weight 10.0
use_short_forces
test_fraction 0.1
selection_mode 2 15 1
weights_min -1
main_error_metric RMSEpa
nnp_type 2G-HDNNP
"""


def test_training_settings_become_parameters(tmp_path):
    given = read_nnp(write_files(tmp_path / "x", INPUT + TRAINING))[-1].get_params()
    expected = {
        "max_iter": 7,
        "random_state": 2147483647,
        "solver": "kalman",
        "kalman_type": "fading",
        "kalman_epsilon": 0.03,
        "kalman_q0": 0.02,
        "kalman_q_tau": 2.0,
        "kalman_q_min": 1e-5,
        "kalman_eta": 0.04,
        "kalman_eta_tau": 2.5,
        "kalman_eta_max": 0.9,
        "kalman_lambda": 0.97,
        "kalman_nu": 0.999,
        "energy_fraction": 0.5,
        "force_fraction": 0.25,
        "energy_threshold": 0.1,
        "force_threshold": 0.9,
        "threshold_trials": 4,
        "hidden_layer_sizes": (3, 2),
        "activation": ("tanh", "softplus"),
        "intercept": {"Ni": -0.5 * HARTREE, "Be": 0.25 * HARTREE},
    }
    assert given == NeuralNetworkPotential().get_params() | expected


def test_training_without_forces_has_no_weight_for_them(tmp_path):
    text = INPUT + TRAINING.replace("use_short_forces\n", "")
    assert read_nnp(write_files(tmp_path / "x", text))[-1].force_weight == 0


def test_comments_in_any_encoding_are_skipped(tmp_path):
    text = INPUT.encode().replace(b"a comment", "Å, η".encode("latin-1", "replace"))
    assert read_settings(write_files(tmp_path / "x", text) / "input.nn").elements == ("Ni", "Be")


# --- what is refused -----------------------------------------------------------------------------

BAD_INPUT = {
    "unknown": (INPUT + "scale_everything 3\n", "line 21: unknown keyword 'scale_everything': it may change"),
    "charges": (INPUT + "fixed_gausswidth Ni 1.0\n", "line 21: fixed_gausswidth is of potentials with charges"),
    "4G": (INPUT + "nnp_type 4G-HDNNP\n", "line 21: nnp_type 4G-HDNNP: only 2G-HDNNP"),
    "4G by its other name": (INPUT + "nnp_gen 4\n", "line 21: nnp_gen 4: only 2G-HDNNP"),
    "RuNNer": (INPUT + "global_symfunction_short 2 0.1 0 8\n", "line 21: .* is RuNNer's; write each function"),
    "twice": (INPUT + "cutoff_type 2\n", "line 21: cutoff_type is there already, in line 5"),
    "twice by another name": (INPUT + "energy_fraction 1\nshort_energy_fraction 1\n", "line 22: .* in line 21"),
    "no elements": (replaced("elements Ni Be\n", "\n"), "elements is missing; the file is truncated"),
    "number of elements": (replaced("elements 2", "elements 3"), "line 1: number_of_elements is 3, but .* names 2"),
    "no element": (replaced("Ni Be\n", "Ni Xx\n"), "line 2: 'Xx' is not the symbol of an element"),
    "element twice": (replaced("Ni Be\n", "Ni Ni\n"), "line 2: element Ni is there twice"),
    "energy of another": (replaced("energy Ni", "energy Mo"), "line 3: 'Mo' is not among the elements, Ni Be"),
    "energy twice": (replaced("energy Ni", "energy Be"), "line 4: atom_energy of Be is there already, in line 3"),
    "no number": (replaced("Ni -0.5", "Ni x"), "line 3: atom_energy of Ni should be a finite number, not 'x'"),
    "nan": (replaced("Ni -0.5", "Ni nan"), "line 3: atom_energy of Ni should be a finite number, not 'nan'"),
    "no energy": (replaced("Ni -0.5", "Ni"), r"line 3: atom_energy takes 2 value\(s\), not 1"),
    "no cutoff type": (replaced("cutoff_type 1\n", "\n"), "cutoff_type is missing"),
    "cutoff type": (replaced("cutoff_type 1", "cutoff_type 9"), "line 5: cutoff_type 9: should be from 0 to 8"),
    "inner cutoff": (replaced("cutoff_type 1", "cutoff_type 1 1.0"), "line 5: the inner cutoff .* not 1.0"),
    "cutoff types": (replaced("cutoff_type 1", "cutoff_type 1 0 0"), "line 5: cutoff_type takes one value or two"),
    "flag with a value": (replaced("functions\ncen", "functions 0\ncen"), "line 6: scale_symm.* takes no value"),
    "scalings": (INPUT + "scale_symmetry_functions_sigma\n", "line 21: .* exclude each other"),
    "range": (replaced("max_short 1.0", "max_short -1.0"), "line 9: scale_max_short, -1, should be more than"),
    "layers": (replaced("layers_short 2", "layers_short 3"), r"line 11: global_nodes_short: expected 3 positive"),
    "no layers": (replaced("global_hidden_layers_short 2\n", "\n"), "hidden layers of Ni are not given"),
    "no nodes": (replaced("global_nodes_short 3 2\n", "\n"), "hidden layers of Ni are not given"),
    "zero nodes": (replaced("3 2\n", "3 0\n"), "line 11: global_nodes_short: expected 2 positive"),
    "no activations": (replaced("global_activation_short t p l\n", "\n"), "activation functions of Ni are not given"),
    "activation": (replaced("t p l", "t q l"), "line 12: unknown activation function 'q'; known ones are l t s"),
    "activations": (replaced("t p l", "t l"), "line 12: global_activation_short: expected 3 letters"),
    "output": (replaced("t p l", "t p t"), "line 12: the output has the activation function 't'; only l"),
    "element's layers": (INPUT + "element_hidden_layers_short Be 1\n", "hidden layers of Be are not given"),
    "element's nodes": (INPUT + "element_nodes_short Be\n", "line 21: element_nodes_short of Be has no value"),
    "no functions": (
        "\n".join(line for line in INPUT.splitlines() if "short Be" not in line) + "\n",
        "no symf.* for Be",
    ),
    "weighted": (INPUT + "symfunction_short Ni 12 0.1 0 8\n", r"line 21: .*type 12 \(weighted radial\) cannot be read"),
    "compact": (INPUT + "symfunction_short Ni 20 Ni 0 8 p2\n", r"line 21: .*type 20 \(compact radial\) cannot"),
    "type": (INPUT + "symfunction_short Ni 1 Ni 8\n", "line 21: symmetry functions of type 1 cannot be read"),
    "function cut": (INPUT + "symfunction_short Ni\n", "line 21: symmetry functions of type None cannot be read"),
    "function's neighbor": (INPUT + "symfunction_short Ni 2 Mo 1 0 8\n", "line 21: 'Mo' is not among the elements"),
    "function's numbers": (INPUT + "symfunction_short Ni 2 Ni 1 0\n", r"line 21: a function of type 2 takes .*are 3"),
    "too many numbers": (INPUT + "symfunction_short Ni 2 Ni 1 0 8 1\n", r"line 21: a function of type 2 takes .*are 5"),
    "function twice": (INPUT + "symfunction_short Ni 2 Be 0.05 0 8.00\n", "line 21: the same function as in line 14"),
    "angular twice": (INPUT + "symfunction_short Ni 9 Ni Be 0.02 -1 2 8\n", "line 21: the same function as in line 13"),
    "eta": (INPUT + "symfunction_short Ni 2 Ni -1 0 8\n", "line 21: eta should be zero or positive, not -1"),
    "shift": (INPUT + "symfunction_short Ni 2 Ni 1 -1 8\n", "line 21: r_s should be zero or positive, not -1"),
    "cutoff": (INPUT + "symfunction_short Ni 2 Ni 1 0 0\n", "line 21: cutoff should be positive, not 0"),
    "zeta": (INPUT + "symfunction_short Ni 3 Ni Ni 1 1 0.5 8\n", "line 21: zeta should be at least 1, not 0.5"),
    "lambda": (INPUT + "symfunction_short Ni 3 Ni Ni 1 2 1 8\n", "line 21: lambda should be from -1 to 1, not 2"),
    "half a normalization": (INPUT + "conv_energy 2\n", "line 21: conv_energy without the rest of mean_energy"),
    "normalization": (
        INPUT + "mean_energy 0\nconv_energy 0\nconv_length 1\n",
        "line 22: conv_energy should be positive",
    ),
    "epochs": (INPUT + "epochs many\n", "line 21: epochs should be an integer, not 'many'"),
    "long seed": (INPUT + "random_seed 99999999999\n", "line 21: random_seed should be .* at most 2147483647"),
    "large seed": (INPUT + "random_seed 2147483648\n", "line 21: random_seed should be .* at most 2147483647"),
    "updater": (INPUT + "updater_type 2\n", "line 21: updater_type should be one of 0, 1, not '2'"),
    "cut": (INPUT[:-1], "line 20: the file ends within this line"),
    "empty": ("", "elements is missing"),
    "noise": (bytes(range(255, 0, -1)) * 20, "not a text file|ASCII"),
    "the other file": (scaling_text(), "line 2: unknown keyword '1'"),
}


@pytest.mark.parametrize(("text", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_settings_are_refused(tmp_path, text, message):
    write_files(tmp_path / "x", text)
    with pytest.raises(ValueError, match=f"input.nn(:|,).*({message})"):
        read_nnp(tmp_path / "x")


SCALING = scaling_text().splitlines(keepends=True)
SAME = "   1    1 " + " 1.0" * 3 + " 0.0\n"
BAD_SCALING = {
    "no number": ("".join([*SCALING[:2], "1 2 0 1 x 1\n", *SCALING[3:]]), "line 3: mean should be a finite number"),
    "nan": ("".join([*SCALING[:2], "1 2 0 nan 0 1\n", *SCALING[3:]]), "line 3: max should be a finite number"),
    "missing": ("".join(SCALING[:-1]), "7 functions, but input.nn has 8; the file is truncated"),
    "missing in the middle": ("".join(SCALING[:2] + SCALING[3:]), "line 3: expected function 2 of element 1.*not 1 3"),
    "additional": ("".join([*SCALING, SCALING[-1]]), "line 10: more functions than the 8 of input.nn"),
    "columns": ("".join([*SCALING[:2], "1 2 0 1\n", *SCALING[3:]]), "line 3: .*six columns, not 4"),
    "least": ("".join([*SCALING[:2], "1 2 3 1 0 1\n", *SCALING[3:]]), "line 3: the least value, 3.0, is more than"),
    "constant": ("".join([SAME, *SCALING[2:]]), "line 1: the function did not vary, so that it is divided by 0"),
    "nearly constant": ("".join([SAME.replace("1.0 1.0", "1.0 1.0000000000001"), *SCALING[2:]]), "line 1: .*not vary"),
    "cut": (scaling_text()[:-1], "line 9: the file ends within this line"),
    "empty": ("", "0 functions"),
    "noise": (b"\0\1", "not a text file"),
}


@pytest.mark.parametrize(("text", "message"), BAD_SCALING.values(), ids=BAD_SCALING)
def test_bad_scaling_is_refused(tmp_path, text, message):
    write_files(tmp_path / "x", **{"scaling.data": text})
    with pytest.raises(ValueError, match=f"scaling.data(:|,).*({message})"):
        read_nnp(tmp_path / "x")


def texts_of_weights(symbol="Be"):
    own = layers()[symbol]
    values = [value for w, b in own for value in (*w.ravel(), *b)]
    return weights_text(values, own, False), weights_text(values, own, True)


LONG, SHORT = texts_of_weights()
BAD_WEIGHTS = {
    "no number": (re.sub("^ *[^ ]+", "x", LONG), "line 1: a weight or bias should be a finite number, not 'x'"),
    "nan": (re.sub("^[^\n]+", "nan", SHORT), "line 1: a weight or bias should be a finite number, not 'nan'"),
    "swapped": ("".join(np.roll(LONG.splitlines(keepends=True), 1)), "line 1: expected 'a 1 0 1 1 1' behind"),
    "missing": ("".join(LONG.splitlines(keepends=True)[:-1]), "22 weights .* with 3-3-2-1 nodes, has 23"),
    "additional": (SHORT + "1.0\n", "24 weights and biases, but .* has 23"),
    "words": (SHORT.replace("\n", " a\n", 1), "line 1: expected 'a 1 0 1 1 1' behind the number, not 'a'"),
    "cut": (SHORT[:-1], "line 23: the file ends within this line"),
    "empty": ("", "0 weights and biases"),
    "of another element": (texts_of_weights("Ni")[0], "29 weights and biases, but .* has 23"),
    "noise": (b"\xff" * 10, "ASCII"),
}


@pytest.mark.parametrize(("text", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights_are_refused(tmp_path, text, message):
    write_files(tmp_path / "x", **{"weights.004.data": text})
    with pytest.raises(ValueError, match=f"weights.004.data(:|,).*({message})"):
        read_nnp(tmp_path / "x")


@pytest.mark.parametrize("name", ["input.nn", "scaling.data", "weights.004.data"])
def test_a_missing_file_is_named(tmp_path, name):
    write_files(tmp_path / "x")
    (tmp_path / "x" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no such file.*{name}"):
        read_nnp(tmp_path / "x")


def test_weights_of_other_elements_are_named(tmp_path):
    write_files(tmp_path / "x")
    shutil.move(tmp_path / "x" / "weights.004.data", tmp_path / "x" / "weights.012.data")
    with pytest.raises(FileNotFoundError, match="network of Be; there are: weights.012.data, weights.028.data"):
        read_nnp(tmp_path / "x")


@given(st.binary(max_size=100), st.integers(0, len(INPUT)))
@settings(max_examples=100, deadline=None)
def test_noise_within_a_file_is_a_clear_error_if_it_is_one(tmp_path_factory, noise, place):
    path = tmp_path_factory.mktemp("noise") / "input.nn"
    path.write_bytes(INPUT.encode()[:place] + noise + INPUT.encode()[place:])
    assert complaint_about(path) in (None, str(path))


def complaint_about(path):
    """What the error of reading a settings file begins with, up to the line's number."""
    try:
        read_settings(path)
    except ValueError as error:
        return re.split("[,:]", str(error))[0]


def test_every_cut_of_a_published_file_is_an_error(shared, tmp_path):
    folder = shutil.copytree(shared / "models" / "Ni" / "nnp", tmp_path / "Ni")
    for name in ("input.nn", "scaling.data", "weights.028.data"):
        path = folder / name
        whole = path.read_bytes()
        for stop in {*range(0, len(whole), 997), *range(len(whole) - 90, len(whole))}:
            path.write_bytes(whole[:stop])
            with pytest.raises(ValueError, match=re.escape(str(folder))):
                read_nnp(folder)
        path.write_bytes(whole)
