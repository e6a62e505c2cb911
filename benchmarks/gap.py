"""Gaussian approximation potentials: a step of dynamics and a fit, beside QUIP.

    python benchmarks/gap.py [--quick]     fit once, print time, memory and errors as JSON

The potential is fitted here and written for QUIP, so that both programs run the same one. Energies, forces and stress
are compared before they are timed.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import ase.io
import numpy as np
import quippy_peer
from cases import SHARED, Case, Dynamics, model_dynamics
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits
from timing import interleave

from mlfeat import SOAP, ExtrapolationWarning, GaussianApproximationPotential, make_targets
from mlfeat.cli._measure import memory
from mlfeat.features import AtomFeatures
from mlfeat.io import read_gap, write_gap
from mlfeat.metrics import evaluate
from mlfeat.neighbors import NeighborPairs

CUTOFF, N_MAX, L_MAX, SIGMA, WIDTH = 5.2, 8, 8, 0.5, 0.5
N_SPARSE, ZETA, DELTA = 2000, 4, 1.0
ENERGY_SIGMA, FORCE_SIGMA = 0.01, 0.05  # eV/atom, eV/Å
TOLERANCE = 1e-5  # eV an atom, of the compressed model
GIB = 2**30
MICRO = 1e6


def make_model(n_sparse, sparse_method):
    """SOAP and Gaussian process as the published one of Mo."""
    return make_pipeline(
        SOAP(CUTOFF, N_MAX, L_MAX, sigma=SIGMA, cutoff_transition_width=WIDTH),
        GaussianApproximationPotential(
            n_sparse,
            zeta=ZETA,
            delta=DELTA,
            sparse_method=sparse_method,
            energy_sigma=ENERGY_SIGMA,
            force_sigma=FORCE_SIGMA,
            random_state=0,
        ),
    )


def structures(part, step=1):
    """Every `step`-th structure of Mo."""
    return ase.io.read(SHARED / "data" / "zuo2020" / "Mo" / f"{part}.xyz", f"::{step}")


# --- one evaluation of energy, forces and stress -------------------------------------------------

HEADER = (
    "atoms  sparse  neighbors   mlfeat    SOAP  kernel  GFLOP/s  gradient  compressed  (rank, forces off by)   quippy"
    "  ratio  compressed\n"
    "                          µs/atom µs/atom µs/atom            µs/atom     µs/atom                   eV/Å  µs/atom"
)


def measure_speed(options):
    """Each size, mlfeat and QUIP in turn."""
    train = structures("train", 16 if options.quick else 4)
    model = make_model(200 if options.quick else N_SPARSE, "random").fit(train, make_targets(train))
    compressed = copy.deepcopy(model)
    (rank,) = compressed[-1].compress_(TOLERANCE, model[:-1].transform(train))["ranks"].values()
    results = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "gap.xml"
        write_gap(model, path)
        for repeat in (3,) if options.quick else (6, 10):  # 54; 432, 2000 atoms
            atoms = Case("Mo", "gap", repeat).atoms()
            results.append({"rank": rank} | _measure_cell(atoms, model, compressed, path, options))
            print(speed_row(results[-1]), flush=True)
    return results


def _measure_cell(atoms, model, compressed, path, options):
    ours, fewer = model_dynamics(model, atoms), model_dynamics(compressed, atoms)
    n_steps = max(1, round(options.seconds / (100e-6 * len(atoms))))
    tasks = {name: (lambda d=d: d.step(n_steps), n_steps) for name, d in (("mlfeat", ours), ("compressed", fewer))}
    tasks |= {name: (task, 1) for name, task in _parts(model, atoms).items()}
    if quippy_peer.available():
        theirs = Dynamics(quippy_peer.calculator(path), atoms)
        _check_equal(ours.atoms, theirs.atoms)
        tasks["quippy"] = (lambda: theirs.step(1), 1)
    errors = np.abs(ours.atoms.get_forces() - fewer.atoms.get_forces())
    times = interleave(tasks, options.repeats)
    return _report(atoms, model, times) | {"compression_error": float(errors.max())}


def _parts(model, atoms):
    """What a step is made of: features, energies and their cotangents, pair gradients."""
    descriptor, energy_model = model[0], model[-1].energy_model()
    pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
    values, pullback = descriptor.values_and_pullback(pairs)
    features = AtomFeatures(values, descriptor.species_index(pairs.numbers))
    _, cotangents = energy_model.energy_and_cotangent(features)
    return {
        "soap": lambda: descriptor.values_and_pullback(pairs),
        "kernel": lambda: energy_model.energy_and_cotangent(features),
        "gradient": lambda: pullback(cotangents),
    }


def _check_equal(ours, theirs):
    """Both programs have to compute the same thing."""
    for name in quippy_peer.EVALUATED:
        mine, expected = ours.calc.get_property(name, ours), theirs.calc.get_property(name, theirs)
        difference, scale = np.abs(mine - expected).max(), np.abs(expected).max()
        if not difference <= 1e-7 * scale:
            raise RuntimeError(f"{name} of mlfeat and quippy differ by {difference:.1e} of {scale:.1e}")


def _report(atoms, model, times):
    pairs = NeighborPairs.from_atoms(atoms, model[0].cutoff_)
    points = model[-1].blocks_[0]["sparse_points"]
    report = {"n_atoms": len(atoms), "n_sparse": len(points), "n_neighbors": pairs.n_pairs / len(atoms)}
    report |= {name: found.summary(MICRO / len(atoms)) for name, found in times.items()}
    report["kernel_gflops"] = 4 * points.size / (1e3 * report["kernel"]["median"])  # two products with the points
    for name in ("mlfeat", "compressed") if "quippy" in report else ():
        report[f"{name}_ratio"] = report["quippy"]["median"] / report[name]["median"]
    return report


def speed_row(report):
    """A line of the table."""
    times = {name: found["median"] for name, found in report.items() if isinstance(found, dict)}
    line = (
        f"{report['n_atoms']:5d} {report['n_sparse']:7d} {report['n_neighbors']:10.1f} {times['mlfeat']:8.1f} "
        f"{times['soap']:7.1f} {times['kernel']:7.1f} {report['kernel_gflops']:8.1f} {times['gradient']:9.1f} "
        f"{times['compressed']:11.1f} {report['rank']:7d} {report['compression_error']:14.1e} "
    )
    if "quippy" not in report:
        return line + "       -      -           -"
    return line + f"{times['quippy']:8.0f} {report['mlfeat_ratio']:6.1f} {report['compressed_ratio']:11.1f}"


# --- a fit ---------------------------------------------------------------------------------------

FIT_HEADER = (
    "                  wall       CPU      peak  energy MAE  force MAE\n"
    "                     s         s       GiB    meV/atom       eV/Å"
)


def measure_fit(options):
    """A fit to the training structures of Mo by a process of its own, and with ``--slow`` by gap_fit."""
    command = [sys.executable, __file__, *(["--quick"] if options.quick else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    results = {"mlfeat": json.loads(child.stdout)}
    print(fit_row("mlfeat", results["mlfeat"]), flush=True)
    if options.slow and quippy_peer.available():
        results["gap_fit"] = _run_gap_fit(options.quick)
        results["ratio"] = results["gap_fit"]["cpu"] / results["mlfeat"]["cpu"]
        print(fit_row("gap_fit", results["gap_fit"]) + f"  {results['ratio']:.1f} times the CPU time", flush=True)
    return results


def fit_row(name, report):
    """A line of the table."""
    return (
        f"{name:12s} {report['wall']:9.1f} {report['cpu']:9.1f} {report['peak']:9.2f} "
        f"{1e3 * report['energy_mae']:11.2f} {report['force_mae']:10.4f}"
    )


def _task(quick):
    """Training structures and number of sparse points."""
    return (structures("train", 16), 200) if quick else (structures("train"), N_SPARSE)


def _run_gap_fit(quick):
    train, n_sparse = _task(quick)
    soap = (
        f"n_max={N_MAX} l_max={L_MAX} atom_sigma={SIGMA} cutoff={CUTOFF} cutoff_transition_width={WIDTH} "
        f"zeta={ZETA} delta={DELTA} covariance_type=dot_product sparse_method=cur_points n_sparse={n_sparse} "
        "add_species=T"
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "gap.xml"
        took = quippy_peer.fit(train, soap, (ENERGY_SIGMA, FORCE_SIGMA, 0.05), path)
        return took._asdict() | _errors(read_gap(path))


def _errors(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        errors = evaluate(model, structures("test"))
    return {name: errors[name] for name in ("energy_mae", "force_mae")}


def run_fit(quick):
    """Fit and print what it took as JSON."""
    train, n_sparse = _task(quick)
    model, targets = make_model(n_sparse, "cur"), make_targets(train)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(train, targets)
    report = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    report["peak"] = memory() / GIB
    print(json.dumps(report | _errors(model)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few structures and sparse points")
    with threadpool_limits(1):
        run_fit(parser.parse_args().quick)
