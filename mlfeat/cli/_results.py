"""Results of a comparison as files: JSON, CSV, figures and a page."""

import csv
import platform
from datetime import UTC, datetime
from pathlib import Path

import mlfeat
from mlfeat.cli._html import write_html
from mlfeat.cli._measure import MEMORY_METHOD, TIMING_METHOD
from mlfeat.cli._plan import REFERENCE, variant_label
from mlfeat.cli._report import write_figure, write_json, write_whole
from mlfeat.cli._train import read_predictions
from mlfeat.plotting import ParetoDisplay, ParityDisplay

_PART = ("fit_seconds", "train", "test")


class Results:
    """Results so far. ``results.json`` is written after every piece: an interrupted run keeps what it has."""

    def __init__(self, plan, command, crystal, reference, reference_source):
        self.plan, self.folder = plan, plan.folder
        self.by_name = {}  # of tasks
        self.forecast = None
        self.reference, self.reference_source = reference, reference_source
        self.head = {
            "mlfeat_version": mlfeat.__version__,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "machine": {
                "processor": _processor(),
                "system": platform.platform(),
                "python": platform.python_version(),
            },
            "units": {
                "energy": "eV/atom",
                "force": "eV/Å",
                "stress": "eV/Å³",
                "us_per_atom": "µs per atom and step on one core",
            },
            "how_measured": {"peak_memory_bytes": MEMORY_METHOD, "us_per_atom": TIMING_METHOD},
            "train": plan.train.summary(),
            "test": plan.test.summary(),
            "crystal": crystal,
        }

    def add(self, task, result):
        """Keep the result of a task, and write all of them."""
        self.by_name[task.name] = result
        if task.method == REFERENCE and "properties" in result:
            self.reference = result["properties"]
        self.write_json()

    @property
    def content(self):
        """What ``results.json`` holds."""
        return self.head | {
            "reference_properties": self.reference,
            "reference_source": self.reference_source,
            "forecast": self.forecast,
            "methods": [self._method(name) for name in self.plan.sources if f"fit-{name}" in self.by_name],
        }

    def _method(self, name):
        fit = self.by_name[f"fit-{name}"]
        method = {"method": name, "label": self.plan.labels[name]} | fit
        for kind in ("cost", "properties", "scaling"):
            method |= self._found(f"{kind}-{name}")
        curve = self._curve(name, fit) if fit["status"] == "ok" else []
        variants = [
            variant
            for label, settings in self.plan.variants[name].items()
            if (variant := self._variant(name, label, settings))
        ]
        parts = {"learning_curve": curve, "variants": variants, "errors": self._errors(name)}
        return method | {key: value for key, value in parts.items() if value}

    def _found(self, name):
        """What a task found out, without its status; nothing if it is not done."""
        result = self.by_name.get(name, {})
        return {key: value for key, value in result.items() if key not in ("status", "error", "property_errors")}

    def _curve(self, name, fit):
        points = []
        for fraction, subset in self.plan.fractions.items():
            found = self._found(f"learning-{name}-{fraction:g}")
            if found:
                points.append(_point(fraction, len(subset.structures), found))
        whole = _point(1.0, len(self.plan.train.structures), fit)
        return [*points, whole] if points else []

    def _variant(self, name, label, settings):
        result = self.by_name.get(f"variant-{name}-{label}")
        if result is None:
            return None
        cost = self._found(f"variant_cost-{name}-{label}")
        return {"settings": settings, "label": variant_label(settings)} | result | cost

    def _errors(self, name):
        """Why pieces other than fits and variants, which tell it themselves, or some properties, failed."""
        errors = {}
        for task in self.plan.tasks:
            result = self.by_name.get(task.name, {})
            if task.method == name and task.kind not in ("fit", "variant"):
                errors |= {task.name: result["error"]} if "error" in result else {}
                errors |= {f"{task.name}, {key}": error for key, error in result.get("property_errors", {}).items()}
        return errors

    def write_json(self):
        """Write ``results.json``."""
        write_json(self.folder / "results.json", self.content)

    def write_all(self):
        """Write tables, figures and the page of what there is."""
        content = self.content
        done = [method for method in content["methods"] if method["status"] == "ok"]
        for name, rows in tables(content).items():
            path = self.folder / f"{name}.csv"
            if rows:
                write_csv(path, rows)
            else:  # one of an earlier comparison would belong to other results
                path.unlink(missing_ok=True)
        test = self.plan.test
        predictions = {
            method["method"]: (
                test.targets,
                read_predictions(self.folder / f"{method['method']}.predictions.npz"),
                test.n_atoms,
            )
            for method in done
        }
        _draw(self.folder, done, predictions)
        write_html(self.folder / "report.html", content, predictions)


def _draw(folder, done, predictions):
    for method in done:
        path, title = folder / f"parity-{method['method']}.png", f"{method['label']}, test set"
        write_figure(path, ParityDisplay.from_predictions, *predictions[method["method"]], title=title)
    if any("us_per_atom" in method for method in done):
        write_figure(folder / "pareto.png", ParetoDisplay.from_results, done, title="Test error against cost")


def tables(content):
    """Rows of each CSV file, as flat dictionaries."""
    methods = content["methods"]
    return {
        "results": [_flat(method) for method in methods],
        "groups": [
            {"method": method["method"], "set": which, "group": group} | errors
            for method in methods
            for which in ("train", "test")
            for group, errors in method.get(which, {}).get("groups", {}).items()
        ],
        **{
            kind: [{"method": method["method"]} | _flat(part) for method in methods for part in method.get(kind, [])]
            for kind in ("learning_curve", "variants", "scaling")
        },
    }


def write_csv(path, rows):
    """Write rows under the columns that any of them has; atomically."""
    columns = list(dict.fromkeys(key for row in rows for key in row))

    def write(stream):
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    write_whole(path, write)


def _flat(part):
    """Errors of train and test, and properties, as columns of their own; nothing that is a table itself."""
    row = {}
    for key, value in part.items():
        if key in ("train", "test", "properties"):
            prefix = "" if key == "properties" else f"{key}_"
            row |= {f"{prefix}{name}": number for name, number in value.items() if name != "groups"}
        elif not isinstance(value, (dict, list)):
            row[key] = value
    return row


def _point(fraction, n_structures, found):
    point = {"fraction": fraction, "n_structures": n_structures}
    return point | {key: found[key] for key in _PART if key in found}


def _processor():
    """Name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
