"""The text of LAMMPS' SNAP files, as plain data.

A model is two files. ``.snapcoeff`` holds, for each element, its radius, its weight and its
coefficients; ``.snapparam`` holds keywords and values. The readers here accept what LAMMPS'
``pair_style snap`` accepts, and refuse what it would misread in silence: a number that may have
been cut, a keyword given twice, text after the last coefficient.
"""

import warnings
from typing import NamedTuple

import numpy as np

from mlfeat.io._text import format_number, read_lines

FLAG_DEFAULTS = {
    "switchflag": True,
    "bzeroflag": True,  # LAMMPS' default; mlfeat's own, and nearly every published file, has 0
    "quadraticflag": False,
    "chemflag": False,
    "bnormflag": False,
    "wselfallflag": False,
    "switchinnerflag": False,
}
OLD_FLAGS = ("switchflag", "bzeroflag", "quadraticflag")
NUMBER_DEFAULTS = {"rfac0": 0.99363, "rmin0": 0.0}
PER_ELEMENT = ("sinner", "dinner")
REQUIRED = ("rcutfac", "twojmax")
# They bear on speed alone, or, diagonalstyle, have one value left since 2019.
WITHOUT_EFFECT = ("chunksize", "parallelthresh", "diagonalstyle")


class SnapCoefficients(NamedTuple):
    """What a ``.snapcoeff`` file holds."""

    elements: tuple  # symbols, in the order of the file
    radii: np.ndarray  # (n_elements,), in units of which rcutfac makes Å
    weights: np.ndarray  # (n_elements,)
    coefficients: np.ndarray  # (n_elements, n_coefficients), eV; the constant first


def read_coefficients(path):
    """Read a ``.snapcoeff`` file as :class:`SnapCoefficients`."""
    lines = iter(_lines(path))
    n_elements, n_coefficients = _read_counts(path, lines)
    blocks = [_read_block(path, lines, n_coefficients) for _ in range(n_elements)]
    extra = next(lines, None)
    if extra is not None:
        raise extra.error(
            f"text after the last of {n_elements} x {n_coefficients} coefficients; "
            "the counts at the top of the file are wrong, or the line does not belong to it."
        )
    elements, radii, weights, coefficients = zip(*blocks, strict=True)
    for element in elements:
        if elements.count(element) > 1:
            raise ValueError(f"{path}: element {element} occurs twice.")
    return SnapCoefficients(elements, np.array(radii), np.array(weights), np.array(coefficients))


def read_parameters(path):
    """Read a ``.snapparam`` file as a dict that has every keyword, with LAMMPS' defaults.

    Flags are booleans; ``sinner`` and ``dinner`` are tuples, one number an element, or None.
    """
    given = {}
    for line in _lines(path):
        keyword, *values = line.words
        if keyword in given:
            raise line.error(f"keyword {keyword} occurs twice.")
        if not values:
            raise line.error(f"keyword {keyword} has no value.")
        given[keyword] = _read_value(line, keyword, values)
    _check_keywords(path, given)
    for keyword in WITHOUT_EFFECT:
        given.pop(keyword, None)
    return FLAG_DEFAULTS | NUMBER_DEFAULTS | dict.fromkeys(PER_ELEMENT) | given


def n_components(twojmax):
    """Number of bispectrum components, K."""
    m = twojmax // 2 + 1
    if twojmax % 2:
        return m * (m + 1) * (m + 2) // 3
    return m * (m + 1) * (2 * m + 1) // 6


def n_coefficients(parameters, n_elements):
    """Coefficients of an element, the constant included, that go with the parameters."""
    n = n_components(parameters["twojmax"])
    if parameters["chemflag"]:
        n *= n_elements**3
    return 1 + n + (n * (n + 1) // 2 if parameters["quadraticflag"] else 0)


def format_coefficients(content, comments=()):
    """Text of a ``.snapcoeff`` file; the numbers are written so that they are read back exactly."""
    n_elements, n_numbers = content.coefficients.shape
    lines = [*(f"# {comment}" for comment in comments), "", f"{n_elements} {n_numbers}"]
    for element, radius, weight, row in zip(*content, strict=True):
        lines.append(f"{element} {format_number(radius)} {format_number(weight)}")
        lines.extend(map(format_number, row))
    return "\n".join(lines) + "\n"


def format_parameters(parameters, comments=()):
    """Text of a ``.snapparam`` file.

    The two keywords without which LAMMPS refuses a file come last, so that no file that was cut is
    taken for a whole one with defaults in place of what is missing. Flags that are off and that older
    versions of LAMMPS do not know are left out.
    """
    lines = [f"# {comment}" for comment in comments] + [""]
    for keyword in PER_ELEMENT:
        if parameters[keyword] is not None:
            lines.append(" ".join([keyword, *map(format_number, parameters[keyword])]))
    flags = [keyword for keyword in FLAG_DEFAULTS if parameters[keyword] or keyword in OLD_FLAGS]
    lines += [f"{keyword} {int(parameters[keyword])}" for keyword in flags]
    lines += [f"{keyword} {format_number(parameters[keyword])}" for keyword in NUMBER_DEFAULTS]
    lines += [f"rcutfac {format_number(parameters['rcutfac'])}", f"twojmax {parameters['twojmax']}"]
    return "\n".join(lines) + "\n"


def _lines(path):
    return read_lines(path, blanks="\"'")


def _next(path, lines, expected):
    line = next(lines, None)
    if line is None:
        raise ValueError(f"{path}: the file ends where {expected} should follow; it is truncated.")
    return line


def _read_counts(path, lines):
    line = _next(path, lines, "the numbers of elements and coefficients")
    if len(line.words) != 2:
        raise line.error("expected two integers, the numbers of elements and of coefficients.")
    n_elements = line.integer(line.words[0], "the number of elements")
    n_numbers = line.integer(line.words[1], "the number of coefficients")
    if n_elements < 1 or n_numbers < 1:
        raise line.error("the numbers of elements and of coefficients should be positive.")
    return n_elements, n_numbers


def _read_block(path, lines, n_numbers):
    line = _next(path, lines, "an element")
    if len(line.words) != 3:
        raise line.error("expected an element: its symbol, radius and weight.")
    element = line.words[0]
    radius = line.real(line.words[1], f"the radius of {element}")
    weight = line.real(line.words[2], f"the weight of {element}")
    if radius <= 0:
        raise line.error(f"the radius of {element} should be positive, not {radius}.")
    coefficients = []
    for k in range(n_numbers):
        line = _next(path, lines, f"coefficient {k + 1} of {n_numbers} of {element}")
        if len(line.words) != 1:
            raise line.error(f"expected coefficient {k + 1} of {element} alone on its line.")
        coefficients.append(line.real(line.words[0], f"coefficient {k + 1} of {element}"))
    line.check_ended()
    return element, radius, weight, coefficients


def _read_value(line, keyword, values):
    if keyword in PER_ELEMENT:
        line.check_ended()
        return tuple(line.real(value, keyword) for value in values)
    if len(values) > 1:
        raise line.error(f"keyword {keyword} takes one value, not {len(values)}.")
    if keyword in FLAG_DEFAULTS:
        if values[0] not in ("0", "1"):
            raise line.error(f"{keyword} should be 0 or 1, not {values[0]!r}.")
        return values[0] == "1"
    if keyword in ("rcutfac", *NUMBER_DEFAULTS):
        line.check_ended()
        return line.real(values[0], keyword)
    if keyword == "twojmax" or keyword in WITHOUT_EFFECT:
        line.check_ended()
        return _read_count(line, keyword, values[0])
    raise line.error(f"unknown keyword {keyword!r}: it may change the results, so it is refused.")


def _read_count(line, keyword, value):
    count = line.integer(value, keyword)
    if keyword == "diagonalstyle" and count != 3:
        raise line.error(f"diagonalstyle {count}: only 3, all components with j >= j1 >= j2, is supported.")
    if count < 0:
        raise line.error(f"{keyword} should not be negative, but is {count}.")
    return count


def _check_keywords(path, given):
    missing = [keyword for keyword in REQUIRED if keyword not in given]
    if missing:
        raise ValueError(f"{path}: {' and '.join(missing)} missing; the file may be truncated.")
    # A file of the two required keywords may be written so on purpose; one that sets others and not
    # this has probably lost its end, and LAMMPS' default is the less usual value.
    if "bzeroflag" not in given and set(given) - {*REQUIRED, *WITHOUT_EFFECT}:
        raise ValueError(
            f"{path}: bzeroflag is missing; the file may be truncated. If it is complete, add a "
            "line that says which is meant: 'bzeroflag 1' is what LAMMPS assumes."
        )
    if "bzeroflag" not in given:
        warnings.warn(
            f"{path}: bzeroflag is missing, so LAMMPS' default, 1, is taken. If the file is complete, add the line "
            "'bzeroflag 1' to say so; otherwise restore what was cut off.",
            stacklevel=4,
        )
    inner = [keyword for keyword in PER_ELEMENT if keyword in given]
    if given.get("switchinnerflag") and len(inner) < 2:
        raise ValueError(f"{path}: switchinnerflag 1 needs both sinner and dinner.")
    if inner and not given.get("switchinnerflag"):
        raise ValueError(f"{path}: {' and '.join(inner)} without switchinnerflag 1.")
