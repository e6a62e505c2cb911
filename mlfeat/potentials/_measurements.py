"""What networks are trained on: inputs of each structure, derivatives of the inputs, and targets."""

import copy
import logging
from functools import cached_property

import numpy as np

from mlfeat.potentials._rows import KINDS

logger = logging.getLogger("mlfeat")


class Measurements:
    """Energies, forces and stresses of some structures, and how inputs of networks lead to them.

    Of structure k with N atoms, "measurement" 0 to 3N − 1 are the components of the forces, the next six those of the
    stress, each a sum Σ_m t_m · ∂E_owner/∂x over rows t_m, derivatives of an atom's inputs with respect to a position
    or a strain.

    Parameters
    ----------
    items : sequence of StructureFeatures
    targets : structured array (n_structures,)
        Energies (eV, of the structures), forces and stresses that the networks have to explain.
    weights : array (n_structures, 3)
        Weights of squared residuals of the energy per atom, of force and stress components; zero where there is none.
    memory_limit : float
        Bytes; derivatives are kept if all of them take no more, else made anew each time.
    """

    def __init__(self, items, targets, weights, memory_limit=np.inf):
        self.items = items
        self.targets = targets
        self.weights = weights
        self.memory_limit = memory_limit
        self._kept = {}

    def __len__(self):
        return len(self.items)

    def __getitem__(self, chosen):
        """Those of some structures, an index array; what was made of derivatives stays shared."""
        part = copy.copy(self)
        part.items = [self.items[k] for k in chosen]
        part.targets, part.weights = self.targets[chosen], self.weights[chosen]
        return part

    def count(self):
        """Numbers of energies, force components and stress components with a weight (3,)."""
        n_atoms = np.array([item.n_atoms for item in self.items])
        sizes = np.stack([np.ones_like(n_atoms), 3 * n_atoms, np.full_like(n_atoms, 6)], axis=1)
        return np.sum(sizes * (self.weights > 0), axis=0)

    def energy(self, k):
        """Energy per atom, eV."""
        return self.targets["energy"][k] / self.items[k].n_atoms

    def gradients(self, k):
        """Force components, then stress components (3N + 6,); NaN where there is none."""
        forces = self.targets["forces"][k]
        n = self.items[k].n_atoms
        forces = np.full(3 * n, np.nan) if forces is None else np.ravel(forces)
        return np.concatenate([forces, self.targets["stress"][k]])

    def derivatives(self, k):
        """Rows t (M, F), their owners (M,) and the first of each measurement (3N + 7,), of structure k."""
        item = self.items[k]
        if not self._keeps:
            return item.merged_derivatives()
        if id(item) not in self._kept:
            self._kept[id(item)] = item.merged_derivatives()
        return self._kept[id(item)]

    @cached_property
    def _keeps(self):
        n_bytes = sum(derivative_bytes(item) for item in self.items)
        if n_bytes > self.memory_limit:
            logger.info("derivatives of the features would take %.3g GB: they are made anew each time", n_bytes / 1e9)
        return n_bytes <= self.memory_limit

    def weight(self, k, kind):
        """Weight of the squared residuals of a kind, one of KINDS."""
        return self.weights[k, KINDS.index(kind)]


def derivative_bytes(item):
    """Most that the derivatives of a structure's inputs take."""
    return 8 * (9 * item.n_atoms + 3 * item.pairs.n_pairs) * (item.n_features + 2)
