"""A neighbor list as kernels read it: the arrays of the Python class NeighborPairs."""


cdef struct Pairs:
    const double* vectors
    const Py_ssize_t* offsets
    const int* second
    const Py_ssize_t* species


cdef inline Pairs pairs_of(const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                           const Py_ssize_t[::1] species) noexcept:
    cdef Pairs pairs
    pairs.vectors = &vectors[0, 0] if vectors.shape[0] else NULL
    pairs.offsets = &offsets[0]
    pairs.second = &second[0] if second.shape[0] else NULL
    pairs.species = &species[0]
    return pairs


cdef inline Py_ssize_t longest(Pairs pairs, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """Most neighbors of the centers start to stop."""
    cdef Py_ssize_t i, most = 0
    for i in range(start, stop):
        most = max(most, pairs.offsets[i + 1] - pairs.offsets[i])
    return most
