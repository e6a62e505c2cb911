"""Training data with known coefficients, for tests of linear potentials."""

import numpy as np
from _toy import Shells
from ase.build import bulk

from mlfeat.targets import empty_targets

SPECIES = ("Au", "Cu")
COEF = np.random.default_rng(5).normal(size=(2, 4))
INTERCEPT = np.array([-3.0, -4.5])


def make_structures(n=24):
    """Strained, rattled cells of two species in two groups, some clusters among them."""
    rng = np.random.default_rng(0)
    structures = []
    for number in range(n):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.symbols[rng.permutation(8)[: number % 6]] = "Au"
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.15, rng=rng)
        if number % 7 == 3:
            atoms.pbc, atoms.cell = False, None
        atoms.info["group"] = ("bulk", "hot")[number % 2]
        structures.append(atoms)
    return structures


def make_features(structures):
    return Shells(species=SPECIES).fit_transform(structures)


def make_exact_targets(features, coef=COEF, intercept=INTERCEPT, noise=0.0, seed=0):
    """Energies, forces and stresses of these coefficients, and noise of each number's standard deviation."""
    rng = np.random.default_rng(seed)
    targets = empty_targets(len(features))
    for target, item in zip(targets, features, strict=True):
        y = item.rows() @ coef.ravel()
        y += noise * rng.normal(size=y.shape) * np.r_[item.n_atoms, np.ones(len(y) - 1)]
        target["energy"] = y[0] + intercept[item.species].sum()
        target["forces"] = y[1:-6].reshape(-1, 3)
        target["stress"] = y[-6:]
    return targets


def dense_problem(features, targets, weights=(1.0, 1.0, 1.0), sample_weight=None):
    """Weighted rows with composition columns in front, and their targets, as the definition of the loss reads."""
    sample_weight = np.ones(len(features)) if sample_weight is None else sample_weight
    rows, values = [], []
    for item, target, c in zip(features, targets, sample_weight, strict=True):
        design = item.rows()
        composition = np.bincount(item.species, minlength=item.n_species)
        energy = np.concatenate([composition, design[0]]) / item.n_atoms
        scale = np.sqrt(c * np.array(weights))
        rows.append(scale[0] * energy)
        values.append(scale[0] * target["energy"] / item.n_atoms)
        parts = [(design[1:-6], target["forces"], scale[1]), (design[-6:], target["stress"], scale[2])]
        for part, value, factor in parts:
            if value is not None and np.isfinite(value).all():
                rows.extend(factor * np.column_stack([np.zeros((len(part), item.n_species)), part]))
                values.extend(factor * np.ravel(value))
    return np.array(rows), np.array(values)


def dense_ridge(rows, values, alpha, n_species=2):
    """Coefficients and intercepts of ridge regression with unpenalized composition columns."""
    penalty = np.r_[np.zeros(n_species), np.full(rows.shape[1] - n_species, alpha)]
    augmented = np.vstack([rows, np.diag(np.sqrt(penalty))])
    solution = np.linalg.lstsq(augmented, np.r_[values, np.zeros(len(penalty))], rcond=None)[0]
    return solution[n_species:].reshape(n_species, -1), solution[:n_species]
