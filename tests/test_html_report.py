"""The page of a comparison: what is on it, and how a browser shows it."""

import html
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from mlfeat.cli._html import html_page, write_html  # noqa: E402
from mlfeat.cli._html_figures import slope_of  # noqa: E402
from mlfeat.targets import empty_targets  # noqa: E402

METHODS = {"snap": "SNAP", "gap": "GAP", "own": "Mine <b>&"}
N_ATOMS = [2, 3, 4]
VOID = {"meta", "br", "hr", "img", "link", "input"}


def errors(size, groups=True):
    found = {f"{kind}_{name}": size for kind in ("energy", "force", "stress") for name in ("rmse", "mae")}
    if groups:
        found["groups"] = {
            name: {"structures": n, "atoms": 4 * n} | errors(factor * size, groups=False)
            for name, n, factor in (("hot", 3, 2.0), ("cold", 5, 0.5))
        }
    return found


def method(name, size, cost):
    """What a comparison knows of a method with errors of a size and a time a step."""
    return {
        "method": name,
        "label": METHODS[name],
        "status": "ok",
        "fit_seconds": 10 * cost,
        "peak_memory_bytes": 1e8 * cost,
        "n_parameters": round(50 * cost),
        "settings": {"bispectrum": {"cutoff": 4.1, "twojmax": 8}, "linearpotential": {"solver": "gram"}},
        "train": errors(0.8 * size),
        "test": errors(size),
        "us_per_atom": cost,
        "properties": {"lattice_constant": 3.6 + size, "C11": 170 - 1000 * size},
        "scaling": [{"atoms": n, "seconds_per_step": 1e-6 * cost * n, "us_per_atom": cost} for n in (100, 1000, 5000)],
        "learning_curve": [
            {"n_structures": n, "fit_seconds": 1.0, "train": errors(size), "test": errors(size * 40 / n)}
            for n in (10, 40)
        ],
        "variants": [
            {"settings": {"twojmax": 4}, "label": "2J = 4", "status": "ok", "n_parameters": 20, "us_per_atom": cost / 3,
             "fit_seconds": 1.0, "train": errors(3 * size), "test": errors(3 * size)}
        ],
    }  # fmt: skip


def comparison():
    """Made-up results, with all parts that there may be."""
    return {
        "mlfeat_version": "0.1",
        "started": "2026-01-02T03:04:05+00:00",
        "command": "mlfeat compare --out 'a & b' <data>",
        "machine": {"processor": "A processor", "system": "A system", "python": "3.11"},
        "units": {"energy": "eV/atom"},
        "how_measured": {"us_per_atom": "the fastest step", "peak_memory_bytes": "of a process"},
        "train": {"name": "Cu, train", "structures": 40, "atoms": 160, "groups": {"hot": 20, "cold": 20}},
        "test": {"name": "Cu, test", "structures": 8, "atoms": 32, "groups": {"hot": 3, "cold": 5}},
        "crystal": "Cu crystal",
        "reference_properties": {"lattice_constant": 3.6, "C11": 172.0},
        "reference_source": "a table",
        "forecast": {
            "how": "short fits",
            "methods": [{"label": "SNAP", "fit_seconds": 80.0, "peak_memory_bytes": 1e8}],
        },
        "methods": [
            method("snap", 0.002, 9.0),
            method("gap", 0.001, 110.0),
            {"method": "own", "label": METHODS["own"], "status": "failed", "error": "ValueError: a < b"},
        ],
    }


def without_figures():
    content = comparison()
    for one in content["methods"]:
        for part in ("scaling", "learning_curve", "us_per_atom", "n_parameters", "variants"):
            one.pop(part, None)
    return content


def predictions():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        rows = empty_targets(len(N_ATOMS))
        rows["energy"], rows["stress"] = rng.normal(size=3), rng.normal(size=(3, 6))
        for row, n in zip(rows, N_ATOMS, strict=True):
            row["forces"] = rng.normal(size=(n, 3))
        found.append(rows)
    return {name: (*found, N_ATOMS) for name in ("snap", "gap")}


class Page(HTMLParser):
    """Elements of a page, its tables as rows of text, and whether all that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.elements, self.open, self.tables, self.sections = [], Counter(), [], {}, []
        self.marked, self.names = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements[tag] += 1
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "section":
            self.sections.append(attrs["id"])
        if tag == "table":
            self.table = []
        if tag == "tr":
            self.table.append([])
        if tag in ("td", "th"):
            self.table[-1].append("")
            if attrs.get("class") == "best":
                self.marked.append((self.caption, self.table[-1][0], len(self.table[-1]) - 1))
        if tag == "caption":
            self.caption = ""
        if tag == "svg" and attrs.get("role") == "img":
            self.names.append(attrs["aria-label"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements[tag] += 1
        self.ids += [dict(attrs)["id"]] if "id" in dict(attrs) else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self.table

    def handle_data(self, data):
        if "caption" in self.open:
            self.caption += data
        elif "small" not in self.open and {"td", "th"} & set(self.open):
            self.table[-1][-1] += data


@pytest.fixture(scope="module")
def text():
    content = comparison()
    page = html_page(content, predictions())
    assert content == comparison()  # only read
    return page


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def table(page, start):
    (found,) = (rows for caption, rows in page.tables.items() if caption.startswith(start))
    return found


def test_page_has_all_sections_and_is_well_formed(page):
    assert page.sections == [
        "results", "errors", "groups", "properties", "parity", "cost", "size", "learning", "scaling",
        "data", "settings", "measured", "failures",
    ]  # fmt: skip
    assert page.open == []
    assert page.elements["h1"] == 1
    assert page.elements["caption"] == page.elements["table"]


def test_ids_are_unique_and_references_lead_somewhere(text, page):
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {first or second for first, second in used} <= set(page.ids)


def test_page_asks_no_other_computer_for_anything(text):
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text.replace("file://", ""))
    assert set(re.findall(r'(?:src|href)="([^#"][^":,]*:?)', text)) <= {"data:"}


def test_numbers_of_the_main_table_are_those_of_the_results(page):
    head, snap, gap, own = table(page, "Errors on the test set")
    assert head[:2] == ["method", "energy RMSEmeV/atom"]
    assert snap[:2] == ["SNAP", "2.00"]
    assert gap[:2] == ["GAP", "1.00"]
    assert [snap[head.index(name)] for name in ("fits", "peak memoryMB", "costµs/atom/step", "parameters")] == [
        "90.0", "900", "9.00", "450",
    ]  # fmt: skip
    assert own == ["Mine <b>& (failed)", *["–"] * (len(head) - 1)]


def test_the_best_of_each_column_is_marked(page):
    marked = [(row, column) for caption, row, column in page.marked if caption.startswith("Errors on the test set")]
    assert marked == [("SNAP", 6), ("SNAP", 7), ("SNAP", 8), *(("GAP", column) for column in range(1, 6))]


def test_the_property_nearest_to_the_reference_is_marked_with_its_deviation(text, page):
    head, lattice, c11 = table(page, "Properties of Cu crystal")
    assert head == ["property", "reference", "SNAP", "GAP"]
    assert lattice == ["lattice constant (Å)", "3.600", "3.602", "3.601"]
    assert c11 == ["C11 (GPa)", "172.0", "168.0", "169.0"]
    assert re.search(r"169\.0<small>-1\.7 %</small>", text)
    assert {(row, column) for caption, row, column in page.marked if caption.startswith("Prop")} == {
        ("lattice constant (Å)", 3), ("C11 (GPa)", 3),
    }  # fmt: skip


def test_what_should_be_zero_has_neither_deviation_nor_mark():
    content = without_figures()
    content["reference_properties"] |= {"nve_drift": 7.8e-6, "lowest_frequency": -1e-7}
    for one, drift in zip(content["methods"], (4.8e-6, 8.6e-6), strict=False):
        one["properties"] |= {"nve_drift": drift, "lowest_frequency": 2e-8}
    text = html_page(content, {})
    page = Page(text)
    assert table(page, "Properties of Cu crystal")[3:] == [
        ["drift of the energy, NVE (eV/atom/ps)", "7.8e-06", "4.8e-06", "8.6e-06"],
        ["lowest frequency (THz)", "0.00", "0.00", "0.00"],
    ]
    assert len(re.findall("<small>[^<]* %</small>", text)) == 4
    assert {row for caption, row, _ in page.marked if caption.startswith("Prop")} == {
        "lattice constant (Å)", "C11 (GPa)",
    }  # fmt: skip


def test_errors_of_each_group_have_a_table_for_each_quantity_and_set(page):
    found = [caption for caption in page.tables if "the best method of each group" in caption]
    assert len(found) == 6
    assert table(page, "energy RMSE (meV/atom), test set") == [
        ["group", "structures", "SNAP", "GAP"], ["hot", "3", "4.00", "2.00"], ["cold", "5", "1.00", "0.500"],
    ]  # fmt: skip
    start = "energy RMSE (meV/atom), test"
    marked = [(row, column) for caption, row, column in page.marked if caption.startswith(start)]
    assert marked == [("hot", 3), ("cold", 3)]


def test_a_method_may_have_the_name_of_a_column():
    content = without_figures()
    content["methods"][0]["label"] = "group"
    rows = table(Page(html_page(content, {})), "energy RMSE (meV/atom), test set")
    assert rows[:2] == [["group", "structures", "group", "GAP"], ["hot", "3", "4.00", "2.00"]]


def test_each_figure_has_a_name_and_a_caption(page):
    # Parity of two methods; Pareto front; parameters, test and training; learning curves; scaling.
    assert len(page.names) == 2 * 3 + 2 + 2 * 2 + 3 + 1
    assert page.elements["figcaption"] == page.elements["figure"] == len(page.names)
    assert len(set(page.names)) == len(page.names)
    assert page.names[0] == "SNAP: predicted energy (eV/atom) against reference, test set."
    assert page.names[-1].endswith("slopes: SNAP 1.00, GAP 1.00.")


def test_colors_of_figures_are_the_page_s(text):
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "currentColor" in drawings
    assert "var(--c0)" in drawings
    assert not re.search(r"#010203|#0072b2|#ffffff", drawings, flags=re.IGNORECASE)


def test_slope_is_the_power_of_the_number_of_atoms():
    sizes = np.array([10.0, 100.0, 500.0])
    assert slope_of(np.column_stack([sizes, 3e-6 * sizes**1.5])) == pytest.approx(1.5)
    assert slope_of([(10.0, 1.0)]) is None


def test_what_users_write_is_escaped(text):
    assert "Mine <b>&" not in text
    assert "Mine &lt;b&gt;&amp;" in text
    assert html.escape("mlfeat compare --out 'a & b' <data>") in text


def test_failures_are_told_with_their_piece(page):
    content = without_figures()
    content["methods"][0] |= {"errors": {"scaling-snap": "MemoryError: too large"}}
    content["methods"][1]["variants"] = [{"label": "2J = 6", "status": "failed", "error": "no"}]
    rows = table(Page(html_page(content, {})), "What failed")
    assert rows[1:] == [
        ["SNAP", "scaling-snap", "MemoryError: too large"],
        ["GAP", "2J = 6", "no"],
        ["Mine <b>&", "fit", "ValueError: a < b"],
    ]
    assert table(page, "What failed")[1:] == [["Mine <b>&", "fit", "ValueError: a < b"]]


def test_forecast_stands_beside_what_was_measured(page):
    assert table(page, "Forecast and measured")[1:] == [["SNAP", "80", "90.0", "100", "900"]]


def test_parts_that_are_missing_are_absent():
    content = comparison()
    for one in content["methods"]:
        for part in ("properties", "scaling", "learning_curve", "variants", "settings", "us_per_atom", "train"):
            one.pop(part, None)
        one.get("test", {}).pop("groups", None)
    content["methods"].pop()
    content |= {"reference_properties": None, "forecast": None}
    found = Page(html_page(content, {}))
    assert found.sections == ["results", "errors", "size", "data", "measured"]
    assert len(found.names) == 2  # errors of the test against the number of parameters


def test_page_of_nothing_is_a_page():
    assert Page(html_page({}, {})).sections == []


def test_numbers_that_are_not_finite_are_missing():
    content = without_figures()
    content["methods"][0]["test"] |= {"energy_rmse": None, "force_rmse": float("nan")}
    _, snap, *_ = table(Page(html_page(content, {})), "Errors on the test set")
    assert snap[1] == snap[3] == "–"


def test_page_of_many_points_is_small(tmp_path):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        rows = empty_targets(300)
        rows["energy"], rows["stress"] = rng.normal(size=300), rng.normal(size=(300, 6))
        for row in rows:
            row["forces"] = rng.normal(size=(50, 3))
        found.append(rows)
    write_html(tmp_path / "report.html", without_figures(), {"snap": (*found, np.full(300, 50))})
    size = (tmp_path / "report.html").stat().st_size
    assert 1e5 < size < 6e5  # five such methods need less than 3 MB


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_browser_shows_it_on_a_phone_and_sorts(tmp_path, text):
    """A second page holds it in a frame of 390 pixels, measures and clicks, and writes down what it found."""
    probe = """<script>
    window.addEventListener("load", () => {
      const table = document.querySelector("table"), heads = table.querySelectorAll("th button");
      const order = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent).join();
      const found = [document.documentElement.scrollWidth, innerWidth, order()];
      for (const column of [1, 1, 8, 0]) {
        heads[column].click();
        found.push(order());
      }
      found.push(table.querySelector("th").getAttribute("aria-sort"));
      dispatchEvent(new Event("beforeprint"));
      found.push(order(), document.querySelectorAll("details:not([open])").length);
      parent.postMessage(found, "*");
    });
    </script></body>"""
    (tmp_path / "report.html").write_text(text.replace("</body>", probe), encoding="utf-8")
    (tmp_path / "frame.html").write_text(
        "<!DOCTYPE html><body><script>onmessage = found => {"
        "document.body.dataset.found = JSON.stringify(found.data);}</script>"
        '<iframe src="report.html" style="width: 390px; height: 844px; border: 0"></iframe></body>'
    )
    options = "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *options, profile, (tmp_path / "frame.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    (found,) = re.findall(r'data-found="([^"]*)"', dom)
    width, window, *orders, sort, printed, closed = json.loads(html.unescape(found))
    own = "Mine <b>& (failed)"
    assert window == 390
    assert width <= window
    assert orders == [
        f"SNAP,GAP,{own}",
        f"GAP,SNAP,{own}",  # energies
        f"SNAP,GAP,{own}",  # the other way round: what is missing stays last
        f"SNAP,GAP,{own}",  # costs
        f"GAP,{own},SNAP",  # names
    ]
    assert sort == "ascending"
    assert printed == orders[0]
    assert closed == 0
