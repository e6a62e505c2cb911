"""Neighbor list by trying every pair in every image: the oracle of the tests."""

from itertools import product

import numpy as np
from ase.geometry import complete_cell


def neighbor_set(atoms, cutoff):
    """All (i, j, S_x, S_y, S_z) with 0 < |r_j - r_i + S·cell| < cutoff, as a set."""
    cell = complete_cell(atoms.cell.array)
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    spread = np.ptp(atoms.positions @ inverse, axis=0)
    reach = np.where(atoms.pbc, np.ceil(cutoff / heights + spread), 0).astype(int)
    found = set()
    for shift in product(*(range(-n, n + 1) for n in reach)):
        vectors = atoms.positions[None] - atoms.positions[:, None] + np.array(shift) @ atoms.cell.array
        near = np.linalg.norm(vectors, axis=2) < cutoff
        if not any(shift):
            np.fill_diagonal(near, False)
        found.update((int(i), int(j), *shift) for i, j in np.argwhere(near))
    return found
