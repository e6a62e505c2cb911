"""The smallest descriptor and potential, for tests of what is built on the contracts."""

import numpy as np
from sklearn.base import BaseEstimator

from mlfeat.base import Descriptor, PotentialMixin
from mlfeat.targets import as_targets


class Shells(Descriptor):
    """Shells of neighbors, all alike: B_ik = Σ_j exp(-η (r_ij - r_k)²) (1 - r_ij²/c²)³."""

    def __init__(self, cutoff=4.0, n_shells=4, eta=2.0, *, species=None, n_jobs=None):
        self.cutoff = cutoff
        self.n_shells = n_shells
        self.eta = eta
        self.species = species
        self.n_jobs = n_jobs

    def _setup(self):
        self.cutoff_ = self.cutoff
        self.n_features_out_ = self.n_shells

    def _terms(self, vectors):
        """Each pair's term (P, F) and its derivative over r², (P, F)."""
        r = np.linalg.norm(vectors, axis=1)[:, None]
        d = r - np.linspace(1.5, self.cutoff, self.n_shells)
        inside = np.maximum(1 - (r / self.cutoff) ** 2, 0)
        gauss = np.exp(-self.eta * d**2)
        slope = -2 * self.eta * d * inside**3 - 6 * r / self.cutoff**2 * inside**2
        return gauss * inside**3, 0.5 * gauss * slope / r

    def values(self, pairs):
        values = np.zeros((pairs.n_atoms, self.n_shells))
        np.add.at(values, pairs.first, self._terms(pairs.vectors)[0])
        return values

    def jacobian(self, pairs, start=0, stop=None):
        stop = pairs.n_atoms if stop is None else stop
        vectors = pairs.vectors[pairs.offsets[start] : pairs.offsets[stop]]
        return 2 * vectors[:, :, None] * self._terms(vectors)[1][:, None, :]


class LeastSquares(PotentialMixin, BaseEstimator):
    """Linear in the features, fitted to energies only."""

    _state = ("coef_", "intercept_")

    def __init__(self, baseline=None):
        self.baseline = baseline

    def fit(self, X, y):
        energies = as_targets(y, len(X))["energy"]
        n_atoms = [item.n_atoms for item in X]
        design = np.column_stack([np.asarray(X), n_atoms])
        *self.coef_, self.intercept_ = np.linalg.lstsq(design, energies, rcond=None)[0]
        return self

    def energy_and_cotangent(self, features):
        cotangents = np.tile(self.coef_, (len(features.values), 1))
        return features.values @ self.coef_ + self.intercept_, cotangents

    def predict_std(self, X):
        return np.array([np.linalg.norm(item.values.sum(axis=0)) for item in X])

    def extrapolation_grade(self, features):
        return np.abs(features.values).max(axis=1)
