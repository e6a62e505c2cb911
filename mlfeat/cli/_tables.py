"""What a comparison prints: a table of each kind of result."""

from mlfeat.cli._report import Column, error_columns, format_table
from mlfeat.properties._names import description, deviation, text_of

COLUMNS = [
    Column("method", "", lambda row: row["label"]),
    *error_columns("test"),
    Column("fit", "s", lambda row: row.get("fit_seconds")),
    Column("peak memory", "MB", lambda row: row.get("peak_memory_bytes"), 1e-6),
    Column("cost", "µs/atom/step", lambda row: row.get("us_per_atom")),
    Column("parameters", "", lambda row: row.get("n_parameters")),
]


def all_tables(content):
    """The tables of ``results.json`` as text, those that have rows."""
    methods = content["methods"]
    yield format_table(COLUMNS, methods)
    yield from _properties(content)
    yield from _groups(methods)
    yield from _learning_curves(methods)
    yield from _variants(methods)
    yield from _scaling(methods)


def _properties(content):
    """Properties of each method, and how far they are from the reference."""
    rows = [method for method in content["methods"] if "properties" in method]
    keys = list(dict.fromkeys(key for method in rows for key in method["properties"]))
    if not keys:
        return
    reference = content["reference_properties"] or {}
    columns = [Column(f"properties of {content['crystal']}", "", lambda row: row["label"])]
    for key in keys:
        shown = description(key)
        columns.append(Column(shown.symbol, shown.unit, lambda row, key=key: _compared(row, key)))
    first = {"label": f"reference: {content['reference_source']}", "properties": reference, "reference": {}}
    others = [method | {"reference": reference} for method in rows]
    yield format_table(columns, [first] * bool(reference) + others)


def _compared(row, key):
    value = row["properties"].get(key)
    if value is None:
        return None
    percent = deviation(key, value, row["reference"].get(key))
    return text_of(key, value) + ("" if percent is None else f" {percent:+z.1f}%")


def _groups(methods):
    rows = [
        {"label": method["label"], "group": group} | errors
        for method in methods
        for group, errors in method.get("test", {}).get("groups", {}).items()
    ]
    columns = [
        Column("test set by group", "", lambda row: row["label"]),
        Column("group", "", lambda row: row["group"]),
        Column("structures", "", lambda row: row["structures"]),
        *error_columns(mae=False),
    ]
    yield from _table(columns, rows)


def _learning_curves(methods):
    columns = [
        Column("learning curve", "", lambda row: row["label"]),
        Column("structures", "", lambda row: row["n_structures"]),
        *both_errors(),
        Column("fit", "s", lambda row: row.get("fit_seconds")),
    ]
    yield from _table(columns, _parts(methods, "learning_curve"))


def _variants(methods):
    columns = [
        Column("variants", "", lambda row: row["of"]),
        Column("settings", "", lambda row: row["label"]),
        *both_errors(),
        Column("cost", "µs/atom/step", lambda row: row.get("us_per_atom")),
        Column("parameters", "", lambda row: row.get("n_parameters")),
    ]
    rows = [{"of": method["label"]} | part for method in methods for part in method.get("variants", [])]
    yield from _table(columns, rows)


def _scaling(methods):
    columns = [
        Column("scaling", "", lambda row: row["label"]),
        Column("atoms", "", lambda row: row["atoms"]),
        Column("step", "s", lambda row: row["seconds_per_step"]),
        Column("cost", "µs/atom/step", lambda row: row["us_per_atom"]),
    ]
    yield from _table(columns, _parts(methods, "scaling"))


def _table(columns, rows):
    return [format_table(columns, rows)] if rows else []


def _parts(methods, kind):
    return [{"label": method["label"]} | part for method in methods for part in method.get(kind, [])]


def both_errors():
    """RMSE of energies and forces, training and test."""
    return [
        column._replace(title=f"{which} {column.title.removesuffix(' RMSE')}")
        for which in ("train", "test")
        for column in error_columns(which, mae=False)[:2]
    ]
