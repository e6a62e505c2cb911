"""Model files: mlfeat's own, LAMMPS', QUIP's, n2p2's and MLIP's."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.io import read_gap, read_mtp, read_nnp, read_snap, write_gap, write_mtp, write_nnp, write_snap
from mlfeat.persistence import load, save

SNAP = (".snapcoeff", ".snapparam")
NNP = "input.nn"
OPTIONS = {
    "species": "LAMMPS' files, QUIP's and MLIP's",
    "script": "LAMMPS' files",
    "units": "n2p2's files",
    "member": "MLIP's files that are written",
}
UNITS = {"atomic": ("bohr", "hartree"), "metal": ("angstrom", "eV")}


def add_model_options(parser, name="model"):
    """The model file, and what the files of other programs leave open."""
    parser.add_argument(
        name,
        metavar=name.upper(),
        type=Path,
        help="fitted model: mlfeat's file, one of LAMMPS' .snapcoeff and .snapparam files, which have the same name, "
        "QUIP's .xml file, beside which its files of sparse points lie, n2p2's folder or the input.nn in it, or MLIP's "
        ".mtp file",
    )
    parser.add_argument(
        "--species",
        type=_symbols,
        metavar="LIST",
        help="elements to take from LAMMPS' or QUIP's files, as in Mo,W (default: all of them); those of the species "
        "0, 1, … of MLIP's file, which does not name them",
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


class Format(NamedTuple):
    """Files of a program: which they are, how to read and to write them, and the options for either."""

    program: str
    is_named_by: Callable  # path -> bool
    read: Callable  # path, options -> model
    write: Callable  # model, path, options -> paths
    read_options: tuple = ()
    write_options: tuple = ()


def read_model(path, args=None):
    """A fitted model from a file; of LAMMPS' two files either one may be named."""
    options, target = vars(args) if args is not None else {}, getattr(args, "target", None)
    for name in OPTIONS:
        if options.get(name) is not None:
            _check_belongs(name, path, target)
    form = format_of(path)
    files = [path.with_suffix(suffix) for suffix in SNAP] if is_snap(path) else [path] * (form.program != "n2p2")
    for file in [*files, *filter(None, [options.get("script")])]:
        if not file.is_file():
            raise UsageError(f"{file}: no such file")
    with bad_input():  # the messages name the file
        return form.read(path, options)


def _check_belongs(option, path, target):
    written = () if target is None else format_of(target).write_options
    if option not in (*format_of(path).read_options, *written):
        raise UsageError(f"{path}: --{option} belongs to {OPTIONS[option]}")


def write_model(model, path, args=None):
    """Write a fitted model in the format that the file's name says; returns the files' paths."""
    return format_of(path).write(model, path, {} if args is None else vars(args))


def format_of(path):
    """The `Format` of the files that a path names."""
    return next(form for form in FORMATS if form.is_named_by(path))


def is_snap(path):
    """Whether a path names a LAMMPS SNAP file."""
    return path.suffix in SNAP


def _read_snap(path, options):
    files = (path.with_suffix(suffix) for suffix in SNAP)
    return read_snap(*files, species=options.get("species"), script=options.get("script"))


def _is_nnp(path):
    """Whether a path names n2p2's settings file, or a folder, as n2p2's potentials are."""
    return path.name == NNP or path.is_dir()


def _units(options):
    """Units of n2p2's files, as read_nnp and write_nnp are told of them."""
    return dict(zip(("length_unit", "energy_unit"), UNITS[options.get("units") or "atomic"], strict=True))


def _read_mtp(path, options):
    if not options.get("species"):
        raise UsageError(f"{path}: the file does not name its elements; give them with --species, as in --species Mo,W")
    model = read_mtp(path, options["species"])
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise UsageError(f"{path}: the file has no coefficients, it is one to be trained") from error
    return model


FORMATS = (
    Format(
        "LAMMPS",
        is_snap,
        _read_snap,
        lambda model, path, _: write_snap(model, path.with_suffix("")),
        ("species", "script"),
    ),
    Format(
        "n2p2",
        _is_nnp,
        lambda path, options: read_nnp(path, **_units(options)),
        lambda model, path, options: write_nnp(model, path, **_units(options)),
        ("units",),
        ("units",),
    ),
    Format(
        "QUIP",
        lambda path: path.suffix == ".xml",
        lambda path, options: read_gap(path, options.get("species")),
        lambda model, path, _: write_gap(model, path),
        ("species",),
    ),
    Format(
        "MLIP",
        lambda path: path.suffix == ".mtp",
        _read_mtp,
        lambda model, path, options: (write_mtp(model, path, options.get("member")),),
        ("species",),
        ("member",),
    ),
    Format("mlfeat", lambda path: True, lambda path, _: load(path), lambda model, path, _: (save(model, path),)),
)


def _symbols(text):
    return tuple(symbol.strip() for symbol in text.split(",") if symbol.strip())
