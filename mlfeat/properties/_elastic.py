"""Elastic constants by small strains and the response of the atoms to them."""

from functools import lru_cache
from itertools import combinations

import numpy as np
from ase import units
from scipy.sparse.linalg import LinearOperator, cg

from mlfeat.properties._crystal import Crystal
from mlfeat.properties._elastic_tensor import ElasticConstants, rotation_of_strains, voigt_of_mandel
from mlfeat.properties._symmetry import STRAINS

__all__ = ["elastic_constants"]

_STEP = 2e-3  # Å, of displacements
_SETTLED = 1e-5  # eV/Å, forces of the response to a strain of 1 that are as good as none
_CONDITION = 0.4  # of the strains that are enough; all six have 1


def elastic_constants(
    atoms,
    calculator=None,
    *,
    strain=1e-3,
    relax=True,
    internal=True,
    symprec=1e-3,
    fmax=1e-4,
    smax=1e-6,
    max_steps=200,
):
    r"""Elastic constants of a crystal by finite strains.

    With :math:`\sigma` the stress, :math:`\varepsilon` a homogeneous strain and u the displacements of the atoms
    inside of the cell,

    .. math::
        C_{ij} = \frac{\partial \sigma_i}{\partial \varepsilon_j}
               + \frac{\partial \sigma_i}{\partial u} \frac{du}{d\varepsilon_j},
        \qquad \Phi \frac{du}{d\varepsilon_j} = \frac{\partial F}{\partial \varepsilon_j},

    where :math:`F` are the forces and :math:`\Phi` the force constants: the limit of small strains of what relaxing
    the atoms in each strained cell would give. All derivatives are central differences of stress and forces in the
    primitive cell. Only the strains that symmetry needs are calculated (for cubic crystals one axial and one shear
    strain), and the tensor has exactly the symmetry of the crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of a crystal, periodic in three directions. Its constraints are ignored.
    calculator : ase calculator, Pipeline, search or None
        What gives stress and forces: a calculator, a fitted model or a fitted search over one; None for that of
        the atoms.
    strain : float, default=1e-3
        Size of the strains.
    relax : bool, default=True
        Relax cell and atoms first, as `relax_crystal`.
    internal : bool, default=True
        Whether the atoms inside of the strained cell relax; False gives the clamped constants.
    symprec : float or None, default=1e-3
        Distance, Å, up to which atoms count as equivalent. None uses no symmetry: the cell as it is, and all six
        strains.
    fmax, smax : float, default=1e-4 and 1e-6
        Largest force (eV/Å) and stress (eV/Å³) that are left in the relaxed crystal.
    max_steps : int, default=200
        Most calculations of its relaxation.

    Returns
    -------
    ElasticConstants
        The tensor in the frame of the atoms as passed, GPa.

    Raises
    ------
    ValueError
        If the structure is not periodic in three directions, or the strain is not positive.
    RuntimeError
        If the relaxation does not converge, if the calculator gives NaN, or if a displacement of the atoms inside
        of the cell lowers the energy.

    See Also
    --------
    relax_crystal : The relaxation.
    equation_of_state : The bulk modulus by energies.

    Notes
    -----
    Under stress (``relax=False``) the constants are those that connect stress to small strains from the state as it is
    (Wallace, Thermodynamics of Crystals, 1972), made symmetric: what stability depends on, and whose bulk modulus is
    -V dP/dV. Forces on the atoms are taken to be none.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> elastic_constants(bulk("Cu"), EMT()).constants  # doctest: +SKIP
    """
    crystal = Crystal.from_atoms(atoms, calculator, symprec)
    if not 0 < strain < 0.2:
        raise ValueError(f"strain={strain!r}: must be positive and small, as 1e-3")
    if relax:
        crystal, _ = crystal.relaxed(fmax=fmax, smax=smax, max_steps=max_steps)
    return elastic_constants_of(crystal, crystal.applied_to(atoms), strain, internal)


def elastic_constants_of(crystal, atoms, strain=1e-3, internal=True):
    """Elastic constants of a crystal as it is.

    Parameters
    ----------
    crystal : Crystal
        The primitive cell.
    atoms : ase.Atoms
        What the result says it is of.
    strain : float, default=1e-3
        Size of the strains.
    internal : bool, default=True
        Whether the atoms inside of the strained cell relax.

    Returns
    -------
    ElasticConstants
    """
    basis = crystal.symmetry.tensors
    chosen, solve, independent = _plan(crystal.symmetry)
    relaxed, clamped = [], []
    # Stress by strain is symmetric but for -stress_ij delta_kl, which is left out of the fit and put back by halves.
    volume_change, initial = (
        np.tensordot(STRAINS, part, axes=2) for part in (np.eye(3), crystal.evaluate("as it is")[2])
    )
    asymmetric = np.outer(initial, volume_change)
    for k in chosen:
        stress, forces = _derivative(crystal, strain, STRAINS[k], 0.0, f"under strain {k + 1}")
        stress = stress + asymmetric[:, k]
        clamped.append(stress)
        forces -= forces.mean(axis=0)
        if internal and np.abs(forces).max() > _SETTLED:
            stress = stress + _settling(crystal, forces)
        relaxed.append(stress)
    tensors = (np.tensordot(solve @ np.ravel(part), basis, axes=1) for part in (relaxed, clamped))
    tensors = (voigt_of_mandel(tensor - (asymmetric + asymmetric.T) / 2) for tensor in tensors)
    return ElasticConstants(*(tensor / units.GPa for tensor in tensors), crystal.symmetry.standard, independent, atoms)


@lru_cache(maxsize=256)
def _plan(symmetry):
    """The fewest strains that the tensor follows from, the matrix that gives it, and its independent components."""
    basis = symmetry.tensors
    for number in range(1, 7):
        for chosen in combinations(range(6), number):
            rows = basis[:, :, chosen].transpose(2, 1, 0).reshape(-1, len(basis))
            if len(rows) >= len(basis) and np.linalg.svd(rows, compute_uv=False)[-1] > _CONDITION:
                return chosen, np.linalg.pinv(rows), _independent(symmetry)
    raise AssertionError("all six strains are always enough")


def _independent(symmetry):
    turn = rotation_of_strains(symmetry.standard)
    basis = turn @ symmetry.tensors @ turn.T
    found = []
    for pair in zip(*np.triu_indices(6), strict=True):
        rows = np.array([basis[:, i, j] for i, j in [*found, pair]])
        if np.linalg.svd(rows, compute_uv=False)[-1] > 1e-6 and len(rows) <= len(basis):
            found.append(tuple(int(i) for i in pair))
    return tuple(found)


def _derivative(crystal, step, strain, displacements, what):
    """Derivatives of stress (6,), Mandel's, and forces along a strain, displacements, or both."""
    _, forces, stress = crystal.deformed(step * strain, step * displacements).evaluate(what)
    _, forces_back, stress_back = crystal.deformed(-step * strain, -step * displacements).evaluate(what)
    return np.tensordot(STRAINS, stress - stress_back, axes=2) / (2 * step), (forces - forces_back) / (2 * step)


def _settling(crystal, forces):
    """Change (6,) of the stress as the atoms move until the forces that a strain made, of no sum, are gone."""
    shape = forces.shape

    def along(displacements):
        length = np.abs(displacements).max()
        stress, change = _derivative(crystal, _STEP, 0.0, displacements / length, "with displaced atoms")
        return stress * length, change * length

    def restoring(displacements):
        displacements = displacements.reshape(shape)
        pushed = -along(displacements)[1]
        if (displacements * pushed).sum() <= 0:
            raise RuntimeError(
                "the crystal is not stable: a displacement of the atoms inside of the cell lowers the energy; "
                "relax it without symmetry first (relax_crystal with symprec=None), or pass internal=False"
            )
        pushed -= pushed.mean(axis=0)
        return pushed.ravel()

    operator = LinearOperator((forces.size, forces.size), matvec=restoring, dtype=float)
    response, failed = cg(operator, forces.ravel(), rtol=1e-5, maxiter=20 * forces.size)
    if failed:
        raise RuntimeError(
            "the displacements that a strain causes were not found: the calculator's forces may be noisy"
        )
    return along(response.reshape(shape))[0]
