"""Arguments of ``mlfeat compare``."""

import argparse
from pathlib import Path

from mlfeat.cli import _options as options
from mlfeat.cli._data import add_data_options
from mlfeat.cli._errors import UsageError
from mlfeat.cli._methods import METHODS
from mlfeat.cli._plan import is_fitted, name_of
from mlfeat.cli._user_models import user_model
from mlfeat.properties._phonons import require_phonopy

DESCRIPTION = """\
Fit several potentials to the same structures, test them on others, and say
what each costs.

Prints tables: test errors (RMSE and MAE of energies, forces and stresses), time
and peak memory of the fit, time per atom and step of a simulation on one core;
properties of the crystal beside reference values; errors of each group of
structures; learning curves; errors and costs of smaller and larger variants of
each potential; time of a step against the number of atoms. Writes into the
output folder:

  report.html          all of it, with figures, as one page
  results.json         all numbers, training errors and settings too
  *.csv                the tables
  METHOD.mlfeat        fitted models; mlfeat.load reads them
  METHOD.predictions.npz
                       energies, forces and stresses of the test set
  parity-METHOD.png    predicted against reference values of the test set
  pareto.png           test errors against cost
  variants, pieces     models of the variants; what is done already

The same command in the same folder goes on where it stopped: only what is not
done, or was done with other data or settings, is done.

Without --train, 150 structures of an fcc metal are made with ASE's EMT
potential. Without --test, a share of each group of structures (info["group"]
of a structure) is kept for the test.
"""
EXAMPLES = """\
  mlfeat compare
  mlfeat compare --element Al --out aluminium --quick
  mlfeat compare --train train.xyz --test test.xyz --methods snap,gap --n-jobs 2
  mlfeat compare --train OUTCAR@: --test-fraction 0.1 --cutoff 5.0
  mlfeat compare --train train.xyz --model mine=models.py:potential --model published=Mo.snapcoeff
"""
PROPERTIES = ("lattice", "cohesive", "eos", "elastic", "vacancy", "migration", "surface", "phonons", "dynamics")


def add_options(parser):
    """All of them."""
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
    data.add_argument("--seed", type=int, default=0, help="seed of EMT data, split and subsets (default: 0)")
    parser.add_argument(
        "--methods",
        type=method_list,
        default=list(METHODS),
        metavar="LIST",
        help=f"potentials, separated by commas, or none (default: all, {','.join(METHODS)})",
    )
    parser.add_argument(
        "--model",
        type=user_model,
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="a model of yours too: MODULE:ATTRIBUTE or FILE.py:ATTRIBUTE is an unfitted Pipeline, or a function that "
        "makes one of the training structures; FILE is that of a fitted model, in any format that mlfeat convert "
        "reads, which is only evaluated. May be repeated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("mlfeat-compare"),
        metavar="DIR",
        help="folder of the results (default: %(default)s)",
    )
    _add_parts(parser)
    _add_running(parser)
    options.add_fit_options(parser, threads=False)
    add_data_options(parser)


def _add_parts(parser):
    group = parser.add_argument_group("what is compared beside errors and costs")
    group.add_argument("--quick", action="store_true", help="nothing else: errors and costs only")
    group.add_argument(
        "--properties",
        type=property_list,
        default=["lattice", "elastic", "vacancy"],
        metavar="LIST",
        help=f"properties of the crystal, among {', '.join(PROPERTIES)}; phonons need the extra of this name, and "
        "dynamics are two runs of 300 steps (default: lattice,elastic,vacancy)",
    )
    group.add_argument("--no-properties", action="store_true", help="no properties")
    group.add_argument(
        "--crystal",
        metavar="FILE",
        help="the crystal, for properties and scaling (default: that of the element, where there is only one)",
    )
    group.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help='JSON table of reference values, as in {"C11": 472, "lattice_constant": 3.168} (default: those of EMT for '
        "its data, DFT elastic constants for those of Zuo et al.)",
    )
    group.add_argument(
        "--learning-curve",
        type=options.fraction_list,
        default=[0.2, 0.5],
        metavar="LIST",
        help="shares of each group of the training set to fit to (default: 0.2,0.5)",
    )
    group.add_argument("--no-learning-curve", action="store_true", help="no learning curves")
    group.add_argument(
        "--variants",
        type=Path,
        metavar="FILE",
        help='JSON table of other settings of each method, as in {"snap": [{"twojmax": 4}]}; of your models the '
        "parameters (default: some smaller ones of each)",
    )
    group.add_argument("--no-variants", action="store_true", help="no variants")
    group.add_argument(
        "--scaling",
        type=options.size_list,
        default=[432, 2000],
        metavar="LIST",
        help="numbers of atoms of which a step is timed, as far as the crystal can have them (default: 432,2000)",
    )
    group.add_argument("--no-scaling", action="store_true", help="no scaling")


def _add_running(parser):
    group = parser.add_argument_group("how it runs")
    group.add_argument(
        "--n-jobs",
        type=options.positive_int,
        default=1,
        metavar="N",
        help="pieces of work at a time, each in a process of its own; timings run alone (default: 1)",
    )
    options.add_threads_option(group, "threads of all pieces together")
    group.add_argument("--restart", action="store_true", help="forget what is done, begin anew")
    group.add_argument("--forecast", action="store_true", help="only say what time and memory it will take")
    group.add_argument("--no-forecast", action="store_true", help="do not say it first, which takes some seconds")


def method_list(text):
    """Argument that names methods; "none" is none of them."""
    names = list(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if names == ["none"]:
        return []
    return _known(names, METHODS, "method")


def property_list(text):
    """Argument that names properties."""
    names = _known([name.strip() for name in text.split(",") if name.strip()], PROPERTIES, "property")
    if "phonons" in names:
        try:
            require_phonopy()
        except ImportError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return names


def _known(names, choices, what):
    unknown = [name for name in names if name not in choices]
    if unknown or not names:
        wrong = f"no {what} {', '.join(map(repr, unknown))}" if unknown else f"no {what} is named"
        raise argparse.ArgumentTypeError(f"{wrong}; there are {', '.join(choices)}")
    return names


def checked_variants(path, variants, sources):
    """Lists of settings by method, their values as those of the options; `UsageError` if it is anything else."""
    if not isinstance(variants, dict):
        raise UsageError(f'{path}: should be a table of methods, as in {{"snap": [{{"twojmax": 4}}]}}')
    known = {name_of(source): source for source in sources}
    for name, ladder in variants.items():
        if name not in known:
            raise UsageError(f"{path}: {name!r} is not compared; there are {', '.join(known)}")
        if not isinstance(ladder, list) or not all(isinstance(variant, dict) and variant for variant in ladder):
            raise UsageError(f"{path}: {name}: should be a list of tables of settings")
        if is_fitted(known[name]):
            raise UsageError(f"{path}: {name}: a fitted model has no variants")
    return {
        name: _settings(f"{path}: {name}", METHODS[name].options, ladder) if isinstance(known[name], str) else ladder
        for name, ladder in variants.items()
    }


def _settings(where, names, ladder):
    """The ladder with values as the options of the command line make them."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    options.add_fit_options(parser, threads=False)
    found = []
    for variant in ladder:
        for name in variant:
            if name not in (*names, "cutoff"):
                raise UsageError(f"{where}: no setting {name!r}; there are cutoff, {', '.join(names)}")
        try:
            parsed = parser.parse_args([_argument(name, value) for name, value in variant.items()])
        except argparse.ArgumentError as error:
            raise UsageError(f"{where}: {error}") from error
        found.append({name: getattr(parsed, name) for name in variant})
    return found


def _argument(name, value):
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"--{name.replace('_', '-')}={text}"
