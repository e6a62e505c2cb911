"""Phonon bands and density of states, a reference beside them."""

import numpy as np

from mlfeat.plotting._style import COLORS, GRID
from mlfeat.properties._display import PropertyDisplay, two_of
from mlfeat.properties._phonons import Phonons, phonons

__all__ = ["PhononDisplay"]

_REFERENCE = {"color": "0.45", "linewidth": 1.1, "linestyle": "--"}
_ON_PATH = 1e-3  # how far wave vectors of reference points may be from the path, in units of the reciprocal lattice


class PhononDisplay(PropertyDisplay):
    """Phonon dispersion with the density of states beside it.

    Parameters
    ----------
    result : Phonons
        What to draw.
    reference : Phonons, tuple of (array of shape (n, 3), array of shape (n,) or (n, n_bands)), or None
        What to draw beside it, gray: phonons along the same path (dashed), such as those of DFT's forces by the same
        function; or wave vectors, in units of the reciprocal lattice vectors of the primitive cell, and frequencies
        (THz), as measured ones (circles), of which those on the path are drawn.
    label : str, default="model"
        Name of the phonons in the legend; there is none without a reference.
    reference_label : str, default="reference"
        Name of the reference.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure.
    axes_ : array of matplotlib.axes.Axes, shape (2,)
        Panels of the bands and of the density of states.

    Raises
    ------
    ValueError
        If the reference has another path, or other shapes.
    TypeError
        If it is none of these.
    """

    def __init__(self, result, *, reference=None, label="model", reference_label="reference"):
        if isinstance(reference, Phonons) and reference.labels != result.labels:
            raise ValueError(
                f"the reference has another path: {_name(reference.labels)}, not {_name(result.labels)}; "
                "calculate both with the same path"
            )
        reference = reference if reference is None or isinstance(reference, Phonons) else _points(reference)
        super().__init__(result, reference=reference, label=label, reference_label=reference_label)

    @staticmethod
    def _calculate(atoms, calculator, **options):
        return phonons(atoms, calculator, **options)

    def plot(self, figure=None):
        """Draw.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or None
            Where to draw; None makes a figure with pyplot.

        Returns
        -------
        PhononDisplay
            Itself.
        """
        if figure is None:
            from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

            figure = pyplot.figure(figsize=(7.2, 4.2))
        figure.set_layout_engine("constrained")
        self.figure_ = figure
        self.axes_ = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
        bands, density = self.axes_
        own = {"color": COLORS[0], "linewidth": 1.4, "zorder": 3, "label": self.label}
        if isinstance(self.reference, Phonons):
            style = {**_REFERENCE, "zorder": 4, "label": self.reference_label}
            _draw_bands(bands, self.result, self.reference, style)
            density.plot(self.reference.dos, self.reference.dos_frequencies, **style)
        elif self.reference is not None:
            _draw_points(bands, self.result, *self.reference, self.reference_label)
        _draw_bands(bands, self.result, self.result, own)
        density.plot(self.result.dos, self.result.dos_frequencies, **own)
        density.fill_betweenx(self.result.dos_frequencies, self.result.dos, color=COLORS[0], alpha=0.15, linewidth=0)
        self._finish(bands, density)
        return self

    def _finish(self, bands, density):
        ticks, names = _ticks(self.result)
        bands.set_xticks(ticks, names)
        bands.set(xlim=(0, self.result.distances[-1]), ylabel="frequency (THz)")
        if self.result.lowest_frequency > -0.05:
            bands.set_ylim(bottom=0)
        density.set_xlim(left=0)
        density.set_xlabel("DOS (1/THz)")
        for ax in (bands, density):
            ax.axhline(0, color="0.3", linewidth=0.8, zorder=1)
            ax.grid(axis="y", **GRID)
            ax.set_axisbelow(True)
        bands.grid(axis="x", color="0.6", linewidth=0.8)
        bands.tick_params(axis="x", length=0)
        if self.reference is not None:
            handles, labels = bands.get_legend_handles_labels()
            entries = dict(zip(labels, handles, strict=True))
            place = {"loc": "outside upper center", "ncols": 2, "frameon": False}
            self.figure_.legend(entries.values(), entries.keys(), **place)


def _name(labels):
    return ", ".join("-".join(pair) for pair in labels)


def _points(reference):
    pair = two_of(reference, "phonons", "wave vectors and frequencies")
    qpoints, frequencies = (np.asarray(part, dtype=float) for part in pair)
    if qpoints.ndim != 2 or qpoints.shape[1] != 3 or len(frequencies) != len(qpoints) or frequencies.ndim > 2:
        raise ValueError(
            f"reference: wave vectors of shape {qpoints.shape} and frequencies of shape {frequencies.shape}; "
            "must be (n, 3), and (n,) or (n, n_bands)"
        )
    return qpoints, frequencies.reshape(len(qpoints), -1)


def _draw_bands(ax, frame, found, style):
    """Bands of `found`, stretched to the path of `frame`: lattice constants may differ a little."""
    for place, segment in zip(frame.segments, found.segments, strict=True):
        start, stop = frame.distances[place.start], frame.distances[place.stop - 1]
        own = found.distances[segment] - found.distances[segment.start]
        ax.plot(start + own * (stop - start) / own[-1], found.frequencies[segment], **style)


def _draw_points(ax, frame, qpoints, frequencies, label):
    style = {"linestyle": "", "marker": "o", "markersize": 4.5, "markerfacecolor": "none", "color": "0.35"}
    for place in frame.segments:
        start, end = frame.qpoints[place.start], frame.qpoints[place.stop - 1]
        along = (qpoints - start) @ (end - start) / ((end - start) @ (end - start))
        away = np.abs(start + along[:, None] * (end - start) - qpoints).max(axis=1)
        kept = (away < _ON_PATH) & (along > -_ON_PATH) & (along < 1 + _ON_PATH)
        first, last = frame.distances[place.start], frame.distances[place.stop - 1]
        ax.plot(first + along[kept] * (last - first), frequencies[kept], zorder=4, label=label, **style)


def _ticks(found):
    """Distances and names of the ends of the segments, both names where the path jumps."""
    ticks, names = [found.distances[0]], [found.labels[0][0]]
    for number, (place, (start, end)) in enumerate(zip(found.segments, found.labels, strict=True)):
        if number and start != names[-1]:
            names[-1] += f"|{start}"
        ticks.append(found.distances[place.stop - 1])
        names.append(end)
    return ticks, names
