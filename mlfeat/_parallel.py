"""Threads over ranges of independent work."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral

from mlfeat._cluster import count_threads

__all__ = ["run_chunks"]

_CHUNKS_PER_THREAD = 4  # so that a thread whose part is cheap takes over from a slower one
_inside = threading.local()
_pools = {}
_pools_lock = threading.Lock()


def run_chunks(function, n, n_threads=None, align=16):
    """Call ``function(start, stop)`` on ranges that cover ``range(n)``, in several threads.

    Parameters
    ----------
    function : callable
        Called as ``function(start, stop)``. Each range must own its output; what takes long should release the GIL.
    n : int
        Length of the whole range.
    n_threads : int or None, default=None
        Number of threads, as scikit-learn understands ``n_jobs``: None is 1, -1 all processors; of this machine,
        also where joblib's backend is a cluster. A call from inside another `run_chunks` runs on the thread it is on.
    align : int, default=16
        Ranges start at multiples of `align`, so that work done in batches of that size falls into the same batches,
        with the same rounding, for any number of threads.
    """
    if n_threads is not None and (not isinstance(n_threads, Integral) or n_threads == 0):
        raise ValueError(f"{n_threads!r} threads: n_jobs must be None, a positive number, or -1 for all processors")
    if n <= 0:
        return
    n_blocks = -(-n // align)
    if n_blocks == 1 or n_threads == 1 or getattr(_inside, "active", False):
        function(0, n)
        return
    n_threads = min(count_threads(n_threads), n_blocks)
    if n_threads == 1:
        function(0, n)
        return
    n_chunks = min(n_blocks, _CHUNKS_PER_THREAD * n_threads)
    edges = [min(n, align * (n_blocks * c // n_chunks)) for c in range(n_chunks + 1)]
    list(_pool(n_threads).map(function, edges[:-1], edges[1:]))


def _pool(n_threads):
    with _pools_lock:
        if n_threads not in _pools:
            _pools[n_threads] = ThreadPoolExecutor(n_threads, "mlfeat", initializer=_enter)
        return _pools[n_threads]


def _enter():
    _inside.active = True


def _forget_pools():
    # A forked child inherits the pools but not their threads.
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
