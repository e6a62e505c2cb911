"""Screened nuclear repulsion, a baseline that keeps atoms apart where no data do.

The one module of this package that sees geometry and ASE: a pair potential is nothing else.
"""

from typing import NamedTuple

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from sklearn.base import BaseEstimator

from mlfeat.neighbors import NeighborPairs

__all__ = ["ZBL"]

COULOMB = 14.399645  # e²/4πε0 in eV Å, with LAMMPS' digits (units metal), so that both programs agree
EXPONENT, LENGTH = 0.23, 0.46850  # screening length LENGTH / (Z_i^EXPONENT + Z_j^EXPONENT), Å
AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
DECAYS = np.array([3.19980, 0.94229, 0.40290, 0.20162])


class ZBL(BaseEstimator, Calculator):
    r"""Ziegler-Biersack-Littmark repulsion, switched off smoothly, as LAMMPS ``pair_style zbl inner outer`` has it.

    .. math::
        E &= \tfrac12 \sum_{ij} e(r_{ij}) + S(r_{ij}) \quad (r_{ij} < \mathrm{outer}), \qquad
        e(r) = \frac{e^2}{4 \pi \varepsilon_0} \frac{Z_i Z_j}{r} \phi(r/a), \\
        a &= \frac{0.46850\,\mathrm{Å}}{Z_i^{0.23} + Z_j^{0.23}}, \qquad
        \phi(x) = 0.18175 e^{-3.19980x} + 0.50986 e^{-0.94229x} + 0.28022 e^{-0.40290x} + 0.02817 e^{-0.20162x}, \\
        S(r) &= C + \frac{A}{3} t^3 + \frac{B}{4} t^4, \qquad t = \max(0, r - \mathrm{inner}),

    with A, B, C such that energy, force and curvature vanish at `outer`. An ASE calculator, made to be the
    `baseline` of a potential: the potential then learns the rest, and LAMMPS adds both with ``pair_style
    hybrid/overlay``.

    Parameters
    ----------
    inner : float, default=1.0
        Distance where the switching begins, Å.
    outer : float, default=2.0
        Distance from which there is no interaction, Å.
    charges : dict, optional
        Nuclear charges by symbol, in elementary charges; atomic numbers where not given.

    References
    ----------
    J. F. Ziegler, J. P. Biersack, U. Littmark, *The Stopping and Range of Ions in Matter* 1 (1985).
    LAMMPS manual, ``pair_style zbl`` and (for S) ``pair_style lj/gromacs``.
    """

    _state = ()
    implemented_properties = ["energy", "energies", "free_energy", "forces", "stress"]

    def __init__(self, inner=1.0, outer=2.0, charges=None):
        Calculator.__init__(self)
        self.inner = inner
        self.outer = outer
        self.charges = charges

    def set_params(self, **params):
        """Change parameters; results of the old ones are forgotten."""
        self.reset()
        return super().set_params(**params)

    def evaluate(self, pairs):
        """Energies of atoms and pair gradients of a structure.

        Parameters
        ----------
        pairs : NeighborPairs
            With a cutoff of `outer` or more.

        Returns
        -------
        energies : array of shape (n_atoms,)
            Half of each pair's energy to each of its atoms, eV.
        gradients : array of shape (n_pairs, 3)
            g_ij = ∂E/∂r_ij, eV/Å.
        """
        self._check_distances()
        if pairs.cutoff < self.outer:
            raise ValueError(f"the neighbor list ends at {pairs.cutoff} Å, before outer={self.outer} Å")
        energies, gradients = np.zeros(pairs.n_atoms), np.zeros((pairs.n_pairs, 3))
        near = np.flatnonzero(pairs.distances < self.outer)
        if len(near):
            first, distances = pairs.first[near], pairs.distances[near]
            numbers, kinds = np.unique(pairs.numbers, return_inverse=True)
            screened = _Screened.of(self._charges(numbers)).pick(kinds[first], kinds[pairs.second[near]])
            energy, slope = self._switched(screened, distances)
            np.add.at(energies, first, 0.5 * energy)
            gradients[near] = (0.5 * slope / distances)[:, None] * pairs.vectors[near]
        return energies, gradients

    def _check_distances(self):
        if not 0 <= self.inner < self.outer:
            raise ValueError(f"inner={self.inner!r}, outer={self.outer!r}: 0 <= inner < outer is needed, in Å")

    def _check_fitted(self):
        self._check_distances()
        if not np.isfinite([float(charge) for charge in (self.charges or {}).values()]).all():
            raise ValueError(f"charges={self.charges!r}: finite numbers by symbol are needed")

    def _charges(self, numbers):
        charges = self.charges or {}
        return np.array([charges.get(chemical_symbols[z], z) for z in numbers], dtype=float)

    def _switched(self, screened, r):
        energy, slope, _ = screened(r)
        a, b, c = _switch(*screened(np.array(self.outer)), self.outer - self.inner)
        t = np.maximum(r - self.inner, 0.0)
        return energy + c + t**3 * (a / 3 + b / 4 * t), slope + t**2 * (a + b * t)

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """Compute all properties of `atoms`; see :class:`ase.calculators.calculator.Calculator`."""
        Calculator.calculate(self, atoms, properties, system_changes)
        pairs = NeighborPairs.from_atoms(self.atoms, self.outer)
        energies, gradients = self.evaluate(pairs)
        energy = energies.sum()
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies,
            "forces": pairs.forces(gradients),
        }
        if pairs.volume > 0:
            self.results["stress"] = pairs.stress(gradients)


class _Screened(NamedTuple):
    """Screened Coulomb energy of pairs: prefactor Z_i Z_j e²/4πε0 (eV Å) and inverse screening length 1/a (1/Å)."""

    prefactor: np.ndarray
    rate: np.ndarray

    @classmethod
    def of(cls, charges):
        """Of all pairs of kinds with these charges, (n_kinds, n_kinds)."""
        powers = charges**EXPONENT
        return cls(COULOMB * charges * charges[:, None], (powers + powers[:, None]) / LENGTH)

    def pick(self, first, second):
        return _Screened(self.prefactor[first, second], self.rate[first, second])

    def __call__(self, r):
        """Energy and its first two derivatives."""
        decays = DECAYS * self.rate[:, None]
        terms = AMPLITUDES * np.exp(-decays * r[..., None])
        phi, d_phi, dd_phi = terms.sum(axis=1), -(terms * decays).sum(axis=1), (terms * decays**2).sum(axis=1)
        scale = self.prefactor / r
        energy = scale * phi
        slope = scale * (d_phi - phi / r)
        return energy, slope, scale * (dd_phi - 2 * d_phi / r + 2 * phi / r**2)


def _switch(energy, slope, curvature, width):
    """A, B, C that take energy, slope and curvature to zero after `width`."""
    a = (width * curvature - 3 * slope) / width**2
    b = (2 * slope - width * curvature) / width**3
    c = -energy + width * slope / 2 - width**2 * curvature / 12
    return a, b, c
