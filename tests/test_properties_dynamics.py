"""Stability in molecular dynamics: forces that are the gradient of the energy, and solids that stay whole."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mlfeat.properties import MolecularDynamicsDisplay, crystal_properties, npt_stability, nve_drift, relax_crystal
from mlfeat.properties import _summary as summary


class Friction(EMT):
    """Forces a little too large where there are any: not the gradient of the energy."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] + 0.05 * np.roll(self.results["forces"], 1, axis=1)


class Failing(EMT):
    """Forces are NaN after some calculations, or there is an error."""

    def __init__(self, n_good, error=None):
        super().__init__()
        self.n_left, self.error = n_good, error

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.n_left -= 1
        if self.n_left < 0 and self.error:
            raise self.error
        if self.n_left < 0:
            self.results["forces"] = np.full_like(self.results["forces"], np.nan)


@pytest.fixture(scope="module")
def copper():
    return relax_crystal(bulk("Cu", cubic=True), EMT())


def test_energy_of_emt_does_not_drift(copper):
    run = nve_drift(copper, EMT(), temperature=300, n_steps=300, timestep=2.0, min_length=7.0)
    assert abs(run.drift) < 2e-5
    assert run.fluctuation < 2e-5
    assert run.times[-1] == pytest.approx(0.6)
    assert run.temperatures[0] == pytest.approx(600)
    assert 200 < run.temperatures[100:].mean() < 400
    assert run.energies[0] == pytest.approx(run.energies[-1], abs=1e-4)
    assert run.drift == pytest.approx(np.polyfit(run.times[60:], run.energies[60:], 1)[0], rel=1e-6)


def test_forces_that_are_not_the_gradient_drift(copper):
    good = nve_drift(copper, EMT(), n_steps=200, timestep=2.0, min_length=0)
    bad = nve_drift(copper, Friction(), n_steps=200, timestep=2.0, min_length=0)
    assert abs(bad.drift) > 100 * abs(good.drift)
    assert abs(bad.drift) > 1e-3


def test_fluctuation_grows_with_the_square_of_the_time_step(copper):
    short = nve_drift(copper, EMT(), n_steps=400, timestep=1.0, min_length=0)
    long = nve_drift(copper, EMT(), n_steps=100, timestep=4.0, min_length=0)
    assert long.fluctuation / short.fluctuation == pytest.approx(16, rel=0.5)


def test_the_same_seed_gives_the_same_run(copper):
    runs = [nve_drift(copper, EMT(), n_steps=5, min_length=0, seed=seed).energies for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_a_molecule_is_not_repeated():
    run = nve_drift(molecule("N2"), EMT(), n_steps=3)
    assert len(run.energies) == 4


def test_nan_says_at_which_step(copper):
    with pytest.raises(RuntimeError, match="at step 7 of its dynamics"):
        nve_drift(copper, Failing(7), n_steps=20, min_length=0)


@pytest.mark.parametrize("run", [nve_drift, npt_stability])
def test_a_calculator_that_fails_says_at_which_step(run, copper):
    with pytest.raises(ZeroDivisionError) as raised:
        run(copper, Failing(5, ZeroDivisionError()), n_steps=20, min_length=0)
    assert "at step 5 of the dynamics" in raised.value.__notes__


def test_cold_crystal_keeps_its_volume(copper):
    run = npt_stability(copper, EMT(), temperature=20, n_steps=300, timestep=5.0, min_length=0)
    assert run.is_whole
    assert len(run.volumes) == len(run.times) == 301
    assert run.volume == pytest.approx(copper.get_volume() / 4, rel=2e-3)
    assert run.temperatures[100:].mean() == pytest.approx(20, rel=0.3)
    assert abs(run.pressures[100:].mean()) < 0.3
    at_rest = run.volumes[0] / (units.kB * 40) * units.GPa  # that of the atoms that move at twice the temperature
    assert run.pressures[0] * at_rest == pytest.approx(1, abs=0.01)
    assert 0 < run.largest_displacement < 0.3
    assert run.nearest_distance == pytest.approx(copper.cell[0, 0] / 2**0.5)


def test_pressure_compresses(copper):
    run = npt_stability(copper, EMT(), temperature=20, pressure=10.0, n_steps=300, timestep=5.0, min_length=0)
    modulus = 134.0  # GPa, of EMT; the derivative by the pressure is 5
    known = (1 + 5 * 10 / modulus) ** (-1 / 5)
    assert run.volume * 4 / copper.get_volume() == pytest.approx(known, rel=0.01)
    assert run.pressures[100:].mean() == pytest.approx(10, rel=0.1)


def test_a_crystal_that_melts_is_not_whole(copper):
    run = npt_stability(copper, EMT(), temperature=6000, n_steps=500, timestep=3.0, min_length=0)
    assert not run.is_whole
    assert "half way to a neighbor" in run.reason or "volume" in run.reason
    assert len(run.volumes) < 501


def test_nan_ends_a_run_at_constant_pressure(copper):
    run = npt_stability(copper, Failing(5), n_steps=20, min_length=0)
    assert run.reason == "the calculator gives NaN or infinite values at step 5"


def test_the_structure_stays_as_it_was(copper):
    before = copper.copy()
    nve_drift(copper, EMT(), n_steps=2, min_length=0)
    npt_stability(copper, EMT(), n_steps=2, min_length=0)
    assert copper == before


@pytest.mark.parametrize("run", [nve_drift, npt_stability])
@pytest.mark.parametrize("name", ["temperature", "n_steps", "timestep"])
def test_numbers_must_be_positive(run, name, copper):
    with pytest.raises(ValueError, match=f"{name}=0"):
        run(copper, EMT(), **{name: 0})


@pytest.mark.parametrize("run", [nve_drift, npt_stability])
def test_steps_are_counted(run, copper):
    with pytest.raises(ValueError, match=r"n_steps=2\.5: must be a positive integer"):
        run(copper, EMT(), n_steps=2.5)


@pytest.fixture
def short(monkeypatch):
    """Runs of 100 steps of the cell as it is."""
    settings = {"temperature": 300.0, "n_steps": 100, "timestep": 2.0, "min_length": 0}
    monkeypatch.setattr(summary, "_DYNAMICS", settings)
    return settings


def test_flat_dictionary_has_drift_and_share_of_the_run(short, copper):
    found = crystal_properties(bulk("Cu", a=3.5, cubic=True), EMT(), "dynamics")
    drift = nve_drift(copper, EMT(), **short).drift
    assert found == {"nve_drift": pytest.approx(drift, rel=1e-3), "npt_whole": 1.0}
    other = crystal_properties(copper, Friction(), "dynamics")
    assert abs(other["nve_drift"]) > 20 * abs(drift)
    assert other["npt_whole"] == 1


class FailingLate(Failing):
    """Fails after some calculations of the cubic cell: one of a run's start, and of each step."""

    def calculate(self, atoms, *args, **kwargs):
        self.n_left += len(atoms) == 1
        super().calculate(atoms, *args, **kwargs)


@pytest.mark.parametrize("n_good", [1, 5, 100, 101, 110])
def test_flat_dictionary_says_how_long_a_crystal_stayed_whole(n_good, short, copper):
    found = crystal_properties(copper, FailingLate(n_good), "dynamics")
    assert found["npt_whole"] == pytest.approx(min(1, n_good / 101))
    assert np.isnan(found["nve_drift"])  # that run comes later


def test_display_draws_runs_over_time(copper):
    runs = [npt_stability(copper, EMT(), n_steps=n_steps, min_length=0) for n_steps in (4, 3)]
    display = MolecularDynamicsDisplay.from_result(runs[0], reference=runs[1], label="EMT", reference_label="shorter")
    try:
        for ax, name in zip(display.axes_, ("volumes", "temperatures", "pressures"), strict=True):
            gray, line = ax.lines
            np.testing.assert_array_equal(line.get_data(), (runs[0].times, getattr(runs[0], name)))
            np.testing.assert_array_equal(gray.get_data(), (runs[1].times, getattr(runs[1], name)))
        assert [text.get_text() for text in display.figure_.legends[0].get_texts()] == ["shorter", "EMT"]
        assert display.figure_ is display.axes_[0].figure
    finally:
        plt.close(display.figure_)


@pytest.mark.parametrize("make", [MolecularDynamicsDisplay.from_calculator, MolecularDynamicsDisplay.from_estimator])
def test_display_of_a_calculator_runs_it_and_its_reference(make, copper):
    figure = plt.figure()
    settings = {"n_steps": 20, "timestep": 2.0, "min_length": 0}
    display = make(EMT(), copper, ensemble="nve", reference=Friction(), figure=figure, **settings)
    try:
        assert display.figure_ is figure
        energies, temperatures = display.axes_
        run, other = display.result, display.reference
        assert other.drift == nve_drift(copper, Friction(), **settings).drift
        np.testing.assert_allclose(energies.lines[2].get_ydata(), 1000 * (run.energies - run.energies[0]))
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == [f"reference: {other.drift:.1e} eV/atom/ps", f"model: {run.drift:.1e} eV/atom/ps"]
        np.testing.assert_array_equal(temperatures.lines[1].get_ydata(), run.temperatures)
        for line, own in ((energies.lines[1], other), (energies.lines[3], run)):
            known = np.polyval(np.polyfit(own.times[4:], 1000 * (own.energies[4:] - own.energies[0]), 1), own.times[4:])
            np.testing.assert_allclose(line.get_ydata(), known, atol=1e-9)
    finally:
        plt.close(figure)


def test_display_takes_runs_of_one_kind(copper):
    run = nve_drift(copper, EMT(), n_steps=3, min_length=0)
    with pytest.raises(TypeError, match="must be what nve_drift or npt_stability returns"):
        MolecularDynamicsDisplay(copper)
    with pytest.raises(TypeError, match="of the same kind as the result, EnergyDrift"):
        MolecularDynamicsDisplay(run, reference=npt_stability(copper, EMT(), n_steps=3, min_length=0))
    with pytest.raises(ValueError, match="must be 'npt' or 'nve'"):
        MolecularDynamicsDisplay.from_calculator(EMT(), copper, ensemble="nvt")


def test_constant_pressure_needs_periods():
    with pytest.raises(ValueError, match="three periods"):
        npt_stability(molecule("N2"), EMT())
