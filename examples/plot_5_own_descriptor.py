"""
Write a descriptor
==================

Are distances enough to describe copper?

A descriptor needs two formulas: the features, and their derivative with respect to the vectors
to the neighbors. Fits, forces, stress, grid searches and molecular dynamics follow from them.
"""

# %%
# Feature k counts neighbors at about the distance :math:`r_k`, with a weight that falls
# smoothly to zero at the cutoff c:
#
# .. math:: B_{ik} = \sum_j e^{-\eta (r_{ij} - r_k)^2} \left(1 - r_{ij}^2/c^2\right)^3
import numpy as np

from mlfeat.base import Descriptor


class Shells(Descriptor):
    """Numbers of neighbors in spherical shells."""

    def __init__(self, cutoff=4.0, n_shells=30, eta=20.0, *, species=None, n_jobs=None):
        self.cutoff = cutoff
        self.n_shells = n_shells
        self.eta = eta
        self.species = species
        self.n_jobs = n_jobs

    def _setup(self):
        self.cutoff_ = self.cutoff
        self.n_features_out_ = self.n_shells

    def _terms(self, vectors):
        """Each pair's contribution to each feature, and its slope over the distance."""
        r = np.linalg.norm(vectors, axis=1)[:, None]
        offset = r - np.linspace(1.5, self.cutoff, self.n_shells)
        fade = np.maximum(1 - (r / self.cutoff) ** 2, 0)
        shell = np.exp(-self.eta * offset**2)
        slope = -2 * self.eta * offset * fade**3 - 6 * r / self.cutoff**2 * fade**2
        return shell * fade**3, shell * slope / r

    def values(self, pairs):
        values = np.zeros((pairs.n_atoms, self.n_shells))
        np.add.at(values, pairs.first, self._terms(pairs.vectors)[0])
        return values

    def jacobian(self, pairs, start=0, stop=None):
        stop = pairs.n_atoms if stop is None else stop
        vectors = pairs.vectors[pairs.offsets[start] : pairs.offsets[stop]]
        return vectors[:, :, None] * self._terms(vectors)[1][:, None, :]


# %%
# Is the derivative right? The conformance suite compares it with finite differences, and checks
# that rotations, translations and permutations change nothing.
from mlfeat.testing import check_descriptor

check_descriptor(Shells())

# %%
# Against the bispectrum, with the same data and the same model. The reference is EMT, whose
# energy is a function of distances alone, and the shells do well. Real metals are not like
# this.
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum, LinearPotential, make_targets
from mlfeat.datasets import make_emt_structures, split_by_group
from mlfeat.metrics import neg_errors

train, test = split_by_group(make_emt_structures("Cu"))
for descriptor in (Shells(n_shells=10, eta=5.0), Shells(), Bispectrum(cutoff=3.6, twojmax=6)):
    model = make_pipeline(descriptor, LinearPotential(Ridge(1e-4), energy_weight=1e4))
    model.fit(train, make_targets(train))
    scores = neg_errors(model, test, make_targets(test))
    print(f"{descriptor!s:30}", end="")
    print(f"{-1000 * scores['neg_energy_rmse']:8.2f} meV/atom", end="")
    print(f"{-1000 * scores['neg_force_rmse']:8.1f} meV/Å")
