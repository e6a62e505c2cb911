"""Behler-Parrinello networks: a step of dynamics, and an epoch of the Kalman filter."""

import time

import numpy as np
from ase.io import read
from cases import SHARED, SKIN, Case, model_dynamics
from kalman import dgemm_rate
from timing import interleave, stopwatch

from mlfeat import make_targets, presets
from mlfeat.features import AtomFeatures
from mlfeat.io import read_nnp
from mlfeat.neighbors import NeighborPairs
from mlfeat.potentials import _training
from mlfeat.potentials._kalman import KalmanFilter
from mlfeat.potentials._kalman_solver import KalmanSolver
from mlfeat.potentials._measurements import Measurements
from mlfeat.potentials._packed import PackedMatrix

MICRO, MILLI = 1e6, 1e3
REPEATS = (6, 10, 14, 18)  # 432, 2000, 5488, 11664 atoms
PARTS = ("vectors", "functions", "network", "ranges", "gradient", "sums")

# --- one evaluation of energy, forces and stress -------------------------------------------------

HEADER = (
    "atoms  neighbors   mlfeat  vectors  functions  network  ranges  gradient   sums | list with skin\n"
    "                  µs/atom  µs/atom    µs/atom  µs/atom µs/atom   µs/atom µs/atom        µs/atom"
)


def measure_speed(options):
    """Each size: a whole step, and its parts."""
    model = read_nnp(SHARED / "models" / "Mo" / "nnp")
    results = []
    for repeat in (4,) if options.quick else REPEATS:
        results.append(_measure_cell(model, Case("Mo", "nnp", repeat).atoms(), options))
        print(speed_row(results[-1]), flush=True)
    if len(results) > 1:
        sizes = np.array([report["n_atoms"] for report in results])
        seconds = sizes * [report["mlfeat"]["median"] for report in results]
        slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        print(f"slope of log(time) over log(atoms): {slope:.3f}")
        results.append({"slope": slope})
    return results


def _measure_cell(model, atoms, options):
    ours = model_dynamics(model, atoms)
    n_steps = max(1, round(options.seconds / (20e-6 * len(atoms))))
    tasks = {"mlfeat": (lambda: ours.step(n_steps), n_steps)}
    tasks |= {name: (_repeated(task, n_steps), n_steps) for name, task in _parts(model, ours.atoms).items()}
    tasks["list"] = (lambda: NeighborPairs.from_atoms(atoms, model[0].cutoff_ + SKIN), 1)
    times = interleave(tasks, options.repeats)
    if ours.n_list_builds != 1:
        raise RuntimeError(f"the neighbor list was built {ours.n_list_builds} times")
    pairs = NeighborPairs.from_atoms(atoms, model[0].cutoff_)
    report = {"n_atoms": len(atoms), "n_neighbors": pairs.n_pairs / len(atoms)}
    return report | {name: found.summary(MICRO / len(atoms)) for name, found in times.items()}


def _parts(model, atoms):
    """What a step is made of, see `PARTS`; "ranges" tells whether functions are beyond those of the training."""
    descriptor, scaler, potential = model[0], model[1], model[-1]
    energy_model = scaler.absorb(potential.energy_model())
    built = NeighborPairs.from_atoms(atoms, descriptor.cutoff_ + SKIN)
    pairs = built.moved(atoms.positions, atoms.cell.array)
    values, pullback = descriptor.values_and_pullback(pairs)
    species = descriptor.species_index(pairs.numbers)
    features = AtomFeatures(values, species)
    _, cotangents = energy_model.energy_and_cotangent(features)
    gradients = pullback(cotangents)
    return {
        "vectors": lambda: built.moved(atoms.positions, atoms.cell.array),
        "functions": lambda: descriptor.values_and_pullback(pairs),
        "network": lambda: energy_model.energy_and_cotangent(features),
        "ranges": lambda: potential.extrapolation_grade(AtomFeatures(scaler.apply(values, species), species)),
        "gradient": lambda: pullback(cotangents),
        "sums": lambda: (pairs.forces(gradients), pairs.stress(gradients)),
    }


def _repeated(task, times):
    def run():
        for _ in range(times):
            task()

    return run


def speed_row(report):
    """A line of the table."""
    widths = dict(zip(PARTS, (8, 10, 8, 7, 9, 7), strict=True))
    parts = " ".join(f"{report[name]['median']:{width}.2f}" for name, width in widths.items())
    return (
        f"{report['n_atoms']:5d} {report['n_neighbors']:10.1f} {report['mlfeat']['median']:8.2f} {parts} |"
        f"{report['list']['median']:15.2f}"
    )


# --- training ------------------------------------------------------------------------------------

FIT_HEADER = (
    "epoch  updates  update  (derivatives: once)    rows  product  subtract  rest of filter  errors   other | P update"
    "    dgemm\n"
    "    s               ms                    s       s        s         s               s       s       s |  GFLOP/s"
    "  GFLOP/s"
)
WATCHED = {  # what an epoch spends its time with
    "derivatives": (Measurements, "derivatives"),
    "rows": (KalmanSolver, "_measure"),
    "filter": (KalmanFilter, "update"),
    "product": (PackedMatrix, "product"),
    "subtract": (PackedMatrix, "subtract"),
    "errors": (_training, "errors_of"),
}


def measure_fit(options):
    """Epochs of the Kalman filter on the training structures of Mo, one network of the preset."""
    train = read(SHARED / "data" / "zuo2020" / "Mo" / "train.xyz", "::8" if options.quick else ":")
    n_epochs = 1 if options.quick else 3
    model = presets.nnp("Mo")
    potential = model[-1].set_params(n_models=1, max_iter=n_epochs)
    features = model[:-1].fit_transform(train)
    with stopwatch(WATCHED) as watch:
        began = time.perf_counter()
        potential.fit(features, make_targets(train))
        total = time.perf_counter() - began
    seconds = {name: took / n_epochs for name, took in watch.seconds.items()}
    derivatives = seconds.pop("derivatives") * n_epochs
    epoch = (total - derivatives) / n_epochs
    n_updates = watch.calls["filter"] / n_epochs
    n, n_measurements = potential.n_parameters_, _count_measurements(potential, train)
    rate = 3e-9 * n**2 * n_measurements / (seconds["product"] + seconds["subtract"])
    report = {"n_structures": len(train), "n_parameters": n, "n_measurements": n_measurements, "n_updates": n_updates}
    report |= {"epoch": epoch, "derivatives_once": derivatives, "other": epoch - sum(seconds.values()), **seconds}
    report |= {"covariance_gflops": rate, "dgemm_gflops": dgemm_rate(options.repeats)}
    print(fit_row(report), flush=True)
    return report


def _count_measurements(potential, structures):
    """Measurements of an epoch: all that have a weight."""
    targets = make_targets(structures)
    n_atoms = sum(map(len, structures))
    has_stress = np.isfinite(targets["stress"]).all(axis=1)
    return len(structures) + 3 * n_atoms + 6 * int(has_stress.sum()) * (potential.stress_weight > 0)


def fit_row(report):
    """A line of the table."""
    update = MILLI * report["epoch"] / report["n_updates"]
    parts = [("rows", 7), ("product", 8), ("subtract", 9), ("filter", 15), ("errors", 7), ("other", 7)]
    shares = " ".join(f"{report[name]:{width}.2f}" for name, width in parts)
    return (
        f"{report['epoch']:5.2f} {report['n_updates']:8.0f} {update:7.2f} {report['derivatives_once']:21.2f} {shares} |"
        f"{report['covariance_gflops']:9.1f} {report['dgemm_gflops']:8.1f}"
    )
