"""Which structures to compute next: those that differ most from each other, and from those that are known.

None of the methods needs a reference energy. Each chooses one structure after the other, so that the first ones of a
choice are the choice of fewer, and takes those that are known `already` into account.
"""

from numbers import Integral
from typing import NamedTuple

import ase
import numpy as np
from scipy import linalg
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mlfeat.features import FeatureSet
from mlfeat.potentials._maxvol import ActiveSet, select
from mlfeat.potentials._sparse_points import BATCH, squared_distances
from mlfeat.preprocessing._selector import LEAST_ERROR, TIE, leading_eigenvector

__all__ = ["cur", "farthest_point", "maxvol"]

_INDEPENDENT = 1e-8  # rows of a structure that are less than this, relative to the largest, add nothing


def farthest_point(X, n, *, already=None, initial=None, zeta=1, reduce="atoms", descriptor=None):
    r"""Choose structures by farthest-point sampling.

    The next structure is the one with the atom that is farthest from all atoms of its element in the structures that
    are known or chosen before, :math:`\max_{i \in s} \min_{j} d_{ij}`: what is new in a structure is its most novel
    atom. An element that was not there before is infinitely far.

    Parameters
    ----------
    X : FeatureSet, array of shape (n_structures, n_features), or list of ase.Atoms
        Candidates. A row of an array is one structure. Features with large values count most; scale them before, with
        :class:`mlfeat.FeatureScaler` or scikit-learn's, if that is not what you want.
    n : int
        How many to choose.
    already : like X, default=None
        What is known.
    initial : int, default=None
        The first choice. None: the candidate farthest from `already`; without that, the one nearest to the mean of all
        features.
    zeta : int, default=1
        The metric is that of the kernel k = (B · B')^ζ, :math:`d^2 = k(B, B) + k(B', B') - 2 k(B, B')`: for one the
        Euclidean distance, else what a :class:`mlfeat.GaussianApproximationPotential` sees.
    reduce : {"atoms", "mean"}, default="atoms"
        Whether atoms of a FeatureSet are compared, or the means over the atoms of each structure.
    descriptor : Descriptor or Pipeline of transformers, default=None
        Makes features of structures. If it is not fitted, a copy is fitted to `X` and `already`.

    Returns
    -------
    intp array of shape (n,)
        Indices of candidates, in the order of choice.

    Raises
    ------
    ValueError
        If there are fewer than `n` candidates, or features are not finite or do not match.

    See Also
    --------
    maxvol : Chooses what a linear potential cannot interpolate.
    mlfeat.select_structures : The same for a fitted model.

    Examples
    --------
    >>> farthest_point([[0.0], [1.0], [2.0], [10.0]], 3)
    array([2, 3, 0])
    >>> farthest_point([[0.0], [1.0], [2.0], [10.0]], 2, already=[[9.0], [11.0]])
    array([0, 2])
    """
    pool, known = _pools(X, already, reduce, descriptor)
    n = _checked_number(n, pool)
    chosen = _first(pool, initial, known)
    shift = pool.values.mean(axis=0) if zeta == 1 else 0.0  # distances do not change, and rounding is less
    values = pool.values - shift
    squared = np.full(len(values), np.inf)
    if known is not None:
        _approach(squared, values, pool.species, known.values - shift, known.species, zeta)
    for best in chosen:
        mine = pool.owner == best
        _approach(squared, values, pool.species, values[mine], pool.species[mine], zeta)
    while len(chosen) < n:
        best = int(np.argmax(_of_structures(squared, pool, chosen)))
        chosen.append(best)
        mine = pool.owner == best
        _approach(squared, values, pool.species, values[mine], pool.species[mine], zeta)
    return np.array(chosen, dtype=np.intp)


def cur(X, n, *, already=None, reduce="mean", descriptor=None):
    r"""Choose structures by CUR decomposition.

    Let X be the matrix of features, one row a structure, and u its left singular vector of the largest singular value.
    The structure with the largest leverage score :math:`u_s^2` is chosen, then the direction of its features is taken
    out of all rows,

    .. math:: X \leftarrow X - X \frac{x_s x_s^T}{|x_s|^2} ,

    and so on with the X that is left. When nothing is left, after as many structures as there are independent features
    at most, it begins anew with the structures that are not chosen. With ``reduce="atoms"`` rows are atoms, a
    structure's score is the largest of its atoms', and the directions of all of its atoms are taken out.

    Parameters
    ----------
    X : FeatureSet, array of shape (n_structures, n_features), or list of ase.Atoms
        Candidates, as for `farthest_point`.
    n : int
        How many to choose.
    already : like X, default=None
        What is known: its directions are taken out first.
    reduce : {"atoms", "mean"}, default="mean"
        Whether rows are atoms of a FeatureSet, or the means over the atoms of each structure.
    descriptor : Descriptor or Pipeline of transformers, default=None
        Makes features of structures. If it is not fitted, a copy is fitted to `X` and `already`.

    Returns
    -------
    intp array of shape (n,)
        Indices of candidates, in the order of choice.

    Raises
    ------
    ValueError
        If there are fewer than `n` candidates, or features are not finite or do not match.

    References
    ----------
    M. W. Mahoney and P. Drineas, Proc. Natl. Acad. Sci. 106, 697 (2009); G. Imbalzano, A. Anelli, D. Giofré, S. Klees,
    J. Behler, M. Ceriotti, J. Chem. Phys. 148, 241730 (2018).

    Examples
    --------
    >>> cur([[1.0, 0.0], [0.0, 3.0], [0.0, 2.0]], 3)
    array([1, 0, 2])
    """
    pool, known = _pools(X, already, reduce, descriptor)
    n = _checked_number(n, pool)
    left, total, chosen = pool.values.copy(), np.sum(pool.values**2), []
    if known is not None:
        _take_out(left, known.values)
    while len(chosen) < n:
        if np.sum(left**2) <= LEAST_ERROR**2 * total:
            left = np.where(np.isin(pool.owner, chosen)[:, None], 0.0, pool.values)
            total = np.sum(left**2)
        scores = _of_structures((left @ leading_eigenvector(left.T @ left)) ** 2, pool, chosen)
        best = int(np.argmax(scores >= (1 - TIE) * scores.max()))
        chosen.append(best)
        _take_out(left, left[pool.owner == best])
    return np.array(chosen, dtype=np.intp)


def maxvol(X, n, *, already=None, initial=None, threshold=1.0, reduce="atoms", descriptor=None):
    """Choose structures by MaxVol, as active learning of moment tensor potentials does.

    An atom is known whose features are a combination of those of known atoms of its element with no coefficient above
    one; the largest coefficient is its extrapolation grade. The structure with the largest grade of an atom is chosen,
    reckoned as known, and the others are graded anew. The choice does not depend on units of features, but that those
    which spread a hundred times less than their size count less; nor, if what is known spans them all, on linear
    transformations of them.

    Parameters
    ----------
    X : FeatureSet, array of shape (n_structures, n_features), or list of ase.Atoms
        Candidates, as for `farthest_point`.
    n : int
        How many to choose at most.
    already : like X, default=None
        What is known.
    initial : int, default=None
        The first choice. None: the candidate with the largest grade; without `already`, the one nearest to the mean of
        all features.
    threshold : float, default=1.0
        Structures with a grade of this or less are not chosen: up to one, a linear potential interpolates. With zero
        there are `n` unless all are known to the last digit.
    reduce : {"atoms", "mean"}, default="atoms"
        Whether atoms of a FeatureSet are graded, or the means over the atoms of each structure.
    descriptor : Descriptor or Pipeline of transformers, default=None
        Makes features of structures. If it is not fitted, a copy is fitted to `X` and `already`.

    Returns
    -------
    intp array of shape (n_chosen,)
        Indices of candidates, in the order of choice; fewer than `n` where no other is beyond the threshold.

    Raises
    ------
    ValueError
        If there are fewer than `n` candidates, or features are not finite or do not match.

    See Also
    --------
    mlfeat.select_structures : The same for a fitted model.

    References
    ----------
    E. V. Podryabinkin and A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017).

    Examples
    --------
    >>> maxvol([[0.0], [1.0], [2.0], [10.0]], 4)
    array([2, 3, 0])
    """
    pool, known = _pools(X, already, reduce, descriptor)
    n = _checked_number(n, pool)
    first = _first(pool, initial, known)
    mine = np.isin(pool.owner, first)
    values, species = pool.values[mine], pool.species[mine]
    if known is not None:
        values, species = np.concatenate([known.values, values]), np.concatenate([known.species, species])
    sets = []
    for s in range(pool.n_species):
        rows = values[species == s]
        labels = np.zeros((len(rows), 2), dtype=np.intp)
        sets.append(ActiveSet.from_rows(rows, labels, [pool.values[pool.species == s], rows]))
    rest = np.setdiff1d(np.arange(pool.n_structures), first)
    parts = [np.flatnonzero(pool.owner == k) for k in rest]
    found = select(sets, [pool.values[p] for p in parts], [pool.species[p] for p in parts], n - len(first), threshold)
    return np.concatenate([np.array(first, dtype=np.intp), rest[found[0]]])


# --- candidates ----------------------------------------------------------------------------------


class _Pool(NamedTuple):
    """Features of atoms, or of structures, and to which structure each row belongs."""

    values: np.ndarray
    species: np.ndarray
    owner: np.ndarray
    n_structures: int
    n_species: int


def _pools(X, already, reduce, descriptor):
    """Pool of the candidates, and that of what is known or None."""
    if reduce not in ("atoms", "mean"):
        raise ValueError(f"reduce={reduce!r}: must be 'atoms' or 'mean'")
    X, already = _featurized(X, already, descriptor)
    species = {
        tuple(item.descriptor.species_) for part in (X, already) if isinstance(part, FeatureSet) for item in part
    }
    if len(species) > 1:
        raise ValueError(f"features are of different lists of species, {sorted(species)}; make all by one descriptor")
    pool = _pool(X, reduce, "X")
    known = None if already is None or not len(already) else _pool(already, reduce, "already")
    if known is not None and known.values.shape[1] != pool.values.shape[1]:
        raise ValueError(f"already has {known.values.shape[1]} features, and X has {pool.values.shape[1]}")
    return pool, known


def _featurized(X, already, descriptor):
    """Feature sets or arrays in place of structures."""
    given = [part for part in (X, already) if _are_structures(part)]
    if not given:
        return X, already
    if descriptor is None:
        raise ValueError("to choose among structures, pass the descriptor that makes their features")
    try:
        check_is_fitted(descriptor)
    except NotFittedError:
        descriptor = clone(descriptor).fit([atoms for part in given for atoms in part])
    return [descriptor.transform(part) if _are_structures(part) else part for part in (X, already)]


def _are_structures(part):
    return isinstance(part, list | tuple) and any(isinstance(item, ase.Atoms) for item in part)


def _pool(X, reduce, name):
    if isinstance(X, FeatureSet) and reduce == "atoms":
        values, species, n_atoms = X.values, X.species, [item.n_atoms for item in X]
        n_species = max(item.n_species for item in X) if len(X) else 1
    else:
        values = np.array([item.values.mean(axis=0) for item in X] if isinstance(X, FeatureSet) else X, dtype=float)
        species, n_atoms, n_species = np.zeros(len(values), dtype=np.intp), np.ones(len(values), dtype=int), 1
    if values.ndim != 2 or not len(values):
        raise ValueError(f"{name} has features of shape {values.shape}, expected (n_structures, n_features)")
    owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name}: features of structure {owner[np.argmin(finite)]} are not finite")
    return _Pool(values, species, owner, len(n_atoms), n_species)


def _checked_number(n, pool):
    if not isinstance(n, Integral) or isinstance(n, bool) or not 1 <= n <= pool.n_structures:
        raise ValueError(f"n={n!r}: must be an int from 1 to {pool.n_structures}, the number of candidates")
    return int(n)


def _first(pool, initial, known):
    """The first choice as a list, empty if it is left to the method."""
    if initial is not None:
        if not isinstance(initial, Integral) or not 0 <= initial < pool.n_structures:
            raise ValueError(f"initial={initial!r}: must be an index of the {pool.n_structures} candidates")
        return [int(initial)]
    if known is not None:
        return []
    means = np.zeros((pool.n_structures, pool.values.shape[1]))
    np.add.at(means, pool.owner, pool.values)
    means /= np.bincount(pool.owner, minlength=pool.n_structures)[:, None]
    return [int(np.argmin(np.sum((means - means.mean(axis=0)) ** 2, axis=1)))]


# --- shared by the methods -----------------------------------------------------------------------


def _of_structures(scores, pool, chosen):
    """Largest score of each structure's rows; -1 for those that are chosen."""
    largest = np.full(pool.n_structures, -1.0)
    np.maximum.at(largest, pool.owner, scores)
    largest[chosen] = -1.0
    return largest


def _approach(squared, values, species, new, new_species, zeta):
    """Lower the squared distances to the nearest known row of the species, as others become known."""
    for s in np.unique(new_species):
        mine, others = np.flatnonzero(species == s), new[new_species == s]
        for start in range(0, len(others), BATCH):
            distances = squared_distances(values[mine], others[start : start + BATCH], zeta)
            squared[mine] = np.minimum(squared[mine], distances.min(axis=1))


def _take_out(left, rows):
    """Project the rows of a matrix, in place, onto what is orthogonal to some rows."""
    _, sizes, directions = linalg.svd(rows, full_matrices=False)
    directions = directions[sizes > _INDEPENDENT * sizes.max(initial=0.0)]
    for _ in range(2):  # once more, for what rounding left
        left -= (left @ directions.T) @ directions
