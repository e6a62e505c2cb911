"""Times of competing tasks, taken in turn."""

import time
from typing import NamedTuple

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
