"""Training of networks by gradients of the loss: L-BFGS and Adam."""

import numpy as np
from scipy.optimize import minimize

from mlfeat.potentials._residuals import gradient_residuals
from mlfeat.potentials._structure_pass import StructurePass


def loss_and_gradient(networks, data, k, scale):
    """Weighted squared residuals of structure k, and their derivative with respect to the networks' parameters.

    Forces take one vjp; their derivative one jvp along the residuals, and one sweep through the networks: with
    u_ij = ∂L/∂g_ij, the derivative of L is that of Σ_i ∂E_i/∂x_i · (Σ_j u_ij · ∂x_i/∂r_ij).
    """
    item = data.items[k]
    found = StructurePass(networks, item.values, item.species)
    w_energy, w_forces, w_stress = data.weights[k]
    residual = scale * found.energy / item.n_atoms - data.energy(k)
    loss = w_energy * residual**2
    energy_factor = 2 * w_energy * residual * scale / item.n_atoms
    directions = np.zeros(item.values.shape)
    if w_forces > 0 or w_stress > 0:
        gradients = scale * item.vjp(found.gradients)
        more, displacements = gradient_residuals(item.pairs, gradients, data.targets[k], w_forces, w_stress)
        loss += more
        directions = item.jvp(scale * displacements)
    return loss, found.loss_derivative(energy_factor, directions)


class _GradientSolver:
    """Base: the loss is the sum over structures of squared residuals, divided by their noise, and a penalty.

    Parameters
    ----------
    networks : sequence of Network
        One for each species.
    scale : float
        Energy (eV) that an output of one stands for.
    noise : float
        Standard deviation of the residual of a measurement of weight one.
    alpha : float
        Factor of the sum of squared parameters.
    rng : numpy.random.RandomState
    """

    def __init__(self, networks, *, scale, noise, alpha, rng):
        self.networks = list(networks)
        self.scale, self.noise, self.alpha, self.rng = scale, noise, alpha, rng

    @property
    def parameters(self):
        """Parameters of all networks (n_parameters,)."""
        return np.concatenate([network.parameters for network in self.networks])

    @parameters.setter
    def parameters(self, values):
        ends = np.cumsum([network.n_parameters for network in self.networks])[:-1]
        parts = zip(self.networks, np.split(values, ends), strict=True)
        self.networks = [network.with_parameters(part) for network, part in parts]

    def loss(self, data, chosen):
        """Loss of the chosen structures and its gradient; the penalty has their share."""
        loss, gradient = 0.0, np.zeros(len(self.parameters))
        for k in chosen:
            own_loss, own_gradient = loss_and_gradient(self.networks, data, k, self.scale)
            loss += own_loss
            gradient += own_gradient
        parameters, penalty = self.parameters, self.alpha * len(chosen) / len(data)
        unit = self.noise**2
        return loss / unit + penalty * parameters @ parameters, gradient / unit + 2 * penalty * parameters


class AdamSolver(_GradientSolver):
    """Epochs of Adam (Kingma, Ba, arXiv:1412.6980), a step for every `batch_size` structures.

    Parameters
    ----------
    networks : sequence of Network
        As for the base.
    learning_rate : float
        Size of a step.
    batch_size : int
        Structures of a step.
    **loss
        As for the base.
    """

    def __init__(self, networks, *, learning_rate, batch_size, **loss):
        super().__init__(networks, **loss)
        self.learning_rate, self.batch_size = learning_rate, batch_size
        self._mean = self._square = np.zeros(len(self.parameters))
        self._steps = 0

    def epoch(self, data, stop):
        """Pass once over the structures, as long as the event `stop` is not set."""
        order = self.rng.permutation(len(data))
        for start in range(0, len(order), self.batch_size):
            if stop.is_set():
                return
            gradient = self.loss(data, order[start : start + self.batch_size])[1]
            self._steps += 1
            self._mean = 0.9 * self._mean + 0.1 * gradient
            self._square = 0.999 * self._square + 0.001 * gradient**2
            mean = self._mean / (1 - 0.9**self._steps)
            square = self._square / (1 - 0.999**self._steps)
            self.parameters = self.parameters - self.learning_rate * mean / (np.sqrt(square) + 1e-8)


class LbfgsSolver(_GradientSolver):
    """Epochs of L-BFGS: some iterations on all structures, with scipy's; memory of the curvature is not kept between.

    Parameters
    ----------
    networks : sequence of Network
        As for the base.
    n_iterations : int
        Iterations of an epoch.
    **loss
        As for the base.
    """

    def __init__(self, networks, *, n_iterations=20, **loss):
        super().__init__(networks, **loss)
        self.n_iterations = n_iterations

    def epoch(self, data, stop):
        """Make some iterations, as long as the event `stop` is not set."""
        everything = range(len(data))

        def check(intermediate_result):
            if stop.is_set():
                raise StopIteration

        def function(parameters):
            self.parameters = parameters
            return self.loss(data, everything)

        options = {"maxiter": self.n_iterations, "maxcor": 50}
        found = minimize(function, self.parameters, jac=True, method="L-BFGS-B", callback=check, options=options)
        self.parameters = found.x
