"""Moment tensors from their definition, in NumPy: every node with its derivatives by pair vectors and coefficients."""

import re
from typing import NamedTuple

import numpy as np


class Dual(NamedTuple):
    """A node of every atom and its derivatives.

    ``v`` (N,); ``r`` (P, 3) by the vectors to the neighbors of the atom; ``c`` (N, Q) by the coefficients of its
    species, in the order neighbor species, μ, k; ``x`` (P, 3, Q) by both.
    """

    v: np.ndarray
    r: np.ndarray
    c: np.ndarray
    x: np.ndarray

    def __add__(self, other):
        return Dual(*(a + b for a, b in zip(self, other, strict=True)))


class Twin(NamedTuple):
    """Features (N, F) and their derivatives (P, 3, F), (N, Q, F), (P, 3, Q, F) of one structure."""

    values: np.ndarray
    jacobian: np.ndarray
    radial: np.ndarray
    mixed: np.ndarray
    first: np.ndarray

    def jvp(self, displacements):
        change = np.zeros_like(self.values)
        np.add.at(change, self.first, np.einsum("px,pxf->pf", displacements, self.jacobian))
        return change

    def vjp(self, cotangents):
        return np.einsum("pf,pxf->px", cotangents[self.first], self.jacobian)

    def radial_gradient(self, cotangents, displacements=None, energy_factor=1.0):
        features = energy_factor * self.values
        radial = energy_factor * np.einsum("nf,nqf->nq", cotangents, self.radial)
        if displacements is not None:
            features = features + self.jvp(displacements)
            along = np.einsum("pf,px,pxqf->pq", cotangents[self.first], displacements, self.mixed)
            np.add.at(radial, self.first, along)
        return features, radial

    def radial_jacobian(self, cotangents):
        return np.einsum("pf,pxqf->pxq", cotangents[self.first], self.mixed)


def evaluate(pairs, species, tables, coefficients, scaling, min_dist, cutoff):
    """Features of a structure.

    Parameters
    ----------
    pairs : NeighborPairs
    species : intp array (N,)
        Each atom's place in the list of species.
    tables : three int arrays
        Moments (n, 4) μ, a, b, c; products (m, 4) first, second, factor, result; scalars (F,).
    coefficients : array (S, S, n_radial, K)
    scaling, min_dist, cutoff : float

    Returns
    -------
    Twin
    """
    moments, products, scalars = tables
    nodes = _basic_moments(pairs, species, np.asarray(moments), coefficients, scaling, min_dist, cutoff)
    first = pairs.first
    for a, b, factor, result in np.asarray(products).tolist():
        found = _product(nodes[a], nodes[b], factor, first)
        nodes[result] = nodes[result] + found if result in nodes else found
    chosen = [nodes[k] for k in np.asarray(scalars).tolist()]
    return Twin(*(np.stack(part, axis=-1) for part in zip(*chosen, strict=True)), first)


def _product(a, b, factor, first):
    v, r = a.v * b.v, a.r * b.v[first, None] + a.v[first, None] * b.r
    c = a.c * b.v[:, None] + a.v[:, None] * b.c
    x = a.x * b.v[first, None, None] + a.v[first, None, None] * b.x
    x += a.r[:, :, None] * b.c[first, None, :] + b.r[:, :, None] * a.c[first, None, :]
    return Dual(factor * v, factor * r, factor * c, factor * x)


def _basic_moments(pairs, species, moments, coefficients, scaling, min_dist, cutoff):
    n_species, _, n_radial, n_polynomials = coefficients.shape
    first, second = species[pairs.first], species[pairs.second]
    vectors, lengths = pairs.vectors, np.linalg.norm(pairs.vectors, axis=1)
    unit = vectors / lengths[:, None]
    values, slopes = (scaling * part for part in _polynomials(lengths, n_polynomials, min_dist, cutoff))
    nodes = {}
    for node, (mu, *powers) in enumerate(moments.tolist()):
        angular = np.prod(unit**powers, axis=1)
        by_unit = np.stack([_monomial_slope(unit, powers, axis) for axis in range(3)], axis=1)
        # The part of the gradient along r̂ does not change r̂.
        tangent = (by_unit - unit * np.sum(unit * by_unit, axis=1, keepdims=True)) / lengths[:, None]
        terms = values * angular[:, None]  # (P, K)
        gradients = (
            slopes[:, None, :] * (unit * angular[:, None])[:, :, None] + values[:, None, :] * tangent[:, :, None]
        )
        own = coefficients[first, second, mu]  # (P, K)
        places = (second * n_radial + mu)[:, None] * n_polynomials + np.arange(n_polynomials)
        v, c = np.zeros(pairs.n_atoms), np.zeros((pairs.n_atoms, n_species * n_radial * n_polynomials))
        x = np.zeros((pairs.n_pairs, 3, c.shape[1]))
        np.add.at(v, pairs.first, np.sum(own * terms, axis=1))
        np.add.at(c, (pairs.first[:, None], places), terms)
        for axis in range(3):
            x[np.arange(pairs.n_pairs)[:, None], axis, places] = gradients[:, axis]
        nodes[node] = Dual(v, np.einsum("pk,pxk->px", own, gradients), c, x)
    return nodes


def _monomial_slope(unit, powers, axis):
    """Derivative of x^a y^b z^c with respect to one of x, y, z."""
    if not powers[axis]:
        return np.zeros(len(unit))
    lower = np.array(powers)
    lower[axis] -= 1
    return powers[axis] * np.prod(unit**lower, axis=1)


def _polynomials(lengths, n, min_dist, cutoff):
    """T_k(ξ) (R − r)² and its derivative (P, K); zero beyond the cutoff."""
    chebyshev = [np.polynomial.chebyshev.Chebyshev.basis(k) for k in range(n)]
    xi, slope = (2 * lengths - (min_dist + cutoff)) / (cutoff - min_dist), 2 / (cutoff - min_dist)
    inside = np.where(lengths < cutoff, cutoff - lengths, 0.0)
    values = np.stack([T(xi) * inside**2 for T in chebyshev], axis=1)
    slopes = np.stack([T.deriv()(xi) * slope * inside**2 - 2 * T(xi) * inside for T in chebyshev], axis=1)
    return values, slopes


def read_tables(path):
    """Tables (moments, products, scalars) of a .mtp file."""
    text = path.read_text()
    return tuple(_integers(text, name) for name in ("alpha_index_basic", "alpha_index_times", "alpha_moment_mapping"))


def _integers(text, name):
    rows = re.search(rf"^{name} = {{(.*)}}$", text, re.MULTILINE).group(1)
    if "{" not in rows:
        return np.array(re.findall(r"-?\d+", rows), dtype=np.intc)
    return np.array([re.findall(r"-?\d+", row) for row in re.findall(r"{([^{}]*)}", rows)], dtype=np.intc)


def read_radial(path):
    """Numbers of a .mtp file: coefficients (S, S, n_radial, K), scaling, min_dist, max_dist."""
    text = path.read_text()
    numbers = {
        name: float(value)
        for name, value in re.findall(r"^\s*((?!version)\w+) = ([-+]?[\d.]+(?:e[-+]\d+)?)$", text, re.MULTILINE)
    }
    n_species, n_radial = int(numbers["species_count"]), int(numbers["radial_funcs_count"])
    rows = [[float(value) for value in row.split(",")] for row in re.findall(r"^\s*{([^{}]*)}$", text, re.MULTILINE)]
    coefficients = np.array(rows).reshape(n_species, n_species, n_radial, -1)
    return coefficients, numbers["scaling"], numbers["min_dist"], numbers["max_dist"]
