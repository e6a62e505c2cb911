"""A feed-forward network of one element: energies, their derivatives, and the derivatives of both for a fit."""

from functools import cached_property
from itertools import pairwise

import numpy as np

from mlfeat._ext import kernel
from mlfeat.potentials._activations import ACTIVATIONS


class Network:
    r"""Feed-forward network with one linear output, the energy of an atom.

    .. math:: a_0 = x, \qquad z_l = W_l a_{l-1} + b_l, \qquad a_l = f_l(z_l), \qquad E = W_L a_{L-1} + b_L .

    Parameters
    ----------
    weights : sequence of arrays (n_l, n_{l-1})
        W_1 to W_L; W_L has one row.
    biases : sequence of arrays (n_l,)
        b_1 to b_L.
    activations : sequence of str
        Names of f_1 to f_{L-1}, keys of ACTIVATIONS.
    """

    def __init__(self, weights, biases, activations):
        self.weights = tuple(np.asarray(w, dtype=float) for w in weights)
        self.biases = tuple(np.asarray(b, dtype=float) for b in biases)
        self.activations = tuple(activations)

    @classmethod
    def random(cls, sizes, activations, rng):
        """Weights drawn uniformly, as Glorot and Bengio (2010) have it, biases zero; `sizes` are n_0 to n_{L-1}."""
        sizes = (*sizes, 1)
        limits = [np.sqrt(6 / (a + b)) for a, b in pairwise(sizes)]
        weights = [rng.uniform(-d, d, (b, a)) for (a, b), d in zip(pairwise(sizes), limits, strict=True)]
        return cls(weights, [np.zeros(n) for n in sizes[1:]], activations)

    @classmethod
    def zeros(cls, sizes, activations):
        """Network whose parameters are all zero; `sizes` are n_0 to n_{L-1}."""
        sizes = (*sizes, 1)
        weights = [np.zeros((b, a)) for a, b in pairwise(sizes)]
        return cls(weights, [np.zeros(n) for n in sizes[1:]], activations)

    @property
    def sizes(self):
        """Numbers n_0 to n_{L-1} of inputs and of nodes in the hidden layers."""
        return tuple(w.shape[1] for w in self.weights)

    @property
    def layers(self):
        """Slices of the parameters that are the weights and the biases of each layer."""
        slices, start = [], 0
        for w, b in zip(self.weights, self.biases, strict=True):
            middle, stop = start + w.size, start + w.size + b.size
            slices.append((slice(start, middle), slice(middle, stop)))
            start = stop
        return slices

    @property
    def parameters(self):
        """Weights and biases of the layers, one after the other, (n_parameters,)."""
        return np.concatenate([part.ravel() for wb in zip(self.weights, self.biases, strict=True) for part in wb])

    @property
    def n_parameters(self):
        """Number of weights and biases."""
        return sum(w.size + b.size for w, b in zip(self.weights, self.biases, strict=True))

    def with_parameters(self, parameters):
        """Network of the same form with other weights and biases (n_parameters,)."""
        pairs = zip(self.layers, self.weights, strict=True)
        weights = [parameters[own].reshape(w.shape) for (own, _), w in pairs]
        return Network(weights, [parameters[own] for _, own in self.layers], self.activations)

    def forward(self, values):
        """Evaluate for inputs (N, n_0); returns a ForwardPass."""
        return ForwardPass(self, values)


class ForwardPass:
    """What a network makes of some inputs.

    Parameters
    ----------
    network : Network
    values : array (N, n_0)

    Attributes
    ----------
    energies : array (N,)
        E.
    inputs, slopes, curvatures : lists of arrays (N, n_l)
        a_0 to a_{L-1}; f'(z) and f''(z) of the hidden layers.
    """

    def __init__(self, network, values):
        self.network = network
        self.inputs, self.slopes, self.curvatures = [values], [], []
        hidden = zip(network.weights[:-1], network.biases[:-1], network.activations, strict=True)
        for w, b, name in hidden:
            a, slope, curvature = ACTIVATIONS[name](self.inputs[-1] @ w.T + b)
            self.inputs.append(a)
            self.slopes.append(slope)
            self.curvatures.append(curvature)
        self.energies = self.inputs[-1] @ network.weights[-1][0] + network.biases[-1][0]

    @cached_property
    def sensitivities(self):
        """∂E/∂z_l of each layer, (N, n_l)."""
        found = [np.ones((len(self.energies), 1))]
        for w, slope in zip(self.network.weights[:0:-1], self.slopes[::-1], strict=True):
            found.append((found[-1] @ w) * slope)
        return found[::-1]

    @cached_property
    def gradients(self):
        """∂E/∂x (N, n_0)."""
        return self.sensitivities[0] @ self.network.weights[0]

    def energy_derivatives(self, factors):
        """Derivative of Σ_i factors_i E_i with respect to the parameters (n_parameters,)."""
        parts = []
        for a, delta in zip(self.inputs, self.sensitivities, strict=True):
            scaled = factors[:, None] * delta
            parts += [(scaled.T @ a).ravel(), scaled.sum(axis=0)]
        return np.concatenate(parts)

    def slope_derivatives(self, owners, directions, starts):
        """Derivatives of Σ_m t_m · ∂E/∂x_{owner m} with respect to the parameters, for segments of the m.

        One sweep forward gives the change of all nodes along t, ȧ; one back the derivative λ of t · ∂E/∂x with respect
        to each z. With δ = ∂E/∂z, which is that with respect to ż, the derivatives are
        λ_l a_{l-1}ᵀ + δ_l ȧ_{l-1}ᵀ for the weights and λ_l for the biases.

        Parameters
        ----------
        owners : intp array (M,)
            Atoms, among the inputs.
        directions : array (M, n_0)
            The t.
        starts : intp array (S + 1,)
            Segment s is the m from starts[s] to starts[s + 1].

        Returns
        -------
        array (S, n_parameters)
        """
        along, lambdas = self._second_sweep(owners, directions)
        out = np.zeros((len(starts) - 1, self.network.n_parameters))
        outer_sums = kernel("outer_sums").outer_sums
        layers = zip(self.network.layers, self.inputs, self.sensitivities, along, lambdas, strict=True)
        for (weights, biases), a, delta, dot, lam in layers:
            outer_sums(lam, a, delta, dot, owners, starts, weights.start, out)
            nonempty = np.flatnonzero(np.diff(starts))
            if len(nonempty):
                out[nonempty, biases] = np.add.reduceat(lam, starts[nonempty], axis=0)
        return out

    def slope_derivative(self, directions):
        """Derivative of Σ_i t_i · ∂E/∂x_i with respect to the parameters, for t (N, n_0): one row of the above."""
        owners = slice(None)
        along, lambdas = self._second_sweep(owners, directions)
        parts = []
        for a, delta, dot, lam in zip(self.inputs, self.sensitivities, along, lambdas, strict=True):
            parts += [(lam.T @ a + delta.T @ dot).ravel(), lam.sum(axis=0)]
        return np.concatenate(parts)

    def _second_sweep(self, owners, directions):
        """Changes ȧ_{l-1} of the inputs of each layer along the directions, and the λ_l."""
        weights = self.network.weights
        along, moved = [directions], []
        for w, slope in zip(weights[:-1], self.slopes, strict=True):
            moved.append(along[-1] @ w.T)
            along.append(moved[-1] * slope[owners])
        lambdas = [np.zeros((len(directions), 1))]
        for level in range(len(weights) - 2, -1, -1):
            w, slope = weights[level + 1], self.slopes[level][owners]
            above = (self.sensitivities[level + 1] @ w)[owners]
            bend = self.curvatures[level][owners] * moved[level] * above
            lambdas.append((lambdas[-1] @ w) * slope + bend)
        return along, lambdas[::-1]
