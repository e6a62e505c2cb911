"""A model: descriptor, steps and potential in a Pipeline."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from mlfeat.base._descriptor import Descriptor
from mlfeat.base._extrapolation import FAR, check_mode, describe, names_features, report
from mlfeat.base._potential import PotentialMixin
from mlfeat.base._step import FeatureStep


def split_model(model):
    """Take a model apart.

    Parameters
    ----------
    model : Pipeline
        ``make_pipeline(descriptor, *steps, potential)``; a fitted search, as `GridSearchCV`, stands for its best.

    Returns
    -------
    descriptor : Descriptor
        The first step.
    steps : tuple of FeatureStep
        Those between; without steps that pass everything through.
    potential : PotentialMixin
        The last step.

    Raises
    ------
    TypeError
        If it is not such a Pipeline.
    """
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, Pipeline):
        raise TypeError(
            f"expected a Pipeline of descriptor, steps and potential, got {type(model).__name__}; "
            "make one with make_pipeline, and fit a search before it is used"
        )
    parts = [part for _, part in model.steps if part is not None and not isinstance(part, str)]
    descriptor, potential = (parts[0], parts[-1]) if parts else (None, None)
    _check_part(descriptor, Descriptor, "first", "a descriptor")
    _check_part(potential, PotentialMixin, "last", "a potential")
    for step in parts[1:-1]:
        _check_part(step, FeatureStep, "middle", "one that keeps derivatives, as FeatureScaler or QuadraticExpansion")
    return descriptor, tuple(parts[1:-1]), potential


def _check_part(part, kind, place, expected):
    if not isinstance(part, kind):
        raise TypeError(f"the Pipeline's {place} step must be {expected}, got {type(part).__name__}")


def predict_targets(model, structures, *, extrapolation="warn"):
    """Predict energies, forces and stresses with a fitted model.

    Parameters
    ----------
    model : Pipeline
        Fitted ``make_pipeline(descriptor, *steps, potential)``; a fitted search stands for its best.
    structures : list of ase.Atoms
        Structures.
    extrapolation : {"warn", "ignore", "raise"}, default="warn"
        What to do about structures with features beyond the range that they had in training. Potentials that do not
        check this range (that have no `extrapolating_features`) never warn here; see `extrapolation_grades`.

    Returns
    -------
    structured array of shape (n_structures,)
        As from :func:`mlfeat.make_targets`; stresses are NaN where there is no volume.

    Raises
    ------
    ExtrapolationWarning
        With ``extrapolation="raise"``, instead of the warning.

    Warns
    -----
    ExtrapolationWarning
        Names the structures, and the atoms and features farthest beyond the range.
    """
    check_mode(extrapolation, split_model(model)[2])
    features, potential = model_features(model, structures)
    if extrapolation != "ignore" and names_features(potential):
        message = _extrapolation_message(features, potential, structures)
        if message:
            report(message, extrapolation)
    return potential.predict_targets(features)


def extrapolation_grades(model, structures):
    """How far structures are from those that a model was fitted to.

    Parameters
    ----------
    model : Pipeline
        Fitted, as for `predict_targets`.
    structures : list of ase.Atoms
        Structures.

    Returns
    -------
    array of shape (n_structures,)
        The largest grade among each structure's atoms, above one where the model extrapolates; NaN if the potential
        has no `extrapolation_grade`, as models read from LAMMPS' files.
    """
    features, potential = model_features(model, structures)
    return _grades(features, potential)


def select_structures(model, structures, n, *, threshold=1.0):
    """Choose structures to learn from next, for active learning.

    Parameters
    ----------
    model : Pipeline
        Fitted, as for `predict_targets`, with a potential that has `select`: MomentTensorPotential.
    structures : list of ase.Atoms
        Candidates, as frames of a simulation. They need no energies.
    n : int
        How many to choose at most.
    threshold : float, default=1.0
        Structures whose grade is this or less are not chosen.

    Returns
    -------
    chosen : array of int
        Indices of structures, the farthest from the training data, and from those chosen before, first.
    grades : array
        The grade of each when it was chosen.

    Raises
    ------
    TypeError
        If the potential has no `select`.
    """
    potential = split_model(model)[2]
    if not hasattr(potential, "select"):
        others = ", or take those with the largest extrapolation_grades"
        raise TypeError(
            f"this {type(potential).__name__} cannot select structures: fit a MomentTensorPotential (one read from a "
            f"file of MLIP does not know what it was fitted to){others * hasattr(potential, 'extrapolation_grade')}"
        )
    return potential.select(model_features(model, structures)[0], n, threshold)


def warn_of_extrapolation(model, structures, stacklevel=2):
    """Warn of structures that the model extrapolates to, by index, name and grade, and by features if it can say."""
    features, potential = model_features(model, structures)
    message = _extrapolation_message(features, potential, structures)
    if message:
        report(message, "warn", stacklevel)


def _grades(features, potential):
    if not hasattr(potential, "extrapolation_grade"):
        return np.full(len(features), np.nan)
    return np.array([potential.extrapolation_grade(item).max() for item in features])


def _extrapolation_message(features, potential, structures):
    """What to say of structures that the model extrapolates to; empty if there are none."""
    grades = _grades(features, potential)
    far = np.flatnonzero(grades > FAR)
    listed = []
    for k in far[:5]:
        atoms = structures[k]
        details = describe(potential, features[k], atoms.symbols, features.feature_names)
        listed.append(f"{k} ({_name(atoms)}, grade {grades[k]:.3g}{details and ': ' + details})")
    if not listed:
        return ""
    rest = f"; and {len(far) - 5} more" if len(far) > 5 else ""
    return (
        f"the model extrapolates to structure {'; '.join(listed)}{rest}: they have atoms unlike all that it was "
        "fitted to; add such structures to the training data"
    )


def model_features(model, structures):
    """Features of structures, such as the model's potential takes, and the potential."""
    descriptor, steps, potential = split_model(model)
    check_is_fitted(potential)
    features = potential.learned_descriptor(descriptor).transform(structures)
    for step in steps:
        features = step.transform(features)
    return features, potential


def _name(atoms):
    labels = (str(atoms.info[key]) for key in ("name", "uid", "description", "group") if atoms.info.get(key))
    return next(labels, atoms.get_chemical_formula())
