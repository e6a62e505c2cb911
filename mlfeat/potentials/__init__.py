"""Potentials: regressors that say each atom's energy and how it changes with its features."""

from mlfeat.potentials._energy import LinearEnergy, QuadraticEnergy
from mlfeat.potentials._linear import LinearPotential
from mlfeat.potentials._zbl import ZBL

__all__ = ["ZBL", "LinearEnergy", "LinearPotential", "QuadraticEnergy"]
