"""Networks of all elements on one structure: what they predict, and the derivatives with respect to their weights."""

import numpy as np


class StructurePass:
    """What networks make of a structure's inputs.

    Parameters
    ----------
    networks : sequence of Network
        One for each species; their parameters count one after the other.
    values : array (N, F)
        Inputs.
    species : intp array (N,)
    """

    def __init__(self, networks, values, species):
        self.n_atoms = len(values)
        self.n_parameters = sum(network.n_parameters for network in networks)
        self.energy = 0.0
        self.gradients = np.zeros(values.shape)
        self._parts = []  # first parameter, atoms, forward pass of each species that is there
        start = 0
        for s, network in enumerate(networks):
            atoms = np.flatnonzero(species == s)
            if len(atoms):
                found = network.forward(values[atoms])
                self.energy += found.energies.sum()
                self.gradients[atoms] = found.gradients
                self._parts.append((slice(start, start + network.n_parameters), atoms, found))
            start += network.n_parameters

    def energy_row(self):
        """Derivative of the energy with respect to the parameters (n_parameters,)."""
        row = np.zeros(self.n_parameters)
        for own, atoms, found in self._parts:
            row[own] = found.energy_derivatives(np.ones(len(atoms)))
        return row

    def sums(self, rows, owners, starts):
        """Σ_m t_m · ∂E_owner/∂x over segments of rows t (M, F), (S,)."""
        return _segment_sums(np.einsum("mf,mf->m", rows, self.gradients[owners]), starts)

    def sum_rows(self, rows, owners, starts):
        """Derivatives of `sums` with respect to the parameters (S, n_parameters)."""
        out = np.zeros((len(starts) - 1, self.n_parameters))
        place = np.empty(self.n_atoms, dtype=np.intp)
        for own, atoms, found in self._parts:
            if len(self._parts) == 1:
                out[:, own] = found.slope_derivatives(owners, rows, starts)
                continue
            place[:] = -1
            place[atoms] = np.arange(len(atoms))
            mine = np.flatnonzero(place[owners] >= 0)
            out[:, own] = found.slope_derivatives(place[owners[mine]], rows[mine], np.searchsorted(mine, starts))
        return out

    def loss_derivative(self, energy_factor, directions):
        """Derivative of energy_factor · E + Σ_i s_i · ∂E_i/∂x_i for directions s (N, F), (n_parameters,)."""
        row = np.zeros(self.n_parameters)
        for own, atoms, found in self._parts:
            row[own] = found.energy_derivatives(np.full(len(atoms), energy_factor))
            row[own] += found.slope_derivative(directions[atoms])
        return row


def segments(starts, chosen):
    """Places of the rows of some segments, and the starts of these segments among them."""
    counts = np.diff(starts)[chosen]
    new = np.concatenate([[0], np.cumsum(counts)])
    return np.arange(new[-1]) + np.repeat(starts[chosen] - new[:-1], counts), new


def _segment_sums(values, starts):
    sums = np.zeros(len(starts) - 1)
    filled = np.flatnonzero(np.diff(starts))
    if len(filled):
        sums[filled] = np.add.reduceat(values, starts[filled])
    return sums
