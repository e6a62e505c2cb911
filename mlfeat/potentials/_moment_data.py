"""What moment tensor potentials are trained on."""

from typing import NamedTuple

import numpy as np

from mlfeat._cluster import count_threads
from mlfeat._parallel import run_chunks

BLOCK_ROWS = 1024  # energies and components that are worked on at a time: enough for matrix products at full speed
WAVE = 4  # blocks for each thread before their sums are added


class MomentData(NamedTuple):
    """Structures and their targets.

    Attributes
    ----------
    items : sequence of StructureFeatures
        Of which neighbor lists and species are used.
    targets : structured array (n_structures,)
        Energies (eV), forces, stresses that the potential has to explain.
    weights : array (n_structures, 3)
        Weights of squared residuals of the energy, of force and of stress components; zero where there is none.
    """

    items: tuple
    targets: np.ndarray
    weights: np.ndarray

    def part(self, chosen):
        """Those of some structures, an index array."""
        return MomentData(tuple(self.items[k] for k in chosen), self.targets[chosen], self.weights[chosen])

    def row_bytes(self, n_columns):
        """Bytes of rows with so many columns for all that there is to explain."""
        return 8 * n_columns * sum(3 * item.n_atoms + 7 for item in self.items)

    def blocks(self):
        """Ranges of structures with about BLOCK_ROWS numbers to explain."""
        ranges, start, total = [], 0, 0
        for k, item in enumerate(self.items):
            total += 3 * item.n_atoms + 7
            if total >= BLOCK_ROWS or k == len(self.items) - 1:
                ranges.append(range(start, k + 1))
                start, total = k + 1, 0
        return ranges


def weighting_factors(weighting, items):
    """Factors (n_structures, 3) of the weights of squared residuals of energies, forces and stresses.

    With N atoms and the volume V they are 1, 1, V² ("molecules"); 1/N, 1, V²/N ("vibrations"); 1/N², 1/N, V²/N²
    ("structures").
    """
    n_atoms = np.array([item.n_atoms for item in items], dtype=float)
    volumes = np.nan_to_num([item.pairs.volume for item in items])
    powers = {"molecules": (0, 0, 0), "vibrations": (1, 0, 1), "structures": (2, 1, 2)}[weighting]
    factors = n_atoms[:, None] ** -np.array(powers, dtype=float)
    factors[:, 2] *= volumes**2
    return factors


def ordered_sum(function, parts, n_jobs):
    """Sum of ``function(part)`` over the parts, in threads; added in their order, whatever the number of threads."""
    total, size = None, WAVE * count_threads(n_jobs)
    for first in range(0, len(parts), size):
        wave = parts[first : first + size]
        found = [None] * len(wave)

        def work(start, stop, wave=wave, found=found):
            with np.errstate(over="ignore", invalid="ignore"):  # steps may be too large
                for k in range(start, stop):
                    found[k] = function(wave[k])

        run_chunks(work, len(wave), n_jobs, align=1)
        for array in found:
            total = array if total is None else np.add(total, array, out=total)
    return total
