"""The SOAP power spectrum of a structure with its explicit Jacobian, beside featomic and DScribe.

Each program gets the structure, and finds the neighbors itself. With DScribe's radial functions the results are
compared before they are timed; featomic's differ from both in cutoff and radial functions.
"""

import dscribe_peer
import featomic_peer
import numpy as np
from ase.build import bulk
from cases import DISPLACEMENT
from timing import interleave

from mlfeat import SOAP
from mlfeat.features import center_blocks
from mlfeat.neighbors import NeighborPairs

CUTOFF, N_MAX, L_MAX, SIGMA, WIDTH = 5.2, 8, 8, 0.5, 0.5
QUIP = {"cutoff_transition_width": WIDTH}
DSCRIBE = {"radial_basis": "gto", "cutoff_transition_width": 0.0, "normalize": False}
CRYSTALS = {"Mo": ("bcc", 3.17, 3), "Si": ("diamond", 5.43, 2)}  # 54 and 64 atoms
SEED = 23  # no distance within 7e-4 Å of DScribe's sharp cutoff, across which it would take numerical derivatives
MILLI = 1e3
HEADER = (
    "structure            values   mlfeat  in blocks  featomic  ratio | gto: mlfeat  in blocks  DScribe numerical"
    "   ratio  analytical  ratio\n"
    "                         ms       ms         ms        ms                  ms         ms                 ms"
    "                  ms"
)


def structures():
    """Crystals with their atoms displaced, and the same atoms without periodicity."""
    found = {}
    for element, (structure, constant, repeat) in CRYSTALS.items():
        crystal = bulk(element, structure, a=constant, cubic=True).repeat(repeat)
        crystal.rattle(DISPLACEMENT, seed=SEED)
        cluster = crystal.copy()
        cluster.pbc = False
        cluster.cell[:] = 0.0
        found |= {f"{element}{len(crystal)} crystal": crystal, f"{element}{len(crystal)} cluster": cluster}
    return found


def measure(options):
    """Each structure, the programs in turn."""
    results = []
    for name, atoms in structures().items():
        results.append(_measure_structure(name, atoms, options))
        print(row(results[-1]), flush=True)
    return results


def _measure_structure(name, atoms, options):
    ours, gto = (SOAP(CUTOFF, N_MAX, L_MAX, sigma=SIGMA, **parameters).fit([atoms]) for parameters in (QUIP, DSCRIBE))
    tasks = {
        "values": lambda: ours.values(_pairs(ours, atoms)),
        "mlfeat": lambda: _jacobian(ours, atoms),
        "blocks": lambda: _blocks(ours, atoms),
        "gto": lambda: _jacobian(gto, atoms),
        "gto_blocks": lambda: _blocks(gto, atoms),
    }
    tasks |= _featomic_tasks(atoms) | _dscribe_tasks(atoms, gto)
    times = interleave({name: (task, 1) for name, task in tasks.items()}, options.repeats)
    report = {"structure": name, "n_atoms": len(atoms), "n_neighbors": _pairs(ours, atoms).n_pairs / len(atoms)}
    report |= {name: found.summary(MILLI) for name, found in times.items()}
    for peer, mine in (("featomic", "mlfeat"), ("numerical", "gto"), ("analytical", "gto")):
        if peer in report:
            report[f"{peer}_ratio"] = report[peer]["median"] / report[mine]["median"]
    return report


def _pairs(descriptor, atoms):
    return NeighborPairs.from_atoms(atoms, descriptor.cutoff_)


def _jacobian(descriptor, atoms):
    """Values and the whole Jacobian in one array."""
    pairs = _pairs(descriptor, atoms)
    return descriptor.values(pairs), descriptor.jacobian(pairs)


def _blocks(descriptor, atoms):
    """Values and the Jacobian block by block, as mlfeat's own operations use it."""
    pairs = _pairs(descriptor, atoms)
    for start, stop in center_blocks(pairs.offsets, descriptor.n_features_out_):
        descriptor.jacobian(pairs, start, stop)
    return descriptor.values(pairs)


def _featomic_tasks(atoms):
    if not featomic_peer.available():
        return {}
    theirs = featomic_peer.PowerSpectrum(CUTOFF, N_MAX, L_MAX, SIGMA, WIDTH)
    return {"featomic": lambda: theirs.jacobian(atoms)}


def _dscribe_tasks(atoms, gto):
    if not dscribe_peer.available():
        return {}
    theirs = dscribe_peer.PowerSpectrum(atoms.symbols[0], atoms.pbc.all(), CUTOFF, N_MAX, L_MAX, SIGMA)
    methods = ("numerical",) if atoms.pbc.any() else ("numerical", "analytical")
    for method, tolerance in zip(methods, (1e-4, 1e-9), strict=False):
        _check_equal(gto, atoms, *theirs.jacobian(atoms, method), tolerance)
    return {method: lambda method=method: theirs.jacobian(atoms, method) for method in methods}


def _check_equal(gto, atoms, jacobian, values, tolerance):
    """Both programs have to compute the same thing: values, and the gradient of a sum of their squares."""
    pairs, factors = _pairs(gto, atoms), np.append(dscribe_peer.factors(N_MAX, L_MAX), 0.0)  # there is no constant
    ours = gto.values(pairs) * factors
    _compare("values", ours[:, :-1], values[:, dscribe_peer.order(N_MAX, L_MAX)], 1e-9)
    gradient = -pairs.forces(gto.vjp(pairs, ours * factors))
    theirs = np.einsum("iaxf,if->ax", jacobian, values)
    _compare("gradients", gradient, theirs, tolerance)


def _compare(what, ours, theirs, tolerance):
    difference, scale = np.abs(ours - theirs).max(), np.abs(theirs).max()
    if not difference <= tolerance * scale:
        raise RuntimeError(f"{what} differ by {difference:.1e} of {scale:.1e}")


def row(report):
    """A line of the table."""

    def time(name, width):
        return f"{report[name]['median']:{width}.2f}" if name in report else f"{'-':>{width}s}"

    def ratio(name):
        return f"{report[f'{name}_ratio']:7.1f}" if name in report else f"{'-':>7s}"

    return (
        f"{report['structure']:18s} {time('values', 8)} {time('mlfeat', 8)} {time('blocks', 10)} {time('featomic', 9)}"
        f"{ratio('featomic')} | {time('gto', 11)} {time('gto_blocks', 10)} {time('numerical', 18)} {ratio('numerical')}"
        f" {time('analytical', 11)}{ratio('analytical')}"
    )
