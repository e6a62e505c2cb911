"""Moment tensor potentials: a step of dynamics beside motep, operations of the descriptor."""

from typing import NamedTuple

import motep_peer
import numpy as np
from ase import Atoms
from cases import SHARED, SKIN, Case, Dynamics, model_dynamics
from timing import interleave

from mlfeat.descriptors import MomentTensor
from mlfeat.descriptors._moment_basis import moment_basis
from mlfeat.descriptors._moment_program import make_program
from mlfeat.features import center_blocks
from mlfeat.io import read_mtp
from mlfeat.neighbors import NeighborPairs

MICRO = 1e6
DGEMM_SIZE = 1000
REPEATS = {"Mo": (6, 10, 14, 18), "Si": (4, 6, 9, 11)}  # 432, 2000, 5488, 11664; 512, 1728, 5832, 10648 atoms
QUICK_REPEATS = {"Mo": (4, 6), "Si": (3,)}
PARTS = {"vectors": 7, "sweep": 7, "sums": 7}  # of a step; widths of columns


def potential_file(element):
    """The published potential."""
    return SHARED / "models" / element / "mtp" / "fitted.mtp"


# --- operations ----------------------------------------------------------------------------------


class Operations(NamedTuple):
    """Additions and multiplications of the kernel's sweeps, for each atom."""

    radial: float  # functions and monomials of the neighbors
    moments: float  # their sum
    graph: float  # expansion and products
    graph_back: float
    pull: float  # from cotangents of moments to pair gradients
    push: float  # changes of monomials, moments and nodes along displacements
    push_back: float  # cotangents of these
    total: float  # sums for the radial coefficients

    @property
    def forward(self):
        """Features."""
        return self.radial + self.moments + self.graph

    @property
    def linear(self):
        """A linear function of the features with its pair gradients."""
        return self.forward + self.graph_back + self.pull

    @property
    def vjp(self):
        """Pair gradients for cotangents that are known after the features: functions and nodes are made again."""
        return self.linear + self.radial + self.graph

    @property
    def radial_gradient(self):
        """Derivatives by the radial coefficients, of features and of their changes."""
        return self.forward + self.graph_back + self.push + self.push_back + self.total


def count_operations(descriptor, n_neighbors):
    """Operations of a descriptor of one species with `n_neighbors` on average; see `Operations`."""
    program, n_polynomials = make_program(descriptor.basis_), descriptor.n_polynomials
    degrees = np.arange(1, int(max(program.degrees)) + 1)
    n_products, n_terms = len(program.graph[2]), len(program.expand[1])
    n_moments, n_mu = program.n_moments, len(program.degrees)
    products_and_terms = 3 * n_products + 2 * n_terms
    return Operations(
        radial=n_neighbors * (13 * n_polynomials + 4 * n_mu * n_polynomials + float(np.sum(3 * degrees + 2))),
        moments=n_neighbors * 2 * n_moments,
        graph=products_and_terms,
        graph_back=5 * n_products + 2 * n_terms,
        pull=n_neighbors * (4 * n_moments + 2 * n_mu + float(np.sum(10 * degrees - 4)) + 20),
        push=n_neighbors * (4 * n_moments + n_mu + float(np.sum(9 * degrees - 3)) + 14) + 5 * n_products + 2 * n_terms,
        push_back=10 * n_products + 2 * n_terms,
        total=n_neighbors * (6 * n_moments + n_mu * (3 + 4 * n_polynomials)),
    )


# --- one evaluation of energy, forces and stress -------------------------------------------------

HEADER = (
    "             neighbors   mlfeat    motep  (engine alone)  ratios       | vectors   sweep    sums | kFLOP GFLOP/s "
    "of dgemm  generated: sweep\n"
    "       atoms             µs/atom  µs/atom        µs/atom               | µs/atom µs/atom µs/atom | /atom         "
    "       %           µs/atom"
)


def measure_speed(options):
    """Each potential and size, mlfeat, motep and a matrix product in turn; then operations and sweeps of the graph."""
    results = {"steps": []}
    for element, repeats in (QUICK_REPEATS if options.quick else REPEATS).items():
        for repeat in repeats:
            results["steps"].append(_measure_cell(element, repeat, options))
            print(speed_row(results["steps"][-1]), flush=True)
    results["slopes"] = _slopes(results["steps"])
    print("slope of log(time) over log(atoms): " + ", ".join(f"{k} {v:.3f}" for k, v in results["slopes"].items()))
    print(f"\n{OPERATIONS_HEADER}")
    results["operations"] = [_measure_operations(element, options) for element in REPEATS]
    print(f"\n{GRAPH_HEADER}")
    results["graph"] = [_measure_graph(level, options) for level in ((8, 20) if options.quick else range(8, 29, 4))]
    rates = [report["dgemm_gflops"] for report in results["steps"]]
    print(f"dgemm between the steps: {min(rates):.1f} to {max(rates):.1f} GFLOP/s")
    return results


def _measure_cell(element, repeat, options):
    atoms, model = Case(element, "mtp", repeat).atoms(), read_mtp(potential_file(element), species=[element])
    ours = model_dynamics(model, atoms)
    n_steps = max(1, round(options.seconds / (20e-6 * len(atoms))))
    tasks = {"mlfeat": (lambda: ours.step(n_steps), n_steps)}
    if motep_peer.available():
        theirs = Dynamics(motep_peer.calculator(potential_file(element), [element]), atoms)
        _check_equal(ours, theirs, atoms)
        tasks["motep"] = (lambda: theirs.step(1), 1)
        tasks["engine"] = (motep_peer.Evaluation(potential_file(element), [element], atoms), 1)
    tasks |= {name: (_repeated(task, n_steps), n_steps) for name, task in _parts(model, atoms).items()}
    matrix = np.ones((DGEMM_SIZE, DGEMM_SIZE), order="F")
    tasks["dgemm"] = (lambda: matrix @ matrix, 1)
    times = interleave(tasks, options.repeats)
    if ours.n_list_builds != 1:
        raise RuntimeError(f"the neighbor list was built {ours.n_list_builds} times")
    return _report_cell(element, model[0], atoms, times)


def _check_equal(ours, theirs, atoms):
    """Both programs have to compute the same thing."""
    for dynamics in (ours, theirs):
        dynamics.atoms.positions = atoms.positions
    for name in ("potential_energy", "forces", "stress"):
        mine, other = (getattr(dynamics.atoms, f"get_{name}")() for dynamics in (ours, theirs))
        if not np.allclose(mine, other, rtol=1e-9, atol=1e-9 * np.abs(other).max()):
            raise RuntimeError(f"{name}: mlfeat and motep differ by {np.abs(mine - other).max():g}")


def _parts(model, atoms):
    """What a step is made of, and the sweep of the basis that mlfeat generates, with the same radial functions."""
    descriptor, coef = model[0], model[-1].energy_model().coef
    built = NeighborPairs.from_atoms(atoms, descriptor.cutoff_ + SKIN)
    pairs = built.moved(atoms.positions, atoms.cell.array)
    gradients, generated = descriptor.linear(pairs, coef)[1], _generated(descriptor)
    return {
        "vectors": lambda: built.moved(atoms.positions, atoms.cell.array),
        "sweep": lambda: descriptor.linear(pairs, coef),
        "sums": lambda: (pairs.forces(gradients), pairs.stress(gradients)),
        "generated_sweep": lambda: generated.linear(pairs, coef),
    }


def _generated(descriptor):
    """The descriptor with the basis of its level that mlfeat generates."""
    level = int(descriptor.basis_.levels.max())
    return descriptor.with_radial(descriptor.radial_coefficients_, basis=moment_basis(level))


def _report_cell(element, descriptor, atoms, times):
    pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
    n_neighbors = pairs.n_pairs / len(atoms)
    report = {"element": element, "n_atoms": len(atoms), "n_neighbors": n_neighbors}
    report |= {name: found.summary(MICRO / len(atoms)) for name, found in times.items() if name != "dgemm"}
    report["dgemm"] = times["dgemm"].summary()
    report["dgemm_gflops"] = 2e-9 * DGEMM_SIZE**3 / _cost(report["dgemm"])
    peers = [name for name, _ in _THEIRS if name in report]
    report |= {f"{name}_ratio": _cost(report[name]) / _cost(report["mlfeat"]) for name in peers}
    for name, own in (("", descriptor), ("generated_", _generated(descriptor))):
        report[f"{name}operations"] = count_operations(own, n_neighbors).linear
        report[f"{name}gflops"] = report[f"{name}operations"] / (1e3 * _cost(report[f"{name}sweep"]))
    return report


def _cost(summary):
    """Time that counts: the processor's, for one thread, whatever else the machine does."""
    return summary["cpu_median"]


def speed_row(report):
    """A line of the table."""
    theirs = [f"{_cost(report[name]):{width}.1f}" if name in report else "-".rjust(width) for name, width in _THEIRS]
    ratios = " ".join(f"{report[f'{name}_ratio']:5.1f}" if name in report else "    -" for name, _ in _THEIRS)
    parts = " ".join(f"{_cost(report[name]):{width}.2f}" for name, width in PARTS.items())
    return (
        f"{report['element']} {report['n_atoms']:9d} {report['n_neighbors']:9.1f} {_cost(report['mlfeat']):8.2f} "
        f"{' '.join(theirs)}  {ratios} | {parts} | {report['operations'] / 1e3:5.0f} {report['gflops']:7.1f} "
        f"{100 * report['gflops'] / report['dgemm_gflops']:8.0f} {_cost(report['generated_sweep']):17.2f}"
    )


_THEIRS = (("motep", 8), ("engine", 15))


def _slopes(reports):
    slopes = {}
    for element in dict.fromkeys(report["element"] for report in reports):
        mine = [report for report in reports if report["element"] == element]
        sizes = np.array([report["n_atoms"] for report in mine])
        for name in ("mlfeat", "motep") if len(mine) > 1 else ():
            if name in mine[0]:
                seconds = sizes * [_cost(report[name]) for report in mine]
                slopes[f"{element} {name}"] = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return slopes


def _repeated(task, times):
    def run():
        for _ in range(times):
            task()

    return run


# --- operations of the descriptor ----------------------------------------------------------------

OPERATIONS_HEADER = "operations of the descriptor, µs per atom (GFLOP/s where they are counted)"


def _measure_operations(element, options):
    """Each operation on a cell of some hundred atoms."""
    descriptor = read_mtp(potential_file(element), species=[element])[0]
    atoms = Case(element, "mtp", (QUICK_REPEATS if options.quick else REPEATS)[element][0]).atoms()
    pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
    rng = np.random.default_rng(3)
    cotangents = rng.normal(size=(len(atoms), descriptor.n_features_out_))
    displacements = rng.normal(size=(pairs.n_pairs, 3))
    n_radial_columns = descriptor.radial_coefficients_[0].size

    def blocks(operation, n_columns):
        def run():
            for start, stop in center_blocks(pairs.offsets, n_columns):
                operation(start, stop)

        return run

    tasks = {
        "values": lambda: descriptor.values(pairs),
        "linear": lambda: descriptor.linear(pairs, cotangents[:1]),
        "vjp": lambda: descriptor.vjp(pairs, cotangents),
        "jvp": lambda: descriptor.jvp(pairs, displacements),
        "radial_gradient": lambda: descriptor.radial_gradient(pairs, cotangents, displacements),
        "jacobian": blocks(lambda a, b: descriptor.jacobian(pairs, a, b), descriptor.n_features_out_),
        "rows": lambda: descriptor.rows(pairs),
        "radial_jacobian": blocks(lambda a, b: descriptor.radial_jacobian(pairs, cotangents, a, b), n_radial_columns),
    }
    times = interleave({name: (task, 1) for name, task in tasks.items()}, options.repeats)
    operations = count_operations(descriptor, pairs.n_pairs / len(atoms))
    counted = {
        "values": operations.forward,
        "linear": operations.linear,
        "vjp": operations.vjp,
        "jvp": operations.forward + operations.push,
        "radial_gradient": operations.radial_gradient,
    }
    report = {"element": element, "n_atoms": len(atoms)}
    report |= {name: found.summary(MICRO / len(atoms)) for name, found in times.items()}
    report["gflops"] = {name: number / (1e3 * _cost(report[name])) for name, number in counted.items()}
    rates = {name: f" ({rate:.1f})" for name, rate in report["gflops"].items()}
    line = ", ".join(f"{name} {_cost(report[name]):.2f}{rates.get(name, '')}" for name in tasks)
    print(f"{element}, {len(atoms)} atoms: {line}", flush=True)
    return report


GRAPH_HEADER = (
    "the graph alone, generated bases, atoms without neighbors\n"
    "level  features  products   nodes of a batch  forward  GFLOP/s   linear  GFLOP/s\n"
    "                                         KiB  µs/atom           µs/atom"
)


def _measure_graph(level, options):
    """Sweeps of the graph by size of its nodes: forward, and forward and back."""
    descriptor = MomentTensor(4.0, level, min_dist=2.0).fit([Atoms("Mo")])
    n_atoms = 1024
    pairs = _dilute_pairs(n_atoms, descriptor.cutoff_)
    coef = np.random.default_rng(4).normal(size=(1, descriptor.n_features_out_))
    tasks = {"forward": (lambda: descriptor.values(pairs), 1), "linear": (lambda: descriptor.linear(pairs, coef), 1)}
    times = interleave(tasks, 3 * options.repeats)
    operations, cost = count_operations(descriptor, 0.0), descriptor.basis_.cost()
    report = {"level": level, "n_features": cost.n_scalars, "n_products": cost.n_products, "n_nodes": cost.n_nodes}
    report |= {name: found.summary(MICRO / n_atoms) for name, found in times.items()}
    rates = [getattr(operations, name) / (1e3 * _cost(report[name])) for name in tasks]
    report["gflops"] = dict(zip(tasks, rates, strict=True))
    print(
        f"{level:5d} {cost.n_scalars:9d} {cost.n_products:9d} {cost.n_nodes * 64 / 1024:18.0f} "
        f"{_cost(report['forward']):8.2f} {rates[0]:8.1f} {_cost(report['linear']):8.2f} {rates[1]:8.1f}",
        flush=True,
    )
    return report


def _dilute_pairs(n_atoms, cutoff):
    """Atoms out of reach of one another, but for two of them: without pairs there is no reverse sweep."""
    positions = np.zeros((n_atoms, 3))
    positions[:, 0] = 2 * cutoff * np.arange(n_atoms)
    positions[-1, 0] = positions[-2, 0] + 0.9 * cutoff
    return NeighborPairs.from_atoms(Atoms(f"Mo{n_atoms}", positions=positions), cutoff)
