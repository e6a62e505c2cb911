"""Networks: derivatives of energies and of their derivatives, against finite differences."""

import numpy as np
import pytest
from _networks import items_and_targets, numerical

from mlfeat.potentials._activations import ACTIVATIONS
from mlfeat.potentials._gradient_solvers import loss_and_gradient
from mlfeat.potentials._measurements import Measurements
from mlfeat.potentials._network import Network
from mlfeat.potentials._structure_pass import StructurePass

SMOOTH = [name for name in ACTIVATIONS if name != "relu"]


@pytest.fixture
def rng():
    return np.random.RandomState(0)


def random_network(rng, activations, sizes=(5, 4, 3)):
    network = Network.random(sizes, activations, rng)
    return network.with_parameters(network.parameters + 0.1 * rng.normal(size=network.n_parameters))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivatives(name):
    z, h = np.linspace(-3.05, 3, 41), 1e-5
    value, slope, curvature = ACTIVATIONS[name](z)
    above, below = ACTIVATIONS[name](z + h), ACTIVATIONS[name](z - h)
    np.testing.assert_allclose(slope, (above[0] - below[0]) / (2 * h), atol=1e-8)
    np.testing.assert_allclose(curvature, (above[1] - below[1]) / (2 * h), atol=1e-8)
    assert value.shape == z.shape


@pytest.mark.parametrize("name", ["tanh", "logistic", "softplus", "relu"])
def test_activations_far_from_zero_are_finite(name):
    for part in ACTIVATIONS[name](np.array([-800.0, 800.0])):
        assert np.isfinite(part).all()


def test_known_network():
    network = Network([[[1.0, -2.0]], [[3.0]]], [[0.5], [-1.0]], ["tanh"])
    found = network.forward(np.array([[0.3, 0.1], [0.0, 0.0]]))
    np.testing.assert_allclose(found.energies, 3 * np.tanh([0.6, 0.5]) - 1, rtol=1e-15)
    np.testing.assert_allclose(found.gradients[0], 3 * (1 - np.tanh(0.6) ** 2) * np.array([1, -2]), rtol=1e-14)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_the_energy(rng, name):
    network = random_network(rng, (name, "tanh"))
    x = rng.normal(size=(3, 5))
    slope = numerical(lambda v: network.forward(v.reshape(3, 5)).energies.sum(), x.ravel())
    np.testing.assert_allclose(network.forward(x).gradients.ravel(), slope, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_with_respect_to_the_parameters(rng, name):
    network = random_network(rng, ("tanh", name))
    x, directions, factors = rng.normal(size=(4, 5)), rng.normal(size=(7, 5)), rng.normal(size=4)
    owners, starts = np.array([0, 2, 2, 1, 3, 0, 1]), np.array([0, 3, 3, 5, 7])

    def energy(parameters):
        return factors @ network.with_parameters(parameters).forward(x).energies

    def slopes(parameters):
        gradients = network.with_parameters(parameters).forward(x).gradients
        terms = np.einsum("mf,mf->m", directions, gradients[owners])
        return np.array([terms[a:b].sum() for a, b in zip(starts, starts[1:], strict=False)])

    found = network.forward(x)
    p = network.parameters
    np.testing.assert_allclose(found.energy_derivatives(factors), numerical(energy, p), rtol=1e-7, atol=1e-9)
    rows = found.slope_derivatives(owners, directions, starts)
    np.testing.assert_allclose(rows, numerical(slopes, p).T, rtol=1e-7, atol=1e-8)
    one = found.slope_derivative(directions[:4])
    expected = found.slope_derivatives(np.arange(4), directions[:4], np.array([0, 4]))[0]
    np.testing.assert_allclose(one, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sizes", [(5,), (5, 6), (5, 4, 3, 2)])
def test_depths(rng, sizes):
    network = random_network(rng, ("tanh",) * (len(sizes) - 1), sizes)
    assert network.sizes == sizes
    assert network.n_parameters == len(network.parameters)
    np.testing.assert_array_equal(network.with_parameters(network.parameters).parameters, network.parameters)
    x, t = rng.normal(size=(2, 5)), rng.normal(size=(2, 5))

    def slope(parameters):
        return np.sum(t * network.with_parameters(parameters).forward(x).gradients)

    expected = numerical(slope, network.parameters)
    np.testing.assert_allclose(network.forward(x).slope_derivative(t), expected, rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------------- whole structures


def test_merged_derivatives_give_forces_and_stress(rng):
    """Segments of t · ∂E/∂x are the forces and the stress that the pair gradients give."""
    items, _ = items_and_targets()
    for item in items:
        networks = [random_network(rng, ("tanh",), (item.n_features, 4)) for _ in range(item.n_species)]
        found = StructurePass(networks, item.values, item.species)
        sums = found.sums(*item.merged_derivatives())
        gradients = item.vjp(found.gradients)
        np.testing.assert_allclose(sums[:-6], item.pairs.forces(gradients).ravel(), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(sums[-6:], item.pairs.stress(gradients), rtol=1e-9, atol=1e-11)


def test_forces_and_stress_with_respect_to_the_weights(rng):
    items, _ = items_and_targets()
    item = items[1]
    networks = [random_network(rng, ("tanh", "softplus"), (item.n_features, 3, 2)) for _ in range(item.n_species)]
    sizes = np.cumsum([network.n_parameters for network in networks])
    paths = item.merged_derivatives()

    def measured(parameters):
        parts = np.split(parameters, sizes[:-1])
        moved = [network.with_parameters(part) for network, part in zip(networks, parts, strict=True)]
        found = StructurePass(moved, item.values, item.species)
        return np.concatenate([[found.energy], found.sums(*paths)])

    found = StructurePass(networks, item.values, item.species)
    rows = np.concatenate([found.energy_row()[None], found.sum_rows(*paths)])
    expected = numerical(measured, np.concatenate([network.parameters for network in networks])).T
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


def test_gradient_of_the_loss(rng):
    """Of energies, forces and stresses, through jvp, against differences."""
    items, targets = items_and_targets()
    weights = np.tile([2.0, 0.3, 50.0], (len(items), 1))
    weights[0, 2] = 0.0
    data = Measurements(items, targets, weights)
    networks = [random_network(rng, ("tanh",), (items[0].n_features, 4)) for _ in range(items[0].n_species)]
    sizes = np.cumsum([network.n_parameters for network in networks])
    for k in range(2):

        def loss(parameters, k=k):
            parts = np.split(parameters, sizes[:-1])
            moved = [network.with_parameters(part) for network, part in zip(networks, parts, strict=True)]
            return loss_and_gradient(moved, data, k, 0.7)[0]

        gradient = loss_and_gradient(networks, data, k, 0.7)[1]
        expected = numerical(loss, np.concatenate([network.parameters for network in networks]))
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())
