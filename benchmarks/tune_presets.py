"""Find the settings of SNAP and qSNAP in ``mlfeat/presets.py`` again: the outer loop over elastic constants and errors.

For each element and method, with the published 2J::

    python benchmarks/tune_presets.py DATA [--elements Ni Li ...] [--methods snap qsnap] [--fixed-cutoff]
        [--neighbor-weights 0.25 0.35 ...]

DATA is a folder with a folder of each element and ``train.xyz`` in it. Test structures are not read.
`mlfeat.DifferentialEvolutionSearch` varies the cutoff, the weight of the neighbors, the ridge penalty, the weights of
forces and stresses, and a factor for the energies and one for the forces of each group. It minimizes the sum of squares
of

* the errors of C11, C12 and C44 of the fit to all training structures, in units of 5 % of the DFT values (of 1 GPa for
  Li), half of what is to be reached,
* the cross-validated RMSE of energies and forces (each group of structures in each of five folds), in units of half of
  the published potentials' errors.

The presets keep the published cutoffs, with which a step costs what it costs with the published potentials, unless no
errors below the published ones are found (energies of Li by qSNAP). A second search says what other cutoffs would gain.

Of Si's qSNAP, whose 1595 products make a trial slow, only neighbor weight 1 was tried, ``--methods qsnap --elements Si
--fixed-cutoff --neighbor-weights 1 --trials 800``.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import published
from ase.io import read
from sklearn.linear_model import Ridge
from sklearn.model_selection import StratifiedKFold

from mlfeat import DifferentialEvolutionSearch, get_groups, make_targets, presets
from mlfeat.cli._references import DFT
from mlfeat.model_selection import property_scorer

NEIGHBOR_WEIGHTS = [0.18, 0.25, 0.35, 0.5, 0.7, 1.0]
CUTOFF_STEPS = np.arange(-2, 3) * 0.1  # Å, from the published one
LOWEST_ALPHA = {"snap": 1e-8, "qsnap": 1e-6}  # with less, some normal equations are singular to rounding
BOUNDS = {
    "linearpotential__force_weight": (1e-7, 1e-3, "log"),
    "linearpotential__stress_weight": (1e-4, 1e1, "log"),
}
FACTOR = (0.2, 5.0, "log")
START = {"regressor": Ridge(1e-5), "force_weight": 1e-5, "stress_weight": 1e-2, "group_weights": None}
N_TRIALS = 4000


def scorer(method, element):
    """What the search maximizes."""
    tolerance = dict.fromkeys(DFT[element], 1.0) if element == "Li" else {c: 0.05 * c for c in DFT[element]}
    elastic = {name: (c, tolerance[c]) for name, c in zip(("C11", "C12", "C44"), DFT[element], strict=True)}
    energy, force = published.ERRORS[element][method]
    return property_scorer(element, elastic=elastic, energy=1e-3 * energy / 2, force=force / 2)


def search(method, element, structures, choices, n_trials, n_jobs):
    """The best parameters with one of the choices of the descriptor's, as a fitted DifferentialEvolutionSearch."""
    targets = make_targets(structures)
    unusable = presets.UNUSABLE_STRESS.get(element, ())
    targets["stress"][np.isin(get_groups(structures), unusable)] = np.nan
    model = getattr(presets, method)(element)
    model[-1].set_params(**START)
    model[-1].set_params(group_weights=dict.fromkeys(presets.GROUPS, (1.0, 1.0, 1.0)))
    bounds = BOUNDS | choices
    bounds["linearpotential__regressor__alpha"] = (LOWEST_ALPHA[method], 1e-1, "log")
    for group in presets.GROUPS:
        bounds |= {f"linearpotential__group_weights[{group}, {kind}]": FACTOR for kind in ("energy", "force")}
    if np.isnan(targets["stress"]).all():
        del bounds["linearpotential__stress_weight"]
        model[-1].set_params(stress_weight=0.0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(structures, get_groups(structures))
    found = DifferentialEvolutionSearch(
        model,
        bounds,
        scoring=scorer(method, element),
        cv=list(folds),
        n_trials=n_trials,
        popsize=5,
        n_jobs=n_jobs,
        random_state=0,
        verbose=1,
        refit=False,
    )
    return found.fit(structures, targets)


def report(title, found):
    """Print score, errors, elastic constants and parameters of the best trial."""
    best = {key: values[found.best_index_] for key, values in found.cv_results_.items() if key != "params"}
    constants = ", ".join(f"{name} {best[f'property_{name}']:.1f}" for name in ("C11", "C12", "C44"))
    print(
        f"{title}: score {found.best_score_:.2f}; energy {1e3 * best['mean_test_energy_rmse']:.2f} meV/atom, "
        f"force {best['mean_test_force_rmse']:.4f} eV/Å; {constants} GPa; {found.n_trials_} trials"
    )
    for key, value in best.items():
        if key.startswith("param_"):
            print(f"    {key.removeprefix('param_').replace('linearpotential__', '')} = {value:.3g}", flush=True)


def main():
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--elements", nargs="+", default=list(published.ERRORS))
    parser.add_argument("--methods", nargs="+", default=["snap", "qsnap"], choices=["snap", "qsnap"])
    parser.add_argument("--trials", type=int, default=N_TRIALS)
    parser.add_argument("--fixed-cutoff", action="store_true", help="the published cutoff only")
    parser.add_argument("--neighbor-weights", type=float, nargs="+", default=NEIGHBOR_WEIGHTS)
    parser.add_argument("--n-jobs", type=int, default=1)
    arguments = parser.parse_args()
    for method in arguments.methods:
        for element in arguments.elements:
            structures = read(arguments.data / element / "train.xyz", ":")
            middle = getattr(presets, method)(element)[0].cutoff
            searches = {"published cutoff": [middle]}
            if not arguments.fixed_cutoff:
                searches["any cutoff"] = [round(middle + step, 3) for step in CUTOFF_STEPS]
            for name, cutoffs in searches.items():
                began = time.perf_counter()
                choices = {"bispectrum__weights": arguments.neighbor_weights, "bispectrum__cutoff": cutoffs}
                found = search(method, element, structures, choices, arguments.trials, arguments.n_jobs)
                report(f"{method} {element}, {name}", found)
                print(f"    {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
