"""Errors against cost or size."""

import numpy as np

from mlfeat.plotting._panels import PanelDisplay
from mlfeat.plotting._quantities import ERRORS, is_number
from mlfeat.plotting._style import COLORS, MARKERS, make_logarithmic

_COSTS = {"us_per_atom": "cost (µs per atom and step, one core)", "n_parameters": "number of parameters"}


class ParetoDisplay(PanelDisplay):
    """Errors of several methods, with several settings each, against computing cost or number of parameters.

    There is a panel for energies and one for forces. Settings of a method are joined by a line; the Pareto front joins
    those that no other beats in both test error and cost. Use `from_results` to make one.

    Parameters
    ----------
    points : dict of str to list of dict
        Points of each method by its label: ``x`` (float), ``train`` and ``test`` (dict with ``energy_rmse``, eV/atom,
        and ``force_rmse``, eV/Å).
    cost : {"us_per_atom", "n_parameters"}
        What ``x`` is.
    sets : tuple of {"train", "test"}
        Whose errors are drawn.

    Attributes
    ----------
    quantities : list of str
        What has a panel: "energy_rmse", "force_rmse".
    figure_ : matplotlib.figure.Figure
        The figure, not shown and not saved.
    axes_ : array of matplotlib.axes.Axes
        Its panels, one a quantity.
    """

    _size = 4.6, 4.1

    def __init__(self, points, cost, sets):
        self.points, self.cost, self.sets = points, cost, sets
        self._errors = [
            error
            for error in ERRORS[:2]
            if any(len(_coordinates(found, name, error)) for found in points.values() for name in sets)
        ]
        self.quantities = [error.key for error in self._errors]

    @classmethod
    def from_results(cls, results, *, cost="us_per_atom", sets=("test",), title="", figure=None, axes=None):
        """Draw results of a comparison.

        Parameters
        ----------
        results : list of dict
            One dictionary a method: ``label`` (str), ``us_per_atom`` (µs per atom and step on one core),
            ``n_parameters``, ``test`` and ``train`` (dictionaries with ``energy_rmse``, eV/atom, and ``force_rmse``,
            eV/Å, as of :func:`mlfeat.metrics.evaluate`), and optionally ``variants``, a list of the same for other
            settings; as ``methods`` in ``results.json`` of ``mlfeat compare``. What lacks a cost or errors (None or
            NaN) is left out.
        cost : {"us_per_atom", "n_parameters"}, default="us_per_atom"
            The abscissa.
        sets : tuple of {"train", "test"}, default=("test",)
            Whose errors to draw; those of training have open markers.
        title : str, default=""
            Title of the figure.
        figure : matplotlib.figure.Figure or None, default=None
            Where to draw; None makes a figure with pyplot.
        axes : sequence of matplotlib.axes.Axes or None, default=None
            Where to draw instead, one for each quantity.

        Returns
        -------
        ParetoDisplay

        Raises
        ------
        ValueError
            If no method has both a cost and an error, or `cost` is neither of the two.
        """
        if cost not in _COSTS:
            raise ValueError(f"cost={cost!r}: must be one of {', '.join(_COSTS)}")
        points = {result["label"]: list(_points(result, cost, sets)) for result in results}
        display = cls(points, cost, sets)
        if not display.quantities:
            raise ValueError(f"no result has both {cost} and an error of {' or '.join(sets)}")
        return display.plot(title=title, figure=figure, axes=axes)

    def _panels(self):
        return self._errors

    def _draw(self, ax, panel):
        front = []
        for index, (label, found) in enumerate(self.points.items()):
            style = {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)], "zorder": 3}
            for name in self.sets:
                xy = _coordinates(found, name, panel)
                if not len(xy):
                    continue
                if name == "test":
                    ax.plot(*xy.T, linewidth=1, markersize=7, markeredgecolor="white", label=label, **style)
                    front.append(xy)
                else:
                    ax.plot(*xy.T, linewidth=1, linestyle=":", markersize=6, markerfacecolor="none", **style)
        if front:
            front = pareto_front(np.concatenate(front))
            ax.plot(*front.T, color="0.6", linestyle="--", linewidth=5, alpha=0.4, zorder=2, label="Pareto front")
        make_logarithmic(ax, "xy")
        ax.set(xlabel=_COSTS[self.cost], ylabel=f"{' and '.join(self.sets)} {panel.label}")


def pareto_front(points):
    """Select the points that no other beats in both coordinates.

    Parameters
    ----------
    points : array of shape (n, 2)
        Cost and error.

    Returns
    -------
    array of shape (n_front, 2)
        By growing cost.
    """
    front = []
    for point in points[np.lexsort(points.T[::-1])]:
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return np.array(front)


def _points(result, cost, sets):
    """The method and its variants, those with a cost, from cheap to dear."""
    found = [
        {"x": one[cost], **{name: one.get(name) or {} for name in sets}}
        for one in (result, *result.get("variants", ()))
        if is_number(one.get(cost))
    ]
    return sorted(found, key=lambda point: point["x"])


def _coordinates(points, name, error):
    found = [
        (point["x"], error.factor * point[name][error.key]) for point in points if is_number(point[name].get(error.key))
    ]
    return np.array(found).reshape(-1, 2)
