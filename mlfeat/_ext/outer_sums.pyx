"""Sums of outer products over segments, for the derivatives of a layer's weights.

    out_s = Σ_m left_m ⊗ x_{o_m} + y_{o_m} ⊗ right_m,   m in segment s, o_m the owner of m

The factors of some m are copied side by side, filled up to whole tiles with zeros; a tile of the sum, 4 rows of 2
vectors, stays in registers while they are run through.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from mlfeat._ext.simd cimport LANES, splat, vec

cdef enum:
    CHUNK = 64  # m whose factors are copied at a time: they stay in the cache


def outer_sums(const double[:, ::1] left, const double[:, ::1] x, const double[:, ::1] y, const double[:, ::1] right,
               const Py_ssize_t[::1] owners, const Py_ssize_t[::1] starts, Py_ssize_t first, double[:, ::1] out):
    """Write the sums of segments, matrices (A, B) row by row, into `out`.

    Parameters
    ----------
    left, right : arrays (M, A), (M, B)
    x, y : arrays (N, B), (N, A)
    owners : intp array (M,)
    starts : intp array (S + 1,)
        Segment s is the m from starts[s] to starts[s + 1].
    first : int
        Column of `out` where a sum begins.
    out : array (S, at least first + A B)
    """
    cdef Py_ssize_t n_a = left.shape[1], n_b = right.shape[1], n_segments = starts.shape[0] - 1
    _check(left, x, y, right, owners, starts, first, out)
    cdef Py_ssize_t wide_a = (n_a + 3) // 4 * 4, n_vectors = (n_b + LANES - 1) // LANES, wide_b = n_vectors * LANES
    cdef Py_ssize_t size = 2 * CHUNK * (wide_a + wide_b) + wide_a * wide_b
    if not n_a or not n_b:
        return
    cdef double* a = <double*> malloc(size * sizeof(double))
    if a == NULL:
        raise MemoryError
    cdef double* b = a + 2 * CHUNK * wide_a
    cdef double* total = b + 2 * CHUNK * wide_b
    cdef Py_ssize_t s, m, k, n, i, row, v
    with nogil:
        memset(a, 0, size * sizeof(double))
        for s in range(n_segments):
            memset(total, 0, wide_a * wide_b * sizeof(double))
            m = starts[s]
            while m < starts[s + 1]:
                n = min(CHUNK, starts[s + 1] - m)
                for k in range(n):
                    memcpy(a + 2 * k * wide_a, &left[m + k, 0], n_a * sizeof(double))
                    memcpy(a + (2 * k + 1) * wide_a, &y[owners[m + k], 0], n_a * sizeof(double))
                    memcpy(b + 2 * k * wide_b, &x[owners[m + k], 0], n_b * sizeof(double))
                    memcpy(b + (2 * k + 1) * wide_b, &right[m + k, 0], n_b * sizeof(double))
                for row in range(0, wide_a, 4):
                    for v in range(0, n_vectors - 1, 2):
                        add_two(a + row, wide_a, <vec*> b + v, n_vectors, 2 * n, <vec*> (total + row * wide_b) + v)
                    if n_vectors % 2:
                        v = n_vectors - 1
                        add_one(a + row, wide_a, <vec*> b + v, n_vectors, 2 * n, <vec*> (total + row * wide_b) + v)
                m += n
            for i in range(n_a):
                memcpy(&out[s, first + i * n_b], total + i * wide_b, n_b * sizeof(double))
        free(a)


cdef inline void add_two(const double* a, Py_ssize_t wide_a, const vec* b, Py_ssize_t n_vectors, Py_ssize_t n,
                         vec* total) noexcept nogil:
    """Four rows of two vectors of total += Σ_k a_k ⊗ b_k."""
    cdef vec p0 = splat(0.0), p1 = p0, p2 = p0, p3 = p0, q0 = p0, q1 = p0, q2 = p0, q3 = p0, p, q
    cdef Py_ssize_t _k
    for _k in range(n):
        p, q = b[0], b[1]
        p0 += a[0] * p
        q0 += a[0] * q
        p1 += a[1] * p
        q1 += a[1] * q
        p2 += a[2] * p
        q2 += a[2] * q
        p3 += a[3] * p
        q3 += a[3] * q
        a += wide_a
        b += n_vectors
    total[0] += p0
    total[1] += q0
    total[n_vectors] += p1
    total[n_vectors + 1] += q1
    total[2 * n_vectors] += p2
    total[2 * n_vectors + 1] += q2
    total[3 * n_vectors] += p3
    total[3 * n_vectors + 1] += q3


cdef inline void add_one(const double* a, Py_ssize_t wide_a, const vec* b, Py_ssize_t n_vectors, Py_ssize_t n,
                         vec* total) noexcept nogil:
    """Four rows of one vector of it."""
    cdef vec p0 = splat(0.0), p1 = p0, p2 = p0, p3 = p0
    cdef Py_ssize_t _k
    for _k in range(n):
        p0 += a[0] * b[0]
        p1 += a[1] * b[0]
        p2 += a[2] * b[0]
        p3 += a[3] * b[0]
        a += wide_a
        b += n_vectors
    total[0] += p0
    total[n_vectors] += p1
    total[2 * n_vectors] += p2
    total[3 * n_vectors] += p3


cdef int _check(const double[:, ::1] left, const double[:, ::1] x, const double[:, ::1] y, const double[:, ::1] right,
                const Py_ssize_t[::1] owners, const Py_ssize_t[::1] starts, Py_ssize_t first,
                double[:, ::1] out) except -1:
    cdef Py_ssize_t n = left.shape[0], n_a = left.shape[1], n_b = right.shape[1], i
    if (x.shape[0] != y.shape[0] or right.shape[0] != n or owners.shape[0] != n or y.shape[1] != n_a
            or x.shape[1] != n_b or starts.shape[0] != out.shape[0] + 1 or first < 0
            or out.shape[1] < first + n_a * n_b):
        raise ValueError("the shapes of the factors do not fit")
    for i in range(n):
        if not 0 <= owners[i] < x.shape[0]:
            raise ValueError(f"owner {owners[i]} is not among {x.shape[0]}")
    for i in range(starts.shape[0] - 1):
        if not 0 <= starts[i] <= starts[i + 1] <= n:
            raise ValueError(f"segment {i}, {starts[i]} to {starts[i + 1]}, is not among {n}")
    return 0
