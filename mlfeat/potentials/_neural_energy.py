"""Energies of atoms by networks, one for each element, and committees of those."""

import numpy as np

BLOCK = 2048  # atoms whose nodes stay near a core


class NeuralEnergy:
    r"""Energy of an atom as its element's network says it: :math:`E_i = b_s + \epsilon\, \mathrm{NN}_s(B_i)`.

    Of several members, sets of networks for all elements, it is the mean.

    Parameters
    ----------
    members : sequence of sequences of Network
        Networks of each member, one for each species. A network with fewer inputs than there are features has the
        first ones.
    scale : float
        ε, eV.
    intercept : array of shape (n_species,)
        b, eV.
    """

    def __init__(self, members, scale, intercept):
        self.members = tuple(tuple(networks) for networks in members)
        self.scale = float(scale)
        self.intercept = np.asarray(intercept, dtype=float)

    def energy_and_cotangent(self, features):
        """Energies (N,) and their derivatives with respect to the features (N, F)."""
        energies, cotangents = np.zeros(len(features.values)), np.zeros(features.values.shape)
        for atoms, s, values in _blocks(features):
            for networks in self.members:
                found = networks[s].forward(values[:, : networks[s].sizes[0]])
                energies[atoms] += found.energies
                cotangents[atoms, : found.gradients.shape[1]] += found.gradients
        factor = self.scale / len(self.members)
        return factor * energies + self.intercept[features.species], factor * cotangents

    def member_energies(self, features):
        """Energies of the atoms by each member (n_members, N)."""
        energies = np.empty((len(self.members), len(features.values)))
        for atoms, s, values in _blocks(features):
            for own, networks in zip(energies, self.members, strict=True):
                own[atoms] = networks[s].forward(values[:, : networks[s].sizes[0]]).energies
        return self.scale * energies + self.intercept[features.species]

    def member(self, k):
        """The NeuralEnergy of one member."""
        return NeuralEnergy(self.members[k : k + 1], self.scale, self.intercept)


def _blocks(features):
    """Indices, species and values of some atoms of one species at a time."""
    species, values = features.species, features.values
    for s in np.unique(species):
        atoms = np.flatnonzero(species == s)
        for start in range(0, len(atoms), BLOCK):
            part = atoms[start : start + BLOCK]
            yield part, s, values[part]
