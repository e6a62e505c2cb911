"""Errors against the size of the training set."""

import warnings

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, check_random_state

from mlfeat.base import ExtrapolationWarning
from mlfeat.metrics import evaluate
from mlfeat.plotting._panels import PanelDisplay
from mlfeat.plotting._quantities import ERRORS, is_number
from mlfeat.plotting._style import COLORS, MARKERS, make_logarithmic
from mlfeat.targets import as_targets, make_targets


class LearningCurveDisplay(PanelDisplay):
    """Errors on training and test set against the number of structures in the training set.

    There is a panel for each of energies, forces and stresses that the targets hold. Where there are several folds,
    lines are means over these and bands their standard deviations. Use `from_estimator` or `from_results` to make one.

    Parameters
    ----------
    curves : dict of str to list of dict
        Points of each curve by its label: ``n_structures`` (int), ``train`` and ``test``: dictionaries with
        ``energy_rmse`` (eV/atom), ``force_rmse`` (eV/Å) and ``stress_rmse`` (eV/Å³), numbers or an array with one
        number a fold.

    Attributes
    ----------
    quantities : list of str
        What has a panel: "energy_rmse", "force_rmse", "stress_rmse".
    figure_ : matplotlib.figure.Figure
        The figure, not shown and not saved.
    axes_ : array of matplotlib.axes.Axes
        Its panels, one a quantity.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : The same for one score.
    """

    _size = 4.2, 3.8

    def __init__(self, curves):
        self.curves = curves
        points = [point for curve in curves.values() for point in curve]
        self._errors = [
            error
            for error in ERRORS
            if any(is_number((point.get(name) or {}).get(error.key)) for point in points for name in ("train", "test"))
        ]
        self.quantities = [error.key for error in self._errors]

    @classmethod
    def from_estimator(
        cls,
        model,
        structures,
        targets=None,
        *,
        test_structures=None,
        test_targets=None,
        train_sizes=(0.1, 0.25, 0.5, 1.0),
        cv=None,
        groups=None,
        random_state=0,
        n_jobs=None,
        title="",
        figure=None,
        axes=None,
    ):
        """Fit a model to growing parts of the data, and draw its errors.

        Parameters
        ----------
        model : Pipeline
            Fitted or not; clones of it are fitted.
        structures : list of ase.Atoms
            The data.
        targets : structured array of shape (n_structures,) or None, default=None
            What to learn; None for ``make_targets(structures)``.
        test_structures : list of ase.Atoms or None, default=None
            Test set. Without one there is a cross-validation.
        test_targets : structured array or None, default=None
            Its targets; None for ``make_targets(test_structures)``.
        train_sizes : sequence of float or int, default=(0.1, 0.25, 0.5, 1.0)
            Sizes of training sets: fractions of the largest if float, else numbers of structures.
        cv : int, splitter, iterable or None, default=None
            Folds of the cross-validation, as scikit-learn takes them.
        groups : array-like of shape (n_structures,) or None, default=None
            For splitters by group, as from :func:`mlfeat.get_groups`.
        random_state : int, RandomState or None, default=0
            Order in which structures join the training set; each set holds the smaller ones.
        n_jobs : int or None, default=None
            Fits at a time.
        title : str, default=""
            Title of the figure.
        figure : matplotlib.figure.Figure or None, default=None
            Where to draw; None makes a figure with pyplot.
        axes : sequence of matplotlib.axes.Axes or None, default=None
            Where to draw instead, one for each quantity.

        Returns
        -------
        LearningCurveDisplay

        Raises
        ------
        ValueError
            If a size is not between 1 and the number of structures for training.
        """
        targets = make_targets(structures) if targets is None else as_targets(targets, len(structures))
        if test_structures is None:
            splits = [
                ((structures, targets, rows), (structures, targets, others))
                for rows, others in check_cv(cv).split(np.zeros(len(structures)), groups=groups)
            ]
        else:
            n_test = len(test_structures)
            test_targets = make_targets(test_structures) if test_targets is None else as_targets(test_targets, n_test)
            splits = [
                ((structures, targets, np.arange(len(structures))), (test_structures, test_targets, np.arange(n_test)))
            ]
        sizes = _sizes(train_sizes, min(len(train[2]) for train, _ in splits))
        random = check_random_state(random_state)
        tasks = []
        for (structures, targets, rows), _ in splits:
            order = random.permutation(rows)
            tasks += [(structures, targets, np.sort(order[:size])) for size in sizes]
        tests = [test for _, test in splits for _ in sizes]
        found = Parallel(n_jobs)(delayed(_errors_of)(model, *task) for task in zip(tasks, tests, strict=True))
        curve = [{"n_structures": size} | _by_fold(found[index :: len(sizes)]) for index, size in enumerate(sizes)]
        return cls({"": curve}).plot(title=title, figure=figure, axes=axes)

    @classmethod
    def from_results(cls, results, *, title="", figure=None, axes=None):
        """Draw results of a comparison.

        Parameters
        ----------
        results : list of dict
            One dictionary a method: ``label`` (str) and ``learning_curve``, a list of points as of the class; as
            ``methods`` in ``results.json`` of ``mlfeat compare``. Methods without one are left out.
        title : str, default=""
            Title of the figure.
        figure : matplotlib.figure.Figure or None, default=None
            Where to draw; None makes a figure with pyplot.
        axes : sequence of matplotlib.axes.Axes or None, default=None
            Where to draw instead, one for each quantity.

        Returns
        -------
        LearningCurveDisplay

        Raises
        ------
        ValueError
            If no method has a learning curve.
        """
        display = cls({result["label"]: result.get("learning_curve", []) for result in results})
        if not display.quantities:
            raise ValueError("no result has a learning_curve")
        return display.plot(title=title, figure=figure, axes=axes)

    def _panels(self):
        return self._errors

    def _draw(self, ax, panel):
        for index, (label, curve) in enumerate(self.curves.items()):
            style = {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)]}
            _draw(ax, label, curve, panel, style)
        make_logarithmic(ax, "xy")
        ax.set(xlabel="structures in the training set", ylabel=panel.label)


def _draw(ax, label, curve, error, style):
    for name, line in (("test", {}), ("train", {"linestyle": ":", "markerfacecolor": "none"})):
        points = [point for point in curve if is_number((point.get(name) or {}).get(error.key))]
        if not points:
            continue
        sizes = [point["n_structures"] for point in points]
        values = [error.factor * np.atleast_1d(point[name][error.key]) for point in points]
        mean, spread = np.array([[np.nanmean(value), np.nanstd(value)] for value in values]).T
        text = f"{label}, {name}" if label else name
        ax.plot(sizes, mean, linewidth=1.2, markersize=5, label=text, **style | line)
        if (spread > 0).any():
            low = np.maximum(mean - spread, mean / 10)  # a logarithm needs a positive number
            ax.fill_between(sizes, low, mean + spread, color=style["color"], alpha=0.15, linewidth=0)


def _sizes(train_sizes, n):
    """Numbers of structures, growing, each once."""
    sizes = np.asarray(train_sizes)
    counts = np.round(sizes * n).astype(int) if sizes.dtype.kind == "f" else sizes
    if not counts.size or counts.min() < 1 or counts.max() > n:
        raise ValueError(f"train_sizes={sizes.tolist()}: must give 1 to {n} structures, those of the training set")
    return np.unique(counts).tolist()


def _errors_of(model, train, test):
    structures, targets, rows = train
    chosen = _safe_indexing(structures, rows)
    fitted = clone(model).fit(chosen, targets[rows])
    structures, truth, others = test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # small parts cannot but lack something
        return {
            "train": evaluate(fitted, chosen, targets[rows]),
            "test": evaluate(fitted, _safe_indexing(structures, others), truth[others]),
        }


def _by_fold(found):
    return {
        name: {key: np.array([errors[name][key] for errors in found]) for key in found[0][name]}
        for name in ("train", "test")
    }
