"""What structures have, and what is missing."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from mlfeat.neighbors import check_structures
from mlfeat.targets import _calculated, _is_missing, get_groups

__all__ = ["StructuresSummary", "describe_structures"]

_N_LISTED = 10


@dataclass(frozen=True, eq=False)
class StructuresSummary:
    """What a list of structures has; `describe_structures` makes it, and ``print`` shows it.

    Attributes
    ----------
    n_structures, n_atoms : int
        Structures, and atoms in all of them.
    species : dict of str to int
        Atoms of each element.
    groups : dict of str to int
        Structures of each group, "" without.
    missing : dict of str to intp array
        Indices of the structures without "energy", "forces", "stress".
    energy_range : tuple of float, or None
        Lowest and highest energy, eV/atom.
    largest_force : float or None
        Largest component of a force, eV/Å.
    """

    n_structures: int
    n_atoms: int
    species: dict
    groups: dict
    missing: dict
    energy_range: tuple | None
    largest_force: float | None

    def listed(self, name):
        """Indices of the structures without something, as text: the first ten, and how many more."""
        indices = self.missing[name]
        more = f" and {len(indices) - _N_LISTED} more" if len(indices) > _N_LISTED else ""
        return ", ".join(map(str, indices[:_N_LISTED])) + more

    def __str__(self):
        species = ", ".join(f"{symbol} {n}" for symbol, n in self.species.items())
        lines = [f"{self.n_structures} structures, {self.n_atoms} atoms ({species})"]
        lines += [f"  group {name or '(none)'}: {n}" for name, n in self.groups.items()]
        if self.energy_range is not None:
            lines.append("  energy {:.4f} to {:.4f} eV/atom".format(*self.energy_range))
        if self.largest_force is not None:
            lines.append(f"  largest force component {self.largest_force:.3f} eV/Å")
        for name, indices in self.missing.items():
            lines.append(f"  without {name}: {f'{len(indices)} ({self.listed(name)})' if len(indices) else 'none'}")
        return "\n".join(lines)


def describe_structures(structures):
    """Tell what structures have for a potential to learn from, and what is missing.

    Parameters
    ----------
    structures : list of ase.Atoms
        As :func:`mlfeat.io.read_structures` and ``ase.io.read`` give them.

    Returns
    -------
    StructuresSummary
        Numbers of structures and atoms, species, groups, ranges, and indices of structures that lack something.

    Examples
    --------
    >>> from ase.build import bulk
    >>> print(describe_structures([bulk("Cu"), bulk("Ni")]))
    2 structures, 2 atoms (Cu 1, Ni 1)
      group (none): 2
      without energy: 2 (0, 1)
      without forces: 2 (0, 1)
      without stress: 2 (0, 1)
    """
    structures = check_structures(structures)
    stores = {"energy": "info", "forces": "arrays", "stress": "info"}
    found = {name: [_value(atoms, name, store) for atoms in structures] for name, store in stores.items()}
    energies = [e / len(a) for e, a in zip(found["energy"], structures, strict=True) if e is not None]
    forces = [np.abs(f).max() for f in found["forces"] if f is not None]
    return StructuresSummary(
        n_structures=len(structures),
        n_atoms=sum(map(len, structures)),
        species=dict(sorted(Counter(symbol for atoms in structures for symbol in atoms.symbols).items())),
        groups=dict(Counter(get_groups(structures).tolist())),
        missing={name: np.flatnonzero([v is None for v in values]) for name, values in found.items()},
        energy_range=(float(min(energies)), float(max(energies))) if energies else None,
        largest_force=float(max(forces)) if forces else None,
    )


def _value(atoms, name, store):
    value = _calculated(atoms, name)
    value = getattr(atoms, store).get(name) if value is None else value
    return None if _is_missing(value) else value
