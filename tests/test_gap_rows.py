"""Rows of functions of the features: against explicit Jacobians, the rows of the features, and finite differences."""

import numpy as np
import pytest
from _training import SPECIES, make_structures
from _unit_toy import UnitShells

from mlfeat import Bispectrum, QuadraticExpansion, features
from mlfeat.features import Projection
from mlfeat.testing import awkward_structures
from mlfeat.testing._descriptor import strain_derivative
from mlfeat.testing._differences import gradient

STRUCTURES = awkward_structures(SPECIES)


def feature_sets():
    toy = UnitShells(species=SPECIES).fit_transform(list(STRUCTURES.values()))
    bispectrum = Bispectrum(twojmax=2, species=SPECIES).fit_transform(list(STRUCTURES.values()))
    return {"toy": toy, "bispectrum": bispectrum, "steps": QuadraticExpansion().fit_transform(bispectrum)}


def random_projections(item, rng, n_points=(3, 5)):
    """Some functions of each species' atoms, of a part of the features for the first."""
    n = item.n_features
    made = []
    for s, m in enumerate(n_points):
        start = 1 if s == 0 else 0
        slopes = rng.normal(size=(item.n_atoms, m)) * (item.species == s)[:, None]
        made.append(Projection(rng.normal(size=(m, n - start)), slopes, start, n, s))
    return made


def dense(item, projections):
    """The same rows by the definition, pair by pair."""
    pairs = item.pairs
    columns = []
    for points, slopes, start, stop, *_ in projections:
        along = np.einsum("pxf,sf->psx", item.jacobian()[:, :, start:stop], points)
        gradients = slopes[pairs.first][:, :, None] * along
        columns += [
            np.concatenate([pairs.forces(g).ravel(), pairs.stress(g)])
            for g in np.ascontiguousarray(gradients.transpose(1, 0, 2))
        ]
    return np.array(columns).T


@pytest.mark.parametrize("kind", ["toy", "bispectrum", "steps"])
@pytest.mark.parametrize("number", range(len(STRUCTURES)), ids=list(STRUCTURES))
def test_rows_equal_those_of_explicit_jacobians(kind, number):
    item = feature_sets()[kind][number]
    projections = random_projections(item, np.random.default_rng(number))
    expected = dense(item, projections)
    found = item.projected_rows(projections)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.nanmax(np.abs(expected), initial=1.0))


def test_rows_of_the_features_themselves():
    item = feature_sets()["toy"][0]
    n = item.n_features
    identity = [Projection(np.eye(n), np.ones((item.n_atoms, n)), 0, n, s) for s in range(2)]
    np.testing.assert_allclose(item.projected_rows(identity), item.rows()[1:], rtol=1e-12, atol=1e-13)
    of_all = item.projected_rows([Projection(np.eye(n), np.ones((item.n_atoms, n)), 0, n, None)])
    np.testing.assert_allclose(of_all, item.rows()[1:].reshape(-1, 2, n).sum(axis=1), rtol=1e-12, atol=1e-13)


def test_basis_multiplies_the_points():
    item = feature_sets()["toy"][0]
    rng = np.random.default_rng(0)
    points, slopes, basis = rng.normal(size=(6, 2)), rng.normal(size=(item.n_atoms, 6)), rng.normal(size=(4, 2))
    found = item.projected_rows([Projection(points, slopes, 1, 5, basis=basis)])
    expected = item.projected_rows([Projection(points @ basis.T, slopes, 1, 5)])
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def test_small_blocks_and_tiles_change_rounding_only(monkeypatch):
    item = UnitShells(species=SPECIES).fit_transform([make_structures(1)[0] * (2, 2, 2)])[0]
    projections = random_projections(item, np.random.default_rng(0), (9, 7))
    expected = item.projected_rows(projections)
    monkeypatch.setattr(features, "TILE", (5, 2))
    monkeypatch.setattr(features, "BLOCK_BYTES", 1)
    monkeypatch.setattr(features.center_blocks, "__defaults__", (1,))
    np.testing.assert_allclose(item.projected_rows(projections), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["triclinic", "tiny", "one_atom", "cluster"])
def test_rows_are_derivatives_of_the_sums(name):
    """Of Σ_i (B_i·P)^ζ, by central differences of order four in every coordinate and strain."""
    atoms, zeta = STRUCTURES[name], 3
    descriptor = UnitShells(species=SPECIES).fit([atoms])
    point = np.random.default_rng(1).normal(size=5)

    def energy(atoms):
        return ((descriptor.transform([atoms])[0].values @ point) ** zeta).sum()

    def at(positions):
        moved = atoms.copy()
        moved.positions = positions
        return energy(moved)

    item = descriptor.transform([atoms])[0]
    slopes = zeta * (item.values @ point[:, None]) ** (zeta - 1)
    rows = item.projected_rows([Projection(point[None], slopes, 0, 5, None)])[:, 0]
    slope, error = gradient(at, atoms.positions)
    assert np.all(np.abs(rows[:-6].reshape(-1, 3) + slope) <= error + 1e-9)
    if atoms.cell.rank == 3:
        slope, error = strain_derivative(energy, atoms)
        assert np.all(np.abs(rows[-6:] * atoms.get_volume() - slope) <= error + 1e-9)
