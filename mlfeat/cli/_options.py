"""Arguments that several subcommands share."""

import argparse
import math
import shutil
from itertools import chain

import joblib

from mlfeat.cli._errors import UsageError
from mlfeat.cli._methods import METHODS, Settings

_KINDS = ("energy", "force", "stress")


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


def add_fit_options(parser, threads=True):
    """Options of every fit."""
    group = parser.add_argument_group(
        "settings of the potentials",
        "Without them: the published settings of the element where there are some (Ni,\n"
        "Cu, Li, Mo, Si, Ge), else a cutoff from the density of the data.",
    )
    group.add_argument("--cutoff", type=positive, metavar="R", help="cutoff radius in Å")
    group.add_argument("--no-presets", action="store_true", help="do not use published settings")
    if threads:
        add_threads_option(group)
    _add_weight_options(parser)
    _add_linear_options(parser)
    _add_gap_options(parser)
    _add_nnp_options(parser)
    _add_mtp_options(parser)


def _add_weight_options(parser):
    group = parser.add_argument_group(
        "weights of snap, qsnap, nnp and mtp",
        "Without them: for snap and qsnap, weights of groups and kinds that cross-validation\n"
        "on the training set likes best; for nnp 1, 5e-4 and 1; for mtp 1, 0.01 and 0.001;\n"
        "unless there are some for the groups of the data (those of the published data). Units\n"
        "are those of snap, qsnap and nnp; of mtp energies and virials of whole structures\n"
        "are weighed, per eV² and divided by the number of atoms, and forces per (eV/Å)².",
    )
    for kind, unit in zip(_KINDS, ("(eV/atom)²", "(eV/Å)²", "(eV/Å³)²"), strict=True):
        group.add_argument(
            f"--{kind}-weight", type=non_negative, metavar="W", help=f"weight of {kind} errors, per {unit}"
        )


def _add_linear_options(parser):
    group = parser.add_argument_group(
        "settings of snap and qsnap",
        "Without them: a penalty that cross-validation on the training set likes best.",
    )
    group.add_argument("--twojmax", type=int, metavar="2J", help="order of the bispectrum, 0 to 14")
    group.add_argument("--alpha", type=non_negative, metavar="A", help="ridge penalty")
    group.add_argument(
        "--trials",
        type=count,
        metavar="N",
        help="trials of the search for weights (default: some 10 s of them)",
    )


def _add_gap_options(parser):
    group = parser.add_argument_group(
        "settings of gap",
        "Without them: sigmas of the largest marginal likelihood of the training set, a\n"
        "fifth of it for energies, unless they are published for its groups. With one of\n"
        "them the others are 0.01 eV, 0.05 eV/Å and 0.001 eV/Å³, or as published; inf\n"
        "leaves a kind of targets out of the fit.",
    )
    group.add_argument(
        "--n-sparse",
        type=positive_int,
        metavar="M",
        help="sparse points of each element (default: half of its atoms in the data, at most 1000)",
    )
    group.add_argument("--n-max", type=positive_int, metavar="N", help="radial functions of the power spectrum")
    group.add_argument("--l-max", type=count, metavar="L", help="highest angular momentum of the power spectrum")
    errors = ("the energy of an atom, eV", "a force component, eV/Å", "a stress component, eV/Å³")
    for kind, error in zip(_KINDS, errors, strict=True):
        group.add_argument(
            f"--{kind}-sigma",
            type=positive_or_infinite,
            metavar="S",
            help=f"expected error of {error}",
        )


def _add_nnp_options(parser):
    group = parser.add_argument_group(
        "settings of nnp",
        "Without them: as published for the element, with as many epochs as do best for the\n"
        "published data. For other data training ends when a tenth of the structures, set\n"
        "aside, is not predicted better any more.",
    )
    group.add_argument(
        "--hidden-layers", type=layers, metavar="LIST", help="nodes of each hidden layer, as in 16,16 (or by the data)"
    )
    group.add_argument("--epochs", type=positive_int, metavar="N", help="most passes over the data")
    group.add_argument(
        "--models",
        type=positive_int,
        metavar="N",
        help="networks of the committee (default: 4); of mtp its potentials (default: 1)",
    )


def _add_mtp_options(parser):
    group = parser.add_argument_group(
        "settings of mtp",
        "Without them: as published for the element and its data. For other data a level\n"
        "from 8 to 20, the higher the more energies, forces and stresses there are, and at\n"
        "most 30 iterations at this level.",
    )
    group.add_argument("--level", type=positive_int, metavar="L", help="level of the contractions: 2, 4, … 28")
    group.add_argument(
        "--min-dist", type=non_negative, metavar="R", help="shortest distance in Å (default: that in the data)"
    )
    group.add_argument("--iterations", type=positive_int, metavar="N", help="most iterations at the highest level")


def add_threads_option(parser, what="threads"):
    """The number of threads."""
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=joblib.cpu_count(),
        metavar="N",
        help=f"{what} (default: one for each processor, here %(default)s)",
    )


def settings_of(args, methods, threads=None):
    """`Settings` from the options of `add_fit_options`, which one of the methods must know."""
    for name in chain.from_iterable(method.options for method in METHODS.values()):
        owners = [key for key, method in METHODS.items() if name in method.options]
        if getattr(args, name) is not None and not set(owners) & set(methods):
            option = name.replace("_", "-")
            others = f"not of {_listed(methods)}" if methods else "none of which is fitted"
            raise UsageError(f"--{option} is an option of {_listed(owners)}, {others}")
    weights, sigmas = _by_kind(args, "weight"), _by_kind(args, "sigma")
    if len(weights) == len(_KINDS) and not any(weights.values()):
        raise UsageError("all weights are zero; give one of energies, forces and stresses a positive one")
    if len(sigmas) == len(_KINDS) and min(sigmas.values()) == math.inf:
        raise UsageError("all sigmas are infinite; give one of energies, forces and stresses a finite one")
    return Settings(
        cutoff=args.cutoff,
        presets=not args.no_presets,
        threads=threads or args.threads,
        twojmax=args.twojmax,
        alpha=args.alpha,
        weights=weights,
        trials=args.trials,
        n_sparse=args.n_sparse,
        n_max=args.n_max,
        l_max=args.l_max,
        sigmas=sigmas,
        epochs=args.epochs,
        hidden_layers=args.hidden_layers,
        models=args.models,
        level=args.level,
        min_dist=args.min_dist,
        iterations=args.iterations,
    )


def _listed(names):
    """Names as in "snap, qsnap and gap"."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])


def _by_kind(args, what):
    """Those of three options that are given, as energy_weight, force_weight and stress_weight."""
    values = {f"{kind}_{what}": getattr(args, f"{kind}_{what}") for kind in _KINDS}
    return {name: value for name, value in values.items() if value is not None}


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


def positive_or_infinite(text):
    """Argument that is a positive number or inf."""
    return math.inf if text.strip().lower() == "inf" else positive(text)


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


def layers(text):
    """Argument that is a list of positive integers."""
    return tuple(positive_int(part.strip()) for part in text.split(","))


def size_list(text):
    """Argument that is a list of numbers of atoms."""
    return [positive_int(part) for part in _parts(text, "size")]


def fraction_list(text):
    """Argument that is a list of shares."""
    return [fraction(part) for part in _parts(text, "share")]


def _parts(text, what):
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise argparse.ArgumentTypeError(f"no {what} is named")
    return parts
