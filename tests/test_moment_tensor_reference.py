"""Contractions of moments with published tables against motep: values, and derivatives by positions and strain.

All agree to 1e-9 of each column's largest number (a column that vanishes by symmetry, to as much of a thousandth of
the largest of all).
"""

import numpy as np
import pytest
from _moment_twin import read_radial, read_tables
from ase import Atoms

from mlfeat import MomentTensor
from mlfeat.neighbors import NeighborPairs
from mlfeat.testing import assert_close

RELATIVE = 1e-9
CASES = ["Li_level16_published", "MoNbTaW_published", "Mo_level20_published", "Ni-Mo_level08"]
CASES += ["Si_level08", "Si_level20_motep", "Si_level24_published"]


@pytest.fixture(params=CASES)
def case(request, shared):
    """Reference arrays, and the descriptor with the same tables and coefficients."""
    folder = shared / "reference" / "descriptors"
    with np.load(folder / f"mtp_{request.param}.npz") as data:
        arrays = {key: data[key] for key in data}
    name = str(arrays["potential"][()])
    path = folder / name if name.startswith("motep") else shared / "models" / name
    coefficients, scaling, min_dist, cutoff = read_radial(path)
    species = arrays["species_order"].tolist()
    descriptor = MomentTensor(
        cutoff,
        min_dist=min_dist,
        n_polynomials=coefficients.shape[-1],
        radial_coefficients=coefficients,
        scaling=scaling,
        basis=read_tables(path),
        species=species,
    )
    chain = Atoms(species, [[3.0 * k, 0, 0] for k in range(len(species))])
    return arrays, descriptor.fit([chain])


def structures_of(arrays):
    for letter in "bcde":
        if f"{letter}_basis" in arrays:
            numbers, positions, cell, pbc = (arrays[f"{letter}_{k}"] for k in ("numbers", "positions", "cell", "pbc"))
            yield letter, Atoms(numbers, positions=positions, cell=cell, pbc=pbc)


def test_published_tables_give_the_features_of_motep(case):
    arrays, descriptor = case
    for letter, atoms in structures_of(arrays):
        pairs = NeighborPairs.from_atoms(atoms, descriptor.cutoff_)
        assert_close(descriptor.values(pairs), arrays[f"{letter}_basis"], letter, rtol=RELATIVE)


def test_published_tables_give_the_derivatives_of_motep(case):
    arrays, descriptor = case
    compared = 0
    for letter, atoms in structures_of(arrays):
        rows = descriptor.rows(NeighborPairs.from_atoms(atoms, descriptor.cutoff_))
        n_features = descriptor.n_features_out_
        rows = rows.reshape(len(rows), -1, n_features).sum(axis=1)
        if f"{letter}_dbasis_sum_dr" in arrays:
            expected = arrays[f"{letter}_dbasis_sum_dr"].reshape(-1, n_features)
            assert_close(-rows[1:-6], expected, f"{letter}, forces", rtol=RELATIVE)
            compared += 1
        if f"{letter}_dbasis_sum_dstrain_over_V" in arrays:
            tensor = arrays[f"{letter}_dbasis_sum_dstrain_over_V"]
            expected = np.stack([tensor[x, y] for x, y in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
            assert_close(rows[-6:], expected, f"{letter}, stress", rtol=RELATIVE)
            compared += 1
    assert compared
