"""What a comparison prints: a table of each kind of result."""

from mlfeat.cli._report import Column, error_columns, format_number, format_table

COLUMNS = [
    Column("method", "", lambda row: row["label"]),
    *error_columns("test"),
    Column("fit", "s", lambda row: row.get("fit_seconds")),
    Column("peak memory", "MB", lambda row: row.get("peak_memory_bytes"), 1e-6),
    Column("cost", "µs/atom/step", lambda row: row.get("us_per_atom")),
    Column("parameters", "", lambda row: row.get("n_parameters")),
]
_PROPERTIES = {  # title and unit
    "lattice_constant": ("a", "Å"),
    "lattice_a": ("a", "Å"),
    "lattice_b": ("b", "Å"),
    "lattice_c": ("c", "Å"),
    "cohesive_energy": ("E coh", "eV/atom"),
    "volume": ("volume", "Å³/atom"),
    "bulk_modulus": ("B", "GPa"),
    "shear_modulus": ("G", "GPa"),
    "eos_bulk_modulus": ("B (EOS)", "GPa"),
    "bulk_modulus_derivative": ("B'", ""),
    "vacancy_formation_energy": ("E vacancy", "eV"),
    "vacancy_migration_energy": ("E migration", "eV"),
    "surface_energy_100": ("γ(100)", "J/m²"),
    "surface_energy_110": ("γ(110)", "J/m²"),
    "surface_energy_111": ("γ(111)", "J/m²"),
}


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
        title, unit = title_and_unit(key)
        columns.append(Column(title, unit, lambda row, key=key: _compared(row["properties"].get(key), row, key)))
    first = {"label": f"reference: {content['reference_source']}", "properties": reference, "reference": {}}
    others = [method | {"reference": reference} for method in rows]
    yield format_table(columns, [first] * bool(reference) + others)


def title_and_unit(key):
    """How a property is shown."""
    return _PROPERTIES.get(key, (key, "GPa" if key.startswith("C") else ""))


def _compared(value, row, key):
    reference = row["reference"].get(key)
    if value is None:
        return None
    text = format_number(value, 4)
    return text if not reference else f"{text} {100 * (value / reference - 1):+z.1f}%"


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
