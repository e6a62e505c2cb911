"""An update of the Kalman filter, beside full storage with dsymm and dsyrk, and packed with dspmv and dspr.

``python benchmarks/kalman.py`` prints microseconds of an update with m measurements of n parameters, and where
they go. Rates count 3 n² m operations (P Hᵀ and the update of P), and for one measurement the 4 n² bytes of half a
matrix, read once.
"""

import argparse

import numpy as np
from scipy.linalg import blas, lapack, solve_triangular
from threadpoolctl import threadpool_limits
from timing import interleave

from mlfeat.potentials._kalman import FadingMemory, KalmanFilter
from mlfeat.potentials._packed import PENDING, PackedMatrix

PARAMETERS = (929, 1297, 3457)  # networks of 40, 64 and 64 features with hidden layers of 16, 16 and 32
MEASUREMENTS = (1, 16, 64, 256)
MICRO = 1e6
HEADER = (
    "   n    m   update  (product  subtract)     full   packed    rate\n"
    "                µs        µs        µs       µs       µs"
)


class FullFilter:
    """The same update of a full matrix."""

    def __init__(self, size):
        self.matrix = np.eye(size, order="F")

    def update(self, rows, errors):
        """Change of the parameters."""
        product = blas.dsymm(1.0, self.matrix, rows, side=1, lower=1)
        innovation = np.eye(len(rows), order="F") + product @ rows.T
        triangle = lapack.dpotrf(innovation, lower=1, overwrite_a=1)[0]
        factor = blas.dtrsm(1.0, triangle, product, lower=1, overwrite_b=1)
        blas.dsyrk(-1.0, factor, 1.0, self.matrix, trans=1, lower=1, overwrite_c=1)
        return solve_triangular(triangle, errors, lower=True, check_finite=False) @ factor


class PackedFilter:
    """One measurement, the matrix packed by columns."""

    def __init__(self, size):
        self.size = size
        self.packed = np.eye(size)[np.triu_indices(size)]

    def update(self, rows, errors):
        """Change of the parameters."""
        product = blas.dspmv(self.size, 1.0, self.packed, rows[0])
        innovation = 1.0 + product @ rows[0]
        self.packed = blas.dspr(self.size, -1 / innovation, product, self.packed, overwrite_ap=1)
        return product * (errors[0] / innovation)


def measure(options):
    """Each number of parameters and of measurements, the forms in turn."""
    results = []
    for n in PARAMETERS:
        for m in MEASUREMENTS:
            results.append(_measure(n, m, options))
            print(row(results[-1]), flush=True)
    return results


def _measure(n, m, options):
    rng = np.random.default_rng(0)
    rows, errors = np.asfortranarray(rng.normal(size=(m, n))), rng.normal(size=m)
    kalman_filter = KalmanFilter(n, schedule=FadingMemory(1.0, 1.0))
    matrix = PackedMatrix(n, 1.0)
    small = 1e-9 * rows
    units = max(1, PENDING // m)  # an update of few measurements leaves work for later ones
    calls = {
        "update": lambda: kalman_filter.update(rows, errors),
        "product": lambda: matrix.product(rows),
        "subtract": lambda: matrix.subtract(small),
    }
    others = [("full", FullFilter)] + [("packed", PackedFilter)] * (m == 1)
    for name, form in others:
        calls[name] = lambda other=form(n): other.update(rows, errors)
    found = interleave({name: (_repeated(call, units), units) for name, call in calls.items()}, options.repeats)
    time = found["update"].median
    report = {"n_parameters": n, "n_measurements": m, "gflops": 3e-9 * n**2 * m / time, "gbytes": 4e-9 * n**2 / time}
    return report | {name: times.summary(MICRO) for name, times in found.items()}


def _repeated(call, times):
    def task():
        for _ in range(times):
            call()

    return task


def row(report):
    """A line of the table."""
    n, m = report["n_parameters"], report["n_measurements"]
    times = [report[name]["median"] for name in ("update", "product", "subtract", "full")]
    packed = f"{report['packed']['median']:9.0f}" if "packed" in report else f"{'-':>9s}"
    rate = f"{report['gbytes']:5.1f} GB/s" if m == 1 else f"{report['gflops']:5.1f} GFLOP/s"
    return f"{n:4d} {m:4d} {times[0]:8.0f}  {times[1]:8.0f} {times[2]:9.0f} {times[3]:9.0f}{packed} {rate}"


def dgemm_rate(repeats, size=1000):
    """GFLOP/s of a matrix product on the same core."""
    one = np.ones((size, size), order="F")
    return 2e-9 * size**3 / interleave({"dgemm": (lambda: one @ one, 1)}, repeats)["dgemm"].median


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with threadpool_limits(options.threads, "blas"):
        print(f"dgemm {dgemm_rate(options.repeats):.1f} GFLOP/s\n{HEADER}")
        measure(options)


if __name__ == "__main__":
    main()
