"""Tables, and files that are written whole or not at all."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import units

from mlfeat._archive import write_atomically


class Column(NamedTuple):
    """A column of a table: where its number is in a row, and how it is shown."""

    title: str
    unit: str
    get: Callable
    scale: float = 1
    digits: int = 3


def error_columns(*keys, mae=True):
    """Columns of the errors that lie under some keys of a row."""
    columns = []
    for kind, unit, scale in (
        ("energy", "meV/atom", 1000),
        ("force", "eV/Å", 1),
        ("stress", "GPa", 1 / units.GPa),
    ):
        for measure in ("rmse", "mae") if mae and kind != "stress" else ("rmse",):
            get = _getter(*keys, f"{kind}_{measure}")
            columns.append(Column(f"{kind} {measure.upper()}", unit, get, scale))
    return columns


def _getter(*keys):
    def get(row):
        for key in keys:
            row = None if row is None else row.get(key)
        return row

    return get


def format_table(columns, rows):
    """Text table with a line of titles and one of units; numbers that are not there are "-"."""
    cells = [[column.title for column in columns], [column.unit for column in columns]]
    cells += [[_cell(column, column.get(row)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = []
    for line in cells:
        first, *others = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def _cell(column, value):
    if isinstance(value, str):
        return value
    if value is None or not math.isfinite(value):
        return "-"
    return format_number(value * column.scale, column.digits)


def format_number(value, digits=3):
    """A number with some significant digits; integers with all."""
    if isinstance(value, int) or abs(value) < 1e-6:
        return f"{value:.0f}"
    return f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"


def write_json(path, content):
    """Write JSON atomically; numbers that JSON lacks (NaN, infinity) become null."""
    text = json.dumps(plain(content), indent=2, allow_nan=False, ensure_ascii=False)
    return write_atomically(Path(path), (text + "\n").encode())


def plain(value):
    """The value as JSON holds it; numbers that JSON lacks become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def write_figure(path, draw, *args, **kwargs):
    """Draw a display on a figure of its own, without pyplot and so without a display, and write it atomically."""
    from matplotlib.figure import Figure

    figure = draw(*args, figure=Figure(), **kwargs).figure_
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix.lstrip(".") or "png", dpi=150)
    return write_atomically(Path(path), buffer.getvalue())


def write_whole(path, write):
    """Write a text file atomically; ``write`` gets the stream."""
    stream = io.StringIO()
    write(stream)
    return write_atomically(Path(path), stream.getvalue().encode())
