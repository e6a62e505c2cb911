"""Wrong uses of a Bispectrum end in an error, never in numbers that belong to nothing."""

import pickle

import numpy as np
import pytest
from ase.build import bulk
from sklearn.exceptions import NotFittedError

from mlfeat import Bispectrum, clear_cache
from mlfeat.neighbors import NeighborPairs


@pytest.fixture
def structures():
    return [bulk("Cu", cubic=True) * (2, 1, 1)]


@pytest.mark.parametrize("change", [{"twojmax": 8}, {"rfac0": 0.8}, {"cutoff": 3.0}, {"weights": 0.5}])
@pytest.mark.parametrize("pickled", [False, True])
def test_parameters_set_after_fit_need_another_fit(structures, change, pickled):
    descriptor = Bispectrum(4.0, 4).fit(structures)
    descriptor.transform(structures)
    if pickled:
        descriptor = pickle.loads(pickle.dumps(descriptor))
    descriptor.set_params(**change)
    with pytest.raises(NotFittedError, match="call fit again"):
        descriptor.transform(structures)
    found = descriptor.fit(structures).transform(structures)[0].values
    clear_cache()
    expected = Bispectrum(**{"cutoff": 4.0, "twojmax": 4, **change}).fit_transform(structures)[0].values
    np.testing.assert_array_equal(found, expected)


def test_a_fitted_descriptor_takes_another_number_of_threads(structures):
    descriptor = Bispectrum(4.0, 4).fit(structures)
    expected = descriptor.transform(structures)[0].values
    clear_cache()
    np.testing.assert_array_equal(descriptor.set_params(n_jobs=2).transform(structures)[0].values, expected)


@pytest.mark.parametrize("shape", [(8, 3), (2, 14), (9, 14), (8, 15)])
def test_cotangents_of_a_wrong_shape_are_refused(structures, shape):
    descriptor = Bispectrum(4.0, 4).fit(structures)
    pairs = NeighborPairs.from_atoms(structures[0], 4.0)
    with pytest.raises(ValueError, match="one for each atom and feature"):
        descriptor.vjp(pairs, np.ones(shape))


def test_a_neighbor_list_that_is_too_short_is_refused(structures):
    descriptor = Bispectrum(4.0, 4).fit(structures)
    with pytest.raises(ValueError, match="reaches 3.5 Å, the cutoff is 4 Å"):
        descriptor.values(NeighborPairs.from_atoms(structures[0], 3.5))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bzeroflag": "no"}, "bzeroflag='no': must be True or False"),
        ({"chemflag": 2}, "chemflag=2: must be True or False"),
        ({"twojmax": True}, "twojmax=True: must be an integer"),
        ({"cutoff": True}, "cutoff=True: must be a positive number"),
        ({"n_jobs": 0}, "0 threads: n_jobs must be"),
        ({"n_jobs": "a"}, "'a' threads: n_jobs must be"),
    ],
)
def test_parameters_of_a_wrong_kind_are_refused(structures, parameters, message):
    with pytest.raises(ValueError, match=message):
        Bispectrum(**parameters).fit_transform(structures)


def test_pullbacks_that_live_side_by_side_keep_their_own_density(structures):
    descriptor = Bispectrum(4.0, 4).fit(structures)
    rng = np.random.default_rng(0)
    pairs = [NeighborPairs.from_atoms(structures[0], 4.0)]
    pairs += [pairs[0].moved(pairs[0].positions + rng.uniform(-0.1, 0.1, (8, 3))) for _ in range(4)]
    cotangents = rng.normal(size=(8, 14))
    expected = [descriptor.vjp(p, cotangents) for p in pairs]
    pullbacks = [descriptor.values_and_pullback(p)[1] for p in pairs]
    del pullbacks[1]
    pullbacks.append(descriptor.values_and_pullback(pairs[1])[1])
    for pullback, k in zip(pullbacks, (0, 2, 3, 4, 1), strict=True):
        np.testing.assert_array_equal(pullback(cotangents), expected[k])
