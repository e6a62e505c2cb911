"""Predicted against reference values."""

import numpy as np
from ase import units

from mlfeat.base import predict_targets
from mlfeat.plotting._panels import PanelDisplay
from mlfeat.plotting._style import COLORS
from mlfeat.targets import as_targets, get_groups, make_targets

_FEW = 500  # points


class ParityDisplay(PanelDisplay):
    """Predicted against reference energies, force components and stress components.

    There is a panel for each quantity that the targets hold, with the root-mean-square error written in it.
    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    values : dict of str to tuple
        Of each quantity ("energy", "force" or "stress"): reference values, predicted values (eV/atom, eV/Å, GPa) and
        groups, or None for these; 1-d arrays of the same length.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure, not shown and not saved.
    axes_ : array of matplotlib.axes.Axes
        Its panels, one a quantity.

    See Also
    --------
    sklearn.metrics.PredictionErrorDisplay : The same for one number a sample.
    """

    _size = 4.2, 4.1

    def __init__(self, values):
        self.values = values

    @classmethod
    def from_estimator(cls, model, structures, targets=None, *, by_group=False, title="", figure=None, axes=None):
        """Predict structures and draw the predictions.

        Parameters
        ----------
        model : Pipeline, or search over one
            A fitted one.
        structures : list of ase.Atoms
            What to predict.
        targets : structured array of shape (n_structures,) or None, default=None
            The truth; None for ``make_targets(structures)``.
        by_group : bool, default=False
            Color the points by the groups of the structures, ``atoms.info["group"]``.
        title : str, default=""
            Title of the figure.
        figure : matplotlib.figure.Figure or None, default=None
            Where to draw; None makes a figure with pyplot.
        axes : sequence of matplotlib.axes.Axes or None, default=None
            Where to draw instead, one for each quantity.

        Returns
        -------
        ParityDisplay

        Raises
        ------
        ValueError
            If there is nothing to compare.
        """
        targets = make_targets(structures) if targets is None else as_targets(targets, len(structures))
        return cls.from_predictions(
            targets,
            predict_targets(model, structures),
            [len(atoms) for atoms in structures],
            groups=get_groups(structures) if by_group else None,
            title=title,
            figure=figure,
            axes=axes,
        )

    @classmethod
    def from_predictions(cls, targets, predictions, n_atoms, *, groups=None, title="", figure=None, axes=None):
        """Draw predictions that are known already.

        Parameters
        ----------
        targets, predictions : structured arrays, shape (n_structures,)
            Reference and predicted energy (eV), forces (eV/Å) and stress (eV/Å³), as from
            :func:`mlfeat.make_targets` and :func:`mlfeat.predict_targets`.
        n_atoms : array-like of int, shape (n_structures,)
            Atoms in each structure, for energies per atom.
        groups : array-like of str, shape (n_structures,), or None, default=None
            Color the points by these.
        title : str, default=""
            Title of the figure.
        figure : matplotlib.figure.Figure or None, default=None
            Where to draw; None makes a figure with pyplot.
        axes : sequence of matplotlib.axes.Axes or None, default=None
            Where to draw instead, one for each quantity.

        Returns
        -------
        ParityDisplay

        Raises
        ------
        ValueError
            If there is nothing to compare, or the lengths differ.
        """
        n_atoms = np.asarray(n_atoms)
        if not len(targets) == len(predictions) == len(n_atoms):
            lengths = f"{len(targets)}, {len(predictions)} and {len(n_atoms)}"
            raise ValueError(f"targets, predictions and n_atoms have different lengths: {lengths}")
        if groups is not None and len(groups) != len(targets):
            raise ValueError(f"targets and groups have different lengths: {len(targets)} and {len(groups)}")
        values = {name: found for name, *found in _values(targets, predictions, n_atoms, groups) if len(found[0])}
        if not values:
            raise ValueError("no finite reference value to compare with")
        return cls(values).plot(title=title, figure=figure, axes=axes)

    def _panels(self):
        return [(color, name, *found) for color, (name, found) in zip(COLORS, self.values.items(), strict=False)]

    def _draw(self, ax, panel):
        _draw(ax, *panel)

    def _add_legend(self, entries, *, in_own_figure):
        legend = super()._add_legend(entries, in_own_figure=in_own_figure)
        for handle in legend.legend_handles if legend else ():
            handle.set(alpha=1, sizes=[24])  # points are small and pale, there are many


_UNITS = {"energy": "eV/atom", "force": "eV/Å", "stress": "GPa"}


def _values(targets, predictions, n_atoms, groups):
    """Name, reference and predicted values (1-d, finite) and groups of each quantity."""
    labels = np.arange(len(targets)) if groups is None else np.asarray(groups)
    has_forces = [index for index, forces in enumerate(targets["forces"]) if forces is not None]
    forces = [
        np.concatenate([np.ravel(array["forces"][index]) for index in has_forces] or [[]])
        for array in (targets, predictions)
    ]
    stress = [np.ravel(array["stress"]) / units.GPa for array in (targets, predictions)]
    energy = [array["energy"] / n_atoms for array in (targets, predictions)]
    for name, (reference, predicted), repeats in (
        ("energy", energy, np.ones(len(targets), dtype=int)),
        ("force", forces, np.where([forces is None for forces in targets["forces"]], 0, 3 * n_atoms)),
        ("stress", stress, np.full(len(targets), 6)),
    ):
        known = np.isfinite(reference) & np.isfinite(predicted)
        found = None if groups is None else np.repeat(labels, repeats)[known]
        yield name, reference[known], predicted[known], found


def _draw(ax, color, name, reference, predicted, groups):
    values = np.concatenate([reference, predicted])
    margin = 0.04 * max(np.ptp(values), 1e-9)
    limits = (values.min() - margin, values.max() + margin)
    ax.plot(limits, limits, color="0.6", linewidth=1, zorder=1)
    size, alpha = (16, 0.8) if len(reference) < _FEW else (6, 0.35)
    # Thousands of points as vectors make a slow file of many megabytes.
    style = {"s": size, "alpha": alpha, "linewidths": 0, "rasterized": True, "zorder": 2}
    if groups is None:
        ax.scatter(reference, predicted, color=color, **style)
    else:
        for index, group in enumerate(dict.fromkeys(groups.tolist())):
            here = groups == group
            color = COLORS[index % len(COLORS)]
            ax.scatter(reference[here], predicted[here], color=color, label=group or "no group", **style)
    error, unit = np.sqrt(np.mean((predicted - reference) ** 2)), _UNITS[name]
    text = f"RMSE {1000 * error:.3g} meV/atom" if name == "energy" else f"RMSE {error:.3g} {unit}"
    ax.text(0.05, 0.95, f"{text}\n{len(reference)} values", transform=ax.transAxes, va="top")
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.locator_params(nbins=5)
    what = name if name == "energy" else f"{name} component"
    ax.set(xlabel=f"reference {what} ({unit})", ylabel=f"predicted {what} ({unit})")
