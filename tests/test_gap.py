"""Gaussian approximation potentials: what they are by definition, and what users meet."""

import tracemalloc
import warnings

import numpy as np
import pytest
from _training import SPECIES, make_exact_targets, make_features, make_structures
from _unit_toy import TwoBlocks, UnitShells
from ase import Atoms
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlfeat import (
    SOAP,
    ZBL,
    Bispectrum,
    DescriptorUnion,
    FeatureScaler,
    LinearPotential,
    PairDistance,
    PotentialCalculator,
    load,
    make_targets,
    predict_targets,
    save,
)
from mlfeat import GaussianApproximationPotential as GAP
from mlfeat.features import AtomFeatures
from mlfeat.io import read_gap, write_gap
from mlfeat.potentials import _forecast
from mlfeat.potentials._basis import Basis
from mlfeat.potentials._environments import Environments
from mlfeat.potentials._evidence import Evidence
from mlfeat.potentials._forecast import Problem
from mlfeat.potentials._kernel_rows import KernelRows
from mlfeat.potentials._kernels import kernel_values, parts, sums_and_projections
from mlfeat.testing import awkward_structures, check_potential, toy_training_set


def training_data(descriptor=None, n=20):
    structures = toy_training_set(SPECIES, n_structures=n)
    for number, atoms in enumerate(structures):
        atoms.info["group"] = ("bulk", "hot")[number % 2]
    descriptor = UnitShells(species=SPECIES) if descriptor is None else descriptor
    return descriptor.fit_transform(structures), make_targets(structures)


def all_environments(features):
    """Every environment as a sparse point, by symbol."""
    species = np.concatenate([item.species for item in features])
    return {symbol: features.values[species == s] for s, symbol in enumerate(SPECIES)}


class StructureKernel(Kernel):
    """Sum of (B·B')^ζ over the pairs of atoms of one species of two structures, named by their numbers."""

    def __init__(self, features=None, zeta=3, delta=1.0):
        self.features = features
        self.zeta = zeta
        self.delta = delta

    def __call__(self, X, Y=None, eval_gradient=False):
        first = [self.features[int(k)] for k in X[:, 0]]
        second = first if Y is None else [self.features[int(k)] for k in Y[:, 0]]
        return np.array([[self._pair(a, b) for b in second] for a in first])

    def _pair(self, a, b):
        same = a.species[:, None] == b.species
        return self.delta**2 * np.sum(same * (a.values @ b.values.T) ** self.zeta)

    def diag(self, X):
        return np.array([self._pair(*[self.features[int(k)]] * 2) for k in X[:, 0]])

    def is_stationary(self):
        return False


# --- What it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["rkhs-qr", "qr"])
def test_all_environments_as_sparse_points_give_the_full_process(solver):
    """scikit-learn's GaussianProcessRegressor on energies: mean, deviation, log marginal likelihood."""
    features, targets = training_data(n=16)
    train = features[:12]
    energies, n_atoms = targets["energy"][:12], np.array([item.n_atoms for item in train])
    sigma, delta, e0 = 0.02, 0.7, {"Au": -1.0, "Cu": -2.0}
    settings = {"zeta": 3, "delta": delta, "energy_sigma": sigma, "e0": e0, "solver": solver, "jitter": 1e-15}
    model = GAP(sparse_points=all_environments(train), **settings).fit(train, energies)
    offsets = np.array([[-1.0, -2.0][s] for item in features for s in item.species]).reshape(16, -1).sum(axis=1)
    kernel = StructureKernel(features, 3, delta)
    peer = GaussianProcessRegressor(kernel, alpha=sigma**2 * n_atoms, optimizer=None)
    peer.fit(np.arange(12.0)[:, None], energies - offsets[:12])
    mean, std = peer.predict(np.arange(16.0)[:, None], return_std=True)
    np.testing.assert_allclose(model.predict(features), mean + offsets, rtol=1e-8)
    np.testing.assert_allclose(model.predict_std(features), std, rtol=1e-5)
    np.testing.assert_allclose(model.log_marginal_likelihood_, peer.log_marginal_likelihood_value_, rtol=1e-8)


def dense_process(features, targets, model, sample_weight=None, group_factor=None):
    """Covariance of the prior, of the noise, and the numbers, of all targets of a fitted model by the definition."""
    found = parts(model.blocks_, len(SPECIES))
    weights = np.ones(len(features)) if sample_weight is None else sample_weight
    rows, noise, numbers = [], [], []
    for item, target, weight in zip(features, targets, weights, strict=True):
        values = kernel_values(item, found)
        factor = (group_factor or {}).get(item.group, 1.0)
        gradients = item.projected_rows(sums_and_projections(item, found)[1])
        rows += [values.sum(axis=0)[None], gradients]
        noise += [model.energy_sigma_**2 * item.n_atoms * factor**2 / weight]
        noise += [model.force_sigma_**2 * factor**2 / weight] * (3 * item.n_atoms)
        noise += [model.stress_sigma_**2 * factor**2 / weight] * 6
        numbers += [target["energy"] - model.e0_[item.species].sum(), *np.ravel(target["forces"]), *target["stress"]]
    rows, columns = np.concatenate(rows), np.zeros(0)
    prior = np.zeros((rows.shape[1], rows.shape[1]))
    for part in found:
        own = part.covariance if part.points is None else (part.points @ part.points.T) ** part.zeta
        prior[part.columns, part.columns] = part.delta**2 * np.linalg.inv(own)
        columns = np.append(columns, np.full(len(own), part.delta**2))
    return rows, prior, np.array(noise), np.array(numbers), columns


@pytest.mark.parametrize("descriptor", [UnitShells(species=SPECIES), TwoBlocks(species=SPECIES)], ids=["one", "two"])
@pytest.mark.parametrize("solver", ["rkhs-qr", "qr"])
def test_mean_variance_and_likelihood_are_those_of_the_dense_normal_distribution(solver, descriptor):
    features, targets = training_data(descriptor, 8)
    weight = np.linspace(0.5, 2, 8)
    model = GAP(8, zeta=2, delta=0.5, solver=solver, jitter=1e-15, group_sigmas={"hot": 3.0}, e0="average")
    model.fit(features, targets, weight)
    rows, prior, noise, numbers, columns = dense_process(features, targets, model, weight, {"hot": 3.0})
    covariance = rows @ prior @ rows.T + np.diag(noise)
    expected = multivariate_normal(cov=covariance).logpdf(numbers)
    np.testing.assert_allclose(model.log_marginal_likelihood_, expected, rtol=1e-7)
    coef = prior @ rows.T @ np.linalg.solve(covariance, numbers)
    energies = [model.e0_[item.species].sum() for item in features]
    found = parts(model.blocks_, 2)
    kernels = np.array([kernel_values(item, found).sum(axis=0) for item in features])
    np.testing.assert_allclose(model.predict(features), energies + kernels @ coef, rtol=1e-8)
    posterior = prior - prior @ rows.T @ np.linalg.solve(covariance, rows @ prior)
    explained = np.einsum("nk,kl,nl->n", kernels, prior - posterior, kernels)
    factor = (kernels * columns) @ model.variance_["factor"]
    np.testing.assert_allclose(np.sum(factor**2, axis=1), explained, rtol=1e-7)


def test_gradient_of_the_likelihood():
    features, targets = training_data(TwoBlocks(species=SPECIES), 6)
    model = GAP(8, zeta=2, e0="fit").fit(features, targets)
    theta = np.log([0.02, 0.1, 0.003, 0.8, 0.4])
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == model.log_marginal_likelihood(theta)
    for k, slope in enumerate(gradient):
        step = 1e-3 * np.eye(5)[k]
        ahead, behind = (model.log_marginal_likelihood(theta + s * step) for s in (1, -1))
        ahead2, behind2 = (model.log_marginal_likelihood(theta + s * step) for s in (2, -2))
        numerical = (8 * (ahead - behind) - (ahead2 - behind2)) / 12e-3
        np.testing.assert_allclose(slope, numerical, rtol=1e-6, atol=1e-5)


def test_data_are_interpolated_as_sigma_vanishes():
    features, targets = training_data(n=4)
    points = all_environments(features)
    errors = []
    for sigma in (1e-1, 1e-3, 1e-5):
        model = GAP(sparse_points=points, energy_sigma=sigma, jitter=1e-14).fit(features, targets["energy"])
        errors.append(np.abs(model.predict(features) - targets["energy"]).max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_deviation_falls_to_the_noise_at_the_data_and_grows_away():
    features, targets = training_data(n=12)
    sigma = 1e-3
    model = GAP(sparse_points=all_environments(features), zeta=2, energy_sigma=sigma, jitter=1e-14)
    model.fit(features[:8], targets["energy"][:8])
    std, noise = model.predict_std(features), sigma * np.sqrt([item.n_atoms for item in features])
    assert np.all(std[:8] <= noise[:8] * (1 + 1e-6))
    assert std[8:].min() > 0
    atoms = toy_training_set(SPECIES, n_structures=1)[0]
    strained = []
    for stretch in (1.0, 1.15, 1.3):
        moved = atoms.copy()
        moved.set_cell(stretch * moved.cell, scale_atoms=True)
        strained.append(moved)
    std = model.predict_std(features[0].descriptor.transform(strained))
    assert std[0] < std[1] < std[2]


def test_forces_narrow_the_deviation():
    features, targets = training_data(n=12)
    common = {"sparse_points": all_environments(features), "random_state": 0}
    with_forces = GAP(**common).fit(features[:4], targets[:4])
    without = GAP(**common).fit(features[:4], targets["energy"][:4])
    assert np.all(with_forces.predict_std(features) < without.predict_std(features))
    assert np.all(with_forces.energies_std(features[9]) < without.energies_std(features[9]))


def test_deviation_of_one_atom_is_that_of_its_energy():
    features, targets = training_data(TwoBlocks(species=SPECIES), 6)
    model = GAP(20).fit(features, targets)
    one = features[0].descriptor.transform([Atoms("Cu", cell=[2.6] * 3, pbc=True)])
    np.testing.assert_allclose(model.energies_std(one[0]), model.predict_std(one), rtol=1e-6)


def test_a_species_that_the_fit_never_saw_has_the_deviation_of_the_prior(tmp_path):
    """Of each block; also of a model that went through a file of another program."""
    train = toy_training_set(SPECIES, n_structures=6)
    delta = {"soap_zeta1": 0.5, "soap_zeta3": 1.2}
    model = make_pipeline(SOAP(4.0, 3, 2, species=(*SPECIES, "Mo")), GAP(15, zeta=(1, 3), delta=delta))
    with pytest.warns(UserWarning, match="there is no Mo in the data"):
        model.fit(train, make_targets(train))
    atoms = train[0].copy()
    atoms.symbols[[1, 4]] = "Mo"
    write_gap(model, tmp_path / "gap.xml")
    for one in (model, read_gap(tmp_path / "gap.xml", variance_regularization=1e-3)):
        item = one[:-1].transform([atoms])[0]
        std = one[-1].energies_std(item)
        np.testing.assert_allclose(std[[1, 4]], np.hypot(0.5, 1.2), rtol=1e-5)
        assert std[[0, 2, 3]].max() < 1.2
    alone = model[:-1].transform([Atoms("Mo2", [[0, 0, 0], [0, 0, 2.0]])])
    np.testing.assert_allclose(model[-1].predict_std(alone), 2 * np.hypot(0.5, 1.2), rtol=1e-9)


# --- What does not matter --------------------------------------------------------------------------------------------


def test_order_of_structures_does_not_matter():
    features, targets = training_data()
    points = {symbol: values[::7] for symbol, values in all_environments(features).items()}
    order = np.random.default_rng(0).permutation(len(features))
    first = GAP(sparse_points=points, jitter=1e-12).fit(features, targets)
    second = GAP(sparse_points=points, jitter=1e-12).fit(features[order], targets[order])
    np.testing.assert_allclose(first.predict(features), second.predict(features), rtol=1e-9)
    np.testing.assert_allclose(first.log_marginal_likelihood_, second.log_marginal_likelihood_, rtol=1e-9)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_number_of_workers_does_not_matter(backend):
    from joblib import parallel_config

    features, targets = training_data()
    one = GAP(30, n_jobs=1).fit(features, targets)
    with parallel_config(backend):
        two = GAP(30, n_jobs=2).fit(features, targets)
    np.testing.assert_array_equal(one.blocks_[0]["weights"], two.blocks_[0]["weights"])


def test_solvers_agree():
    features, targets = training_data(TwoBlocks(species=SPECIES))
    by_eigenvectors = GAP(30, solver="rkhs-qr", jitter=1e-13).fit(features, targets)
    by_weights = GAP(30, solver="qr", jitter=1e-13).fit(features, targets)
    expected, found = by_eigenvectors.predict_targets(features), by_weights.predict_targets(features)
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-5)
    for ours, other in zip(found["forces"], expected["forces"], strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-4)  # eV/Å: what the two jitters make of nearly equal kernels


def test_reweighted_equals_a_new_fit():
    features, targets = training_data()
    sigmas = {"energy_sigma": 0.003, "force_sigma": 0.2, "stress_sigma": np.inf}
    new = {**sigmas, "delta": 2.0, "group_sigmas": {"hot": 0.5}}
    model = GAP(30).fit(features, targets)
    before = model.blocks_[0]["weights"].copy()
    found, expected = model.reweighted(**new), clone(model).set_params(**new).fit(features, targets)
    np.testing.assert_array_equal(found.blocks_[0]["weights"], expected.blocks_[0]["weights"])
    np.testing.assert_array_equal(found.variance_["factor"], expected.variance_["factor"])
    np.testing.assert_array_equal(model.blocks_[0]["weights"], before)


def test_equal_structures_and_sparse_points_are_no_problem():
    """K_MM is singular: the same sparse points twice."""
    features, targets = training_data(n=8)
    points = {symbol: np.tile(values[:20], (2, 1)) for symbol, values in all_environments(features).items()}
    once = {symbol: values[:20] for symbol, values in points.items()}
    twice = np.repeat(np.arange(8), 2)
    for solver in ("rkhs-qr", "qr"):
        expected = GAP(sparse_points=once, solver=solver).fit(features[twice], targets[twice])
        found = GAP(sparse_points=points, solver=solver).fit(features[twice], targets[twice])
        # A point that stands twice has the jitter of two.
        np.testing.assert_allclose(found.predict(features), expected.predict(features), rtol=1e-4)


def test_perfect_crystals():
    """All atoms alike: one sparse point each, with a warning that has the numbers."""
    structures = [a for scale in (0.95, 1.0, 1.05) for a in [Atoms("Cu", cell=[2.6 * scale] * 3, pbc=True) * (2, 2, 2)]]
    features = UnitShells().fit_transform(structures)
    with pytest.warns(UserWarning, match=r"10 sparse points of Cu .* only 3 of its 24 environments"):
        model = GAP(10).fit(features, np.array([-1.0, -2.0, -1.5]) * 8)
    assert len(model.blocks_[0]["weights"]) == 3


# --- Energies of species ----------------------------------------------------------------------------------------------


def test_average_energies_of_species_are_least_squares():
    features = make_features(make_structures())
    energies = np.array([[-3.0, -4.5] @ np.bincount(item.species, minlength=2) for item in features])
    model = GAP(10).fit(features, energies)
    np.testing.assert_allclose(model.e0_, [-3.0, -4.5], rtol=1e-10)
    np.testing.assert_allclose(model.predict(features), energies, rtol=1e-10)


def test_free_energies_of_species_have_no_preference():
    """Shifted energies shift them, even if the kernel could explain the shift."""
    features = make_features(make_structures())
    targets = make_exact_targets(features, noise=0.01)
    shifts = np.array([30.0, -70.0])
    shifted = targets.copy()
    shifted["energy"] += [shifts[item.species].sum() for item in features]
    first, second = (GAP(30, zeta=2, e0="fit").fit(features, y) for y in (targets, shifted))
    np.testing.assert_allclose(second.e0_ - first.e0_, shifts, rtol=1e-6)
    assert not np.allclose(first.e0_, GAP(30, zeta=2).fit(features, targets).e0_, rtol=1e-6)


def test_isolated_atoms():
    structures = [*toy_training_set(SPECIES, n_structures=4), Atoms("Au"), Atoms("Cu")]
    features = UnitShells().fit_transform(structures)
    energies = np.array([-40.0, -41.0, -42.0, -43.0, -1.5, -2.5])
    np.testing.assert_array_equal(GAP(5, e0="isolated").fit(features, energies).e0_, [-1.5, -2.5])
    with pytest.raises(ValueError, match="single atom of Cu without neighbors"):
        GAP(5, e0="isolated").fit(features[:5], energies[:5])


def test_baseline_is_taken_off_and_added():
    features, targets = training_data()
    baseline = ZBL(inner=1.6, outer=3.1)
    with_baseline = GAP(30, baseline=baseline).fit(features, targets)
    assert not np.allclose(with_baseline.predict(features), GAP(30).fit(features, targets).predict(features), rtol=1e-9)
    assert with_baseline.score(features, targets) > 0.9


# --- Use --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(UnitShells(), GAP(40, jitter=1e-6)),
        make_pipeline(TwoBlocks(), GAP(40, zeta=2, jitter=1e-5, solver="qr", delta={"unit": 1.0, "pair": 0.3})),
        make_pipeline(Bispectrum(twojmax=2), FeatureScaler(), GAP(60, zeta=1, sparse_method="fps")),
        make_pipeline(SOAP(4.5, 4, 3), GAP(40, jitter=1e-6)),
        make_pipeline(
            DescriptorUnion([("soap", SOAP(4.5, 3, 2)), ("pair", PairDistance(5.0, 8))]),
            GAP(40, jitter=1e-5, delta={"soap": 0.5, "pair": 2.0}),
        ),
    ],
    ids=["one-block", "two-blocks", "bispectrum", "soap", "soap-and-pairs"],
)
def test_conformance(model):
    """With a jitter for which weights are small: the laws' differences know nothing of what cancels in their sum."""
    check_potential(model, skip=["copies_give_the_same_bits"] if isinstance(model[0], UnitShells) else [])


def test_saved_model(tmp_path):
    structures = toy_training_set(n_structures=6)
    model = make_pipeline(Bispectrum(twojmax=3), GAP(20, group_sigmas=None)).fit(structures, make_targets(structures))
    twin = load(save(model, tmp_path / "gap.mlfeat"))
    np.testing.assert_array_equal(twin.predict(structures), model.predict(structures))
    features = model[:-1].transform(structures)
    np.testing.assert_array_equal(twin[-1].predict_std(features), model[-1].predict_std(features))
    with pytest.raises(ValueError, match="files do not keep them"):
        twin[-1].log_marginal_likelihood()
    model[-1].blocks_[0]["weights"] = np.zeros(3)
    with pytest.raises(ValueError, match="weights has the shape"):
        save(model, tmp_path / "bad.mlfeat")


def test_calculator_gives_deviations_on_request():
    structures = toy_training_set(n_structures=6)
    model = make_pipeline(UnitShells(), GAP(20)).fit(structures, make_targets(structures))
    atoms = awkward_structures()["triclinic"]
    calculator = PotentialCalculator(model)
    features = model[:-1].transform([atoms])
    assert "energies_std" not in calculator.results
    np.testing.assert_allclose(calculator.get_property("energies_std", atoms), model[-1].energies_std(features[0]))
    np.testing.assert_allclose(calculator.get_property("energy_std", atoms), model[-1].predict_std(features)[0])
    assert calculator.get_property("extrapolation_grade", atoms).shape == (len(atoms),)


@pytest.mark.parametrize("given", [True, False])
def test_compression_keeps_the_energies(given):
    """And says how much it changes; where rank is lost, fewer features are worked on."""
    structures = toy_training_set(n_structures=20)
    descriptor = Bispectrum(twojmax=4)
    features, targets = descriptor.fit_transform(structures), make_targets(structures)
    model = GAP(60, zeta=2, jitter=1e-6).fit(features, targets)
    expected, std = model.predict_targets(features), model.predict_std(features)
    energies = model.energy_and_cotangent(features[0])[0]
    report = model.compress_(1e-4, features if given else None)
    assert all(rank < features.shape[1] for rank in report["ranks"].values())
    assert set(report["ranks"]) == {("bispectrum", "Mo"), ("bispectrum", "Ni")}
    found = model.predict_targets(features)
    if given:
        assert report["energy_error"] <= 1e-4
        np.testing.assert_allclose(model.energy_and_cotangent(features[0])[0], energies, atol=1e-4)
        change = max(np.abs(a - b).max() for a, b in zip(found["forces"], expected["forces"], strict=True))
        assert report["force_error"] == change
    np.testing.assert_allclose(found["energy"], expected["energy"], atol=12e-3)
    np.testing.assert_array_equal(model.predict_std(features), std)
    np.testing.assert_array_equal(model.reweighted().predict_targets(features)["energy"], expected["energy"])
    with pytest.raises(ValueError, match="tolerance=0"):
        model.compress_(0)


def test_compression_of_nothing_is_refused():
    features, targets = training_data(n=3)
    with pytest.raises(NotFittedError):
        GAP(5).compress_()
    with pytest.raises(ValueError, match="X has no structures"):
        GAP(5).fit(features, targets).compress_(X=features[:0])


@pytest.mark.parametrize("potential", [GAP(10), LinearPotential()], ids=["gap", "linear"])
def test_predict_returns_deviations_on_request(potential):
    """Through a pipeline, as scikit-learn's GaussianProcessRegressor does."""
    structures = toy_training_set(n_structures=4)
    model = make_pipeline(UnitShells(), potential).fit(structures, make_targets(structures))
    energies, std = model.predict(structures, return_std=True)
    np.testing.assert_array_equal(energies, model.predict(structures))
    np.testing.assert_array_equal(std, model[-1].predict_std(model[:-1].transform(structures)))


def test_grid_search():
    structures = toy_training_set(n_structures=9)
    model = make_pipeline(UnitShells(), GAP(20))
    grid = {"gaussianapproximationpotential__force_sigma": [0.01, 0.1], "gaussianapproximationpotential__zeta": [1, 4]}
    search = GridSearchCV(model, grid, cv=3).fit(structures, make_targets(structures))
    assert search.best_score_ > 0.5
    assert predict_targets(search.best_estimator_, structures[:1])["energy"].shape == (1,)


def test_an_interrupted_optimizer_leaves_the_best_so_far(monkeypatch):
    features, targets = training_data(n=8)
    start = GAP(20, zeta=2).fit(features, targets)
    original, calls = Evidence.value_and_gradient, []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(Evidence, "value_and_gradient", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted: the best so far"):
        model = GAP(20, zeta=2, optimizer="fmin_l_bfgs_b").fit(features, targets)
    assert model.log_marginal_likelihood_ > start.log_marginal_likelihood_
    assert np.isfinite(model.predict(features)).all()


def test_optimizer_finds_the_noise():
    """Data drawn from the prior with known sigmas: the likelihood's maximum is near them."""
    features, targets = training_data(n=20)
    rng = np.random.default_rng(0)
    model = GAP(30, zeta=2, e0={"Au": 0.0, "Cu": 0.0}).fit(features, targets)
    basis = Basis(model.sums_.parts, "rkhs-qr", 1e-10)
    coef = basis.unwhiten(rng.normal(size=basis.n_functions)) * 0.7
    model.blocks_ = [{**model.blocks_[0], "weights": coef}]
    drawn = model.predict_targets(features)
    for item, target in zip(features, drawn, strict=True):
        target["energy"] += 0.02 * np.sqrt(item.n_atoms) * rng.normal()
        target["forces"] += 0.1 * rng.normal(size=target["forces"].shape)
        target["stress"] += 0.004 * rng.normal(size=6)
    best = clone(model).set_params(optimizer="fmin_l_bfgs_b", n_restarts_optimizer=1).fit(features, drawn)
    assert best.log_marginal_likelihood_ > GAP(**model.get_params()).fit(features, drawn).log_marginal_likelihood_
    found = [best.energy_sigma_, best.force_sigma_, best.stress_sigma_, best.blocks_[0]["delta"]]
    # Twenty energies tell their sigma to about 1/sqrt(40), and δ no better.
    np.testing.assert_allclose(found, [0.02, 0.1, 0.004, 0.7], rtol=0.35)
    np.testing.assert_allclose(best.log_marginal_likelihood(eval_gradient=True)[1], 0, atol=0.1)


def test_energies_alone_and_missing_targets():
    features, targets = training_data(n=6)
    energies_only = GAP(10).fit(features, targets["energy"])
    assert np.isfinite(energies_only.predict_targets(features)["forces"][0]).all()
    without = GAP(10, force_sigma=np.inf, stress_sigma=np.inf).fit(features, targets)
    np.testing.assert_array_equal(without.predict(features), energies_only.predict(features))
    targets["forces"][2] = None
    targets["stress"][3] = np.nan
    model = GAP(10).fit(features, targets)
    n_rows = model.sums_.blocks.n_rows
    counts = {kind: sum(n for key, n in n_rows.items() if key[1] == kind) for kind in ("energy", "forces", "stress")}
    assert counts == {"energy": 6, "forces": 5 * 36, "stress": 30}


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_sparse": 0}, "positive integer"),
        ({"n_sparse": {"Au": 3}}, r"every species \(Cu\)"),
        ({"zeta": 2.5}, "zeta=2.5: must be a positive integer"),
        ({"zeta": {"soap": 4}}, "blocks unitshells"),
        ({"delta": -1.0}, "delta=-1.0"),
        ({"energy_sigma": 0}, "energy_sigma=0"),
        ({"force_sigma": None}, "force_sigma=None"),
        ({"stress_sigma": np.nan}, "stress_sigma=nan"),
        (
            {"group_sigmas": {"bulk": 0}},
            r"the sigma of energy in group 'bulk' is 0: give a finite number, more than zero",
        ),
        ({"group_sigmas": {"bulk": np.inf}}, "is inf: give a finite number, more than zero"),
        ({"group_sigmas": 3}, "group_sigmas=3"),
        ({"sparse_method": "best"}, "'cur', 'fps', 'kmeans', 'random'"),
        ({"sparse_points": np.ones((3, 5))}, "points of every species"),
        ({"sparse_points": {"Au": np.ones((3, 5)), "Cu": np.ones((3, 4))}}, "sparse_points of Cu.* with 5 columns"),
        ({"e0": "zero"}, "'average', 'isolated', 'fit'"),
        ({"e0": {"Au": 1.0}}, "no energy of Cu"),
        ({"e0": {"Au": 1.0, "Cu": None}}, r"e0\['Cu'\]=None: must be a finite number"),
        ({"e0": {"Au": np.inf, "Cu": 1.0}}, r"e0\['Au'\]=inf: must be a finite number"),
        ({"e0": np.zeros(2)}, "'average', 'isolated', 'fit'"),
        ({"solver": "normal"}, "'rkhs-qr', 'qr'"),
        ({"jitter": 0.0}, "jitter=0.0"),
        ({"optimizer": "sgd"}, "'fmin_l_bfgs_b' or None"),
        ({"baseline": ZBL}, "is a class"),
        ({"n_restarts_optimizer": -1}, "n_restarts_optimizer=-1"),
        ({"memory_limit": "6GB"}, "memory_limit='6GB': must be a number of bytes"),
        ({"random_state": "first"}, "first"),
        ({"sparse_points": {"Au": np.ones((0, 5)), "Cu": np.ones((0, 5))}}, "not one for unitshells"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_refused_before_any_work(parameters, words, monkeypatch):
    monkeypatch.setattr(KernelRows, "__call__", None)
    features, targets = training_data(n=4)
    with pytest.raises((ValueError, TypeError), match=words):
        GAP(**{"n_sparse": 5, **parameters}).fit(features, targets)


@pytest.mark.parametrize("delta", [0, -1.0, np.nan, {"unitshells": np.inf}])
def test_bad_delta_is_refused_by_refits_too(delta):
    features, targets = training_data(n=3)
    with pytest.raises(ValueError, match=r"delta=.*must be a positive number"):
        GAP(5).fit(features, targets).reweighted(delta=delta)


def test_blocks_of_one_name_are_refused():
    train = toy_training_set(("Cu",), n_structures=3)
    union = DescriptorUnion([("s", SOAP(4.0, 2, 1)), ("s_zeta2", SOAP(4.0, 2, 2))])
    with pytest.raises(ValueError, match="the blocks s_zeta1, s_zeta2, s_zeta2 have equal names"):
        make_pipeline(union, GAP(5, zeta={"s": (1, 2), "s_zeta2": 4})).fit(train, make_targets(train))


def test_warning_of_too_few_environments_names_the_species():
    """With a number for all species, the others would have fewer, too."""
    structures = [Atoms("CuAu", [[0, 0, 0], [0, 0, 2 + 0.1 * k]], cell=[8] * 3, pbc=True) for k in range(3)]
    structures += [Atoms("Au2", [[0, 0, 0], [0, 0, 2.05 + 0.1 * k]], cell=[8] * 3, pbc=True) for k in range(3)]
    features = UnitShells(species=SPECIES).fit_transform(structures)
    with pytest.warns(UserWarning, match=r"4 sparse points of Cu .* Set n_sparse={'Cu': 3, ...}"):
        GAP(4).fit(features, np.arange(6.0))


def test_nothing_to_fit(monkeypatch):
    monkeypatch.setattr(KernelRows, "__call__", None)
    features, targets = training_data(n=4)
    with pytest.raises(ValueError, match="nothing to fit"):
        GAP(5, energy_sigma=np.inf).fit(features, targets["energy"])
    with pytest.raises(ValueError, match="nothing to fit"):
        GAP(5).fit(features, targets, np.zeros(4))


def test_bad_targets_have_the_index():
    features, targets = training_data(n=4)
    targets["forces"][2] = np.full((12, 3), np.nan)
    with pytest.raises(ValueError, match="structure 2: the force on atom 0 is"):
        GAP(5).fit(features, targets)
    with pytest.raises(TypeError, match="expected a FeatureSet"):
        GAP(5).fit(np.ones((3, 4)), np.ones(3))
    with pytest.raises(ValueError, match="no structures"):
        GAP(5).fit(features[:0], targets[:0])


def test_memory_limit_is_kept_before_any_work():
    features, targets = training_data(n=4)
    with pytest.raises(MemoryError, match=r"memory_limit is 800.0 kB: use n_jobs=1 and at most \d sparse points"):
        GAP(15, memory_limit=8e5).fit(features, targets)
    with pytest.raises(MemoryError, match=r"memory_limit is 1.0 kB: raise it to .*B at least"):
        GAP(5, memory_limit=1000).fit(features, targets)


def test_forecast_counts_the_extrapolation_grader():
    """Its matrices, against what Python's allocations say."""
    rng = np.random.default_rng(0)
    items = [AtomFeatures(rng.normal(size=(600, 500)), np.repeat(np.arange(3), 200))]
    tracemalloc.start()
    environments = Environments(3, 500)
    environments.update(items)
    environments.grader()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    problem = Problem(1, 600, 500, 10, {("", "energy"): 1}, 1, 0, 3, True)
    assert 0.8 < problem.grader_bytes() / peak < 1.3
    assert problem.n_bytes(1) >= problem.grader_bytes() > problem._replace(graded=False).n_bytes(1)
    assert problem.grader_seconds(1e9) > problem._replace(graded=False).seconds(1e9)


@pytest.mark.parametrize(("limit", "small"), [(None, 0), (4e6, 2**28)])
def test_no_extrapolation_grader_that_takes_more_than_the_fit(limit, small, monkeypatch, caplog):
    structures = toy_training_set(SPECIES, n_structures=3)
    features, targets = SOAP(4.0, 5, 5).fit_transform(structures), make_targets(structures)
    assert GAP(5, memory_limit=1e9).fit(features, targets).extrapolation_grade(features[0]).max() <= 1
    monkeypatch.setattr(_forecast, "SMALL", small)
    model = GAP(5, memory_limit=limit).fit(features, targets)
    assert model.grader_ is None
    assert not hasattr(model, "extrapolation_grade")
    assert "there will be no extrapolation_grade: with 331 features it would take about" in caplog.text


def test_forecast_is_logged(caplog):
    features, targets = training_data(n=4)
    with caplog.at_level("INFO", logger="mlfeat"):
        GAP(5).fit(features, targets)
    assert "fit of 4 structures with 48 atoms, 172 rows, to 10 sparse points: about" in caplog.text


@pytest.mark.parametrize("method", ["cur", "fps"])
def test_forecast_knows_that_few_points_span_a_kernel_of_first_degree(method, caplog):
    features, targets = training_data(n=4)
    with caplog.at_level("INFO", logger="mlfeat"):
        fitted = GAP(20, zeta=(1, 4), sparse_method=method).fit(features, targets)
    n_points = sum(len(block["sparse_points"]) for block in fitted.blocks_)
    assert features.shape[1] < 20
    assert n_points == (2 * (20 + features.shape[1]) if method == "cur" else 80)
    assert f"to {n_points} sparse points" in caplog.text


def test_unknown_groups_are_warned_of():
    features, targets = training_data(n=4)
    with pytest.warns(UserWarning, match=r"group_sigmas names 'cold'.*the sigmas have no effect"):
        GAP(5, group_sigmas={"cold": 2.0}).fit(features, targets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GAP(5, group_sigmas={"hot": (1.0, 2.0, 1.0)}).fit(features, targets)


# --- Several kernels on the same features, and pairs ------------------------------------------------------------------


def small_models():
    """Training structures, and SOAP with kernels of ζ = 1 and 4: by a tuple of ζ, and by a union of two descriptors."""
    train = toy_training_set(("Cu",), n_structures=8)
    soap = SOAP(cutoff=4.5, n_max=3, l_max=2)
    points = soap.fit_transform(train).values[::3]
    settings = {"energy_sigma": 1e-3, "force_sigma": 0.02}
    tuple_of_zeta = GAP(
        zeta=(1, 4),
        delta={"soap_zeta1": 3.0, "soap_zeta4": 0.5},
        sparse_points={"soap_zeta1": points, "soap_zeta4": points},
        **settings,
    )
    union_of_two = GAP(
        zeta={"one": 1, "four": 4},
        delta={"one": 3.0, "four": 0.5},
        sparse_points={"one": points, "four": points},
        **settings,
    )
    models = (
        make_pipeline(soap, tuple_of_zeta),
        make_pipeline(DescriptorUnion([("one", soap), ("four", clone(soap))]), union_of_two),
    )
    return train, [model.fit(train, make_targets(train)) for model in models]


def test_a_tuple_of_zeta_adds_kernels_on_the_same_features():
    train, (model, expected) = small_models()
    assert [block["name"] for block in model[-1].blocks_] == ["soap_zeta1", "soap_zeta4"]
    ours, theirs = (predict_targets(one, train[:5]) for one in (model, expected))
    np.testing.assert_allclose(ours["energy"], theirs["energy"], rtol=1e-9)
    for found, wanted in zip(ours["forces"], theirs["forces"], strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-7)
    stds = [one[-1].predict_std(one[:-1].transform(train[:5])) for one in (model, expected)]
    np.testing.assert_allclose(*stds, rtol=1e-5)


def test_sparse_points_by_the_name_of_the_descriptor_are_those_of_all_its_kernels():
    train = toy_training_set(("Cu",), n_structures=4)
    soap = SOAP(cutoff=4.5, n_max=3, l_max=2)
    points = soap.fit_transform(train).values[::5]
    model = make_pipeline(soap, GAP(zeta=(1, 4), sparse_points={"soap": {"Cu": points}, "soap_zeta1": points[:3]}))
    blocks = model.fit(train, make_targets(train))[-1].blocks_
    np.testing.assert_array_equal(blocks[0]["sparse_points"], points[:3])
    np.testing.assert_array_equal(blocks[1]["sparse_points"], points)


@pytest.mark.parametrize("by_name", [True, False])
def test_sparse_points_may_be_named_by_the_only_block_that_has_some(by_name):
    train = toy_training_set(SPECIES, n_structures=4)
    soap = SOAP(4.5, 3, 2, species=SPECIES)
    points = {symbol: values[::5] for symbol, values in all_environments(soap.fit_transform(train)).items()}
    union = DescriptorUnion([("soap", soap), ("pair", PairDistance(5.0, 4))])
    model = make_pipeline(union, GAP(sparse_points={"soap": points} if by_name else points))
    model.fit(train, make_targets(train))
    np.testing.assert_array_equal(model[-1].blocks_[0]["sparse_points"], np.concatenate(list(points.values())))


def test_files_hold_several_kernels_on_the_same_features(tmp_path):
    train, (model, _) = small_models()
    write_gap(model, tmp_path / "gap.xml")
    again = read_gap(tmp_path / "gap.xml")
    np.testing.assert_allclose(
        predict_targets(again, train[:3])["energy"], predict_targets(model, train[:3])["energy"], rtol=1e-9
    )


@pytest.mark.parametrize("zeta", [(), (2, 2), (0, 4), (1.5,)])
def test_bad_tuples_of_zeta_are_refused(zeta):
    features, targets = training_data(n=3)
    with pytest.raises(ValueError, match="zeta"):
        GAP(zeta=zeta).fit(features, targets)


@pytest.mark.parametrize(("solver", "limit"), [("rkhs-qr", 1), ("qr", 2)])
def test_deviations_of_pair_kernels_keep_their_digits(solver, limit):
    """Their covariance is singular to rounding; at the data the deviation is like the noise (jitter adds to it)."""
    train = toy_training_set(("Cu",), n_structures=12)
    sigma = 0.002
    model = make_pipeline(PairDistance(5.0), GAP(energy_sigma=sigma, solver=solver)).fit(train, make_targets(train))
    std = model[-1].predict_std(model[:-1].transform(train))
    noise = sigma * np.sqrt([len(atoms) for atoms in train])
    assert np.all(std <= limit * noise)
    assert np.all(std > 0.01 * noise)
