"""SNAP and qSNAP models from and to the files of LAMMPS' ``pair_style snap``."""

from functools import reduce
from itertools import product
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

import mlfeat
from mlfeat._archive import write_atomically
from mlfeat.base import split_model
from mlfeat.descriptors import Bispectrum
from mlfeat.descriptors._bispectrum_tables import components
from mlfeat.io._lammps_script import format_pair_commands, read_baseline
from mlfeat.io._snap_text import (
    FLAG_DEFAULTS,
    NUMBER_DEFAULTS,
    PER_ELEMENT,
    SnapCoefficients,
    format_coefficients,
    format_parameters,
    n_coefficients,
    read_coefficients,
    read_parameters,
)
from mlfeat.potentials import LinearEnergy, LinearPotential, QuadraticEnergy
from mlfeat.preprocessing import QuadraticExpansion

__all__ = ["read_snap", "write_snap"]

# Parameters that keyword and constructor call alike.
_SHARED = [name for name in (*FLAG_DEFAULTS, *NUMBER_DEFAULTS) if name != "quadraticflag"]


def read_snap(coeff, param, species=None, *, script=None):
    r"""Read a SNAP or qSNAP model from LAMMPS' files.

    The model gives what ``pair_style snap`` gives with these files,

    .. math:: E_i = c_0^s + \sum_k \beta_k^s B_{ik} + \tfrac12 \sum_{kl} B_{ik} A_{kl}^s B_{il},

    with s the species of atom i; the last term if ``quadraticflag`` is 1.

    Parameters
    ----------
    coeff : str or path-like
        The ``.snapcoeff`` file: radius, weight and coefficients of each element.
    param : str or path-like
        The ``.snapparam`` file. What it leaves out has LAMMPS' default. For ``bzeroflag`` that is 1,
        and unusual: a warning says so. ``diagonalstyle 3`` of old files is accepted.
    species : sequence of str, default=None
        Elements to take from the file, in this order. None: all, in the order of the file.

    script : str or path-like, default=None
        A file of ``pair_style`` and ``pair_coeff`` commands, such as `write_snap` writes for a model
        with a ZBL baseline, to take the baseline from.

    Returns
    -------
    Pipeline
        Fitted: `Bispectrum`, then `QuadraticExpansion` if the model is quadratic, then
        `LinearPotential`.

    Raises
    ------
    ValueError
        If a file is truncated, foreign or damaged, holds a keyword that is not known, or does not
        belong to the other; or if it does not hold the species asked for. The message names the file
        and the line.

    See Also
    --------
    write_snap : Write the two files.

    Notes
    -----
    Where a model is used with another pair style by ``hybrid/overlay``, as with ZBL, that part is not in
    the two files: without `script` it is missing from the model.

    With ``chemflag`` LAMMPS orders the coefficients by the elements of the ``pair_coeff`` line; they are
    taken here to be in the order of the file, as they are if each element has one atom type.

    References
    ----------
    A. P. Thompson, L. P. Swiler, C. R. Trott, S. M. Foiles, G. J. Tucker, J. Comput. Phys. 285, 316
    (2015). LAMMPS' documentation of ``pair_style snap``.

    Examples
    --------
    >>> model = read_snap("Mo.snapcoeff", "Mo.snapparam")  # doctest: +SKIP
    >>> atoms.calc = PotentialCalculator(model)  # doctest: +SKIP
    """
    content, parameters = read_coefficients(coeff), read_parameters(param)
    _check_elements(coeff, content.elements)
    _check_counts(coeff, param, content, parameters)
    if species is not None:
        content, parameters = _select(coeff, content, parameters, species)
    descriptor = _make_descriptor(param, content, parameters)
    steps = [QuadraticExpansion()] if parameters["quadraticflag"] else []
    for step in steps:
        step.fit(np.zeros((1, descriptor.n_features_out_)))
    baseline = None if script is None else read_baseline(script)
    return make_pipeline(descriptor, *steps, _make_potential(content, baseline))


def write_snap(model, stem):
    """Write a SNAP or qSNAP model as files for LAMMPS' ``pair_style snap``.

    Parameters
    ----------
    model : Pipeline
        Fitted: `Bispectrum`, then any of `QuadraticExpansion` and `FeatureScaler`, then a potential
        that is linear in the features, such as `LinearPotential`. A scaler becomes part of the
        coefficients.
    stem : str or path-like
        Path of the files without their endings.

    Returns
    -------
    tuple of pathlib.Path
        ``stem.snapcoeff`` and ``stem.snapparam``. If the potential has a ZBL baseline, also ``stem.in``:
        the lines that add it by ``pair_style hybrid/overlay``, for LAMMPS' ``include`` command. They name the
        other two without their folder, as LAMMPS finds them where it runs or in ``LAMMPS_POTENTIALS``.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    FileNotFoundError
        If the folder does not exist.
    TypeError
        If the descriptor is none that LAMMPS' files can name.
    ValueError
        If the files cannot hold another part of the model; the message says which and why. Nothing is
        written then.

    See Also
    --------
    read_snap : Read the two files.

    Notes
    -----
    Numbers are written with all their digits: a model that is read and written again has the same
    files, but for their comments. In LAMMPS, use ``units metal`` and name the elements on the
    ``pair_coeff`` line as the files' first lines do.

    With ``chemflag`` some components are equal, such as those of equal angular momenta and the species in
    another order. Their coefficients are written as their mean, which changes no energy: LAMMPS' forces
    are the derivative of its energy only then.

    Examples
    --------
    >>> write_snap(model, "Mo")  # doctest: +SKIP
    (PosixPath('Mo.snapcoeff'), PosixPath('Mo.snapparam'))
    """
    check_is_fitted(model)
    descriptor, steps, potential = split_model(model)
    if not isinstance(descriptor, Bispectrum):
        raise TypeError(f"LAMMPS' SNAP files hold bispectrum components, not {type(descriptor).__name__}.")
    coefficients, quadratic = _coefficients(descriptor, steps, potential)
    paths = [Path(f"{stem}.{ending}") for ending in ("snapcoeff", "snapparam", "in")]
    script = format_pair_commands(*(path.name for path in paths[:2]), descriptor.species_, potential.baseline)
    content = SnapCoefficients(
        descriptor.species_,
        descriptor._per_species("radii"),
        descriptor._per_species("weights"),
        coefficients,
    )
    parameters = _parameters(descriptor, quadratic)
    comments = [
        f"SNAP model, written by mlfeat {mlfeat.__version__}. To use it, with units metal:",
        *script,
    ]
    texts = [format_coefficients(content, comments), format_parameters(parameters, comments)]
    if potential.baseline is not None:
        texts.append("\n".join([f"# {comments[0]}", *script, ""]))
    return tuple(write_atomically(path, text.encode()) for path, text in zip(paths, texts, strict=False))


# --- reading -------------------------------------------------------------------------------------


def _check_elements(coeff, elements):
    for element in elements:
        if atomic_numbers.get(element, 0) < 1:
            raise ValueError(f"{coeff}: {element!r} is not the symbol of an element.")


def _check_counts(coeff, param, content, parameters):
    n_elements, n_given = content.coefficients.shape
    expected = n_coefficients(parameters, n_elements)
    if n_given != expected:
        form = "quadratic" if parameters["quadraticflag"] else "linear"
        form += f" in triples of {n_elements} elements" * parameters["chemflag"]
        raise ValueError(
            f"{coeff}: {n_given} coefficients an element, but {param} describes a model with "
            f"{expected} (twojmax {parameters['twojmax']}, {form}). The files do not belong together."
        )
    for keyword in PER_ELEMENT:
        values = parameters[keyword]
        if values is not None and len(values) != n_elements:
            raise ValueError(f"{param}: {len(values)} values of {keyword} for the {n_elements} elements of {coeff}.")


def _select(coeff, content, parameters, species):
    """The model of some of the elements, in another order."""
    species, elements = tuple(species), content.elements
    missing = [symbol for symbol in species if symbol not in elements]
    if missing or not species or len(set(species)) < len(species):
        raise ValueError(
            f"species={species!r}: should be different ones of {', '.join(elements)}, the elements of {coeff}."
        )
    if parameters["chemflag"] and len(species) < len(elements):
        raise ValueError(
            f"species={species!r}: with chemflag the components of each element depend on all of "
            f"{', '.join(elements)}; they can be put in another order, but not left out."
        )
    order = [elements.index(symbol) for symbol in species]
    coefficients = content.coefficients[order]
    if parameters["chemflag"]:
        coefficients = coefficients[:, _triple_order(order, parameters)]
    parameters = parameters | {
        name: tuple(parameters[name][k] for k in order) for name in PER_ELEMENT if parameters[name] is not None
    }
    content = SnapCoefficients(species, content.radii[order], content.weights[order], coefficients)
    return content, parameters


def _triple_order(order, parameters):
    """Where each coefficient stood before the elements, and with them their triples, were reordered."""
    n = len(order)
    n_components = (n_coefficients(parameters | {"quadraticflag": False}, n) - 1) // n**3
    triples = np.arange(n**3).reshape(n, n, n)[np.ix_(order, order, order)].ravel()
    linear = (triples[:, None] * n_components + np.arange(n_components)).ravel()
    blocks = [[0], 1 + linear]
    if parameters["quadraticflag"]:
        k, m = np.triu_indices(len(linear))
        packed = np.empty((len(linear), len(linear)), dtype=int)
        packed[k, m] = packed[m, k] = np.arange(len(k))
        blocks.append(1 + len(linear) + packed[linear[k], linear[m]])
    return np.concatenate(blocks)


def _make_descriptor(param, content, parameters):
    descriptor = Bispectrum(
        cutoff=parameters["rcutfac"],
        twojmax=parameters["twojmax"],
        species=content.elements,
        radii=tuple(content.radii.tolist()),
        weights=tuple(content.weights.tolist()),
        **{name: parameters[name] for name in (*_SHARED, *PER_ELEMENT)},
    )
    try:
        # An atom alone: what there is to fit is in the parameters.
        return descriptor.fit([Atoms(content.elements[:1])])
    except ValueError as error:
        raise ValueError(f"{param}: {error}") from error


def _make_potential(content, baseline):
    """The potential with the attributes that a fit would have given it; there are no data to judge others by."""
    potential = LinearPotential(baseline=baseline)
    potential.coef_ = np.ascontiguousarray(content.coefficients[:, 1:])
    potential.intercept_ = content.coefficients[:, 0].copy()
    potential.species_ = content.elements
    potential.n_features_in_ = potential.coef_.shape[1]
    potential.posterior_ = potential.grader_ = None
    return potential


# --- writing -------------------------------------------------------------------------------------


def _coefficients(descriptor, steps, potential):
    """Coefficients (n_species, 1 + n_features) and whether they are those of a quadratic model."""
    energy = reduce(lambda model, step: step.absorb(model), reversed(steps), potential.energy_model())
    if isinstance(energy, QuadraticEnergy):
        linear, matrix = energy.beta, energy.matrix
    elif isinstance(energy, LinearEnergy):
        linear, matrix = energy.coef, None
    else:
        names = [type(part).__name__ for part in (*steps, potential)]
        raise ValueError(
            "LAMMPS' SNAP files hold energies linear or quadratic in the bispectrum components, which "
            f"{' and '.join(names)} do not give; fit a LinearPotential, with QuadraticExpansion or without."
        )
    if descriptor.chemflag:
        linear, matrix = _symmetrize(linear, matrix, descriptor)
    parts = [energy.intercept[:, None], linear]
    if matrix is not None:
        parts.append(matrix[(slice(None), *np.triu_indices(linear.shape[1]))])
    coefficients = np.hstack(parts)
    if not np.isfinite(coefficients).all():
        raise ValueError("Some coefficients of the model are not finite; fit it again.")
    return coefficients, matrix is not None


def _symmetrize(linear, matrix, descriptor):
    """The same energies, with equal coefficients for components that are equal.

    Of explicit species, components with equal angular momenta are the same in any order of their
    species. LAMMPS takes the forces from one of them, as if the others had its coefficient too.
    """
    classes = _equal_components(descriptor.twojmax, len(descriptor.species_))
    linear = _average(linear, classes)
    if matrix is not None:
        low, high = np.minimum.outer(classes, classes), np.maximum.outer(classes, classes)
        pairs = low * len(classes) + high
        matrix = _average(matrix.reshape(len(matrix), -1), pairs.ravel()).reshape(matrix.shape)
    return linear, matrix


def _equal_components(twojmax, n_species):
    """Number of the class of equal components that each feature belongs to."""
    labels = []
    for triple in product(range(n_species), repeat=3):
        for momenta in components(twojmax):
            labels.append(sorted(zip(momenta, triple, strict=True)))
    return np.unique(np.reshape(labels, (len(labels), -1)), axis=0, return_inverse=True)[1].ravel()


def _average(values, classes):
    """Means (n, m) over classes (m,) of columns; numbers that are equal already stay so to the last bit."""
    _, first, classes, sizes = np.unique(classes, return_index=True, return_inverse=True, return_counts=True)
    base = values[:, first[classes]]
    means = [np.bincount(classes, row) / sizes for row in values - base]
    return base + np.array(means)[:, classes]


def _parameters(descriptor, quadratic):
    parameters = {name: getattr(descriptor, name) for name in _SHARED}
    inner = {name: descriptor._per_species(name) if descriptor.switchinnerflag else None for name in PER_ELEMENT}
    sizes = {"rcutfac": descriptor.cutoff, "twojmax": descriptor.twojmax}
    return parameters | inner | sizes | {"quadraticflag": quadratic}
