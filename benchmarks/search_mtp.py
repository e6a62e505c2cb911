"""Cross-validate settings of ``presets.mtp`` on the training structures.

    python benchmarks/search_mtp.py DATA ELEMENT [--folds 4] [--models 4] [--force-weight 0.01 0.1] [--level 16 20] ...

DATA is a folder with a folder of each element and ``train.xyz`` in it. Test structures are not read. Every combination
of the settings that are named is tried, the others being the preset's. Root mean square errors are those of structures
that were left out, by folds in which each group has its share: of single potentials, over all members of a committee,
and of the committee. Stresses that the preset gives no weight do not count. The time is that of
the fits of all folds, for one potential or the committee.
"""

import argparse
import copy
import sys
import time
from itertools import islice, product
from pathlib import Path

from ase import units
from ase.io import read
from search_nnp import residuals, root_mean_squares, usable_targets
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from mlfeat import get_groups, presets

DESCRIPTOR = ("cutoff", "level")
QUICK = {"level": [8], "max_iter": [5]}
LEARNED = ("radial_coef_", "scaling_", "coef_", "intercept_")


def members(potential):
    """Each member of a committee as a potential."""
    for k in range(len(potential.coef_)):
        member = copy.copy(potential)
        for name in LEARNED:
            setattr(member, name, getattr(potential, name)[k : k + 1])
        yield member


def cross_validate(model, folds, structures, targets):
    """Residuals of single potentials and of committees, lists with an entry a fold, and the seconds of the fits."""
    single, committee, seconds = [], [], 0.0
    for train, left_out in folds:
        began = time.perf_counter()
        fitted = clone(model).fit([structures[k] for k in train], targets[train])
        seconds += time.perf_counter() - began
        rest = fitted[0].transform([structures[k] for k in left_out])
        single += [residuals(member, rest, targets[left_out]) for member in members(fitted[-1])]
        committee.append(residuals(fitted[-1], rest, targets[left_out]))
    return single, committee, seconds


def make_model(element, settings, models, jobs):
    """The preset with other settings."""
    model = presets.mtp(element)
    model[0].set_params(**{name: value for name, value in settings.items() if name in DESCRIPTOR}, n_jobs=jobs)
    others = {name: value for name, value in settings.items() if name not in DESCRIPTOR}
    model[-1].set_params(**others, n_models=models or model[-1].n_models, n_jobs=jobs)
    return model


def parse_arguments():
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("element", choices=presets.MTP)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--first", type=int, metavar="N", help="use only the first N folds")
    parser.add_argument("--models", type=int, help="potentials of a committee (default: the preset's)")
    parser.add_argument("--jobs", type=int, default=1, help="threads")
    parser.add_argument("--quick", action="store_true", help="some structures and few iterations at level 8, a trial")
    settings = parser.add_argument_group("settings, any number of values each")
    for name in ("cutoff", "energy-weight", "force-weight", "stress-weight", "alpha", "tol"):
        settings.add_argument(f"--{name}", nargs="+", type=float, metavar="X")
    for name in ("level", "max-iter", "random-state"):
        settings.add_argument(f"--{name}", nargs="+", type=int, metavar="N")
    for name in ("weighting", "solver"):
        settings.add_argument(f"--{name}", nargs="+", metavar="NAME")
    options = parser.parse_args()
    names = [action.dest for action in settings._group_actions]
    options.lists = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.quick:
        options.lists = QUICK | options.lists
    return options


def print_row(seconds, parts, about):
    """Line of the table."""
    errors = root_mean_squares(parts)
    energy, stress = 1e3 * errors["energy"], errors["stress"] / units.GPa
    print(f"{seconds:6.0f} {energy:9.3f} {errors['forces']:8.4f} {stress:7.3f}   {about}", flush=True)


def main():
    """Search and print."""
    options = parse_arguments()
    structures = read(options.data / options.element / "train.xyz", "::4" if options.quick else ":")
    targets = usable_targets(options.element, structures)
    stratified = StratifiedKFold(options.folds, shuffle=True, random_state=0)
    folds = list(islice(stratified.split(structures, get_groups(structures)), options.first))
    print(f"{options.element}: {len(structures)} structures, {len(folds)} of {options.folds} folds")
    print(f"{'s':>6} {'meV/atom':>9} {'eV/Å':>8} {'GPa':>7}   settings", flush=True)
    for values in product(*options.lists.values()):
        settings = dict(zip(options.lists, values, strict=True))
        model = make_model(options.element, settings, options.models, options.jobs)
        single, committee, seconds = cross_validate(model, folds, structures, targets)
        told = " ".join(f"{name}={value}" for name, value in settings.items()) or "preset"
        print_row(seconds / model[-1].n_models, single, told)
        if model[-1].n_models > 1:
            print_row(seconds, committee, f"{told}, committee of {model[-1].n_models}")


if __name__ == "__main__":
    sys.exit(main())
