"""Active sets: the environments that span those of the training data, and how far others are outside (MaxVol)."""

import numpy as np
from scipy.linalg import blas

from mlfeat._archive import check_array

TOLERANCE = 1e-3  # a swap that multiplies the volume by less than 1 + this is not worth it
DUMMY = 1e-6  # size of the stand-ins, in standard deviations: training data that spread less say nothing of a direction
RELATIVE_NOISE = 1e-8  # features are trusted to this share of their size
BLOCK = 4096  # rows that are looked at together, so that memory is bounded
N_POOLED = 2048  # of all rows, those farthest out, among which swaps are made until none is left
N_UPDATES = 16  # of the coefficients of candidates, before they are made anew

_STATE = ("rows", "labels", "shift", "scale")


class ActiveSet:
    r"""Environments of one species that span all those of the training data, and the grade of others.

    With :math:`b = (1, B)` the row of an environment with features B (the one stands for the intercept, a parameter
    like the others: without it an atom alone, B = 0, would be within any data), A is the matrix of F + 1 such rows with
    the largest volume |det A| that swaps of one row at a time find. Then :math:`b A^{-1}` of any training row has no
    element beyond 1 + tol, tol = 0.001: a larger one, :math:`(b A^{-1})_k`, is the factor by which the volume grows if
    b takes the place of row k. The grade of an environment,

    .. math:: \gamma = \max_k |(b A^{-1})_k| / (1 + \mathrm{tol}),

    is at most one on the training data, above one the model extrapolates. To begin with,
    row k is a stand-in, ε times the unit vector, with features in units of their standard deviations and ε = 1e-6.
    Those stay whose directions no training row reaches: fewer rows than features, features that depend on each other
    or do not vary. The grade along such a direction is large, but finite. Without any rows it is infinite.

    Attributes
    ----------
    rows : array of shape (F + 1, F)
        Features of the active environments; zero where there is a stand-in.
    labels : array of shape (F + 1, 2)
        Structure and atom of each, as given; -1 where there is a stand-in.
    shift, scale : arrays of shape (F,)
        Mean and unit of the features inside; from the rows that the set began with.

    References
    ----------
    S. A. Goreinov, I. V. Oseledets, D. V. Savostyanov, E. E. Tyrtyshnikov, N. L. Zamarashkin, in: Matrix Methods:
    Theory, Algorithms, Applications (World Scientific, 2010), 247. E. V. Podryabinkin and A. V. Shapeev, Comput. Mater.
    Sci. 140, 171 (2017), Sec. 2.3.
    """

    def __init__(self, rows, labels, shift, scale):
        self.rows, self.labels, self.shift, self.scale = rows, labels, shift, scale
        self._invert()

    @classmethod
    def empty(cls, n_features):
        """A set of stand-ins only, that of a species without training data.

        Parameters
        ----------
        n_features : int
            F.

        Returns
        -------
        ActiveSet
            Any environment has an infinite grade.
        """
        rows, labels = np.zeros((n_features + 1, n_features)), np.full((n_features + 1, 2), -1)
        return cls(rows, labels, np.zeros(n_features), np.ones(n_features))

    @classmethod
    def from_rows(cls, rows, labels, unit_rows=None):
        """The active set of environments of one species.

        Parameters
        ----------
        rows : array of shape (n, F), or list of arrays (n_i, F)
            Features, maybe structure by structure. Anything that can be gone through several times will do: some
            thousand rows are held at a time.
        labels : array of int of shape (n, 2)
            Structure and atom of each row, zero or more.
        unit_rows : like rows, default=None
            Features whose spread is the unit of the features; None: the rows'.

        Returns
        -------
        ActiveSet
            That of `empty` if there are no rows.
        """
        rows, labels = _parts(rows), np.asarray(labels)
        begin = cls.empty(next(iter(rows)).shape[1])
        if not len(labels):
            return begin
        return cls(begin.rows, begin.labels, *_units(rows if unit_rows is None else unit_rows))._spanning(rows, labels)

    @classmethod
    def from_state(cls, state, n_features, where="active set"):
        """The set with these arrays, as from `state`.

        Parameters
        ----------
        state : dict
            Arrays.
        n_features : int
            F.
        where : str, default="active set"
            What errors call it.

        Returns
        -------
        ActiveSet

        Raises
        ------
        ValueError
            If arrays are missing, have another shape, or do not make a set.
        """
        if set(state) != set(_STATE):
            raise ValueError(f"{where} has the keys {sorted(state)}, expected {sorted(_STATE)}")
        shapes = ((n_features + 1, n_features), (n_features + 1, 2), (n_features,), (n_features,))
        for name, shape in zip(_STATE, shapes, strict=True):
            check_array(f"{where}[{name!r}]", state[name], shape)
        if state["labels"].dtype.kind != "i":
            raise ValueError(f"{where}['labels'] must be integers")
        if not (state["scale"] > 0).all():
            raise ValueError(f"{where}['scale'] must be positive")
        try:
            return cls(**state)
        except np.linalg.LinAlgError:
            raise ValueError(f"{where}['rows'] depend on each other") from None

    def state(self):
        """Arrays from which `from_state` makes this set again, a dict."""
        return {name: getattr(self, name) for name in _STATE}

    def grade(self, rows):
        """Grades γ of environments.

        Parameters
        ----------
        rows : array of shape (n, F)
            Features.

        Returns
        -------
        array of shape (n,)
        """
        if self.is_empty:
            return np.full(len(rows), np.inf)
        return np.concatenate([np.zeros(0), *(_reach(self._coefficients(block)) for _, block in _blocks([rows]))])

    @property
    def is_empty(self):
        """Whether there was no training row."""
        return not len(self.environments)

    @property
    def environments(self):
        """Structure and atom of the active environments (n, 2), without stand-ins."""
        return self.labels[self.labels[:, 0] >= 0]

    def _copy(self):
        return ActiveSet(self.rows.copy(), self.labels.copy(), self.shift, self.scale)

    def _standard(self, rows):
        """Rows b (n, F + 1), with features in their units."""
        return np.concatenate([np.ones((len(rows), 1)), (rows - self.shift) / self.scale], axis=1)

    def _invert(self):
        matrix = self._standard(self.rows)
        stand_in = self.labels[:, 0] < 0
        matrix[stand_in] = DUMMY * np.eye(len(matrix))[stand_in]
        self._inverse = np.linalg.inv(matrix)

    def _coefficients(self, rows):
        """b A⁻¹ (n, F + 1)."""
        return self._standard(rows) @ self._inverse

    def _spanning(self, parts, labels):
        """Swap rows until none of these is beyond; the set itself."""
        while True:
            places, pooled = self._farthest(parts)
            if not self._swap(pooled, labels[places], self._coefficients(pooled)):
                return self
            self._invert()

    def _farthest(self, parts):
        """Places and features of those of all rows that reach farthest out."""
        places, pooled, reach = np.zeros(0, dtype=np.intp), np.zeros((0, len(self.shift))), np.zeros(0)
        for start, block in _blocks(parts):
            reach = np.concatenate([reach, _reach(self._coefficients(block))])
            kept = np.argsort(-reach, kind="stable")[:N_POOLED]
            places = np.concatenate([places, np.arange(start, start + len(block))])[kept]
            pooled, reach = np.concatenate([pooled, block])[kept], reach[kept]
        return places, pooled

    def _swap(self, rows, labels, coefficients):
        """Take in rows with these coefficients as long as the volume grows; None if it does not.

        Returns places k in the set and the matrix G with which the coefficients C of any row become C - C[k] G.
        """
        places, taken = _swaps(coefficients)
        if not len(places):
            return None
        self.rows[places], self.labels[places] = rows[taken], labels[taken]
        change = coefficients[taken]
        change[np.arange(len(places)), places] -= 1.0
        return places, np.linalg.solve(coefficients[np.ix_(taken, places)], change)


class _Chosen:
    """Some rows of each of several arrays, copied when they are asked for."""

    def __init__(self, arrays, places):
        self._arrays, self._places = arrays, places

    def __iter__(self):
        return (array[own] for array, own in zip(self._arrays, self._places, strict=True))


def active_sets(values, species, n_species):
    """The active set of each species.

    Parameters
    ----------
    values : list of arrays (n_atoms, F)
        Features of the structures' atoms.
    species : list of arrays of int (n_atoms,)
        Indices of their species.
    n_species : int
        Species, with atoms or without.

    Returns
    -------
    list of ActiveSet
        Labels are places in the lists, and atoms.
    """
    found = []
    for s in range(n_species):
        atoms = [np.flatnonzero(own == s) for own in species]
        labels = [np.stack([np.full_like(own, k), own], axis=1) for k, own in enumerate(atoms)]
        found.append(ActiveSet.from_rows(_Chosen(values, atoms), np.concatenate(labels)))
    return found


def working_bytes(n_rows, n_features):
    """Bytes that `active_sets` takes at its peak, beside the features of `n_rows` environments."""
    return 8 * (6 * n_rows + 5 * min(n_rows, BLOCK + N_POOLED) * (n_features + 8) + 6 * n_features**2)


def grades(active_sets, values, species):
    """Grades γ of environments of several species.

    Parameters
    ----------
    active_sets : list of ActiveSet
        One of each species.
    values : array of shape (n, F)
        Features.
    species : array of int of shape (n,)
        Index of each environment's species.

    Returns
    -------
    array of shape (n,)
    """
    result = np.zeros(len(values))
    for s, active_set in enumerate(active_sets):
        mine = species == s
        if mine.any():
            result[mine] = active_set.grade(values[mine])
    return result


def select(active_sets, values, species, n, threshold=1.0):
    """Choose structures that are farthest outside, one after the other (active learning).

    The structure with the highest grade, the largest among those of its atoms, is chosen first. It is taken for known
    then: its environments go into (copies of) the active sets, and the others are graded anew. So of several that are
    new in the same way one is chosen. An environment's grade is the least in any of the sets on the way: what was
    within known data stays so, though the set that is next may span it no longer. The coefficients of all candidates
    are in memory, as large as their features.

    Parameters
    ----------
    active_sets : list of ActiveSet
        One of each species.
    values : list of arrays (n_atoms, F)
        Features of the candidates' atoms.
    species : list of arrays of int (n_atoms,)
        Indices of their species.
    n : int
        Structures to choose.
    threshold : float, default=1.0
        Structures with a grade of this or less are not chosen, so that there may be fewer than `n`.

    Returns
    -------
    chosen : array of int
        Indices of structures, in the order of choice.
    grades : array
        The grade of each when it was chosen; they never rise.
    """
    if not len(values):
        return np.zeros(0, dtype=np.intp), np.zeros(0)
    owner = np.repeat(np.arange(len(values)), [len(item) for item in values])
    values, species = np.concatenate(values), np.concatenate(species)
    pools = [_Candidates(a, values[species == s], owner[species == s]) for s, a in enumerate(active_sets)]
    chosen, found = [], []
    left = np.full(owner.max(initial=-1) + 1, True)
    while len(chosen) < n and left.any():
        highest = np.zeros(len(left))
        for pool in pools:
            np.maximum.at(highest, pool.owner, pool.grades)
        best = np.where(left, highest, -1.0).argmax()
        if highest[best] <= threshold:
            break
        chosen.append(best)
        found.append(highest[best])
        left[best] = False
        for pool in pools:
            pool.take(best)
    return np.array(chosen, dtype=np.intp), np.array(found)


class _Candidates:
    """Environments of one species in candidate structures, and their coefficients in a growing active set."""

    def __init__(self, active_set, values, owner):
        self.active_set, self.values, self.owner = active_set._copy(), values, owner
        self.grades = np.full(len(values), np.inf)
        self._renew()

    def _renew(self):
        self.n_updates = 0
        if not self.active_set.is_empty:
            self.coefficients = self.active_set._coefficients(self.values)
            self._regrade()

    def _regrade(self):
        np.minimum(self.grades, _reach(self.coefficients), out=self.grades)

    def take(self, structure):
        """Take in the environments of a structure."""
        mine = self.owner == structure
        rows, labels = self.values[mine], np.repeat([[structure, 0]], mine.sum(), axis=0)
        if self.active_set.is_empty:
            self.active_set = ActiveSet.from_rows(rows, labels)
            self._renew()
        elif swapped := self.active_set._swap(rows, labels, self.coefficients[mine]):
            self._follow(*swapped)

    def _follow(self, places, change):
        self.n_updates += 1
        if self.n_updates < N_UPDATES:
            self.coefficients -= self.coefficients[:, places] @ change
            self._regrade()
        else:
            self.active_set._invert()
            self._renew()


def _swaps(coefficients):
    """Places in the set, and the rows that come there, for coefficients (n, F + 1) of these rows."""
    left = np.array(coefficients, order="F")  # dger works in place, and on this order only
    flat, taken = left.reshape(-1, order="F"), {}
    while left.size:
        place, row = divmod(int(blas.idamax(flat)), len(left))
        pivot = left[row, place]
        if not abs(pivot) > 1 + TOLERANCE:
            break
        change = left[row].copy()
        change[place] -= 1.0
        blas.dger(-1.0 / pivot, left[:, place].copy(), change, a=left, overwrite_a=True)
        taken[place] = row
    return np.array(list(taken), dtype=np.intp), np.array(list(taken.values()), dtype=np.intp)


def _reach(coefficients):
    """Largest element of each row, as a grade."""
    return np.maximum(coefficients.max(axis=1), -coefficients.min(axis=1)) / (1 + TOLERANCE)


def _units(parts):
    """Mean and unit of each feature: the standard deviation, or more where that is no larger than noise."""
    n, origin = 0, None
    for _, block in _blocks(parts):
        if origin is None:
            origin = block.mean(axis=0)
            total, squares = np.zeros_like(origin), np.zeros_like(origin)
        n += len(block)
        total += (block - origin).sum(axis=0)
        squares += np.square(block - origin).sum(axis=0)
    mean = origin + total / n
    deviation = np.sqrt(np.maximum(squares / n - np.square(total / n), 0.0))
    size = np.abs(mean)
    noise = RELATIVE_NOISE * np.maximum(size, 1e-3 * size.max(initial=0.0))
    scale = np.maximum(deviation, noise / DUMMY)
    return mean, np.where(scale > 0, scale, 1.0)


def _parts(rows):
    return [rows] if isinstance(rows, np.ndarray) else rows


def _blocks(parts):
    """Arrays of about BLOCK rows, and the number of each one's first row."""
    start, held, n_held = 0, [], 0
    for part in parts:
        for first in range(0, len(part), BLOCK):
            held.append(part[first : first + BLOCK])
            n_held += len(held[-1])
            if n_held >= BLOCK:
                yield start, _joined(held)
                start, held, n_held = start + n_held, [], 0
    if held:
        yield start, _joined(held)


def _joined(arrays):
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
