import threading

import numpy as np
import pytest

import mlfeat
from mlfeat._cache import CACHE, DEFAULT_LIMIT, Cache, structure_hash


@pytest.fixture
def restore_limit():
    yield
    mlfeat.set_cache_limit(DEFAULT_LIMIT)


def test_what_was_used_last_stays():
    cache = Cache(limit=30)
    for key in "abc":
        cache.put(key, key.upper(), 10)
    assert cache.get("a") == "A"
    cache.put("d", "D", 10)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert (len(cache), cache.nbytes) == (3, 30)


def test_a_large_value_moves_out_many_and_too_large_a_one_none():
    cache = Cache(limit=30)
    for key in "abc":
        cache.put(key, key, 10)
    cache.put("huge", 1, 31)
    assert len(cache) == 3
    cache.put("large", 1, 25)
    assert (len(cache), cache.nbytes) == (1, 25)


def test_a_key_put_again_counts_once():
    cache = Cache(limit=30)
    cache.put("a", 1, 10)
    cache.put("a", 2, 20)
    assert (cache.get("a"), len(cache), cache.nbytes) == (2, 1, 20)


def test_limit_zero_keeps_nothing():
    cache = Cache(limit=0)
    cache.put("a", 1, 1)
    assert cache.get("a") is None


def test_many_threads_may_use_it():
    cache = Cache(limit=500)

    def work(seed):
        rng = np.random.default_rng(seed)
        for key in rng.integers(0, 100, 2000).tolist():
            if cache.get(key) not in (None, key):
                raise AssertionError(key)
            cache.put(key, key, int(rng.integers(1, 20)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.nbytes == sum(nbytes for _, nbytes in cache._entries.values()) <= 500


@pytest.mark.usefixtures("restore_limit")
def test_public_limit_and_clear():
    CACHE.put("a", 1, 100)
    mlfeat.clear_cache()
    assert len(CACHE) == CACHE.nbytes == 0
    CACHE.put("a", 1, 100)
    mlfeat.set_cache_limit(99)
    assert len(CACHE) == 0


@pytest.mark.parametrize("limit", [-1, np.nan, "1 GB", None])
def test_limit_must_be_a_number_of_bytes(limit):
    with pytest.raises(ValueError, match="number of bytes"):
        mlfeat.set_cache_limit(limit)


def test_hash_depends_on_all_that_features_depend_on():
    structure = {
        "numbers": np.array([29, 79]),
        "positions": np.arange(6.0).reshape(2, 3),
        "cell": np.eye(3),
        "pbc": np.array([True, True, False]),
    }
    digest = structure_hash(**structure)
    assert structure_hash(**{name: array.copy() for name, array in structure.items()}) == digest
    assert structure_hash(**{**structure, "numbers": structure["numbers"].astype(np.int32)}) == digest
    for name, array in structure.items():
        other = ~array if array.dtype == bool else array + 1
        assert structure_hash(**{**structure, name: other}) != digest
