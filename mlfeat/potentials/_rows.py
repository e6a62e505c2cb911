"""Rows of the least-squares problem: which ones a structure has, what they have to explain, and how much they count."""

import numbers
import warnings
from collections.abc import Mapping

import numpy as np

from mlfeat.targets import as_targets, baseline_targets

KINDS = ("energy", "forces", "stress")


class KindWeights:
    """Weight of the squared residuals of each kind in each group.

    Parameters
    ----------
    energy_weight, force_weight, stress_weight : float
        Weights of all groups.
    group_weights : dict or None
        Factor of a group, or its (energy, forces, stress) factors; groups not named have 1.
    """

    def __init__(self, energy_weight, force_weight, stress_weight, group_weights=None):
        self.kinds = dict(zip(KINDS, (energy_weight, force_weight, stress_weight), strict=True))
        self.groups = group_factors({} if group_weights is None else group_weights)
        for name, weight in self.kinds.items():
            _check_weight(f"the weight of {name}", weight)
        if not any(self.kinds.values()):
            raise ValueError("all weights are zero: give energies, forces or stresses a positive weight")

    def __call__(self, key):
        """Weight of the rows of `key`, a pair (group, kind)."""
        group, kind = key
        return self.kinds[kind] * (self.groups[group][kind] if group in self.groups else 1.0)


def group_factors(given, name="group_weights", zero=True):
    """Factors of each kind by group, from the parameter `name`; groups are named by str, as those of structures are.

    Factors may be zero unless `zero` is False.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}={given!r}: give a dict of numbers by group, as in {{'bulk': 2.0}}")
    factors = {str(group): _factors(name, group, factor, zero) for group, factor in given.items()}
    if len(factors) < len(given):
        raise ValueError(f"{name}={given!r}: a group is named twice")
    return factors


def warn_of_unknown_groups(given, groups, name="group_weights", stacklevel=2):
    """Warn if no group of the data is among those with a factor; some of a published list may well be missing."""
    named = {str(group) for group, factor in (given or {}).items() if np.any(np.not_equal(factor, 1))}
    if named.isdisjoint(groups) and named:
        has = ", ".join(repr(str(group)) for group in sorted(set(groups) - {""})) or "none"
        warnings.warn(
            f"{name} names {', '.join(map(repr, sorted(named)))}, but the groups of the data are: {has}; "
            f"the {name.removeprefix('group_')} have no effect. A structure's group is atoms.info['group']",
            stacklevel=stacklevel + 1,
        )


def _factors(name, group, factor, zero):
    if isinstance(factor, numbers.Real):
        factor = (factor,) * len(KINDS)
    if not isinstance(factor, (tuple, list, np.ndarray)) or len(factor) != len(KINDS):
        raise ValueError(f"{name}[{group!r}]={factor!r}: give a number, or three for energy, forces, stress")
    for kind, value in zip(KINDS, factor, strict=True):
        _check_weight(f"the {name[len('group_') : -1]} of {kind} in group {group!r}", value, zero)
    return dict(zip(KINDS, factor, strict=True))


def _check_weight(what, value, zero=True):
    if not isinstance(value, numbers.Real) or not 0 <= value < np.inf or (value == 0 and not zero):
        raise ValueError(f"{what} is {value!r}: give a finite number, {'zero or more' if zero else 'more than zero'}")


class DesignRows:
    """Rows of a set of structures, made one structure at a time.

    A row is ``[composition | features | target]``: energies per atom (composition n_s/N, features Σ_i B_i/N
    by species of the center), forces and stresses (composition zero). Rows carry the square root of
    `sample_weight`, but neither kind nor group weights: these are applied to whole blocks of rows.

    Parameters
    ----------
    items : FeatureSet or sequence of StructureFeatures
    targets : structured array, one row a structure
        What the features have to explain; see `residual_targets`.
    sample_weight : array (n_structures,) or None
    reference : Reference or None
        Taken off the energy rows.
    """

    def __init__(self, items, targets, sample_weight=None, reference=None):
        self.items = items
        self.targets = targets
        self.sample_weight = np.ones(len(items)) if sample_weight is None else sample_weight
        self.reference = reference

    def __len__(self):
        return len(self.items)

    def __getitem__(self, part):
        return DesignRows(self.items[part], self.targets[part], self.sample_weight[part], self.reference)

    def __call__(self, index, kinds=KINDS):
        """Rows of structure `index`, a dict from kind to array (n_rows, n_species + n_species n_features + 1)."""
        item, target, weight = self.items[index], self.targets[index], np.sqrt(self.sample_weight[index])
        rows = {}
        for kind in kinds:
            if self.n_rows(index, kind):
                part = self._energy_row(item, target) if kind == "energy" else _gradient_rows(item, target, kind)
                part *= weight
                rows[kind] = part
        return rows

    def n_rows(self, index, kind):
        """How many rows structure `index` has: none where the target is missing or the sample's weight is zero."""
        if not self.sample_weight[index] > 0:
            return 0
        if kind == "energy":
            return 1
        if kind == "forces":
            return 0 if self.targets["forces"][index] is None else 3 * self.items[index].n_atoms
        has_stress = np.isfinite(self.targets["stress"][index, 0]) and self.items[index].pairs.volume > 0
        return 6 if has_stress else 0

    def _energy_row(self, item, target):
        composition, sums = sums_by_species(item, item.n_species)
        row = np.concatenate([composition, sums.ravel(), [target["energy"]]])[None] / item.n_atoms
        if self.reference is not None:
            self.reference.subtract(row)
        return row


def _gradient_rows(item, target, kind):
    features = item.rows()[-6:] if kind == "stress" else item.rows()[1:-6]
    rows = np.zeros((len(features), item.n_species + features.shape[1] + 1))
    rows[:, item.n_species : -1] = features
    rows[:, -1] = np.ravel(target[kind])
    return rows


def sums_by_species(features, n_species):
    """Numbers of atoms (n_species,) and sums of their features (n_species, n_features), by species."""
    values, species = features.values, features.species
    composition = np.bincount(species, minlength=n_species).astype(float)
    if n_species == 1:
        return composition, values.sum(axis=0)[None]
    return composition, np.stack([values[species == s].sum(axis=0) for s in range(n_species)])


class Reference:
    """Origin of the energy rows, which the free intercepts make up for exactly.

    Features and energies per atom are nearly the same in all structures; taking a typical value off before
    products are summed keeps the digits that the normal equations would otherwise spend on it.
    """

    def __init__(self, features, energy):
        self.features = features  # (n_species, n_features)
        self.energy = energy  # eV per atom

    @classmethod
    def from_rows(cls, rows, n_structures=64):
        """The average over the atoms of the first structures of some DesignRows."""
        count, total = 0.0, 0.0
        first = range(min(n_structures, len(rows)))
        for index in first:
            item = rows.items[index]
            composition, sums = sums_by_species(item, item.n_species)
            count, total = count + composition, total + sums
        energies = [rows.targets["energy"][index] / rows.items[index].n_atoms for index in first]
        return cls(total / np.maximum(count, 1)[:, None], float(np.mean(energies)))

    def subtract(self, row):
        """Take the reference off an energy row, in place."""
        n_species, n_features = self.features.shape
        composition = row[:, :n_species]
        row[:, n_species:-1] -= (composition[:, :, None] * self.features).reshape(len(row), n_species * n_features)
        row[:, -1] -= self.energy


def residual_targets(items, y, baseline=None, intercept=None):
    """Targets less what `baseline` (an ASE calculator) and a fixed `intercept` (eV per species) give.

    Raises
    ------
    ValueError
        If a target has the wrong shape or is not finite; names the structure's index.
    """
    targets = as_targets(y, len(items)).copy()
    for index, item in enumerate(items):
        _check_target(item, targets[index], index)
        if baseline is not None:
            _subtract_baseline(item, targets, index, baseline)
        if intercept is not None:
            targets["energy"][index] -= intercept[item.species].sum()
    return targets


def _check_target(item, target, index):
    forces, stress = target["forces"], target["stress"]
    if forces is not None and np.shape(forces) != (item.n_atoms, 3):
        raise ValueError(
            f"structure {index}: forces of shape {np.shape(forces)}, expected ({item.n_atoms}, 3); repair them, or "
            "set them to None"
        )
    if forces is not None and not np.isfinite(forces).all():
        atom = int(np.argmin(np.isfinite(forces).all(axis=1)))
        raise ValueError(
            f"structure {index}: the force on atom {atom} is {forces[atom]}; remove it, or set forces to None"
        )
    if np.isnan(stress).all():
        return
    if not np.isfinite(stress).all():
        raise ValueError(f"structure {index}: the stress is {stress}; repair it, or mark it missing with six NaN")


def _subtract_baseline(item, targets, index, baseline):
    energy, forces, stress = baseline_targets(baseline, item.pairs)
    targets["energy"][index] -= energy
    if targets["forces"][index] is not None:
        targets["forces"][index] = targets["forces"][index] - forces
    if item.pairs.volume > 0 and np.isfinite(targets["stress"][index, 0]):
        if np.isnan(stress).any():
            raise ValueError(
                f"structure {index} has a stress but the baseline {type(baseline).__name__} gives none: "
                "use a baseline with stress, or leave the stress out of the targets"
            )
        targets["stress"][index] -= stress


def check_baseline(baseline):
    """Raise TypeError unless this is None or a calculator."""
    if isinstance(baseline, type):
        raise TypeError(f"baseline={baseline.__name__} is a class: give a calculator, as in baseline=ZBL()")
    if not (baseline is None or hasattr(baseline, "get_potential_energy")):
        raise TypeError(f"baseline={baseline!r} is no calculator: give one, as in baseline=ZBL()")


def check_sample_weight(sample_weight, n_structures):
    """Weights of the structures as an array, or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=float)
    if weights.shape != (n_structures,):
        raise ValueError(f"sample_weight has shape {weights.shape}, expected ({n_structures},): one number a structure")
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"sample_weight[{index}] is {weights[index]}: weights are finite numbers, zero or more")
    return weights


def structure_weights(items, targets, weights, sample_weight):
    """Weights of squared residuals (n_structures, 3) of energies, forces and stresses; zero where there are none."""
    found = np.zeros((len(items), 3))
    for k, (item, target) in enumerate(zip(items, targets, strict=True)):
        has_stress = np.isfinite(target["stress"]).all() and item.pairs.volume > 0
        has = (True, target["forces"] is not None, has_stress)
        kinds = [weights((item.group, kind)) for kind in ("energy", "forces", "stress")]
        found[k] = np.multiply(has, kinds) * (1.0 if sample_weight is None else sample_weight[k])
    if weights.kinds["forces"] > 0 and all(target is None for target in targets["forces"]):
        raise ValueError("no structure has forces, but they have a weight: set force_weight=0 to train on energies")
    if not found.any():
        raise ValueError("nothing to train on: all weights are zero")
    return found
