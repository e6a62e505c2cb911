"""Fitted models inside LAMMPS, on any number of MPI ranks.

``mpiexec -n 4 python -m mlfeat.lammps model.mlfeat in.script`` runs a script of LAMMPS'; `attach` serves those who
drive LAMMPS from Python.
"""

from mlfeat.lammps._attach import attach

__all__ = ["attach"]
