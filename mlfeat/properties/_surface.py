"""Surface energies."""

from math import ceil, gcd

import numpy as np
from ase import units
from ase.build import surface

from mlfeat.properties._calculator import energy_of
from mlfeat.properties._supercell import Supercell, relax_atoms

__all__ = ["surface_energy"]


def surface_energy(
    atoms,
    calculator=None,
    indices=(1, 0, 0),
    *,
    min_thickness=20.0,
    vacuum=15.0,
    relax=True,
    fmax=0.01,
    max_steps=500,
    symprec=1e-3,
):
    r"""Energy of a surface per area, not reconstructed.

    With E the energy of a slab of n primitive cells and surfaces of area A, and e that of a cell of the crystal,

    .. math:: \gamma = \frac{E - n e}{2 A}.

    The slab is made of whole cells, so that it has the composition of the crystal, and is cut where the distance
    between two planes of atoms is largest: diamond (111) through one bond of each atom, not through three. The two
    sides of a slab of a compound may differ; the energy is then their mean.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    indices : sequence of 3 or 4 int, default=(1, 0, 0)
        Miller indices with respect to the conventional cell; for hexagonal crystals also Bravais's four.
    min_thickness : float, default=20.0
        Least thickness of the slab, Å: well above twice the cutoff of a potential, so that the sides do not see each
        other.
    vacuum : float, default=15.0
        Distance between the slab and its image, Å; above the cutoff of a potential.
    relax : bool, default=True
        Relax the crystal first, then the atoms of the slab in its cell. False leaves all where they are.
    fmax : float, default=0.01
        Largest force left on an atom of the slab, eV/Å.
    max_steps : int, default=500
        Most steps of this relaxation.
    symprec : float or None, default=1e-3
        As `relax_crystal` takes it.

    Returns
    -------
    float
        Surface energy, J/m².

    Raises
    ------
    ValueError
        If the indices are not those of a plane, a length is not positive, or the structure is not a crystal.
    RuntimeError
        If a relaxation does not converge, or if the calculator gives NaN.

    Notes
    -----
    The slab has the smallest cell in the plane. A reconstruction needs a larger one: of Si (100), this is the energy
    of the surface without dimers.
    """
    indices = _three(indices)
    for name, length in (("min_thickness", min_thickness), ("vacuum", vacuum)):
        if not 0 < length < np.inf:
            raise ValueError(f"{name}={length!r}: must be a positive number of Å")
    crystal = Supercell.from_atoms(atoms, calculator, 1, relax=relax, symprec=symprec)
    primitive = crystal.primitive
    slab, n_cells = _slab(primitive, _in_primitive(indices, crystal.conventional), min_thickness, vacuum)
    bulk = energy_of(primitive, crystal.calculator, "the crystal")
    name = "(" + " ".join(map(str, indices)) + ")"
    what = f"the slab with {name} surfaces"
    if relax:
        energy = relax_atoms(slab, crystal.calculator, what, fmax=fmax, max_steps=max_steps)
    else:
        energy = energy_of(slab, crystal.calculator, what)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    return float((energy - n_cells * bulk) / (2 * area) * units.m**2 / units.J)


def _three(indices):
    given = tuple(indices)
    whole = all(float(index).is_integer() for index in given)
    is_plane = len(given) == 3 or len(given) == 4 and given[0] + given[1] + given[2] == 0
    if not (whole and is_plane and any(given)):
        raise ValueError(
            f"indices={indices!r}: must be three whole numbers, not all 0, or four of which the first three sum to 0"
        )
    return tuple(int(index) for index in (given if len(given) == 3 else (given[0], given[1], given[3])))


def _in_primitive(indices, conventional):
    """Miller indices with respect to the primitive cell."""
    # A plane's indices transform as the lattice vectors do: h = C h' where the conventional vectors are C times these.
    fractions = np.linalg.solve(conventional, np.asarray(indices) * round(np.linalg.det(conventional)))
    whole = np.round(fractions).astype(int)
    return whole // gcd(*map(int, whole))


def _slab(primitive, indices, min_thickness, vacuum):
    """Slab with vacuum, and the number of primitive cells that it is made of."""
    spacing = primitive.cell.volume / _area(primitive, indices)
    n_cells = ceil(min_thickness / spacing - 1e-6)
    column = surface(primitive, tuple(int(index) for index in indices), n_cells + 1, periodic=True)
    heights = column.positions[:, 2]
    bottom = _widest_gap(heights, spacing)
    # Atoms of n_cells periods above the cut: the slab is whole cells whatever the place of the cut.
    rank = np.floor((heights - bottom) / spacing)
    slab = column[(rank >= 0) & (rank < n_cells)]
    slab.set_cell([column.cell[0], column.cell[1], [0.0, 0.0, np.ptp(slab.positions[:, 2]) + vacuum]])
    slab.positions[:, 2] += vacuum / 2 - slab.positions[:, 2].min()
    return slab, n_cells


def _area(primitive, indices):
    """Area of the smallest cell of a lattice plane, Å²: the volume times the length of its reciprocal vector."""
    return primitive.cell.volume * np.linalg.norm(indices @ primitive.cell.reciprocal().array)


def _widest_gap(heights, spacing):
    """Height in the middle of the widest gap between atomic planes, in the first period above the lowest atom."""
    planes = np.sort((heights - heights.min() + 1e-6) % spacing)
    gaps = np.diff(np.append(planes, planes[0] + spacing))
    widest = np.argmax(gaps > gaps.max() - 1e-6)
    return heights.min() + planes[widest] + gaps[widest] / 2
