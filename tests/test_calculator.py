"""The ASE calculator: right numbers, few neighbor lists, no surprises."""

import copy
import pickle
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
from _toy import LeastSquares, Shells
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import (
    Bispectrum,
    DescriptorUnion,
    LinearPotential,
    MomentTensor,
    MomentTensorPotential,
    NeuralNetworkPotential,
    PairDistance,
    QuadraticExpansion,
    make_targets,
    predict_targets,
)
from mlfeat.calculator import PotentialCalculator
from mlfeat.io import read_snap
from mlfeat.neighbors import NeighborPairs
from mlfeat.potentials import ZBL
from mlfeat.preprocessing import FeatureScaler


def make_copper(n_structures, seed=0, size=2):
    """Strained and rattled cells of copper and gold, with EMT's energies, forces and stresses."""
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(n_structures):
        atoms = bulk("Cu", cubic=True) * (size, size, 1)
        atoms.symbols[rng.choice(len(atoms), 3, replace=False)] = "Au"
        strain = np.eye(3) + rng.normal(scale=0.02, size=(3, 3))
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = EMT()
        atoms.get_stress()
        structures.append(atoms)
    return structures


TRAIN = make_copper(8)
TARGETS = make_targets(TRAIN)
EVERYTHING = ("energy", "free_energy", "energies", "forces", "stress")
MODELS = {
    "toy": make_pipeline(Shells(), LeastSquares()),
    "snap": make_pipeline(Bispectrum(cutoff=4.0, twojmax=4), LinearPotential(Ridge(1e-6))),
    "qsnap": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), QuadraticExpansion(), LinearPotential(Ridge(1e-4))),
    "mtp": make_pipeline(MomentTensor(4.0, 8), MomentTensorPotential("ridge")),
    "mtp, zbl": make_pipeline(MomentTensor(4.0, 6), MomentTensorPotential("ridge", baseline=ZBL(1.5, 3.0))),
    "zbl": make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), LinearPotential(Ridge(1e-6), baseline=ZBL(1.5, 3.0))),
    "lj": make_pipeline(
        Bispectrum(cutoff=4.0, twojmax=2),
        LinearPotential(Ridge(1e-6), baseline=LennardJones(epsilon=0.05, sigma=2.2)),
    ),
}


@pytest.fixture(scope="module")
def fitted():
    return {name: model.fit(TRAIN, TARGETS) for name, model in MODELS.items()}


@pytest.fixture(params=MODELS)
def model(request, fitted):
    return fitted[request.param]


@pytest.fixture
def snap(fitted):
    return fitted["snap"]


@pytest.fixture
def atoms():
    return make_copper(1, seed=7)[0].copy()


def results(calculator, atoms, names=EVERYTHING):
    return {name: calculator.get_property(name, atoms) for name in names}


def assert_same(a, b, **tolerance):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], err_msg=name, **tolerance)


# --- numbers


def test_results_equal_predict_targets(model, atoms):
    found = results(PotentialCalculator(model), atoms)
    (expected,) = predict_targets(model, [atoms])
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-12)
    np.testing.assert_allclose(found["forces"], expected["forces"], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found["stress"], expected["stress"], rtol=1e-9, atol=1e-12)
    assert found["free_energy"] == found["energy"]
    np.testing.assert_allclose(found["energies"].sum(), found["energy"], rtol=1e-12)


def test_forces_are_minus_the_gradient_and_stress_the_strain_derivative(model, atoms):
    calculator = PotentialCalculator(model)
    step = 1e-4
    forces = calculator.get_property("forces", atoms)
    for index in np.ndindex(3, 3):
        moved = [atoms.copy(), atoms.copy()]
        for sign, other in zip((1, -1), moved, strict=True):
            other.positions[index] += sign * step
        up, down = (calculator.get_property("energy", other) for other in moved)
        assert forces[index] == pytest.approx((down - up) / (2 * step), abs=2e-6)
    stress = calculator.get_property("stress", atoms)
    for voigt, (x, y) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[x, y] += 0.5 * sign * step
            strain[y, x] += 0.5 * sign * step
            other = atoms.copy()
            other.set_cell(atoms.cell @ strain, scale_atoms=True)
            energies.append(calculator.get_property("energy", other))
        slope = (energies[0] - energies[1]) / (2 * step)
        assert stress[voigt] == pytest.approx(slope / atoms.get_volume(), abs=1e-7)


def test_published_models_agree_with_the_reference(shared):
    import ase.io

    reference = ase.io.read(shared / "reference" / "snap" / "Mo.xyz", ":")
    stem = shared / "models" / "Mo" / "snap" / "SNAPotential"
    calculator = PotentialCalculator(read_snap(f"{stem}.snapcoeff", f"{stem}.snapparam"))
    for expected in reference[:5]:
        atoms = expected.copy()
        atoms.calc = calculator
        np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("n_threads", [2, 3, -1])
def test_results_are_bit_equal_for_any_number_of_threads(model, n_threads):
    atoms = make_copper(1, seed=3, size=4)[0].copy()
    one = results(PotentialCalculator(model, n_threads=1), atoms)
    several = results(PotentialCalculator(model, n_threads=n_threads), atoms)
    for name in EVERYTHING:
        assert np.asarray(one[name]).tobytes() == np.asarray(several[name]).tobytes(), name


def test_n_threads_leaves_the_model_alone(snap):
    PotentialCalculator(snap, n_threads=2)
    assert snap[0].n_jobs is None


# --- the neighbor list


def test_the_list_is_built_anew_only_when_an_atom_moved_more_than_half_the_skin(snap, atoms):
    calculator = PotentialCalculator(snap, skin=0.4)
    calculator.get_property("forces", atoms)
    atoms.positions += [0.1, 0.1, 0.1]  # 0.173 Å
    calculator.get_property("forces", atoms)
    assert calculator.n_list_builds == 1
    atoms.positions[3] += [0.03, 0.03, 0.03]
    calculator.get_property("forces", atoms)
    assert calculator.n_list_builds == 2
    atoms.positions[3, 0] += 0.15  # counted from the new list on
    calculator.get_property("forces", atoms)
    assert calculator.n_list_builds == 2


@pytest.mark.parametrize("change", ["cell", "pbc", "numbers", "wrap", "new"])
def test_other_changes_give_what_a_new_calculator_gives(change, model, atoms):
    calculator = PotentialCalculator(model)
    results(calculator, atoms)
    if change == "cell":
        atoms.set_cell(atoms.cell * 0.85, scale_atoms=True)  # more than the skin allows for
    elif change == "pbc":
        atoms.pbc = (True, False, True)
    elif change == "numbers":
        atoms.symbols[:2] = ["Au", "Cu"]
    elif change == "wrap":
        atoms.positions[0] += atoms.cell[0]
    else:
        atoms = make_copper(1, seed=11, size=3)[0].copy()
    found, n_builds = results(calculator, atoms), calculator.n_list_builds
    assert n_builds == 2
    assert_same(found, results(PotentialCalculator(model), atoms), rtol=1e-10, atol=1e-10)


def test_a_small_strain_keeps_the_list(model, atoms):
    calculator = PotentialCalculator(model)
    results(calculator, atoms)
    rng = np.random.default_rng(0)
    for _ in range(5):
        strained = atoms.copy()
        strained.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.01, 0.01, (3, 3))), scale_atoms=True)
        strained.positions += rng.uniform(-0.03, 0.03, strained.positions.shape)
        expected = results(PotentialCalculator(model), strained)
        assert_same(results(calculator, strained), expected, rtol=1e-10, atol=1e-10)
    assert calculator.n_list_builds == 1


def test_one_calculator_serves_structures_of_different_size(model):
    calculator = PotentialCalculator(model)
    structures = [s.copy() for size in (1, 3, 2) for s in make_copper(2, size, size)]
    structures += [structures[0]]
    for atoms in structures:
        expected = results(PotentialCalculator(model), atoms)
        assert_same(results(calculator, atoms), expected, rtol=1e-10, atol=1e-10)


def thermalize(atoms, temperature):
    """Give the atoms random momenta that sum to zero, of this temperature (K)."""
    scale = np.sqrt(units.kB * temperature * atoms.get_masses())[:, None]
    momenta = scale * np.random.default_rng(0).normal(size=(len(atoms), 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))


def trajectory(model, n_steps=60, **kwargs):
    """Forces and positions along a hot run, and the calculator that drove it."""
    atoms = make_copper(1, seed=5)[0].copy()
    atoms.calc = PotentialCalculator(model, **kwargs)
    thermalize(atoms, 2500)
    forces, positions = [], []
    dynamics = VelocityVerlet(atoms, 2 * units.fs)
    dynamics.attach(lambda: forces.append(atoms.get_forces()))
    dynamics.attach(lambda: positions.append(atoms.positions.copy()))
    dynamics.run(n_steps)
    return np.array(forces), np.array(positions), atoms


def test_forces_along_a_trajectory_do_not_depend_on_the_skin(model):
    forces, positions, atoms = trajectory(model, skin=0.6)
    assert 1 < atoms.calc.n_list_builds < len(positions) / 2
    fresh = PotentialCalculator(model, skin=0.0)
    for expected, x in zip(forces, positions, strict=True):
        atoms.positions = x
        found = fresh.get_property("forces", atoms)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    assert fresh.n_list_builds == len(positions)


def test_nve_conserves_energy_across_list_builds(snap):
    atoms = make_copper(1, seed=5)[0].copy()
    atoms.calc = PotentialCalculator(snap, skin=0.3)
    thermalize(atoms, 900)
    energies = []
    dynamics = VelocityVerlet(atoms, 1 * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy() / len(atoms)))
    dynamics.run(400)
    assert atoms.calc.n_list_builds >= 3
    assert np.ptp(energies) < 5e-4  # eV/atom: Verlet's own oscillation at this step
    drift = np.polyfit(np.arange(len(energies)), energies, 1)[0] * 1000
    assert abs(drift) < 1e-4  # eV/atom/ps


@pytest.mark.slow
def test_ten_picoseconds_of_molybdenum_conserve_energy(shared):
    stem = shared / "models" / "Mo" / "snap" / "SNAPotential"
    atoms = bulk("Mo", cubic=True) * (3, 3, 3)
    atoms.calc = PotentialCalculator(read_snap(f"{stem}.snapcoeff", f"{stem}.snapparam"))
    thermalize(atoms, 600)
    energies = []
    dynamics = VelocityVerlet(atoms, 1 * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy() / len(atoms)))
    dynamics.run(10_000)
    times = np.arange(len(energies)) / 1000
    assert abs(np.polyfit(times, energies, 1)[0]) < 1e-6  # eV/atom/ps


# --- economy


class Counted(Shells):
    """Counts forward and backward passes."""

    def values_and_pullback(self, pairs):
        self.n_forward = getattr(self, "n_forward", 0) + 1
        values, pullback = super().values_and_pullback(pairs)

        def counted(cotangents):
            self.n_backward = getattr(self, "n_backward", 0) + 1
            return pullback(cotangents)

        return values, counted


def test_each_pass_runs_once_and_only_when_needed(atoms):
    calculator = PotentialCalculator(make_pipeline(Counted(), LeastSquares()).fit(TRAIN, TARGETS))
    counted = calculator._evaluator.descriptor
    atoms.calc = calculator
    atoms.get_potential_energy()
    atoms.get_potential_energies()
    assert counted.n_forward == 1
    assert not hasattr(counted, "n_backward")
    atoms.get_forces()
    atoms.get_stress()
    calculator.get_property("extrapolation_grade", atoms)
    assert (counted.n_forward, counted.n_backward) == (1, 1)
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    atoms.get_potential_energy()
    assert (counted.n_forward, counted.n_backward) == (2, 2)


def test_no_python_runs_for_each_atom(snap):
    """The number of function calls of a step is the same for 64 and for 256 atoms."""

    def n_calls(atoms):
        atoms.calc = PotentialCalculator(snap)
        atoms.get_forces()
        count = 0

        def tick(frame, event, argument):
            nonlocal count
            count += 1

        atoms.positions[0, 0] += 1e-3
        sys.setprofile(tick)
        try:
            atoms.get_forces()
            atoms.get_stress()
        finally:
            sys.setprofile(None)
        return count

    small, large = (make_copper(1, seed=1, size=size)[0].copy() for size in (4, 8))
    assert abs(n_calls(small) - n_calls(large)) < 10


def test_a_pair_baseline_shares_the_list(fitted, atoms, monkeypatch):
    model = fitted["zbl"]
    calculator = PotentialCalculator(model)
    results(calculator, atoms)
    built = []
    monkeypatch.setattr(NeighborPairs, "from_atoms", built.append)
    atoms.positions[0] += 0.01
    results(calculator, atoms)
    assert not built


def test_a_pair_baseline_that_reaches_farther_than_the_list_counts_too(atoms):
    model = make_pipeline(Bispectrum(cutoff=3.0, twojmax=2), LinearPotential(baseline=ZBL(3, 4.5)))
    model.fit(TRAIN, TARGETS)
    energy = PotentialCalculator(model).get_property("energy", atoms)
    assert energy == pytest.approx(model.predict([atoms])[0], rel=1e-12)


def test_returned_arrays_are_the_callers(snap, atoms):
    calculator = PotentialCalculator(snap)
    calculator.get_property("forces", atoms)[:] = 0
    calculator.get_property("energies", atoms)[:] = 0
    assert np.abs(calculator.get_property("forces", atoms)).max() > 0.1
    assert calculator.get_property("energies", atoms).all()


# --- what there is and what there is not


def test_clusters_have_no_stress(snap):
    atoms = bulk("Cu", cubic=True) * 2
    atoms.pbc, atoms.cell = False, None
    atoms.calc = PotentialCalculator(snap)
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_a_cell_without_periods_has_a_stress(snap):
    atoms = bulk("Cu", cubic=True) * 2
    atoms.pbc = False
    atoms.calc = PotentialCalculator(snap)
    assert atoms.get_stress().shape == (6,)


def test_uncertainties_are_there_when_asked_for(snap, atoms):
    calculator = PotentialCalculator(snap)
    results(calculator, atoms)
    assert not {"energy_std", "extrapolation_grade"} & calculator.results.keys()
    std = calculator.get_property("energy_std", atoms)
    grades = calculator.get_property("extrapolation_grade", atoms)
    features = snap[:-1].transform([atoms])
    assert std == pytest.approx(snap[-1].predict_std(features)[0], rel=1e-10)
    np.testing.assert_allclose(grades, snap[-1].extrapolation_grade(features[0]), rtol=1e-8)
    assert {"energy", "energy_std", "extrapolation_grade"} <= calculator.results.keys()


def test_uncertainties_pass_through_the_steps(fitted, atoms):
    model = fitted["qsnap"]
    std = PotentialCalculator(model).get_property("energy_std", atoms)
    assert std == pytest.approx(model[-1].predict_std(model[:-1].transform([atoms]))[0], rel=1e-8)


def test_a_potential_without_uncertainties_says_so(atoms):
    model = make_pipeline(Shells(), NoUncertainty()).fit(TRAIN, TARGETS)
    calculator = PotentialCalculator(model)
    with pytest.raises(PropertyNotImplementedError, match="energy_std"):
        calculator.get_property("energy_std", atoms)
    assert "energy_std" not in calculator.implemented_properties
    assert "energy_std" not in PotentialCalculator.implemented_properties


class NoUncertainty(LeastSquares):
    predict_std = property()


class EnergyOnly(Calculator):
    """A baseline that has neither energies of atoms nor stress."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=None):
        self.results = {"energy": 2.5 * len(atoms), "forces": np.zeros((len(atoms), 3))}


def test_what_the_baseline_cannot_say_the_sum_cannot(atoms):
    with_baseline, without = (make_pipeline(Shells(), LeastSquares(baseline)) for baseline in (EnergyOnly(), None))
    calculators = [PotentialCalculator(m.fit(TRAIN, TARGETS)) for m in (with_baseline, without)]
    energy, expected = (c.get_property("energy", atoms) for c in calculators)
    assert energy == pytest.approx(expected + 2.5 * len(atoms))
    forces, expected = (c.get_property("forces", atoms) for c in calculators)
    np.testing.assert_allclose(forces, expected)
    for name in ("energies", "stress"):
        with pytest.raises(PropertyNotImplementedError, match=name):
            calculators[0].get_property(name, atoms)


def test_any_ase_calculator_is_a_baseline(atoms):
    model = make_pipeline(Shells(), LeastSquares(LennardJones(epsilon=0.1, sigma=2.0)))
    found = results(PotentialCalculator(model.fit(TRAIN, TARGETS)), atoms)
    without = results(PotentialCalculator(make_pipeline(Shells(), LeastSquares()).fit(TRAIN, TARGETS)), atoms)
    lennard_jones = results(LennardJones(epsilon=0.1, sigma=2.0), atoms)
    for name in EVERYTHING:
        np.testing.assert_allclose(found[name], without[name] + lennard_jones[name], atol=1e-12)


# --- errors


def test_unknown_species_are_named(snap, atoms):
    atoms.symbols[2] = "Ag"
    atoms.calc = PotentialCalculator(snap)
    with pytest.raises(ValueError, match="Ag not among the species Au, Cu"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_no_numbers_are_errors(snap, atoms, value):
    calculator = PotentialCalculator(snap)
    calculator.get_property("forces", atoms)
    good = atoms.copy()
    atoms.positions[5, 1] = value
    for _ in range(2):
        with pytest.raises(ValueError, match="atom 5"):
            calculator.get_property("forces", atoms)
    fresh = PotentialCalculator(snap).get_property("forces", good)
    np.testing.assert_allclose(calculator.get_property("forces", good), fresh)


def test_atoms_on_top_of_each_other_are_an_error(snap, atoms):
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(ValueError, match="atoms 0 and 1 are 0 Å apart"):
        PotentialCalculator(snap).get_property("energy", atoms)


def test_an_empty_structure_is_an_error(snap):
    with pytest.raises(ValueError, match="empty"):
        PotentialCalculator(snap).get_property("energy", Atoms())


def test_a_blown_up_energy_is_an_error(atoms):
    model = make_pipeline(Shells(), LeastSquares()).fit(TRAIN, TARGETS)
    model[-1].coef_ = [np.nan] * 4
    with pytest.raises(ValueError, match="the energy is nan"):
        PotentialCalculator(model).get_property("forces", atoms)


def test_what_is_no_model_is_an_error(snap):
    with pytest.raises(TypeError, match="Pipeline"):
        PotentialCalculator(snap[-1])
    with pytest.raises(TypeError, match="potential"):
        PotentialCalculator(make_pipeline(Bispectrum(), Ridge()))
    with pytest.raises(NotFittedError):
        PotentialCalculator(make_pipeline(Bispectrum(), LinearPotential()))


@pytest.mark.parametrize("skin", [-0.1, np.nan, np.inf])
def test_a_skin_that_is_no_distance_is_an_error(snap, skin):
    with pytest.raises(ValueError, match="skin="):
        PotentialCalculator(snap, skin=skin)


# --- with ASE


def test_copies_calculate_the_same(model, atoms):
    calculator = PotentialCalculator(model)
    calculator.get_property("energy", atoms)
    for other in (copy.deepcopy(calculator), pickle.loads(pickle.dumps(calculator))):
        moved = atoms.copy()
        moved.positions[0] += 0.02
        for state in (atoms, moved):
            expected = results(PotentialCalculator(model), state)
            assert_same(results(other, state), expected, rtol=1e-10, atol=1e-10)


def test_constraints_hold(snap, atoms):
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.calc = PotentialCalculator(snap)
    assert not atoms.get_forces()[:2].any()
    assert atoms.get_forces(apply_constraint=False)[:2].any()


def test_it_runs_dynamics_and_writes_trajectories(snap, tmp_path):
    import ase.io

    atoms = make_copper(1, seed=5)[0].copy()
    atoms.calc = PotentialCalculator(snap)
    path = tmp_path / "run.traj"
    with VelocityVerlet(atoms, 1 * units.fs, trajectory=str(path)) as dynamics:
        dynamics.run(5)
    frames = ase.io.read(path, ":")
    assert len(frames) == 6
    assert frames[-1].get_potential_energy() == pytest.approx(atoms.get_potential_energy())
    ase.io.write(tmp_path / "last.xyz", atoms)
    again = ase.io.read(tmp_path / "last.xyz")
    np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), atol=1e-7)


def test_molecules_of_one_atom_are_fine(snap):
    atoms = molecule("H2")[:1]
    atoms.numbers[:] = 29
    atoms.calc = PotentialCalculator(snap)
    assert not atoms.get_forces().any()
    assert np.isfinite(atoms.get_potential_energy())


@pytest.mark.parametrize("pickled", [False, True])
def test_later_changes_of_the_model_do_not_change_the_calculator(atoms, pickled):
    potential = LinearPotential(Ridge(1e-6), baseline=ZBL(1.5, 3.0))
    model = make_pipeline(Bispectrum(cutoff=4.0, twojmax=2), FeatureScaler(), potential).fit(TRAIN, TARGETS)
    expected = PotentialCalculator(model).get_property("forces", atoms)
    calculator = PotentialCalculator(model)
    model.set_params(bispectrum__cutoff=3.5, bispectrum__twojmax=4, featurescaler__scale=None)
    model.set_params(linearpotential__baseline__outer=2.0)
    model.fit(TRAIN[:4], TARGETS[:4])
    calculator = pickle.loads(pickle.dumps(calculator)) if pickled else calculator
    np.testing.assert_array_equal(calculator.get_property("forces", atoms), expected)
    calculator.get_property("energy_std", atoms)
    calculator.get_property("extrapolation_grade", atoms)


def test_it_leaves_behind_what_only_another_fit_needs(atoms):
    structures, targets = TRAIN[:3], TARGETS[:3]
    networks = NeuralNetworkPotential((20,), max_iter=1, n_models=2, random_state=0)
    scaler = FeatureScaler("mean", "range")
    model = make_pipeline(Bispectrum(cutoff=4.0, twojmax=4), scaler, networks).fit(structures, targets)
    calculator = PotentialCalculator(model, extrapolation="ignore")
    n = networks.n_parameters_
    assert len(pickle.dumps(networks)) > 2 * 4 * n**2 > 2 * len(pickle.dumps(calculator))
    (expected,) = predict_targets(model, [atoms], extrapolation="ignore")
    np.testing.assert_allclose(calculator.get_property("forces", atoms), expected["forces"], atol=1e-10)
    assert calculator.get_property("energy_std", atoms) > 0
    (again,) = predict_targets(calculator.model, [atoms], extrapolation="ignore")
    assert again["energy"] == expected["energy"]
    model.set_params(neuralnetworkpotential__warm_start=True).fit(structures, targets)
    assert networks.n_iter_ == 2


@pytest.mark.parametrize(
    ("descriptor", "change"),
    [
        (Bispectrum(cutoff=4.0, twojmax=2), {"cutoff": 3.0}),
        (PairDistance(4.0, n_sparse=5), {"cutoff": 3.0}),
        (Shells(), {"eta": 1.0}),
        (DescriptorUnion([("pair", PairDistance(4.0, n_sparse=5))]), {"pair__cutoff": 3.0}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parameters_set_after_fit_need_another_fit(descriptor, change):
    model = make_pipeline(clone(descriptor), LeastSquares()).fit(TRAIN, TARGETS)
    model[0].set_params(**change)
    with pytest.raises(NotFittedError, match="call fit again"):
        PotentialCalculator(model)


def test_a_pickled_model_works_in_a_fresh_process(snap, atoms, tmp_path):
    joblib.dump(snap, tmp_path / "model.joblib")
    atoms.write(tmp_path / "atoms.traj")
    program = """
        import sys
        import ase.io, joblib, numpy
        from mlfeat.calculator import PotentialCalculator

        folder = sys.argv[1]
        atoms = ase.io.read(f"{folder}/atoms.traj")
        atoms.calc = PotentialCalculator(joblib.load(f"{folder}/model.joblib"))
        numpy.save(f"{folder}/forces.npy", atoms.get_forces())
    """
    warn = ["-W", "error", "-W", "ignore:Setting the shape:DeprecationWarning"]  # of NumPy 2.5, about ASE
    command = [sys.executable, *warn, "-c", textwrap.dedent(program), str(tmp_path)]
    subprocess.run(command, check=True)
    expected = PotentialCalculator(snap).get_property("forces", atoms)
    assert np.load(tmp_path / "forces.npy").tobytes() == expected.tobytes()
