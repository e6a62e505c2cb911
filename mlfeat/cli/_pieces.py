"""The pieces of a comparison, each a function that a process of its own calls."""

import warnings

import numpy as np
from ase.build import make_supercell
from ase.calculators.emt import EMT

from mlfeat.cli._errors import one_line
from mlfeat.cli._measure import crystal_of, microseconds_per_atom
from mlfeat.cli._train import train_model, write_predictions
from mlfeat.cli._user_models import method_of
from mlfeat.persistence import load
from mlfeat.properties import crystal_properties


def fit_piece(source, settings, train, test, path, predictions, verbose):
    """Fit one of the potentials, or the user's, and test it; writes the model and its predictions of the test set."""
    result = train_model(method_of(source), settings, train, test, path, verbose=verbose)
    write_predictions(predictions, result.pop("predictions"))
    return result


def part_piece(source, settings, train, test, path, changes):
    """Fit to a part of the data, or with other settings, and test it; only errors and costs are kept."""
    result = train_model(method_of(source), settings, train, test, path, changes=changes, verbose=False)
    kept = "status", "fit_seconds", "peak_memory_bytes", "n_parameters", "train", "test"
    return {name: result[name] for name in kept if name in result}


def cost_piece(source, path, structures, seconds):
    """Time of a fitted model per atom and step."""
    timing = microseconds_per_atom(_load(source, path), crystal_of(structures), seconds=seconds)
    return {"us_per_atom": timing["us_per_atom"], "timing": timing}


def scaling_piece(source, path, crystal, sizes, seconds):
    """Time of a step of crystals of about so many atoms."""
    model, rows = _load(source, path), []
    for size in sizes:
        timing = microseconds_per_atom(model, cube(crystal, size), seconds=seconds)
        rows.append(
            {
                "atoms": timing["atoms"],
                "seconds_per_step": 1e-6 * timing["us_per_atom"] * timing["atoms"],
                "us_per_atom": timing["us_per_atom"],
            }
        )
    return {"scaling": rows}


def properties_piece(source, path, crystal, which):
    """Properties of a crystal by a fitted model, or by ASE's EMT where there is no source."""
    calculator, found, errors = EMT() if source is None else _load(source, path), {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a poor potential may extrapolate: its numbers tell
        for name in which:
            try:
                found |= crystal_properties(crystal, calculator, name)
            except Exception as error:  # one without an equilibrium may have other properties
                errors[name] = f"{type(error).__name__}: {one_line(error)}"
    if not found:
        raise RuntimeError("; ".join(errors.values()))
    return {"properties": found} | ({"property_errors": errors} if errors else {})


def cube(crystal, n_atoms):
    """The crystal repeated in each direction, to the number of atoms that is nearest."""
    times = max(1, round(np.cbrt(n_atoms / len(crystal))))
    return make_supercell(crystal, times * np.eye(3, dtype=int))


def _load(source, path):
    if not isinstance(source, str):
        source.method()  # registers the user's classes
    return load(path)
