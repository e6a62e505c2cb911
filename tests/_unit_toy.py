"""A small descriptor with features of length one, as SOAP's are, for tests of kernels."""

import numpy as np
from _toy import Shells

from mlfeat.base import FeatureBlock


class UnitShells(Shells):
    """Shells of neighbors, and one constant feature, normalized: B = (S, 1)/|(S, 1)|."""

    def _setup(self):
        self.cutoff_ = self.cutoff
        self.n_features_out_ = self.n_shells + 1

    def _lengths(self, pairs):
        shells = np.column_stack([super().values(pairs), np.ones(pairs.n_atoms)])
        return shells, np.linalg.norm(shells, axis=1)

    def values(self, pairs):
        shells, lengths = self._lengths(pairs)
        return shells / lengths[:, None]

    def jacobian(self, pairs, start=0, stop=None):
        slopes = super().jacobian(pairs, start, stop)
        slopes = np.concatenate([slopes, np.zeros((*slopes.shape[:2], 1))], axis=2)
        stop = pairs.n_atoms if stop is None else stop
        centers = pairs.first[pairs.offsets[start] : pairs.offsets[stop]]
        shells, lengths = self._lengths(pairs)
        unit = (shells / lengths[:, None])[centers][:, None, :]
        along = np.sum(slopes * unit, axis=2, keepdims=True)
        return (slopes - along * unit) / lengths[centers, None, None]


class TwoBlocks(UnitShells):
    """UnitShells, and three shells that are kernel functions already: one feature each of a distance."""

    covariance = np.exp(-0.5 * np.subtract.outer(np.arange(3.0), np.arange(3.0)) ** 2)

    def _setup(self):
        super()._setup()
        self.n_features_out_ += 3

    def feature_blocks(self):
        n = self.n_shells + 1
        return FeatureBlock("unit", 0, n), FeatureBlock("pair", n, n + 3, self.covariance)

    def values(self, pairs):
        plain = Shells(self.cutoff, 3, 1.0, species=self.species_)
        plain.fit([pairs.to_atoms()])
        return np.column_stack([super().values(pairs), plain.values(pairs)])

    def jacobian(self, pairs, start=0, stop=None):
        plain = Shells(self.cutoff, 3, 1.0, species=self.species_)
        plain.fit([pairs.to_atoms()])
        return np.concatenate([super().jacobian(pairs, start, stop), plain.jacobian(pairs, start, stop)], axis=2)
