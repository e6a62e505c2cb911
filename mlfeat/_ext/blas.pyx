"""Operations of BLAS and LAPACK that update a matrix in place, without the GIL.

SciPy's wrappers for Python hold it while they compute, so that threads wait for each other. These call the same
library. Matrices are in Fortran order; of symmetric and triangular ones the lower triangle is read.
"""

from scipy.linalg.cython_blas cimport dgemm, dgemv, dsymm, dsymv, dsyrk, dtrsm
from scipy.linalg.cython_lapack cimport dlauum, dpotrf


def gemm(double alpha, const double[::1, :] a, const double[::1, :] b, double[::1, :] c,
         bint trans_a=False, bint trans_b=False):
    """C ← C + α op(A) op(B), where op may transpose."""
    cdef char op_a = b"T" if trans_a else b"N", op_b = b"T" if trans_b else b"N"
    cdef int m = <int> c.shape[0], n = <int> c.shape[1], k = <int> (a.shape[0] if trans_a else a.shape[1])
    cdef int rows_a = <int> a.shape[0], rows_b = <int> b.shape[0]
    cdef double one = 1.0
    _check(a.shape[1 if trans_a else 0] == m and b.shape[0 if trans_b else 1] == n
           and b.shape[1 if trans_b else 0] == k)
    if m and n and k:
        with nogil:
            dgemm(&op_a, &op_b, &m, &n, &k, &alpha, <double*> &a[0, 0], &rows_a, <double*> &b[0, 0], &rows_b,
                  &one, &c[0, 0], &m)


def gemv(const double[::1, :] a, const double[::1] x, double[::1] y, bint trans=False):
    """y ← y + op(A) x, where op may transpose."""
    cdef char op = b"T" if trans else b"N"
    cdef int m = <int> a.shape[0], n = <int> a.shape[1], step = 1
    cdef double one = 1.0
    _check(x.shape[0] == a.shape[0 if trans else 1] and y.shape[0] == a.shape[1 if trans else 0])
    if m and n:
        with nogil:
            dgemv(&op, &m, &n, &one, <double*> &a[0, 0], &m, <double*> &x[0], &step, &one, &y[0], &step)


def symm(const double[::1, :] s, const double[::1, :] b, double[::1, :] c):
    """C ← C + B S, S symmetric."""
    cdef char right = b"R", lower = b"L"
    cdef int m = <int> c.shape[0], n = <int> c.shape[1]
    cdef double one = 1.0
    _check(s.shape[0] == n and s.shape[1] == n and b.shape[0] == m and b.shape[1] == n)
    if m and n:
        with nogil:
            dsymm(&right, &lower, &m, &n, &one, <double*> &s[0, 0], &n, <double*> &b[0, 0], &m, &one, &c[0, 0], &m)


def symv(const double[::1, :] s, const double[::1] x, double[::1] y):
    """y ← y + S x, S symmetric."""
    cdef char lower = b"L"
    cdef int n = <int> y.shape[0], step = 1
    cdef double one = 1.0
    _check(s.shape[0] == n and s.shape[1] == n and x.shape[0] == n)
    if n:
        with nogil:
            dsymv(&lower, &n, &one, <double*> &s[0, 0], &n, <double*> &x[0], &step, &one, &y[0], &step)


def syrk(double alpha, const double[::1, :] a, double[::1, :] c, bint trans=False):
    """C ← C + α A Aᵀ, or α AᵀA if `trans`: the lower triangle."""
    cdef char op = b"T" if trans else b"N", lower = b"L"
    cdef int n = <int> c.shape[0], k = <int> a.shape[0 if trans else 1], rows_a = <int> a.shape[0]
    cdef double one = 1.0
    _check(c.shape[1] == n and a.shape[1 if trans else 0] == n)
    if n and k:
        with nogil:
            dsyrk(&lower, &op, &n, &k, &alpha, <double*> &a[0, 0], &rows_a, &one, &c[0, 0], &n)


def solve_left(const double[::1, :] l, double[::1, :] b):
    """B ← L⁻¹ B, L lower triangular."""
    _check(l.shape[0] == l.shape[1] and b.shape[0] == l.shape[0])
    _solve(l, b, b"L", b"N")


def solve_right_transposed(const double[::1, :] l, double[::1, :] b):
    """B ← B L⁻ᵀ, L lower triangular."""
    _check(l.shape[0] == l.shape[1] and b.shape[1] == l.shape[0])
    _solve(l, b, b"R", b"T")


def cholesky(double[::1, :] a):
    """A ← L, the lower triangle with A = L Lᵀ and zeros above it; returns whether A is positive definite."""
    cdef char lower = b"L"
    cdef int n = <int> a.shape[0], info = 0
    cdef Py_ssize_t i, j
    _check(a.shape[1] == n)
    if n:
        with nogil:
            dpotrf(&lower, &n, &a[0, 0], &n, &info)
            for j in range(1, n):
                for i in range(j):
                    a[i, j] = 0.0
    return info == 0


def gram_of_triangle(double[::1, :] l):
    """L ← LᵀL, the lower triangle, of a lower triangular matrix; what is above it stays."""
    cdef char lower = b"L"
    cdef int n = <int> l.shape[0], info = 0
    _check(l.shape[1] == n)
    if n:
        with nogil:
            dlauum(&lower, &n, &l[0, 0], &n, &info)


cdef int _solve(const double[::1, :] l, double[::1, :] b, char side, char op) except -1:
    cdef char lower = b"L", diagonal = b"N"
    cdef int m = <int> b.shape[0], n = <int> b.shape[1], size = <int> l.shape[0]
    cdef double one = 1.0
    if m and n:
        with nogil:
            dtrsm(&side, &lower, &op, &diagonal, &m, &n, &one, <double*> &l[0, 0], &size, &b[0, 0], &m)
    return 0


cdef int _check(bint fits) except -1:
    if not fits:
        raise ValueError("the shapes of the matrices do not fit")
    return 0
