"""Cost of a model: peak memory of a process, and time per atom and step."""

import statistics
import sys
import time
import warnings

import numpy as np
from ase.build import bulk
from ase.data import atomic_numbers, reference_states
from threadpoolctl import threadpool_limits

from mlfeat.base import ExtrapolationWarning
from mlfeat.calculator import PotentialCalculator

MEMORY_METHOD = (
    "peak resident memory of a fresh process that fits this one potential, Python, libraries and "
    "data included (VmHWM on Linux, else ru_maxrss)"
)
TIMING_METHOD = (
    "energy, forces and stress of a crystal whose atoms move by less than half of the neighbor "
    "list's skin, so without building the list; the fastest of many steps, which other programs "
    "disturb least"
)
_AMPLITUDE = 0.1  # Å a component; the displacement stays below half of the skin of 0.5 Å


def memory(peak=True):
    """Resident memory of this process in bytes: the peak since its start, or the present one."""
    # Not ru_maxrss where avoidable: Linux hands it down from the parent through fork and exec.
    field = "VmHWM:" if peak else "VmRSS:"
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))
    except (OSError, StopIteration):
        import resource

        scale = 1 if sys.platform == "darwin" else 1024
        return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def microseconds_per_atom(model, atoms, *, n_threads=1, seconds=1.0, min_steps=3):
    """Time of energy, forces and stress per atom and step of molecular dynamics, in µs.

    Parameters
    ----------
    model : Pipeline
        A fitted model.
    atoms : ase.Atoms
        The structure; it is not changed.
    n_threads : int, default=1
        Threads of the calculator and of BLAS.
    seconds : float, default=1
        Steps are repeated for this long.
    min_steps : int, default=3
        Steps done even if they take longer.

    Returns
    -------
    dict
        ``atoms``, ``steps``, ``us_per_atom`` (of the fastest step), ``us_per_atom_median`` and
        ``us_per_atom_first`` (of the first evaluation, which builds the neighbor list).
    """
    rng = np.random.default_rng(0)
    atoms = atoms.copy()
    start = atoms.positions.copy()
    calculator = PotentialCalculator(model, n_threads=n_threads)
    times = []
    with threadpool_limits(n_threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # only the time of these displaced atoms matters
        while len(times) <= min_steps or sum(times) < seconds:
            # Around where the list is built: the first step has the undisplaced positions.
            amplitude = _AMPLITUDE if times else 0
            atoms.positions = start + rng.uniform(-amplitude, amplitude, size=start.shape)
            begin = time.perf_counter()
            calculator.calculate(atoms, ["energy", "forces", "stress"], ["positions"])
            times.append(time.perf_counter() - begin)
    scale = 1e6 / len(atoms)
    return {
        "atoms": len(atoms),
        "steps": len(times) - 1,
        "us_per_atom": scale * min(times[1:]),
        "us_per_atom_median": scale * statistics.median(times[1:]),
        "us_per_atom_first": scale * times[0],
    }


def repeated(atoms, n_atoms):
    """At least ``n_atoms`` atoms, by repeating a periodic structure to a compact shape."""
    atoms = atoms.copy()
    while len(atoms) < n_atoms and atoms.pbc.any():
        # Repeat along the shortest period, as often as makes it the longest or fills the number.
        lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
        axis = int(np.argmin(lengths))
        times = [1, 1, 1]
        times[axis] = 2
        atoms = atoms * tuple(times)
    return atoms


def crystal_of(structures, n_atoms=1000):
    """A typical periodic structure of a data set, repeated to at least ``n_atoms`` atoms.

    That is the one of median volume per atom; the largest structure where none is periodic.
    """
    periodic = [atoms for atoms in structures if atoms.pbc.all()]
    if not periodic:
        return max(structures, key=len)
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in periodic])
    middle = np.argsort(volumes)[len(volumes) // 2]
    return repeated(periodic[middle], n_atoms)


def conventional_crystal(species):
    """Conventional cell of the first element, its sites dealt out among the species in turn."""
    state = reference_states[atomic_numbers[species[0]]]
    if state is None or state["symmetry"] not in {"fcc", "bcc", "hcp", "diamond", "sc"}:
        raise ValueError(f"the crystal of {species[0]} is not known; give one")
    cubic = state["symmetry"] != "hcp"
    atoms = bulk(species[0], cubic=cubic)
    if len(species) > 1:
        atoms = repeated(atoms, 4 * len(species))
        atoms.symbols = np.resize(species, len(atoms)).tolist()
    return atoms
