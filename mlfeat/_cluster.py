"""Where joblib's workers are: threads of this process, other processes, or a Dask cluster on other machines."""

from contextlib import nullcontext

from joblib import Parallel, effective_n_jobs, parallel_config
from joblib.parallel import BACKENDS, get_active_backend

__all__ = ["Parcel", "at_home", "count_threads", "count_workers", "make_parallel", "on_cluster"]


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


def make_parallel(n_jobs, prefer="threads", **options):
    """Make a Parallel on joblib's active backend: as preferred if none was chosen, threads if Dask's has no part in it.

    Tasks are to be large and few: they are not joined, so that no worker stands idle.
    """
    stays = _dask_is_active() and not on_cluster(n_jobs)
    where = {"require": "sharedmem"} if stays else {"prefer": prefer}
    return Parallel(n_jobs=n_jobs, batch_size=1, **where, **options)


def at_home():
    """Context for a task: what it calls, scikit-learn's cross-validation too, sends no tasks to a cluster."""
    return parallel_config("threading", n_jobs=1) if _dask_is_active() else nullcontext()


class Parcel:
    """What tasks on a cluster need, as an argument of theirs.

    Dask's backend for joblib sends arguments that are large straight to the workers, and once if several tasks have the
    same; all others go through the scheduler with each task. Tasks must not change the content.

    Parameters
    ----------
    *content : object
        What can be pickled; anything where no cluster is active.
    """

    def __init__(self, *content):
        self.content, self.n_bytes = content, 0
        if _dask_is_active():
            import cloudpickle  # Dask needs it, so it is there

            # Here, as the backend would wait forever for a task with an argument that cannot be pickled.
            self.n_bytes = len(cloudpickle.dumps(content))

    def __sizeof__(self):
        return object.__sizeof__(self) + self.n_bytes


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
