"""Whether stresses are derivatives of the energies: sign, unit, and order of the shear components."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from ase import units
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.stats import f as variance_ratio
from scipy.stats import t as student

from mlfeat.neighbors import check_structures
from mlfeat.targets import _calculated, _forces, _stress

__all__ = ["StressCheck", "check_stress"]

SHEARS = ("yz", "xz", "xy")
_LARGEST_STRAIN = 0.08
_LEAST_STRAIN = 1e-4
_LARGEST_SHIFT = 0.1, 0.003  # Å, of atoms in the crystal; with forces, whose work is known, and without
_N_NEAREST = 8
_CONFIDENCE = 0.999
_N_FREE = 8  # degrees of freedom; with fewer, third-order terms may hide that an order of shears fits
_FLOOR = 0.02 * units.GPa  # what energies and lattice constants of usual precision can tell
_OFFSET = 1.0 * units.GPa
_UNITS = {"eV/Å³": 1.0, "GPa": units.GPa, "kbar": 0.1 * units.GPa}


@dataclass(frozen=True, eq=False)
class StressCheck:
    """What energies of strained structures say of their stresses; `check_stress` makes it, and ``print`` shows it.

    Attributes
    ----------
    n_pairs, n_shear_pairs : int
        Pairs of structures that could be compared, and those among them that differ by a shear.
    factor : float
        By which the stresses should be multiplied; 1 is right, -1 another sign. NaN without pairs.
    unit : str or None
        The unit to which the factor belongs, if it is a known one.
    offset : float
        Pressure that the stresses have too much, with the factor, eV/Å³ in ASE's sign.
    residual : float
        Root mean square of what is left between energies and stresses, eV/Å³, a stress along the strain.
    factor_error, offset_error : float
        Half the widths of the intervals in which factor and offset are with 99.9 % confidence; infinite where the pairs
        do not determine them.
    shear_orders : list of tuple of str
        What the last three numbers of the stresses may be: all orders that fit. ``("yz", "xz", "xy")`` is ASE's.
        Empty if there are sheared pairs and no order fits.
    """

    n_pairs: int
    n_shear_pairs: int
    factor: float
    unit: str | None
    offset: float
    residual: float
    factor_error: float
    offset_error: float
    shear_orders: list

    @property
    def factor_certain(self):
        """Whether the factor is known to a tenth."""
        return bool(self.factor_error < 0.1 * abs(self.factor))

    @property
    def shear_certain(self):
        """Whether one order fits, and no other."""
        return len(self.shear_orders) == 1

    @property
    def contradictions(self):
        """What is wrong for certain, a list of str; empty if nothing is."""
        found = []
        if abs(self.factor - 1) - self.factor_error > 0.1:
            found.append(f"stresses should be multiplied by {self.factor:.4g} to agree with energies{self._meaning()}")
        if abs(self.offset) - self.offset_error > _OFFSET:
            found.append(f"stresses are too large by a pressure of {self.offset / units.GPa:.2f} GPa in all directions")
        if not self.shear_orders:
            found.append("shear stresses agree with energies in no order of the components; do not fit to them")
        elif SHEARS not in self.shear_orders:
            orders = " or ".join(" ".join(order) for order in self.shear_orders)
            found.append(f"the last three stress components seem to be {orders}, not {' '.join(SHEARS)}")
        return found

    def _meaning(self):
        sign = ", positive under compression" if self.factor < 0 else ""
        unit = "" if self.unit is None else f": they look like {self.unit}"
        return unit + (sign if unit else sign.replace(", ", ": they look ", 1))

    def __str__(self):
        if not self.n_pairs:
            return "stresses not checked: no two structures are one crystal under different strains"
        lines = [
            f"{self.n_pairs} pairs of strained structures, {self.n_shear_pairs} of them sheared",
            f"  factor {self.factor:.4g}{'' if self.factor_certain else ' (not certain)'}{self._meaning()}",
            f"  offset {self.offset / units.GPa:.2f} GPa, residual {self.residual / units.GPa:.2f} GPa",
            f"  shear components: {' or '.join(' '.join(order) for order in self.shear_orders) or 'no order fits'}",
        ]
        return "\n".join([*lines, *(f"  CONTRADICTION: {message}" for message in self.contradictions)])


def check_stress(structures):
    r"""Compare stresses with the energies of strained copies of the same crystal.

    Two structures are a pair if they have the same atoms at the same places in the cell (to 0.1 Å; to 0.003 Å without
    forces), and one cell is the other strained by at most 8 %. With C the cells (vectors in rows), s the
    scaled positions, ΔC and Δs the differences, the work of stresses σ and forces F on the way from i to j is

    .. math:: E_j - E_i = \frac{1}{2} \sum_{k=i,j} \Big( V_k\, σ_k : \mathrm{sym}(C_k^{-1} ΔC) - F_k : Δs\, C_k \Big)

    but for terms of third order. A least-squares fit over all pairs gives the factor of σ and a pressure beside it, for
    each of the six orders of the shear components; orders that leave a residual much larger than the best are ruled
    out. Factor and pressure contradict if their intervals of confidence are more than 0.1 from 1, or 1 GPa from 0.
    Differences of energy are as many as the structures less one, however many pairs these make: two parameters need
    four structures of one crystal at the least, or more where terms of third order are large.

    Parameters
    ----------
    structures : list of ase.Atoms
        With energies and stresses in ASE's unit, sign and order, as it is thought; others and those that are not
        periodic count for nothing. Since the convention may differ from one source to another, pass those of one
        source at a time.

    Returns
    -------
    StressCheck
        Factor, offset, order, and whether they are certain. Crystals at finite temperature are no pairs, and not
        checked.

    See Also
    --------
    read_structures : Reads structures and does this for each group.

    Notes
    -----
    A shear in one plane tells which number is the stress in this plane, but not the order of the other two; then two
    orders fit. Pairs differ in strain and atoms by little, so that an offset between energies computed with different
    settings shows up as a residual.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> crystals = [bulk("Cu", a=a) for a in (3.5, 3.55, 3.6, 3.65)]
    >>> for atoms in crystals:
    ...     atoms.calc = EMT()
    >>> check_stress(crystals).contradictions
    []
    """
    rows = [row for members in _alike(check_structures(structures)).values() for row in _equations(members)]
    if not rows:
        return StressCheck(0, 0, np.nan, None, np.nan, np.nan, np.inf, np.inf, list(permutations(SHEARS)))
    pairs, y, normal, shear, trace, share, volume = (np.array(column) for column in zip(*rows, strict=True))
    sheared = share > 0.1
    places = np.arange(3)
    fits = {p: _Fit(pairs, y, normal + shear[:, places, p].sum(axis=1), trace) for p in permutations(range(3))}
    orders = _fitting_orders(fits, _Fit(pairs, y, normal, trace), sheared)
    best = min(orders or fits, key=lambda p: (fits[p].residual(slice(None)), p != (0, 1, 2)))
    fit = fits[best]
    if not orders and not sheared.all():
        fit = _Fit(pairs[~sheared], y[~sheared], normal[~sheared], trace[~sheared])
    known = _UNITS | {"a virial, not divided by the volume": 1 / volume.mean()}
    unit = next((name for name, value in known.items() if abs(abs(fit.factor) / value - 1) < 0.1), None)
    return StressCheck(
        n_pairs=len(y),
        n_shear_pairs=int(sheared.sum()),
        factor=fit.factor,
        unit=unit,
        offset=fit.offset,
        residual=fit.residual(slice(None)),
        factor_error=fit.factor_error,
        offset_error=fit.offset_error,
        shear_orders=[tuple(SHEARS[k] for k in p) for p in orders],
    )


class _Fit:
    """Least squares y = factor · x - offset · trace, with confidence intervals."""

    def __init__(self, pairs, y, x, trace):
        self.pairs = pairs
        scale = np.sqrt(np.mean(x**2)) or 1.0
        design = np.stack([x / scale, -trace], axis=1)
        solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=1e-8)
        self.factor, self.offset = float(solution[0] / scale), float(solution[1])
        self.left = y - design @ solution
        self.n_free = _count_independent(pairs) - 2
        self.factor_error = self.offset_error = np.inf
        if self.n_free > 0 and (rank == 2 or not trace.any()):
            variance = self.left @ self.left / self.n_free * np.diag(np.linalg.pinv(design.T @ design, rcond=1e-12))
            errors = student.ppf((1 + _CONFIDENCE) / 2, self.n_free) * np.sqrt(variance) / [scale, 1.0]
            self.factor_error, self.offset_error = map(float, errors)

    def residual(self, chosen):
        return float(np.sqrt(np.mean(self.left[chosen] ** 2))) if self.left[chosen].size else 0.0


def _count_independent(pairs):
    """Differences of energy that do not follow from each other: the structures, less one of each connected part."""
    nodes, edges = np.unique(pairs, return_inverse=True)
    graph = coo_array((np.ones(len(pairs)), edges.reshape(-1, 2).T), shape=(len(nodes), len(nodes)))
    return len(nodes) - connected_components(graph, directed=False)[0]


def _fitting_orders(fits, without, sheared):
    """Orders that explain the energies of sheared pairs; all if there is nothing to explain."""
    n_free = min(without.n_free, _count_independent(without.pairs[sheared]))
    others = min(fit.residual(~sheared) for fit in fits.values())
    signal = without.residual(sheared)
    if n_free < 1 or signal < 3 * max(others, _FLOOR):
        return list(fits)
    left = {p: fit.residual(sheared) for p, fit in fits.items()}
    best = min(left.values())
    if best > 0.5 * signal:
        return [] if n_free >= _N_FREE else list(fits)
    ratio = np.sqrt(variance_ratio.ppf(_CONFIDENCE, n_free, n_free))
    return [p for p, value in left.items() if value <= max(max(2, ratio) * best, 0.05 * signal)]


def _alike(structures):
    """Structures with energy and stress that have the same atoms in the same order."""
    found = defaultdict(list)
    for index, atoms in enumerate(structures):
        energy, stress = _calculated(atoms, "energy"), _stress(atoms, index)
        if energy is not None and atoms.pbc.all() and atoms.cell.rank == 3 and np.isfinite(stress).all():
            found[tuple(atoms.numbers)].append((atoms, float(energy), stress, _forces(atoms, index), index))
    return found


def _equations(members):
    """Of each pair indices, y, normal part of x, matrix of shear parts, trace of the strain, share of shear, volume."""
    for i, j in _near(members):
        row = _equation(members[i], members[j])
        if row is not None:
            yield (members[i][-1], members[j][-1]), *row


def _near(members):
    """Pairs with nearly the same cells and places of the first atoms: each with the nearest others."""
    cells = np.array([atoms.cell.array for atoms, *_ in members])
    length = np.mean([atoms.get_volume() for atoms, *_ in members]) ** (1 / 3)
    scaled = np.array([atoms.cell.scaled_positions(atoms.positions[:4]) for atoms, *_ in members])
    relative = (scaled[:, 1:] - scaled[:, :1]).reshape(len(members), -1) % 1.0 % 1.0  # 1 - 1e-17 is 1 at first
    points = np.concatenate([cells.reshape(-1, 9), length * relative], axis=1)
    tree = cKDTree(points, boxsize=[0.0] * 9 + [length] * relative.shape[1])
    _, nearest = tree.query(points, min(len(members), _N_NEAREST + 1), distance_upper_bound=0.2 * length)
    pairs = {(min(i, j), max(i, j)) for i, row in enumerate(np.atleast_2d(nearest.T).T) for j in row}
    return sorted((i, j) for i, j in pairs if i != j and j < len(members))


def _equation(first, second):
    cells = [item[0].cell.array for item in (first, second)]
    change = cells[1] - cells[0]
    strains = [_symmetric(np.linalg.solve(cell, change)) for cell in cells]
    size = np.linalg.norm(sum(strains)) / 2
    if not _LEAST_STRAIN < size < _LARGEST_STRAIN or np.abs(np.linalg.solve(cells[0], change)).max() > _LARGEST_STRAIN:
        return None
    start, end = (item[0].cell.scaled_positions(item[0].positions) for item in (first, second))
    shift = (end - start + 0.5) % 1.0 - 0.5
    shift = (shift - shift[0] + 0.5) % 1.0 - 0.5
    shift -= shift.mean(axis=0)
    have_forces = first[3] is not None and second[3] is not None
    if np.linalg.norm(shift @ cells[0], axis=1).max() > _LARGEST_SHIFT[0 if have_forces else 1]:
        return None
    y = second[1] - first[1]
    normal, shear, trace = 0.0, np.zeros((3, 3)), 0.0
    for (atoms, _, stress, forces, _), cell, strain in zip((first, second), cells, strains, strict=True):
        volume = atoms.get_volume() / 2
        y += np.sum(forces * (shift @ cell)) / 2 if have_forces else 0.0
        normal += volume * stress[:3] @ np.diag(strain)
        # [k, m]: work of the number in place k of the stress, if it is component m
        shear += 2 * volume * np.outer(stress[3:], [strain[1, 2], strain[0, 2], strain[0, 1]])
        trace += volume * np.trace(strain)
    volume = (first[0].get_volume() + second[0].get_volume()) / 2
    share = 1 - np.linalg.norm(np.diag(sum(strains))) ** 2 / np.linalg.norm(sum(strains)) ** 2
    weight = 1 / (volume * size)
    return weight * y, weight * normal, weight * shear, weight * trace, share, volume


def _symmetric(matrix):
    return (matrix + matrix.T) / 2
