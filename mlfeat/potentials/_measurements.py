"""What networks are trained on: inputs of each structure, derivatives of the inputs, and targets."""

import copy
import logging

import numpy as np

from mlfeat._ext import pairs as _pairs
from mlfeat.features import center_blocks
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
        n_bytes = sum(derivative_bytes(item) for item in items)
        self._kept = {} if n_bytes <= memory_limit else None
        if self._kept is None:
            logger.info("derivatives of the inputs would take %.3g GB: they are made anew in each epoch", n_bytes / 1e9)

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
        if self._kept is None:
            return merged_derivatives(self.items[k])
        item = self.items[k]
        if id(item) not in self._kept:
            self._kept[id(item)] = merged_derivatives(item)
        return self._kept[id(item)]

    def weight(self, k, kind):
        """Weight of the squared residuals of a kind, one of KINDS."""
        return self.weights[k, KINDS.index(kind)]


def derivative_bytes(item):
    """Most that the derivatives of a structure's inputs take."""
    return 8 * (9 * item.n_atoms + 3 * item.pairs.n_pairs) * (item.n_features + 2)


def merged_derivatives(item):
    """Derivatives of a structure's inputs, those with respect to images of one atom summed; see `Measurements`."""
    pairs, n = item.pairs, item.n_atoms
    parts = []
    fixed = pairs.second, pairs.vectors, 1 / pairs.volume
    for start, stop in center_blocks(pairs.offsets, item.n_features):
        first, last = pairs.offsets[start], pairs.offsets[stop]
        size = 9 * (stop - start) + 3 * (last - first)
        rows, places, owners = np.empty((size, item.n_features)), *np.empty((2, size), dtype=np.intp)
        centers = np.arange(start, stop)
        jacobian = np.ascontiguousarray(item.jacobian(start, stop))
        m = _pairs.merge_gradients(jacobian, centers, pairs.offsets, first, *fixed, rows, places, owners)
        parts.append((rows[:m], places[:m], owners[:m]))
    rows, places, owners = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(3 * n + 7))
    return rows[order], owners[order], starts
