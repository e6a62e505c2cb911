"""Quadratic expansion of the features of atoms: values, and both directions of its derivative.

The F features B_k of an atom become F + F(F+1)/2: the B_k themselves, then the upper triangle row by row,
½ B_k² on the diagonal and B_k B_m (k < m) off it.
"""


cdef inline void expand_one(const double* b, double* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k, m
    cdef double b_k
    cdef double* row = out + n
    for k in range(n):
        out[k] = b_k = b[k]
        row[0] = 0.5 * b_k * b_k
        for m in range(k + 1, n):
            row[m - k] = b_k * b[m]
        row += n - k


cdef inline void jvp_one(const double* b, const double* t, double* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k, m
    cdef double b_k, t_k
    cdef double* row = out + n
    for k in range(n):
        b_k = b[k]
        out[k] = t_k = t[k]
        row[0] = b_k * t_k
        for m in range(k + 1, n):
            row[m - k] = b_k * t[m] + t_k * b[m]
        row += n - k


cdef inline void vjp_one(const double* b, const double* c, double* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k, m
    cdef double b_k, total
    cdef const double* row = c + n
    for k in range(n):
        out[k] = c[k]
    for k in range(n):
        b_k = b[k]
        total = row[0] * b_k
        for m in range(k + 1, n):
            total += row[m - k] * b[m]
            out[m] += row[m - k] * b_k
        out[k] += total
        row += n - k


def expand(const double[:, ::1] values, double[:, ::1] out):
    """Write the expansion of `values` (M, F) into `out` (M, F + F(F+1)/2)."""
    cdef Py_ssize_t m
    with nogil:
        for m in range(values.shape[0]):
            expand_one(&values[m, 0], &out[m, 0], values.shape[1])


def jvp(const double[:, ::1] values, const double[:, :, ::1] tangents, double[:, :, ::1] out):
    """Write the change of the expansion along `tangents` (M, K, F) into `out` (M, K, F + F(F+1)/2)."""
    cdef Py_ssize_t m, k
    with nogil:
        for m in range(values.shape[0]):
            for k in range(tangents.shape[1]):
                jvp_one(&values[m, 0], &tangents[m, k, 0], &out[m, k, 0], values.shape[1])


def vjp(const double[:, ::1] values, const double[:, ::1] cotangents, double[:, ::1] out):
    """Write the gradient of Σ cotangents·expansion with respect to `values` into `out` (M, F)."""
    cdef Py_ssize_t m
    with nogil:
        for m in range(values.shape[0]):
            vjp_one(&values[m, 0], &cotangents[m, 0], &out[m, 0], values.shape[1])
