"""What was computed for a structure is kept, least recently used last, up to a number of bytes."""

import hashlib
import numbers
import threading
from collections import OrderedDict

import numpy as np

__all__ = ["clear_cache", "set_cache_limit", "structure_hash"]

DEFAULT_LIMIT = 2**30


class Cache:
    """Least-recently-used cache limited by the bytes it holds; safe to use from several threads."""

    def __init__(self, limit=DEFAULT_LIMIT):
        self.limit = limit
        self.nbytes = 0
        self._entries = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self):
        return len(self._entries)

    def get(self, key):
        """The value kept under `key`, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key, value, nbytes):
        """Keep `value`, which takes `nbytes`; what was not used for longest makes room."""
        with self._lock:
            self._drop(key)
            if nbytes <= self.limit:
                self._entries[key] = (value, nbytes)
                self.nbytes += nbytes
                self._shrink()

    def clear(self):
        with self._lock:
            self._entries.clear()
            self.nbytes = 0

    def set_limit(self, limit):
        with self._lock:
            self.limit = limit
            self._shrink()

    def _drop(self, key):
        if key in self._entries:
            self.nbytes -= self._entries.pop(key)[1]

    def _shrink(self):
        while self.nbytes > self.limit:
            _, (_, nbytes) = self._entries.popitem(last=False)
            self.nbytes -= nbytes


CACHE = Cache()


def set_cache_limit(limit):
    """Set how many bytes of features and design-matrix rows mlfeat keeps in memory.

    Features of a structure are kept under the descriptor's parameters and the structure's atomic numbers, positions,
    cell and pbc, so that a grid search or a cross-validation computes them once. The limit is 1 GiB unless it is set;
    each process keeps its own. What was not used for longest makes room.

    Parameters
    ----------
    limit : int
        Bytes; 0 keeps nothing, ``math.inf`` everything.
    """
    if not isinstance(limit, numbers.Real) or not limit >= 0:
        raise ValueError(f"limit={limit!r}: must be a number of bytes, 0 to keep nothing")
    CACHE.set_limit(limit)


def clear_cache():
    """Forget all features and rows that are kept."""
    CACHE.clear()


def structure_hash(numbers, positions, cell, pbc):
    """Digest of what a structure's features depend on."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.asarray(numbers, dtype=np.int64).tobytes())
    for array in (positions, cell):
        digest.update(np.asarray(array, dtype=float).tobytes())
    digest.update(np.asarray(pbc, dtype=bool).tobytes())
    return digest.digest()
