"""Formats of files of structures: how they are told apart, and read one structure after the other."""

import gzip
import lzma
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import ParseError

import ase.db
import ase.io
import numpy as np
from ase.calculators.lammps import convert
from ase.io.extxyz import read_xyz
from ase.io.formats import get_compression, open_with_compression
from ase.io.lammpsrun import iread_lammps_dump_text
from ase.io.vasp import iread_vasp_out, read_vasp_xml
from defusedxml.ElementTree import iterparse

from mlfeat.io._cfg import iter_cfg
from mlfeat.io._structures_json import read_json
from mlfeat.io._structures_n2p2 import read_n2p2

_HEAD = 10000  # bytes that tell a format
_ENERGY_COLUMN = re.compile("[cvf]_(pe|pea|pe_?atom|e_?atom|e_?pot|pot|eng|energy)", re.IGNORECASE)
_OUTCAR_END = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"


@dataclass(frozen=True)
class Options:
    """Parameters of `read_structures` that single readers need."""

    species: tuple | None = None
    units: str | None = None
    shear_order: tuple | dict | None = None
    energy_key: str | None = None
    stress_key: str | None = None


def guess_format(path):
    """Name of the format of a file by what it begins with, or None."""
    try:
        with open_with_compression(str(path), "rb") as stream:
            head = stream.read(_HEAD)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path}: the compressed file is damaged ({error})") from error
    if head.startswith(b"SQLite format 3\0"):
        return "db"
    text = head.decode("utf-8", errors="replace").removeprefix("\ufeff").lstrip()
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    first = lines[0] if lines else ""
    signs = {
        "mlip": first.startswith("BEGIN_CFG"),
        "vasp-xml": first.startswith("<?xml") and "<modeling" in text,
        "vasp-out": first.startswith("vasp."),
        "lammps-dump-text": first.startswith("ITEM:") and "ITEM: TIMESTEP" in text,
        "maml": first[:1] in ("[", "{") and '"structure"' in text,
        "json": re.match(r'\{\s*"\d+": \{', text) is not None,
        "n2p2": first == "begin",
        "extxyz": first.isdecimal() and ("xyz" in path.name.lower() or "Properties=" in text),
    }
    return next((name for name, found in signs.items() if found), None)


def read_format(path, name, options):
    """Yield the structures of a file in a format of this name."""
    if name in _READERS:
        yield from _READERS[name](path, options)
    else:
        yield from ase.io.iread(str(path), ":", format=name, do_not_split_by_at_sign=True)


def energy_key_in(name, given):
    """Name of the energy in a format: VASP's forces and stresses are derivatives of the free energy."""
    return "free_energy" if given is None and name in ("vasp-out", "vasp-xml") else given


def _read_extxyz(path, options):
    with open_with_compression(str(path), "r") as stream:
        yield from read_xyz(stream, slice(None))
        if stream.read(_HEAD).strip():
            raise ValueError("an empty line comes before it, where ASE's reader stops; remove that line")
    _check_ended(path)


def _check_ended(path):
    """The last of the numbers may be cut where the last line is."""
    if get_compression(str(path))[1] is None:
        with Path(path).open("rb") as stream:
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                raise ValueError(
                    "is not there, and the file ends within a line, so that the last number of the structure before "
                    "may be cut; if the file is complete, end its last line with a newline"
                )


def _read_cfg(path, options):
    return iter_cfg(path, options.species)


def _read_json(path, options):
    return read_json(path, options.shear_order)


def _read_n2p2(path, options):
    return read_n2p2(path, options.units or "metal")


def _read_db(path, options, kind="db"):
    with ase.db.connect(path, type=kind) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            yield atoms


def _read_db_json(path, options):
    return _read_db(path, options, "json")


def _read_vasp_xml(path, options):
    with open_with_compression(str(path), "rb") as stream:
        n_complete, error = _count_steps(stream)
    if n_complete:
        with open_with_compression(str(path), "rb") as stream:
            yield from read_vasp_xml(stream, slice(0, n_complete))
    if error is not None:
        raise ValueError(f"the file ends within it ({error})")


def _count_steps(stream):
    """Ionic steps that are complete, and what is wrong behind them; entities and the like are refused."""
    n_complete = 0
    try:
        for _, element in iterparse(stream, forbid_dtd=True):
            if element.tag == "calculation":
                n_complete += 1
                element.clear()
    except ParseError as error:
        return n_complete, error
    return n_complete, None


def _read_vasp_out(path, options):
    with open_with_compression(str(path), "r") as stream:
        yield from iread_vasp_out(stream, slice(None))
    with open_with_compression(str(path), "r") as stream:
        within, ending = False, False
        for line in stream:
            if "Iteration" in line:
                within = True
            ending = ending or _OUTCAR_END in line
            if ending and "energy(sigma->0)" in line and line.endswith("\n"):
                within = ending = False
    if within:
        raise ValueError("the file ends within it")


def _read_dump(path, options):
    with open_with_compression(str(path), "r") as frames, open_with_compression(str(path), "r") as stream:
        structures = None
        for n_atoms, n_lines, columns, named in _dump_frames(frames):
            if n_lines < n_atoms:
                raise ValueError(f"the file ends within it: it has {n_lines} of its {n_atoms} atoms")
            if options.species is None and not {"element", "mass"} & set(columns):
                raise ValueError("its atoms have types, not elements; pass species, the elements of the types 1, 2, …")
            if structures is None:
                units = options.units or named or "metal"
                structures = iread_lammps_dump_text(stream, slice(None), specorder=options.species, units=units)
            yield _from_dump(next(structures), units, options)
    _check_ended(path)


def _dump_frames(stream):
    """Number of atoms, of their lines, columns and units of each frame."""
    n_atoms, named, begun = 0, None, False
    for line in stream:
        begun = begun or line.startswith("ITEM: TIMESTEP")
        if line.startswith("ITEM: UNITS"):
            named = next(stream, "").strip() or None
        elif line.startswith("ITEM: NUMBER OF ATOMS"):
            n_atoms = int(next(stream, "0"))
        elif line.startswith("ITEM: ATOMS"):
            columns = line.split()[2:]
            rows = (next(stream, "") for _ in range(n_atoms))
            yield n_atoms, sum(len(row.split()) == len(columns) for row in rows), columns, named
            begun = False
    if begun:
        yield max(1, n_atoms), 0, [], named


def _from_dump(atoms, units, options):
    """Energies and stresses that atoms have columns of, as those of the structure."""
    forces = None if atoms.calc is None else atoms.calc.results["forces"]
    atoms.calc = None  # its energy is zero, which the file does not say
    if forces is not None:
        atoms.set_array("forces", forces)
    key = options.energy_key or next(filter(_ENERGY_COLUMN.fullmatch, atoms.arrays), None)
    if key in atoms.arrays:
        atoms.info[options.energy_key or "energy"] = convert(atoms.arrays.pop(key).sum(), "energy", units, "ASE")
    columns = [f"{options.stress_key}[{k}]" for k in (1, 2, 3, 6, 5, 4)]  # of xx yy zz xy xz yz
    if set(columns) <= set(atoms.arrays):
        length = convert(1.0, "distance", units, "ASE")
        sums = np.array([atoms.arrays.pop(column).sum() for column in columns])
        stress = convert(sums, "pressure", units, "ASE") * length**3 / atoms.get_volume()
        atoms.info[options.stress_key] = stress
    return atoms


_READERS = {
    "extxyz": _read_extxyz,
    "vasp-out": _read_vasp_out,
    "vasp-xml": _read_vasp_xml,
    "lammps-dump-text": _read_dump,
    "maml": _read_json,
    "n2p2": _read_n2p2,
    "mlip": _read_cfg,
    "db": _read_db,
    "json": _read_db_json,
}
