"""Potentials: regressors that say each atom's energy and how it changes with its features."""

from mlfeat.potentials._energy import LinearEnergy, QuadraticEnergy
from mlfeat.potentials._gap import GaussianApproximationPotential
from mlfeat.potentials._linear import LinearPotential
from mlfeat.potentials._moment_energy import MomentEnergy
from mlfeat.potentials._moment_tensor_potential import MomentTensorPotential
from mlfeat.potentials._neural_energy import NeuralEnergy
from mlfeat.potentials._neural_network import NeuralNetworkPotential
from mlfeat.potentials._sparse_energy import SparseKernelEnergy
from mlfeat.potentials._zbl import ZBL

__all__ = [
    "ZBL",
    "GaussianApproximationPotential",
    "LinearEnergy",
    "LinearPotential",
    "MomentEnergy",
    "MomentTensorPotential",
    "NeuralEnergy",
    "NeuralNetworkPotential",
    "QuadraticEnergy",
    "SparseKernelEnergy",
]
