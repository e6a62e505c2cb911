"""Picture of the numbers of a crystal."""

import numbers
from collections.abc import Mapping

import numpy as np

from mlfeat.plotting._style import COLORS, legend_entries
from mlfeat.properties._display import PropertyDisplay
from mlfeat.properties._names import description, deviation, text_of
from mlfeat.properties._summary import crystal_properties

__all__ = ["CrystalPropertiesDisplay"]

_ROW = 0.36  # inches, of a property
_HEAD = 0.28  # of the unit above a panel, and of the legend


class CrystalPropertiesDisplay(PropertyDisplay):
    """Numbers of a crystal as bars, those of a reference beside them, a panel for each unit.

    Values are written at the bars, with the deviation from the reference in percent.

    Parameters
    ----------
    result : dict of str to float
        What to draw, by the names that `crystal_properties` has. None and NaN count as missing.
    reference : dict of str to float, or None
        What to draw beside it, gray: numbers of DFT or of measurements, by the same names. It may lack some; those that
        the result lacks are not drawn.
    label : str, default="model"
        Name of the result in the legend; there is none without a reference.
    reference_label : str, default="reference"
        Name of the reference.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure.
    axes_ : array of matplotlib.axes.Axes, shape (n_units,)
        Its panels.

    Raises
    ------
    TypeError
        If the result or the reference is not a dictionary of numbers.
    ValueError
        If there is nothing to draw, or the reference has none of the names of the result.

    See Also
    --------
    crystal_properties : Calculates what is drawn.

    Examples
    --------
    >>> CrystalPropertiesDisplay.from_estimator(
    ...     model, bulk("Mo"), which=("lattice", "elastic"), reference={"C11": 472, "C12": 158, "C44": 106}
    ... )  # doctest: +SKIP
    """

    def __init__(self, result, *, reference=None, label="model", reference_label="reference"):
        result = _checked("result", result)
        if not result:
            raise ValueError("result has no numbers")
        if reference is not None:
            reference = _checked("reference", reference)
            if not result.keys() & reference:
                raise ValueError(f"reference has {_listed(reference)}, none of {_listed(result)}")
        super().__init__(result, reference=reference, label=label, reference_label=reference_label)

    @staticmethod
    def _calculate(atoms, calculator, **options):
        return crystal_properties(atoms, calculator, **options)

    def plot(self, figure=None):
        """Draw.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or None
            Where to draw; None makes a figure with pyplot, as high as its bars need.

        Returns
        -------
        CrystalPropertiesDisplay
            Itself.
        """
        panels = {}
        for key in self.result:
            panels.setdefault(description(key).unit, []).append(key)
        if figure is None:
            from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

            height = _ROW * len(self.result) + _HEAD * (len(panels) + (self.reference is not None))
            figure = pyplot.figure(figsize=(5.8, height))
        figure.set_layout_engine("constrained")
        heights = [len(keys) for keys in panels.values()]
        self.figure_ = figure
        self.axes_ = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
        for ax, (unit, keys) in zip(self.axes_, panels.items(), strict=True):
            self._draw(ax, unit, keys)
        if self.reference is not None:
            entries = legend_entries(self.axes_)
            place = {"loc": "outside upper center", "ncols": 2, "frameon": False, "fontsize": "small"}
            figure.legend(entries.values(), entries.keys(), **place)
        return self

    def _draw(self, ax, unit, keys):
        reference = self.reference or {}
        places = np.arange(len(keys))
        shared = np.array([key in reference for key in keys])
        texts = [_with_deviation(key, self.result[key], reference.get(key)) for key in keys]
        thickness = np.where(shared, 0.38, 0.5)
        values = [self.result[key] for key in keys]
        _bars(ax, places - 0.2 * shared, values, thickness, texts, {"color": COLORS[0], "label": self.label})
        known = [key for key in keys if key in reference]
        if known:
            values, texts = [reference[key] for key in known], [text_of(key, reference[key]) for key in known]
            _bars(ax, places[shared] + 0.2, values, 0.38, texts, {"color": "0.65", "label": self.reference_label})
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.set_yticks(places, [description(key).name for key in keys], fontsize="small")
        ax.set_ylim(len(keys) - 0.5, -0.5)
        left, right = ax.dataLim.intervalx
        ax.margins(x=0.6 if left < 0 < right else 0.35)  # for the values, between bars and names too
        ax.set_title(unit, loc="left", fontsize="small", color="0.4")
        ax.tick_params(left=False, bottom=False, labelbottom=False)
        ax.spines[:].set_visible(False)


def _bars(ax, places, values, thickness, texts, style):
    bars = ax.barh(places, values, thickness, **style)
    ax.bar_label(bars, texts, padding=4, fontsize="small")


def _with_deviation(key, value, reference):
    percent = deviation(key, value, reference)
    return text_of(key, value) + ("" if percent is None else f"  {percent:+z.1f}%")


def _checked(name, values):
    """The numbers of a dictionary, without those that are missing."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{name}={values!r}: must be a dictionary of numbers, as crystal_properties returns")
    for key, value in values.items():
        if not isinstance(value, numbers.Real | None):
            raise TypeError(f"{name} has {key}={value!r}: must be a number")
    return {key: float(value) for key, value in values.items() if value is not None and np.isfinite(value)}


def _listed(values):
    return ", ".join(values) or "no numbers"
