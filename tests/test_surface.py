"""Surface energies: bonds that break, and slabs made by hand."""

import numpy as np
import pytest
from _pair_crystal import BOND, bond_energy, bonds, pair_crystal
from ase import units
from ase.build import bulk, fcc100, fcc111
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from mlfeat.properties import relax_crystal, surface_energy

J_PER_M2 = units.m**2 / units.J  # of one eV/Å²


# Bonds that a cut breaks in each cell of the surface, and the area of the cell in squares of the lattice constant.
@pytest.mark.parametrize(
    ("lattice", "indices", "n_bonds", "area"),
    [
        ("fcc", (1, 1, 1), 3, 3**0.5 / 4),
        ("fcc", (1, 0, 0), 4, 1 / 2),
        ("fcc", (1, 1, 0), 6, 1 / 2**0.5),
        ("fcc", (0, -1, 1), 6, 1 / 2**0.5),
        ("bcc", (1, 1, 0), 2, 1 / 2**0.5),
        ("bcc", (1, 0, 0), 4, 1),
        ("bcc", (1, 1, 1), 6, 3**0.5),
        ("diamond", (1, 1, 1), 1, 3**0.5 / 4),
        ("diamond", (1, 0, 0), 2, 1 / 2),
    ],
)
def test_energy_is_half_of_the_bonds_that_are_cut(lattice, indices, n_bonds, area):
    crystal = pair_crystal(lattice)
    constant = np.cbrt(crystal.cell.volume * {"fcc": 4, "bcc": 2, "diamond": 4}[lattice])
    known = -n_bonds / 2 * bond_energy() / (area * constant**2) * J_PER_M2
    assert surface_energy(crystal, bonds(), indices, relax=False) == pytest.approx(known, rel=1e-9)


def test_any_cell_of_a_crystal_gives_the_same():
    crystal = pair_crystal("fcc")
    energy = surface_energy(crystal, bonds(), (1, 1, 0), relax=False)
    cubic = bulk("Cu", a=BOND * 2**0.5, cubic=True)
    turned = crystal.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    for other in (cubic, cubic * (1, 2, 1), turned):
        assert surface_energy(other, bonds(), (1, 1, 0), relax=False) == pytest.approx(energy, rel=1e-9)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_cut_is_where_fewest_bonds_break_wherever_the_atoms_are(order):
    crystal = pair_crystal("diamond")[order]
    known = -bond_energy() / 2 / (3**0.5 / 4 * (4 * crystal.cell.volume) ** (2 / 3)) * J_PER_M2
    for shift in (0.0, 1.3):
        crystal.positions += shift
        assert surface_energy(crystal, bonds(), (1, 1, 1), relax=False) == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize(("make", "indices"), [(fcc100, (1, 0, 0)), (fcc111, (1, 1, 1))])
def test_surfaces_of_emt_copper_are_those_of_slabs_made_by_hand(make, indices):
    crystal = relax_crystal(bulk("Cu", cubic=True), EMT())
    slab = make("Cu", (1, 1, 14), a=crystal.cell[0, 0], vacuum=8.0)
    slab.pbc = True
    slab.calc = EMT()
    BFGS(slab, logfile=None).run(fmax=0.002)
    crystal.calc = EMT()
    area = np.linalg.norm(np.cross(*slab.cell[:2]))
    by_hand = (slab.get_potential_energy() - 14 * crystal.get_potential_energy() / 4) / (2 * area) * J_PER_M2
    found = surface_energy(bulk("Cu"), EMT(), indices, fmax=0.002)
    assert found == pytest.approx(by_hand, rel=1e-3)


def test_thickness_and_vacuum_do_not_matter_where_they_are_large():
    thin = surface_energy(bulk("Cu"), EMT(), (2, 1, 0))
    thick = surface_energy(bulk("Cu"), EMT(), (2, 1, 0), min_thickness=35.0, vacuum=25.0)
    assert thick == pytest.approx(thin, rel=1e-3)


def test_relaxation_lowers_the_energy():
    crystal = relax_crystal(bulk("Cu"), EMT())
    assert surface_energy(crystal, EMT(), (1, 1, 0)) < surface_energy(crystal, EMT(), (1, 1, 0), relax=False) - 0.002


def test_slab_of_a_compound_has_its_composition():
    # Of CsCl (100), the two sides differ: each atom loses four of its eight bonds to the other kind.
    crystal = bulk("CuAu", "cesiumchloride", a=BOND * 2 / 3**0.5)
    known = -4 / 2 * bond_energy() / crystal.cell[0, 0] ** 2 * J_PER_M2
    assert surface_energy(crystal, bonds(), (1, 0, 0), relax=False) == pytest.approx(known, rel=1e-9)


def test_four_indices_of_a_hexagonal_crystal():
    crystal = bulk("Mg", "hcp", a=BOND, c=BOND * (8 / 3) ** 0.5)
    basal = surface_energy(crystal, bonds(), (0, 0, 0, 1), relax=False)
    known = -3 / 2 * bond_energy() / (BOND**2 * 3**0.5 / 2) * J_PER_M2
    assert basal == pytest.approx(known, rel=1e-9)
    prism = surface_energy(crystal, bonds(), (1, 0, -1, 0), relax=False)
    assert prism == surface_energy(crystal, bonds(), (1, 0, 0), relax=False)


@pytest.mark.parametrize("indices", [(0, 0, 0), (1, 0), (1.5, 0, 0), (1, 0, 1, 0)])
def test_indices_must_be_those_of_a_plane(indices):
    with pytest.raises(ValueError, match="must be three whole numbers"):
        surface_energy(bulk("Cu"), EMT(), indices)


@pytest.mark.parametrize("name", ["vacuum", "min_thickness"])
def test_lengths_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        surface_energy(bulk("Cu"), EMT(), **{name: 0})
