"""Speed of mlfeat, beside LAMMPS, QUIP, motep, featomic and DScribe in the same run.

    python benchmarks/run.py [--quick] [--slow] [--only speed,fit] [--out results.json]

Needs the published models and data (``$MLFEAT_SHARED``, default ``../shared``) and, for the comparison, the `peers`
extra. The unit is µs per atom for one evaluation of energy, per-atom energies, forces and stress on one core.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import acsf
import ase.io
import dscribe_peer
import evolution
import featomic_peer
import gap
import kalman
import lammps_peer
import motep_peer
import mtp
import mtpfit
import nnp
import numpy as np
import operations
import quippy_peer
import soap
from cases import SHARED, SKIN, Case, model_dynamics
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits
from timing import interleave

import mlfeat
from mlfeat import Bispectrum, LinearPotential, QuadraticExpansion, make_targets
from mlfeat._ext import ISA, supported_isas
from mlfeat.features import center_blocks
from mlfeat.neighbors import NeighborPairs

MO_REPEATS = (6, 10, 14, 18)  # 432, 2000, 5488, 11664 atoms
CASES = [
    *(Case("Mo", "snap", n) for n in MO_REPEATS),
    *(Case("Mo", "qsnap", n) for n in MO_REPEATS),
    *(Case("Ni", method, 8) for method in ("snap", "qsnap")),  # 2048 atoms
]
QUICK_CASES = [Case("Mo", "snap", 4), Case("Mo", "snap", 6), Case("Mo", "qsnap", 6), Case("Ni", "snap", 4)]
PEERS = {
    "lammps": lammps_peer,
    "quippy": quippy_peer,
    "motep": motep_peer,
    "featomic": featomic_peer,
    "dscribe": dscribe_peer,
}
THERMO = "pe pxx pyy pzz pxy pxz pyz"  # with these LAMMPS computes energy and virial at each step
MICRO = 1e6


# --- one evaluation of energy, forces and stress -------------------------------------------------


def measure_speed(options):
    """Each model and size, mlfeat and LAMMPS in turn."""
    results = []
    for case in QUICK_CASES if options.quick else CASES:
        results.append(_measure_case(case, options))
        print(speed_row(results[-1]), flush=True)
    return results


def _measure_case(case, options):
    atoms, model = case.atoms(), case.model()
    n_steps = max(1, round(options.seconds / (100e-6 * len(atoms))))
    ours = model_dynamics(model, atoms)
    tasks = {"mlfeat": (lambda: ours.step(4 * n_steps), 4 * n_steps)}
    sessions = []
    for name, thermo in (("lammps", THERMO), ("lammps_forces", "")) if options.peers else ():
        session = lammps_peer.Session(atoms, [case.element], SKIN)
        session.use_snap(*case.files)
        session.start_dynamics(thermo)
        if thermo:
            _check_energy(session.lammps.get_thermo("pe"), ours)
        sessions.append(session)
        tasks[name] = (lambda session=session: session.step(n_steps), n_steps)
    times = interleave(tasks, options.repeats)
    for session in sessions:
        session.close()
    if ours.n_list_builds != 1:
        raise RuntimeError(f"mlfeat built its neighbor list {ours.n_list_builds} times")
    return _report_case(case, model, atoms, times)


def _check_energy(expected, dynamics):
    """Both programs have to compute the same thing."""
    energy = dynamics.atoms.get_potential_energy()
    if abs(energy - expected) > 1e-10 * abs(expected):
        raise RuntimeError(f"energies differ: mlfeat {energy!r}, LAMMPS {expected!r} eV")


def _report_case(case, model, atoms, times):
    descriptor = model[0]
    pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
    n_neighbors = pairs.n_pairs / len(atoms)
    counted = operations.count(descriptor.twojmax, n_neighbors, case.method == "qsnap")
    report = {"element": case.element, "method": case.method, "n_atoms": len(atoms), "n_neighbors": n_neighbors}
    report |= {name: t.summary(MICRO / len(atoms)) for name, t in times.items()}
    report["operations"] = counted._asdict() | {"total": counted.total}
    report["gflops"] = counted.total / (1e3 * report["mlfeat"]["median"])
    if "lammps" in report:
        report["ratio"] = report["lammps"]["median"] / report["mlfeat"]["median"]
    return report


SPEED_HEADER = (
    "model       atoms  neighbors   mlfeat   LAMMPS  (forces alone)  ratio   kFLOP  GFLOP/s\n"
    "                               µs/atom  µs/atom        µs/atom         /atom"
)


def speed_row(report):
    """A line of the table."""
    theirs = [
        f"{report[name]['median']:8.1f}" if name in report else "       -" for name in ("lammps", "lammps_forces")
    ]
    ratio = f"{report['ratio']:6.1f}" if "ratio" in report else "     -"
    return (
        f"{report['element']} {report['method']:6s} {report['n_atoms']:7d} {report['n_neighbors']:10.1f} "
        f"{report['mlfeat']['median']:8.2f} {theirs[0]:>8s} {theirs[1]:>15s} {ratio:>6s} "
        f"{report['operations']['total'] / 1e3:7.0f} {report['gflops']:8.1f}"
    )


def scaling(speed):
    """Slope of log(seconds) over log(atoms) for the models that were measured at several sizes."""
    slopes = {}
    for key in dict.fromkeys((report["element"], report["method"]) for report in speed):
        mine = [report for report in speed if (report["element"], report["method"]) == key]
        if len(mine) > 1:
            sizes = np.array([report["n_atoms"] for report in mine])
            for name in ("mlfeat", "lammps"):
                if name in mine[0]:
                    seconds = sizes * [report[name]["median"] for report in mine]
                    slopes[" ".join((*key, name))] = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return slopes


# --- features and their derivatives --------------------------------------------------------------


def measure_features(options):
    """Design-matrix rows and explicit Jacobian, beside compute sna/atom and snad/atom."""
    results = []
    for repeat in (4,) if options.quick else (6, 10):
        case = Case("Mo", "snap", repeat)
        atoms, descriptor = case.atoms(), case.model()[0]
        pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)

        def all_blocks(descriptor=descriptor, pairs=pairs):
            for start, stop in center_blocks(pairs.offsets, descriptor.n_features_out_):
                descriptor.jacobian(pairs, start, stop)

        tasks = {
            "rows": (lambda d=descriptor, p=pairs: d.rows(p), 1),
            "jacobian": (all_blocks, 1),
        }
        session = None
        if options.peers:
            session = lammps_peer.Session(atoms, [case.element], SKIN)
            session.use_descriptors(descriptor.cutoff, descriptor.twojmax, descriptor.radii, descriptor.weights)
            session.commands("compute sums all reduce sum c_sna[1] c_snad[1]")
            session.start_dynamics("c_sums[1] c_sums[2]")
            tasks["lammps"] = (lambda s=session: s.step(1), 1)
        times = interleave(tasks, options.repeats)
        if session:
            session.close()
        report = {"n_atoms": len(atoms)} | {name: t.summary(MICRO / len(atoms)) for name, t in times.items()}
        results.append(report)
        line = ", ".join(f"{name} {report[name]['median']:.1f}" for name in tasks)
        print(f"{len(atoms)} atoms, µs/atom: {line}", flush=True)
    return results


# --- threads, instruction sets, a fit ------------------------------------------------------------


def measure_threads(options):
    """Two threads against one."""
    results = []
    for case in (Case("Mo", method, 6 if options.quick else 14) for method in ("snap", "qsnap")):
        atoms, model = case.atoms(), case.model()
        n_steps = max(2, round(4 * options.seconds / (100e-6 * len(atoms))))
        runs = {n: model_dynamics(model, atoms, n) for n in (1, 2)}
        times = interleave(
            {n: (lambda run=run: run.step(n_steps), n_steps) for n, run in runs.items()}, options.repeats
        )
        report = {"element": case.element, "method": case.method, "n_atoms": len(atoms)}
        report |= {f"threads_{n}": t.summary(MICRO / len(atoms)) for n, t in times.items()}
        report["speedup"] = times[1].median / times[2].median
        results.append(report)
        print(
            f"{case.element} {case.method}, {len(atoms)} atoms: {report['speedup']:.2f} times with 2 threads",
            flush=True,
        )
    return results


def measure_instruction_sets(options):
    """The same evaluation with the kernels of each instruction set, a process each, in turn."""
    times = {isa: [] for isa in supported_isas()}
    for _ in range(options.repeats):
        for isa, found in times.items():
            command = [sys.executable, __file__, "--instruction-set-child", *(["--quick"] if options.quick else [])]
            child = subprocess.run(
                command, env=os.environ | {"MLFEAT_SIMD": isa}, capture_output=True, text=True, check=True
            )
            found.append(json.loads(child.stdout))
    results = {
        isa: {key: float(np.median([f[key] for f in found])) for key in found[0]} for isa, found in times.items()
    }
    for isa, found in results.items():
        print(f"{isa:9s} " + ", ".join(f"{key} {value:.1f}" for key, value in found.items()) + " µs/atom", flush=True)
    return results


def run_instruction_set_child(options):
    """Print µs per atom of some cases as JSON; the parent chose the instruction set."""
    found = {}
    for case in (Case("Mo", "snap", 6), Case("Mo", "qsnap", 6), Case("Ni", "snap", 4)):
        atoms = case.atoms()
        run = model_dynamics(case.model(), atoms)
        n_steps = 2 if options.quick else 20
        times = interleave({"mlfeat": (lambda run=run: run.step(n_steps), n_steps)}, 3)
        found[f"{case.element} {case.method}"] = MICRO * times["mlfeat"].median / len(atoms)
    print(json.dumps(found))


def measure_fit(options):
    """Fits to the Mo training set, features included."""
    train = ase.io.read(SHARED / "data" / "zuo2020" / "Mo" / "train.xyz", ":")
    targets = make_targets(train)
    models = {
        "snap": make_pipeline(Bispectrum(4.6, 6), LinearPotential(Ridge(1e-8))),
        "qsnap": make_pipeline(Bispectrum(5.2, 6), QuadraticExpansion(), LinearPotential(Ridge(1e-8), solver="gram")),
    }
    results = {"n_structures": len(train), "n_atoms": sum(map(len, train))}
    for method in ("snap",) if options.quick else models:
        seconds = []
        for _ in range(1 if options.quick else 3):
            mlfeat.clear_cache()
            start = time.perf_counter()
            models[method].fit(train, targets)
            seconds.append(time.perf_counter() - start)
        results[method] = float(np.median(seconds))
        print(f"Mo {method}, {len(train)} structures: {results[method]:.2f} s", flush=True)
    mlfeat.clear_cache()
    return results


# --- the program ---------------------------------------------------------------------------------

PARTS = {
    "speed": ("Energy, per-atom energies, forces and stress\n\n" + SPEED_HEADER, measure_speed),
    "features": ("Design-matrix rows, explicit Jacobian; LAMMPS sna/atom + snad/atom", measure_features),
    "threads": ("Threads", measure_threads),
    "fit": ("Fit with energies, forces and stresses, features included", measure_fit),
    "isa": ("Instruction sets", measure_instruction_sets),
    "soap": ("SOAP power spectrum with explicit Jacobian\n\n" + soap.HEADER, soap.measure),
    "acsf": ("Symmetry functions of the published Mo network\n\n" + acsf.HEADER, acsf.measure),
    "gap": ("GAP: energy, per-atom energies, forces and stress\n\n" + gap.HEADER, gap.measure_speed),
    "nnp": ("Network of Mo: energy, per-atom energies, forces and stress\n\n" + nnp.HEADER, nnp.measure_speed),
    "nnpfit": ("Network of Mo: training by Kalman filter\n\n" + nnp.FIT_HEADER, nnp.measure_fit),
    "kalman": ("Kalman filter: an update\n\n" + kalman.HEADER, kalman.measure),
    "mtp": ("Moment tensors: energy, per-atom energies, forces and stress\n\n" + mtp.HEADER, mtp.measure_speed),
    "mtpfit": ("Moment tensors: " + mtpfit.HEADER, mtpfit.measure),
    "evolution": ("Evolution search on the Mo training set\n\n" + evolution.HEADER, evolution.measure),
    "gapfit": ("GAP: fit with energies, forces and stresses\n\n" + gap.FIT_HEADER, gap.measure_fit),
}


def environment(options):
    """What the numbers depend on."""
    import scipy
    import sklearn

    square = np.random.default_rng(0).normal(size=(1000, 1000))
    product = interleave({"dgemm": (lambda: square @ square, 1)}, 5)["dgemm"]
    versions = {module.__name__: module.__version__ for module in (mlfeat, np, scipy, sklearn)}
    peers = {name: peer.version() if peer.available() else None for name, peer in PEERS.items()}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "instruction_set": ISA,
        "dgemm_gflops": round(2e-9 * len(square) ** 3 / min(product.wall), 1),
        "python": platform.python_version(),
        "versions": versions | peers,
        "repeats": options.repeats,
        "skin": SKIN,
    }


def processor():
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def parse_arguments():
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small cells and few repeats: a check that all runs")
    slow = "run gap_fit too, which takes some twenty minutes, and whole trainings of moment tensors"
    parser.add_argument("--slow", action="store_true", help=slow)
    parser.add_argument("--only", metavar="PARTS", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--repeats", type=int, help="times that each measurement is taken (default: 7, quick: 2)")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark-results.json"), help="file for all numbers, as JSON"
    )
    parser.add_argument("--instruction-set-child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.parts = options.only.split(",") if options.only else list(PARTS)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"--only {','.join(unknown)}: the parts are {','.join(PARTS)}")
    if not SHARED.is_dir():
        parser.error(f"no models and data at {SHARED}; set MLFEAT_SHARED")
    options.repeats = options.repeats or (2 if options.quick else 7)
    options.seconds = 0.1 if options.quick else 0.5
    return options


def main():
    options = parse_arguments()
    with threadpool_limits(1):  # one core is one core
        if options.instruction_set_child:
            run_instruction_set_child(options)
        else:
            measure(options)


def measure(options):
    """Measure, print and write what was asked for."""
    options.peers = lammps_peer.available()
    results = {"environment": environment(options)}
    print("\n".join(f"{key}: {value}" for key, value in results["environment"].items()))
    missing = [name for name in PEERS if results["environment"]["versions"][name] is None]
    if missing:
        print(f"not here to compare with: {', '.join(missing)}; pip install 'mlfeat[peers]'")
    for part in options.parts:
        title, measure_part = PARTS[part]
        print(f"\n{title}", flush=True)
        results[part] = measure_part(options)
    if "speed" in results:
        results["scaling"] = scaling(results["speed"])
        print(
            "\nSlope of log(time) over log(atoms): " + ", ".join(f"{k} {v:.3f}" for k, v in results["scaling"].items())
        )
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
