"""Fitted models as ASE calculators, for molecular dynamics and everything else that ASE does."""

import math

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from mlfeat._evaluator import Evaluator, check_energy
from mlfeat.features import StructureFeatures
from mlfeat.neighbors import NeighborPairs

__all__ = ["PotentialCalculator"]

_ON_REQUEST = {
    "energy_std": "predict_std",
    "energies_std": "energies_std",
    "forces_std": "forces_std",
    "extrapolation_grade": "extrapolation_grade",
}


class PotentialCalculator(Calculator):
    r"""ASE calculator of a fitted model.

    With E_i the energy of atom i, a function of its features, and
    :math:`g_{ij} = \partial E / \partial r_{ij}`,

    .. math:: E = \sum_i E_i, \qquad F_i = \sum_j (g_{ij} - g_{ji}), \qquad
              \sigma = \frac{1}{V} \sum_{ij} r_{ij} \otimes g_{ij}.

    Parameters
    ----------
    model : Pipeline
        A fitted Pipeline of a descriptor, steps that keep derivatives, and a potential; or a fitted
        search over one. The calculator keeps copies of what was fitted, without what only another fit
        needs: later changes of the model do not change its results.
    skin : float, default=0.5
        The neighbor list reaches this much (Å) beyond the cutoff. It is built anew only when an
        atom has moved more than half of it (less under strain: with the cell, the list is strained
        too), or when the periodicity or the elements changed. Results do not depend on it.
    n_threads : int or None, default=None
        Threads of the descriptor's kernels, as scikit-learn understands ``n_jobs``; None leaves it
        to the descriptor's own ``n_jobs``. Results are bit-equal for any number.
    extrapolation : {"warn", "ignore", "raise"}, default="warn"
        What to do when features of an atom are beyond the range that they had in training, for
        potentials that check this range. "warn" names atoms and features the first time, and again
        only when the grade has doubled since or the structure has other atoms, so that the log of a
        simulation is not flooded. "raise" ends the calculation.

    Attributes
    ----------
    model : Pipeline
        The copies.
    n_list_builds : int
        How many neighbor lists were built.

    Raises
    ------
    TypeError
        If the model is not a Pipeline of the said form.
    sklearn.exceptions.NotFittedError
        If it is not fitted, or if parameters of the descriptor were set after it was fitted.
    ExtrapolationWarning
        In a calculation, with ``extrapolation="raise"``.
    ValueError
        If the skin is negative, or if with ``extrapolation="raise"`` the potential does not check
        the range of its features; in a calculation, if a structure is empty, has NaN positions or an
        element that the model was not fitted to, or if two atoms sit on top of each other.

    Warns
    -----
    ExtrapolationWarning
        In a calculation, with ``extrapolation="warn"``.

    Notes
    -----
    Properties: ``energy``, ``free_energy`` (the same) and ``energies`` (N,) in eV; ``forces``
    (N, 3) in eV/Å; ``stress`` (6,), Voigt xx yy zz yz xz xy, in eV/Å³, if the cell has three
    vectors. Where the potential offers them, and only when asked for by ``get_property``:
    ``energy_std`` (eV), the standard deviation of the energy, ``energies_std`` (N,), those of the atoms' energies,
    ``forces_std`` (N, 3), those of the forces, and ``extrapolation_grade`` (N,).

    A baseline of the potential is part of energies, forces and stress; ``energies`` and ``stress``
    are there if the baseline has them. Magnetic moments and charges of the structure are ignored.

    Examples
    --------
    >>> atoms.calc = PotentialCalculator(model)  # doctest: +SKIP
    >>> atoms.get_forces()  # doctest: +SKIP
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, model, *, skin=0.5, n_threads=None, extrapolation="warn"):
        super().__init__()
        if not 0 <= skin < math.inf:
            raise ValueError(f"skin={skin!r}: must be 0 or a positive number of Å")
        self._evaluator = Evaluator(model, n_threads=n_threads, extrapolation=extrapolation)
        self.model = self._evaluator.model
        self.skin = float(skin)
        self.n_threads = n_threads
        self.extrapolation = extrapolation
        self.n_list_builds = 0
        self.implemented_properties = [
            *type(self).implemented_properties,
            *(name for name, method in _ON_REQUEST.items() if hasattr(self._evaluator.potential, method)),
        ]
        self._built = None  # the neighbor list as it was built, and its atoms' species
        self._species = None
        self._forward = None  # what the backward pass of the last calculation needs

    def __getstate__(self):
        return {**self.__dict__, "_forward": None}

    def __repr__(self):
        settings = f"skin={self.skin}, n_threads={self.n_threads}, extrapolation={self.extrapolation!r}"
        return f"PotentialCalculator({self.model!r}, {settings})"

    def reset(self):
        """Forget the last calculation."""
        super().reset()
        self._forward = None

    def check_state(self, atoms, tol=1e-15):
        """Names of what changed since the last calculation, among what the energy depends on."""
        last = self.atoms
        if last is None:
            return list(all_changes)
        parts = (
            ("positions", last.positions, atoms.positions),
            ("numbers", last.numbers, atoms.numbers),
            ("cell", last.cell.array, atoms.cell.array),
            ("pbc", last.pbc, atoms.pbc),
        )
        return [name for name, old, new in parts if not np.array_equal(old, new)]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Calculate what is asked for and not yet in ``results``.

        Parameters
        ----------
        atoms : ase.Atoms or None
            The structure; None for that of the last calculation.
        properties : sequence of str
            Names of properties. Energies alone cost about half of what forces do.
        system_changes : sequence of str
            What changed since the last calculation; empty if nothing.
        """
        atoms = self.atoms if atoms is None else atoms
        if self._forward is None or system_changes:
            self._calculate_energies(atoms, bool({"forces", "stress"}.intersection(properties)))
        if {"forces", "stress"}.intersection(properties) and "forces" not in self.results:
            self._calculate_forces()
        for name in properties:
            if name in _ON_REQUEST and name in self.implemented_properties:
                self.results[name] = self._calculate_on_request(name)

    def _calculate_energies(self, atoms, gradients_too):
        self.reset()
        pairs = self._pairs(atoms)
        energies, values, gradients = self._evaluator.evaluate(pairs, self._species, gradients_too)
        energy = float(energies.sum())
        if not math.isfinite(energy):
            NeighborPairs.from_atoms(atoms, pairs.cutoff)  # atoms on top of each other say so
        check_energy(energy)
        self._evaluator.watch(values, self._species, atoms.symbols)
        self.atoms = atoms.copy()
        self.results = {"energy": energy, "free_energy": energy, "energies": energies}
        self._forward = pairs, values, gradients
        self._add_baseline("energy", "free_energy", "energies")

    def _calculate_forces(self):
        pairs, _, gradients = self._forward
        gradients = gradients()
        self.results["forces"] = pairs.forces(gradients)
        if not math.isnan(pairs.volume):
            self.results["stress"] = pairs.stress(gradients)
        self._add_baseline("forces", "stress")

    def _calculate_on_request(self, name):
        pairs, values, *_ = self._forward
        descriptor, potential = self._evaluator.descriptor, self._evaluator.potential
        values = descriptor.values(pairs) if values is None else values
        n_species = len(descriptor.species_)
        features = StructureFeatures(pairs, values, self._species, n_species, descriptor, steps=self._evaluator.steps)
        if name == "energy_std":
            return float(potential.predict_std([features])[0])
        return getattr(potential, _ON_REQUEST[name])(features)

    def _add_baseline(self, *names):
        baseline = self._evaluator.own_list_baseline
        if baseline is None:
            return
        for name in self.results.keys() & names:
            ours = self.results.pop(name)
            asked = "energy" if name == "free_energy" else name
            try:
                self.results[name] = ours + baseline.get_property(asked, self.atoms)
            except NotImplementedError:
                pass  # what the baseline cannot say, the sum cannot

    def _pairs(self, atoms):
        """Neighbor list at the atoms' positions: the last one moved along, if it still holds."""
        built = self._built
        if built is not None and _same_atoms(built, atoms):
            if built.covers(atoms.positions, atoms.cell.array, self._evaluator.cutoff):
                return built.moved(atoms.positions, atoms.cell.array)
        else:
            self._evaluator.forget()
        self._built = None
        self._species = self._evaluator.descriptor.species_index(atoms.numbers)
        self._built = NeighborPairs.from_atoms(atoms, self._evaluator.cutoff + self.skin)
        self.n_list_builds += 1
        return self._built


def _same_atoms(pairs, atoms):
    return np.array_equal(pairs.numbers, atoms.numbers) and np.array_equal(pairs.pbc, atoms.pbc)
