"""Fitted models on neighbor lists, as simulations run them."""

import copy
import math
from functools import partial

from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from mlfeat.base import split_model
from mlfeat.base._extrapolation import FAR, check_mode, describe, names_features, report
from mlfeat.features import AtomFeatures
from mlfeat.potentials import ZBL, LinearEnergy

_GROWTH = 2.0  # of the grade, until extrapolation is warned of again


class Evaluator:
    """Copies of what was fitted of a model, which compute energies of atoms and pair gradients.

    Parameters
    ----------
    model : Pipeline
        A fitted Pipeline of a descriptor, steps that keep derivatives, and a potential; or a fitted search over one.
    n_threads : int or None, default=None
        Threads of the descriptor's kernels; None leaves it to the descriptor's own ``n_jobs``.
    extrapolation : {"warn", "ignore", "raise"}, default="warn"
        What `watch` does about features beyond the range that they had in training.

    Attributes
    ----------
    descriptor, steps, potential
        The copies.
    model : Pipeline
        Made of them.
    cutoff : float
        What neighbor lists must reach at least, Å.
    own_list_baseline : ASE calculator or None
        A baseline of the potential that `evaluate` cannot add, as neighbor lists do not suffice for it.
    """

    def __init__(self, model, *, n_threads=None, extrapolation="warn"):
        descriptor, steps, potential = split_model(model)
        for part in (descriptor, *steps, potential):
            check_is_fitted(part)
        descriptor._check_unchanged()
        check_mode(extrapolation, potential)
        # Copies, so that the results stay the same when the model is changed or fitted again.
        self.descriptor = potential.learned_descriptor(descriptor)._frozen()
        self.steps = tuple(step._frozen() for step in steps)
        self.potential = potential._frozen()
        baseline = self.potential.baseline = copy.deepcopy(potential.baseline)
        self._pair_baseline = baseline if isinstance(baseline, ZBL) else None
        self.own_list_baseline = baseline if self._pair_baseline is None else None
        self.cutoff = max(self.descriptor.cutoff_, getattr(self._pair_baseline, "outer", 0.0))
        self.model = make_pipeline(self.descriptor, *self.steps, self.potential)
        self.extrapolation = extrapolation
        if n_threads is not None:
            self.descriptor.n_jobs = n_threads
        self._energy_model = self.potential.energy_model()
        for step in reversed(self.steps):
            self._energy_model = step.absorb(self._energy_model)
        self._is_linear = (
            hasattr(self.descriptor, "linear")
            and isinstance(self._energy_model, LinearEnergy)
            and not names_features(self.potential)
        )
        self.forget()

    def forget(self):
        """Warn of extrapolation as if nothing had been warned of yet: other atoms come."""
        self._warned_grade = 0.0  # the largest that was warned of

    def evaluate(self, pairs, species, gradients_too):
        """Energies of atoms, features, and the function that gives the pair gradients.

        Parameters
        ----------
        pairs : NeighborPairs
            Of one structure, with a radius of `cutoff` or more.
        species : intp array of shape (n_atoms,)
            As from the descriptor's `species_index`.
        gradients_too : bool
            Whether the gradients will be asked for.

        Returns
        -------
        energies : array of shape (n_atoms,)
            E_i, eV.
        values : array of shape (n_atoms, n_features) or None
            The features, None where a linear model went by without.
        gradients : callable
            Gives g_ij = ∂E/∂r_ij (n_pairs, 3), eV/Å.
        """
        one_sweep = gradients_too and self._is_linear
        energies, values, gradients = (self._sweep if one_sweep else self._pass)(pairs, species)
        if self._pair_baseline is None:
            return energies, values, gradients
        more_energies, more_gradients = self._pair_baseline.evaluate(pairs)
        return energies + more_energies, values, lambda: gradients() + more_gradients

    def _pass(self, pairs, species):
        values, pullback = self.descriptor.values_and_pullback(pairs)
        energies, cotangents = self._energy_model.energy_and_cotangent(AtomFeatures(values, species))
        return energies, values, partial(pullback, cotangents)

    def _sweep(self, pairs, species):
        """The same of a linear model, in one sweep that keeps no features."""
        model = self._energy_model
        energies, gradients = self.descriptor.linear(pairs, model.coef)
        return energies + model.intercept[species], None, lambda: gradients

    def watch(self, values, species, symbols):
        """Warn or raise if features are beyond the training data, unless a warning said nearly as much before.

        Parameters
        ----------
        values : array of shape (n_atoms, n_features) or None
            As from `evaluate`.
        species : intp array of shape (n_atoms,)
            The atoms' species.
        symbols : sequence of str
            The atoms' chemical symbols.
        """
        if self.extrapolation == "ignore" or not names_features(self.potential):
            return
        for step in self.steps:
            values = step.apply(values, species)
        features = AtomFeatures(values, species)
        grade = float(self.potential.extrapolation_grade(features).max())
        if grade <= max(FAR, _GROWTH * self._warned_grade):
            return
        names = self.descriptor.get_feature_names_out()
        for step in self.steps:
            names = step.get_feature_names_out(names)
        details = describe(self.potential, features, symbols, names)
        report(f"the model extrapolates (grade {grade:.3g}): {details}", self.extrapolation)
        self._warned_grade = grade


def check_energy(energy):
    """Raise ValueError unless an energy is a finite number."""
    if not math.isfinite(energy):
        raise ValueError(f"the energy is {energy}: the structure is beyond the model's range")
