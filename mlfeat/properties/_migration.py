"""Migration of a vacancy: the path of an atom that jumps into it, and its barrier."""

from dataclasses import dataclass

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE

from mlfeat.properties._calculator import energy_of, forces_of
from mlfeat.properties._supercell import Supercell, relax_atoms
from mlfeat.properties._vacancy import check_index, without

__all__ = ["MigrationPath", "vacancy_migration"]


@dataclass(frozen=True, eq=False, repr=False)
class MigrationPath:
    """Path of least energy between two places of a vacancy.

    Attributes
    ----------
    images : list of ase.Atoms
        Structures along the path, both ends included, with their energies and forces.
    energies : array of shape (n_images + 2,)
        Their energies, eV, above that of the first.
    distances : array of shape (n_images + 2,)
        Length of the path up to each, Å: in the space of all coordinates.
    """

    images: list
    energies: np.ndarray
    distances: np.ndarray

    @property
    def barrier(self):
        """Migration energy, eV: of the highest image above the first."""
        return float(self.energies.max())

    @property
    def reverse_barrier(self):
        """Of the highest image above the last, eV; the same where the jump is symmetric."""
        return float(self.energies.max() - self.energies[-1])

    def __repr__(self):
        return f"MigrationPath(barrier={self.barrier:.4f} eV, {len(self.images)} images)"


def vacancy_migration(
    atoms,
    calculator=None,
    *,
    supercell=None,
    index=0,
    neighbor=0,
    n_images=5,
    relax=True,
    fmax=0.02,
    max_steps=500,
    symprec=1e-3,
):
    """Migration energy of a vacancy by the nudged elastic band with a climbing image.

    An atom of the same element jumps into the vacancy. Both ends are relaxed, then the images between them as ASE's
    `NEB` does it (improved tangents [1]_; the highest image climbs to the saddle point [2]_), in the cell of the
    crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it.
    supercell : int, array-like of shape (3,) or (3, 3), or None
        As `vacancy_formation_energy` takes it.
    index : int, default=0
        Atom of `atoms` that is missing.
    neighbor : int, default=0
        Which atom jumps: 0 is the nearest of the same element, 1 the second nearest and so on. In hcp, neighbors in
        the basal plane and out of it are different.
    n_images : int, default=5
        Images between the ends. An odd number has one at the saddle point of a symmetric jump from the start.
    relax : bool, default=True
        Relax the crystal first. Atoms around the vacancy are relaxed in any case.
    fmax : float, default=0.02
        Largest force left on an atom, across the path and, at the climbing image, along it, eV/Å.
    max_steps : int, default=500
        Most steps of each relaxation.
    symprec : float or None, default=1e-3
        As `relax_crystal` takes it.

    Returns
    -------
    MigrationPath
        Its `barrier` is the migration energy, eV.

    Raises
    ------
    ValueError
        If the structure has no atom `index`, or the supercell no such neighbor, or if it is not a crystal.
    RuntimeError
        If a relaxation does not converge, if the calculator gives NaN, or if the atom does not come to rest near the
        vacancy or where it came from: the crystal is then not stable with a vacancy.

    References
    ----------
    .. [1] G. Henkelman, H. Jonsson, J. Chem. Phys. 2000, 113, 9978.
    .. [2] G. Henkelman, B. P. Uberuaga, H. Jonsson, J. Chem. Phys. 2000, 113, 9901.
    """
    check_index(atoms, index)
    if n_images < 1:
        raise ValueError(f"n_images={n_images}: at least one image must be between the ends")
    large = Supercell.from_atoms(atoms, calculator, supercell, relax=relax, symprec=symprec)
    vacancy = large.sites[index]
    jumper, jump = _jump(large.atoms, vacancy, neighbor)
    first = without(large.atoms, vacancy)
    last = first.copy()
    jumper -= jumper > vacancy
    last.positions[jumper] += jump
    for end, what in ((first, "before"), (last, "after")):
        relax_atoms(end, large.calculator, f"the supercell {what} the jump", fmax=fmax / 2, max_steps=max_steps)
    moved = last.positions[jumper] - first.positions[jumper]
    if np.linalg.norm(moved - jump) > np.linalg.norm(jump) / 2:
        raise RuntimeError("the atom that jumps does not stay at the ends of its path: the vacancy is not stable there")
    images = _band(first, last, large.calculator, n_images, fmax, max_steps)
    return _path(images)


def _jump(atoms, vacancy, neighbor):
    """Atom that jumps, and the vector by which it does."""
    alike = np.flatnonzero(atoms.numbers == atoms.numbers[vacancy])
    alike = alike[alike != vacancy]
    if not 0 <= neighbor < len(alike):
        raise ValueError(f"neighbor={neighbor}: the supercell has {len(alike)} other atoms of the same element")
    vectors, lengths = find_mic(atoms.positions[vacancy] - atoms.positions[alike], atoms.cell, atoms.pbc)
    order = np.argsort(np.round(lengths, 6), kind="stable")
    return alike[order[neighbor]], vectors[order[neighbor]]


def _band(first, last, calculator, n_images, fmax, max_steps):
    images = [first, *(first.copy() for _ in range(n_images)), last]
    band = NEB(images, climb=False, method="improvedtangent")
    band.interpolate()
    for number, image in enumerate(images):
        image.calc = _Shared(calculator, f"image {number} of the path")
    FIRE(band, logfile=None).run(fmax=5 * fmax, steps=max_steps)  # near the path before an image climbs
    band.climb = True
    if not FIRE(band, logfile=None).run(fmax=fmax, steps=max_steps):
        raise RuntimeError(
            f"the path of the vacancy has not reached fmax={fmax:g} eV/Å in {max_steps} steps; raise max_steps or fmax"
        )
    return images


def _path(images):
    for image in images:
        image.calc = SinglePointCalculator(image, energy=image.get_potential_energy(), forces=image.get_forces())
    energies = np.array([image.get_potential_energy() for image in images])
    steps = np.diff([image.positions for image in images], axis=0)
    distances = np.concatenate([[0.0], np.cumsum(np.linalg.norm(steps, axis=(1, 2)))])
    return MigrationPath(images, energies - energies[0], distances)


class _Shared(Calculator):
    """Results of one image by a calculator of all: nobody can say how to copy any calculator."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, calculator, what):
        super().__init__()
        self.shared, self.what = calculator, what

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        forces = forces_of(atoms, self.shared, self.what)
        self.results = {"energy": energy_of(atoms, self.shared, self.what), "forces": forces}
