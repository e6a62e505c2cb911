"""Laws of potentials, on whole models: descriptor, steps, potential."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mlfeat.base import predict_targets, split_model
from mlfeat.base._model import model_features
from mlfeat.calculator import PotentialCalculator
from mlfeat.persistence import load, save
from mlfeat.targets import make_targets
from mlfeat.testing import _structures as change
from mlfeat.testing._compare import (
    DERIVATIVE,
    ROUNDING,
    assert_close,
    assert_equal,
    assert_raises,
    named,
    per_structure,
    run_laws,
)
from mlfeat.testing._descriptor import bad_structures, strain_derivative
from mlfeat.testing._differences import STEP, gradient

_MOVE = 0.05  # Å; atoms move this far along each axis between two calculations with one calculator


def check_potential(model, structures=None, *, skip=()):
    """Check that a model keeps the contract of potentials.

    Every law of `POTENTIAL_LAWS` is checked on every structure: forces and stress against central differences of the
    energy of order 4, invariances, extensivity, the calculator against `predict_targets`, copies, saved files, errors.

    Parameters
    ----------
    model : Pipeline
        Descriptor, steps and potential. Fitted, or else a clone is fitted to :func:`toy_training_set`.
    structures : dict of str to ase.Atoms, or list of ase.Atoms, default=None
        Default: :func:`awkward_structures` of the descriptor's species.
    skip : sequence of str, default=()
        Names of laws that the model's settings break on purpose.

    Raises
    ------
    AssertionError
        Names all laws that do not hold, and of each the structure and the worst number.
    """
    model, structures = prepare(model, structures)
    run_laws(POTENTIAL_LAWS, model, structures, skip)


def prepare(model, structures=None):
    """Return the model, fitted if it was not, and the structures by name."""
    try:
        check_is_fitted(model)
    except NotFittedError:
        train = change.toy_training_set(split_model(model)[0].species or ("Mo", "Ni"))
        model = clone(model).fit(train, make_targets(train))
    if structures is None:
        structures = change.awkward_structures(_species(model))
    return model, named(structures)


# --- Derivatives ----------------------------------------------------------------------------------------------------


@per_structure
def forces_are_minus_the_gradient(model, atoms):
    """In every coordinate of every atom."""
    slope, error = gradient(lambda positions: _energy(model, _at(atoms, positions)), atoms.positions)
    error += _difference_rounding(model, atoms)
    assert_close(_forces(model, atoms), -slope, "forces[atom, xyz]", rtol=DERIVATIVE, error=error)


@per_structure
def stress_is_the_strain_derivative(model, atoms):
    """In all six components, divided by the volume; NaN in `predict_targets` where there is none."""
    stress = _targets(model, [atoms])["stress"][0]
    if atoms.cell.rank < 3:
        assert np.isnan(stress).all(), f"stress {stress} of a structure without a volume, expected NaN"
        return
    slope, error = strain_derivative(lambda moved: _energy(model, moved), atoms)
    error += _difference_rounding(model, atoms)
    volume = atoms.get_volume()
    assert_close(stress, slope / volume, "stress[Voigt]", rtol=DERIVATIVE, error=error / volume)


@per_structure
def forces_and_torque_vanish(model, atoms):
    """The sum of the forces; and for clusters the torque."""
    forces = _forces(model, atoms)
    size = np.abs(forces).sum() + ROUNDING
    assert np.abs(forces.sum(axis=0)).max() <= 1e-11 * size, f"forces sum to {forces.sum(axis=0)} eV/Å"
    if not atoms.pbc.any():
        torque = np.cross(atoms.positions, forces).sum(axis=0)
        reach = 1.0 + np.abs(atoms.positions).max()
        assert np.abs(torque).max() <= 1e-11 * size * reach, f"torque is {torque} eV"


# --- Energies -------------------------------------------------------------------------------------------------------


@per_structure
def energies_sum_to_the_energy(model, atoms):
    calculator = _calculator(model)
    energy = calculator.get_property("energy", atoms)
    assert_equal(calculator.get_property("free_energy", atoms), energy, "free_energy")
    if _baseline(model) is None:
        energies = calculator.get_property("energies", atoms)
        assert energies.shape == (len(atoms),), f"energies have shape {energies.shape}"
        assert_near(energies.sum(), energy, np.abs(energies).sum(), "sum of the energies")


def all_ways_give_the_same(model, structures):
    """`predict`, `predict_targets` and `PotentialCalculator`; several structures together or one by one."""
    listed = list(structures.values())
    targets = _targets(model, listed)
    energies = model.predict(listed)
    for k, (name, atoms) in enumerate(structures.items()):
        scale = _scale(model, atoms)
        assert_near(energies[k], targets["energy"][k], scale, f"[{name}] predict and predict_targets")
        assert_near(_energy(model, atoms), energies[k], scale, f"[{name}] predict of one and of several")
        found = _calculated(model, atoms)
        assert_near(found["energy"], energies[k], scale, f"[{name}] energy of the calculator")
        what, error = f"[{name}] forces of the calculator", ROUNDING * scale
        assert_close(found["forces"], targets["forces"][k], what, error=error)
        if atoms.cell.rank == 3:
            what, error = f"[{name}] stress of the calculator", ROUNDING * scale / atoms.get_volume()
            assert_close(found["stress"], targets["stress"][k], what, error=error)


def one_calculator_serves_all(model, structures):
    """Results do not depend on what was calculated before: other structures, small moves within the skin."""
    calculator = _calculator(model, skin=8 * _MOVE)
    rng = np.random.default_rng(4)
    for name, atoms in structures.items():
        moved = _at(atoms, atoms.positions + rng.uniform(-_MOVE, _MOVE, (len(atoms), 3)))
        for kind, state in {"first": atoms, "moved": moved, "again": atoms}.items():
            fresh, scale = _calculator(model), _scale(model, state)
            expected = fresh.get_property("energy", state)
            assert_near(calculator.get_property("energy", state), expected, scale, f"[{name}] {kind}: energy")
            expected = fresh.get_property("forces", state)
            found = calculator.get_property("forces", state)
            assert_close(found, expected, f"[{name}] {kind}: forces", error=ROUNDING * scale)
            found[:] = 7.0
            found = calculator.get_property("forces", state)
            assert_close(found, expected, f"[{name}] {kind}: forces after a user wrote on them", error=ROUNDING * scale)


# --- Invariances ----------------------------------------------------------------------------------------------------


@per_structure
def rotation_turns_forces_and_stress(model, atoms):
    """Rotations and reflections: E is the same, F turns along, σ from both sides."""
    rng = np.random.default_rng(1)
    energy, forces, stress = _targets(model, [atoms])[0]
    for proper in (True, False):
        rotation = change.random_rotation(rng, proper)
        turned = _targets(model, [change.rotated(atoms, rotation)])[0]
        scale = _scale(model, atoms)
        assert_near(turned["energy"], energy, scale, "energy of the rotated structure")
        assert_close(turned["forces"], forces @ rotation.T, "rotated forces", error=ROUNDING * scale)
        if atoms.cell.rank == 3:
            expected = rotation @ _tensor(stress) @ rotation.T
            error = ROUNDING * scale / atoms.get_volume()
            assert_close(_tensor(turned["stress"]).ravel(), expected.ravel(), "rotated stress", error=error)


@per_structure
def permutation_permutes_forces(model, atoms):
    order = np.random.default_rng(2).permutation(len(atoms))
    _assert_same(model, atoms[order], atoms, "permuted", order)


@per_structure
def translation_and_choice_of_cell_leave_all(model, atoms):
    _assert_same(model, change.translated(atoms, [0.7, -3.1, 11.0]), atoms, "translated")
    _assert_same(model, change.same_structure(atoms), atoms, "in another cell of the same lattice")


@per_structure
def supercell_is_extensive(model, atoms):
    """n times the energy, the same forces n times, the same stress."""
    repeats = np.where(atoms.pbc, (1, 2, 2), 1)
    n = int(np.prod(repeats))
    energy, forces, stress = _targets(model, [atoms])[0]
    large = _targets(model, [atoms.repeat(repeats)])[0]
    scale = n * _scale(model, atoms)
    assert_near(large["energy"], n * energy, scale, "energy of the supercell")
    assert_close(large["forces"], np.tile(forces, (n, 1)), "forces of the supercell", error=ROUNDING * scale)
    if atoms.cell.rank == 3:
        assert_close(large["stress"], stress, "stress of the supercell", error=ROUNDING * scale / atoms.get_volume())


@per_structure
def far_clusters_add_up(model, atoms):
    """The energy of two clusters further apart than the cutoff is the sum of the two."""
    atoms = change.without_cell(atoms)
    away = 3 * split_model(model)[0].cutoff_ + np.ptp(atoms.positions, axis=0).max()
    other = change.translated(atoms[: max(1, len(atoms) // 2)], [0.2, away, 0.1])
    expected = _energy(model, atoms) + _energy(model, other)
    assert_near(_energy(model, atoms + other), expected, 2 * _scale(model, atoms), "energy of two clusters")


# --- Machinery ------------------------------------------------------------------------------------------------------


def copies_give_the_same_bits(model, structures):
    """After pickle, and after save and load."""
    listed = list(structures.values())
    expected = _targets(model, listed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.mlfeat"
        save(model, path)
        copies = {"pickled": pickle.loads(pickle.dumps(model)), "saved and loaded": load(path)}
    for kind, twin in copies.items():
        found = _targets(twin, listed)
        for name in ("energy", "stress"):
            assert_equal(found[name], expected[name], f"{kind}: {name}")
        for k, name in enumerate(structures):
            assert_equal(found["forces"][k], expected["forces"][k], f"{kind}: [{name}] forces")


def fitting_again_gives_the_same(model, structures):
    """A clone fitted to the same data predicts the same; `fit` returns the estimator and leaves its parameters."""
    train = change.toy_training_set(_species(model))
    targets = make_targets(train)
    first, second = clone(model), clone(model)
    before = repr(first.get_params())
    assert first.fit(train, targets) is first, "fit does not return the estimator"
    assert repr(first.get_params()) == before, "fit changed parameters"
    second.fit(train, targets)
    listed = list(structures.values())
    assert_equal(second.predict(listed), first.predict(listed), "energies after a second fit")
    assert np.isfinite(first.score(train, targets)), "the score is not finite"
    assert np.isfinite(first.score(train, targets["energy"])), "the score of energies is not finite"


def bad_structures_are_refused(model, structures):
    """With the number of the structure in the message; the calculator too."""
    species = _species(model)
    good = change.crystal(species, (2, 2, 1))
    for bad, kind, words in bad_structures(good, species):
        assert_raises(kind, lambda b=bad: model.predict([good, b]), "structure 1", *words)
        assert_raises(kind, lambda b=bad: _targets(model, [good, b]), "structure 1", *words)
        if isinstance(bad, Atoms):
            assert_raises(kind, lambda b=bad: _calculator(model).get_property("energy", b), *words)
    assert_raises(TypeError, lambda: _targets(model, good), "list")
    assert_raises(NotFittedError, lambda: clone(model).predict([good]))


POTENTIAL_LAWS = {
    law.__name__: law
    for law in (
        forces_are_minus_the_gradient,
        stress_is_the_strain_derivative,
        forces_and_torque_vanish,
        energies_sum_to_the_energy,
        all_ways_give_the_same,
        one_calculator_serves_all,
        rotation_turns_forces_and_stress,
        permutation_permutes_forces,
        translation_and_choice_of_cell_leave_all,
        supercell_is_extensive,
        far_clusters_add_up,
        copies_give_the_same_bits,
        fitting_again_gives_the_same,
        bad_structures_are_refused,
    )
}


# --- Pieces of laws -------------------------------------------------------------------------------------------------


def assert_near(actual, desired, scale, what):
    """Compare two energies (eV) to 1e-10 of the `scale` of what they are sums of."""
    difference, allowed = actual - desired, ROUNDING * scale
    assert abs(difference) <= allowed, (
        f"{what}: {actual:.15g}, expected {desired:.15g}, difference {difference:.3g}, allowed {allowed:.3g}"
    )


def _assert_same(model, other, atoms, what, order=slice(None)):
    """The same energy and stress; energies of atoms and forces in another order."""
    expected, found, scale = _calculated(model, atoms), _calculated(model, other), _scale(model, atoms)
    assert_near(found["energy"], expected["energy"], scale, f"{what}: energy")
    assert_close(found["forces"], expected["forces"][order], f"{what}: forces", error=ROUNDING * scale)
    if "energies" in expected:
        assert_close(found["energies"], expected["energies"][order], f"{what}: energies", error=ROUNDING * scale)
    if "stress" in expected:
        error = ROUNDING * scale / atoms.get_volume()
        assert_close(found["stress"], expected["stress"], f"{what}: stress", error=error)


def _scale(model, atoms):
    """Σ_ik |c_ik B_ik| (eV): the size of the terms that energy, forces (per Å) and virial are sums of."""
    features, potential = model_features(model, [atoms])
    energies, cotangents = potential.energy_and_cotangent(features[0])
    return np.abs(energies).sum() + np.abs(cotangents * features[0].values).sum()


def _difference_rounding(model, atoms):
    """Error of a central difference of the energy because its terms, much larger than their sum, are rounded."""
    return 4 * np.finfo(float).eps * _scale(model, atoms) / STEP


def _species(model):
    return split_model(model)[0].species_


def _baseline(model):
    return split_model(model)[2].baseline


def _calculator(model, skin=0.5):
    return PotentialCalculator(model, skin=skin, extrapolation="ignore")


def _targets(model, listed):
    """Predictions, of whatever structures: the laws hold far from the training data too."""
    return predict_targets(model, listed, extrapolation="ignore")


def _calculated(model, atoms):
    """All results of a new calculator."""
    calculator = _calculator(model)
    for name in ("energy", "forces"):
        calculator.get_property(name, atoms)
    return calculator.results


def _energy(model, atoms):
    return model.predict([atoms])[0]


def _forces(model, atoms):
    return _targets(model, [atoms])["forces"][0]


def _at(atoms, positions):
    moved = atoms.copy()
    moved.positions = positions
    return moved


def _tensor(stress):
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
