"""The life of one potential: build, fit, save, predict, measure."""

import io
import logging
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from mlfeat._archive import write_atomically
from mlfeat.base import predict_targets, split_model
from mlfeat.cli._data import check_species
from mlfeat.cli._errors import bad_input
from mlfeat.cli._measure import memory
from mlfeat.persistence import _encode, save
from mlfeat.targets import empty_targets


def checked_model(method, settings, train, changes=None):
    """The model of a method before its fit; settings that cannot be right are `UsageError`, before any fit."""
    with bad_input(method.label):
        model = method.build(train.structures, settings)
        if method.fit is None:
            check_is_fitted(model)
            check_species(train.name, train.structures, split_model(model)[0].species_)
            return model
        model.set_params(**changes or {})
        pipeline = getattr(model, "estimator", model)
        clone(split_model(pipeline)[0]).fit(train.structures)
        _encode(pipeline, {}, type(pipeline).__name__)  # what no file can hold is refused now
    return model


def train_model(method, settings, train, test, path=None, *, changes=None, verbose=True):
    """Fit a method, save it, and test it.

    Parameters
    ----------
    method : Method
        What to fit; one without ``fit`` is there already and only tested.
    settings : Settings
        What the user asked for.
    train, test : Data
        What to fit to and to test on; ``test`` may be None.
    path : path-like or None, default=None
        File of the model.
    changes : dict or None, default=None
        Parameters of the model other than those that the settings give.
    verbose : bool, default=True
        Whether progress is shown on a terminal.

    Returns
    -------
    dict
        What ``results.json`` says about the fit, and the predictions of the last data set as ``predictions``.
    """
    label = method.label
    result = {"label": label, "status": "ok"}
    with fit_progress(f"{label}: fitting", len(train.structures), verbose) as bar:
        model = checked_model(method, settings, train, changes)
        if method.fit is not None:
            result["memory_before_fit_bytes"] = memory(peak=False)
            start = time.perf_counter()
            model = method.fit(model, train.structures, train.targets, settings)
            result["fit_seconds"] = time.perf_counter() - start
            result["peak_memory_bytes"] = memory()
        bar.update(bar.total - bar.n)
        if path is not None:
            result["model"] = Path(path).name
            save(model, path)
        result["n_parameters"] = getattr(split_model(model)[2], "n_parameters_", None)  # a user's may not have it
        result["settings"] = describe(model)
        bar.set_description_str(f"{label}: predicting")
        for key, data in (("train", train), ("test", test)):
            if data is not None:
                predictions = predict_targets(model, data.structures, extrapolation="ignore")
                if not np.isfinite(predictions["energy"]).all():
                    raise ValueError(f"energies that are not finite, predicted for {data.name}")
                result[key] = data.errors(predictions) | {"groups": data.errors_by_group(predictions)}
        result["predictions"] = predictions
        bar.set_description_str(f"{label}: done")
    return result


@contextmanager
def fit_progress(description, n_structures, verbose=True):
    """A bar of the structures that a streaming fit has summed up, and its forecast; on a terminal only."""
    logger, level = logging.getLogger("mlfeat"), logging.getLogger("mlfeat").level
    with tqdm(desc=description, total=n_structures, unit=" structures", disable=None if verbose else True) as bar:
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
        for step, estimator in getattr(model, "estimator", model).steps
    }


def write_predictions(path, predictions):
    """Write predicted targets as plain arrays: energies, forces of all atoms one after another, stresses."""
    forces = [np.asarray(item) for item in predictions["forces"]]
    arrays = {
        "energy": predictions["energy"],
        "forces": np.concatenate(forces),
        "offsets": np.cumsum([0, *map(len, forces)]),
        "stress": predictions["stress"],
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return write_atomically(Path(path), stream.getvalue())


def read_predictions(path):
    """Predicted targets from a file of `write_predictions`."""
    with np.load(path) as arrays:
        targets = empty_targets(len(arrays["energy"]))
        targets["energy"], targets["stress"] = arrays["energy"], arrays["stress"]
        for index, forces in enumerate(np.split(arrays["forces"], arrays["offsets"][1:-1])):
            targets["forces"][index] = forces
    return targets
