"""Several descriptors as one."""

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import _name_estimators
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import _BaseComposition

from mlfeat.base import Descriptor

__all__ = ["DescriptorUnion", "make_descriptor_union"]


class DescriptorUnion(Descriptor, _BaseComposition):
    r"""Concatenation of the features of several descriptors, as scikit-learn's FeatureUnion is of transformers.

    The features of an atom are those of all parts, one part after the other,

    .. math:: B_i = \bigl(B_i^{(1)}, B_i^{(2)}, \ldots\bigr),\qquad
        \frac{\partial E}{\partial r_{ij}} = \sum_p \sum_k
        \frac{\partial E}{\partial B^{(p)}_{ik}} \frac{\partial B^{(p)}_{ik}}{\partial r_{ij}}.

    One neighbor list, of the largest cutoff, serves all parts. Their parameters are those of the union with the part's
    name before them, as in ``set_params(pair__cutoff=4.0)`` or in the grid of a GridSearchCV.

    Parameters
    ----------
    descriptors : list of (str, Descriptor)
        Names and parts. The parts themselves stay as they are: clones of them are fitted.
    species : sequence of str, default=None
        Chemical symbols. None: those that a part names, or else those found in `fit`, sorted. All parts get the same;
        one that names others is refused.
    n_jobs : int, default=None
        Threads of each part, as in scikit-learn: 1, or -1 for all processors. None leaves it to the part's own.

    Attributes
    ----------
    descriptors_ : list of (str, Descriptor)
        Names and fitted parts.
    species_ : tuple of str
        Chemical symbols.
    cutoff_ : float
        Largest cutoff of the parts, Å.
    n_features_out_ : int
        Number of features of all parts together.

    See Also
    --------
    make_descriptor_union : Makes one with names of its own.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mlfeat import Bispectrum, DescriptorUnion, PairDistance
    >>> union = DescriptorUnion([("many", Bispectrum(cutoff=4.6)), ("pair", PairDistance(cutoff=6.0))])
    >>> union.set_params(pair__n_sparse=10).fit_transform([bulk("Mo", cubic=True)]).shape
    (1, 40)
    """

    _state = ("species_", "cutoff_", "n_features_out_", "descriptors_")

    def __init__(self, descriptors, *, species=None, n_jobs=None):
        self.descriptors = descriptors
        self.species = species
        self.n_jobs = n_jobs

    # ---------------------------------------------------------------- parameters

    def get_params(self, deep=True):
        """Get the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Also the parts, by name, and their parameters.

        Returns
        -------
        dict of str to object
            Parameters by name.
        """
        return self._get_params("descriptors", deep=deep)

    def set_params(self, **params):
        """Set parameters.

        Parameters
        ----------
        **params : dict
            Parameters of the union, parts by their name, or parameters of parts, as ``pair__cutoff``.

        Returns
        -------
        self
            The union.
        """
        self._set_params("descriptors", **params)
        return self

    def _given(self):
        """Names and parts, checked."""
        given = self.descriptors
        if not isinstance(given, (list, tuple)) or not given:
            raise ValueError(f"descriptors={given!r}: must be a list of one or more pairs of name and descriptor")
        for item in given:
            if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], str):
                raise TypeError(f"descriptors: {item!r} is no pair of name and descriptor, as ('pair', PairDistance())")
            name, part = item
            if not isinstance(part, Descriptor):
                raise TypeError(f"descriptors: {name!r} is {part!r}, expected a descriptor, as PairDistance()")
        self._validate_names([name for name, _ in given])
        return given

    def _parameters(self):
        return [
            (name, type(part).__module__, type(part).__qualname__, part._parameters()) for name, part in self._given()
        ]

    def _named_species(self):
        named = [super()._named_species(), *(part._named_species() for _, part in self._given())]
        return next((species for species in named if species is not None), None)

    def _setup(self):
        self.descriptors_ = [(name, self._prepared(name, part)) for name, part in self._given()]
        self._measure()

    def _measure(self):
        self.cutoff_ = max(part.cutoff_ for _, part in self.descriptors_)
        self.n_features_out_ = sum(part.n_features_out_ for _, part in self.descriptors_)

    def _prepared(self, name, part):
        named = part._named_species()
        if named not in (None, self.species_):
            raise ValueError(
                f"the part {name!r} is for the species {', '.join(named)}, the union for {', '.join(self.species_)}; "
                "name them once, in the species of the union"
            )
        part = clone(part).set_params(species=self.species_)
        part.species_ = self.species_
        part._setup()
        return part

    def _learn(self, structures):
        for _, part in self.descriptors_:
            part.fit(structures)

    def _check_fitted(self):
        """ValueError where fitted parts are not those of the parameters."""
        for (name, given), (fitted_name, part) in zip(self._given(), self.descriptors_, strict=True):
            same = name == fitted_name and type(given) is type(part) and part.species_ == self.species_
            if not same or joblib.hash(given._parameters()) != joblib.hash(part._parameters()):
                raise ValueError(f"the fitted part {fitted_name!r} differs from the part {name!r} of the parameters")

    # ---------------------------------------------------------------- parts

    @classmethod
    def _of_fitted(cls, parts):
        """A fitted union of fitted parts (name, descriptor) with the same species, as they are."""
        union = cls(parts, species=parts[0][1].species_, n_jobs=parts[0][1].n_jobs)
        union.descriptors_, union.species_ = list(parts), union.species
        union._measure()
        return union

    @property
    def named_descriptors_(self):
        """Fitted parts by name, also as attributes."""
        return Bunch(**dict(self.descriptors_))

    def _parts(self):
        """Fitted parts, and the slices of their features."""
        start = 0
        for _, part in self.descriptors_:
            if self.n_jobs is not None:
                part.n_jobs = self.n_jobs
            yield part, slice(start, start := start + part.n_features_out_)

    def cache_key(self):
        """Hash the names and the keys of the parts.

        Returns
        -------
        str
            Equal for unions that give equal results.
        """
        return joblib.hash([type(self).__qualname__, *((name, part.cache_key()) for name, part in self.descriptors_)])

    def _frozen(self):
        twin = super()._frozen()
        twin.descriptors_ = [(name, part._frozen()) for name, part in self.descriptors_]
        return twin

    def feature_blocks(self):
        """Blocks of all parts, named after the parts.

        Returns
        -------
        tuple of FeatureBlock
            A part with several, as another union, has its own names behind the part's, as ``union__pair``.
        """
        blocks = []
        for (name, _), (part, own) in zip(self.descriptors_, self._parts(), strict=True):
            inner = part.feature_blocks()
            for block in inner:
                label = name if len(inner) == 1 else f"{name}__{block.name}"
                blocks.append(block._replace(name=label, start=own.start + block.start, stop=own.start + block.stop))
        return tuple(blocks)

    def get_feature_names_out(self, input_features=None):
        """Names of the parts' features, as ``pair__Mo-Nb_0``."""
        super().get_feature_names_out()
        names = [f"{name}__{feature}" for name, part in self.descriptors_ for feature in part.get_feature_names_out()]
        return np.array(names, dtype=object)

    # ---------------------------------------------------------------- operations

    def values(self, pairs):
        """Features of each center (n_atoms, n_features)."""
        return np.concatenate([part.values(pairs) for part, _ in self._parts()], axis=1)

    def jacobian(self, pairs, start=0, stop=None):
        """∂B_i/∂r_ij (n_block_pairs, 3, n_features) of the pairs of the centers start to stop."""
        return np.concatenate([part.jacobian(pairs, start, stop) for part, _ in self._parts()], axis=2)

    def jvp(self, pairs, displacements):
        """Change of the features (n_atoms, n_features) for displacements (n_pairs, 3)."""
        return np.concatenate([part.jvp(pairs, displacements) for part, _ in self._parts()], axis=1)

    def vjp(self, pairs, cotangents):
        """Pair gradients (n_pairs, 3) for cotangents (n_atoms, n_features) of the features."""
        return self._sum([(lambda own, p=part: p.vjp(pairs, own)) for part, _ in self._parts()], cotangents)

    def values_and_pullback(self, pairs):
        """Features, and the function from cotangents (n_atoms, n_features) to pair gradients (n_pairs, 3)."""
        values, pullbacks = zip(*(part.values_and_pullback(pairs) for part, _ in self._parts()), strict=True)
        return np.concatenate(values, axis=1), lambda cotangents: self._sum(pullbacks, cotangents)

    def _sum(self, pullbacks, cotangents):
        """Sum of the pair gradients of the parts, each for its own cotangents."""
        if cotangents.ndim != 2 or cotangents.shape[1] != self.n_features_out_:
            raise ValueError(
                f"cotangents have the shape {cotangents.shape}, must have {self.n_features_out_} columns: one for each "
                "atom and feature"
            )
        slices = [own for _, own in self._parts()]
        gradients = [
            pullback(np.ascontiguousarray(cotangents[:, own])) for pullback, own in zip(pullbacks, slices, strict=True)
        ]
        return sum(gradients[1:], start=gradients[0])


def make_descriptor_union(*descriptors, species=None, n_jobs=None):
    """Make a DescriptorUnion whose parts are named after their classes.

    Parameters
    ----------
    *descriptors : Descriptor
        The parts; where there are several of a class, numbers are appended to the name.
    species : sequence of str, default=None
        As for DescriptorUnion.
    n_jobs : int, default=None
        As for DescriptorUnion.

    Returns
    -------
    DescriptorUnion
        Not fitted.

    Examples
    --------
    >>> from mlfeat import Bispectrum, PairDistance, make_descriptor_union
    >>> make_descriptor_union(Bispectrum(), PairDistance(), PairDistance()).get_params(deep=False)["descriptors"]
    [('bispectrum', Bispectrum()), ('pairdistance-1', PairDistance()), ('pairdistance-2', PairDistance())]
    """
    return DescriptorUnion(_name_estimators(descriptors), species=species, n_jobs=n_jobs)
