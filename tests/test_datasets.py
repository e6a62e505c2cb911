"""Structures made on the spot, and their split by group."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list

from mlfeat import datasets
from mlfeat.datasets import EMT_METALS, make_emt_structures, split_by_group


@pytest.fixture(scope="module")
def copper():
    return make_emt_structures("Cu")


def test_groups_are_those_of_the_documentation(copper):
    groups = Counter(atoms.info["group"] for atoms in copper)
    assert groups == {"equilibrium": 12, "strained": 40, "vacancy": 24, "surface": 18, "hot": 56}


def test_labels_are_those_of_emt(copper):
    for atoms in copper[::25]:
        again = atoms.copy()
        again.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(again.get_potential_energy())
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-12)
        np.testing.assert_allclose(atoms.get_stress(), again.get_stress(), atol=1e-12)


def test_equilibrium_cells_lie_around_the_minimum(copper):
    energies = [atoms.get_potential_energy() for atoms in copper[:12]]
    assert 0 < np.argmin(energies) < 11


def test_atoms_keep_their_distance(copper):
    for atoms in copper:
        assert neighbor_list("d", atoms, 3.0).min() > 1.9


def test_seed_decides_the_structures(copper):
    def first(seed):
        rng = np.random.RandomState(seed)
        return [atoms.positions for atoms in islice(datasets._generate("Cu", rng), 56)]

    for positions, atoms in zip(first(0), copper, strict=False):  # with some snapshots of dynamics
        np.testing.assert_array_equal(positions, atoms.positions)
    assert not np.allclose(first(1)[-1], copper[55].positions)


@pytest.mark.parametrize("element", ["Fe", "H", "", "cu"])
def test_unknown_element_is_refused_with_the_choice(element):
    with pytest.raises(ValueError, match=r"choose one of the fcc metals Al, Ni, Cu"):
        make_emt_structures(element)


def test_emt_knows_every_metal():
    for element in EMT_METALS:
        atoms = bulk(element)
        atoms.calc = EMT()
        assert np.isfinite(atoms.get_potential_energy())


def test_split_takes_the_same_share_of_every_group(copper):
    train, test = split_by_group(copper, 0.25)
    assert len(train) + len(test) == len(copper)
    assert not {id(atoms) for atoms in train} & {id(atoms) for atoms in test}
    groups = Counter(atoms.info["group"] for atoms in test)
    assert groups == {"equilibrium": 3, "strained": 10, "vacancy": 6, "surface": 4, "hot": 14}


def test_split_follows_its_seed(copper):
    first, again, other = (split_by_group(copper, random_state=seed)[1] for seed in (0, 0, 1))
    assert [id(atoms) for atoms in first] == [id(atoms) for atoms in again]
    assert [id(atoms) for atoms in first] != [id(atoms) for atoms in other]


def test_small_groups_are_split_sensibly():
    structures = [bulk("Cu") for _ in range(4)]
    for atoms, group in zip(structures, ["single", "pair", "pair", None], strict=True):
        if group:
            atoms.info["group"] = group
    train, test = split_by_group(structures, 0.01)
    assert [atoms.info.get("group") for atoms in test] == ["pair"]
    assert len(train) == 3


@pytest.mark.parametrize("test_size", [0, 1, -0.2, 3, float("nan")])
def test_impossible_share_is_refused(test_size):
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_by_group([bulk("Cu")] * 3, test_size)


def test_nothing_to_split_is_refused():
    with pytest.raises(ValueError, match="give a test set of its own"):
        split_by_group([bulk("Cu")])
