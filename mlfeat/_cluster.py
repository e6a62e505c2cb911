"""Where joblib's workers are: threads of this process, other processes, or a Dask cluster on other machines."""

import pickle

import numpy as np
from joblib import Parallel, effective_n_jobs, parallel_config
from joblib.parallel import BACKENDS, get_active_backend

__all__ = ["count_threads", "count_workers", "make_parallel", "on_cluster", "pack", "unpack"]


def on_cluster(n_jobs):
    """Whether work is to be sent to a Dask cluster: not with n_jobs=1, and not by what runs there already.

    A task on a cluster, as a fit of a grid search, works in its own process, where the features that it needs are
    cached; there are other tasks for the other workers.
    """
    return n_jobs != 1 and _dask_is_active() and not _is_task()


def count_threads(n_jobs):
    """Threads of this process that `n_jobs` stands for; Dask's backend counts the processors of all its workers."""
    if n_jobs != 1 and _dask_is_active():
        with parallel_config("threading", n_jobs=1):
            return effective_n_jobs(n_jobs)
    return effective_n_jobs(n_jobs)


def count_workers(n_jobs):
    """How many tasks of `make_parallel` run at a time."""
    return max(1, effective_n_jobs(n_jobs) if on_cluster(n_jobs) else count_threads(n_jobs))


def make_parallel(n_jobs):
    """Make a Parallel on joblib's active backend: threads if none was chosen, or if Dask's is not to be used."""
    at_home = _dask_is_active() and not on_cluster(n_jobs)
    where = {"require": "sharedmem"} if at_home else {"prefer": "threads"}
    # Tasks are large and few: if joblib joined some, workers would stand idle.
    return Parallel(n_jobs=n_jobs, batch_size=1, **where)


def pack(*content):
    """Pickle what a task on a cluster needs, to an array of bytes.

    Dask's backend for joblib sends arrays straight to the workers, and once if several tasks have the same one; all
    other arguments go through the scheduler with each task.
    """
    import cloudpickle  # Dask needs it, so it is there

    return np.frombuffer(cloudpickle.dumps(content), dtype=np.uint8)


def unpack(packed):
    """The content of an array that `pack` made."""
    return pickle.loads(packed)


def _dask_is_active():
    backend = BACKENDS.get("dask")  # registered when it is first asked for
    return backend is not None and isinstance(get_active_backend()[0], backend)


def _is_task():
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True
