"""What all figures share: colors, markers, grid, logarithmic axes and legends."""

import numpy as np

__all__ = ["COLORS", "GRID", "MARKERS", "add_grid", "legend_entries", "make_logarithmic"]

# Okabe and Ito's colors, which color-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRID = {"color": "0.9", "linewidth": 0.8}


def add_grid(ax):
    """Draw a light grid behind the data.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where.
    """
    ax.grid(**GRID)
    ax.set_axisbelow(True)


def make_logarithmic(ax, axes="y"):
    """Scale axes logarithmically, with plain numbers, more of them in a decade where there are few decades.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where; the data are drawn already.
    axes : {"x", "y", "xy"}, default="y"
        Which of its axes.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    for name in axes:
        getattr(ax, f"set_{name}scale")("log")
        axis = getattr(ax, f"{name}axis")
        low, high = axis.get_view_interval()
        decades = np.log10(high / low)
        subs = (1, 2, 3, 4, 6, 8) if decades < 1 else (1, 2, 5) if decades < 2 else (1,)
        axis.set_major_locator(LogLocator(subs=subs) if decades > 0.5 else MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def legend_entries(axes):
    """Collect what a common legend of several panels says.

    Parameters
    ----------
    axes : iterable of matplotlib.axes.Axes
        The panels.

    Returns
    -------
    dict
        Handles by label, each label once.
    """
    entries = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    return entries
