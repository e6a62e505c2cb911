"""Phonons by finite displacements: dispersion, density of states, stability."""

from dataclasses import dataclass

import ase
import numpy as np
from ase.build import make_supercell
from tqdm import tqdm

from mlfeat.properties._calculator import forces_of
from mlfeat.properties._phonon_path import band_path
from mlfeat.properties._supercell import Supercell
from mlfeat.properties._symmetry import KINDS, kinds_of, symmetry_of

__all__ = ["Phonons", "phonons"]

_KINDS = (*KINDS, "masses")
_SYMPREC = 1e-5  # Å, phonopy's
_SOFT = 0.05  # THz; imaginary frequencies up to this are noise of finite displacements and of interpolation


@dataclass(frozen=True, eq=False, repr=False)
class Phonons:
    """Frequencies of the vibrations of a crystal, THz; imaginary ones are negative.

    Attributes
    ----------
    frequencies : array of shape (n_qpoints, n_bands)
        Frequencies along the path, THz, in ascending order at each wave vector.
    qpoints : array of shape (n_qpoints, 3)
        Wave vectors of the path, in units of the reciprocal lattice vectors of the primitive cell.
    distances : array of shape (n_qpoints,)
        Length of the path up to each, 1/Å (without the factor 2π).
    segments : tuple of slice
        Straight parts of the path, in its points.
    labels : tuple of (str, str)
        Names of the two ends of each segment, as "Γ" and "X".
    dos_frequencies : array of shape (n_dos,)
        Frequencies of the density of states, THz.
    dos : array of shape (n_dos,)
        Density of states, 1/THz; its integral is the number of bands.
    lowest_frequency : float
        Lowest frequency of the path and of the mesh of the density of states, THz.
    primitive : ase.Atoms
        The primitive cell, relaxed if that was asked for.
    supercell : ase.Atoms
        That in which atoms were displaced.
    phonopy : phonopy.Phonopy
        With the force constants (eV/Å²): for thermal properties, animations, files and all else that phonopy does.
    """

    frequencies: np.ndarray
    qpoints: np.ndarray
    distances: np.ndarray
    segments: tuple
    labels: tuple
    dos_frequencies: np.ndarray
    dos: np.ndarray
    lowest_frequency: float
    primitive: ase.Atoms
    supercell: ase.Atoms
    phonopy: object

    @property
    def force_constants(self):
        """Force constants (n_supercell, n_supercell, 3, 3) of the supercell, eV/Å²."""
        return self.phonopy.force_constants

    @property
    def is_stable(self):
        """Whether no frequency is imaginary, beyond 0.05 THz that finite displacements and interpolation may cause."""
        return bool(self.lowest_frequency > -_SOFT)

    def frequencies_at(self, qpoints):
        """Frequencies at any wave vectors.

        Parameters
        ----------
        qpoints : array-like of shape (n_qpoints, 3)
            Wave vectors, in units of the reciprocal lattice vectors of the primitive cell.

        Returns
        -------
        array of shape (n_qpoints, n_bands)
            Frequencies, THz; imaginary ones are negative.
        """
        return _frequencies(self.phonopy, qpoints)

    def __repr__(self):
        lowest, highest = self.lowest_frequency, self.frequencies.max()
        name = self.primitive.get_chemical_formula()
        return f"Phonons({name}, {self.frequencies.shape[1]} bands from {lowest:.3f} to {highest:.3f} THz)"


def phonons(
    atoms,
    calculator=None,
    *,
    supercell=None,
    distance=0.01,
    path=None,
    spacing=0.005,
    mesh=100.0,
    relax=True,
    symprec=1e-3,
):
    """Phonon dispersion and density of states by finite displacements, through phonopy [1]_.

    Atoms of a supercell are displaced, as few as symmetry allows, to both sides where these differ; from the forces
    come force constants, whose sums are made to vanish (acoustic sum rule), and from these the dynamical matrix.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions.
    calculator : ase calculator, Pipeline, search or None
        As `relax_crystal` takes it. It is called once for each displacement.
    supercell : int, array-like of shape (3,) or (3, 3), or None
        Multiples of the conventional cell. None takes those of [2]_: 54 atoms of bcc, 108 of fcc, 64 of diamond (and of
        rock salt and zinc blende); other crystals at least 9 Å between opposite faces.
    distance : float, default=0.01
        Length of the displacements, Å.
    path : str or None
        Path in the Brillouin zone by the names that seekpath [3]_ gives to its points: "Γ-X-U|K-Γ-L", where ``|`` is a
        jump and ``Γ`` may be written ``G``. None takes all of seekpath's.
    spacing : float, default=0.005
        Largest distance between wave vectors of the path, 1/Å (without the factor 2π).
    mesh : float or sequence of 3 int, default=100.0
        Mesh of wave vectors of the density of states: three numbers, or a length in Å, to which wave vectors are
        spaced inversely.
    relax : bool, default=True
        Relax the crystal first. Frequencies of a crystal under stress are those of its lattice as it is.
    symprec : float or None, default=1e-3
        As `relax_crystal` takes it.

    Returns
    -------
    Phonons

    Raises
    ------
    ImportError
        If phonopy or seekpath are not installed: ``pip install 'mlfeat[phonons]'``.
    ValueError
        If the path names an unknown point, a length or the mesh is not positive, or the structure is not a crystal.
    RuntimeError
        If the crystal cannot be relaxed, or if the calculator gives NaN.

    Notes
    -----
    The long-range dipoles of polar crystals are those of the calculator: there is no correction by Born charges.

    Atoms of one element are different if their initial magnetic moments, initial charges or masses are. phonopy's
    symmetry knows moments, but not the other two: where these differ within an element, it is not used, and all atoms
    of the primitive cell are displaced along all axes.

    References
    ----------
    .. [1] A. Togo, I. Tanaka, Scr. Mater. 2015, 108, 1.
    .. [2] Y. Zuo et al., J. Phys. Chem. A 2020, 124, 731.
    .. [3] Y. Hinuma et al., Comput. Mater. Sci. 2017, 128, 140.
    """
    require_phonopy()
    for name, value in (("distance", distance), ("spacing", spacing), ("mesh", mesh)):
        if not all(0 < number < np.inf for number in np.ravel(value)):
            raise ValueError(f"{name}={value!r}: must be positive")
    large = Supercell.from_atoms(atoms, calculator, supercell, relax=relax, symprec=symprec, kinds=_KINDS)
    lattice, undisplaced = _phonopy(large)
    primitive = _placed(undisplaced[lattice.primitive.p2s_map], lattice.primitive)
    points, labels = band_path(primitive, kinds_of(primitive, _KINDS), path, spacing)
    _displace(lattice, undisplaced, distance, large.calculator)
    qpoints = np.concatenate(points)
    ends = np.cumsum([len(part) for part in points])
    frequencies = _frequencies(lattice, qpoints)
    lattice.run_mesh(mesh, is_gamma_center=True)
    lattice.run_total_dos()
    return Phonons(
        frequencies,
        qpoints,
        _distances(points, primitive),
        tuple(slice(end - len(part), end) for end, part in zip(ends.tolist(), points, strict=True)),
        labels,
        lattice.total_dos.frequency_points,
        lattice.total_dos.dos,
        float(min(frequencies.min(), lattice.mesh.frequencies.min())),
        primitive,
        undisplaced,
        lattice,
    )


def require_phonopy():
    """Raise ImportError if phonopy or seekpath are missing."""
    try:
        import phonopy  # noqa: F401
        import seekpath  # noqa: F401
    except ImportError as error:
        raise ImportError("phonons need phonopy and seekpath: pip install 'mlfeat[phonons]'") from error


def _phonopy(large):
    """Phonopy object of the supercell, and the atoms of this in phonopy's order."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = make_supercell(large.primitive, large.conventional)
    unitcell = PhonopyAtoms(
        symbols=cell.get_chemical_symbols(),
        cell=cell.cell.array,
        scaled_positions=cell.get_scaled_positions(),
        masses=cell.get_masses(),
        magnetic_moments=cell.arrays.get("initial_magmoms"),
    )
    # To phonopy's symmetry, atoms of one element are alike whatever their charges and masses.
    is_symmetry = kinds_of(cell, ("numbers", "initial_charges", "masses")).max() == kinds_of(cell, ("numbers",)).max()
    lattice = Phonopy(
        unitcell,
        supercell_matrix=large.repeats.T,  # phonopy's lattice vectors are columns
        primitive_matrix=_primitive_matrix(cell),
        symprec=_SYMPREC,
        is_symmetry=is_symmetry,
    )
    supercell = lattice.supercell
    atoms = cell[[supercell.u2u_map[index] for index in supercell.s2u_map]]
    return lattice, _placed(atoms, supercell)


def _primitive_matrix(cell):
    """Columns are the vectors of the usual primitive cell, by those of this one."""
    from phonopy.structure.cells import get_primitive_matrix_by_centring

    symmetry = symmetry_of(cell, _SYMPREC, _KINDS)
    multiples = np.round(cell.cell.array @ np.linalg.inv(symmetry.cell))
    usual = get_primitive_matrix_by_centring(symmetry.centering).T @ symmetry.conventional
    return np.linalg.solve(multiples.T, usual.T)


def _displace(lattice, undisplaced, distance, calculator):
    """Calculate force constants, one calculation for each displacement."""
    lattice.generate_displacements(distance=distance)
    structures = lattice.supercells_with_displacements
    lattice.forces = [
        forces_of(_placed(undisplaced, structure), calculator, f"displacement {number} of {len(structures)}")
        for number, structure in enumerate(tqdm(structures, "phonons", unit=" structures", disable=None, leave=False))
    ]
    lattice.produce_force_constants()
    lattice.symmetrize_force_constants()


def _placed(atoms, cell):
    """Copy of the atoms in the places of phonopy's."""
    atoms = atoms.copy()
    atoms.set_cell(cell.cell)
    atoms.positions[:] = cell.positions
    return atoms


def _frequencies(lattice, qpoints):
    lattice.run_qpoints(np.asarray(qpoints, dtype=float).reshape(-1, 3))
    return lattice.qpoints.frequencies.copy()


def _distances(points, primitive):
    reciprocal = primitive.cell.reciprocal().array
    start, distances = 0.0, []
    for part in points:
        lengths = np.linalg.norm((part - part[0]) @ reciprocal, axis=1)
        distances.append(start + lengths)
        start += lengths[-1]
    return np.concatenate(distances)
