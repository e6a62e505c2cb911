"""Weights of the group "Elastic" for ``presets.gap``, ``nnp`` and ``mtp``: elastic constants against errors.

    python benchmarks/search_elastic.py DATA ELEMENT METHOD [--factors 1 3 10] [--folds 4] [--first N]

DATA is a folder with a folder of each element and ``train.xyz`` in it. Test structures are not read. Energies, forces
and stresses of strained crystals get each factor for a weight (sigmas of GAP are divided by its square root); those
without a weight remain so. Elastic constants are those of a fit to all training structures; root mean square errors
those of structures that were left out, by folds in which each group has its share.
"""

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

from ase.build import bulk
from ase.io import read
from search_nnp import residuals, root_mean_squares, told, usable_targets
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from mlfeat import get_groups, presets
from mlfeat.cli._references import DFT
from mlfeat.properties import elastic_constants

GROUP = "Elastic"


def weighted(potential, factor):
    """Parameters with which the group has another weight."""
    if hasattr(potential, "group_sigmas"):
        return {"group_sigmas": {GROUP: factor**-0.5}}
    weights = dict(potential.group_weights)
    return {"group_weights": weights | {GROUP: tuple(factor * (weight > 0) for weight in weights[GROUP])}}


def fits(potential, factors, features, targets):
    """A fitted potential for each factor; of GAP without another pass over the data."""
    if hasattr(potential, "reweighted"):
        fitted = clone(potential).fit(features, targets)
        return [fitted.reweighted(**weighted(potential, factor)) for factor in factors]
    return [clone(potential).set_params(**weighted(potential, factor)).fit(features, targets) for factor in factors]


def search(model, factors, structures, targets, folds):
    """Elastic constants and residuals of each factor: C11, C12 and C44, and an entry a fold."""
    *steps, potential = (step for _, step in model.steps)
    found = [[] for _ in factors]
    everything = list(range(len(structures)))
    for train, left_out in [*folds, (everything, [])]:
        transform = clone(make_pipeline(*steps))
        features = transform.fit_transform([structures[k] for k in train])
        fitted = fits(potential, factors, features, targets[train])
        if len(left_out):
            rest = transform.transform([structures[k] for k in left_out])
            for parts, one in zip(found, fitted, strict=True):
                parts.append(residuals(one, rest, targets[left_out]))
    crystal = bulk(structures[0].symbols[0])
    constants = [elastic_constants(crystal, make_pipeline(*transform, one)) for one in fitted]
    return constants, found


def main():
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("element", choices=presets.ELEMENTS)
    parser.add_argument("method", choices=["gap", "nnp", "mtp"])
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--first", type=int, metavar="N", help="use only the first N folds")
    arguments = parser.parse_args()
    structures = read(arguments.data / arguments.element / "train.xyz", ":")
    targets = usable_targets(arguments.element, structures)
    stratified = StratifiedKFold(arguments.folds, shuffle=True, random_state=0)
    folds = list(islice(stratified.split(structures, get_groups(structures)), arguments.first))
    began = time.perf_counter()
    model = getattr(presets, arguments.method)(arguments.element)
    constants, found = search(model, arguments.factors, structures, targets, folds)
    print(f"{arguments.element} {arguments.method}: {len(folds)} of {arguments.folds} folds,", end=" ")
    print(f"{time.perf_counter() - began:.0f} s; DFT {' '.join(map(str, DFT[arguments.element]))} GPa")
    for factor, c, parts in zip(arguments.factors, constants, found, strict=True):
        print(f"  {factor:5g}: {c.C11:.1f} {c.C12:.1f} {c.C44:.1f} GPa; {told(root_mean_squares(parts))}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
