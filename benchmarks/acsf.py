"""Symmetry functions of bulk molybdenum: each operation, and the explicit Jacobian beside DScribe's.

The set is that of the published Behler-Parrinello network for Mo, 15 radial and 24 narrow angular functions. DScribe
has numerical derivatives only, and finds the neighbors itself; the results are compared before they are timed.
"""

import dscribe_peer
import numpy as np
from cases import SKIN, Case
from timing import interleave

from mlfeat import ACSF
from mlfeat.neighbors import NeighborPairs

BOHR = 0.529177210903  # Å
CUTOFF = 5.2  # Å
ETA = [eta / BOHR**2 for eta in (0.01, 0.02, 0.05)]  # Å⁻²
RADIAL = [(eta, r_s) for eta in ETA for r_s in (0.0, 1.0, 2.0, 3.0, 4.0)]
ANGULAR = [(eta, zeta, lambda_) for eta in ETA for lambda_ in (-1, 1) for zeta in (1, 2, 4, 16)]
MICRO, MILLI = 1e6, 1e3
HEADER = (
    "operation, µs per atom:   atoms  neighbors   values  gradient  values+gradient     jvp  jacobian\n"
    "jacobian, ms:             atoms               mlfeat  DScribe numerical   ratio"
)


def measure(options):
    """The operations on large cells, then the comparison on small ones."""
    report = {"operations": [], "jacobian": []}
    for repeat in (4,) if options.quick else (6, 10):
        report["operations"].append(_measure_operations(repeat, options))
        print(_operations_row(report["operations"][-1]), flush=True)
    for repeat in (2,) if options.quick else (2, 3):
        if dscribe_peer.available():
            report["jacobian"].append(_measure_jacobian(repeat, options))
            print(_jacobian_row(report["jacobian"][-1]), flush=True)
    return report


def _measure_operations(repeat, options):
    """From a list with a skin, as molecular dynamics has it."""
    atoms = Case("Mo", "nnp", repeat).atoms()
    descriptor = ACSF(CUTOFF, RADIAL, ANGULAR).fit([atoms])
    pairs = NeighborPairs.from_atoms(atoms, CUTOFF + SKIN)
    rng = np.random.default_rng(0)
    cotangents = rng.normal(size=(len(atoms), descriptor.n_features_out_))
    displacements = rng.normal(size=(pairs.n_pairs, 3))
    _, pullback = descriptor.values_and_pullback(pairs)
    tasks = {
        "values": lambda: descriptor.values(pairs),
        "gradient": lambda: pullback(cotangents),
        "values_and_gradient": lambda: descriptor.vjp(pairs, cotangents),
        "jvp": lambda: descriptor.jvp(pairs, displacements),
        "jacobian": lambda: descriptor.jacobian(pairs),
    }
    n_calls = max(1, round(options.seconds / (40e-6 * len(atoms))))
    times = interleave({name: (_repeated(task, n_calls), n_calls) for name, task in tasks.items()}, options.repeats)
    report = {"n_atoms": len(atoms), "n_neighbors": float((pairs.distances < CUTOFF).sum()) / len(atoms)}
    return report | {name: found.summary(MICRO / len(atoms)) for name, found in times.items()}


def _repeated(task, n_calls):
    def run():
        for _ in range(n_calls):
            task()

    return run


def _measure_jacobian(repeat, options):
    atoms = Case("Mo", "nnp", repeat).atoms()
    descriptor = ACSF(CUTOFF, RADIAL, ANGULAR).fit([atoms])
    theirs = dscribe_peer.SymmetryFunctions("Mo", CUTOFF, RADIAL, ANGULAR)
    _check_equal(descriptor, atoms, theirs)
    times = interleave(
        {"mlfeat": (lambda: _jacobian(descriptor, atoms), 1), "dscribe": (lambda: theirs.jacobian(atoms), 1)},
        min(3, options.repeats),
    )
    report = {"n_atoms": len(atoms)} | {name: found.summary(MILLI) for name, found in times.items()}
    return report | {"ratio": times["dscribe"].median / times["mlfeat"].median}


def _jacobian(descriptor, atoms):
    """Neighbors, values and the whole Jacobian."""
    pairs = NeighborPairs.from_atoms(atoms, CUTOFF)
    return descriptor.values(pairs), descriptor.jacobian(pairs)


def _check_equal(descriptor, atoms, theirs):
    """Both programs have to compute the same thing."""
    pairs = NeighborPairs.from_atoms(atoms, CUTOFF)
    values, jacobian = _jacobian(descriptor, atoms)
    ours = np.zeros((len(atoms), len(atoms), 3, values.shape[1]))
    np.add.at(ours, (pairs.first, pairs.second), jacobian)
    np.subtract.at(ours, (pairs.first, pairs.first), jacobian)
    _compare("values", values, theirs.values(atoms), 1e-10)
    _compare("derivatives", ours, theirs.jacobian(atoms), 1e-4)


def _compare(what, ours, theirs, tolerance):
    difference, scale = np.abs(ours - theirs).max(), np.abs(theirs).max()
    if not difference <= tolerance * scale:
        raise RuntimeError(f"{what} differ by {difference:.1e} of {scale:.1e}")


def _operations_row(report):
    names = {"values": 9, "gradient": 10, "values_and_gradient": 17, "jvp": 8, "jacobian": 10}
    times = "".join(f"{report[name]['median']:{width}.2f}" for name, width in names.items())
    return f"{'':24s} {report['n_atoms']:6d} {report['n_neighbors']:10.1f}{times}"


def _jacobian_row(report):
    ours, theirs = report["mlfeat"]["median"], report["dscribe"]["median"]
    return f"{'':24s} {report['n_atoms']:6d} {'':10s}{ours:11.2f} {theirs:18.1f} {report['ratio']:7.0f}"
