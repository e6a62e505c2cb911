"""Scores of models by properties of a crystal and errors of predictions together."""

import math
import re
from numbers import Real

import ase
import numpy as np
from ase.data import atomic_numbers

from mlfeat.base import split_model
from mlfeat.metrics import neg_errors
from mlfeat.neighbors import MIN_DISTANCE, NeighborPairs
from mlfeat.properties import crystal_of_element, elastic_constants, relax_crystal
from mlfeat.properties._calculator import as_calculator
from mlfeat.properties._symmetry import symmetry_of

__all__ = ["PropertyScorer", "property_scorer"]

KINDS = {"energy_rmse": "energy", "force_rmse": "force", "stress_rmse": "stress"}
NAMES = {"elastic": "C[1-6][1-6]", "lattice": "lattice_(constant|a|b|c)"}
SYMPREC = 1e-3  # Å
FAILURES = (ArithmeticError, RuntimeError, ValueError)  # of relaxations of crystals that a bad model does not bind


def property_scorer(
    crystal=None,
    *,
    elastic=None,
    lattice=None,
    energy=None,
    force=None,
    stress=None,
    elastic_tolerance=0.1,
    lattice_tolerance=0.005,
    max_error=100.0,
):
    r"""Make a scorer of elastic constants, lattice constants and errors of predictions together.

    The score is minus the sum of squares of all errors, each in units of what is tolerable:

    .. math:: \text{score} = - \sum_p \min\Big( \frac{|p - p_{target}|}{\text{tolerance}_p}, \text{max\_error} \Big)^2
              - \sum_k \Big( \frac{\text{RMSE}_k}{\text{scale}_k} \Big)^2

    over properties p and kinds of predictions k. An error as large as is tolerable costs 1, one twice that costs 4.

    Parameters
    ----------
    crystal : ase.Atoms or str, default=None
        The crystal, any cell of it, or an element, for its crystal as ASE has it. None: that of the model's element.
    elastic : dict, default=None
        Target of each elastic constant in GPa, as ``{"C11": 472, "C12": 158, "C44": 106}``. A pair is a target and its
        tolerance in GPa: ``{"C11": (15, 2)}``.
    lattice : float, tuple or dict, default=None
        Target of the lattice constant of the conventional cell in Å, or of several, ``{"a": 3.2, "c": 5.2}``. A pair is
        a target and its tolerance in Å.
    energy : float, default=None
        Scale of the RMSE of energies, eV/atom; None leaves it out.
    force : float, default=None
        Scale of the RMSE of force components, eV/Å.
    stress : float, default=None
        Scale of the RMSE of stress components, eV/Å³.
    elastic_tolerance, lattice_tolerance : float, default=0.1 and 0.005
        Tolerances of targets that come without, as a share of the target.
    max_error : float, default=100.0
        Errors of properties count up to that many tolerances. A property that cannot be calculated, as the model
        does not bind the crystal, counts as that.

    Returns
    -------
    callable
        ``scorer(model, structures, targets)``, a number, the larger the better. It can be pickled and cloned.

    Raises
    ------
    ValueError
        If nothing is asked for, or a target, tolerance, scale or the crystal is wrong, as with two atoms at one place.

    See Also
    --------
    DifferentialEvolutionSearch : Takes the properties from the fit to all structures, once a trial.
    mlfeat.properties.elastic_constants : What the elastic constants are.

    Examples
    --------
    >>> from mlfeat.model_selection import property_scorer
    >>> property_scorer("Mo", elastic={"C11": 472, "C12": 158, "C44": 106}, energy=0.004, force=0.3)
    property_scorer('Mo', elastic={'C11': 472, 'C12': 158, 'C44': 106}, energy=0.004, force=0.3)
    """
    given = {
        "elastic": elastic,
        "lattice": lattice,
        "energy": energy,
        "force": force,
        "stress": stress,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        raise ValueError("nothing to score: give targets in elastic or lattice, or scales of energy, force or stress")
    others = {"elastic_tolerance": (elastic_tolerance, 0.1), "lattice_tolerance": (lattice_tolerance, 0.005)}
    others["max_error"] = max_error, 100.0
    given |= {name: value for name, (value, default) in others.items() if value != default}
    targets = {
        **_targets(elastic or {}, elastic_tolerance, "elastic"),
        **_targets(_lattice(lattice), lattice_tolerance, "lattice"),
    }
    scales = {error: _positive(given[kind], kind) for error, kind in KINDS.items() if kind in given}
    return PropertyScorer(_crystal(crystal), targets, scales, _positive(max_error, "max_error"), _words(crystal, given))


def _words(crystal, given):
    if isinstance(crystal, ase.Atoms):  # whose own words do not tell where the atoms are
        first = [f"{repr(crystal)[:-1]}, positions={np.round(crystal.positions, 6).tolist()})"]
    else:
        first = [] if crystal is None else [repr(crystal)]
    return f"property_scorer({', '.join([*first, *(f'{name}={value!r}' for name, value in given.items())])})"


def _crystal(crystal):
    if isinstance(crystal, str):
        if crystal not in atomic_numbers:
            raise ValueError(f"crystal={crystal!r}: must be the symbol of an element, or ase.Atoms")
        return crystal_of_element(crystal)
    if crystal is not None and not (isinstance(crystal, ase.Atoms) and crystal.pbc.all()):
        raise ValueError(f"crystal={crystal!r}: must be ase.Atoms, periodic in three directions, or an element")
    if crystal is not None:
        _check_crystal(crystal)
    return crystal


def _check_crystal(crystal):
    """What no model could relax would score like a bad model."""
    try:
        NeighborPairs.from_atoms(crystal, MIN_DISTANCE)
        symmetry_of(crystal, SYMPREC)
    except ValueError as error:
        raise ValueError(f"crystal={crystal!r}: {error}") from error


def _lattice(lattice):
    """Targets by the names that `crystal_properties` has for them."""
    if isinstance(lattice, dict):
        return {f"lattice_{name}": target for name, target in lattice.items()}
    return {} if lattice is None else {"lattice_constant": lattice}


def _targets(table, share, name):
    if not isinstance(table, dict):
        raise ValueError(f"{name}={table!r}: give a dict of targets, as in {{'C11': 472.0}}")
    found = {}
    for key, given in table.items():
        what = f"{name} {key!r}"
        if not re.fullmatch(NAMES[name], str(key)):
            raise ValueError(f"{what}: there are constants as 'C11', and a, b and c of lattices")
        target, tolerance = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        if not isinstance(target, Real) or not math.isfinite(target):
            raise ValueError(f"target of {what} is {given!r}: must be a number, or (target, tolerance)")
        tolerance = abs(target) * _positive(share, f"{name}_tolerance") if tolerance is None else tolerance
        found[key] = float(target), _positive(tolerance, f"tolerance of {what}")
    return found


def _positive(value, what):
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{what} is {value!r}: must be a positive number")
    return float(value)


class PropertyScorer:
    """What :func:`property_scorer` returns: two parts, of properties and of predictions, and their sum.

    Parameters
    ----------
    crystal : ase.Atoms or None
        The crystal; None for that of the model's element.
    targets : dict
        Target and tolerance by name of the property.
    scales : dict
        Scales by name of the error.
    max_error : float
        Tolerances that an error of a property counts at most.
    words : str
        How it was made.
    """

    def __init__(self, crystal, targets, scales, max_error, words):
        self.crystal, self.targets, self.scales, self.max_error, self.words = crystal, targets, scales, max_error, words

    def __repr__(self):
        return self.words

    def __call__(self, estimator, X, y):
        """Score of a fitted model, by its errors on structures and the properties of the crystal."""
        properties = self.score_properties(self.properties(estimator))
        if not self.scales:
            return properties
        errors = {name.removeprefix("neg_"): -score for name, score in neg_errors(estimator, X, y).items()}
        return properties + self.score_errors(errors)

    @property
    def property_names(self):
        """Names of the properties that have a target."""
        return tuple(self.targets)

    def properties(self, model):
        """Properties of the crystal by a fitted model, a dict; NaN if they cannot be calculated."""
        if not self.targets:
            return {}
        crystal = self._crystal_of(model)
        try:
            found = _calculated(crystal, model, any(name.startswith("C") for name in self.targets))
        except FAILURES:
            return dict.fromkeys(self.targets, math.nan)
        if missing := [name for name in self.targets if name not in found]:
            raise KeyError(f"the crystal has no property {', '.join(missing)}; it has {', '.join(found)}")
        return {name: found[name] for name in self.targets}

    def score_properties(self, properties):
        """Minus the sum of squares of their errors in tolerances."""
        total = 0.0
        for name, (target, tolerance) in self.targets.items():
            error = abs(properties[name] - target) / tolerance
            total += (error if error < self.max_error else self.max_error) ** 2  # also of NaN
        return -total

    def score_errors(self, errors):
        """Minus the sum of squares of the errors of predictions in their scales."""
        missing = [KINDS[name] for name in self.scales if math.isnan(errors.get(name, math.nan))]
        if missing:
            raise ValueError(f"no errors of {' and '.join(missing)} to score: the targets or the model have none")
        return -sum((errors[name] / scale) ** 2 for name, scale in self.scales.items())

    def _crystal_of(self, model):
        species = split_model(model)[0].species_
        if self.crystal is None:
            if len(species) != 1:
                raise TypeError(f"the model is for {', '.join(species)}: name the crystal in property_scorer")
            return crystal_of_element(species[0])
        if unknown := sorted(set(self.crystal.symbols) - set(species)):
            raise TypeError(f"the crystal has {', '.join(unknown)}, the model is for {', '.join(species)}")
        return self.crystal


def _calculated(crystal, model, elastic):
    """Lattice constants, and if wanted elastic constants, of the relaxed crystal."""
    calculator = as_calculator(crystal, model)
    if elastic:
        constants = elastic_constants(crystal, calculator, symprec=SYMPREC)
        relaxed, constants = constants.atoms, constants.constants
    else:
        relaxed, constants = relax_crystal(crystal, calculator, symprec=SYMPREC), {}
    symmetry = symmetry_of(crystal, SYMPREC)  # not of the relaxed crystal: this one is remembered
    vectors = symmetry.conventional @ symmetry.cell @ np.linalg.solve(crystal.cell.array, relaxed.cell.array)
    lengths = np.linalg.norm(vectors, axis=1).tolist()
    lattice = dict(zip(("lattice_a", "lattice_b", "lattice_c"), lengths, strict=True))
    return {"lattice_constant": lengths[0], **lattice, **constants}
