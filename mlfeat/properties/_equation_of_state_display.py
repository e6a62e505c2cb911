"""Picture of equations of state."""

import numpy as np

from mlfeat.plotting._style import COLORS, MARKERS, add_grid
from mlfeat.properties._display import PropertyDisplay, two_of
from mlfeat.properties._equation_of_state import EquationOfState, equation_of_state, fit_equation_of_state

__all__ = ["EquationOfStateDisplay"]


class EquationOfStateDisplay(PropertyDisplay):
    """Energy of a crystal against its volume, with the fitted curve, beside a reference.

    Energies are drawn relative to the least one of each curve: those of different methods differ by a constant.

    Parameters
    ----------
    result : EquationOfState
        What is drawn.
    reference : EquationOfState, tuple of (volumes, energies), or None
        What it is compared with, that of DFT for instance: a fitted equation of state, or volumes (Å³/atom) and
        energies (eV/atom), four or more, to which one is fitted.
    label : str, default="model"
        What the legend says of `result`.
    reference_label : str, default="reference"
        What it says of `reference`.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn; there once it is.
    figure_ : matplotlib.figure.Figure
        Its figure.

    Raises
    ------
    TypeError
        If the reference is none of these.

    See Also
    --------
    equation_of_state : Calculates what is drawn.

    Examples
    --------
    >>> EquationOfStateDisplay.from_estimator(model, bulk("Mo"), label="SNAP")  # doctest: +SKIP
    """

    def __init__(self, result, *, reference=None, label="model", reference_label="reference"):
        if not isinstance(reference, EquationOfState | None):
            reference = fit_equation_of_state(*two_of(reference, "equation_of_state", "volumes and energies"))
        super().__init__(result, reference=reference, label=label, reference_label=reference_label)

    @staticmethod
    def _calculate(atoms, calculator, **options):
        return equation_of_state(atoms, calculator, **options)

    def plot(self, ax=None, *, color=COLORS[0], marker=MARKERS[0]):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; None makes a figure with pyplot. Several displays may share one.
        color : str, default="#0072B2"
            Color of points and curve; the reference is black.
        marker : str, default="o"
            Marker of the points.

        Returns
        -------
        EquationOfStateDisplay
            Itself.
        """
        if ax is None:
            from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

            _, ax = pyplot.subplots(figsize=(5.4, 4.2), layout="constrained")
        if self.reference is not None:
            _draw(ax, self.reference, self.reference_label, "black", "x", "--")
        _draw(ax, self.result, self.label, color, marker, "-")
        ax.set_xlabel("volume (Å³/atom)")
        ax.set_ylabel("energy above the least (meV/atom)")
        add_grid(ax)
        ax.legend(fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _draw(ax, state, label, color, marker, line):
    volumes = np.linspace(state.volumes.min(), state.volumes.max(), 200)
    text = f"{label}: {state.volume:.2f} Å³/atom, {state.bulk_modulus:.3g} GPa"
    ax.plot(volumes, 1000 * (state.fitted(volumes) - state.energy), line, color=color, linewidth=1.2)
    ax.plot(state.volumes, 1000 * (state.energies - state.energy), marker, color=color, markersize=5, label=text)
