"""Structures from files, checked before any work."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.formats import string2index

from mlfeat.base import PotentialMixin
from mlfeat.cli._errors import UsageError, bad_input, one_line
from mlfeat.io import read_cfg
from mlfeat.metrics import evaluate
from mlfeat.neighbors import NeighborPairs, check_structures
from mlfeat.targets import get_groups, make_targets

_OVERLAP = 1.0  # Å; radius of the lists that find atoms on top of each other


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
        "names in the files", "Needed where a file calls its quantities otherwise than energy, forces and stress."
    )
    for name in ("energy", "forces", "stress"):
        group.add_argument(f"--{name}-key", metavar="KEY", help=f"name of the {name}")
    group.add_argument(
        "--types",
        type=lambda text: text.split(","),
        metavar="LIST",
        help="elements of the types 0, 1, … in MLIP's .cfg files, as in Mo,W",
    )


def read_structures(path, args=None):
    """All structures of a file in any format ASE reads, or MLIP's; ``path@index`` selects some of them.

    With the options of `add_data_options` in ``args``, their quantities become those of the
    structures.
    """
    path = str(path)
    selected = "@" in Path(path).name
    file = Path(path.rpartition("@")[0] if selected else path)
    if not file.exists():
        raise UsageError(f"{file}: no such file")
    if file.is_file() and file.stat().st_size == 0:
        raise UsageError(f"{file}: the file is empty")
    index = path.rpartition("@")[2] if selected else ":"
    structures = _read_cfg(file, index, args) if _is_cfg(file) else _read_ase(path, file, index)
    with bad_input(path):
        check_structures(structures)
        for index, atoms in enumerate(structures):
            NeighborPairs.from_atoms(atoms, _OVERLAP, index=index)
    _use_keys(path, structures, args)
    return structures


def _is_cfg(file):
    """Whether a file is one of MLIP's; those of AtomEye have the same ending."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(100).lstrip().startswith(b"BEGIN_CFG")


def _read_cfg(file, index, args):
    with bad_input():  # the messages name the file
        structures = read_cfg(file, getattr(args, "types", None))
    with bad_input(f"{file}@{index}"):
        return structures[string2index(index) if ":" in index else slice(int(index), int(index) + 1 or None)]


def _read_ase(path, file, index):
    try:
        structures = ase.io.read(f"{file}@{index}")
    except Exception as error:  # ASE's readers raise anything on a damaged file
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise UsageError(f"{path}: ASE cannot read it ({reason})") from error
    return [structures] if isinstance(structures, ase.Atoms) else list(structures)


def read_structure(path):
    """The only structure of a file, or the one that ``path@index`` selects."""
    structures = read_structures(path)
    if len(structures) > 1:
        raise UsageError(f"{path}: {len(structures)} structures; choose one, as in {path}@0")
    return structures[0]


def load_data(path, args=None):
    """Structures of a file with their targets."""
    return as_data(str(path), read_structures(path, args))


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


def _use_keys(path, structures, args):
    names = ("energy", "forces", "stress")
    keys = {name: getattr(args, f"{name}_key", None) for name in names}
    keys = {name: key for name, key in keys.items() if key}
    if not keys:
        return
    for name, key in keys.items():
        if not any(key in _store(atoms, name) for atoms in structures):
            raise UsageError(f"{path}: no structure has {key!r}, which --{name}-key asks for")
    for atoms in structures:
        results = dict(atoms.calc.results) if atoms.calc is not None else {}
        for name, key in keys.items():
            results.pop(name, None)
            if key in _store(atoms, name):
                results[name] = np.array(_store(atoms, name)[key], dtype=float)
        atoms.calc = SinglePointCalculator(atoms)
        atoms.calc.results = results


def _store(atoms, name):
    """Where ASE's readers put a quantity under a name that they do not know."""
    return atoms.arrays if name == "forces" else atoms.info
