import threading

import numpy as np
import pytest
from joblib import parallel_config

from mlfeat._parallel import run_chunks


def record(n, n_threads, align=16):
    """Ranges of a call, sorted, and the names of the threads they ran on."""
    ranges, threads = [], set()

    def work(start, stop):
        ranges.append((start, stop))
        threads.add(threading.current_thread().name)

    run_chunks(work, n, n_threads, align)
    return sorted(ranges), threads


@pytest.mark.parametrize("n_threads", [None, 1, 2, 3, 8, -1])
@pytest.mark.parametrize("align", [1, 16])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100, 1000])
def test_ranges_cover_everything_once_and_are_aligned(n, n_threads, align):
    ranges, _ = record(n, n_threads, align)
    covered = [k for start, stop in ranges for k in range(start, stop)]
    assert covered == list(range(n))
    assert all(start % align == 0 and start < stop for start, stop in ranges)


def test_none_is_the_calling_thread():
    assert record(1000, None) == ([(0, 1000)], {threading.current_thread().name})


def test_none_follows_joblibs_configuration():
    with parallel_config("threading", n_jobs=2):
        ranges, _ = record(1000, None)
    assert len(ranges) > 1


def test_threads_really_run_at_once():
    barrier = threading.Barrier(2, timeout=20)
    run_chunks(lambda start, stop: barrier.wait(), 2, 2, align=1)


def test_results_do_not_depend_on_the_number_of_threads():
    x = np.random.default_rng(0).normal(size=(1000, 7))

    def total(n_threads):
        out = np.empty(len(x))

        def work(start, stop):
            out[start:stop] = np.exp(x[start:stop]).sum(axis=1)

        run_chunks(work, len(x), n_threads)
        return out

    for n_threads in (2, 3, 5):
        np.testing.assert_array_equal(total(n_threads), total(1))


def test_calls_inside_a_thread_stay_on_it():
    inner = []

    def work(start, stop):
        run_chunks(lambda a, b: inner.append((a, b)), 64, 2)

    run_chunks(work, 4, 2, align=1)
    assert inner == 4 * [(0, 64)]


def test_the_first_error_is_raised():
    def work(start, stop):
        if start >= 4:
            raise ValueError(f"at {start}")

    with pytest.raises(ValueError, match="at 4"):
        run_chunks(work, 8, 2, align=1)
