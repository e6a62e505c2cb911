"""``mlfeat compare``: the main job, several potentials on the same data."""

import argparse
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import mlfeat
from mlfeat.cli import _options as options
from mlfeat.cli._data import add_data_options, as_data, check_species, load_data
from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.cli._guess import species_of
from mlfeat.cli._measure import MEMORY_METHOD, TIMING_METHOD
from mlfeat.cli._methods import METHODS
from mlfeat.cli._report import Column, error_columns, format_table, write_figure, write_json
from mlfeat.cli._train import checked_model
from mlfeat.cli._worker import train_in_child
from mlfeat.datasets import make_emt_structures, split_by_group
from mlfeat.plotting import ParetoDisplay, ParityDisplay

DESCRIPTION = """\
Fit several potentials to the same structures, test them on others, and say
what each costs.

Prints a table of test errors (RMSE and MAE of energies, forces and stresses),
time and peak memory of the fit, and time per atom and step of a simulation on
one core. Writes into the output folder:

  results.json         all numbers, training errors and settings too
  METHOD.mlfeat        fitted models; mlfeat.load reads them
  parity-METHOD.png    predicted against reference values of the test set
  pareto.png           test errors against cost

Without --train, 150 structures of an fcc metal are made with ASE's EMT
potential. Without --test, a share of each group of structures (info["group"]
of a structure) is kept for the test.
"""
EXAMPLES = """\
  mlfeat compare
  mlfeat compare --element Al --out aluminium
  mlfeat compare --train train.xyz --test test.xyz --methods snap,gap
  mlfeat compare --train OUTCAR@: --test-fraction 0.1 --cutoff 5.0
"""

COLUMNS = [
    Column("method", "", lambda row: row["label"]),
    *error_columns("test"),
    Column("fit", "s", lambda row: row.get("fit_seconds")),
    Column("peak memory", "MB", lambda row: row.get("peak_memory_bytes"), 1e-6),
    Column("cost", "µs/atom/step", lambda row: row.get("us_per_atom")),
    Column("parameters", "", lambda row: row.get("n_parameters")),
]


def add_parser(subparsers):
    """The subcommand's arguments."""
    parser = options.add_parser(
        subparsers,
        "compare",
        help="fit several potentials to the same data and compare errors and costs",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    data = parser.add_argument_group("data (any format ASE reads; FILE@INDEX selects structures)")
    data.add_argument("--train", metavar="FILE", help="structures to fit to")
    data.add_argument("--test", metavar="FILE", help="structures to test on")
    data.add_argument(
        "--test-fraction",
        type=options.fraction,
        default=0.2,
        metavar="X",
        help="share of the structures kept for the test where there is no --test (default: %(default)s)",
    )
    data.add_argument(
        "--element", metavar="EL", help="fcc metal of the EMT data where there is no --train (default: Cu)"
    )
    data.add_argument("--seed", type=int, default=0, help="seed of EMT data and split (default: 0)")
    parser.add_argument(
        "--methods",
        type=method_list,
        default=list(METHODS),
        metavar="LIST",
        help=f"potentials, separated by commas (default: all, {','.join(METHODS)})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("mlfeat-compare"),
        metavar="DIR",
        help="folder of the results (default: %(default)s)",
    )
    options.add_fit_options(parser)
    add_data_options(parser)
    parser.set_defaults(run=run)


def method_list(text):
    """Argument that names methods."""
    names = list(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        what = f"no method {', '.join(map(repr, unknown))}" if unknown else "no method is named"
        raise argparse.ArgumentTypeError(f"{what}; there are {', '.join(METHODS)}")
    return names


def run(args):
    """Do it; the exit code is 1 if a method failed."""
    settings = options.settings_of(args, args.methods)
    train, test = load_both(args)
    for name in args.methods:  # whatever can be wrong is found before the first fit
        checked_model(name, settings, train)
    with bad_input(args.out):
        args.out.mkdir(parents=True, exist_ok=True)
    report = _Report(args, train, test)
    print(f"train: {_told(train)}\ntest:  {_told(test)}", flush=True)
    try:
        for name in args.methods:
            path = args.out / f"{name}.mlfeat"
            report.add(name, train_in_child(name, settings, train, test, path, cost=True))
    finally:
        if report.results:
            print(f"\n{report.table()}\n\nresults in {args.out}")
    return int(any(result["status"] != "ok" for result in report.results))


def load_both(args):
    """Training and test data as the arguments say, checked."""
    if args.train is None:
        if args.test is not None:
            raise UsageError("--test needs --train; without --train the test data are made too")
        element = args.element or "Cu"
        with bad_input("--element"):
            structures = make_emt_structures(element, random_state=args.seed, progress=None)
        name = f"EMT {element}"
        return _split(as_data(name, structures), args)
    if args.element is not None:
        raise UsageError("--element is for data made without --train; use one of the two")
    train = load_data(args.train, args)
    if args.test is None:
        return _split(train, args)
    test = load_data(args.test, args)
    check_species(test.name, test.structures, species_of(train.structures))
    return train, test


def _split(data, args):
    with bad_input(data.name):
        train, test = split_by_group(data.structures, args.test_fraction, random_state=args.seed)
    train, test = as_data(f"{data.name}, train", train), as_data(f"{data.name}, test", test)
    check_species(test.name, test.structures, species_of(train.structures))
    return train, test


def _told(data):
    """One line about a data set."""
    about = data.summary()
    groups = [f"{count} {group}" for group, count in about["groups"].items() if group]
    tail = f" ({', '.join(groups)})" if 1 < len(groups) < 8 else ""
    return f"{data.name}: {about['structures']} structures, {about['atoms']} atoms{tail}"


class _Report:
    """Results so far, on disk after every method: an interrupted run keeps what it has."""

    def __init__(self, args, train, test):
        self.folder = args.out
        self.test = test
        self.results = []
        self.head = {
            "mlfeat_version": mlfeat.__version__,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": args.command,
            "machine": {
                "processor": _processor(),
                "system": platform.platform(),
                "python": platform.python_version(),
            },
            "units": {
                "energy": "eV/atom",
                "force": "eV/Å",
                "stress": "eV/Å³",
                "us_per_atom": "µs per atom and step on one core",
            },
            "how_measured": {"peak_memory_bytes": MEMORY_METHOD, "us_per_atom": TIMING_METHOD},
            "train": train.summary(),
            "test": test.summary(),
        }

    def add(self, name, result):
        result = {"method": name, "label": METHODS[name].label} | result
        predictions = result.pop("predictions", None)
        self.results.append(result)
        write_json(self.folder / "results.json", self.head | {"methods": self.results})
        if result["status"] == "ok":
            self._draw(name, predictions)
        else:
            print(f"mlfeat: error: {result['label']}: {result['error']}", file=sys.stderr)

    def _draw(self, name, predictions):
        values = self.test.targets, predictions, self.test.n_atoms
        title = f"{METHODS[name].label}, test set"
        write_figure(self.folder / f"parity-{name}.png", ParityDisplay.from_predictions, *values, title=title)
        points = [result for result in self.results if result["status"] == "ok"]
        write_figure(self.folder / "pareto.png", ParetoDisplay.from_results, points, title="Test error against cost")

    def table(self):
        return format_table(COLUMNS, self.results)


def _processor():
    """Name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
