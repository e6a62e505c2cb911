"""``mlfeat convert``: between mlfeat's model file and those of the original programs."""

from pathlib import Path

from mlfeat.cli import _options as options
from mlfeat.cli._errors import bad_input
from mlfeat.cli._models import add_model_options, format_of, read_model, write_model

DESCRIPTION = """\
Convert a fitted model between mlfeat's file, LAMMPS' files for pair_style
snap, QUIP's files for Gaussian approximation potentials, n2p2's files for
neural network potentials, and MLIP's files for moment tensor potentials. The
name says the format: .snapcoeff or .snapparam at its end is LAMMPS (both files
are read or written), .xml is QUIP (with files of sparse points beside it),
input.nn or an existing folder is n2p2 (with scaling.data and weights.ZZZ.data
in the same folder), .mtp is MLIP, any other is mlfeat. What was written is
printed, with its format.
"""
EXAMPLES = """\
  mlfeat convert model.mlfeat Mo.snapcoeff
  mlfeat convert Mo.snapcoeff model.mlfeat
  mlfeat convert MoNbTaW.snapcoeff MoW.snapcoeff --species Mo,W
  mlfeat convert gap.xml model.mlfeat
  mlfeat convert model.mlfeat Mo/input.nn
  mlfeat convert MoW.mtp model.mlfeat --species Mo,W
"""


def add_parser(subparsers):
    """The subcommand's arguments."""
    parser = options.add_parser(
        subparsers,
        "convert",
        help="convert a model between mlfeat's file and those of LAMMPS, QUIP, n2p2, MLIP",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    add_model_options(parser, "source")
    parser.add_argument("target", metavar="TARGET", type=Path, help="file to write")
    parser.add_argument(
        "--member",
        type=options.count,
        metavar="N",
        help="which of the potentials of a committee, 0, 1, …, MLIP's file should hold",
    )
    parser.set_defaults(run=run)


def run(args):
    """Do it."""
    model = read_model(args.source, args)
    with bad_input(args.target):  # what the format cannot hold, or a folder that is not there
        written = write_model(model, args.target, args)
    for path in written:
        print(f"{path} ({format_of(args.target).program})")
