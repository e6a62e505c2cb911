"""Sections of the HTML report, each made of what ``results.json`` holds; empty where that is nothing."""

from html import escape

from mlfeat.cli._html_figures import display_figures, key, scaling_figure, slope_of
from mlfeat.cli._html_table import Cell, definitions, html_table, is_number
from mlfeat.cli._report import Column, error_columns
from mlfeat.cli._tables import COLUMNS, both_errors
from mlfeat.plotting import LearningCurveDisplay, ParetoDisplay, ParityDisplay
from mlfeat.properties._names import description, deviation, text_of

_LABEL = Column("method", "", lambda row: row["label"])
_STATE = _LABEL._replace(get=lambda row: row["label"] + " (failed)" * (row.get("status") == "failed"))
_COST = Column("cost", "µs/atom/step", lambda row: row.get("us_per_atom"))
_PARAMETERS = Column("parameters", "", lambda row: row.get("n_parameters"))
_FIT = Column("fit", "s", lambda row: row.get("fit_seconds"))
_SETS = ("test", "train")
_NAMES = {"test": "test set", "train": "training set"}
_GRID = '<div class="grid">{}</div>\n'


def results(content, predictions):
    """The main table."""
    rows = _methods(content)
    if not rows:
        return ""
    best = {column.title for column in COLUMNS[1:]} - {"parameters"}
    caption = "Errors on the test set, and costs; the best of each column is marked, and a click on a head sorts"
    return html_table(caption, [_STATE, *COLUMNS[1:]], rows, best=best)


def errors(content, predictions):
    """Root-mean-square errors of training and test side by side."""
    rows = [method for method in _methods(content) if method.get("train") or method.get("test")]
    columns = [
        column._replace(title=f"{which} {column.title.removesuffix(' RMSE')}")
        for column_of in zip(*(error_columns(which, mae=False) for which in ("train", "test")), strict=True)
        for which, column in zip(("train", "test"), column_of, strict=True)
    ]
    best = {column.title for column in columns}
    return html_table("Root-mean-square errors", [_LABEL, *columns], rows, best=best) if rows else ""


def groups(content, predictions):
    """Errors of each group, a table for each quantity and set."""
    methods, parts = _methods(content), []
    for which in _SETS:
        found = {method["label"]: (method.get(which) or {}).get("groups") or {} for method in methods}
        names = list(dict.fromkeys(name for errors in found.values() for name in errors))
        if len(names) < 2:
            continue
        rows = [{"group": name, "errors": {label: found[label].get(name, {}) for label in found}} for name in names]
        columns = error_columns(mae=False)
        tables = "".join(_group_table(which, column, rows, [*found]) for column in columns)
        parts.append(f"<h3>{_NAMES[which].capitalize()}</h3>\n{tables}")
    return "".join(parts)


def _group_table(which, column, rows, labels):
    columns = [
        Column(label, "", lambda row, label=label: column.get(row["errors"][label]), column.scale)
        for label in labels
        if any(row["errors"][label] for row in rows)
    ]
    if not any(is_number(one.get(row)) for one in columns for row in rows):
        return ""
    first = [
        Column("group", "", lambda row: row["group"] or "(none)"),
        Column("structures", "", lambda row: next(one["structures"] for one in row["errors"].values() if one)),
    ]
    caption = f"{column.title} ({column.unit}), {_NAMES[which]}; the best method of each group is marked"
    return html_table(caption, [*first, *columns], rows, rank=lambda row, index, value: value if index > 1 else None)


def properties(content, predictions):
    """Properties of the crystal, how far from the reference, and the nearest of each."""
    methods = [method for method in _methods(content) if method.get("properties")]
    if not methods:
        return ""
    reference = content.get("reference_properties") or {}
    rows = []
    for name in dict.fromkeys([*reference, *(name for method in methods for name in method["properties"])]):
        shown = description(name)
        title = shown.name + (f" ({shown.unit})" if shown.unit else "")
        rows.append({"key": name, "title": title, "reference": reference.get(name)})
        rows[-1] |= {f"method {method['label']}": method["properties"].get(name) for method in methods}
    columns = [Column("property", "", lambda row: row["title"])]
    if reference:
        columns.append(Column("reference", "", lambda row: _property(row["key"], row["reference"])))
    n_others = len(columns)
    columns += [
        Column(
            method["label"],
            "",
            lambda row, name=f"method {method['label']}": _property(row["key"], row[name], row["reference"]),
        )
        for method in methods
    ]
    crystal, source = content.get("crystal"), content.get("reference_source")
    caption = f"Properties of {crystal}" if crystal else "Properties of the crystal"
    if reference:
        caption += f", and deviations from the reference{f' ({source})' if source else ''}; the nearest is marked"

    def rank(row, index, value):
        compared = index >= n_others and is_number(row["reference"]) and description(row["key"]).relative
        return abs(value.number - row["reference"]) if compared else None

    return html_table(caption, columns, rows, rank=rank)


def _property(key, value, reference=None):
    if not is_number(value):
        return None
    percent = deviation(key, value, reference)
    return Cell(value, text_of(key, value), "" if percent is None else f"{percent:+z.1f} %")


def parity(content, predictions):
    """Parity plots of each method."""
    parts = []
    for index, method in enumerate(_methods(content)):
        if method["method"] not in predictions:
            continue
        label, values = method["label"], predictions[method["method"]]
        figures = display_figures(
            f"parity-{index}",
            lambda values=values, **given: ParityDisplay.from_predictions(*values, **given),
            lambda ax, label=label: f"{label}: {ax.get_ylabel()} against reference, test set.",
        )
        parts.append(f"<h3>{escape(label)}</h3>\n{_GRID.format(figures)}")
    return "".join(parts)


def cost(content, predictions):
    """Test errors against the time of a step."""
    return _pareto(content, "us_per_atom", ("test",)) + _variants(content)


def size(content, predictions):
    """Test and training errors against the number of parameters."""
    return _pareto(content, "n_parameters", ("test",)) + _pareto(content, "n_parameters", ("train",))


def _pareto(content, abscissa, sets):
    methods = _methods(content)
    points = [one for method in methods for one in (method, *method.get("variants", []))]
    if not any(is_number(one.get(abscissa)) and _has_errors(one, sets[0]) for one in points):
        return ""
    figures = display_figures(
        f"{abscissa}-{sets[0]}",
        lambda **given: ParetoDisplay.from_results(methods, cost=abscissa, sets=sets, **given),
        lambda ax: f"{_capital(ax.get_ylabel())} against {ax.get_xlabel()}.",
    )
    return key(methods, *(["Pareto front"] if "test" in sets else [])) + _GRID.format(figures)


def _has_errors(one, name):
    return any(is_number((one.get(name) or {}).get(error)) for error in ("energy_rmse", "force_rmse"))


def _variants(content):
    """A table of what the figure shows beside the methods of the main table."""
    rows = [{"of": method["label"]} | variant for method in _methods(content) for variant in method.get("variants", [])]
    columns = [
        Column("method", "", lambda row: row["of"]),
        Column("settings", "", lambda row: row.get("label", "")),
        *both_errors(),
        _COST,
        _PARAMETERS,
        _FIT,
    ]
    return html_table("Other settings", columns, rows) if rows else ""


def learning(content, predictions):
    """Errors against the size of the training set."""
    methods = _methods(content)
    rows = [{"label": method["label"]} | point for method in methods for point in method.get("learning_curve", [])]
    if not any(_has_errors(row, name) for row in rows for name in _SETS):
        return ""
    figures = display_figures(
        "learning",
        lambda **given: LearningCurveDisplay.from_results(methods, **given),
        lambda ax: f"{_capital(ax.get_ylabel())} against the number of {ax.get_xlabel()}.",
    )
    columns = [_LABEL, Column("structures", "", lambda row: row["n_structures"]), *both_errors(), _FIT]
    table = html_table("Fits to parts of the training set", columns, rows)
    return key(methods, "test", "training") + _GRID.format(figures) + table


def scaling(content, predictions):
    """Time of a step against the number of atoms."""
    methods = _methods(content)
    rows = [
        {"label": method["label"]} | point | {"slope": _slope(method)}
        for method in methods
        for point in method.get("scaling", [])
    ]
    if not rows:
        return ""
    columns = [
        _LABEL,
        Column("atoms", "", lambda row: row["atoms"]),
        Column("step", "s", lambda row: row["seconds_per_step"]),
        _COST,
        Column("slope", "", lambda row: row["slope"]),
    ]
    caption = "Time of a step; the slope is the power of the number of atoms with which it grows"
    return key(methods) + _GRID.format(scaling_figure(methods) + html_table(caption, columns, rows))


def _slope(method):
    return slope_of([(point["atoms"], point["seconds_per_step"]) for point in method["scaling"]])


def data(content, predictions):
    """What was learned from and tested on."""
    parts = {name: content[which] for which, name in _NAMES.items() if which in content}
    if not parts:
        return ""
    rows = [{"title": "all", **{name: part["structures"] for name, part in parts.items()}}]
    rows += [
        {"title": group or "(none)", **{name: part.get("groups", {}).get(group) for name, part in parts.items()}}
        for group in dict.fromkeys(group for part in parts.values() for group in part.get("groups", {}))
        if group
    ]
    columns = [Column("group", "", lambda row: row["title"])]
    columns += [Column(name, "structures", lambda row, name=name: row[name]) for name in reversed(parts)]
    about = [(name, _told(part)) for name, part in reversed(parts.items())]
    return definitions(about) + html_table("Structures of each group", columns, rows)


def _told(part):
    counts = [f"{part['structures']} structures, {part['atoms']} atoms"]
    counts += [f"{part[f'with_{kind}']} with {kind}" for kind in ("forces", "stress") if f"with_{kind}" in part]
    return f"{part.get('name', '')}: {', '.join(counts)}".removeprefix(": ")


def settings(content, predictions):
    """Parameters of each model."""
    parts = []
    columns = [Column("parameter", "", lambda row: row[0]), Column("value", "", lambda row: row[1])]
    for method in _methods(content):
        rows = list(_flat(method.get("settings") or {}))
        if rows:
            table = html_table(f"Settings of {method['label']}", columns, rows)
            parts.append(f"<details><summary>{escape(method['label'])}</summary>{table}</details>\n")
    return "".join(parts)


def _flat(value, prefix=""):
    """Names and values of nested settings, as text."""
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(item)


def measured(content, predictions):
    """Machine, version, command, what is meant by cost and memory, and how good the forecast was."""
    machine, how = content.get("machine") or {}, content.get("how_measured") or {}
    pairs = [
        ("mlfeat", content.get("mlfeat_version")),
        ("started", content.get("started")),
        ("processor", machine.get("processor")),
        ("system", machine.get("system")),
        ("Python", machine.get("python")),
        ("cost", how.get("us_per_atom")),
        ("peak memory", how.get("peak_memory_bytes")),
    ]
    command = content.get("command")
    command = f"<pre><code>{escape(command)}</code></pre>\n" if command else ""
    return command + definitions(pairs) + _forecast(content)


def _forecast(content):
    forecast = content.get("forecast") or {}
    found = {method["label"]: method for method in _methods(content)}
    rows = [row | {"found": found.get(row["label"], {})} for row in forecast.get("methods", [])]
    if not rows:
        return ""
    columns = [
        _LABEL,
        Column("fit, forecast", "s", lambda row: row.get("fit_seconds"), digits=2),
        Column("fit, measured", "s", lambda row: row["found"].get("fit_seconds")),
        Column("memory, forecast", "MB", lambda row: row.get("peak_memory_bytes"), 1e-6, 2),
        Column("memory, measured", "MB", lambda row: row["found"].get("peak_memory_bytes"), 1e-6),
    ]
    how = f'<p class="muted">Forecast: {escape(forecast["how"])}.</p>\n' if forecast.get("how") else ""
    return html_table("Forecast and measured", columns, rows) + how


def failures(content, predictions):
    """What failed, and why."""
    rows = [{"label": label, "piece": piece, "error": error} for label, piece, error in failed(content)]
    columns = [_LABEL, Column("piece", "", lambda row: row["piece"]), Column("error", "", lambda row: row["error"])]
    return html_table("What failed, and why", columns, rows) if rows else ""


def failed(content):
    """Method, piece and error of each failure."""
    found = []
    for method in _methods(content):
        label = method["label"]
        if method.get("status") == "failed":
            found.append((label, "fit", method.get("error", "")))
        found += [(label, piece, error) for piece, error in (method.get("errors") or {}).items()]
        found += [
            (label, variant.get("label", ""), variant.get("error", ""))
            for variant in method.get("variants", [])
            if variant.get("status") == "failed"
        ]
    return found


def _methods(content):
    return content.get("methods") or []


def _capital(text):
    return text[:1].upper() + text[1:]
