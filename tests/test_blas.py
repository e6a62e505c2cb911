"""Operations of BLAS and LAPACK in place: what they give, and that other shapes are refused."""

import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mlfeat._ext import blas

M, N, K = 5, 7, 3


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def fortran(rng, *shape):
    return np.asfortranarray(rng.normal(size=shape))


def triangle(rng, n):
    """Lower triangle, well conditioned, and zeros above it."""
    return np.asfortranarray(np.tril(rng.normal(size=(n, n))) + 3 * np.eye(n))


def symmetric(rng, n):
    """Symmetric matrix, and one with its lower triangle and NaN above it."""
    matrix = rng.normal(size=(n, n))
    matrix += matrix.T
    return matrix, np.asfortranarray(np.where(np.tri(n, dtype=bool), matrix, np.nan))


@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_gemm(rng, trans_a, trans_b):
    a, b, c = fortran(rng, M, K), fortran(rng, K, N), fortran(rng, M, N)
    expected = c - 0.5 * a @ b
    a, b = (np.asfortranarray(x.T if flip else x) for x, flip in ((a, trans_a), (b, trans_b)))
    blas.gemm(-0.5, a, b, c, trans_a=trans_a, trans_b=trans_b)
    np.testing.assert_allclose(c, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("trans", [False, True])
def test_gemv(rng, trans):
    a, x, y = fortran(rng, M, N), rng.normal(size=M if trans else N), rng.normal(size=N if trans else M)
    expected = y + (a.T if trans else a) @ x
    blas.gemv(a, x, y, trans=trans)
    np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-14)


def test_symmetric_products_read_the_lower_triangle(rng):
    full, lower = symmetric(rng, N)
    b, c, x, y = fortran(rng, M, N), fortran(rng, M, N), rng.normal(size=N), rng.normal(size=N)
    expected = c + b @ full, y + full @ x
    blas.symm(lower, b, c)
    blas.symv(lower, x, y)
    np.testing.assert_allclose(c, expected[0], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(y, expected[1], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("trans", [False, True])
def test_syrk_writes_the_lower_triangle(rng, trans):
    a, (full, c) = fortran(rng, *((K, N) if trans else (N, K))), symmetric(rng, N)
    expected = full - 0.5 * (a.T @ a if trans else a @ a.T)
    blas.syrk(-0.5, a, c, trans=trans)
    np.testing.assert_allclose(np.tril(c), np.tril(expected), rtol=1e-13, atol=1e-14)
    assert np.isnan(c[np.triu_indices(N, 1)]).all()


def test_triangular_systems(rng):
    l, b, c = triangle(rng, M), fortran(rng, M, N), fortran(rng, N, M)
    expected = np.linalg.solve(l, b), np.linalg.solve(l, c.T).T
    blas.solve_left(l, b)
    blas.solve_right_transposed(l, c)
    np.testing.assert_allclose(b, expected[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(c, expected[1], rtol=1e-12, atol=1e-14)


def test_cholesky(rng):
    l = triangle(rng, N)
    found = np.asfortranarray(l @ l.T)
    assert blas.cholesky(found)
    np.testing.assert_allclose(found, l, rtol=1e-12, atol=1e-13)
    assert not blas.cholesky(np.asfortranarray(np.diag([1.0, -1.0])))


def test_gram_of_triangle(rng):
    l = triangle(rng, N)
    expected = l.T @ l
    blas.gram_of_triangle(l)
    np.testing.assert_allclose(l, np.tril(expected), rtol=1e-13, atol=1e-14)


def test_empty_matrices_change_nothing(capfd):
    none, c = np.empty((0, 2), order="F"), np.ones((2, 2), order="F")
    blas.gemm(1.0, none, none, c, trans_a=True)
    blas.syrk(1.0, none, c, trans=True)
    np.testing.assert_array_equal(c, 1)
    blas.symm(c, none, none)
    blas.solve_right_transposed(c, none)
    assert blas.cholesky(np.empty((0, 0), order="F"))
    assert capfd.readouterr() == ("", "")  # BLAS prints what it is not content with


def shapes(*of_all):
    return [np.zeros(shape, order="F") for shape in of_all]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gemm", [1.0, *shapes((2, 3), (3, 4), (2, 5))]),
        ("gemm", [1.0, *shapes((2, 3), (4, 3), (2, 4))]),
        ("gemm", [1.0, *shapes((3, 3), (3, 4), (2, 4))]),
        ("gemv", shapes((2, 3), 2, 3)),
        ("gemv", shapes((2, 3), 3, 3)),
        ("symm", shapes((3, 3), (2, 3), (2, 2))),
        ("symm", shapes((3, 2), (2, 3), (2, 3))),
        ("symv", shapes((3, 3), 3, 2)),
        ("symv", shapes((3, 3), 2, 3)),
        ("syrk", [1.0, *shapes((2, 3), (3, 3))]),
        ("syrk", [1.0, *shapes((2, 3), (2, 3))]),
        ("solve_left", shapes((3, 3), (2, 3))),
        ("solve_left", shapes((3, 2), (3, 3))),
        ("solve_right_transposed", shapes((3, 3), (3, 2))),
        ("cholesky", shapes((3, 2))),
        ("gram_of_triangle", shapes((2, 3))),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name, arguments):
    with pytest.raises(ValueError, match="do not fit"):
        getattr(blas, name)(*arguments)


def test_rows_of_c_order_are_refused():
    with pytest.raises(ValueError, match="contig"):
        blas.syrk(1.0, np.zeros((3, 3)), np.zeros((3, 3)))


def test_other_threads_run_meanwhile(rng):
    """One that wakes up each millisecond gets its turn while a product is computed, on a busy machine one of ten."""
    a = fortran(rng, 1500, 1500)
    c, times, spans, done = np.zeros_like(a), [], [], threading.Event()

    def tick():
        while not done.wait(1e-3):
            times.append(time.perf_counter())

    def seen():
        return any(start + 0.01 < now < stop - 0.01 for now in times for start, stop in spans)

    thread = threading.Thread(target=tick)
    thread.start()
    with threadpool_limits(1, "blas"):  # so that it takes a while
        while len(spans) < 10 and not seen():
            start = time.perf_counter()
            blas.gemm(1.0, a, a, c)
            spans.append((start, time.perf_counter()))
    done.set()
    thread.join()
    assert seen()
