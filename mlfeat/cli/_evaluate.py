"""``mlfeat evaluate``: a model on data."""

from pathlib import Path

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from mlfeat.base import extrapolation_grades, predict_targets, split_model
from mlfeat.cli import _options as options
from mlfeat.cli._data import add_data_options, as_data, check_species, read_structures
from mlfeat.cli._errors import UsageError, tell
from mlfeat.cli._models import add_model_options, read_model
from mlfeat.cli._report import (
    Column,
    error_columns,
    format_table,
    write_figure,
    write_json,
    write_whole,
)
from mlfeat.plotting import ParityDisplay

DESCRIPTION = """\
Compare a fitted model with the energies, forces and stresses of structures,
in any format that ASE reads. Prints errors over all structures and for each of
their groups (info["group"] of a structure). With --predictions the structures
need no reference values.
"""
EXAMPLES = """\
  mlfeat evaluate model.mlfeat test.xyz
  mlfeat evaluate Mo.snapcoeff test.xyz --json errors.json --plot parity.png
  mlfeat evaluate model.mlfeat md.traj@::10 --predictions predicted.xyz
"""


def add_parser(subparsers):
    """The subcommand's arguments."""
    parser = options.add_parser(
        subparsers,
        "evaluate",
        help="errors of a model on data, and its predictions",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    add_model_options(parser)
    parser.add_argument("data", metavar="DATA", help="structures, FILE or FILE@INDEX")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the errors as JSON")
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="write the structures with predicted energies, forces and stresses as extended XYZ; "
        "the reference values go along as ref_energy, ref_forces and ref_stress, the standard deviation of the "
        "energy (eV) as energy_std, and how far the model extrapolates (above 1) as extrapolation_grade",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a parity plot (png, pdf, svg)")
    options.add_threads_option(parser)
    add_data_options(parser)
    parser.set_defaults(run=run)


def run(args):
    """Do it."""
    model = read_model(args.model, args)
    structures = read_structures(args.data, args)
    data = _reference(args, structures)
    model.set_params(**{f"{model.steps[0][0]}__n_jobs": args.threads})
    check_species(args.data, structures, split_model(model)[0].species_)
    predictions = predict_targets(model, structures, extrapolation="ignore")  # told of below
    grades = extrapolation_grades(model, structures)
    _tell_extrapolation(args.data, grades)
    if args.predictions is not None:
        notes = {"extrapolation_grade": grades, "energy_std": _energy_stds(model, structures)}
        write_predictions(args.predictions, structures, predictions, data, notes)
    if data is None:
        return
    rows = error_rows(data, predictions)
    columns = [
        Column("group", "", lambda row: row["group"]),
        Column("structures", "", lambda row: row["structures"]),
        Column("atoms", "", lambda row: row["atoms"]),
        *error_columns(),
    ]
    print(format_table(columns, rows))
    if args.json is not None:
        write_json(args.json, {"model": args.model, "data": args.data, "units": UNITS, "errors": rows})
    if args.plot is not None:
        values = data.targets, predictions, data.n_atoms
        write_figure(args.plot, ParityDisplay.from_predictions, *values, title=f"{args.model}, {args.data}")


UNITS = {"energy": "eV/atom", "force": "eV/Å", "stress": "eV/Å³"}


def _reference(args, structures):
    """Reference data; None if no structure has any and nobody asked for a comparison."""
    try:
        return as_data(args.data, structures)
    except UsageError:
        needless = args.predictions is not None and args.json is None and args.plot is None
        if needless and not any(_has_energy(atoms) for atoms in structures):
            return None
        raise


def _has_energy(atoms):
    results = {} if atoms.calc is None else atoms.calc.results
    return results.get("energy", atoms.info.get("energy")) is not None


def error_rows(data, predictions):
    """Errors over all structures, then of each group if there are several."""
    everything = {"structures": len(data.structures), "atoms": int(data.n_atoms.sum()), **data.errors(predictions)}
    rows = {"all": everything} | data.errors_by_group(predictions)
    return [{"group": name} | row for name, row in rows.items()]


def _tell_extrapolation(name, grades):
    far = np.flatnonzero(grades > 1)
    if len(far):
        worst = int(np.nanargmax(grades))
        tell(
            f"{name}: the model extrapolates to {len(far)} of {len(grades)} structures, most in structure {worst} "
            f"(grade {grades[worst]:.3g}): they have atoms unlike all that it was fitted to"
        )


def _energy_stds(model, structures):
    """Standard deviations of the energies; NaN if the potential does not know them."""
    potential = split_model(model)[2]
    if not hasattr(potential, "predict_std"):
        return np.full(len(structures), np.nan)
    return potential.predict_std(model[:-1].transform(structures))


def write_predictions(path, structures, predictions, data, notes):
    """Extended XYZ with predictions as the quantities, references beside them, and notes (arrays) that are finite."""
    images = []
    for index, (atoms, row) in enumerate(zip(structures, predictions, strict=True)):
        image = atoms.copy()
        results = {"energy": row["energy"], "forces": row["forces"]}
        if np.isfinite(row["stress"]).all():
            results["stress"] = row["stress"]
        image.calc = SinglePointCalculator(image, **results)
        for store in (image.info, image.arrays):
            for name in ("energy", "forces", "stress"):
                store.pop(name, None)
        image.info |= {name: float(values[index]) for name, values in notes.items() if np.isfinite(values[index])}
        if data is not None:
            _add_references(image, data.targets[index])
        images.append(image)
    write_whole(path, lambda stream: ase.io.write(stream, images, format="extxyz"))


def _add_references(atoms, target):
    atoms.info["ref_energy"] = float(target["energy"])
    if target["forces"] is not None:
        atoms.arrays["ref_forces"] = np.asarray(target["forces"])
    if np.isfinite(target["stress"]).all():
        atoms.info["ref_stress"] = np.asarray(target["stress"])
