"""The calculator of a property, ASE's or one made of a fitted model, and what it says of a structure."""

import numpy as np

from mlfeat.calculator import PotentialCalculator

__all__ = ["as_calculator", "energy_of", "forces_of", "stress_of"]

_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])  # of the components xx yy zz yz xz xy


def as_calculator(atoms, calculator=None):
    """ASE calculator of whatever a function of properties is given.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure; its own calculator is taken where none is given.
    calculator : ase calculator, Pipeline, search or None
        An ASE calculator is returned as it is. A fitted model, or a fitted search over one, gives a
        `mlfeat.PotentialCalculator` of one thread that does not watch for extrapolation.

    Returns
    -------
    ase.calculators.calculator.BaseCalculator
        The calculator.

    Raises
    ------
    ValueError
        If there is neither a calculator nor one of the structure.
    TypeError
        If `calculator` is neither a calculator nor a model.
    """
    if calculator is None:
        if atoms.calc is None:
            raise ValueError("no calculator: pass one (or a fitted model), or set atoms.calc")
        return atoms.calc
    if isinstance(calculator, type):
        raise TypeError(f"calculator={calculator.__name__} is a class: make one, as {calculator.__name__}()")
    if hasattr(calculator, "get_property"):
        return calculator
    if hasattr(calculator, "predict"):
        return PotentialCalculator(calculator, n_threads=1, extrapolation="ignore")
    raise TypeError(f"calculator={calculator!r}: must be an ASE calculator or a fitted model")


def energy_of(atoms, calculator, what):
    """Energy of a structure.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    calculator : ase calculator
        What gives its energy.
    what : str
        What the structure is, for error messages.

    Returns
    -------
    float
        The energy, eV.

    Raises
    ------
    RuntimeError
        If it is not a finite number.
    """
    return float(_property("energy", atoms, calculator, what))


def forces_of(atoms, calculator, what):
    """Forces on the atoms of a structure.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    calculator : ase calculator
        What gives its forces.
    what : str
        What the structure is, for error messages.

    Returns
    -------
    array of shape (n_atoms, 3)
        The forces, eV/Å.

    Raises
    ------
    RuntimeError
        If one is not a finite number.
    """
    return _property("forces", atoms, calculator, what)


def stress_of(atoms, calculator, what):
    """Stress of a structure, from a calculator that gives six components or, as ASE's may too, nine.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    calculator : ase calculator
        What gives its stress.
    what : str
        What the structure is, for error messages.

    Returns
    -------
    array of shape (3, 3)
        The stress, eV/Å³.

    Raises
    ------
    RuntimeError
        If one component is not a finite number.
    ValueError
        If the stress of the calculator has another shape than (6,) or (3, 3).
    """
    stress = _property("stress", atoms, calculator, what)
    if stress.shape == (3, 3):
        return stress
    if stress.shape != (6,):
        raise ValueError(f"the calculator gives a stress of shape {stress.shape} for {what}: must be (6,) or (3, 3)")
    return stress[_VOIGT]


def _property(name, atoms, calculator, what):
    try:
        value = np.array(calculator.get_property(name, atoms), dtype=float)  # a copy: it may be a buffer
    except Exception as error:
        error.add_note(f"in a calculation of {what}")
        raise
    if not np.isfinite(value).all():
        raise RuntimeError(f"the calculator gives NaN or infinite values for {what}")
    return value
