"""Estimators that stay as they were when fitting fails."""

from contextlib import contextmanager


@contextmanager
def as_it_was_if_this_fails(estimator):
    """Put back an estimator's attributes if what is done inside raises."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise
