"""The whole of ``mlfeat compare`` on the Mo data of Zuo et al., J. Phys. Chem. A 124, 731 (2020)."""

import json

import pytest

from mlfeat.cli import main

pytestmark = pytest.mark.slow

# Errors of the published models on the test set: RMSE of energies (eV/atom) and forces (eV/Å), GAP's as MAE.
PUBLISHED = {
    "snap": ("rmse", 0.00925, 0.376),
    "qsnap": ("rmse", 0.00404, 0.333),
    "mtp": ("rmse", 0.00398, 0.151),
    "nnp": ("rmse", 0.00543, 0.204),
    "gap": ("mae", 0.00224, 0.09),
}
DFT = {"C11": 472, "C12": 158, "C44": 106}  # GPa
VARIANTS = {
    "snap": [{"twojmax": 2}, {"twojmax": 4}],
    "qsnap": [{"twojmax": 2}],
    "gap": [{"n_max": 4, "l_max": 4, "n_sparse": 200}],
    "mtp": [{"level": 8}],
}


@pytest.fixture(scope="module")
def results(shared, tmp_path_factory):
    """What ``results.json`` holds, by method, and the folder."""
    folder, data = tmp_path_factory.mktemp("Mo"), shared / "data/zuo2020/Mo"
    (folder / "variants.json").write_text(json.dumps(VARIANTS))
    arguments = ["--train", f"{data}/train.xyz", "--test", f"{data}/test.xyz", "--out", str(folder)]
    short = ["--learning-curve", "0.2", "--scaling", "54,432", f"--variants={folder}/variants.json"]
    assert main(["compare", *arguments, *short, "--n-jobs", "2", "--properties", "lattice,elastic,vacancy"]) == 0
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return content | {"methods": {method["method"]: method for method in content["methods"]}, "folder": folder}


@pytest.mark.parametrize("name", PUBLISHED)
def test_errors_are_at_or_near_the_published_ones(name, results):
    measure, energy, force = PUBLISHED[name]
    test = results["methods"][name]["test"]
    assert 0.3 * energy < test[f"energy_{measure}"] < 1.1 * energy
    assert 0.3 * force < test[f"force_{measure}"] < 1.1 * force


@pytest.mark.parametrize("name", PUBLISHED)
def test_elastic_constants_are_near_those_of_dft(name, results):
    assert results["reference_properties"] == DFT
    properties = results["methods"][name]["properties"]
    assert properties["lattice_constant"] == pytest.approx(3.168, abs=0.02)
    for key, value in DFT.items():
        assert properties[key] == pytest.approx(value, rel=0.15), key


@pytest.mark.parametrize("name", PUBLISHED)
def test_errors_of_groups_make_up_that_of_all(name, results):
    test = results["methods"][name]["test"]
    assert set(test["groups"]) == {"AIMD-NVT", "Elastic", "Surface", "Vacancy"}
    squares = sum(group["structures"] * group["energy_rmse"] ** 2 for group in test["groups"].values())
    assert squares / 23 == pytest.approx(test["energy_rmse"] ** 2, rel=1e-9)


@pytest.mark.parametrize("name", PUBLISHED)
def test_more_data_lower_the_test_error_of_forces(name, results):
    few, all_ = results["methods"][name]["learning_curve"]
    assert (few["fraction"], all_["fraction"], all_["n_structures"]) == (0.2, 1.0, 194)
    assert all_["test"]["force_rmse"] < 1.05 * few["test"]["force_rmse"]


@pytest.mark.parametrize("name", VARIANTS)
def test_smaller_variants_have_fewer_parameters_and_larger_training_errors(name, results):
    method = results["methods"][name]
    for variant in method["variants"]:
        assert variant["status"] == "ok"
        assert variant["n_parameters"] < method["n_parameters"]
        assert variant["train"]["force_rmse"] > method["train"]["force_rmse"]
        assert variant["us_per_atom"] > 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_cost_of_an_atom_hardly_grows_with_their_number(name, results):
    small, large = results["methods"][name]["scaling"]
    assert (small["atoms"], large["atoms"]) == (54, 432)
    assert large["us_per_atom"] < 3 * small["us_per_atom"]


def test_cheap_potentials_are_cheaper_than_gap(results):
    costs = {name: method["us_per_atom"] for name, method in results["methods"].items()}
    assert min(costs, key=costs.get) != "gap"
    assert max(costs, key=costs.get) == "gap"


def test_the_page_holds_all_methods(results):
    page = (results["folder"] / "report.html").read_text(encoding="utf-8")
    for label in ("SNAP", "qSNAP", "GAP", "NNP", "MTP"):
        assert label in page
