"""Energies of species without neighbors, which a Gaussian process takes off the energies before it fits them."""

from collections.abc import Mapping
from numbers import Real

import numpy as np


def reference_energies(e0, items, targets, species):
    """Energies (n_species,), eV, as `GaussianApproximationPotential` has its parameter `e0`; "fit" starts as "average".

    Raises
    ------
    ValueError
        If there is none for some species, or it is not finite.
    """
    if isinstance(e0, Mapping):
        return given_energies("e0", e0, species)
    name = e0 if isinstance(e0, str) else ""
    if name == "isolated":
        return _isolated(items, targets, species)
    if name in ("average", "fit"):
        return average_energies(items, targets, len(species))
    raise ValueError(f"e0={e0!r}: must be 'average', 'isolated', 'fit', or energies (eV) by symbol")


def given_energies(name, given, species):
    """Energies (n_species,), eV, of the parameter `name`, a dict by symbol."""
    missing = [symbol for symbol in species if symbol not in given]
    if missing:
        raise ValueError(f"{name} has no energy of {', '.join(missing)}: give one (eV) for every species")
    for symbol in species:
        if not (isinstance(given[symbol], Real) and np.isfinite(given[symbol])):
            raise ValueError(f"{name}[{symbol!r}]={given[symbol]!r}: must be a finite number (eV)")
    return np.array([given[symbol] for symbol in species], dtype=float)


def average_energies(items, targets, n_species):
    """Energies (n_species,) of species by least squares over energies per atom."""
    n_atoms = np.array([item.n_atoms for item in items])
    compositions = np.array([np.bincount(item.species, minlength=n_species) for item in items])
    return np.linalg.lstsq(compositions / n_atoms[:, None], targets["energy"] / n_atoms, rcond=1e-10)[0]


def _isolated(items, targets, species):
    energies = {}
    for item, target in zip(items, targets, strict=True):
        if item.n_atoms == 1 and item.pairs.n_pairs == 0:
            energies.setdefault(species[item.species[0]], []).append(target["energy"])
    missing = [symbol for symbol in species if symbol not in energies]
    if missing:
        raise ValueError(
            f"e0='isolated', but no training structure is a single atom of {', '.join(missing)} without neighbors: "
            "add one, or use e0='average' or energies by symbol"
        )
    return np.array([np.mean(energies[symbol]) for symbol in species])
