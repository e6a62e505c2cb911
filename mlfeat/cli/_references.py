"""Reference values of properties: the user's, or those that are published for an element."""

import json
import math
from pathlib import Path

from mlfeat.cli._errors import UsageError, bad_input
from mlfeat.cli._guess import has_published_groups, species_of

# Elastic constants by DFT, GPa: Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020).
DFT = {
    "Ni": (276, 159, 132),
    "Cu": (173, 133, 88),
    "Li": (15, 13, 11),
    "Mo": (472, 158, 106),
    "Si": (156, 65, 76),
    "Ge": (116, 48, 58),
}
DFT_SOURCE = "DFT of Zuo et al., J. Phys. Chem. A 124, 731 (2020)"


def read_reference(path):
    """Reference values of a JSON file: numbers by the names of properties."""
    with bad_input(path):
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: no text") from error
    if not isinstance(values, dict) or not all(_is_number(value) for value in values.values()):
        raise UsageError(f'{path}: should be one table of numbers, as in {{"C11": 472, "lattice_constant": 3.168}}')
    return values


def published_reference(structures):
    """DFT values for the data of Zuo et al., which their groups tell; None for other data."""
    species = species_of(structures)
    if len(species) > 1 or species[0] not in DFT or not has_published_groups(structures):
        return None
    return dict(zip(("C11", "C12", "C44"), map(float, DFT[species[0]]), strict=True))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
