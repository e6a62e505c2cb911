"""Energies of atoms by moment tensor potentials: the mean over the members of a committee, each with own features."""

import numpy as np

from mlfeat.potentials._energy import LinearEnergy


class MomentEnergy(LinearEnergy):
    r"""Energy of an atom as the mean over members, :math:`E_i = \frac1n \sum_m (b_{ms} + \sum_k \beta_{msk} B_{imk})`.

    Features of an atom are those of all members, one after the other.

    Parameters
    ----------
    coef : array of shape (n_models, n_species, n_features)
        β, eV per unit of feature.
    intercept : array of shape (n_models, n_species)
        b, eV.
    """

    def __init__(self, coef, intercept):
        self._members = np.asarray(coef, dtype=float), np.asarray(intercept, dtype=float)
        super().__init__(np.concatenate(list(coef), axis=1) / len(coef), np.mean(intercept, axis=0))

    def member(self, k):
        """The LinearEnergy of one member, on the features of all."""
        coef, intercept = self._members
        own = np.zeros_like(coef)
        own[k] = coef[k]
        return LinearEnergy(np.concatenate(list(own), axis=1), intercept[k])

    def member_energies(self, features):
        """Energies of the atoms by each member (n_members, N)."""
        coef, intercept = self._members
        own = np.reshape(features.values, (len(features.values), len(coef), -1))
        species = features.species
        return np.einsum("nmf,mnf->mn", own, coef[:, species]) + intercept[:, species]
