"""Errors of energies, forces and stresses, and scorers that scikit-learn's searches take.

Energies are compared per atom (eV/atom), forces by component (eV/Å, all atoms of all structures
pooled), stresses by component (eV/Å³). A structure without forces or stress does not count there.
"""

import math

import numpy as np
from sklearn.pipeline import Pipeline

from mlfeat.base import PotentialMixin, predict_targets, warn_of_extrapolation
from mlfeat.features import StructureFeatures
from mlfeat.targets import as_targets, empty_targets, make_targets

__all__ = [
    "SCORERS",
    "evaluate",
    "neg_energy_mae",
    "neg_energy_rmse",
    "neg_errors",
    "neg_force_mae",
    "neg_force_rmse",
    "neg_stress_mae",
    "neg_stress_rmse",
]


def evaluate(model, structures, targets=None):
    """All errors of a fitted model in one pass.

    Parameters
    ----------
    model : estimator
        Fitted Pipeline, or a fitted search over one. A Pipeline that ends in one of scikit-learn's
        own regressors has energy errors only.
    structures : list of ase.Atoms
        What to predict; a FeatureSet if the model is a potential without a descriptor before it.
    targets : structured array of shape (n_structures,), float array, or None, default=None
        The truth; None for ``make_targets(structures)``.

    Returns
    -------
    dict of str to float
        ``energy_rmse``, ``energy_mae`` (eV/atom), ``force_rmse``, ``force_mae`` (eV/Å),
        ``stress_rmse``, ``stress_mae`` (eV/Å³); NaN where there is nothing to compare.

    Warns
    -----
    ExtrapolationWarning
        If structures have atoms unlike all that the model was fitted to; it names them, and the features farthest
        beyond their range in training if the potential checks these.
    """
    targets = make_targets(structures) if targets is None else targets
    if _is_potential(getattr(model, "best_estimator_", model)):
        warn_of_extrapolation(model, structures)
    return _summary(model, structures, targets)


def _summary(model, structures, targets):
    errors = _errors(model, structures, targets)
    return {
        f"{kind}_{name}": measure(values) if values.size else math.nan
        for kind, values in errors.items()
        for name, measure in (("rmse", _rmse), ("mae", _mae))
    }


def neg_errors(estimator, X, y):
    """All scores at once: the numbers of :func:`evaluate` with a minus sign, by scorers' names.

    Serves as ``scoring=neg_errors``, faster than ``scoring=SCORERS`` because forces are computed
    once. Kinds that `y` lacks are left out.

    Parameters
    ----------
    estimator : estimator
        Fitted model.
    X : list of ase.Atoms or FeatureSet
        What to predict.
    y : structured array of shape (n_structures,) or float array
        The truth.

    Returns
    -------
    dict of str to float
        The scores; larger is better.
    """
    errors = _summary(estimator, X, y)
    return {f"neg_{name}": -error for name, error in errors.items() if not math.isnan(error)}


def neg_energy_rmse(estimator, X, y):
    """Minus the root-mean-square error of the energies, eV/atom."""
    return -_rmse(_error(estimator, X, y, "energy"))


def neg_energy_mae(estimator, X, y):
    """Minus the mean absolute error of the energies, eV/atom."""
    return -_mae(_error(estimator, X, y, "energy"))


def neg_force_rmse(estimator, X, y):
    """Minus the root-mean-square error of the force components, eV/Å."""
    return -_rmse(_error(estimator, X, y, "force"))


def neg_force_mae(estimator, X, y):
    """Minus the mean absolute error of the force components, eV/Å."""
    return -_mae(_error(estimator, X, y, "force"))


def neg_stress_rmse(estimator, X, y):
    """Minus the root-mean-square error of the stress components, eV/Å³."""
    return -_rmse(_error(estimator, X, y, "stress"))


def neg_stress_mae(estimator, X, y):
    """Minus the mean absolute error of the stress components, eV/Å³."""
    return -_mae(_error(estimator, X, y, "stress"))


SCORERS = {
    scorer.__name__: scorer
    for scorer in (
        neg_energy_rmse,
        neg_energy_mae,
        neg_force_rmse,
        neg_force_mae,
        neg_stress_rmse,
        neg_stress_mae,
    )
}
"""All scorers by name, for ``scoring=SCORERS``."""


def _rmse(errors):
    return math.sqrt(np.mean(errors**2))


def _mae(errors):
    return float(np.mean(np.abs(errors)))


def _error(estimator, X, y, kind):
    """Pooled errors of one kind; ValueError if there are none."""
    errors = _errors(estimator, X, y, forces=kind != "energy")[kind]
    if errors.size == 0:
        what = "stresses" if kind == "stress" else "forces"
        raise ValueError(f"there are no {what} to compare: y or the model has energies only")
    return errors


def _errors(model, structures, y, forces=True):
    """Arrays of errors by kind, prediction minus target."""
    targets = as_targets(y, len(structures))
    predicted, has_forces = _predict(model, structures, forces)
    n_atoms = np.array([_n_atoms(structure) for structure in structures])
    has_stress = np.isfinite(targets["stress"]) & has_forces
    return {
        "energy": (predicted["energy"] - targets["energy"]) / n_atoms,
        "force": _force_errors(predicted["forces"], targets["forces"]),
        "stress": (predicted["stress"] - targets["stress"])[has_stress],
    }


def _n_atoms(structure):
    return structure.n_atoms if isinstance(structure, StructureFeatures) else len(structure)


def _is_potential(model):
    """Whether it is a Pipeline that ends in a potential."""
    return isinstance(model, Pipeline) and isinstance(model.steps[-1][1], PotentialMixin)


def _predict(model, structures, forces):
    """Predicted targets, and whether there are forces and stresses in them."""
    model = getattr(model, "best_estimator_", model)
    if forces and isinstance(model, PotentialMixin):
        return model.predict_targets(structures), True
    if forces and _is_potential(model):
        return predict_targets(model, structures, extrapolation="ignore"), True
    targets = empty_targets(len(structures))
    targets["energy"] = model.predict(structures)
    return targets, False


def _force_errors(predicted, targets):
    pairs = zip(predicted, targets, strict=True)
    errors = [(a - b).ravel() for a, b in pairs if a is not None and b is not None]
    return np.concatenate([np.empty(0), *errors])
