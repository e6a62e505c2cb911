"""Networks in other forms that give the same: what a format without committees, or with one shape for all, needs."""

import numpy as np
from scipy.linalg import block_diag

from mlfeat.potentials._network import Network


def merged(networks):
    """One network that is the mean of several of one shape: their nodes side by side, with no weights between them."""
    networks = [deepened(network, max(2, len(network.weights))) for network in networks]
    first, *inner, _ = zip(*(network.weights for network in networks), strict=True)
    biases = list(zip(*(network.biases for network in networks), strict=True))
    outputs = [network.weights[-1] / len(networks) for network in networks]
    return Network(
        [np.vstack(first), *(block_diag(*level) for level in inner), np.hstack(outputs)],
        [*(np.concatenate(level) for level in biases[:-1]), np.mean(biases[-1], axis=0)],
        networks[0].activations,
    )


def widened(network, n_nodes):
    """The network with nodes of no effect in its last hidden layer, so that it has `n_nodes`."""
    *weights, inner, last = network.weights
    *biases, shift, output = network.biases
    missing = n_nodes - len(shift)
    return Network(
        [*weights, np.pad(inner, ((0, missing), (0, 0))), np.pad(last, ((0, 0), (0, missing)))],
        [*biases, np.pad(shift, (0, missing)), output],
        network.activations,
    )


def deepened(network, n_layers):
    """The network with linear hidden layers of one node before its output, so that it has `n_layers` in all."""
    missing = n_layers - len(network.weights)
    return Network(
        [*network.weights, *[np.ones((1, 1))] * missing],
        [*network.biases, *[np.zeros(1)] * missing],
        [*network.activations, *["linear"] * missing],
    )


def with_inputs(network, factors, offsets):
    """The network as a function of x, where it is one of factors x + offsets, both (n_0,)."""
    first = network.weights[0]
    return Network(
        [first * factors, *network.weights[1:]],
        [network.biases[0] + first @ offsets, *network.biases[1:]],
        network.activations,
    )


def with_columns(network, columns):
    """The network with these of its inputs alone, in this order."""
    return Network([network.weights[0][:, columns], *network.weights[1:]], network.biases, network.activations)


def with_output(network, factor):
    """The network times a factor."""
    return Network(
        [*network.weights[:-1], factor * network.weights[-1]],
        [*network.biases[:-1], factor * network.biases[-1]],
        network.activations,
    )
