"""``mlfeat benchmark``: time of a model per atom and step."""

from pathlib import Path

from tqdm import tqdm

from mlfeat.base import split_model
from mlfeat.cli import _options as options
from mlfeat.cli._data import check_species, read_structure
from mlfeat.cli._errors import bad_input
from mlfeat.cli._measure import TIMING_METHOD, conventional_crystal, microseconds_per_atom, repeated
from mlfeat.cli._models import add_model_options, read_model
from mlfeat.cli._report import Column, format_table, write_json
from mlfeat.neighbors import NeighborPairs

DESCRIPTION = """\
Time energy, forces and stress of a fitted model on crystals of several sizes.
"""
EXAMPLES = """\
  mlfeat benchmark model.mlfeat
  mlfeat benchmark Mo.snapcoeff --sizes 432,2000,5488 --threads 2
  mlfeat benchmark model.mlfeat --structure POSCAR --json timing.json
"""


def add_parser(subparsers):
    """The subcommand's arguments."""
    parser = options.add_parser(
        subparsers,
        "benchmark",
        help="time of a model per atom and step",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    add_model_options(parser)
    parser.add_argument(
        "--structure",
        metavar="FILE",
        help="cell to repeat (default: the crystal of the model's first element, sites dealt out among its elements)",
    )
    parser.add_argument(
        "--sizes",
        type=options.size_list,
        default=[500, 2000],
        metavar="LIST",
        help="least numbers of atoms, as in 500,2000 (the default)",
    )
    parser.add_argument("--threads", type=options.positive_int, default=1, metavar="N", help="threads (default: 1)")
    parser.add_argument(
        "--seconds",
        type=options.positive,
        default=2.0,
        metavar="S",
        help="time spent on each size (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.set_defaults(run=run)


COLUMNS = [
    Column("atoms", "", lambda row: row["atoms"]),
    Column("neighbors", "per atom", lambda row: row["neighbors"]),
    Column("time", "µs/atom/step", lambda row: row["us_per_atom"]),
    Column("step", "ms", lambda row: row["us_per_atom"] * row["atoms"] / 1000),
    Column("first step", "ms", lambda row: row["us_per_atom_first"] * row["atoms"] / 1000),
]


def run(args):
    """Do it."""
    model = read_model(args.model, args)
    descriptor = split_model(model)[0]
    with bad_input("--structure"):
        cell = conventional_crystal(descriptor.species_) if args.structure is None else read_structure(args.structure)
    check_species(args.structure or args.model, [cell], descriptor.species_)
    rows = []
    for size in tqdm(args.sizes, desc="timing", unit=" sizes", disable=None):
        atoms = repeated(cell, size)
        pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
        timing = microseconds_per_atom(model, atoms, n_threads=args.threads, seconds=args.seconds)
        rows.append(timing | {"neighbors": pairs.n_pairs / pairs.n_atoms})
    print(format_table(COLUMNS, rows))
    if args.json is not None:
        report = {"model": args.model, "threads": args.threads, "how_measured": TIMING_METHOD}
        write_json(args.json, report | {"results": rows})
