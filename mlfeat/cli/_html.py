"""The page of a comparison: one HTML file, readable without a network, on a phone and in print."""

from html import escape
from importlib.resources import files
from pathlib import Path

from mlfeat._archive import write_atomically
from mlfeat.cli import _html_sections as sections

_SECTIONS = (
    ("results", "Results", sections.results),
    ("errors", "Training and test errors", sections.errors),
    ("groups", "Errors by group", sections.groups),
    ("properties", "Properties", sections.properties),
    ("parity", "Predicted against reference values", sections.parity),
    ("cost", "Error against cost", sections.cost),
    ("size", "Error against number of parameters", sections.size),
    ("learning", "Learning curves", sections.learning),
    ("scaling", "Scaling with the number of atoms", sections.scaling),
    ("data", "Data", sections.data),
    ("settings", "Settings", sections.settings),
    ("measured", "How it was measured", sections.measured),
    ("failures", "Failures", sections.failures),
)
# No address of another computer may be asked for anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def write_html(path, content, predictions):
    """Write the page of a comparison, atomically.

    Parameters
    ----------
    path : path
        The file.
    content : dict
        What ``results.json`` holds; of what it lacks the page says nothing.
    predictions : dict of str to tuple
        Of each method: targets, predictions (structured arrays) and numbers of atoms of the test set.
    """
    write_atomically(Path(path), html_page(content, predictions).encode())


def html_page(content, predictions):
    """The page as a string; parameters as of `write_html`."""
    parts = [(name, title, make(content, predictions)) for name, title, make in _SECTIONS]
    parts = [part for part in parts if part[2]]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in parts)
    body = "".join(f'<section id="{name}"><h2>{title}</h2>\n{part}</section>\n' for name, title, part in parts)
    title = _title(content)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>
{_resource("report.css")}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>
{_about(content)}<nav aria-label="Sections"><ul>{links}</ul></nav>
{_notice(content)}</header>
<main>
{body}</main>
<script>
{_resource("report.js")}</script>
</body>
</html>
"""


def _resource(name):
    return files("mlfeat.cli").joinpath(name).read_text(encoding="utf-8")


def _title(content):
    name = content.get("train", {}).get("name", "").removesuffix(", train")
    return "Comparison of potentials" + (f": {name}" if name else "")


def _about(content):
    """A line on the data and the origin of the page."""
    counts = [
        f"{content[name]['structures']} structures ({content[name]['atoms']} atoms) for {purpose}"
        for name, purpose in (("train", "training"), ("test", "the test"))
        if name in content
    ]
    methods = ", ".join(method["label"] for method in content.get("methods", []))
    origin = " ".join(filter(None, ("mlfeat", content.get("mlfeat_version"))))
    origin += f", {content['started'][:10]}" if content.get("started") else ""
    lines = [methods, "; ".join(counts), origin]
    return "".join(f'<p class="muted">{escape(line)}</p>\n' for line in lines if line)


def _notice(content):
    failed = sections.failed(content)
    if not failed:
        return ""
    names = ", ".join(dict.fromkeys(label for label, _, _ in failed))
    text = f'Not everything succeeded ({escape(names)}): see <a href="#failures">Failures</a>.'
    return f'<p class="failed" role="note">{text}</p>\n'
