"""Tables of the HTML report: sortable, with the best number of each column or row marked."""

import math
from html import escape
from typing import NamedTuple

from mlfeat.cli._report import format_number

MISSING = "–"


class Cell(NamedTuple):
    """A number, which orders a column, how it is written, and a note beside it."""

    number: float
    text: str
    note: str = ""


def html_table(caption, columns, rows, *, best=(), rank=None):
    """Table of some rows.

    Parameters
    ----------
    caption : str
        What it shows.
    columns : list of Column
        As of the printed tables; the first is the row's title.
    rows : list of dict
        What the columns read.
    best : collection of str
        Titles of the columns whose least number is marked.
    rank : callable or None
        Gives what is to be small of a row, the index of a column and the value in it, or None; the cell where it is
        least is marked in each row.

    Returns
    -------
    str
        HTML.
    """
    least = {column.title: _least(column, rows) for column in columns if column.title in best}
    lines = []
    for row in rows:
        values = [column.get(row) for column in columns]
        winner = _winner(rank, row, values)
        cells = [
            _cell(column, value, index == winner or _is(value, least.get(column.title)))
            for index, (column, value) in enumerate(zip(columns, values, strict=True))
            if index
        ]
        lines.append(f'<tr><th scope="row">{escape(str(values[0]))}</th>{"".join(cells)}</tr>')
    has_units = any(column.unit for column in columns)
    heads = "".join(_head(column, _is_text(column, rows), has_units) for column in columns)
    return (
        f'<div class="box" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="sortable">'
        f"<caption><span>{escape(caption)}</span></caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>\n"
    )


def is_number(value):
    """Whether a value can be compared: a finite number, perhaps that of a cell."""
    value = value.number if isinstance(value, Cell) else value
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def definitions(pairs):
    """Terms and what they are; those that are missing are left out."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs if value)
    return f"<dl>{items}</dl>\n" if items else ""


def _head(column, is_text, has_units):
    unit = f'<span class="unit">{escape(column.unit)}</span>' if has_units else ""
    kind = ' class="text"' if is_text else ""
    return f'<th scope="col"{kind} aria-sort="none"><button type="button">{escape(column.title)}</button>{unit}</th>'


def _is_text(column, rows):
    return any(isinstance(column.get(row), str) for row in rows)


def _cell(column, value, best):
    """A cell of a number or of a text."""
    if not is_number(value):
        return f'<td class="text">{escape(value)}</td>' if isinstance(value, str) else f"<td>{MISSING}</td>"
    cell = value if isinstance(value, Cell) else Cell(value, format_number(column.scale * value, column.digits))
    mark = ' class="best"' if best else ""
    note = f"<small>{escape(cell.note)}</small>" if cell.note else ""
    return f'<td{mark} data-value="{cell.number:.12g}">{escape(cell.text)}{note}</td>'


def _least(column, rows):
    numbers = [value for row in rows if is_number(value := column.get(row))]
    return min(numbers) if len(numbers) > 1 else None


def _is(value, least):
    return least is not None and is_number(value) and value == least


def _winner(rank, row, values):
    if rank is None:
        return None
    ranks = {index: rank(row, index, value) for index, value in enumerate(values) if is_number(value)}
    ranks = {index: rank for index, rank in ranks.items() if rank is not None}
    return min(ranks, key=ranks.get) if len(ranks) > 1 else None
