"""The equation of state: Birch-Murnaghan of known parameters, and crystals of known bulk moduli."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState as AseEquationOfState
from ase.eos import birchmurnaghan
from matplotlib import pyplot

from mlfeat.properties import EquationOfStateDisplay, elastic_constants, equation_of_state, fit_equation_of_state

VOLUMES = np.linspace(13.5, 16.5, 9)


def test_birch_murnaghan_recovers_its_parameters():
    found = fit_equation_of_state(VOLUMES, birchmurnaghan(VOLUMES, -3.25, 261.7 * units.GPa, 4.31, 15.1))
    assert found.volume == pytest.approx(15.1, rel=1e-9)
    assert found.energy == pytest.approx(-3.25, rel=1e-10)
    assert found.bulk_modulus == pytest.approx(261.7, rel=1e-8)
    assert found.bulk_modulus_derivative == pytest.approx(4.31, rel=1e-7)
    assert found.rmse < 1e-12


def test_fitted_energies_are_those_of_the_equation():
    energies = birchmurnaghan(VOLUMES, -3.25, 261.7 * units.GPa, 4.31, 15.1)
    others = np.array([13.9, 15.1, 16.2])
    found = fit_equation_of_state(VOLUMES, energies)
    np.testing.assert_allclose(
        found.fitted(others), birchmurnaghan(others, -3.25, 261.7 * units.GPa, 4.31, 15.1), 1e-10
    )


def test_noisy_energies_are_fitted_as_ase_fits_them():
    noise = np.random.default_rng(0).normal(scale=1e-4, size=len(VOLUMES))
    energies = birchmurnaghan(VOLUMES, -3.25, 261.7 * units.GPa, 4.31, 15.1) + noise
    volume, energy, modulus = AseEquationOfState(VOLUMES, energies, eos="birchmurnaghan").fit()
    found = fit_equation_of_state(VOLUMES, energies)
    assert found.volume == pytest.approx(volume, rel=1e-5)
    assert found.energy == pytest.approx(energy, rel=1e-7)
    assert found.bulk_modulus == pytest.approx(modulus / units.GPa, rel=1e-3)
    assert 2e-5 < found.rmse < 2e-4


@pytest.mark.parametrize("element", ["Cu", "Al"])
def test_bulk_modulus_is_that_of_the_elastic_constants(element):
    elastic = elastic_constants(bulk(element), EMT())
    state = equation_of_state(bulk(element, cubic=True), EMT(), volumes=np.linspace(0.98, 1.02, 9))
    assert state.bulk_modulus == pytest.approx((elastic.C11 + 2 * elastic.C12) / 3, rel=2e-3)
    assert state.volume == pytest.approx(elastic.atoms.get_volume(), rel=1e-4)


def test_derivative_is_that_of_the_bulk_moduli_under_pressure():
    """B' = dB/dP, from energies alone."""
    atoms = bulk("Cu")

    def energy(volume):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * np.cbrt(volume / atoms.get_volume()), scale_atoms=True)
        return EMT().get_potential_energy(scaled)

    state = equation_of_state(atoms, EMT(), volumes=np.linspace(0.97, 1.03, 13))
    v, h = state.volume, 0.01 * state.volume
    second = (energy(v + h) - 2 * energy(v) + energy(v - h)) / h**2
    third = (energy(v + 2 * h) - 2 * energy(v + h) + 2 * energy(v - h) - energy(v - 2 * h)) / (2 * h**3)
    assert state.bulk_modulus_derivative == pytest.approx(-1 - v * third / second, rel=0.02)


def test_energies_of_a_hexagonal_crystal_are_those_of_the_best_shape():
    """Against energies on a grid of c/a; the bulk modulus is then Reuss'."""
    atoms = bulk("Cu", "hcp", a=2.55, c=4.1)
    state = equation_of_state(atoms, EMT(), volumes=np.linspace(0.98, 1.02, 5))
    volume = state.volumes[0] * len(atoms)

    def energy(ratio):
        a = (volume / (np.sqrt(0.75) * ratio)) ** (1 / 3)
        return EMT().get_potential_energy(bulk("Cu", "hcp", a=a, c=ratio * a)) / 2

    ratios = np.linspace(1.55, 1.75, 41)
    energies = np.array([energy(ratio) for ratio in ratios])
    best = np.polynomial.Polynomial.fit(ratios, energies, 6)
    lowest = best(min(best.deriv().roots(), key=lambda root: abs(root - ratios[energies.argmin()])).real)
    assert state.energies[0] == pytest.approx(lowest, abs=1e-6)
    assert state.bulk_modulus == pytest.approx(elastic_constants(atoms, EMT()).bulk_modulus.reuss, rel=5e-3)
    scaled = equation_of_state(atoms, EMT(), volumes=np.linspace(0.98, 1.02, 5), relax_shape=False)
    assert (scaled.energies >= state.energies - 1e-9).all()


def test_volumes_are_relative_to_the_crystal_as_given_without_relaxation():
    atoms = bulk("Cu", a=3.7)
    state = equation_of_state(atoms, EMT(), volumes=[0.85, 0.9, 0.95, 1.0], relax=False)
    np.testing.assert_allclose(state.volumes, np.array([0.85, 0.9, 0.95, 1.0]) * atoms.get_volume())


def test_no_minimum_between_the_volumes_is_an_error():
    with pytest.raises(ValueError, match="no minimum between the volumes"):
        equation_of_state(bulk("Cu", a=4.2), EMT(), relax=False)


@pytest.mark.parametrize("volumes", [[0.9, 1.0, 1.1], [0.9, 1.0, 1.1, -1.0], [0.9, 1.0, 1.1, np.nan]])
def test_volumes_are_checked(volumes):
    with pytest.raises(ValueError, match="four or more"):
        equation_of_state(bulk("Cu"), EMT(), volumes=volumes)


@pytest.mark.parametrize(
    ("volumes", "energies", "message"),
    [
        ([-1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 1.0], "volumes must be positive"),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, np.nan, 1.0], "volumes must be positive, and energies numbers"),
        ([1.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 1.0], "at four different volumes"),
    ],
)
def test_known_energies_are_checked(volumes, energies, message):
    with pytest.raises(ValueError, match=message):
        fit_equation_of_state(volumes, energies)


def test_display_draws_the_state_beside_its_reference():
    reference = fit_equation_of_state(VOLUMES, birchmurnaghan(VOLUMES, -3.25, 261.7 * units.GPa, 4.31, 15.1))
    volumes = np.linspace(11.0, 12.5, 6)
    given = volumes, birchmurnaghan(volumes, -7.0, 140 * units.GPa, 5.0, 11.8)
    display = EquationOfStateDisplay.from_result(reference, reference=given, label="one", reference_label="other")
    try:
        reference_curve, reference_points, curve, points = display.ax_.lines
        np.testing.assert_allclose(points.get_xdata(), VOLUMES)
        np.testing.assert_allclose(points.get_ydata(), 1000 * (reference.energies + 3.25), atol=1e-9)
        assert np.interp(15.1, *curve.get_data()) == pytest.approx(0, abs=0.02)
        np.testing.assert_allclose(reference_points.get_ydata(), 1000 * (given[1] + 7.0), atol=1e-6)
        assert np.interp(11.8, *reference_curve.get_data()) == pytest.approx(0, abs=0.02)
        legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert legend == ["other: 11.80 Å³/atom, 140 GPa", "one: 15.10 Å³/atom, 262 GPa"]
        assert display.figure_ is display.ax_.figure
    finally:
        pyplot.close(display.figure_)


@pytest.mark.parametrize("reference", [3, "DFT", (VOLUMES, VOLUMES, VOLUMES)])
def test_display_takes_references_of_one_kind(reference):
    state = fit_equation_of_state(VOLUMES, birchmurnaghan(VOLUMES, -3.25, 261.7 * units.GPa, 4.31, 15.1))
    with pytest.raises(TypeError, match="must be what equation_of_state returns, or volumes and energies"):
        EquationOfStateDisplay(state, reference=reference)


def test_displays_of_calculators_share_axes():
    figure, ax = pyplot.subplots()
    try:
        for label, relax in (("relaxed", True), ("as it is", False)):
            display = EquationOfStateDisplay.from_calculator(
                EMT(), bulk("Cu"), label=label, ax=ax, volumes=[0.94, 0.97, 1.0, 1.03], relax=relax
            )
            assert display.ax_ is ax
            assert display.figure_ is figure
        estimated = EquationOfStateDisplay.from_estimator(EMT(), bulk("Cu"), ax=ax, volumes=[0.94, 0.97, 1.0, 1.03])
        assert estimated.result.volume == pytest.approx(display.result.volume, rel=1e-4)
        assert len(ax.lines) == 6
        estimated = EquationOfStateDisplay.from_estimator(EMT(), bulk("Cu"), ax=ax, reference=EMT())
        assert estimated.reference.bulk_modulus == estimated.result.bulk_modulus
    finally:
        pyplot.close(figure)
