"""The life of one potential: build, fit, save, predict, measure."""

import logging
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sklearn.base import clone
from tqdm import tqdm

from mlfeat.base import predict_targets, split_model
from mlfeat.cli._errors import bad_input
from mlfeat.cli._measure import crystal_of, memory, microseconds_per_atom
from mlfeat.cli._methods import METHODS
from mlfeat.persistence import save


def checked_model(name, settings, train):
    """The unfitted Pipeline of a method; settings that cannot be right are `UsageError`, before any fit."""
    with bad_input(METHODS[name].label):
        model = METHODS[name].build(train.structures, settings)
        clone(split_model(model)[0]).fit(train.structures)
    return model


def train_model(name, settings, train, test, path, *, cost=False):
    """Fit a method, save it, and measure it.

    Parameters
    ----------
    name : str
        Key of `METHODS`.
    settings : Settings
        What the user asked for.
    train, test : Data
        What to fit to and to test on; ``test`` may be None.
    path : path-like
        File of the model.
    cost : bool, default=False
        Whether the time per atom and step is measured too.

    Returns
    -------
    dict
        What ``results.json`` says about the method, and the test predictions as ``predictions``.
    """
    label = METHODS[name].label
    result = {"method": name, "label": label, "status": "ok", "model": Path(path).name}
    with fit_progress(f"{label}: fitting", len(train.structures)) as bar:
        model = checked_model(name, settings, train)
        result["memory_before_fit_bytes"] = memory(peak=False)
        start = time.perf_counter()
        model = METHODS[name].fit(model, train.structures, train.targets, settings)
        result["fit_seconds"] = time.perf_counter() - start
        bar.update(bar.total - bar.n)
        result["peak_memory_bytes"] = memory()
        save(model, path)
        result["n_parameters"] = int(split_model(model)[2].n_parameters_)
        result["settings"] = describe(model)
        bar.set_description_str(f"{label}: predicting")
        for key, data in (("train", train), ("test", test)):
            if data is not None:
                predictions = predict_targets(model, data.structures, extrapolation="ignore")
                if not np.isfinite(predictions["energy"]).all():
                    raise ValueError(f"energies that are not finite, predicted for {data.name}")
                result[key] = data.errors(predictions)
        result["predictions"] = predictions
        if cost:
            bar.set_description_str(f"{label}: timing")
            timing = microseconds_per_atom(model, crystal_of(train.structures), seconds=2.0)
            result |= {"us_per_atom": timing["us_per_atom"], "timing": timing}
        bar.set_description_str(f"{label}: done")
    return result


@contextmanager
def fit_progress(description, n_structures):
    """A bar of the structures that a streaming fit has summed up, and its forecast; on a terminal only."""
    logger, level = logging.getLogger("mlfeat"), logging.getLogger("mlfeat").level
    with tqdm(desc=description, total=n_structures, unit=" structures", disable=None) as bar:
        handler = _BarHandler(bar)
        if not bar.disable:
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
        try:
            yield bar
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _BarHandler(logging.Handler):
    def __init__(self, bar):
        super().__init__()
        self.bar = bar

    def emit(self, record):
        if record.msg.startswith("summed up"):
            self.bar.n, self.bar.total = record.args
            self.bar.refresh()
        elif record.msg.startswith(("fit of", "training on")):
            self.bar.write(record.getMessage(), file=self.bar.fp)


def describe(model):
    """Parameters of a model that are plain values, by step."""
    return {
        step: {
            key: value
            for key, value in estimator.get_params().items()
            if value is None or isinstance(value, (bool, int, float, str, dict, tuple, list, np.number))
        }
        for step, estimator in model.steps
    }
