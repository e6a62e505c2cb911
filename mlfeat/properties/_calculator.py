"""The calculator of a property: ASE's, or one made of a fitted model."""

from mlfeat.calculator import PotentialCalculator

__all__ = ["as_calculator"]


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
