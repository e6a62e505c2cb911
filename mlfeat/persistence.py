"""Fitted models as one file of plain arrays and JSON.

``model.json`` holds the estimators (class names, constructor parameters, fitted state), the units,
the versions and a content hash; each array is a ``.npy`` member that ``model.json`` refers to.
Loading looks classes up in a table of names, constructs them from their parameters and sets their
fitted attributes: nothing in the file is executed, and nothing is unpickled.
"""

import copy
import inspect
import math
import re
from importlib import import_module
from pathlib import Path

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import mlfeat
from mlfeat._archive import (
    ARRAY_KINDS,
    BadFile,
    expect,
    little_endian,
    pack,
    unpack,
    write_atomically,
)
from mlfeat.base import Descriptor, split_model
from mlfeat.base._descriptor import _given_species

__all__ = ["load", "register", "save"]

FORMAT = "mlfeat model"
FORMAT_VERSION = 1
UNITS = {
    "length": "angstrom",
    "energy": "eV",
    "force": "eV/angstrom",
    "stress": "eV/angstrom^3",
}
_KEYS = {"format", "format_version", "mlfeat_version", "units", "sha256", "model"}

_MODULES = {
    "mlfeat.descriptors": "ACSF Bispectrum DescriptorUnion MomentTensor PairDistance SOAP",
    "mlfeat.potentials": (
        "GaussianApproximationPotential LinearPotential MomentTensorPotential NeuralNetworkPotential ZBL"
    ),
    "mlfeat.preprocessing": "FeatureScaler FeatureSelector QuadraticExpansion",
    "sklearn.linear_model": (
        "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lars Lasso LassoCV "
        "LassoLars LinearRegression OrthogonalMatchingPursuit Ridge RidgeCV"
    ),
    "sklearn.pipeline": "Pipeline",
    "sklearn.preprocessing": "MaxAbsScaler MinMaxScaler RobustScaler StandardScaler",
}
_CLASSES = {
    f"{module}.{name}": None  # imported when first needed
    for module, names in _MODULES.items()
    for name in names.split()
}
# Of a Pipeline only its steps: its memory is a folder of pickles on the writer's machine.
_PARAMETERS = {"sklearn.pipeline.Pipeline": ("steps",)}
_SKLEARN_STATE = re.compile(r"[A-Za-z][A-Za-z0-9_]*_")


def register(cls):
    """Let :func:`save` and :func:`load` hold estimators of a class of yours.

    The class needs ``get_params`` as scikit-learn's estimators have it, and a class attribute
    ``_state``: the names of its fitted attributes (arrays, numbers, strings, None, and lists,
    tuples and dicts of those). The program that loads the file has to register the class too. A method
    ``_check_fitted`` is called on what was loaded, if there is one: it raises ValueError where fitted
    attributes do not go together.

    Parameters
    ----------
    cls : type
        The class. The file knows it by its module and name.

    Returns
    -------
    type
        The class itself, so that this serves as a decorator.

    Raises
    ------
    TypeError
        If the class lacks one of the two.
    """
    if not (hasattr(cls, "get_params") and hasattr(cls, "_state")):
        raise TypeError(
            f"{cls.__name__} needs get_params and a class attribute _state, the names of its fitted attributes"
        )
    _CLASSES[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return cls


def save(model, path):
    """Write a fitted model as one file of plain arrays and JSON.

    Parameters
    ----------
    model : estimator
        A fitted Pipeline of mlfeat's estimators (scikit-learn's linear models and scalers may be
        among them), or one such estimator; a fitted search stands for its best estimator. What
        serves only to fit on, such as the sums that `LinearPotential.partial_fit` adds to, is not
        in the file.
    path : str or path-like
        The file, written atomically: an older file of that name stays whole until the new one is
        complete.

    Returns
    -------
    pathlib.Path
        The file's path.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If some part of the model is not plain data, or if its parts do not go together, as after a
        parameter of the fitted descriptor was changed; the message names it.

    See Also
    --------
    load : Read the file.
    """
    model = getattr(model, "best_estimator_", model)
    check_is_fitted(model)
    arrays = {}
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "mlfeat_version": mlfeat.__version__,
        "units": UNITS,
        "model": _encode_model(model, arrays),
    }
    return write_atomically(Path(path), pack(document, arrays))


def load(path):
    """Read a model that :func:`save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator
        The fitted model.

    Raises
    ------
    ValueError
        If the file is damaged, foreign, of an unknown format version, names a class that mlfeat does
        not know, or holds parts that do not go together.

    See Also
    --------
    save : Write the file.
    """
    blob = Path(path).read_bytes()
    try:
        document, arrays = unpack(blob, _check_document)
        return _decode_model(document["model"], arrays)
    except BadFile as error:
        raise ValueError(f"{path}: {error}") from error


def _check_document(document):
    expect(document.get("format") == FORMAT, "no mlfeat model: the format is another one")
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        remedy = f"; mlfeat {document.get('mlfeat_version')} wrote it, update mlfeat" * newer
        raise BadFile(f"format version {version!r}, but this mlfeat reads {FORMAT_VERSION}{remedy}")
    expect(set(document) == _KEYS, f"model.json should have the keys {sorted(_KEYS)}")
    expect(document["units"] == UNITS, f"units {document['units']!r}, but mlfeat's are {UNITS!r}")


# --- the table of classes ------------------------------------------------------------------------


def _class(name):
    """The class of a registered name."""
    expect(
        isinstance(name, str) and name in _CLASSES,
        f"unknown class {name!r}; if a newer mlfeat wrote the file, update mlfeat; "
        "if the class is yours, call mlfeat.persistence.register before",
    )
    if _CLASSES[name] is None:
        module, _, attribute = name.rpartition(".")
        _CLASSES[name] = getattr(import_module(module), attribute)
    return _CLASSES[name]


def _class_name(cls):
    """The registered name of a class, or None."""
    candidates = (name for name in _CLASSES if name.rpartition(".")[2] == cls.__name__)
    return next((name for name in candidates if _class(name) is cls), None)


def _state_names(estimator):
    """Names of the fitted attributes; scikit-learn's own classes have a naming convention only."""
    if hasattr(estimator, "_state"):
        return estimator._state
    return [key for key in vars(estimator) if _SKLEARN_STATE.fullmatch(key)]


def _is_state_of(cls, key):
    if hasattr(cls, "_state"):
        return key in cls._state
    return _SKLEARN_STATE.fullmatch(key) is not None and not hasattr(cls, key)


# --- objects to JSON and arrays ------------------------------------------------------------------


def _encode_model(model, arrays):
    try:
        tree = _encode(model, arrays, type(model).__name__)
        _check_chain(model)
    except BadFile as error:
        raise ValueError(str(error)) from error
    return tree


def _encode(value, arrays, where):
    """JSON for a value; arrays go to ``arrays``. ``where`` is the value's place, for messages."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return _encode_array(value, arrays, where)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, arrays, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        return {
            "dict": [
                [_encode(key, arrays, where), _encode(item, arrays, f"{where}[{key!r}]")] for key, item in value.items()
            ]
        }
    return _encode_estimator(value, arrays, where)


def _encode_array(value, arrays, where):
    dtype = value.dtype
    if dtype.kind not in ARRAY_KINDS or (dtype.kind == "f" and dtype.itemsize > 8):
        raise ValueError(
            f"{where} is an array of {dtype}; a model file holds integers, floats up to 64 bits, booleans and strings"
        )
    if isinstance(value, np.generic):
        return {"scalar": [dtype.str, _encode(value.item(), arrays, where)]}
    name = f"{len(arrays)}.npy"
    arrays[name] = little_endian(value)
    return {"array": name}


def _encode_estimator(value, arrays, where):
    name = _class_name(type(value))
    if name is None:
        raise ValueError(_cannot_hold(value, where))
    parameters = value.get_params(deep=False)
    parameters = {key: parameters[key] for key in _PARAMETERS.get(name, parameters)}
    names = _state_names(value)
    state = {key: getattr(value, key) for key in names if hasattr(value, key)}
    if state or not names:
        _check_state(value)
    return {
        "class": name,
        "parameters": _encode_table(parameters, arrays, where),
        "state": _encode_table(state, arrays, where),
    }


def _encode_table(table, arrays, where):
    return {key: _encode(item, arrays, f"{where}.{key}") for key, item in table.items()}


def _cannot_hold(value, where):
    cls = type(value)
    what = f"{where} is a {cls.__module__}.{cls.__qualname__}, which a file of arrays cannot hold"
    if hasattr(value, "get_potential_energy"):
        return f"{what}: an ASE calculator is a program. Use one of mlfeat's own baselines, or joblib.dump(model, path)"
    if hasattr(value, "get_params"):
        return f"{what}; mlfeat.persistence.register takes classes of your own"
    return f"{what}; replace it by numbers or strings, or use joblib.dump(model, path)"


# --- JSON and arrays to objects ------------------------------------------------------------------


def _decode_model(tree, arrays):
    try:
        model = _decode(tree, arrays)
    except RecursionError:
        raise BadFile("the model is nested too deeply") from None
    expect(hasattr(model, "get_params"), "there is no estimator in it")
    expect(not arrays, f"arrays that nothing refers to: {', '.join(sorted(arrays))}")
    _check_chain(model)
    return model


def _decode(node, arrays):
    """The value of a JSON node; each array is handed out once."""
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, list):
        return [_decode(item, arrays) for item in node]
    if set(node) == {"class", "parameters", "state"}:
        return _decode_estimator(node, arrays)
    if len(node) == 1:
        ((kind, content),) = node.items()
        if kind in _DECODERS:
            return _DECODERS[kind](content, arrays)
    raise BadFile(f"a value of unknown kind, with the keys {sorted(node)}")


def _decode_tuple(items, arrays):
    expect(isinstance(items, list), "a tuple that is no list of values")
    return tuple(_decode(item, arrays) for item in items)


def _decode_dict(pairs, arrays):
    expect(isinstance(pairs, list), "a dict that is no list of pairs")
    try:
        return {_decode(key, arrays): _decode(value, arrays) for key, value in pairs}
    except (TypeError, ValueError):
        raise BadFile("a dict that is no list of keys and values") from None


def _decode_float(text, arrays):
    expect(text in ("nan", "inf", "-inf"), f"{text!r} is not a float")
    return float(text)


def _decode_scalar(content, arrays):
    try:
        code, item = content
        item = _decode(item, arrays)
        expect(re.fullmatch(r"[<>|=][biuf][1248]", code), f"{code!r} is not a type of number")
        expect(isinstance(item, (bool, int, float)), f"{item!r} is not a number")
        return np.dtype(code).type(item)
    except (TypeError, ValueError, OverflowError):
        raise BadFile(f"{content!r} is not a number") from None


def _decode_array(name, arrays):
    known = isinstance(name, str) and name in arrays
    expect(known, f"the array {name!r} is missing or used twice")
    return arrays.pop(name)


_DECODERS = {
    "tuple": _decode_tuple,
    "dict": _decode_dict,
    "float": _decode_float,
    "scalar": _decode_scalar,
    "array": _decode_array,
}


def _decode_estimator(node, arrays):
    name, parameters, state = node["class"], node["parameters"], node["state"]
    cls = _class(name)
    tables = isinstance(parameters, dict) and isinstance(state, dict)
    expect(tables, f"{name} has no tables of parameters and state")
    known = _PARAMETERS.get(name) or inspect.signature(cls).parameters
    unknown = sorted(set(parameters) - set(known))
    expect(not unknown, f"{name} has no parameters {unknown} in this version")
    unknown = sorted(key for key in state if not _is_state_of(cls, key))
    expect(not unknown, f"{name} has no fitted attributes {unknown} in this version")
    parameters = {key: _decode(item, arrays) for key, item in parameters.items()}
    if name in _PARAMETERS:
        _check_steps(parameters.get("steps"))
    estimator = cls(**parameters)
    for key, item in state.items():
        setattr(estimator, key, _decode(item, arrays))
    if state or not _state_names(estimator):
        _check_state(estimator)
    return estimator


def _check_steps(steps):
    named = isinstance(steps, list) and all(
        isinstance(step, tuple) and len(step) == 2 and isinstance(step[0], str) for step in steps
    )
    expect(named and steps, "the Pipeline has no list of named steps")


# --- do the parts go together? -------------------------------------------------------------------

# What code that expects consistent attributes may raise where they are not.
_INCONSISTENT = (ArithmeticError, AttributeError, LookupError, MemoryError, NotFittedError, TypeError, ValueError)


def _check_state(estimator):
    """Refuse fitted attributes that the parameters, or one another, contradict."""
    try:
        if isinstance(estimator, Descriptor):
            _check_descriptor(estimator)
        if hasattr(estimator, "_check_fitted"):
            estimator._check_fitted()
    except _INCONSISTENT as error:
        raise _inconsistent(type(estimator).__name__, error) from error


def _check_descriptor(descriptor):
    check_is_fitted(descriptor)
    species = descriptor.species_
    if not isinstance(species, tuple) or not all(isinstance(symbol, str) for symbol in species):
        raise ValueError(f"species_ is {species!r}")
    _given_species(species)
    if descriptor.species is not None and _given_species(descriptor.species) != species:
        raise ValueError(f"species={descriptor.species!r}, but species_ is {species!r}")
    fresh = copy.copy(descriptor)
    fresh._setup()
    for name in ("cutoff_", "n_features_out_"):
        stored, expected = getattr(descriptor, name), getattr(fresh, name)
        if isinstance(stored, np.ndarray) or stored != expected:
            raise ValueError(f"{name} is {stored!r}, but the parameters give {expected!r}")


def _check_chain(model):
    """Refuse a Pipeline whose parts do not fit to one another."""
    try:
        descriptor, steps, potential = split_model(model)
    except TypeError:
        return  # a single estimator, or a Pipeline of other ones
    try:
        for part in (descriptor, *steps, potential):
            check_is_fitted(part)
        width = descriptor.n_features_out_
        for step in steps:
            _check_width(step, width)
            width = step.apply(np.zeros((1, width))).shape[1]
        _check_width(potential, width)
        for part in (*steps, potential):
            _check_species(part, descriptor.species_)
    except _INCONSISTENT as error:
        raise _inconsistent("model", error) from error


def _check_width(part, width):
    expected = getattr(part, "n_features_in_", width)
    if expected != width:
        raise ValueError(f"{type(part).__name__} is for {expected!r} features, but gets {width}")


def _check_species(part, given):
    expected = getattr(part, "species_", None)
    if expected is not None and expected != given:
        raise ValueError(f"{type(part).__name__} is for the species {expected!r}, the features for {given!r}")


def _inconsistent(what, error):
    return BadFile(f"the parts of the {what} do not go together: {error}; fit the model, and save it, again")
