"""Model files: mlfeat's own, LAMMPS', QUIP's and n2p2's."""

from pathlib import Path

from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.io import read_gap, read_nnp, read_snap, write_gap, write_nnp, write_snap
from mlfeat.persistence import load, save

SNAP = (".snapcoeff", ".snapparam")
GAP = ".xml"
NNP = "input.nn"
UNITS = {"atomic": ("bohr", "hartree"), "metal": ("angstrom", "eV")}


def add_model_options(parser, name="model"):
    """The model file, and what the files of other programs leave open."""
    parser.add_argument(
        name,
        metavar=name.upper(),
        type=Path,
        help="fitted model: mlfeat's file, one of LAMMPS' .snapcoeff and .snapparam files, which have the same name, "
        "QUIP's .xml file, beside which its files of sparse points lie, or n2p2's folder or the input.nn in it",
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
    parser.add_argument(
        "--units",
        choices=UNITS,
        help="units of n2p2's files: atomic, bohr and hartree (default), or metal, Å and eV",
    )


def read_model(path, args=None):
    """A fitted model from a file; of LAMMPS' two files either one may be named."""
    species, script = getattr(args, "species", None), getattr(args, "script", None)
    if species and not (is_snap(path) or is_gap(path)):
        raise UsageError(f"{path}: --species belongs to LAMMPS' files and QUIP's")
    if script and not is_snap(path):
        raise UsageError(f"{path}: --script belongs to LAMMPS' files")
    if getattr(args, "units", None) and not (is_nnp(path) or is_nnp(getattr(args, "target", path))):
        raise UsageError(f"{path}: --units belongs to n2p2's files")
    files = [path.with_suffix(suffix) for suffix in SNAP] if is_snap(path) else [path] * (not is_nnp(path))
    for file in [*files, *[script] * (script is not None)]:
        if not file.is_file():
            raise UsageError(f"{file}: no such file")
    with bad_input():  # the messages name the file
        if is_snap(path):
            return read_snap(*files, species=species, script=script)
        if is_nnp(path):
            return read_nnp(path, **_units(args))
        return read_gap(path, species) if is_gap(path) else load(path)


def write_model(model, path, args=None):
    """Write a fitted model in the format that the file's name says; returns the files' paths."""
    if is_snap(path):
        return write_snap(model, path.with_suffix(""))
    if is_nnp(path):
        return write_nnp(model, path, **_units(args))
    return write_gap(model, path) if is_gap(path) else (save(model, path),)


def _units(args):
    """Units of n2p2's files, as read_nnp and write_nnp are told of them."""
    return dict(zip(("length_unit", "energy_unit"), UNITS[getattr(args, "units", None) or "atomic"], strict=True))


def format_of(path):
    """The program whose files a path names."""
    if is_snap(path):
        return "LAMMPS"
    if is_nnp(path):
        return "n2p2"
    return "QUIP" if is_gap(path) else "mlfeat"


def is_snap(path):
    """Whether a path names a LAMMPS SNAP file."""
    return path.suffix in SNAP


def is_gap(path):
    """Whether a path names a QUIP file."""
    return path.suffix == GAP


def is_nnp(path):
    """Whether a path names n2p2's settings file, or a folder, as n2p2's potentials are."""
    return path.name == NNP or path.is_dir()


def _symbols(text):
    return tuple(symbol.strip() for symbol in text.split(",") if symbol.strip())
