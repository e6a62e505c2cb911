"""Model files: mlfeat's own, LAMMPS' and QUIP's."""

from pathlib import Path

from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.io import read_gap, read_snap, write_gap, write_snap
from mlfeat.persistence import load, save

SNAP = (".snapcoeff", ".snapparam")
GAP = ".xml"


def add_model_options(parser, name="model"):
    """The model file, and what the files of other programs leave open."""
    parser.add_argument(
        name,
        metavar=name.upper(),
        type=Path,
        help="fitted model: mlfeat's file, one of LAMMPS' .snapcoeff and .snapparam files, which have the same name, "
        "or QUIP's .xml file, beside which its files of sparse points lie",
    )
    parser.add_argument(
        "--species",
        type=_symbols,
        metavar="LIST",
        help="elements to take from LAMMPS' or QUIP's files, as in Mo,W (default: all of them)",
    )
    parser.add_argument(
        "--script",
        type=Path,
        metavar="FILE",
        help="file with the pair_style and pair_coeff lines of a ZBL baseline that belongs to LAMMPS' files",
    )


def read_model(path, args=None):
    """A fitted model from a file; of LAMMPS' two files either one may be named."""
    species, script = getattr(args, "species", None), getattr(args, "script", None)
    files = [path.with_suffix(suffix) for suffix in SNAP] if is_snap(path) else [path]
    if species and not (is_snap(path) or is_gap(path)):
        raise UsageError(f"{path}: --species belongs to LAMMPS' files and QUIP's")
    if script and not is_snap(path):
        raise UsageError(f"{path}: --script belongs to LAMMPS' files")
    for file in [*files, *[script] * (script is not None)]:
        if not file.is_file():
            raise UsageError(f"{file}: no such file")
    with bad_input():  # the messages name the file
        if is_gap(path):
            return read_gap(path, species)
        return read_snap(*files, species=species, script=script) if is_snap(path) else load(path)


def write_model(model, path):
    """Write a fitted model in the format that the file's ending names; returns the files' paths."""
    if is_snap(path):
        return write_snap(model, path.with_suffix(""))
    return write_gap(model, path) if is_gap(path) else (save(model, path),)


def is_snap(path):
    """Whether a path names a LAMMPS SNAP file."""
    return path.suffix in SNAP


def is_gap(path):
    """Whether a path names a QUIP file."""
    return path.suffix == GAP


def _symbols(text):
    return tuple(symbol.strip() for symbol in text.split(",") if symbol.strip())
