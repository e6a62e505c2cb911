"""Energies of atoms as linear and quadratic functions of their features, and the derivatives that dynamics needs."""

import numpy as np


class LinearEnergy:
    r"""Energy linear in the features: :math:`E_i = b_s + \sum_k \beta_{sk} B_{ik}`, s the species of atom i.

    Parameters
    ----------
    coef : array of shape (n_species, n_features)
        β, eV per unit of feature.
    intercept : array of shape (n_species,)
        b, eV.
    """

    def __init__(self, coef, intercept):
        self.coef = np.ascontiguousarray(coef, dtype=float)
        self.intercept = np.asarray(intercept, dtype=float)

    def energy_and_cotangent(self, features):
        """Energies (N,) and their derivatives with respect to the features (N, F)."""
        cotangent = self.coef[features.species]
        energies = np.einsum("nf,nf->n", features.values, cotangent)
        return energies + self.intercept[features.species], cotangent


class QuadraticEnergy:
    r"""Energy quadratic in the features, without forming their products.

    .. math:: E_i = b_s + \sum_k \beta_{sk} B_{ik} + \tfrac12 \sum_{kl} B_{ik} A_{skl} B_{il},
              \qquad \frac{\partial E_i}{\partial B_{ik}} = \beta_{sk} + \sum_l A_{skl} B_{il}

    Parameters
    ----------
    beta : array of shape (n_species, n_features)
        β, eV per unit of feature.
    matrix : array of shape (n_species, n_features, n_features)
        A, symmetric, eV per unit of feature squared.
    intercept : array of shape (n_species,)
        b, eV.

    References
    ----------
    M. A. Wood and A. P. Thompson, J. Chem. Phys. 148, 241721 (2018).
    """

    def __init__(self, beta, matrix, intercept):
        self.beta = np.ascontiguousarray(beta, dtype=float)
        self.matrix = np.ascontiguousarray(matrix, dtype=float)
        self.intercept = np.asarray(intercept, dtype=float)

    @classmethod
    def from_packed(cls, coef, intercept):
        """Build from the coefficients of the expanded features: F linear ones, then the packed upper triangle."""
        coef = np.atleast_2d(np.asarray(coef, dtype=float))
        n = n_linear_features(coef.shape[1])
        upper = np.zeros((len(coef), n, n))
        upper[(slice(None), *np.triu_indices(n))] = coef[:, n:]
        strict = np.triu(upper, 1)
        return cls(coef[:, :n], upper + strict.transpose(0, 2, 1), intercept)

    def energy_and_cotangent(self, features):
        """Energies (N,) and their derivatives with respect to the features (N, F)."""
        values, species = features.values, features.species
        beta = self.beta[species]
        products = self._products(values, species)
        energies = np.einsum("nf,nf->n", values, beta + 0.5 * products) + self.intercept[species]
        return energies, beta + products

    def _products(self, values, species):
        """A_s B_i of every atom, one matrix product a species."""
        if len(self.matrix) == 1:
            return values @ self.matrix[0]
        products = np.empty_like(values)
        for s in np.unique(species):
            mine = species == s
            products[mine] = values[mine] @ self.matrix[s]
        return products


def n_linear_features(n_expanded):
    """F for which F + F(F+1)/2 = `n_expanded`."""
    n = (int(np.sqrt(9 + 8 * n_expanded)) - 3) // 2
    if n * (n + 3) // 2 != n_expanded:
        raise ValueError(f"{n_expanded} is not F + F(F+1)/2 for any F: these are no quadratic features.")
    return n
