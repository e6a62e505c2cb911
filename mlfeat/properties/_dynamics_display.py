"""What molecular dynamics did over time."""

from mlfeat.plotting._style import COLORS, add_grid, legend_entries
from mlfeat.properties._display import PropertyDisplay
from mlfeat.properties._dynamics import ConstantPressureRun, EnergyDrift, npt_stability, nve_drift

__all__ = ["MolecularDynamicsDisplay"]

_RUNS = {"nve": nve_drift, "npt": npt_stability}


class MolecularDynamicsDisplay(PropertyDisplay):
    """A run over time, below each other: total energy and temperature, or volume, temperature and pressure.

    Energies are drawn relative to that at the start, with the straight line whose slope is the drift. What
    `from_calculator` and `from_estimator` run is `npt_stability`, or `nve_drift` with ``ensemble="nve"``.

    Parameters
    ----------
    result : EnergyDrift or ConstantPressureRun
        What to draw.
    reference : EnergyDrift, ConstantPressureRun or None
        Another run of the same kind to draw behind it, gray.
    label : str, default="model"
        Name of the run in the legend, with its drift; there is none at constant pressure without a reference.
    reference_label : str, default="reference"
        Name of the reference.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure.
    axes_ : array of matplotlib.axes.Axes, shape (2,) or (3,)
        Its panels.

    Raises
    ------
    TypeError
        If the run is none, or the reference is not of the same kind.

    See Also
    --------
    nve_drift : Makes runs at constant energy.
    npt_stability : Makes runs at constant pressure.
    """

    def __init__(self, result, *, reference=None, label="model", reference_label="reference"):
        if not isinstance(result, EnergyDrift | ConstantPressureRun):
            raise TypeError(f"result={result!r}: must be what nve_drift or npt_stability returns")
        if reference is not None and type(reference) is not type(result):
            raise TypeError(f"reference={reference!r}: must be of the same kind as the result, {type(result).__name__}")
        super().__init__(result, reference=reference, label=label, reference_label=reference_label)

    @staticmethod
    def _calculate(atoms, calculator, *, ensemble="npt", **options):
        if ensemble not in _RUNS:
            raise ValueError(f"ensemble={ensemble!r}: must be 'npt' or 'nve'")
        return _RUNS[ensemble](atoms, calculator, **options)

    def plot(self, figure=None):
        """Draw.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or None
            Where to draw; None makes a figure with pyplot.

        Returns
        -------
        MolecularDynamicsDisplay
            Itself.
        """
        n_panels = len(_curves(self.result))
        if figure is None:
            from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

            figure = pyplot.figure(figsize=(5.4, 1.7 * n_panels + 0.4))
        figure.set_layout_engine("constrained")
        self.figure_, self.axes_ = figure, figure.subplots(n_panels, 1, sharex=True)
        if self.reference is not None:
            _draw(self.axes_, self.reference, "0.6", self.reference_label)
        _draw(self.axes_, self.result, COLORS[0], self.label)
        self.axes_[-1].set_xlabel("time (ps)")
        if self.reference is not None or isinstance(self.result, EnergyDrift):
            entries = legend_entries(self.axes_[:1])
            place = {"loc": "outside upper center", "ncols": 2, "frameon": False, "fontsize": "small"}
            figure.legend(entries.values(), entries.keys(), **place)
        return self


def _curves(run):
    """Quantities by the names of their axes."""
    if isinstance(run, EnergyDrift):
        energies = 1000 * (run.energies - run.energies[0])
        return {"energy (meV/atom)": energies, "temperature (K)": run.temperatures}
    return {"volume (Å³/atom)": run.volumes, "temperature (K)": run.temperatures, "pressure (GPa)": run.pressures}


def _draw(axes, run, color, label):
    for ax, (name, values) in zip(axes, _curves(run).items(), strict=True):
        ax.plot(run.times, values, color=color, linewidth=0.9, label=label)
        ax.set_ylabel(name)
        add_grid(ax)
    if isinstance(run, EnergyDrift):
        axes[0].lines[-1].set_label("_energies")  # the line below has the name, and the drift
        kept = slice(len(run.times) // 5, None)  # what the drift is the slope of
        times, values = run.times[kept], 1000 * (run.energies[kept] - run.energies[0])
        name = f"{label}: {run.drift:.1e} eV/atom/ps"
        line = values.mean() + 1000 * run.drift * (times - times.mean())
        axes[0].plot(times, line, color=color, linestyle="--", linewidth=1.4, label=name)
