"""Figures about fitted potentials: predicted against reference values, error against cost, and errors during training.

All draw on a given figure or make one of pyplot's. They choose no backend and never call ``show``.
"""

import numpy as np
from ase import units

__all__ = ["learning_curve_plot", "pareto_plot", "parity_plot"]

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GRID = {"color": "0.9", "linewidth": 0.8}


def parity_plot(targets, predictions, n_atoms, *, title="", figure=None):
    """Draw predicted against reference energies, force components and stresses.

    A panel for each quantity that the targets hold, with the root-mean-square error written in it.

    Parameters
    ----------
    targets, predictions : structured arrays, shape (n_structures,)
        Reference and predicted energy (eV), forces (eV/Å) and stress (eV/Å³), as from
        :func:`mlfeat.make_targets` and :func:`mlfeat.predict_targets`.
    n_atoms : array-like of int, shape (n_structures,)
        Atoms in each structure, for energies per atom.
    title : str, default=""
        Title of the figure.
    figure : matplotlib.figure.Figure or None, default=None
        Where to draw; None makes a figure with pyplot.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, not shown and not saved.

    Raises
    ------
    ValueError
        If there is nothing to compare, or the lengths differ.
    """
    n_atoms = np.asarray(n_atoms)
    if not len(targets) == len(predictions) == len(n_atoms):
        lengths = f"{len(targets)}, {len(predictions)} and {len(n_atoms)}"
        raise ValueError(f"targets, predictions and n_atoms have different lengths: {lengths}")
    panels = [panel for panel in _parity_panels(targets, predictions, n_atoms) if len(panel[2])]
    if not panels:
        raise ValueError("no finite reference value to compare with")
    figure, axes = _panels(figure, title, len(panels), (4.2, 4.1))
    for ax, color, panel in zip(axes, _COLORS, panels, strict=False):
        _draw_parity(ax, color, *panel)
    return figure


def pareto_plot(results, *, title="", figure=None):
    """Draw test errors against computing cost, one point a method, and the Pareto front.

    Parameters
    ----------
    results : list of dict
        One dictionary a method: ``label`` (str), ``us_per_atom`` (µs per atom and step on one
        core), ``energy_rmse`` (eV/atom) and ``force_rmse`` (eV/Å). A method without a cost or an
        error (None or NaN) is left out.
    title : str, default=""
        As for `parity_plot`.
    figure : matplotlib.figure.Figure or None, default=None
        As for `parity_plot`.

    Returns
    -------
    matplotlib.figure.Figure
        As from `parity_plot`.

    Raises
    ------
    ValueError
        If no method has both a cost and an error.

    Notes
    -----
    The Pareto front joins the methods that no other beats in both error and cost.
    """
    panels = [
        (key, scale, label)
        for key, scale, label in (
            ("energy_rmse", 1000, "test energy RMSE (meV/atom)"),
            ("force_rmse", 1, "test force RMSE (eV/Å)"),
        )
        if any(_has(result, key) for result in results)
    ]
    if not panels:
        raise ValueError("no result has both us_per_atom and a test error")
    figure, axes = _panels(figure, title, len(panels), (4.6, 4.1))
    for ax, (key, scale, label) in zip(axes, panels, strict=True):
        _draw_pareto(ax, results, key, scale)
        ax.set_ylabel(label)
    legend = _legend(axes)
    place = {"loc": "outside lower center", "ncols": len(legend), "frameon": False}
    figure.legend(legend.values(), legend.keys(), **place)
    return figure


def learning_curve_plot(potential, *, title="", figure=None):
    """Draw the errors of a training after each epoch or iteration, and mark the parameters that were kept.

    A panel for each quantity that it was trained on, with one line for each member of a committee, on a logarithmic
    scale. With early stopping the errors on the structures set aside are drawn too; the mark is then on their lines.

    Parameters
    ----------
    potential : NeuralNetworkPotential or MomentTensorPotential
        A fitted one; of a Pipeline, ``model[-1]``. Iterations of a moment tensor potential are those of all levels.
    title : str, default=""
        As for `parity_plot`.
    figure : matplotlib.figure.Figure or None, default=None
        As for `parity_plot`.

    Returns
    -------
    matplotlib.figure.Figure
        As from `parity_plot`.

    Raises
    ------
    ValueError
        If the potential has no history: it was read from files of another program, for example.
    """
    history = getattr(potential, "history_", None)
    if not history:
        raise ValueError("the potential has no history of a training: history_ is missing or empty")
    panels = [panel for panel in _LEARNING_PANELS if np.isfinite(history[0][panel[0]]).any()]
    figure, axes = _panels(figure, title, len(panels), (4.2, 3.6))
    for ax, (key, factor, label) in zip(axes, panels, strict=True):
        for curve in history:
            _draw_learning(ax, curve, key, factor)
        ax.set(xlabel="iteration" if "level" in history[0] else "epoch", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        _make_logarithmic(ax)
    legend = _legend(axes)
    axes[0].legend(legend.values(), legend.keys(), frameon=False)
    return figure


_LEARNING_PANELS = (
    ("energy", 1000, "energy RMSE (meV/atom)"),
    ("forces", 1, "force RMSE (eV/Å)"),
    ("stress", 1 / units.GPa, "stress RMSE (GPa)"),
)


def _draw_learning(ax, curve, key, factor):
    kinds = [kind for kind in (("", "training"), ("validation_", "validation")) if kind[0] + key in curve]
    epochs = 1 + np.arange(len(curve[key]))
    for color, (prefix, name) in zip(_COLORS, kinds, strict=False):
        ax.plot(epochs, factor * curve[prefix + key], color=color, linewidth=1.2, label=name)
    last = kinds[-1][0]  # what decides
    kept = np.argmin(curve[last + "loss"])
    style = {"marker": "o", "linestyle": "", "color": _COLORS[len(kinds) - 1], "label": "kept"}
    ax.plot(epochs[kept], factor * curve[last + key][kept], **style)


def _make_logarithmic(ax):
    """Logarithmic ordinate with plain numbers, more in a decade where there are few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 30 * low else (1, 2, 3, 4, 6, 8)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(**_GRID)
    ax.set_axisbelow(True)


def _panels(figure, title, n_panels, size):
    """A figure with a row of panels of a size (inches), and their axes."""
    if figure is None:
        from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

        figure = pyplot.figure()
    width, height = size
    figure.set_size_inches(width * n_panels, height)
    figure.set_layout_engine("constrained")
    figure.suptitle(title)
    return figure, figure.subplots(1, n_panels, squeeze=False)[0]


def _legend(axes):
    """Handles by label, each label once."""
    entries = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    return entries


def _parity_panels(targets, predictions, n_atoms):
    """Name, unit, reference and predicted values (1-d, finite) of each quantity."""
    energies = (targets["energy"] / n_atoms, predictions["energy"] / n_atoms)
    has_forces = [index for index, forces in enumerate(targets["forces"]) if forces is not None]
    forces = [
        np.concatenate([np.ravel(array["forces"][index]) for index in has_forces] or [[]])
        for array in (targets, predictions)
    ]
    stress = [np.ravel(array["stress"]) / units.GPa for array in (targets, predictions)]
    for name, unit, (reference, predicted) in (
        ("energy", "eV/atom", energies),
        ("force component", "eV/Å", forces),
        ("stress component", "GPa", stress),
    ):
        known = np.isfinite(reference) & np.isfinite(predicted)
        yield name, unit, reference[known], predicted[known]


def _draw_parity(ax, color, name, unit, reference, predicted):
    values = np.concatenate([reference, predicted])
    margin = 0.04 * max(np.ptp(values), 1e-9)
    limits = (values.min() - margin, values.max() + margin)
    ax.plot(limits, limits, color="0.6", linewidth=1, zorder=1)
    size, alpha = (16, 0.8) if len(reference) < 500 else (6, 0.35)
    # Thousands of points as vectors make a slow file of many megabytes.
    style = {"s": size, "alpha": alpha, "color": color, "linewidths": 0, "rasterized": True}
    ax.scatter(reference, predicted, zorder=2, **style)
    error, unit_of_error = np.sqrt(np.mean((predicted - reference) ** 2)), unit
    if name == "energy":
        error, unit_of_error = 1000 * error, "meV/atom"
    text = f"RMSE {error:.3g} {unit_of_error}\n{len(reference)} values"
    ax.text(0.05, 0.95, text, transform=ax.transAxes, va="top")
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.locator_params(nbins=5)
    ax.set(xlabel=f"reference {name} ({unit})", ylabel=f"predicted {name} ({unit})")
    ax.grid(**_GRID)
    ax.set_axisbelow(True)


def _has(result, key):
    """Whether a result can be a point: it has a cost and an error."""
    numbers = [result.get("us_per_atom"), result.get(key)]
    return all(number is not None and np.isfinite(number) for number in numbers)


def _front(cost, error):
    """Indices of the points that no other beats in both, by growing cost."""
    front = []
    for index in np.lexsort((error, cost)):
        if not front or error[index] < error[front[-1]]:
            front.append(index)
    return front


def _draw_pareto(ax, results, key, scale):
    points = []
    for index, result in enumerate(results):
        if not _has(result, key):
            continue
        x, y = result["us_per_atom"], scale * result[key]
        points.append((x, y))
        style = {
            "color": _COLORS[index % len(_COLORS)],
            "marker": _MARKERS[index % len(_MARKERS)],
        }
        ax.scatter(x, y, s=64, edgecolors="white", zorder=3, label=result["label"], **style)
    cost, error = np.array(points).T
    front = _front(cost, error)
    ax.plot(cost[front], error[front], color="0.6", linestyle="--", linewidth=1, zorder=2)
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.set_xlim(cost.min() / 2, cost.max() * 2)
    if cost.max() < 30 * cost.min():
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(0, 1.2 * max(error.max(), 1e-12))
    ax.set_xlabel("cost (µs per atom and step, one core)")
    ax.grid(**_GRID)
    ax.set_axisbelow(True)
