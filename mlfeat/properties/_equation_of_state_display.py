"""Picture of equations of state."""

import numpy as np

from mlfeat.plotting._style import COLORS, MARKERS, add_grid
from mlfeat.properties._equation_of_state import EquationOfState, equation_of_state, fit_equation_of_state

__all__ = ["EquationOfStateDisplay"]


class EquationOfStateDisplay:
    """Energy of a crystal against its volume, with the fitted curve, beside a reference.

    Energies are drawn relative to the least one of each curve: those of different methods differ by a constant.

    Parameters
    ----------
    state : EquationOfState
        What is drawn.
    reference : EquationOfState, tuple of (volumes, energies), or None
        What it is compared with, that of DFT for instance: a fitted equation of state, or volumes (Å³/atom) and
        energies (eV/atom), four or more, to which one is fitted.
    label : str, default="model"
        What the legend says of `state`.
    reference_label : str, default="reference"
        What it says of `reference`.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn; there once it is.
    figure_ : matplotlib.figure.Figure
        Its figure.

    See Also
    --------
    equation_of_state : Calculates what is drawn.

    Examples
    --------
    >>> EquationOfStateDisplay.from_estimator(model, bulk("Mo"), label="SNAP")  # doctest: +SKIP
    """

    def __init__(self, state, *, reference=None, label="model", reference_label="reference"):
        if reference is not None and not isinstance(reference, EquationOfState):
            reference = fit_equation_of_state(*reference)
        self.state, self.reference = state, reference
        self.label, self.reference_label = label, reference_label

    @classmethod
    def from_state(cls, state, *, ax=None, **options):
        """Draw an equation of state.

        Parameters
        ----------
        state : EquationOfState
            What to draw.
        ax : matplotlib.axes.Axes or None
            As `plot` takes it.
        **options : dict
            `reference`, `label` and `reference_label`.

        Returns
        -------
        EquationOfStateDisplay
        """
        return cls(state, **options).plot(ax)

    @classmethod
    def from_calculator(
        cls, calculator, atoms, *, reference=None, label="model", reference_label="reference", ax=None, **options
    ):
        """Calculate the equation of state of a crystal and draw it.

        Parameters
        ----------
        calculator : ase calculator, Pipeline, search or None
            As `equation_of_state` takes it.
        atoms : ase.Atoms
            Any cell of a crystal.
        reference, label, reference_label : object
            As for the class; a reference may be an ASE calculator or a model too: its equation of state is then
            calculated with the same options.
        ax : matplotlib.axes.Axes or None
            As `plot` takes it.
        **options : dict
            Of `equation_of_state`.

        Returns
        -------
        EquationOfStateDisplay
        """
        if hasattr(reference, "get_property") or hasattr(reference, "predict"):
            reference = equation_of_state(atoms, reference, **options)
        state = equation_of_state(atoms, calculator, **options)
        return cls(state, reference=reference, label=label, reference_label=reference_label).plot(ax)

    @classmethod
    def from_estimator(cls, estimator, atoms, **options):
        """Calculate the equation of state of a fitted model and draw it.

        Parameters
        ----------
        estimator : Pipeline or search
            A fitted model, or a fitted search over one.
        atoms : ase.Atoms
            Any cell of a crystal.
        **options : dict
            As `from_calculator` takes them.

        Returns
        -------
        EquationOfStateDisplay
        """
        return cls.from_calculator(estimator, atoms, **options)

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
        _draw(ax, self.state, self.label, color, marker, "-")
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
