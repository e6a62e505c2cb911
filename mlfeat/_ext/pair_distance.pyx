"""Kernel functions of distances, summed over neighbors, and their derivatives.

    B_s(i) = Σ_j f_c(r_ij) w_s exp(-a (r_ij - d_s)²),   w_s = f_c(d_s),  a = 1/2θ²

over the neighbors j whose species make a pair of the kind that s belongs to. The lanes are the points s of one kind of
pair, filled up to whole vectors with points of weight zero; a neighbor meets the vectors of its own kind only.
"""

from libc.math cimport M_PI, cos, sin, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from mlfeat._ext.simd cimport LANES, expneg, splat, vec

lanes = LANES


cdef class Kernel:
    """Compiled functions of given points.

    Parameters
    ----------
    kinds : intp array (n_species, n_species)
        Kind of the pair of two species.
    points : sequence of arrays
        The d_s of each kind of pair, Å; its features are one kind after the other.
    weights : sequence of arrays
        Their w_s.
    theta : array (n_kinds,)
        Length scale θ of each kind, Å.
    cutoff, width : float
        Where f_c gets zero, and how long before it begins to fall, Å.
    """

    cdef Py_ssize_t n_kinds, n_features, n_vectors
    cdef double cutoff, width
    cdef const Py_ssize_t[:, ::1] kinds
    cdef const Py_ssize_t[::1] first_vector, place  # place of each feature among the lanes
    cdef const double[::1] exponent, point, weight

    def __init__(self, kinds, points, weights, theta, cutoff, width):
        counts = [-(-len(d) // lanes) for d in points]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        self.place = np.concatenate([f * lanes + np.arange(len(d)) for f, d in zip(first, points)]).astype(np.intp)
        self.n_kinds, self.n_features, self.n_vectors = len(points), len(self.place), first[len(points)]
        self.kinds, self.first_vector, self.exponent = kinds, first, 0.5 / np.square(theta)
        self.cutoff, self.width = cutoff, width
        point, weight = np.zeros((2, self.n_vectors * lanes))
        point[self.place] = np.concatenate(points)
        weight[self.place] = np.concatenate(weights)
        self.point, self.weight = point, weight

    def density_shape(self, n_atoms):
        """Nothing is kept from the forward pass."""
        return 0, 0

    # ------------------------------------------------------------------ operations

    def values(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
               const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
               const double[:, ::1] density, double[:, ::1] out):
        """Fill `out` (n_atoms, n_features) for centers start to stop."""
        if out.shape[0] < stop or out.shape[1] != self.n_features:
            raise ValueError("values have the wrong shape")
        cdef const vec* point = <const vec*> &self.point[0]
        cdef vec* total = <vec*> malloc(self.n_vectors * sizeof(vec))
        cdef Py_ssize_t i, p, k, kind
        cdef double r, cut, slope
        if total == NULL:
            raise MemoryError
        with nogil:
            for i in range(start, stop):
                memset(total, 0, self.n_vectors * sizeof(vec))
                for p in range(offsets[i], offsets[i + 1]):
                    r = length(&vectors[p, 0])
                    if r >= self.cutoff:
                        continue
                    kind = self.kinds[species[i], species[second[p]]]
                    self.cut(r, &cut, &slope)
                    for k in range(self.first_vector[kind], self.first_vector[kind + 1]):
                        total[k] += cut * gaussian(r, point[k], self.exponent[kind])
                for k in range(self.n_features):
                    out[i, k] = (<double*> total)[self.place[k]] * self.weight[self.place[k]]
        free(total)

    def gradient(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                 const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
                 const double[:, ::1] density, const double[:, ::1] cotangents, double[:, ::1] out):
        """Fill `out` (n_pairs, 3) with Σ_k cotangents[i, k] ∂B_k(i)/∂r_ij for the centers start to stop."""
        if cotangents.shape[0] != offsets.shape[0] - 1 or cotangents.shape[1] != self.n_features:
            raise ValueError(f"cotangents have the shape {cotangents.shape[0], cotangents.shape[1]}, must have "
                             f"{offsets.shape[0] - 1, self.n_features}: one for each atom and feature")
        cdef const vec* point = <const vec*> &self.point[0]
        cdef vec* factor = <vec*> malloc(self.n_vectors * sizeof(vec))
        cdef Py_ssize_t i, p, k, x, kind
        cdef double r, cut, slope, radial
        cdef vec total
        if factor == NULL:
            raise MemoryError
        with nogil:
            memset(factor, 0, self.n_vectors * sizeof(vec))
            for i in range(start, stop):
                for k in range(self.n_features):
                    (<double*> factor)[self.place[k]] = cotangents[i, k] * self.weight[self.place[k]]
                for p in range(offsets[i], offsets[i + 1]):
                    r = length(&vectors[p, 0])
                    radial = 0.0
                    if r < self.cutoff:
                        kind = self.kinds[species[i], species[second[p]]]
                        self.cut(r, &cut, &slope)
                        total = splat(0.0)
                        for k in range(self.first_vector[kind], self.first_vector[kind + 1]):
                            total += factor[k] * gaussian_slope(r, point[k], self.exponent[kind], cut, slope)
                        for k in range(LANES):
                            radial += (<double*> &total)[k]
                    for x in range(3):
                        out[p, x] = radial / r * vectors[p, x]
        free(factor)

    def jacobian(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                 const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop, double[:, :, ::1] out):
        """Fill `out` (n_pairs of these centers, 3, n_features) with ∂B(i)/∂r_ij for the centers start to stop."""
        if out.shape[2] != self.n_features:
            raise ValueError("the Jacobian has the wrong shape")
        cdef const vec* point = <const vec*> &self.point[0]
        cdef vec* radial = <vec*> malloc(self.n_vectors * sizeof(vec))
        cdef Py_ssize_t i, p, k, x, kind, base = offsets[start]
        cdef double r, cut, slope
        if radial == NULL:
            raise MemoryError
        with nogil:
            for i in range(start, stop):
                for p in range(offsets[i], offsets[i + 1]):
                    r = length(&vectors[p, 0])
                    memset(radial, 0, self.n_vectors * sizeof(vec))
                    if r < self.cutoff:
                        kind = self.kinds[species[i], species[second[p]]]
                        self.cut(r, &cut, &slope)
                        for k in range(self.first_vector[kind], self.first_vector[kind + 1]):
                            radial[k] = 1.0 / r * gaussian_slope(r, point[k], self.exponent[kind], cut, slope)
                    for x in range(3):
                        for k in range(self.n_features):
                            out[p - base, x, k] = (
                                (<double*> radial)[self.place[k]] * self.weight[self.place[k]] * vectors[p, x])
        free(radial)

    # ------------------------------------------------------------------ functions of one distance

    cdef inline void cut(self, double r, double* value, double* slope) noexcept nogil:
        """f_c and its derivative at r < cutoff."""
        cdef double t = M_PI * (r - self.cutoff + self.width) / self.width
        value[0] = 1.0
        slope[0] = 0.0
        if t > 0:
            value[0] = 0.5 + 0.5 * cos(t)
            slope[0] = -0.5 * sin(t) * M_PI / self.width


cdef inline vec gaussian(double r, vec point, double exponent) noexcept nogil:
    cdef vec away = r - point
    return expneg(-exponent * away * away)


cdef inline vec gaussian_slope(double r, vec point, double exponent, double cut, double slope) noexcept nogil:
    """Derivative of f_c exp(-a (r - d)²) with respect to r."""
    cdef vec away = r - point
    cdef vec scaled = -exponent * away
    return expneg(scaled * away) * (slope + 2.0 * cut * scaled)


cdef inline double length(const double* d) noexcept nogil:
    return sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
