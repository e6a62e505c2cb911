"""Structures from files, checked before any work."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlfeat.base import PotentialMixin
from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.io import _structures
from mlfeat.metrics import evaluate
from mlfeat.neighbors import NeighborPairs
from mlfeat.targets import get_groups, make_targets

_OVERLAP = 1.0  # Å; radius of the lists that find atoms on top of each other
_INDEX = re.compile(r"-?\d*(:-?\d*){0,2}")
_QUANTITIES = "energy", "forces", "stress", "virial"


class _Predictions(PotentialMixin):
    """Predictions in place of the potential that made them."""

    def __init__(self, targets):
        self.targets = targets

    def predict_targets(self, X):
        return self.targets


@dataclass(frozen=True)
class Data:
    """Structures with their targets, and what to call them in messages."""

    name: str
    structures: list
    targets: np.ndarray

    @property
    def n_atoms(self):
        """Atoms in each structure."""
        return np.array([len(atoms) for atoms in self.structures])

    def __getitem__(self, chosen):
        """Some of the structures, by a mask."""
        structures = [self.structures[index] for index in np.flatnonzero(chosen)]
        return Data(self.name, structures, self.targets[chosen])

    def errors(self, predictions):
        """Errors of predictions (a structured array), see `mlfeat.metrics.evaluate`."""
        return evaluate(_Predictions(predictions), self.structures, self.targets)

    def errors_by_group(self, predictions):
        """Number of structures and atoms, and errors, of each group; nothing where all structures are of one."""
        groups = get_groups(self.structures)
        names = sorted(set(groups.tolist()))
        return {
            name or "(none)": self._size(groups == name) | self[groups == name].errors(predictions[groups == name])
            for name in (names if len(names) > 1 else [])
        }

    def _size(self, chosen):
        return {"structures": int(chosen.sum()), "atoms": int(self.n_atoms[chosen].sum())}

    def summary(self):
        """What ``results.json`` tells about the data."""
        return {
            "name": self.name,
            "structures": len(self.structures),
            "atoms": int(self.n_atoms.sum()),
            "with_forces": sum(forces is not None for forces in self.targets["forces"]),
            "with_stress": int(np.isfinite(self.targets["stress"]).all(axis=1).sum()),
            "groups": dict(Counter(get_groups(self.structures).tolist())),
        }


def add_data_options(parser):
    """Options that say under which names a file holds its energies, forces and stresses."""
    group = parser.add_argument_group(
        "names in the files", "Needed where a file has its quantities under other names or in another order than usual."
    )
    for name in _QUANTITIES:
        group.add_argument(f"--{name}-key", metavar="KEY", help=f"name of the {name}")
    group.add_argument(
        "--types",
        type=lambda text: text.split(","),
        metavar="LIST",
        help="elements of the types in MLIP's .cfg files (0, 1, …) and LAMMPS dumps (1, 2, …), as in Mo,W",
    )
    group.add_argument(
        "--shear-order",
        type=lambda text: tuple(text.split(",")),
        metavar="LIST",
        help="what the last three numbers of virial_stress in JSON are, as in xy,xz,yz (default: VASP's, xy,yz,xz)",
    )


def read_structures(path, args=None):
    """All structures of a file, folder or pattern, see `mlfeat.io`; ``path@index`` selects some of each file.

    With the options of `add_data_options` in ``args``, their quantities become those of the
    structures.
    """
    path = str(path)
    place, _, index = path.rpartition("@")
    if Path(path).exists() or not (_INDEX.fullmatch(index) or Path(place).is_file()):
        place, index = path, ":"
    keys = {f"{name}_key": getattr(args, f"{name}_key", None) for name in _QUANTITIES}
    named = {"species": getattr(args, "types", None), "shear_order": getattr(args, "shear_order", None)}
    with bad_input():  # the messages name the file
        structures = _structures.read_structures(place, index, check=False, **named, **keys)
    with bad_input(path):
        for number, atoms in enumerate(structures):
            NeighborPairs.from_atoms(atoms, _OVERLAP, index=number)
    return structures


def read_structure(path):
    """The only structure of a file, or the one that ``path@index`` selects."""
    structures = read_structures(path)
    if len(structures) > 1:
        raise UsageError(f"{path}: {len(structures)} structures; choose one, as in {path}@0")
    return structures[0]


def load_data(path, args=None):
    """Structures of a file with their targets."""
    data = as_data(str(path), read_structures(path, args))
    _structures.warn_of_stress(data.structures)
    return data


def as_data(name, structures):
    """Structures with their targets."""
    with bad_input(name):
        return Data(name, structures, make_targets(structures))


def check_species(name, structures, known):
    """Raise `UsageError` if a structure has an element that a potential for ``known`` ones does not know."""
    for index, atoms in enumerate(structures):
        unknown = sorted(set(atoms.symbols) - set(known))
        if unknown:
            raise UsageError(
                f"{name}: structure {index} has {', '.join(unknown)}, but the potential is one for "
                f"{', '.join(known)}; remove the structure, or train on such ones"
            )
