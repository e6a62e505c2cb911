"""How errors of energies, forces and stresses are shown."""

from typing import NamedTuple

import numpy as np
from ase import units


class Quantity(NamedTuple):
    """A kind of error: its key in dictionaries, factor to the unit of the axis, and what the axis says."""

    key: str
    factor: float
    label: str


ERRORS = (
    Quantity("energy_rmse", 1000, "energy RMSE (meV/atom)"),
    Quantity("force_rmse", 1, "force RMSE (eV/Å)"),
    Quantity("stress_rmse", 1 / units.GPa, "stress RMSE (GPa)"),
)


def is_number(value):
    """Whether there is something to draw: a finite number, or an array with one."""
    return value is not None and bool(np.isfinite(value).any())
