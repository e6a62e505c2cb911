"""Model files, mlfeat's own and LAMMPS'."""

from pathlib import Path

from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.io import read_snap, write_snap
from mlfeat.persistence import load, save

SNAP = (".snapcoeff", ".snapparam")


def add_model_options(parser, name="model"):
    """The model file, and what LAMMPS' files leave open."""
    parser.add_argument(
        name,
        metavar=name.upper(),
        type=Path,
        help="fitted model: mlfeat's file, or one of LAMMPS' .snapcoeff and .snapparam files, which have the same name",
    )
    parser.add_argument(
        "--species",
        type=_symbols,
        metavar="LIST",
        help="elements to take from LAMMPS' files, as in Mo,W (default: all of them)",
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
    if is_snap(path):
        files = [path.with_suffix(suffix) for suffix in SNAP]
    else:
        files = [path]
        if species or script:
            raise UsageError(f"{path}: --species and --script belong to LAMMPS' files")
    for file in [*files, *[script] * (script is not None)]:
        if not file.is_file():
            raise UsageError(f"{file}: no such file")
    with bad_input():  # the messages name the file
        return read_snap(*files, species=species, script=script) if is_snap(path) else load(path)


def write_model(model, path):
    """Write a fitted model in the format that the file's ending names; returns the files' paths."""
    if not is_snap(path):
        return (save(model, path),)
    return write_snap(model, path.with_suffix(""))


def is_snap(path):
    """Whether a path names a LAMMPS SNAP file."""
    return path.suffix in SNAP


def _symbols(text):
    return tuple(symbol.strip() for symbol in text.split(",") if symbol.strip())
