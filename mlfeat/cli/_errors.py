"""What can go wrong, in one line."""

import sys
from contextlib import contextmanager


class UsageError(Exception):
    """The user's input is wrong: exit code 2. The message says what, where and the remedy."""


def one_line(error):
    """Message of an exception on one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


@contextmanager
def bad_input(*where):
    """Turn errors about input into `UsageError`, led by the place where it came from."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        reason = one_line(error)
        if isinstance(error, OSError) and error.strerror:
            where, reason = where or (error.filename,), error.strerror
        raise UsageError(": ".join([*map(str, where), reason])) from error


def show_warning(message, category, filename, lineno, file=None, line=None):
    """Stands in for `warnings.showwarning`."""
    tell(message)


def tell(warning):
    """A warning on one line of stderr."""
    print(f"mlfeat: warning: {one_line(warning)}", file=sys.stderr)
