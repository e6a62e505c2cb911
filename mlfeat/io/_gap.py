"""Gaussian approximation potentials from and to the files of QUIP."""

from collections import defaultdict
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from scipy import linalg
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

import mlfeat
from mlfeat._archive import write_atomically
from mlfeat.base import split_model
from mlfeat.descriptors import SOAP, DescriptorUnion, PairDistance, make_descriptor_union
from mlfeat.io._gap_keywords import WILDCARD, format_pair, format_soap
from mlfeat.io._gap_terms import Term, group_terms, names, select_species
from mlfeat.io._gap_xml import VERSION, GapCoordinates, GapFile, format_gap_file, read_gap_file
from mlfeat.potentials import GaussianApproximationPotential
from mlfeat.potentials._kernels import part_covariance, parts

__all__ = ["read_gap", "write_gap"]


def read_gap(path, species=None, *, variance_regularization=1e-3):
    r"""Read a Gaussian approximation potential from QUIP's files.

    The model gives what QUIP gives with these files,

    .. math:: E_i = e_s + \sum_t \delta_t^2 \sum_P \alpha_P\, k_t(i, P),

    with s the species of atom i and the sum over the descriptors t in the file: ``soap`` with the kernel
    :math:`(p_i \cdot P)^\zeta`, and ``distance_2b`` or ``distance_Nb`` of order 2 with a squared exponential, summed
    over the neighbors.

    Parameters
    ----------
    path : str or path-like
        The XML file that ``gap_fit`` writes, such as ``gap.xml``. The files of sparse points that it names have to be
        in the same folder.
    species : sequence of str, default=None
        Elements to take from the file, in this order. None: all that it names, in the order of its first ``soap``. Has
        to be given for a file that names none, as old ones of single elements do.
    variance_regularization : float or None, default=1e-3
        QUIP's ``gap_variance_regularisation`` ε, eV, see the notes. None: a model without uncertainties, which takes
        M² fewer numbers for M sparse points.

    Returns
    -------
    Pipeline
        Fitted: `SOAP`, `PairDistance` or a `DescriptorUnion` of them, then `GaussianApproximationPotential`.

    Raises
    ------
    ValueError
        If a file is truncated, damaged or foreign, holds a descriptor, kernel or keyword that has no counterpart, a
        sum with another potential, or not the species asked for. The message names the file, and which.
    FileNotFoundError
        If the file, or one of those that it names, is not there.

    See Also
    --------
    write_gap : Write the files.

    Notes
    -----
    What is refused: descriptors other than the three; ``covariance_type`` other than ``dot_product`` for ``soap`` and
    ``ard_se`` for pairs; ζ that is no whole number; a baseline (``core_ip_args``) and ``Potential`` elements other than
    ``IP GAP``; ``f0`` of pairs. Of ``soap``: ``average``, ``diagonal_radial``, ``cutoff_dexp``, ``R_mix``, ``Z_mix``,
    ``sym_mix``; ``coupling=F``; ``radial_basis`` other than ``EQUISPACED_GAUSS``; ``basis_error_exponent`` other than
    10; ``nu_R``, ``nu_S`` other than 2 and 2, 1 or 0; ``central_reference_all_species`` where there are several
    species; a ``species_Z`` that lacks one of the model's species. Of ``distance_2b``: ``only_intra``,
    ``only_inter``, ``exponents``, ``tail_exponent``. Keywords that guide a fit alone, such as ``sparse_method``, are
    ignored, others than those of QUIP 0.10.3 refused.

    With ``gap_version`` before 1596837814, ``distance_Nb`` counts each pair once instead of twice, and before
    1426512068 the ``soap`` of several species is another one. Both are as QUIP has it.

    The variance of an atom's energy is QUIP's ``local_gap_variance``, with K = δ²k the kernels with the M sparse points

    .. math:: K_{ii} + \varepsilon^2 - K_{iM} (K_{MM} + \varepsilon^2)^{-1} K_{Mi}

    summed over the descriptors. It tells how far an environment is from the sparse points, and nothing of the data and
    their errors, of which the files say nothing. Two things differ: for pairs, QUIP has the sum of the variances of
    single pairs, this model the variance of their sum within the span of the kernel functions; and QUIP takes
    :math:`K_{ii} = \delta^2`, which is not so with ``normalise=F`` or a ``covariance_sigma0``.

    References
    ----------
    A. P. Bartók, G. Csányi, Int. J. Quantum Chem. 115, 1051 (2015). QUIP and GAP: https://libatoms.github.io/GAP.

    Examples
    --------
    >>> model = read_gap("gap.xml")  # doctest: +SKIP
    >>> atoms.calc = PotentialCalculator(model)  # doctest: +SKIP
    """
    if variance_regularization is not None and not 0 < variance_regularization < np.inf:
        raise ValueError(f"variance_regularization={variance_regularization!r}: should be a positive number, or None.")
    content = read_gap_file(path)
    terms = [Term.of(path, k, coordinates, content.version) for k, coordinates in enumerate(content.coordinates, 1)]
    numbers = select_species(path, terms, species)
    groups = group_terms(terms, numbers)
    if not groups:
        raise ValueError(f"{path}: nothing in it is for the species {names(numbers)}; name others.")
    descriptor = _make_descriptor(path, groups, numbers)
    e0 = np.array([content.e0.get(number, content.e0[WILDCARD]) for number in numbers])
    return make_pipeline(descriptor, _make_potential(descriptor, groups, e0, variance_regularization))


def write_gap(model, path):
    """Write a Gaussian approximation potential as files for QUIP.

    Parameters
    ----------
    model : Pipeline
        Fitted: `SOAP`, `PairDistance` or a `DescriptorUnion` of them, then `GaussianApproximationPotential`.
    path : str or path-like
        The XML file, such as ``gap.xml``.

    Returns
    -------
    tuple of pathlib.Path
        The XML file, and beside it one file of sparse points for each central species of a ``soap`` and each kind of
        pair. They belong together, and are named after their content: those of an older file of the same name stay.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    FileNotFoundError
        If the folder does not exist.
    TypeError
        If the descriptor or the potential is none that QUIP's files can hold.
    ValueError
        If the files cannot hold another part of the model: a baseline, steps between descriptor and potential, SOAP's
        "gto" radial functions or "random" compression; or if weights are not finite. Nothing is written then.

    See Also
    --------
    read_gap : Read the files.

    Notes
    -----
    Numbers are written with all their digits. In quippy use ``Potential(param_filename="gap.xml")``, in LAMMPS
    ``pair_style quip`` with the ``pair_coeff`` line that is in the file, near its end.

    The uncertainties are not in the files: QUIP makes its own, from the sparse points alone, when asked for
    ``local_gap_variance`` (with a ``gap_variance_regularisation``), and so does a model that was read. This model's
    own also know from which data it was fitted, and how large their errors are. A model after ``compress_`` is written
    as it was before: QUIP has no use for its points in a subspace.

    Examples
    --------
    >>> write_gap(model, "gap.xml")  # doctest: +SKIP
    (PosixPath('gap.xml'), PosixPath('gap.xml.sparseX.GAP_mlfeat_25e84ac56fe19b4b1'))
    """
    check_is_fitted(model)
    descriptor, steps, potential = split_model(model)
    _check_writable(descriptor, steps, potential)
    numbers = [atomic_numbers[symbol] for symbol in descriptor.species_]
    writers = {SOAP: _soap_coordinates, PairDistance: _pair_coordinates}
    parts_at = {place.start: part for place, part in zip(descriptor.feature_blocks(), _parts(descriptor), strict=True)}
    coordinates = [
        one
        for block in potential.blocks_
        for one in writers[type(parts_at[block["start"]])](parts_at[block["start"]], block, numbers)
    ]
    if not all(np.isfinite(one.alpha).all() for one in coordinates):
        raise ValueError("Some weights of the model are not finite; fit it again.")
    content = GapFile(VERSION, dict(zip(numbers, potential.e0_.tolist(), strict=True)), tuple(coordinates))
    files = format_gap_file(content, path, f"written by mlfeat {mlfeat.__version__}")
    # The XML file last: it is the one that refers to the others.
    *sparse, xml = [write_atomically(file, text.encode()) for file, text in files.items()]
    return (xml, *sparse)


# --- reading -------------------------------------------------------------------------------------


def _make_descriptor(path, groups, numbers):
    species = tuple(chemical_symbols[number] for number in numbers)
    descriptors = [_new_descriptor(sharing[0], species) for sharing in groups]
    descriptor = descriptors[0] if len(descriptors) == 1 else make_descriptor_union(*descriptors)
    descriptor.set_params(species=species)
    try:
        # An atom alone: what there is to fit is in the parameters.
        return descriptor.fit([Atoms(species[:1])])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _new_descriptor(group, species):
    if group.kind is SOAP:
        return SOAP(**group.parameters)
    kinds = combinations_with_replacement(species, 2)
    theta = {kind: group.members[kind][2] if kind in group.members else 1.0 for kind in kinds}
    points = {kind: member[0] for kind, member in group.members.items()}
    return PairDistance(**group.parameters, theta=theta, points=points)


def _make_potential(descriptor, groups, e0, regularization):
    """The potential with the attributes that a fit would have given it; there are no data to judge others by."""
    species = descriptor.species_
    places, blocks = descriptor.feature_blocks(), []
    for sharing, place in zip(groups, places, strict=True):
        names_of = [place.name] if len(sharing) == 1 else [f"{place.name}_zeta{group.zeta}" for group in sharing]
        blocks += [_block(group, place, name, species) for group, name in zip(sharing, names_of, strict=True)]
    potential = GaussianApproximationPotential(
        n_sparse=max(len(member[1]) for sharing in groups for group in sharing for member in group.members.values()),
        zeta={place.name: _zeta(sharing) for sharing, place in zip(groups, places, strict=True)},
        delta={block["name"]: block["delta"] for block in blocks},
        e0=dict(zip(species, e0.tolist(), strict=True)),
    )
    potential.blocks_ = blocks
    potential.e0_ = e0
    potential.species_ = species
    potential.n_features_in_ = descriptor.n_features_out_
    potential.energy_sigma_ = potential.force_sigma_ = potential.stress_sigma_ = None
    potential.log_marginal_likelihood_ = potential.grader_ = None
    potential.variance_ = None if regularization is None else _variance(blocks, len(e0), float(regularization))
    return potential


def _zeta(sharing):
    zetas = tuple(group.zeta or 1 for group in sharing)
    return zetas if len(zetas) > 1 else zetas[0]


def _block(group, place, name, species):
    keys = range(len(species)) if group.kind is SOAP else combinations_with_replacement(species, 2)
    members = {key: group.members[key] for key in keys if key in group.members}
    weights = [member[1] for member in members.values()]
    points = centers = None
    if group.kind is SOAP:
        points = np.concatenate([member[0] for member in members.values()])
        centers = np.repeat(list(members), [len(alpha) for alpha in weights])
    return {
        "name": name,
        "start": place.start,
        "stop": place.stop,
        "zeta": group.zeta,
        "delta": group.delta,
        "covariance": place.covariance,
        "sparse_points": points,
        "sparse_species": centers,
        "weights": np.concatenate(weights),
    }


def _variance(blocks, n_species, regularization):
    """A factor of (K_MM + ε²)⁻¹, and ε² for each kernel that an atom has."""
    factors, counts = [], defaultdict(int)
    for part in parts(blocks, n_species):
        covariance = part.delta**2 * part_covariance(part)
        covariance[np.diag_indices_from(covariance)] += regularization**2
        factors.append(_inverse_factor(covariance, regularization))
        counts[part.species] += part.points is not None
    return {"factor": linalg.block_diag(*factors), "offset": max(counts.values()) * regularization**2}


def _inverse_factor(covariance, regularization):
    try:
        lower = linalg.cholesky(covariance, lower=True)
    except linalg.LinAlgError as error:
        raise ValueError(
            f"variance_regularization={regularization!r} is too small for these sparse points; enlarge it."
        ) from error
    return linalg.solve_triangular(lower, np.eye(len(lower)), lower=True).T


# --- writing -------------------------------------------------------------------------------------


def _parts(descriptor):
    if not isinstance(descriptor, DescriptorUnion):
        return [descriptor]
    return [part for _, inner in descriptor.descriptors_ for part in _parts(inner)]


def _check_writable(descriptor, steps, potential):
    for part in _parts(descriptor):
        if type(part) not in (SOAP, PairDistance):
            raise TypeError(f"QUIP's files hold SOAP and PairDistance, not {type(part).__name__}.")
        if isinstance(part, SOAP) and (part.radial_basis != "equispaced_gauss" or part.compression == "random"):
            raise ValueError(
                f"{part!r}: QUIP has the radial_basis 'equispaced_gauss' alone, and no 'random' compression."
            )
    if not isinstance(potential, GaussianApproximationPotential):
        raise TypeError(f"QUIP's GAP files hold a GaussianApproximationPotential, not {type(potential).__name__}.")
    if steps:
        names = " and ".join(type(step).__name__ for step in steps)
        raise ValueError(f"QUIP knows no steps between descriptor and kernel: {names}; fit a model without.")
    if potential.baseline is not None:
        raise ValueError(
            f"the potential has a baseline, {potential.baseline!r}, which QUIP's files cannot hold: write a model with "
            "baseline None, and add the baseline where the files are used, as by LAMMPS' pair_style hybrid/overlay."
        )


def _soap_coordinates(descriptor, block, numbers):
    """A ``soap`` for each central species."""
    for s, number in enumerate(numbers):
        mine = block["sparse_species"] == s
        if mine.any():
            yield GapCoordinates(
                format_soap(descriptor.get_params(), number, numbers),
                "dot_product",
                float(block["zeta"]),
                float(block["delta"]),
                0.0,
                block["sparse_points"][mine],
                block["weights"][mine],
                np.ones(np.count_nonzero(mine)),
            )


def _pair_coordinates(descriptor, block, numbers):
    """A ``distance_2b`` for each kind of pair."""
    start = 0
    for pair, points, theta in zip(
        combinations_with_replacement(numbers, 2), descriptor.points_, descriptor._thetas(), strict=True
    ):
        if len(points):
            yield GapCoordinates(
                format_pair(descriptor.get_params(), pair),
                "ard_se",
                float(theta),
                float(block["delta"]),
                0.0,
                points[:, None],
                block["weights"][start : start + len(points)],
                descriptor._cutoff_function(points),
            )
        start += len(points)
