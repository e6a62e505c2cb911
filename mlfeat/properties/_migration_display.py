"""Energy along the path of a vacancy."""

import numpy as np
from ase.utils.forcecurve import fit_images

from mlfeat.plotting._style import COLORS, add_grid
from mlfeat.properties._display import PropertyDisplay
from mlfeat.properties._migration import MigrationPath, vacancy_migration

__all__ = ["MigrationDisplay"]


class MigrationDisplay(PropertyDisplay):
    """Energy of the images along the path of a vacancy, joined by a curve that has the slope of their forces.

    Parameters
    ----------
    result : MigrationPath
        What to draw.
    reference : MigrationPath or None
        Another path to draw beside it, gray, such as one of DFT.
    label : str, default="model"
        Name of the path in the legend; there is none without a reference.
    reference_label : str, default="reference"
        Name of the reference.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure.
    ax_ : matplotlib.axes.Axes
        Its panel.

    Raises
    ------
    TypeError
        If the reference is not a path.
    """

    def __init__(self, result, *, reference=None, label="model", reference_label="reference"):
        if not isinstance(reference, MigrationPath | None):
            raise TypeError(f"reference={reference!r}: must be what vacancy_migration returns")
        super().__init__(result, reference=reference, label=label, reference_label=reference_label)

    @staticmethod
    def _calculate(atoms, calculator, **options):
        return vacancy_migration(atoms, calculator, **options)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None
            Where to draw; None makes a figure with pyplot.

        Returns
        -------
        MigrationDisplay
            Itself.
        """
        if ax is None:
            from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

            _, ax = pyplot.subplots(figsize=(4.8, 3.6), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        if self.reference is not None:
            _draw(ax, self.reference, "0.45", "--", self.reference_label)
        _draw(ax, self.result, COLORS[0], "-", self.label)
        ax.set(xlabel="length of the path (Å)", ylabel="energy (eV)")
        add_grid(ax)
        if self.reference is not None:
            ax.legend(frameon=False)
        return self


def _draw(ax, path, color, linestyle, label):
    curve = fit_images(path.images)
    name = f"{label}: {path.barrier:.2f} eV"
    ax.plot(curve.fit_path, np.asarray(curve.fit_energies), color=color, linestyle=linestyle, label=name)
    ax.plot(path.distances, path.energies, linestyle="", marker="o", markersize=5, color=color)
