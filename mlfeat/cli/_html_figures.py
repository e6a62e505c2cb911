"""Figures of the HTML report, as SVG that takes the colors of the page."""

import io
import re
from html import escape

import numpy as np

from mlfeat.plotting._style import COLORS, MARKERS, add_grid, make_logarithmic

_SIZE = 3.9, 3.5  # inches
_INK = "#010203"  # stands for the page's color of text
_DPI = 110  # of points that are drawn as an image
_RC = {name: _INK for name in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")} | {
    "svg.fonttype": "none",
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
}
_PAGE = {_INK: "currentColor", "#000000": "currentColor", "#e6e6e6": "var(--line)", "#ffffff": "var(--paper)"}
_PAGE |= {color.lower(): f"var(--c{index})" for index, color in enumerate(COLORS[:6])}
_SHAPES = {
    "o": '<circle cx="12" cy="7" r="4.2"/>',
    "s": '<path d="M8 3h8v8H8z"/>',
    "^": '<path d="M12 2.5l5 9H7z"/>',
    "D": '<path d="M12 1.8L17.2 7 12 12.2 6.8 7z"/>',
    "v": '<path d="M12 11.5l5-9H7z"/>',
    "P": '<path d="M10.3 2.5h3.4v2.8h2.8v3.4h-2.8v2.8h-3.4V8.7H7.5V5.3h2.8z"/>',
    "X": '<path d="M9.5 2L12 4.5 14.5 2 17 4.5 14.5 7 17 9.5 14.5 12 12 9.5 9.5 12 7 9.5 9.5 7 7 4.5z"/>',
}


def display_figures(name, make, captions):
    """Panels of a display, each a figure of its own.

    Parameters
    ----------
    name : str
        Distinguishes the figures on the page.
    make : callable
        Makes a display, given ``figure``.
    captions : callable
        Gives the caption of an axes.

    Returns
    -------
    str
        HTML.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        display = make(figure=Figure())
        axes = [_figure().add_subplot() for _ in display.axes_]
        display.plot(axes=axes)
        return "".join(_html(f"{name}-{index}", ax, captions(ax)) for index, ax in enumerate(axes))


def scaling_figure(methods):
    """Time of a step against the number of atoms, and the slope of each method.

    Parameters
    ----------
    methods : list of dict
        As in ``results.json``; those without ``scaling`` are left out.

    Returns
    -------
    str
        HTML.
    """
    import matplotlib

    with matplotlib.rc_context(_RC):
        ax, slopes = _figure().add_subplot(), []
        for index, method in enumerate(methods):
            points = np.array([(one["atoms"], one["seconds_per_step"]) for one in method.get("scaling", [])])
            if not len(points):
                continue
            style = {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)]}
            ax.plot(*points.T, linewidth=1.2, markersize=5, **style)
            if (slope := slope_of(points)) is not None:
                slopes.append(f"{method['label']} {slope:.2f}")
        make_logarithmic(ax, "xy")
        ax.set(xlabel="atoms", ylabel="s per step, one core")
        add_grid(ax)
        text = "Time of a step against the number of atoms"
        return _html("scaling", ax, f"{text}; slopes: {', '.join(slopes)}." if slopes else f"{text}.")


def slope_of(points):
    """Power of the number of atoms with which the time grows; None of a single size."""
    points = np.asarray(points, dtype=float)
    if len(np.unique(points[:, 0])) < 2:
        return None
    return float(np.polyfit(*np.log(points).T, 1)[0])


def key(methods, *others):
    """Legend of the figures: the color and marker of each method."""
    items = [
        f'<li><svg viewBox="0 0 24 14" aria-hidden="true" fill="{_on_page(COLORS[index % len(COLORS)])}">'
        f"{_SHAPES[MARKERS[index % len(MARKERS)]]}</svg>{escape(method['label'])}</li>"
        for index, method in enumerate(methods)
        if method.get("status", "ok") == "ok"
    ]
    items += [f"<li>{_LINES[name]}{name}</li>" for name in others]
    return f'<ul class="key">{"".join(items)}</ul>\n'


def _line(style):
    return f'<svg viewBox="0 0 24 14" aria-hidden="true"><path d="M1 7h22" fill="none" {style}/></svg>'


_LINES = {
    "Pareto front": _line('stroke="#999999" stroke-opacity=".5" stroke-width="5" stroke-dasharray="8 4"'),
    "test": _line('stroke="currentColor" stroke-width="1.5"'),
    "training": _line('stroke="currentColor" stroke-width="1.5" stroke-dasharray="2 3"'),
}


def _on_page(color):
    return _PAGE.get(color.lower(), color)


def _figure():
    from matplotlib.figure import Figure

    return Figure(figsize=_SIZE, layout="constrained")


def _html(name, ax, caption):
    stream = io.StringIO()
    ax.figure.savefig(stream, format="svg", transparent=True, dpi=_DPI)
    drawing = _as_part_of_a_page(stream.getvalue(), name, caption)
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>\n"


def _as_part_of_a_page(svg, name, caption):
    """The drawing without what belongs to a file, its ids unlike those of other drawings, its colors the page's."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)[0]
    svg = re.sub(r"<svg[^>]*>", f'<svg {box} role="img" aria-label="{escape(caption)}">', svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b(?=[;\"])", lambda found: _on_page(found[0]), svg)
    return re.sub(r"\n\s*", "\n", svg)
