"""Errors during a training."""

import numpy as np
from ase import units

from mlfeat.plotting._panels import PanelDisplay
from mlfeat.plotting._style import COLORS, make_logarithmic

_QUANTITIES = (
    ("energy", 1000, "energy RMSE (meV/atom)"),
    ("forces", 1, "force RMSE (eV/Å)"),
    ("stress", 1 / units.GPa, "stress RMSE (GPa)"),
)


class TrainingHistoryDisplay(PanelDisplay):
    """Errors of a training after each epoch or iteration, and a mark at the parameters that were kept.

    There is a panel for each quantity that it was trained on, with one line for each member of a committee, on a
    logarithmic scale. With early stopping the errors on the structures set aside are drawn too; the mark is then on
    their lines. Use `from_estimator` to make one.

    Parameters
    ----------
    history : list of dict
        ``history_`` of a potential: errors after each epoch, one dictionary a member of a committee.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure, not shown and not saved.
    axes_ : array of matplotlib.axes.Axes
        Its panels, one a quantity.
    """

    _size = 4.2, 3.6

    def __init__(self, history):
        self.history = history

    @classmethod
    def from_estimator(cls, potential, *, title="", figure=None, axes=None):
        """Draw the history of a fitted potential.

        Parameters
        ----------
        potential : NeuralNetworkPotential, MomentTensorPotential or Pipeline
            A fitted one, or a Pipeline that ends in one. Iterations of a moment tensor potential are those of all
            levels.
        title : str, default=""
            Title of the figure.
        figure : matplotlib.figure.Figure or None, default=None
            Where to draw; None makes a figure with pyplot.
        axes : sequence of matplotlib.axes.Axes or None, default=None
            Where to draw instead, one for each quantity.

        Returns
        -------
        TrainingHistoryDisplay

        Raises
        ------
        ValueError
            If the potential has no history: it was read from files of another program, for example.
        """
        potential = getattr(potential, "best_estimator_", potential)
        potential = potential[-1] if hasattr(potential, "steps") else potential
        history = getattr(potential, "history_", None)
        if not history:
            raise ValueError("the potential has no history of a training: history_ is missing or empty")
        return cls(history).plot(title=title, figure=figure, axes=axes)

    def _panels(self):
        return [quantity for quantity in _QUANTITIES if np.isfinite(self.history[0][quantity[0]]).any()]

    def _draw(self, ax, panel):
        key, factor, label = panel
        for curve in self.history:
            _draw(ax, curve, key, factor)
        ax.set(xlabel="iteration" if "level" in self.history[0] else "epoch", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        make_logarithmic(ax)

    def _add_legend(self, entries, *, in_own_figure):
        self.axes_[0].legend(entries.values(), entries.keys(), frameon=False)


def _draw(ax, curve, key, factor):
    kinds = [kind for kind in (("", "training"), ("validation_", "validation")) if kind[0] + key in curve]
    epochs = 1 + np.arange(len(curve[key]))
    for color, (prefix, name) in zip(COLORS, kinds, strict=False):
        ax.plot(epochs, factor * curve[prefix + key], color=color, linewidth=1.2, label=name)
    last = kinds[-1][0]  # what decides
    kept = np.argmin(curve[last + "loss"])
    style = {"marker": "o", "linestyle": "", "color": COLORS[len(kinds) - 1], "label": "kept"}
    ax.plot(epochs[kept], factor * curve[last + key][kept], **style)
