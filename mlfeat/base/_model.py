"""A model: descriptor, steps and potential in a Pipeline."""

from sklearn.pipeline import Pipeline

from mlfeat.base._descriptor import Descriptor
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


def predict_targets(model, structures):
    """Predict energies, forces and stresses with a fitted model.

    Parameters
    ----------
    model : Pipeline
        Fitted ``make_pipeline(descriptor, *steps, potential)``; a fitted search stands for its best.
    structures : list of ase.Atoms
        Structures.

    Returns
    -------
    structured array of shape (n_structures,)
        As from :func:`mlfeat.make_targets`; stresses are NaN where there is no volume.
    """
    descriptor, steps, potential = split_model(model)
    features = descriptor.transform(structures)
    for step in steps:
        features = step.transform(features)
    return potential.predict_targets(features)
