"""Moment tensor potentials from and to MLIP's ``.mtp`` files."""

from pathlib import Path

import numpy as np
from ase import Atoms
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from mlfeat._archive import write_atomically
from mlfeat.base import split_model
from mlfeat.descriptors import MomentTensor
from mlfeat.descriptors._moment_basis import MomentBasis
from mlfeat.io._mtp_text import MomentTensorFile, format_moments, read_moments
from mlfeat.io._species import check_species
from mlfeat.potentials import MomentTensorPotential

__all__ = ["read_mtp", "write_mtp"]


def read_mtp(path, species=None):
    r"""Read a moment tensor potential from MLIP's file.

    The model gives what MLIP gives with the file,

    .. math:: E_i = b_{s_i} + \sum_k \beta_k B_{ik},

    B the contractions of its ``alpha_`` tables, see :class:`mlfeat.MomentTensor`, β its ``moment_coeffs`` and b its
    ``species_coeffs``.

    Parameters
    ----------
    path : str or path-like
        The ``.mtp`` file, of version 1.1.0 and with radial functions ``RBChebyshev``. Those that motep writes are read
        too, and ``.almtp`` of MLIP 3, whose state of active learning is passed over.
    species : sequence of str
        Elements of the file's species 0, 1, 2, … in this order: the file has no names. It may be left out if the file
        is one to be trained.

    Returns
    -------
    Pipeline
        `MomentTensor`, then `MomentTensorPotential`, fitted. If the file is one to be trained, without coefficients, as
        those of MLIP's folder ``untrained_mtps``: not fitted, with the cutoff, the minimal distance, the number of
        polynomials and the tables of the file; its number of species, which is a placeholder, has no effect.

    Raises
    ------
    ValueError
        If the file is truncated, foreign or damaged, or holds radial functions or a keyword that are not known; the
        message names the file and the line. If `species` are not as many as the file's.

    See Also
    --------
    write_mtp : Write such a file.
    read_cfg : Read the structures that it was trained on.

    Notes
    -----
    The file does not tell which environments the potential was trained on: there is no extrapolation grade.

    References
    ----------
    I. S. Novikov, K. Gubaev, E. V. Podryabinkin, A. V. Shapeev, Mach. Learn.: Sci. Technol. 2, 025002 (2021).

    Examples
    --------
    >>> model = read_mtp("quaternary.mtp", species=["Nb", "Mo", "Ta", "W"])  # doctest: +SKIP
    >>> atoms.calc = PotentialCalculator(model)  # doctest: +SKIP
    """
    content = read_moments(path)
    species = None if species is None else check_species(species)
    trained = content.moment_coefficients is not None
    if trained and len(species or ()) != content.n_species:
        raise ValueError(
            f"{path}: the file is for {content.n_species} species, but species={species!r}; pass the symbol of each of "
            "them, in the order in which they were trained."
        )
    descriptor = MomentTensor(
        cutoff=content.max_dist,
        min_dist=content.min_dist,
        n_polynomials=content.n_polynomials,
        radial_coefficients=content.radial_coefficients,
        scaling=content.scaling,
        basis=MomentBasis(content.moments, content.products, content.scalars),
        species=species,
    )
    try:
        descriptor.basis_.check()
        if not trained:
            return make_pipeline(descriptor, MomentTensorPotential())
        # An atom alone: what there is to fit is in the parameters.
        return make_pipeline(descriptor.fit([Atoms(species[:1])]), _make_potential(content, species))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_mtp(model, path, member=None):
    """Write a moment tensor potential as MLIP's file, which LAMMPS with MLIP, and motep, read too.

    Parameters
    ----------
    model : Pipeline
        Fitted: `MomentTensor`, then `MomentTensorPotential`. Species 0, 1, 2, … of the file are those of
        ``model[0].species_``.
    path : str or path-like
        The file; an older one is replaced once the new one is complete.
    member : int, default=None
        Of a committee, the member to write.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    FileNotFoundError
        If the folder does not exist.
    TypeError
        If it is not such a model.
    ValueError
        If the file cannot hold a part of the model: coefficients that are not tied, a baseline, several members; the
        message says which, and what to do. Nothing is written then.

    See Also
    --------
    read_mtp : Read such a file.

    Notes
    -----
    Numbers are written with all their digits: the model that is read again is the same to the last bit.

    Examples
    --------
    >>> write_mtp(model, "Mo.mtp")  # doctest: +SKIP
    PosixPath('Mo.mtp')
    """
    check_is_fitted(model)
    descriptor, steps, potential = split_model(model)
    if not isinstance(descriptor, MomentTensor) or not isinstance(potential, MomentTensorPotential) or steps:
        names = [type(part).__name__ for part in (descriptor, *steps, potential)]
        raise TypeError(
            "MLIP's files hold a MomentTensor and a MomentTensorPotential without steps between, not "
            f"{', '.join(names)}."
        )
    content = _content(descriptor, potential, _choose(member, len(potential.coef_)))
    return write_atomically(Path(path), format_moments(content).encode())


def _make_potential(content, species):
    """The potential with the attributes that a fit would have given it; there are no data to judge others by."""
    potential = MomentTensorPotential()
    shape = content.n_species, len(content.scalars)
    potential.radial_coef_ = content.radial_coefficients[None].copy()
    potential.scaling_ = np.array([content.scaling])
    potential.coef_ = np.broadcast_to(content.moment_coefficients, shape)[None].copy()
    potential.intercept_ = content.species_coefficients[None].copy()
    potential.species_ = species
    potential.n_features_in_ = len(content.scalars)
    potential.basis_ = potential.active_set_ = None
    potential.history_, potential.n_iter_ = [], 0
    return potential


def _choose(member, n_models):
    if member is None and n_models > 1:
        raise ValueError(
            f"the model is a committee of {n_models}, MLIP's files hold one potential; choose one with member=0 to "
            f"{n_models - 1}, on the command line --member."
        )
    if member not in (None, *range(n_models)):
        raise ValueError(f"member={member!r}: should be 0 to {n_models - 1}.")
    return member or 0


def _content(descriptor, potential, member):
    """What the file should hold."""
    if potential.baseline is not None:
        raise ValueError(
            f"MLIP's files hold no baseline ({type(potential.baseline).__name__}): fit without one, or keep the model "
            "with mlfeat.save."
        )
    coef, intercept = potential.coef_[member], potential.intercept_[member]
    if (coef != coef[0]).any():
        raise ValueError(
            "the coefficients differ by species, MLIP's files hold the same for all: fit with tied=True, or keep the "
            "model with mlfeat.save."
        )
    learned = descriptor.with_radial(
        potential.radial_coef_[member], scaling=potential.scaling_[member], basis=potential.basis_
    )
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        raise ValueError("Some coefficients of the model are not finite; fit it again.")
    return MomentTensorFile(
        len(learned.species_),
        learned.scaling,
        learned.min_dist_,
        learned.cutoff_,
        learned.n_polynomials,
        *learned.basis_,
        learned.radial_coefficients_,
        intercept,
        coef[0],
    )
