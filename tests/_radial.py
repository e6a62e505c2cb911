"""A descriptor and steps in a few lines of NumPy, with exact derivatives, for the tests of the contracts."""

import numpy as np
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from sklearn.base import BaseEstimator

from mlfeat.base import Descriptor, FeatureStep, PotentialMixin


class Radial(Descriptor):
    """B_ik = Σ_j Z_j (1 - r_ij²/c²)³ cos(k r_ij/c) inside the cutoff c; counts its calls."""

    calls = {"values": 0, "jacobian": 0}

    def __init__(self, cutoff=4.0, n_features=3, *, species=None, n_jobs=None):
        self.cutoff = cutoff
        self.n_features = n_features
        self.species = species
        self.n_jobs = n_jobs

    def _setup(self):
        self.cutoff_ = self.cutoff
        self.n_features_out_ = self.n_features

    def _terms(self, pairs, part):
        """Each pair's term and its derivative with respect to its distance, both (P, F)."""
        x = np.minimum(pairs.distances[part, None] / self.cutoff_, 1)
        k = np.arange(self.n_features)
        charge = 0.1 * pairs.numbers[pairs.second[part], None]
        inside = 1 - x**2
        term = inside**3 * np.cos(k * x)
        slope = -6 * x * inside**2 * np.cos(k * x) - k * inside**3 * np.sin(k * x)
        return charge * term, charge * slope / self.cutoff_

    def values(self, pairs):
        self.calls["values"] += 1
        values = np.zeros((pairs.n_atoms, self.n_features))
        np.add.at(values, pairs.first, self._terms(pairs, slice(None))[0])
        return values

    def jacobian(self, pairs, start=0, stop=None):
        self.calls["jacobian"] += 1
        stop = pairs.n_atoms if stop is None else stop
        part = slice(pairs.offsets[start], pairs.offsets[stop])
        along = pairs.vectors[part] / pairs.distances[part, None]
        return along[:, :, None] * self._terms(pairs, part)[1][:, None, :]


class Cubic(FeatureStep):
    """From B to (b, b³) with b = B - mean: learns something, is not linear, changes the number of features."""

    _state = ("mean_", "n_features_in_")

    def __init__(self, shift=0.0):
        self.shift = shift

    def _fit(self, values, species):
        self.mean_ = values.mean(axis=0) + self.shift

    def _b(self, values):
        return values - self.mean_

    def apply(self, values, species=None):
        return np.hstack([self._b(values), self._b(values) ** 3])

    def vjp(self, values, cotangents, species=None):
        n = values.shape[1]
        return cotangents[:, :n] + 3 * self._b(values) ** 2 * cotangents[:, n:]

    def jvp(self, values, tangents, species=None):
        return np.concatenate([tangents, 3 * self._b(values)[:, None, :] ** 2 * tangents], axis=2)

    def get_feature_names_out(self, input_features=None):
        names = super().get_feature_names_out(input_features)
        return np.array([*names, *(f"{name}^3" for name in names)], dtype=object)


class Linear(PotentialMixin, BaseEstimator):
    """Least squares on all rows."""

    _state = ("coef_",)

    def __init__(self, baseline=None, n_jobs=None):
        self.baseline = baseline
        self.n_jobs = n_jobs

    def fit(self, X, y, sample_weight=None):
        rows = np.concatenate([item.rows() for item in X])
        targets = np.concatenate([np.concatenate([[t["energy"]], t["forces"].ravel(), t["stress"]]) for t in y])
        known = np.isfinite(targets) & np.isfinite(rows).all(axis=1)
        self.coef_ = np.linalg.lstsq(rows[known], targets[known], rcond=1e-6)[0].reshape(X[0].n_species, -1)
        return self

    def energy_and_cotangent(self, features):
        coef = self.coef_[features.species]
        return np.einsum("if,if->i", coef, features.values), coef


def rattled(atoms, seed, stdev=0.1):
    atoms.rattle(stdev, seed=seed)
    return atoms


def metals(n=6):
    """Copper-gold cells with EMT's energies, forces and stresses, in three groups."""
    structures = []
    for seed in range(n):
        atoms = rattled(bulk("Cu", cubic=True) * (2, 1, 1), seed)
        atoms.numbers[: seed % 3] = 79
        atoms.calc = EMT()
        atoms.info["group"] = f"group {seed % 3}"
        structures.append(atoms)
    return structures


def every_kind():
    """One structure of each kind of cell, of one or two species."""
    triclinic = bulk("Cu") * (2, 1, 2)
    triclinic.set_cell(triclinic.cell.array @ [[1.0, 0.1, 0.05], [0, 0.95, -0.1], [0.02, 0, 1.1]], scale_atoms=True)
    triclinic.numbers[1] = 79
    slab = bulk("Au", cubic=True)
    slab.pbc = [True, False, True]
    gas = molecule("CO2")
    gas.numbers[:] = [29, 79, 79]
    lone = gas[:1]
    lone.positions[:] = 0.3
    return {
        "triclinic": rattled(triclinic, 1),
        "smaller than the cutoff": bulk("Cu"),
        "slab": rattled(slab, 2),
        "no cell": rattled(gas, 3),
        "one atom, no cell": lone,
        "many atoms": rattled(bulk("Cu", cubic=True) * 2, 4),
    }
