"""Times of competing tasks, taken in turn, and of the functions that a task calls."""

import time
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from unittest.mock import patch

import numpy as np


class Times(NamedTuple):
    """Seconds per unit of a task: one entry a repeat."""

    wall: list
    cpu: list

    @property
    def median(self):
        """Median wall time."""
        return float(np.median(self.wall))

    def summary(self, scale=1.0):
        """Numbers for a report, multiplied by `scale`."""
        wall, cpu = scale * np.array(self.wall), scale * np.array(self.cpu)
        return {
            "median": float(np.median(wall)),
            "lowest": float(wall.min()),
            "highest": float(wall.max()),
            "cpu_median": float(np.median(cpu)),
            "repeats": len(wall),
        }


def interleave(tasks, repeats):
    """Time tasks in turn, so that whatever else the machine does falls on all of them.

    Parameters
    ----------
    tasks : dict of str to (callable, int)
        A function and how many units of work one call of it does.
    repeats : int
        Calls of each that are timed, after one that is not.

    Returns
    -------
    dict of str to Times
    """
    for function, _ in tasks.values():
        function()
    times = {name: Times([], []) for name in tasks}
    for _ in range(repeats):
        for name, (function, units) in tasks.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            times[name].wall.append((time.perf_counter() - wall) / units)
            times[name].cpu.append((time.process_time() - cpu) / units)
    return times


class Stopwatch:
    """Seconds in some functions, without those in others of them that they call, and numbers of calls."""

    def __init__(self, names, clock=time.perf_counter):
        self.seconds, self.calls = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
        self._clock, self._inner = clock, []  # seconds in functions that each open call called

    def watch(self, name, function):
        """The function, with its time taken."""

        def watched(*args, **kwargs):
            self._inner.append(0.0)
            began = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                took = self._clock() - began
                self.seconds[name] += took - self._inner.pop()
                self.calls[name] += 1
                if self._inner:
                    self._inner[-1] += took

        return watched


@contextmanager
def stopwatch(watched, clock=time.perf_counter):
    """Watch functions.

    Parameters
    ----------
    watched : dict of str to (object, str)
        What each function is called in the report: its module or class, and its name there.
    clock : callable
        Gives seconds.

    Yields
    ------
    Stopwatch
    """
    watch = Stopwatch(watched, clock)
    with ExitStack() as stack:
        for name, (owner, attribute) in watched.items():
            stack.enter_context(patch.object(owner, attribute, watch.watch(name, getattr(owner, attribute))))
        yield watch
