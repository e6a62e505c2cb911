"""Checks of stability by molecular dynamics: energy drift at constant energy, short runs at constant pressure."""

from dataclasses import dataclass

import ase
import numpy as np
from ase import units
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet
from tqdm import tqdm

from mlfeat.neighbors import check_atoms
from mlfeat.potentials._settings import is_count
from mlfeat.properties._calculator import as_calculator, energy_of, forces_of

__all__ = ["EnergyDrift", "ConstantPressureRun", "npt_stability", "nve_drift"]

_COLLAPSE = 0.5  # relative change of volume, where a run ends


@dataclass(frozen=True, eq=False, repr=False)
class EnergyDrift:
    """Energies of a run at constant energy.

    Attributes
    ----------
    drift : float
        Slope of the straight line through the total energies after the first fifth of the run, eV/atom/ps.
    fluctuation : float
        Standard deviation of the total energies from this line, eV/atom.
    times : array of shape (n_steps + 1,)
        ps.
    energies : array of shape (n_steps + 1,)
        Total energies, eV/atom.
    temperatures : array of shape (n_steps + 1,)
        K.
    """

    drift: float
    fluctuation: float
    times: np.ndarray
    energies: np.ndarray
    temperatures: np.ndarray

    def __repr__(self):
        return (
            f"EnergyDrift({self.drift:.2e} eV/atom/ps, fluctuation {self.fluctuation:.2e} eV/atom, "
            f"{self.times[-1]:g} ps at {self.temperatures[len(self.times) // 5 :].mean():.0f} K)"
        )


@dataclass(frozen=True, eq=False, repr=False)
class ConstantPressureRun:
    """What happened to a solid at constant pressure and temperature.

    Attributes
    ----------
    times : array of shape (n_steps + 1,)
        ps; fewer where the run ended early.
    volumes : array of shape (n_steps + 1,)
        Å³/atom.
    temperatures : array of shape (n_steps + 1,)
        K.
    pressures : array of shape (n_steps + 1,)
        GPa, with that of the moving atoms.
    largest_displacement : float
        Farthest that an atom was from its place in the lattice, which breathes with the cell, Å.
    nearest_distance : float
        Shortest distance between two places of the lattice, Å.
    reason : str
        Why the run ended early; empty if it did not.
    atoms : ase.Atoms
        The structure at the end.
    """

    times: np.ndarray
    volumes: np.ndarray
    temperatures: np.ndarray
    pressures: np.ndarray
    largest_displacement: float
    nearest_distance: float
    reason: str
    atoms: ase.Atoms

    @property
    def is_whole(self):
        """Whether the run came to its end."""
        return not self.reason

    @property
    def volume(self):
        """Mean volume after the first fifth of the run, Å³/atom."""
        return float(self.volumes[len(self.volumes) // 5 :].mean())

    def __repr__(self):
        state = "whole" if self.is_whole else f"not whole: {self.reason}"
        return f"ConstantPressureRun({self.volume:.3f} Å³/atom, {self.times[-1]:g} ps, {state})"


def nve_drift(atoms, calculator=None, *, temperature=300.0, n_steps=1000, timestep=1.0, min_length=9.0, seed=0):
    """Drift of the total energy in molecular dynamics at constant energy.

    Velocity Verlet conserves the energy but for oscillations with the time step, if forces are the gradient of a smooth
    energy. A drift shows forces that are not, jumps at a cutoff, or a time step that is too long.

    Parameters
    ----------
    atoms : ase.Atoms
        A structure at rest, such as a relaxed crystal.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    temperature : float, default=300.0
        K. Atoms start with twice the kinetic energy, half of which becomes potential energy in a harmonic solid.
    n_steps : int, default=1000
        Steps.
    timestep : float, default=1.0
        fs.
    min_length : float, default=9.0
        The structure is repeated along its periods until they are this far apart, Å; 0 leaves it as it is.
    seed : int or numpy.random.Generator, default=0
        Of the velocities.

    Returns
    -------
    EnergyDrift

    Raises
    ------
    ValueError
        If a number is not positive, or the structure is not one.
    RuntimeError
        If the calculator gives NaN: it says at which step.
    """
    moving, calculator = _start(atoms, calculator, temperature, n_steps, timestep, min_length, seed)
    energies, temperatures = [], []

    def record():
        what = f"the structure at step {len(energies)} of its dynamics"
        forces_of(moving, calculator, what)
        energies.append((energy_of(moving, calculator, what) + moving.get_kinetic_energy()) / len(moving))
        temperatures.append(moving.get_temperature())

    record()
    dynamics = VelocityVerlet(moving, timestep * units.fs)
    for number in tqdm(range(1, n_steps + 1), "NVE", unit=" steps", disable=None, leave=False):
        _step(dynamics, number)
        record()
    times = timestep / 1000 * np.arange(n_steps + 1)
    kept = slice(len(times) // 5, None)
    line = np.polynomial.Polynomial.fit(times[kept], np.array(energies)[kept], 1)
    fluctuation = np.std(np.array(energies)[kept] - line(times[kept]))
    slope = line.deriv()(0.0)
    return EnergyDrift(float(slope), float(fluctuation), times, np.array(energies), np.array(temperatures))


def npt_stability(
    atoms,
    calculator=None,
    *,
    temperature=300.0,
    pressure=0.0,
    n_steps=2000,
    timestep=1.0,
    min_length=9.0,
    seed=0,
):
    """Whether a solid stays whole in short molecular dynamics at constant pressure and temperature.

    ASE's `IsotropicMTKNPT`: Nosé-Hoover chains of three and the barostat of Martyna, Tobias and Klein [1]_, which
    sample the isothermal-isobaric ensemble. (Berendsen's barostat does not: its fluctuations are too small.) The cell
    keeps its shape. Relaxation times are 50 fs of the thermostat and 500 fs of the barostat.

    Parameters
    ----------
    atoms : ase.Atoms
        A solid at rest, periodic in three directions, such as a relaxed crystal.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it; it must know the stress.
    temperature : float, default=300.0
        K.
    pressure : float, default=0.0
        GPa.
    n_steps : int, default=2000
        Steps.
    timestep : float, default=1.0
        fs.
    min_length : float, default=9.0
        As `nve_drift` takes it.
    seed : int or numpy.random.Generator, default=0
        Of the velocities.

    Returns
    -------
    ConstantPressureRun
        Its `is_whole` answers the question. A run ends early, with a `reason`, when an atom is farther from its place
        than half way to a neighbor, when the volume has changed by half, or when the calculator gives NaN.

    Raises
    ------
    ValueError
        If a number is not positive, or the structure is not a crystal.

    References
    ----------
    .. [1] G. J. Martyna, D. J. Tobias, M. L. Klein, J. Chem. Phys. 1994, 101, 4177.
    """
    moving, calculator = _start(atoms, calculator, temperature, n_steps, timestep, min_length, seed)
    if not moving.pbc.all():
        raise ValueError(f"pbc={atoms.pbc.tolist()}: constant pressure needs three periods")
    sites, nearest = moving.get_scaled_positions(wrap=False), _nearest_distance(moving)
    start, records, reason = moving.get_volume(), [], ""
    run = IsotropicMTKNPT(
        moving,
        timestep * units.fs,
        temperature_K=temperature,
        pressure_au=pressure * units.GPa,
        tdamp=50 * units.fs,
        pdamp=500 * units.fs,
    )
    for number in tqdm(range(n_steps + 1), "NPT", unit=" steps", disable=None, leave=False):
        if number:
            _step(run, number)
        state = _state(moving, sites)
        records.append(state)
        reason = _complaint(state, start / len(moving), nearest)
        if reason:
            reason += f" at step {number}"
            break
    volumes, temperatures, pressures, displacements = np.array(records).T
    moving.calc = None
    times = timestep / 1000 * np.arange(len(volumes))
    farthest = float(displacements.max())
    return ConstantPressureRun(times, volumes, temperatures, pressures, farthest, nearest, reason, moving)


def _start(atoms, calculator, temperature, n_steps, timestep, min_length, seed):
    """Structure of a run, with velocities and calculator."""
    check_atoms(atoms)
    for name, value in {"temperature": temperature, "timestep": timestep}.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name}={value!r}: must be a positive number")
    if not is_count(n_steps):
        raise ValueError(f"n_steps={n_steps!r}: must be a positive integer")
    calculator = as_calculator(atoms, calculator)
    heights = 1 / np.linalg.norm(atoms.cell.complete().reciprocal(), axis=1)
    moving = atoms.repeat(np.where(atoms.pbc, np.maximum(np.ceil(min_length / heights - 1e-6), 1), 1).astype(int))
    moving.set_constraint()
    if len(moving) == 1:
        raise ValueError("a single atom does not move: raise min_length")
    masses = moving.get_masses()[:, None]
    momenta = np.random.default_rng(seed).normal(size=(len(moving), 3)) * np.sqrt(masses)
    momenta -= masses * momenta.sum(axis=0) / masses.sum()
    moving.set_momenta(momenta)
    # Half of it becomes potential energy. Scaled, so that small structures start at the temperature too.
    moving.set_momenta(momenta * np.sqrt(2 * temperature / moving.get_temperature()))
    moving.calc = calculator
    return moving, calculator


def _step(dynamics, number):
    try:
        dynamics.step()
    except Exception as error:
        error.add_note(f"at step {number} of the dynamics")
        raise


def _nearest_distance(atoms):
    distances = atoms.get_all_distances(mic=True) + np.diag(np.full(len(atoms), np.inf))
    return float(min(distances.min(), atoms.cell.lengths().min()))


def _state(atoms, sites):
    """Volume (Å³/atom), temperature (K), pressure (GPa), and largest displacement from a site of the lattice (Å)."""
    pressure = -np.trace(atoms.get_stress(voigt=False, include_ideal_gas=True)) / 3 / units.GPa
    if not np.isfinite(atoms.get_forces()).all():
        pressure = np.nan
    displacements = atoms.positions - sites @ atoms.cell.array
    displacements -= displacements.mean(axis=0)
    farthest = np.linalg.norm(displacements, axis=1).max()
    return atoms.get_volume() / len(atoms), atoms.get_temperature(), pressure, farthest


def _complaint(state, volume, nearest):
    """What is wrong with a state; empty if nothing is."""
    if not np.isfinite(state).all():
        return "the calculator gives NaN or infinite values"
    if not 1 - _COLLAPSE < state[0] / volume < 1 + _COLLAPSE:
        return f"the volume has changed from {volume:.2f} to {state[0]:.2f} Å³/atom"
    if state[3] > nearest / 2:
        return f"an atom has moved {state[3]:.2f} Å from its place, more than half way to a neighbor,"
    return ""
