"""What a potential promises."""

import copy

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from mlfeat._parallel import run_chunks
from mlfeat.base._input import check_input
from mlfeat.features import FeatureSet
from mlfeat.targets import as_targets, baseline_targets, empty_targets


class PotentialMixin(RegressorMixin):
    r"""Base of potentials: regressors that say each atom's energy and how it changes with its features.

    A subclass implements ``fit(X, y, sample_weight=None)`` on a FeatureSet, and `energy_and_cotangent`. The rest
    follows, with B_i the features of atom i and r_ij the vectors to its neighbors:

    .. math:: E = \sum_i E_i(B_i), \qquad
        g_{ij} = \frac{\partial E_i}{\partial B_i} \frac{\partial B_i}{\partial r_{ij}}, \qquad
        F_i = \sum_j (g_{ij} - g_{ji}), \qquad \sigma = \frac{1}{V} \sum_{ij} r_{ij} \otimes g_{ij}.

    Attributes
    ----------
    baseline : ASE calculator or None
        What is added to the energy of the features.
    """

    baseline = None

    def energy_and_cotangent(self, features):
        """Compute energies of atoms, without the baseline, and their derivatives.

        Parameters
        ----------
        features : AtomFeatures or StructureFeatures
            Anything with `values` (n_atoms, n_features) and `species` (n_atoms,).

        Returns
        -------
        energies : array of shape (n_atoms,)
            E_i, eV.
        cotangents : array of shape (n_atoms, n_features)
            Derivatives ∂E_i/∂B_i.
        """
        raise NotImplementedError

    def energy_model(self):
        """Give the part that molecular dynamics runs, and that steps can absorb.

        Returns
        -------
        object with `energy_and_cotangent`
            Here the potential itself.
        """
        return self

    def learned_descriptor(self, descriptor):
        """Give the descriptor whose features the potential takes.

        A potential that learns parameters of its descriptor overrides this. The descriptor before it in a Pipeline
        stays as it was: the features that it makes are made anew by the learned one, from their neighbor lists.

        Parameters
        ----------
        descriptor : Descriptor
            The fitted one before the potential, or the learned one itself.

        Returns
        -------
        Descriptor
            Here the given one.
        """
        return descriptor

    def predict(self, X, return_std=False):
        """Predict energies.

        Parameters
        ----------
        X : FeatureSet
            Features of structures.
        return_std : bool, default=False
            Return also the standard deviations, for potentials with `predict_std`.

        Returns
        -------
        energies : array of shape (n_structures,)
            Energies, eV.
        std : array of shape (n_structures,), optional
            Their standard deviations, eV.

        Raises
        ------
        ValueError
            If the features are not such as the potential was fitted to, by their number or their species.
        """
        X = self._input(X)
        energies = np.array([self.energy_and_cotangent(item)[0].sum() for item in X], dtype=float)
        if self.baseline is not None:
            energies += [baseline_targets(self.baseline, item.pairs)[0] for item in X]
        return (energies, self.predict_std(X)) if return_std else energies

    def predict_targets(self, X):
        """Predict energies, forces and stresses.

        Parameters
        ----------
        X : FeatureSet
            Features of structures.

        Returns
        -------
        structured array of shape (n_structures,)
            As from :func:`mlfeat.make_targets`; stresses are NaN where there is no volume.

        Raises
        ------
        ValueError
            If the features are not such as the potential was fitted to, by their number or their species.
        """
        X = self._input(X)
        targets = empty_targets(len(X))

        def work(start, stop):
            for index in range(start, stop):
                targets[index] = self._predict_item(X.items[index])

        run_chunks(work, len(X), getattr(self, "n_jobs", None), align=1)
        if self.baseline is not None:
            _add_baseline(targets, self.baseline, X)
        return targets

    def _input(self, X):
        """The same FeatureSet, checked."""
        check_is_fitted(self)
        X = check_features(X)
        check_input(self, X)
        return X

    def _frozen(self):
        """A shallow copy with what a file would hold: parameters, and the fitted attributes that `_state` names.

        It predicts. What only another fit needs, as the covariance of a Kalman filter, stays behind.
        """
        twin = copy.copy(self)
        if hasattr(self, "_state"):
            kept = {*self._state, *self.get_params(deep=False)}
            twin.__dict__ = {name: value for name, value in twin.__dict__.items() if name in kept}
        return twin

    def _predict_item(self, item):
        energies, cotangents = self.energy_and_cotangent(item)
        gradients = item.vjp(cotangents)
        return energies.sum(), item.pairs.forces(gradients), item.pairs.stress(gradients)

    def score(self, X, y, sample_weight=None):
        """Score by R², the mean of that of energies per atom and that of force components.

        Parameters
        ----------
        X : FeatureSet
            Features of structures.
        y : structured array of shape (n_structures,), or array of float
            As from :func:`mlfeat.make_targets`. Without forces, or with energies only, the score is that of the
            energies per atom.
        sample_weight : array of shape (n_structures,), default=None
            Weights of the structures.

        Returns
        -------
        float
            At most 1.
        """
        X = check_features(X)
        y = as_targets(y, len(X))
        n_atoms = np.array([item.n_atoms for item in X])
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        has_forces = np.flatnonzero([forces is not None for forces in y["forces"]])
        if len(has_forces) == 0:
            return r2_score(y["energy"] / n_atoms, self.predict(X) / n_atoms, sample_weight=weight)
        predicted = self.predict_targets(X)
        energy_score = r2_score(y["energy"] / n_atoms, predicted["energy"] / n_atoms, sample_weight=weight)
        true, found = (np.concatenate([np.ravel(f) for f in t["forces"][has_forces]]) for t in (y, predicted))
        weight = np.repeat(weight[has_forces], 3 * n_atoms[has_forces])
        return 0.5 * (energy_score + r2_score(true, found, sample_weight=weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _add_baseline(targets, baseline, X):
    # One structure after the other: calculators keep state.
    for target, item in zip(targets, X, strict=True):
        energy, forces, stress = baseline_targets(baseline, item.pairs)
        target["energy"] += energy
        target["forces"] += forces
        target["stress"] += stress


_REMEDY = "put a descriptor before the potential, as in make_pipeline(Bispectrum(), LinearPotential())"


def check_features(X, remedy=_REMEDY):
    """Raise TypeError unless the input is a FeatureSet.

    Parameters
    ----------
    X : object
        What is checked.
    remedy : str, optional
        What the message says to do.

    Returns
    -------
    FeatureSet
        The same.
    """
    if not isinstance(X, FeatureSet):
        raise TypeError(f"expected a FeatureSet, got {type(X).__name__}; {remedy}")
    return X
