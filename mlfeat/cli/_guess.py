"""What the data say about a potential: its elements, published settings for them, a cutoff."""

import numpy as np

from mlfeat import presets
from mlfeat.neighbors import NeighborPairs
from mlfeat.targets import get_groups, make_targets

_SAMPLE = 50  # structures that the density is estimated from


def species_of(structures):
    """Chemical symbols of structures, sorted."""
    return tuple(sorted(set().union(*(set(atoms.symbols) for atoms in structures))))


def published(preset, species):
    """Published settings for a single element, None where there are none."""
    try:
        return getattr(presets, preset)(*species) if len(species) == 1 else None
    except ValueError:
        return None


def has_published_groups(structures):
    """Whether all groups of structures are those of the data that settings are published for."""
    return set(get_groups(structures)) <= set(presets.GROUPS)


def count_measurements(structures):
    """Energies, and components of forces and stresses."""
    targets = make_targets(structures)
    n_forces = sum(forces.size for forces in targets["forces"] if forces is not None)
    return len(structures) + n_forces + int(np.isfinite(targets["stress"]).sum())


def without_groups(structures):
    """Copies of structures that belong to no group: sums for each group would only take memory."""
    structures = [atoms.copy() for atoms in structures]
    for atoms in structures:
        atoms.info.pop("group", None)
    return structures


def guess_cutoff(structures):
    """A cutoff (Å) with about 26 neighbors: 1.85 times the cube root of the volume of an atom.

    For Ni, Cu, Li, Mo, Si and Ge this is within 6 % of the published cutoffs of SNAP. The volume is
    the median over the atoms of that counted within three times the distance of nearest neighbors, so
    that the vacuum of slabs and boxes does not matter. Molecules get at least 4 Å.
    """
    sample = structures[:: 1 + len(structures) // _SAMPLE]
    nearest = np.concatenate([_nearest(atoms) for atoms in sample])
    if len(nearest) == 0:
        return 5.0
    nearest = np.median(nearest)
    radius = 3 * nearest
    lists = [NeighborPairs.from_atoms(atoms, radius) for atoms in sample]
    counts = np.concatenate([np.diff(pairs.offsets) for pairs in lists])
    volume = 4 / 3 * np.pi * radius**3 / (1 + np.median(counts))
    cutoff = min(1.85 * np.cbrt(volume), max(2.4 * nearest, 4.0))
    return round(float(max(cutoff, 1.4 * nearest)), 2)


def _nearest(atoms):
    """Distance of each atom to its nearest neighbor; none for atoms alone within 6 Å."""
    pairs = NeighborPairs.from_atoms(atoms, 6.0)
    nearest = np.full(pairs.n_atoms, np.inf)
    np.minimum.at(nearest, pairs.first, pairs.distances)
    return nearest[np.isfinite(nearest)]
