"""Elastic constants of crystals whose answer is known: by energies alone, by symmetry, by other relaxations."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from mlfeat.properties import ElasticConstants, elastic_constants, relax_crystal

# Tersoff, Phys. Rev. B 38, 9902 (1988), whose lattice and elastic constants are in its table.
SILICON = TersoffParameters(
    m=3.0, gamma=1.0, lambda3=1.7322, c=1.0039e5, d=16.217, h=-0.59825, n=0.78734, beta=1.0999e-6,
    lambda2=1.7322, B=471.18, R=2.85, D=0.15, lambda1=2.4799, A=1830.8,
)  # fmt: skip
SIX_STRAINS = np.zeros((6, 3, 3))
for k, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
    SIX_STRAINS[k, i, j] += 0.5
    SIX_STRAINS[k, j, i] += 0.5  # engineering shear strains of 1


def tersoff():
    """Silicon in the diamond structure: a cell whose atoms relax under shear."""
    return Tersoff({("Si", "Si", "Si"): SILICON})


def strained(atoms, strain):
    """Copy of a crystal under a homogeneous strain."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def by_energies(atoms, calculator, step=1e-3, fmax=None):
    """Elastic tensor (GPa) by second differences of the energy; with fmax, of cells whose atoms BFGS relaxed."""

    def energy(strain):
        crystal = strained(atoms, strain)
        crystal.calc = calculator
        if fmax is not None:
            assert BFGS(crystal, logfile=None).run(fmax=fmax, steps=500)
        return crystal.get_potential_energy()

    tensor = np.empty((6, 6))
    for a, one in enumerate(step * SIX_STRAINS):
        for b, other in enumerate(step * SIX_STRAINS[: a + 1]):
            second = energy(one + other) - energy(one - other) - energy(other - one) + energy(-one - other)
            tensor[a, b] = tensor[b, a] = second / (4 * step**2)
    return tensor / atoms.get_volume() / units.GPa


@pytest.mark.parametrize("element", ["Cu", "Ni", "Al", "Pt"])
def test_constants_of_emt_metals_are_second_derivatives_of_the_energy(element):
    found = elastic_constants(bulk(element), EMT())
    energies = by_energies(found.atoms, EMT())
    np.testing.assert_allclose(found.tensor, energies, rtol=5e-4, atol=0.02)
    assert found.C11 == pytest.approx(energies[0, 0], rel=5e-4)
    assert found.C12 == pytest.approx(energies[0, 1], rel=5e-4)
    assert found.C44 == pytest.approx(energies[3, 3], rel=5e-4)


def test_pair_potential_satisfies_cauchy_at_zero_pressure():
    """Every atom at a center of inversion, central forces: C12 = C44."""
    found = elastic_constants(bulk("Ar", "fcc", a=5.3), LennardJones(sigma=3.4, epsilon=0.0104, rc=9.0, smooth=True))
    assert found.C12 == pytest.approx(found.C44, rel=1e-4)
    assert found.C11 > found.C12 > 0


def test_constants_under_pressure_are_those_of_stress_and_small_strains():
    """Under pressure P, Cauchy's relation of a pair potential is C12 - C44 = 2 P, and C11 + 2 C12 = -3 V dP/dV."""
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=9.0, smooth=True)
    atoms = bulk("Ar", "fcc", a=5.0)
    found = elastic_constants(atoms, calculator, relax=False)

    def pressure(scale):
        crystal = strained(atoms, (scale - 1) * np.eye(3))
        crystal.calc = calculator
        return -crystal.get_stress()[:3].mean() / units.GPa

    assert found.C12 - found.C44 == pytest.approx(2 * pressure(1.0), rel=1e-4)
    assert found.C11 + 2 * found.C12 == pytest.approx((pressure(0.9995) - pressure(1.0005)) / 1e-3, rel=1e-4)
    np.testing.assert_array_equal(found.atoms.cell.array, atoms.cell.array)


def test_internal_relaxation_of_diamond_is_that_of_bfgs():
    found = elastic_constants(bulk("Si", cubic=True), tersoff())
    relaxed = relax_crystal(bulk("Si"), tersoff())
    np.testing.assert_allclose(found.tensor, by_energies(relaxed, tersoff(), fmax=1e-5), rtol=2e-3, atol=0.1)
    np.testing.assert_allclose(found.clamped, by_energies(relaxed, tersoff()), rtol=2e-3, atol=0.1)
    assert found.clamped[3, 3] > 1.2 * found.C44
    clamped = elastic_constants(bulk("Si"), tersoff(), internal=False)
    np.testing.assert_allclose(clamped.tensor, found.clamped, rtol=1e-6, atol=1e-6)


def test_hexagonal_crystal_needs_five_constants_and_agrees_with_all_six_strains():
    atoms = bulk("Cu", "hcp", a=2.54, c=4.14)
    found = elastic_constants(atoms, EMT())
    assert list(found.constants) == ["C11", "C12", "C13", "C33", "C44"]
    assert found.tensor[5, 5] == pytest.approx((found.C11 - found.C12) / 2, rel=1e-12)
    without = elastic_constants(found.atoms, EMT(), symprec=None)
    np.testing.assert_allclose(found.tensor, without.tensor, rtol=5e-4, atol=0.02)
    assert not np.allclose(found.tensor, found.clamped, rtol=0.01)
    assert len(without.constants) == 21


def test_crystal_with_four_atoms_agrees_with_all_six_strains():
    """Silicon as lonsdaleite: a coordinate that relaxes with the cell, and several that strains move."""
    places = [[1 / 3, 2 / 3, 0.06], [2 / 3, 1 / 3, 0.56], [1 / 3, 2 / 3, 0.44], [2 / 3, 1 / 3, 0.94]]
    atoms = Atoms("Si4", scaled_positions=places, cell=[3.84, 3.84, 6.27, 90, 90, 120], pbc=True)
    found = elastic_constants(atoms, tersoff())
    without = elastic_constants(found.atoms, tersoff(), relax=False, symprec=None)
    np.testing.assert_allclose(found.tensor, without.tensor, rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(found.clamped, without.clamped, rtol=1e-3, atol=0.02)
    assert not np.allclose(found.tensor, found.clamped, rtol=0.1)


SHEARED = 0.01 * (np.ones((3, 3)) - np.eye(3))


@pytest.mark.parametrize(
    ("atoms", "calculator", "names"),
    [
        pytest.param(bulk("Cu", "hcp", a=2.6, c=4.1), EMT(), "C11 C12 C13 C33 C44", id="hexagonal"),
        pytest.param(strained(bulk("Ni"), SHEARED), EMT(), "C11 C12 C13 C14 C33 C44", id="trigonal"),
        pytest.param(strained(bulk("Ni"), np.diag([0, 0, 0.02])), EMT(), "C11 C12 C13 C33 C44 C66", id="tetragonal"),
        pytest.param(
            strained(bulk("Si"), np.diag([0, 0.01, 0.02])),
            tersoff(),
            "C11 C12 C13 C22 C23 C33 C44 C55 C66",
            id="orthorhombic",
        ),
    ],
)
def test_crystals_under_stress_agree_with_all_six_strains(atoms, calculator, names):
    found = elastic_constants(atoms, calculator, relax=False)
    assert list(found.constants) == names.split()
    without = elastic_constants(atoms, calculator, relax=False, symprec=None)
    np.testing.assert_allclose(found.tensor, without.tensor, rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(found.clamped, without.clamped, rtol=1e-3, atol=0.02)


def test_hexagonal_crystal_agrees_with_energies_of_relaxed_cells():
    found = elastic_constants(bulk("Cu", "hcp", a=2.54, c=4.14), EMT())
    np.testing.assert_allclose(found.tensor, by_energies(found.atoms, EMT(), fmax=1e-5), rtol=3e-3, atol=0.2)


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(bulk("Ni", cubic=True), id="conventional"),
        pytest.param(bulk("Ni") * (2, 1, 3), id="supercell"),
        pytest.param(make_supercell(bulk("Ni"), [[1, 0, 2], [0, 1, 0], [1, 1, 1]]), id="skewed"),
    ],
)
def test_tensor_does_not_depend_on_the_cell(cell):
    expected = elastic_constants(bulk("Ni"), EMT())
    found = elastic_constants(cell, EMT())
    np.testing.assert_allclose(found.tensor, expected.tensor, rtol=1e-5, atol=1e-5)
    assert len(found.atoms) == len(cell)
    assert found.atoms.get_volume() / len(cell) == pytest.approx(expected.atoms.get_volume(), rel=1e-5)


@pytest.mark.parametrize(
    "atoms", [pytest.param(bulk("Ni"), id="cubic"), pytest.param(bulk("Cu", "hcp", a=2.54, c=4.14), id="hexagonal")]
)
def test_tensor_turns_with_the_atoms_and_the_constants_stay(atoms):
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T, scale_atoms=True)
    expected, found = (elastic_constants(crystal, EMT(), strain=2e-4) for crystal in (atoms, turned))
    np.testing.assert_allclose(full(found.tensor), rotated(full(expected.tensor), turn), atol=2e-3)
    assert found.constants == pytest.approx(expected.constants, abs=2e-3)
    assert found.constants.keys() == expected.constants.keys()
    np.testing.assert_allclose(found.bulk_modulus, expected.bulk_modulus, rtol=1e-5)
    np.testing.assert_allclose(found.shear_modulus, expected.shear_modulus, rtol=1e-5)


def full(tensor):
    """Tensor (3, 3, 3, 3) of Voigt's (6, 6)."""
    voigt = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    return tensor[voigt[:, :, None, None], voigt[None, None]]


def rotated(tensor, turn):
    return np.einsum("ai,bj,ck,dl,ijkl->abcd", turn, turn, turn, turn, tensor)


def test_averages_are_those_of_the_formulas_for_cubic_crystals():
    found = elastic_constants(bulk("Cu"), EMT())
    c11, c12, c44 = found.C11, found.C12, found.C44
    voigt = (c11 - c12 + 3 * c44) / 5
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert found.bulk_modulus == pytest.approx(3 * ((c11 + 2 * c12) / 3,), rel=1e-10)
    assert found.shear_modulus == pytest.approx((voigt, reuss, (voigt + reuss) / 2), rel=1e-10)
    k, g = found.bulk_modulus.hill, found.shear_modulus.hill
    assert found.young_modulus == pytest.approx(2 * g * (1 + found.poisson_ratio), rel=1e-10)
    assert found.young_modulus == pytest.approx(3 * k * (1 - 2 * found.poisson_ratio), rel=1e-10)
    assert found.anisotropy == pytest.approx(
        1.2 * (np.sqrt(2 * c44 / (c11 - c12)) - np.sqrt((c11 - c12) / 2 / c44)) ** 2
    )


def test_isotropic_tensor_has_its_lame_constants():
    """Zinc's constants would be of no use here: isotropy makes Voigt's and Reuss' averages one."""
    lame, shear = 60.0, 40.0
    tensor = np.diag([2 * shear] * 3 + [shear] * 3)
    tensor[:3, :3] += lame
    found = ElasticConstants(tensor, tensor, np.eye(3), ((0, 0), (0, 1)), Atoms())
    assert found.bulk_modulus == pytest.approx(3 * (lame + 2 * shear / 3,))
    assert found.shear_modulus == pytest.approx(3 * (shear,))
    assert found.poisson_ratio == pytest.approx(lame / 2 / (lame + shear))
    assert found.anisotropy == pytest.approx(0, abs=1e-12)
    assert found.is_stable


def test_crystal_that_shears_by_itself_is_not_stable():
    """A bcc crystal of Lennard-Jones atoms: C11 < C12."""
    found = elastic_constants(bulk("Ar", "bcc", a=4.2), LennardJones(sigma=3.4, epsilon=0.0104, rc=9.0, smooth=True))
    assert found.C11 < found.C12
    assert not found.is_stable
    assert elastic_constants(bulk("Cu"), EMT()).is_stable


def test_displacement_that_lowers_the_energy_is_an_error():
    """Diamond of Lennard-Jones atoms, expanded: across a bond beyond its inflection, both halves want to go apart."""
    atoms = bulk("Ar", "diamond", a=11.1)
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=9.0, smooth=True)
    with pytest.raises(RuntimeError, match="lowers the energy"):
        elastic_constants(atoms, calculator, relax=False)
    elastic_constants(atoms, calculator, relax=False, internal=False)


@pytest.mark.parametrize("strain", [0.0, -1e-3, 1.0, np.nan])
def test_strain_is_checked(strain):
    with pytest.raises(ValueError, match="strain="):
        elastic_constants(bulk("Cu"), EMT(), strain=strain)


def test_silicon_of_tersoff_has_the_published_constants():
    """142.5, 75.4 and 69.0 GPa; C44 is 118.8 GPa if the atoms do not relax."""
    found = elastic_constants(bulk("Si"), tersoff())
    assert found.atoms.cell.cellpar()[0] * np.sqrt(2) == pytest.approx(5.432, abs=5e-4)
    assert found.C11 == pytest.approx(142.5, abs=0.5)
    assert found.C12 == pytest.approx(75.4, abs=0.5)
    assert found.C44 == pytest.approx(69.0, abs=0.5)
    assert found.clamped[3, 3] == pytest.approx(118.8, abs=0.5)


def test_result_does_not_depend_on_the_strain():
    tight, wide = (elastic_constants(bulk("Cu"), EMT(), strain=strain) for strain in (5e-4, 2e-3))
    np.testing.assert_allclose(tight.tensor, wide.tensor, rtol=5e-4, atol=1e-3)
