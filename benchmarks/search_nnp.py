"""Cross-validate settings of ``presets.nnp`` on the training structures.

    python benchmarks/search_nnp.py DATA ELEMENT [--folds 4] [--models 4] [--force-weight 5e-4 1e-3] [--epochs 8 12 20]

DATA is a folder with a folder of each element and ``train.xyz`` in it. Test structures are not read. Every combination
of the settings that are named is tried, the others being the preset's, with a committee of each fold's networks. Root
mean square errors are those of structures that were left out, by folds in which each group has its share: of single
networks, over all of a committee, and of the committee. Stresses that the preset gives no weight do not count.
"""

import argparse
import copy
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
from ase.io import read
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from mlfeat import get_groups, make_targets, presets

KINDS = ("energy", "forces", "stress")


def usable_targets(element, structures):
    """Targets without the stresses that the preset gives no weight, see `presets.UNUSABLE_STRESS`."""
    targets = make_targets(structures)
    targets["stress"][np.isin(get_groups(structures), presets.UNUSABLE_STRESS.get(element, ()))] = np.nan
    return targets


def residuals(potential, features, targets):
    """Energies per atom, components of forces and of stresses: differences of each, in one array a kind."""
    found = potential.predict_targets(features)
    n_atoms = [item.n_atoms for item in features]
    forces = [np.ravel(f - t) for f, t in zip(found["forces"], targets["forces"], strict=True)]
    stress = np.ravel(found["stress"] - targets["stress"])
    return (found["energy"] - targets["energy"]) / n_atoms, np.concatenate(forces), stress[np.isfinite(stress)]


def members(potential):
    """Each network of a committee as a potential."""
    for k in range(len(potential.parameters_)):
        member = copy.copy(potential)
        member.parameters_ = potential.parameters_[k : k + 1]
        yield member


def cross_validate(model, epochs, folds, structures, targets):
    """Residuals by number of epochs, of single networks and of the committee; lists with an entry a fold."""
    features = model[0].fit_transform(structures)
    found = {n: {"single": [], "committee": []} for n in epochs}
    for train, left_out in folds.split(structures, get_groups(structures)):
        steps = clone(model[1:-1]).fit(features[train])
        inputs, rest = steps.transform(features[train]), steps.transform(features[left_out])
        for n in epochs:
            potential = clone(model[-1]).set_params(max_iter=n).fit(inputs, targets[train])
            found[n]["single"] += [residuals(member, rest, targets[left_out]) for member in members(potential)]
            found[n]["committee"].append(residuals(potential, rest, targets[left_out]))
    return found


def root_mean_squares(parts):
    """Errors by kind, over all parts; NaN if there is nothing."""
    together = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return {kind: np.sqrt(np.mean(part**2)) if len(part) else np.nan for kind, part in zip(KINDS, together)}


def told(errors):
    """Errors as text."""
    energy, forces, stress = 1e3 * errors["energy"], errors["forces"], 160.2 * errors["stress"]
    return f"{energy:.2f} meV/atom, {forces:.4f} eV/Å, {stress:.2f} GPa"


def layers(text):
    """Nodes of hidden layers, as in 24,24."""
    return tuple(map(int, text.split(",")))


def parse_arguments():
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("element", choices=presets.NNP)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--models", type=int, default=4, help="networks of a committee")
    parser.add_argument("--jobs", type=int, default=1, help="threads")
    parser.add_argument("--functions", nargs="+", choices=presets.FUNCTIONS)
    parser.add_argument("--epochs", nargs="+", type=int, metavar="N")
    settings = parser.add_argument_group("parameters of the potential, any number of values each")
    settings.add_argument("--hidden-layer-sizes", nargs="+", type=layers, metavar="N,N")
    weights, filters = ("force-weight", "stress-weight", "alpha"), ("kalman-epsilon", "kalman-lambda", "kalman-nu")
    for name in (*weights, "force-fraction", *filters):
        settings.add_argument(f"--{name}", nargs="+", type=float, metavar="X")
    settings.add_argument("--activation", nargs="+", metavar="NAME")
    settings.add_argument("--batch-size", nargs="+", type=int, metavar="N")
    options = parser.parse_args()
    names = [action.dest for action in settings._group_actions]
    options.lists = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return options


def main():
    """Search and print."""
    options = parse_arguments()
    structures = read(options.data / options.element / "train.xyz", ":")
    targets = usable_targets(options.element, structures)
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=0)
    for functions in options.functions or [presets.NNP[options.element].functions]:
        for values in product(*options.lists.values()):
            settings = dict(zip(options.lists, values, strict=True))
            model = presets.nnp(options.element, functions)
            model[-1].set_params(**settings, n_models=options.models, n_jobs=options.jobs)
            epochs = sorted(options.epochs or [model[-1].max_iter])
            began = time.perf_counter()
            found = cross_validate(model, epochs, folds, structures, targets)
            print(f"{options.element} {functions} {settings} {time.perf_counter() - began:.0f} s", flush=True)
            for n, parts in found.items():
                single, committee = (told(root_mean_squares(parts[name])) for name in ("single", "committee"))
                print(f"  {n:3d} epochs: single {single}; committee {committee}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
