"""Find the settings in ``mlfeat/presets.py`` again, by cross-validation on the training structures.

For each element and method, with the published cutoff and 2J::

    python benchmarks/search_presets.py DATA [--elements Ni Li ...] [--methods snap qsnap]

DATA is a folder with a folder of each element and ``train.xyz`` in it. Test structures are not read. For each neighbor
weight w of a grid, `mlfeat.model_selection.search_weights` finds the ridge penalty and the weights of forces and
stresses. Of the w whose cross-validated objective is within 0.05 of the lowest, the one nearest to the published
weight, 1, is taken. The objective is

    log(energy RMSE) + 1/2 log(force RMSE):

a percent of the energies' error is worth two of the forces'. Stresses have the weight that serves energies and forces
best. All groups have the same weight: when their factors were free, whole searches repeated without a fifth of the
structures did no better on that fifth.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from ase.io import read
from sklearn.linear_model import Ridge

from mlfeat import get_groups, make_targets, presets
from mlfeat.model_selection import search_weights

NEIGHBOR_WEIGHTS = (1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
TOLERANCE = 0.05  # of the objective: about what other folds change
N_TRIALS = {"snap": 200, "qsnap": 60}
START = {"regressor": Ridge(1e-5), "force_weight": 1e-5, "stress_weight": 1e-2}  # not what was found before
RANGES = {"alpha": (1e-6, 1e-1), "force_weight": (1e-7, 1e-3), "stress_weight": (1e-4, 1e1), "group_factor": (1, 1)}


def objective(errors):
    """What the search minimizes."""
    return np.log(errors["energy_rmse"]) + 0.5 * np.log(errors["force_rmse"])


def usable_targets(element, structures):
    """Targets without the stresses that the presets give no weight, see `presets.UNUSABLE_STRESS`."""
    targets = make_targets(structures)
    unusable = presets.UNUSABLE_STRESS.get(element, ())
    targets["stress"][np.isin(get_groups(structures), unusable)] = np.nan
    return targets


def search(method, element, structures):
    """Neighbor weight and WeightSearch of the chosen settings."""
    targets = usable_targets(element, structures)
    ranges = dict(RANGES)
    if np.isnan(targets["stress"]).all():
        ranges["stress_weight"] = (0, 0)
    searches = {}
    for weight in NEIGHBOR_WEIGHTS:
        model = getattr(presets, method)(element).set_params(bispectrum__weights=weight)
        model[-1].set_params(**START)
        found = search_weights(model, structures, targets, objective=objective, n_trials=N_TRIALS[method], **ranges)
        report(f"  w = {weight:<5}", found)
        searches[weight] = found
    limit = min(found.best_score_ for found in searches.values()) + TOLERANCE
    good = [weight for weight, found in searches.items() if found.best_score_ <= limit]
    weight = min(good, key=lambda weight: abs(np.log(weight)))
    return weight, searches[weight]


def report(title, found):
    """Print the cross-validated errors and the parameters."""
    errors, params = found.best_errors_, found.best_params_
    print(
        f"{title} energy {1e3 * errors['energy_rmse']:.2f} meV/atom, force {errors['force_rmse']:.4f} eV/Å, "
        f"stress {160.2 * errors['stress_rmse']:.2f} GPa; alpha {params['regressor'].alpha:.1e}, "
        f"force_weight {params['force_weight']:.1e}, stress_weight {params['stress_weight']:.1e}; "
        f"objective {found.best_score_:.3f}",
        flush=True,
    )


def main():
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--elements", nargs="+", default=["Ni", "Li", "Mo", "Si"])
    parser.add_argument("--methods", nargs="+", default=["snap", "qsnap"], choices=["snap", "qsnap"])
    arguments = parser.parse_args()
    for method in arguments.methods:
        for element in arguments.elements:
            began = time.perf_counter()
            structures = read(arguments.data / element / "train.xyz", ":")
            print(f"{method} {element}", flush=True)
            weight, found = search(method, element, structures)
            report(f"{method} {element}: w = {weight}", found)
            print(f"  {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
