"""What properties are called in words, for short, and in which units, and how their numbers are written."""

import re
from typing import NamedTuple

__all__ = ["deviation", "description", "text_of"]


class Description(NamedTuple):
    """Name and symbol of a property, its unit, the format of its numbers, and whether these have deviations in %."""

    name: str
    symbol: str
    unit: str
    form: str = "#.4g"
    relative: bool = True


_PROPERTIES = {
    "lattice_constant": Description("lattice constant", "a", "Å"),
    "lattice_a": Description("lattice constant a", "a", "Å"),
    "lattice_b": Description("lattice constant b", "b", "Å"),
    "lattice_c": Description("lattice constant c", "c", "Å"),
    "volume": Description("volume", "volume", "Å³/atom"),
    "cohesive_energy": Description("cohesive energy", "E coh", "eV/atom"),
    "bulk_modulus": Description("bulk modulus", "B", "GPa"),
    "shear_modulus": Description("shear modulus", "G", "GPa"),
    "eos_bulk_modulus": Description("bulk modulus, EOS", "B (EOS)", "GPa"),
    "bulk_modulus_derivative": Description("bulk modulus derivative", "B'", ""),
    "vacancy_formation_energy": Description("vacancy formation", "E vacancy", "eV"),
    "vacancy_migration_energy": Description("vacancy migration", "E migration", "eV"),
    "lowest_frequency": Description("lowest frequency", "ν min", "THz", "z.2f", False),
    "highest_frequency": Description("highest frequency", "ν max", "THz"),
    "nve_drift": Description("drift of the energy, NVE", "drift (NVE)", "eV/atom/ps", ".1e", False),
    "npt_whole": Description("stays a crystal, NPT", "whole (NPT)", "share of run", "#.3g", False),
}


def description(key):
    """How a property is shown; one that is not known is called by its key.

    Parameters
    ----------
    key : str
        As of `crystal_properties`.

    Returns
    -------
    Description
        Its name, symbol, unit, format and kind of deviation.
    """
    if re.fullmatch(r"C\d\d", key):
        return Description(key, key, "GPa")
    if key.startswith("surface_energy_"):
        plane = key.removeprefix("surface_energy_")
        return Description(f"surface ({plane})", f"γ({plane})", "J/m²")
    return _PROPERTIES.get(key) or Description(key.replace("_", " "), key, "")


def text_of(key, value):
    """A number of a property as text, without its unit.

    Parameters
    ----------
    key : str
        As of `crystal_properties`.
    value : float
        The number.

    Returns
    -------
    str
        Its digits.
    """
    return f"{value:{description(key).form}}".removesuffix(".")


def deviation(key, value, reference):
    """Deviation from a reference, in percent.

    Parameters
    ----------
    key : str
        As of `crystal_properties`.
    value : float
        The number.
    reference : float or None
        What it should be.

    Returns
    -------
    float or None
        None where there is no reference, or where a ratio says nothing.
    """
    if not reference or not description(key).relative:
        return None
    return 100 * (value / reference - 1)
