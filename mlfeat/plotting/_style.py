"""What all figures share: colors, markers, grid, logarithmic axes, and rows of panels."""

import numpy as np

__all__ = ["COLORS", "GRID", "MARKERS", "add_grid", "legend_entries", "make_logarithmic", "panels"]

# Okabe and Ito's colors, which color-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRID = {"color": "0.9", "linewidth": 0.8}


def panels(figure, title, n_panels, size, axes=None):
    """Make a row of panels.

    Parameters
    ----------
    figure : matplotlib.figure.Figure or None
        Where to draw; None makes a figure with pyplot.
    title : str
        Title of the figure.
    n_panels : int
        Number of panels.
    size : tuple of float
        Width and height of a panel, inches.
    axes : sequence of matplotlib.axes.Axes or None, default=None
        Draw there instead; they may belong to figures of their own.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    axes : array of matplotlib.axes.Axes, shape (n_panels,)
        Its panels.

    Raises
    ------
    ValueError
        If there are not as many axes as panels.
    """
    if axes is not None:
        axes = np.ravel(axes)
        if len(axes) != n_panels:
            raise ValueError(f"there are {len(axes)} axes for {n_panels} panels")
        return axes[0].figure, axes
    if figure is None:
        from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

        figure = pyplot.figure()
    width, height = size
    figure.set_size_inches(width * n_panels, height)
    figure.set_layout_engine("constrained")
    if title:
        figure.suptitle(title)
    return figure, figure.subplots(1, n_panels, squeeze=False)[0]


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
