"""Arguments that several subcommands share."""

import argparse
import math
import shutil

import joblib

from mlfeat.cli._errors import UsageError
from mlfeat.cli._methods import Settings


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written; columns wide enough for the options."""

    def __init__(self, prog):
        width = min(shutil.get_terminal_size().columns - 2, 100)
        super().__init__(prog, max_help_position=26, width=width)
        self._action_max_length = 13  # argparse does not count the indent of subcommands


def add_parser(subparsers, name, *, help, description, examples):
    """A subcommand whose ``--help`` ends in examples."""
    return subparsers.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )


def add_fit_options(parser):
    """Options of every fit."""
    group = parser.add_argument_group(
        "settings of the potentials",
        "Without them: the published settings of the element where there are some (Ni,\n"
        "Cu, Li, Mo, Si, Ge), else a cutoff from the density of the data; weights of\n"
        "groups and kinds that cross-validation on the training set likes best.",
    )
    group.add_argument("--cutoff", type=positive, metavar="R", help="cutoff radius in Å")
    group.add_argument("--twojmax", type=int, metavar="2J", help="order of the bispectrum, 0 to 14")
    group.add_argument("--alpha", type=non_negative, metavar="A", help="ridge penalty")
    for kind, unit in (("energy", "(eV/atom)²"), ("force", "(eV/Å)²"), ("stress", "(eV/Å³)²")):
        group.add_argument(
            f"--{kind}-weight", type=non_negative, metavar="W", help=f"weight of {kind} errors, per {unit}"
        )
    group.add_argument(
        "--trials",
        type=count,
        metavar="N",
        help="trials of the search for weights (default: some 10 s of them)",
    )
    group.add_argument("--no-presets", action="store_true", help="do not use published settings")
    add_jobs_option(parser)


def add_jobs_option(parser):
    """The number of threads."""
    parser.add_argument(
        "--jobs",
        type=positive_int,
        default=joblib.cpu_count(),
        metavar="N",
        help="threads (default: one for each processor, here %(default)s)",
    )


def settings_of(args):
    """`Settings` from the options of `add_fit_options`."""
    names = ("energy_weight", "force_weight", "stress_weight")
    weights = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if len(weights) == len(names) and not any(weights.values()):
        raise UsageError("all weights are zero; give one of energies, forces and stresses a positive one")
    return Settings(
        cutoff=args.cutoff,
        twojmax=args.twojmax,
        alpha=args.alpha,
        weights=weights,
        trials=args.trials,
        presets=not args.no_presets,
        jobs=args.jobs,
    )


def non_negative(text):
    """Argument that is a finite number, zero or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of zero or more")
    return value


def positive(text):
    """Argument that is a positive number."""
    if non_negative(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return float(text)


def fraction(text):
    """Argument between 0 and 1."""
    if not 0 < positive(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return float(text)


def count(text):
    """Argument that is an integer, zero or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of zero or more")
    return int(text)


def positive_int(text):
    """Argument that is a positive integer."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)
