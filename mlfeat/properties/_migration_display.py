"""Energy along the path of a vacancy."""

import numpy as np
from ase.utils.forcecurve import fit_images

from mlfeat.plotting._style import COLORS, add_grid
from mlfeat.properties._migration import vacancy_migration

__all__ = ["MigrationDisplay"]


class MigrationDisplay:
    """Energy of the images along the path of a vacancy, joined by a curve that has the slope of their forces.

    Parameters
    ----------
    path : MigrationPath
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
    """

    def __init__(self, path, *, reference=None, label="model", reference_label="reference"):
        self.path = path
        self.reference = reference
        self.label = label
        self.reference_label = reference_label

    @classmethod
    def from_path(cls, path, *, ax=None, **options):
        """Draw a path.

        Parameters
        ----------
        path : MigrationPath
            What to draw.
        ax : matplotlib.axes.Axes or None
            As `plot` takes it.
        **options : dict
            `reference`, `label` and `reference_label`.

        Returns
        -------
        MigrationDisplay
        """
        return cls(path, **options).plot(ax)

    @classmethod
    def from_calculator(
        cls, calculator, atoms, *, reference=None, label="model", reference_label="reference", ax=None, **options
    ):
        """Calculate the path of a vacancy and draw it.

        Parameters
        ----------
        calculator : ase calculator, Pipeline, search or None
            As `vacancy_migration` takes it.
        atoms : ase.Atoms
            Any cell of a crystal.
        reference, label, reference_label : object
            As for the class.
        ax : matplotlib.axes.Axes or None
            As `plot` takes it.
        **options : dict
            Of `vacancy_migration`.

        Returns
        -------
        MigrationDisplay
        """
        path = vacancy_migration(atoms, calculator, **options)
        return cls(path, reference=reference, label=label, reference_label=reference_label).plot(ax)

    @classmethod
    def from_estimator(cls, estimator, atoms, **options):
        """Calculate the path of a vacancy with a fitted model and draw it.

        Parameters
        ----------
        estimator : Pipeline or search
            A fitted model.
        atoms : ase.Atoms
            Any cell of a crystal.
        **options : dict
            As `from_calculator` takes them.

        Returns
        -------
        MigrationDisplay
        """
        return cls.from_calculator(estimator, atoms, **options)

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
        _draw(ax, self.path, COLORS[0], "-", self.label)
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
