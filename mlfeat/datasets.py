"""Reference data made on the spot, and the split of structures into training and test sets.

The data come from ASE's effective-medium theory (EMT), a classical potential for fcc metals: no
download and no DFT, a few seconds, and still everything that a potential learns from: energies,
forces, stresses, hot and defective cells.
"""

import math
from collections import defaultdict

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, reference_states
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress
from scipy.optimize import minimize_scalar
from sklearn.utils import check_random_state
from tqdm import tqdm

__all__ = ["EMT_METALS", "make_emt_structures", "split_by_group"]

#: The fcc metals of ASE's EMT with their melting points in K, which scale the temperatures.
EMT_METALS = {"Al": 933, "Ni": 1728, "Cu": 1358, "Pd": 1828, "Ag": 1235, "Pt": 2041, "Au": 1337}

_TIME_STEP = 5 * units.fs
_WARM_UP = 60  # steps before the first snapshot of a trajectory
_INTERVAL = 20  # steps between snapshots, 100 fs: half a period of a fast vibration
_PROPERTIES = ("energy", "free_energy", "forces", "stress")


def make_emt_structures(element="Cu", *, random_state=0, progress=False):
    """Make 150 reference structures of an fcc metal, computed with ASE's EMT.

    ============  ======  =====  ================================================================
    group         number  atoms  content
    ============  ======  =====  ================================================================
    equilibrium   12      4      cubic cells within 3 % of the equilibrium lattice constant
    strained      40      4      cubic cells, random strains up to 8 %, atoms displaced by 0.05 Å
    vacancy       24      31     32 sites with one vacancy, at 300 K and 0.7 times melting
    surface       18      18-24  (100), (110), (111) slabs, at 300 K and 0.5 times melting
    hot           56      32     bulk, from 300 K to 1.3 times the melting temperature
    ============  ======  =====  ================================================================

    The last three are snapshots of molecular dynamics.

    Parameters
    ----------
    element : str, default="Cu"
        One of ``EMT_METALS``: Al, Ni, Cu, Pd, Ag, Pt, Au.
    random_state : int, numpy.random.RandomState or None, default=0
        Seed of strains, displacements and trajectories. The same integer gives the same structures.
    progress : bool or None, default=False
        Whether a progress bar is drawn on stderr; None draws it on a terminal only.

    Returns
    -------
    list of ase.Atoms
        Each with its group in ``atoms.info["group"]`` and a ``SinglePointCalculator`` that holds
        energy (eV), forces (eV/Å) and stress (eV/Å³, ASE's sign and Voigt order).

    Raises
    ------
    ValueError
        If EMT does not know the element, or it is not an fcc metal.

    See Also
    --------
    split_by_group : Training and test sets out of these.

    References
    ----------
    K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996).

    Examples
    --------
    >>> from mlfeat.datasets import make_emt_structures
    >>> structures = make_emt_structures("Al")
    >>> len(structures), structures[0].info["group"]
    (150, 'equilibrium')
    """
    if element not in EMT_METALS:
        metals = ", ".join(EMT_METALS)
        raise ValueError(f"no EMT data for {element!r}: choose one of the fcc metals {metals}")
    rng = check_random_state(random_state)
    # tqdm's disable=None draws the bar on a terminal only.
    disable = None if progress is None else not progress
    bar = tqdm(_generate(element, rng), f"EMT data for {element}", total=150, disable=disable)
    return list(bar)


def split_by_group(structures, test_size=0.2, *, random_state=0):
    """Split structures into a training and a test set, the same share from every group.

    A group, ``atoms.info["group"]`` (one group for all structures without), is a kind of structure.
    Each kind is in both sets, so the test error is one of interpolation within the kinds, as in
    the data of Zuo et al. (2020). For the error on a kind never seen, leave whole groups out with
    :class:`sklearn.model_selection.GroupKFold`.

    Parameters
    ----------
    structures : list of ase.Atoms
        The structures.
    test_size : float, default=0.2
        Share of each group that goes to the test set, between 0 and 1, rounded to the nearest
        count. A group of two or more structures always gives at least one to each set; a single
        one is kept for training.
    random_state : int, numpy.random.RandomState or None, default=0
        Seed of the draw.

    Returns
    -------
    train, test : list of ase.Atoms
        Both in the order of ``structures``.

    Raises
    ------
    ValueError
        If ``test_size`` is not between 0 and 1, or no structure would be left for one of the sets.
    """
    if not 0 < test_size < 1:
        raise ValueError(f"test_size must be between 0 and 1, got {test_size!r}")
    rng = check_random_state(random_state)
    members = defaultdict(list)
    for index, atoms in enumerate(structures):
        members[str(atoms.info.get("group", ""))].append(index)
    in_test = set()
    for indices in members.values():
        n_test = min(max(round(test_size * len(indices)), 1), len(indices) - 1)
        in_test.update(rng.permutation(indices)[:n_test].tolist())
    if not in_test:
        raise ValueError(
            f"cannot split {len(structures)} structures: no group has more than one of them; give a test set of its own"
        )
    train = [atoms for index, atoms in enumerate(structures) if index not in in_test]
    return train, [structures[index] for index in sorted(in_test)]


def _generate(element, rng):
    a = _lattice_constant(element)
    melting = EMT_METALS[element]
    yield from _equilibrium(element, a, rng, 12)
    yield from _strained(element, a, rng, 40)
    for temperature in (300, 0.7 * melting):
        sites = bulk(element, a=a, cubic=True) * (2, 2, 2)
        del sites[0]
        yield from _snapshots(sites, "vacancy", temperature, rng, 12)
    for facet, size in ((fcc100, (2, 2, 5)), (fcc110, (2, 2, 6)), (fcc111, (3, 2, 3))):
        for temperature in (300, 0.5 * melting):
            slab = facet(element, size, a=a, vacuum=6.0, orthogonal=True, periodic=True)
            yield from _snapshots(slab, "surface", temperature, rng, 3)
    for temperature in (300, 0.5 * melting, melting, 1.3 * melting):
        # Hotter cells are wider: 2 % linear at the melting point is what fcc metals have.
        wide = a * (1 + 0.02 * temperature / melting)
        crystal = bulk(element, a=wide, cubic=True) * (2, 2, 2)
        yield from _snapshots(crystal, "hot", temperature, rng, 14)


def _lattice_constant(element):
    """Lattice constant (Å) that minimises the EMT energy of the fcc crystal."""

    def energy(a):
        atoms = bulk(element, a=a)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    guess = reference_states[atomic_numbers[element]]["a"]
    return minimize_scalar(energy, bounds=(0.9 * guess, 1.1 * guess), method="bounded").x


def _equilibrium(element, a, rng, n_structures):
    for scale in np.linspace(0.97, 1.03, n_structures):
        atoms = bulk(element, a=scale * a, cubic=True)
        atoms.positions += rng.normal(scale=0.01, size=atoms.positions.shape)
        yield _labeled(atoms, "equilibrium")


def _strained(element, a, rng, n_structures):
    for _ in range(n_structures):
        atoms = bulk(element, a=a, cubic=True)
        strain = voigt_6_to_full_3x3_stress(rng.uniform(-0.08, 0.08, size=6))
        atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        yield _labeled(atoms, "strained")


def _snapshots(atoms, group, temperature, rng, n_snapshots):
    """Snapshots of constant-energy dynamics at about ``temperature`` (K)."""
    atoms.calc = EMT()
    # Half of the kinetic energy of a crystal at rest becomes potential: start with twice of it.
    spread = np.sqrt(2 * temperature * units.kB / atoms.get_masses()[:, np.newaxis])
    velocities = spread * rng.normal(size=(len(atoms), 3))
    atoms.set_velocities(velocities - velocities.mean(axis=0))
    dynamics = VelocityVerlet(atoms, _TIME_STEP)
    dynamics.run(_WARM_UP - _INTERVAL)
    for _ in range(n_snapshots):
        dynamics.run(_INTERVAL)
        yield _labeled(atoms, group)


def _labeled(atoms, group):
    """Copy of ``atoms`` with EMT's energy, forces and stress, and its group."""
    info = {"group": group}
    atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info=info)
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in _PROPERTIES}
    if not math.isfinite(results["energy"]):
        raise RuntimeError(f"EMT gave the energy {results['energy']} for a {group} cell")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
