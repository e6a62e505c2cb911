"""Rows of the least-squares problem of a sparse Gaussian process."""

import numpy as np

from mlfeat.potentials._kernels import sums_and_projections
from mlfeat.potentials._rows import KINDS, DesignRows


class KernelRows(DesignRows):
    """Rows of kernels with sparse points and their derivatives, made one structure at a time.

    A row is ``[kernels | composition | target]``: energies over √N (as their sigma is proportional to it), forces
    and stresses. The composition is there if the energies of species are free, and zero but for energies.

    Parameters
    ----------
    items : FeatureSet or sequence of StructureFeatures
    targets : structured array, one row a structure
        What the functions have to explain.
    sample_weight : array (n_structures,) or None
    n_free : int
        Number of species whose energies are free, all or none.
    parts : list of Part
        The sparse points. Without them, rows can be counted, not made.
    """

    def __init__(self, items, targets, sample_weight, n_free, parts=()):
        super().__init__(items, targets, sample_weight)
        self.n_free = n_free
        self.parts = parts

    def __getitem__(self, part):
        return KernelRows(self.items[part], self.targets[part], self.sample_weight[part], self.n_free, self.parts)

    def __call__(self, index, kinds=KINDS):
        """Rows of structure `index`, a dict from kind to array (n_rows, n_columns + n_free + 1)."""
        kinds = [kind for kind in kinds if self.n_rows(index, kind)]
        if not kinds:
            return {}
        item, target = self.items[index], self.targets[index]
        sums, projections = sums_and_projections(item, self.parts)
        kernels = {"energy": sums[None]}
        if kinds != ["energy"]:
            gradients = item.projected_rows(projections)
            kernels |= {"forces": gradients[:-6], "stress": gradients[-6:]}
        rows = {kind: self._rows(kernels[kind], target[kind]) for kind in kinds}
        if "energy" in rows:
            composition = np.bincount(item.species, minlength=item.n_species)
            rows["energy"][:, -1 - self.n_free : -1] = composition[: self.n_free]
            rows["energy"] /= np.sqrt(item.n_atoms)
        for part in rows.values():
            part *= np.sqrt(self.sample_weight[index])
        return rows

    def _rows(self, kernels, target):
        rows = np.zeros((len(kernels), kernels.shape[1] + self.n_free + 1))
        rows[:, : kernels.shape[1]] = kernels
        rows[:, -1] = np.ravel(target)
        return rows

    def log_scale(self, kind):
        """Σ log of what the rows of a kind were multiplied by."""
        total = 0.0
        for index, item in enumerate(self.items):
            n = self.n_rows(index, kind)
            if n:
                total += 0.5 * n * np.log(self.sample_weight[index])
                total -= 0.5 * np.log(item.n_atoms) if kind == "energy" else 0.0
        return total
