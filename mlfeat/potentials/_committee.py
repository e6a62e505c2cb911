"""Spread of what the members of a committee predict."""

import numpy as np
from sklearn.utils.metaestimators import available_if

from mlfeat.features import FeatureSet


class CommitteeMixin:
    """Standard deviations over members, of potentials that may have several.

    A subclass has `_n_members`, and its `energy_model` has ``member_energies(features)`` (n_members, N) and
    ``member(k)``, an energy model.
    """

    @available_if(lambda self: self._n_members > 1)
    def predict_std(self, X):
        """Spread of the energies that the members of a committee give.

        Parameters
        ----------
        X : FeatureSet or sequence of features
            Features of structures, with `values` and `species`.

        Returns
        -------
        array of shape (n_structures,)
            Standard deviation of the total energy (n_models − 1 degrees of freedom), eV.
        """
        X = self._input(X) if isinstance(X, FeatureSet) else X
        model = self.energy_model()
        return np.array([np.std(model.member_energies(item).sum(axis=1), ddof=1) for item in X])

    @available_if(lambda self: self._n_members > 1)
    def energies_std(self, features):
        """Spread of the energies of atoms among the members of a committee.

        Parameters
        ----------
        features : StructureFeatures or AtomFeatures
            With `values` and `species`.

        Returns
        -------
        array of shape (n_atoms,)
            Standard deviations, eV.
        """
        return np.std(self.energy_model().member_energies(features), axis=0, ddof=1)

    @available_if(lambda self: self._n_members > 1)
    def forces_std(self, features):
        """Spread of the forces among the members of a committee.

        Parameters
        ----------
        features : StructureFeatures
            Features with their derivatives.

        Returns
        -------
        array of shape (n_atoms, 3)
            Standard deviations of the components, eV/Å.
        """
        model = self.energy_model()
        members = (model.member(k) for k in range(self._n_members))
        cotangents = (member.energy_and_cotangent(features)[1] for member in members)
        return np.std([features.pairs.forces(features.vjp(c)) for c in cotangents], axis=0, ddof=1)
