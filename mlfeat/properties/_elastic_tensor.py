"""An elastic tensor, and what follows from it."""

from dataclasses import dataclass
from typing import NamedTuple

import ase
import numpy as np

from mlfeat.properties._symmetry import STRAINS

__all__ = ["ElasticConstants", "ModulusAverages"]

# Voigt components of Mandel's: stresses and strains alike have sqrt(2) of shears in the latter.
_TO_VOIGT = np.sqrt(np.outer([1, 1, 1, 0.5, 0.5, 0.5], [1, 1, 1, 0.5, 0.5, 0.5]))


class ModulusAverages(NamedTuple):
    """A modulus of a polycrystal: Voigt's upper bound, Reuss' lower one, and Hill's mean of both, GPa."""

    voigt: float
    reuss: float
    hill: float


@dataclass(frozen=True, eq=False)
class ElasticConstants:
    r"""Elastic constants of a crystal.

    Voigt's indices 1 to 6 stand for xx yy zz yz xz xy, and shear strains are engineering strains
    (:math:`\gamma_{yz} = 2 \varepsilon_{yz}`).

    Attributes
    ----------
    tensor : array of shape (6, 6)
        Elastic tensor in the frame of the atoms as they were passed, GPa.
    clamped : array of shape (6, 6)
        The same without the relaxation of atoms inside of the strained cell.
    rotation : array of shape (3, 3)
        Rotation of column vectors to the standard orientation of the crystal (as spglib has it: cubic axes along
        x, y and z; a hexagonal a along x and c along z).
    independent : tuple of (int, int)
        Voigt indices, from 0, of the constants that all others follow from by symmetry, in the standard orientation.
    atoms : ase.Atoms
        The relaxed crystal.
    """

    tensor: np.ndarray
    clamped: np.ndarray
    rotation: np.ndarray
    independent: tuple[tuple[int, int], ...]
    atoms: ase.Atoms

    @property
    def standard_tensor(self):
        """Elastic tensor (6, 6) in the standard orientation of the crystal, GPa."""
        return _turned(self.tensor, self.rotation)

    @property
    def constants(self):
        """Independent constants in the standard orientation, GPa: {"C11": ..., "C12": ..., "C44": ...} if cubic."""
        tensor = self.standard_tensor
        return {f"C{i + 1}{j + 1}": float(tensor[i, j]) for i, j in self.independent}

    @property
    def C11(self):
        """C11 in the standard orientation, GPa."""
        return float(self.standard_tensor[0, 0])

    @property
    def C12(self):
        """C12 in the standard orientation, GPa."""
        return float(self.standard_tensor[0, 1])

    @property
    def C44(self):
        """C44 in the standard orientation, GPa."""
        return float(self.standard_tensor[3, 3])

    @property
    def compliance(self):
        """Inverse (6, 6) of the tensor, 1/GPa."""
        return np.linalg.inv(self.tensor)

    @property
    def bulk_modulus(self):
        """Bulk modulus of a polycrystal, GPa: averages of Voigt, Reuss and Hill."""
        voigt = self.tensor[:3, :3].sum() / 9
        return _averages(voigt, 1 / self.compliance[:3, :3].sum())

    @property
    def shear_modulus(self):
        """Shear modulus of a polycrystal, GPa: averages of Voigt, Reuss and Hill."""
        c, s = self.tensor, self.compliance
        voigt = (3 * np.trace(c[:3, :3]) - c[:3, :3].sum() + 6 * np.trace(c[3:, 3:])) / 30
        reuss = 30 / (12 * np.trace(s[:3, :3]) - 4 * s[:3, :3].sum() + 6 * np.trace(s[3:, 3:]))
        return _averages(voigt, reuss)

    @property
    def young_modulus(self):
        """Young's modulus of a polycrystal by Hill's averages, GPa."""
        k, g = self.bulk_modulus.hill, self.shear_modulus.hill
        return 9 * k * g / (3 * k + g)

    @property
    def poisson_ratio(self):
        """Poisson's ratio of a polycrystal by Hill's averages."""
        k, g = self.bulk_modulus.hill, self.shear_modulus.hill
        return (3 * k - 2 * g) / (6 * k + 2 * g)

    @property
    def anisotropy(self):
        """Universal anisotropy index (Ranganathan, Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504); 0 if isotropic."""
        k, g = self.bulk_modulus, self.shear_modulus
        return 5 * g.voigt / g.reuss + k.voigt / k.reuss - 6

    @property
    def is_stable(self):
        """Whether every small strain costs energy (Born): all eigenvalues of the tensor are positive."""
        return bool(np.linalg.eigvalsh(self.tensor)[0] > 0)


def voigt_of_mandel(tensor):
    """Elastic tensor in Voigt's notation.

    Parameters
    ----------
    tensor : array of shape (6, 6)
        The tensor in Mandel's notation.

    Returns
    -------
    array of shape (6, 6)
    """
    return tensor * _TO_VOIGT


def rotation_of_strains(rotation):
    """Matrix that rotates symmetric tensors in Mandel's notation.

    Parameters
    ----------
    rotation : array of shape (3, 3)
        Rotation of column vectors.

    Returns
    -------
    array of shape (6, 6)
    """
    return np.einsum("kij,lij->kl", STRAINS, rotation @ STRAINS @ rotation.T)


def _turned(tensor, rotation):
    turn = rotation_of_strains(rotation)
    return turn @ (tensor / _TO_VOIGT) @ turn.T * _TO_VOIGT


def _averages(voigt, reuss):
    return ModulusAverages(float(voigt), float(reuss), float(voigt + reuss) / 2)
