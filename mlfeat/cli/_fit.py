"""``mlfeat fit``: one potential to one data set."""

from pathlib import Path

from mlfeat.cli import _options as options
from mlfeat.cli._data import add_data_options, check_species, load_data
from mlfeat.cli._errors import UsageError
from mlfeat.cli._guess import species_of
from mlfeat.cli._methods import METHODS
from mlfeat.cli._report import Column, error_columns, format_table
from mlfeat.cli._train import checked_model, train_model

DESCRIPTION = """\
Fit a potential to the energies, forces and stresses of structures, in any
format that ASE reads, and save it as one file. mlfeat.load reads it in Python,
and mlfeat convert makes files of the original programs of it.
"""
EXAMPLES = """\
  mlfeat fit train.xyz model.mlfeat
  mlfeat fit train.xyz model.mlfeat --method qsnap --cutoff 4.8 --test test.xyz
  mlfeat fit vasprun.xml@::5 model.mlfeat --energy-weight 100
  mlfeat fit train.xyz model.mlfeat --method gap --n-sparse 500
  mlfeat fit train.xyz model.mlfeat --method nnp --hidden-layers 20,20
  mlfeat fit train.xyz model.mlfeat --method mtp --level 16
"""


def add_parser(subparsers):
    """The subcommand's arguments."""
    parser = options.add_parser(
        subparsers,
        "fit",
        help="fit one potential and save it",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    parser.add_argument("train", metavar="TRAIN", help="structures to fit to, FILE or FILE@INDEX")
    parser.add_argument("model", metavar="MODEL", type=Path, help="file of the fitted model")
    parser.add_argument("--test", metavar="FILE", help="structures to test the model on")
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="snap",
        help="; ".join(f"{name}: {method.about}" for name, method in METHODS.items()) + " (default: %(default)s)",
    )
    options.add_fit_options(parser)
    add_data_options(parser)
    parser.set_defaults(run=run)


def run(args):
    """Do it."""
    settings = options.settings_of(args, [args.method])
    train = load_data(args.train, args)
    test = None if args.test is None else load_data(args.test, args)
    if test is not None:
        check_species(test.name, test.structures, species_of(train.structures))
    if not args.model.parent.is_dir() or args.model.is_dir():
        raise UsageError(f"{args.model}: not a file in an existing folder")
    method = METHODS[args.method]
    checked_model(method, settings, train)
    result = train_model(method, settings, train, test, args.model)
    sets = {"train": train, "test": test}
    rows = [
        {"set": name, "structures": len(data.structures), **result[name]}
        for name, data in sets.items()
        if data is not None
    ]
    columns = [
        Column("set", "", lambda row: row["set"]),
        Column("structures", "", lambda row: row["structures"]),
        *error_columns(),
    ]
    print(format_table(columns, rows))
    print(
        f"\n{result['label']} with {result['n_parameters']} parameters, fitted in "
        f"{result['fit_seconds']:.1f} s: {args.model}"
    )
