"""On a Dask cluster everything comes out as it does in one process, to the last bit."""

import os
import threading

import joblib
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlfeat import (
    ACSF,
    SOAP,
    Bispectrum,
    DifferentialEvolutionSearch,
    FeatureScaler,
    GaussianApproximationPotential,
    LinearPotential,
    NeuralNetworkPotential,
    PairDistance,
    QuadraticExpansion,
    clear_cache,
    make_descriptor_union,
    make_targets,
)
from mlfeat._cluster import Parcel, count_threads, count_workers, on_cluster
from mlfeat.metrics import neg_force_rmse

distributed = pytest.importorskip("distributed")


def make_copper(n_structures=32, size=3):
    """Strained, rattled crystals in two groups, with EMT's energies, forces and stresses."""
    rng = np.random.default_rng(0)
    structures = []
    for index in range(n_structures):
        atoms = bulk("Cu", cubic=True) * (size, size, size)
        atoms.info["group"] = ("bulk", "hot")[index % 2]
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
        atoms.rattle((0.05, 0.15)[index % 2], rng=rng)
        atoms.calc = EMT()
        atoms.get_stress()
        structures.append(atoms)
    return structures


STRUCTURES = make_copper()
TARGETS = make_targets(STRUCTURES)
N = len(STRUCTURES)


@pytest.fixture(scope="module")
def client():
    address = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**address) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def dask(client):
    """joblib's backend, with nothing cached; calling it counts the tasks that the workers have done."""
    client.run(clear_cache)

    def count_tasks():
        return sum(client.run(lambda dask_worker: dask_worker.state.executed_count).values())

    with joblib.parallel_config("dask", n_jobs=2):
        yield count_tasks


def in_one_process(function, *args):
    with joblib.parallel_config("sequential"):
        result = function(*args)
    clear_cache()
    return result


def assert_equal_features(found, expected):
    assert len(found) == len(expected)
    for ours, other in zip(found, expected, strict=True):
        assert (ours.group, ours.key) == (other.group, other.key)
        np.testing.assert_array_equal(ours.values, other.values)
        assert not ours.values.flags.writeable
        for name in ("numbers", "positions", "cell", "pbc", "first", "second", "shifts", "vectors"):
            np.testing.assert_array_equal(getattr(ours.pairs, name), getattr(other.pairs, name))


# --- What runs where ------------------------------------------------------------------------------------------------


def test_features_come_from_the_workers(dask):
    descriptor = Bispectrum(cutoff=4.2, twojmax=4)
    expected = in_one_process(clone(descriptor).fit_transform, STRUCTURES)
    before = dask()
    found = descriptor.fit_transform(STRUCTURES)
    assert dask() - before == 4  # of 1000 atoms or more each
    assert_equal_features(found, expected)
    found = descriptor.transform(STRUCTURES)
    assert dask() - before == 4, "features in the cache were computed again"
    assert_equal_features(found, expected)


def test_what_is_small_or_has_one_job_stays_here(dask):
    before = dask()
    features = Bispectrum(cutoff=4.2, twojmax=4).fit_transform(STRUCTURES[:8])
    LinearPotential(solver="gram").fit(features, TARGETS[:8])
    features = Bispectrum(cutoff=4.2, twojmax=4, n_jobs=1).fit_transform(STRUCTURES)
    LinearPotential(solver="gram", n_jobs=1).fit(features, TARGETS)
    assert dask() == before


def test_threads_are_those_of_one_machine(dask):
    assert [count_threads(n) for n in (None, 1, 3, -1)] == [1, 1, 3, joblib.cpu_count()]
    assert [on_cluster(n) for n in (None, 1, -1)] == [True, False, True]
    assert count_workers(None) == 2


def process_and_counts():
    return os.getpid(), (on_cluster(None), count_workers(None), count_threads(None))


def test_a_task_sends_out_none(dask):
    processes, counts = zip(*joblib.Parallel()(4 * [joblib.delayed(process_and_counts)()]), strict=True)
    assert os.getpid() not in processes
    assert set(counts) == {(False, 1, 1)}


def test_what_shares_memory_stays_in_threads(dask):
    features = ACSF(cutoff=4.2).fit_transform(STRUCTURES[:4])
    committee = NeuralNetworkPotential((2,), n_models=2, max_iter=1, random_state=0)
    expected = in_one_process(clone(committee).fit(features, TARGETS[:4]).predict, features)
    before = dask()
    np.testing.assert_array_equal(committee.fit(features, TARGETS[:4]).predict(features), expected)
    assert dask() == before


# --- Fits -----------------------------------------------------------------------------------------------------------


def snap(solver):
    return make_pipeline(Bispectrum(cutoff=4.2, twojmax=4), LinearPotential(Ridge(1e-6), solver=solver))


def qsnap():
    steps = FeatureScaler(), QuadraticExpansion()
    return make_pipeline(Bispectrum(cutoff=4.2, twojmax=2), *steps, LinearPotential(Ridge(1e-6), solver="gram"))


@pytest.mark.parametrize("model", [snap("gram"), snap("qr"), qsnap()], ids=["gram", "qr", "steps"])
def test_sums_of_rows_come_from_the_workers(dask, model):
    weights = np.random.default_rng(1).uniform(0.5, 2, N)
    step = f"{model.steps[-1][0]}__sample_weight"
    expected = in_one_process(lambda: clone(model).fit(STRUCTURES, TARGETS, **{step: weights}))[-1]
    before = dask()
    found = model.fit(STRUCTURES, TARGETS, **{step: weights})[-1]
    assert dask() - before == 4 + 3  # features, and ranges of 4096 rows
    assert list(found.gram_.blocks) == list(expected.gram_.blocks)
    assert {group for group, _ in found.gram_.blocks} == {"bulk", "hot"}
    for key, block in expected.gram_.blocks.items():
        np.testing.assert_array_equal(found.gram_.blocks[key], block)
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    np.testing.assert_array_equal(found.grader_["factor"], expected.grader_["factor"])


def test_gap_is_assembled_by_the_workers(dask):
    descriptor = make_descriptor_union(PairDistance(cutoff=4.2, n_sparse=8), SOAP(cutoff=4.2, n_max=3, l_max=2))
    model = make_pipeline(descriptor, GaussianApproximationPotential(20, random_state=0))
    expected = in_one_process(clone(model).fit, STRUCTURES, TARGETS)[-1]
    before = dask()
    found = model.fit(STRUCTURES, TARGETS)[-1]
    assert dask() - before == 4 + 3
    for ours, other in zip(found.blocks_, expected.blocks_, strict=True):
        np.testing.assert_array_equal(ours["weights"], other["weights"])
    np.testing.assert_array_equal(found.variance_["factor"], expected.variance_["factor"])


def test_tasks_carry_structures_but_no_pairs(dask, monkeypatch):
    sent = []

    def weighed(*content):
        parcel = Parcel(*content)
        sent.append(parcel.n_bytes)
        return parcel

    for module in ("base._tasks", "potentials._fitting"):
        monkeypatch.setattr(f"mlfeat.{module}.Parcel", weighed)
    features = Bispectrum(cutoff=4.2, twojmax=4).fit_transform(STRUCTURES)
    LinearPotential(solver="gram").fit(features, TARGETS)
    n_atoms = sum(map(len, STRUCTURES))
    assert len(sent) == (1 + 4) + (1 + 3)
    assert sum(sent) < 100 * n_atoms  # bytes: positions and numbers twice, forces
    assert sum(item.pairs.nbytes for item in features) > 500 * n_atoms


def test_what_cannot_be_sent_is_an_error_at_once(dask):
    features = Bispectrum(cutoff=4.2, twojmax=4).fit_transform(STRUCTURES)
    features[0].descriptor.lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot pickle"):
        LinearPotential(solver="gram").fit(features, TARGETS)


# --- Searches -------------------------------------------------------------------------------------------------------


def process(model, structures, targets):
    """A scorer that says where it ran."""
    return float(os.getpid())


@pytest.mark.parametrize("scatter", [False, True])
def test_grid_search(dask, client, scatter):
    structures, targets = STRUCTURES[:8], TARGETS[:8]
    grid = {"bispectrum__cutoff": [3.4, 4.2], "linearpotential__regressor__alpha": [1e-6, 1e-2]}
    settings = {"scoring": {"force": neg_force_rmse, "process": process}, "refit": "force", "cv": 2}
    search = GridSearchCV(snap("gram"), grid, error_score="raise", **settings)
    expected = in_one_process(clone(search).fit, structures, targets)
    with joblib.parallel_config("dask", **({"scatter": [structures, targets]} if scatter else {})):
        search.fit(structures, targets)
    for name in ("split0_test_force", "split1_test_force", "rank_test_force"):
        np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])
    np.testing.assert_array_equal(search.best_estimator_[-1].coef_, expected.best_estimator_[-1].coef_)
    processes = {*search.cv_results_["split0_test_process"], *search.cv_results_["split1_test_process"]}
    assert processes <= set(client.run(os.getpid).values())


def evolution(bounds, scoring):
    settings = {"cv": 2, "popsize": 3, "n_trials": 8, "random_state": 0, "error_score": "raise"}
    return DifferentialEvolutionSearch(snap("gram"), bounds, scoring=scoring, **settings)


def test_evolution_search_from_sums_of_rows(dask):
    structures, targets = STRUCTURES[:8], TARGETS[:8]
    bounds = {"bispectrum__cutoff": [3.4, 4.2], "linearpotential__force_weight": (1e-3, 1.0, "log")}
    search = evolution(bounds, neg_force_rmse)
    expected = in_one_process(clone(search).fit, structures, targets)
    before = dask()
    search.fit(structures, targets)
    assert dask() - before > 4
    assert search.n_trials_ == 8
    assert search.best_params_ == expected.best_params_
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(search.best_estimator_[-1].coef_, expected.best_estimator_[-1].coef_)


def test_all_fits_of_a_trial_run_in_its_process(dask, client):
    search = evolution({"linearpotential__regressor__alpha": (1e-6, 1.0, "log")}, process)
    results = search.fit(STRUCTURES[:8], TARGETS[:8]).cv_results_
    np.testing.assert_array_equal(results["split0_test_score"], results["split1_test_score"])
    assert set(results["split0_test_score"]) <= set(client.run(os.getpid).values())


# --- Errors ---------------------------------------------------------------------------------------------------------


def test_an_error_of_a_worker_names_the_structure(dask):
    structures = [atoms.copy() for atoms in STRUCTURES]
    structures[17].positions[1] = structures[17].positions[0]
    descriptor = Bispectrum(cutoff=4.2, twojmax=4)
    with pytest.raises(ValueError, match="structure 17: ") as alone:
        in_one_process(clone(descriptor).fit_transform, structures)
    before = dask()
    with pytest.raises(ValueError, match="structure 17: ") as caught:
        descriptor.fit_transform(structures)
    assert str(caught.value) == str(alone.value)
    assert dask() > before
