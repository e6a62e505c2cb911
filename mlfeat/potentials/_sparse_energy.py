"""Energies of atoms as sums of kernels with sparse points."""

import numpy as np

from mlfeat.potentials._kernels import power

TILE = 256, 512  # atoms and sparse points whose products stay in a core's cache, measured


class SparseKernelEnergy:
    r"""Energy as a sum over sparse points of the center's species, and of features that are kernel functions already.

    .. math:: E_i = e_s + \sum_b \Big( \sum_{P} c_P \, (B_i^b \cdot P)^{\zeta_b} + c_b \cdot B_i^b \Big),
              \qquad \frac{\partial E_i}{\partial B_i^b} = \sum_P \zeta_b c_P (B_i^b \cdot P)^{\zeta_b - 1} P + c_b.

    Parameters
    ----------
    all_parts : list of Part
        Species, sparse points and columns of each block.
    coef : array of shape (n_columns,)
        The c, eV.
    e0 : array of shape (n_species,)
        e, eV.
    """

    def __init__(self, all_parts, coef, e0):
        self.e0 = np.asarray(e0, dtype=float)
        self.linear = [_Linear(part, coef[part.columns]) for part in all_parts if _is_linear(part)]
        self.sums = [_Sum(part, coef[part.columns]) for part in all_parts if not _is_linear(part)]

    def energy_and_cotangent(self, features):
        """Energies (N,) and their derivatives with respect to the features (N, F)."""
        values, species = features.values, features.species
        energies, cotangents = self.e0[species], np.zeros(values.shape)
        for part in (*self.linear, *self.sums):
            every = len(self.e0) == 1 or part.species is None
            mine = slice(None) if every else np.flatnonzero(species == part.species)
            own, slopes = part.evaluate(values[mine, part.start : part.stop])
            energies[mine] += own
            cotangents[mine, part.start : part.stop] += slopes
        return energies, cotangents


def _is_linear(part):
    return part.points is None or part.zeta == 1


class _Linear:
    """c·B, and Σ_P c_P B·P, which is (Σ_P c_P P)·B."""

    def __init__(self, part, coef):
        self.species, self.start, self.stop = part.species, part.start, part.stop
        self.slope = coef if part.points is None else coef @ part.points
        if part.basis is not None:
            self.slope = part.basis @ self.slope

    def evaluate(self, values):
        """Values (N,) at environments (N, F), and their derivative (F,)."""
        return values @ self.slope, self.slope


class _Sum:
    """Σ_P c_P (B·P)^ζ for environments of one species."""

    def __init__(self, part, coef):
        self.species, self.start, self.stop, self.zeta = part.species, part.start, part.stop, part.zeta
        self.points, self.basis = np.ascontiguousarray(part.points), part.basis
        self.weighted = (part.zeta * coef)[:, None] * self.points  # spares a pass over products

    def evaluate(self, values):
        """Values (N,) at environments (N, F), and their derivatives (N, F)."""
        if self.basis is not None:
            values = values @ self.basis
        cotangents = self._cotangents(values)
        # A homogeneous polynomial of degree ζ is its derivative along B, over ζ.
        energies = np.einsum("nf,nf->n", values, cotangents) / self.zeta
        return energies, cotangents if self.basis is None else cotangents @ self.basis.T

    def _cotangents(self, values):
        out = np.zeros(values.shape)
        size = min(TILE[0], len(values)), min(TILE[1], len(self.points))
        products, powers, change = np.empty(size), np.empty(size), np.empty((size[0], values.shape[1]))
        for first in range(0, len(values), TILE[0]):
            own = values[first : first + TILE[0]]
            for start in range(0, len(self.points), TILE[1]):
                some = slice(start, min(start + TILE[1], len(self.points)))
                place = slice(len(own)), slice(some.stop - some.start)
                np.matmul(own, self.points[some].T, out=products[place])
                power(products[place], self.zeta - 1, out=powers[place])
                out[first : first + TILE[0]] += np.matmul(powers[place], self.weighted[some], out=change[: len(own)])
        return out
