"""SOAP power spectrum and its derivatives, one environment at a time.

Per environment, with the tables of ``mlfeat.descriptors._soap``:

1. density    c_klm = Σ_j F_nl(r_j) Y_lm(r̂_j)         k = (channel, n); F from a spline, Y by recurrence
2. mixtures   u = left c, v = right c                   combinations of the k; both are c without compression
3. spectrum   p_κκ'l = scale Σ_m u_κlm v_κ'lm
4. features   p / |p|, and a constant
5. adjoint    the cotangents of p lead back to those of c
6. gradient   ∂E/∂r_j = Σ_klm c̄_klm ∇(F_nl Y_lm)

Arrays are laid out ``[l² + l + m][k]``, rows padded with zeros to whole vectors: lanes are radial functions, and the
sums over neighbors, m and k are products of small matrices. Harmonics are computed with the lanes as neighbors.
"""

import numpy as np

from libc.math cimport M_PI, cos, sin, sqrt
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from mlfeat._ext.harmonics cimport Harmonics, Legendre, fill_gradients, fill_harmonics
from mlfeat._ext.neighbors cimport Pairs, longest, pairs_of
from mlfeat._ext.simd cimport LANES, splat, vec


cdef struct Work:
    # one thread's buffers, all zero at first
    void* memory
    Py_ssize_t* pair  # [neighbor] of one channel
    double* x  # [neighbor] unit vectors
    double* y
    double* z
    double* r
    double* rinv
    Harmonics harmonics  # of LANES neighbors
    vec* directions  # [lm][Y, ∇Y] of LANES neighbors
    double* radial  # F [neighbor of LANES][l][n]
    double* slope  # dF/dr
    double* c  # [lm][k]
    double* u  # [lm][κ], where there is a left mixture
    double* v  # likewise right
    double* c_bar
    double* u_bar
    double* v_bar
    double* spectrum  # [l][κ][κ'] Σ_m u v, then its cotangents
    double* transposed  # [l][κ'][κ]
    double* feature  # p, then its cotangents
    double* left  # F, dF of one neighbor by κ: [F, dF][l][κ]
    double* right
    double* along_u  # [l][Y, ∇Y][κ]: Σ_m {Y, ∇Y}_lm u_κlm
    double* along_v
    double* change  # [xyz][l][κ][κ']
    double* row  # derivative of the features along one axis


cdef class Kernel:
    """Compiled SOAP for given tables.

    Parameters
    ----------
    legendre : Legendre
    spline : array (n_knots, 3, l_max + 1, n_pad)
        Radial functions and step times first, step² times second derivatives at the knots.
    step : float
        Distance of the knots, Å.
    n_max : int
    cutoff, width : float
        Distance beyond which nothing counts and over which neighbors are switched off before it, Å.
    channel : int array (n_species,)
        Of the density that atoms of a species add to.
    central : array (n_max,)
        What the central atom adds to its channel, l = 0.
    left, right : array (n_k, n_kappa) or None
        Mixtures; None is the identity. `right` is used where the spectrum is not symmetric.
    symmetric : bool
        Whether the right mixture is the left one, and κ' <= κ.
    source : int array (n_spectrum, 3)
        l, κ, κ' of each component.
    scale : array (n_spectrum,)
    normalize : bool
    constant : float
        The last feature.
    """

    cdef int l_max, n_lm, n_max, n_pad, n_knots, n_channels, n_k, row_c, n_u, row_u, n_v, row_v, n_spectrum
    cdef bint mixed, symmetric, normalize
    cdef double step, cutoff, width, constant
    cdef Legendre legendre
    cdef const double[::1] q_up, q_back, q_slope, central, scale, scale_back
    cdef const double[:, :, :, ::1] spline
    cdef const int[::1] channel, place, place_back
    cdef const double[:, ::1] left, right, left_back, right_back

    def __init__(self, legendre, spline, step, n_max, cutoff, width, channel, central, left, right, symmetric, source,
                 scale, normalize, constant):
        self.spline, self.step = spline, step
        self.n_knots, self.l_max, self.n_pad = spline.shape[0], spline.shape[2] - 1, spline.shape[3]
        self.n_lm = (self.l_max + 1) ** 2
        self.q_up, self.q_back, self.q_slope = legendre
        self.legendre = Legendre(self.l_max, &self.q_up[0], &self.q_back[0], &self.q_slope[0])
        self.n_max, self.cutoff, self.width = n_max, cutoff, width
        self.channel, self.central = channel, central
        self.n_channels = max(channel) + 1
        self.n_k = self.n_channels * n_max
        self.row_c = padded((self.n_channels - 1) * n_max + self.n_pad)
        self.mixed, self.symmetric = left is not None or right is not None, symmetric
        self.n_u = self.n_v = self.n_k
        self.row_u = self.row_v = self.row_c
        self.n_spectrum = len(scale)
        self.normalize, self.constant = normalize, constant
        if self.mixed:
            self.n_u, self.n_v = left.shape[1], right.shape[1]
            self.row_u, self.row_v = padded(self.n_u), padded(self.n_v)
            self.left, self.left_back = with_transpose(left, self.row_u, self.row_c)
            self.right, self.right_back = with_transpose(right, self.row_v, self.row_c)
        l, k, other = source.T
        self.place = (l * self.n_u + k) * self.row_v + other  # of each component in the spectrum
        self.place_back = (l * self.n_v + other) * self.row_u + k  # and in its transpose
        self.scale, self.scale_back = scale, scale * (1.0 + (symmetric & (k == other)))

    def density_shape(self, n_atoms):
        """Shape of the densities of `n_atoms` centers."""
        return n_atoms, self.n_lm * self.row_c

    # ------------------------------------------------------------------ operations

    def values(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
               const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
               double[:, ::1] density, double[:, ::1] out):
        """Fill `out` (n_atoms, n_features) and `density` for the centers start to stop."""
        if (out.shape[0] < stop or out.shape[1] != self.n_spectrum + 1 or density.shape[0] < stop
                or density.shape[1] != self.n_lm * self.row_c):
            raise ValueError("values or density have the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center
        cdef double inverse
        cdef int k
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for center in range(start, stop):
                self.fill_density(&work, pairs, center, &density[center, 0])
                self.mix(&work, &density[center, 0])
                inverse = self.fill_features(&work)
                for k in range(self.n_spectrum):
                    out[center, k] = inverse * work.feature[k]
                out[center, self.n_spectrum] = self.constant
        free(work.memory)

    def gradient(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                 const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
                 const double[:, ::1] density, const double[:, ::1] cotangents, double[:, ::1] out):
        """Fill `out` (n_pairs, 3) with Σ_k cotangents[i, k] ∂B_k(i)/∂r_ij for the centers start to stop."""
        if cotangents.shape[0] != offsets.shape[0] - 1 or cotangents.shape[1] != self.n_spectrum + 1:
            raise ValueError(f"cotangents have the shape {cotangents.shape[0], cotangents.shape[1]}, must have "
                             f"{offsets.shape[0] - 1, self.n_spectrum + 1}: one for each atom and feature")
        if out.shape[0] == 0:
            return
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for center in range(start, stop):
                self.mix(&work, <double*> &density[center, 0])
                self.fill_adjoint(&work, self.fill_features(&work), &cotangents[center, 0])
                self.write_gradient(&work, pairs, center, &out[0, 0])
        free(work.memory)

    def jacobian(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                 const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop, double[:, :, ::1] out):
        """Fill `out` (n_pairs of these centers, 3, n_features) with ∂B(i)/∂r_ij for the centers start to stop."""
        if out.shape[0] == 0:
            return
        if out.shape[2] != self.n_spectrum + 1:
            raise ValueError("the Jacobian has the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center
        cdef double inverse
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for center in range(start, stop):
                self.fill_density(&work, pairs, center, work.c)
                self.mix(&work, work.c)
                inverse = self.fill_features(&work)
                self.write_jacobian(&work, pairs, center, offsets[start], inverse, &out[0, 0, 0])
        free(work.memory)

    # ------------------------------------------------------------------ neighbors

    cdef int allocate(self, Work* work, Py_ssize_t n_neighbors) noexcept nogil:
        cdef Py_ssize_t n = padded(n_neighbors + LANES)
        cdef Py_ssize_t n_l = self.l_max + 1
        cdef Py_ssize_t sizes[29]
        cdef double* places[29]
        cdef Py_ssize_t total = 0
        cdef int k
        for k in range(6):
            sizes[k] = n
        sizes[6] = ((n_l + 1) * (n_l + 2) // 2 + n_l) * LANES
        sizes[7] = sizes[8] = (n_l + 1) * LANES
        sizes[9] = self.n_lm * LANES
        sizes[10] = 4 * self.n_lm * LANES
        sizes[11] = sizes[12] = LANES * n_l * self.n_pad
        sizes[13] = sizes[16] = self.n_lm * self.row_c
        sizes[14] = sizes[17] = self.n_lm * self.row_u
        sizes[15] = sizes[18] = self.n_lm * self.row_v
        sizes[19] = n_l * padded(self.n_u) * self.row_v
        sizes[20] = n_l * padded(self.n_v) * self.row_u
        sizes[21] = sizes[28] = self.n_spectrum + 1
        sizes[22] = 2 * n_l * self.row_u
        sizes[23] = 2 * n_l * self.row_v
        sizes[24] = 4 * n_l * self.row_u
        sizes[25] = 4 * n_l * self.row_v
        sizes[26] = 3 * n_l * padded(self.n_u) * self.row_v
        sizes[27] = 0
        for k in range(29):
            sizes[k] = padded(sizes[k])
            total += sizes[k]
        work.memory = calloc(total + 8, sizeof(double))
        if work.memory == NULL:
            return -1
        places[0] = <double*> ((<size_t> work.memory + 63) // 64 * 64)
        for k in range(28):
            places[k + 1] = places[k] + sizes[k]
        work.x, work.y, work.z, work.r, work.rinv = places[0], places[1], places[2], places[3], places[4]
        work.pair = <Py_ssize_t*> places[5]
        work.harmonics.legendre = <vec*> places[6]
        work.harmonics.cosine = <vec*> places[7]
        work.harmonics.sine = <vec*> places[8]
        work.harmonics.value = <vec*> places[9]
        work.directions = <vec*> places[10]
        work.radial, work.slope = places[11], places[12]
        work.c, work.u, work.v = places[13], places[14], places[15]
        work.c_bar, work.u_bar, work.v_bar = places[16], places[17], places[18]
        work.spectrum, work.transposed, work.feature = places[19], places[20], places[21]
        work.left, work.right = places[22], places[23]
        work.along_u, work.along_v, work.change, work.row = places[24], places[25], places[26], places[28]
        return 0

    cdef Py_ssize_t gather(self, Work* work, Pairs pairs, Py_ssize_t center, int channel) noexcept nogil:
        """Neighbors of one channel within the cutoff; returns how many."""
        cdef Py_ssize_t p, k = 0, lane
        cdef const double* d
        cdef double r2
        for p in range(pairs.offsets[center], pairs.offsets[center + 1]):
            d = pairs.vectors + 3 * p
            r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
            if r2 < self.cutoff * self.cutoff and self.channel[pairs.species[pairs.second[p]]] == channel:
                work.r[k] = sqrt(r2)
                work.rinv[k] = 1.0 / work.r[k]
                work.x[k] = d[0] * work.rinv[k]
                work.y[k] = d[1] * work.rinv[k]
                work.z[k] = d[2] * work.rinv[k]
                work.pair[k] = p
                k += 1
        for lane in range(k, k + LANES):  # what is not there points along z
            work.x[lane] = work.y[lane] = 0.0
            work.z[lane] = work.rinv[lane] = 1.0
        return k

    cdef inline void fill_values(self, Work* work, Py_ssize_t k) noexcept nogil:
        """harmonics.value of the neighbors k to k + LANES."""
        fill_harmonics(&self.legendre, &work.harmonics, load(work.x + k), load(work.y + k), load(work.z + k))

    cdef inline void fill_directions(self, Work* work, Py_ssize_t k) noexcept nogil:
        """directions of the neighbors k to k + LANES."""
        cdef int lm
        self.fill_values(work, k)
        fill_gradients(&self.legendre, &work.harmonics, load(work.x + k), load(work.y + k), load(work.z + k),
                       load(work.rinv + k), work.directions + 1, 4)
        for lm in range(self.n_lm):
            work.directions[4 * lm] = work.harmonics.value[lm]

    cdef inline void fill_radial(self, double r, double* radial, double* slope) noexcept nogil:
        """radial = f_c f_nl of a neighbor and, unless it is NULL, slope = its derivative, [l][n]."""
        cdef double cut = 1.0, cut_slope = 0.0, t, t2, t3
        cdef double weight[6]
        cdef double change[6]
        cdef Py_ssize_t size = (self.l_max + 1) * self.n_pad, k
        cdef int i
        cdef const double* knot
        if r > self.cutoff - self.width:
            t = M_PI * (r - self.cutoff + self.width) / self.width
            cut = 0.5 + 0.5 * cos(t)
            cut_slope = -0.5 * M_PI / self.width * sin(t)
        t = r / self.step
        k = min(<Py_ssize_t> t, <Py_ssize_t> self.n_knots - 2)
        t -= k
        knot = &self.spline[k, 0, 0, 0]
        t2 = t * t
        t3 = t2 * t
        weight[3] = t3 * (10.0 - 15.0 * t + 6.0 * t2)  # quintic Hermite polynomials
        weight[4] = t3 * (-4.0 + 7.0 * t - 3.0 * t2)
        weight[5] = t3 * (0.5 - t + 0.5 * t2)
        weight[0] = 1.0 - weight[3]
        weight[1] = t - t3 * (6.0 - 8.0 * t + 3.0 * t2)
        weight[2] = 0.5 * t2 - t3 * (1.5 - 1.5 * t + 0.5 * t2)
        if slope == NULL:
            for i in range(6):
                weight[i] *= cut
            combine(size, knot, weight, radial)
            return
        change[3] = t2 * (30.0 - 60.0 * t + 30.0 * t2)
        change[4] = t2 * (-12.0 + 28.0 * t - 15.0 * t2)
        change[5] = t2 * (1.5 - 4.0 * t + 2.5 * t2)
        change[0] = -change[3]
        change[1] = 1.0 - t2 * (18.0 - 32.0 * t + 15.0 * t2)
        change[2] = t - t2 * (4.5 - 6.0 * t + 2.5 * t2)
        for i in range(6):
            change[i] = cut * change[i] / self.step + cut_slope * weight[i]
            weight[i] *= cut
        combine_both(size, knot, weight, change, radial, slope)

    # ------------------------------------------------------------------ forward

    cdef void fill_density(self, Work* work, Pairs pairs, Py_ssize_t center, double* c) noexcept nogil:
        cdef Py_ssize_t n_neighbors, k, size = (self.l_max + 1) * self.n_pad
        cdef int channel, n, l, lane, here
        memset(c, 0, self.n_lm * self.row_c * sizeof(double))
        for n in range(self.n_max):
            c[self.channel[pairs.species[center]] * self.n_max + n] = self.central[n]
        for channel in range(self.n_channels):
            n_neighbors = self.gather(work, pairs, center, channel)
            k = 0
            while k < n_neighbors:
                self.fill_values(work, k)
                here = min(<Py_ssize_t> LANES, n_neighbors - k)
                for lane in range(here):
                    self.fill_radial(work.r[k + lane], work.radial + lane * size, NULL)
                for l in range(self.l_max + 1):
                    add_product(2 * l + 1, here, <double*> (work.harmonics.value + l * l), LANES, 1,
                                work.radial + l * self.n_pad, size, self.n_pad // LANES,
                                c + l * l * self.row_c + channel * self.n_max, self.row_c)
                k += LANES

    cdef void mix(self, Work* work, double* c) noexcept nogil:
        """u and v from c."""
        if not self.mixed:
            work.u = work.v = c
            return
        memset(work.u, 0, self.n_lm * self.row_u * sizeof(double))
        add_product(self.n_lm, self.n_k, c, self.row_c, 1, &self.left[0, 0], self.row_u, self.row_u // LANES,
                    work.u, self.row_u)
        memset(work.v, 0, self.n_lm * self.row_v * sizeof(double))
        add_product(self.n_lm, self.n_k, c, self.row_c, 1, &self.right[0, 0], self.row_v, self.row_v // LANES,
                    work.v, self.row_v)

    cdef double fill_features(self, Work* work) noexcept nogil:
        """feature = p; returns 1/|p|, or 1 if it is not to be normalized."""
        cdef int l, k, n_vec
        cdef double* out = work.spectrum
        cdef double square = 0.0
        memset(out, 0, (self.l_max + 1) * self.n_u * self.row_v * sizeof(double))
        for l in range(self.l_max + 1):
            for k in range(0, self.n_u, 8):
                n_vec = padded(min(self.n_u, k + 8)) // LANES if self.symmetric else self.row_v // LANES
                add_product(min(8, self.n_u - k), 2 * l + 1, work.u + l * l * self.row_u + k, 1, self.row_u,
                            work.v + l * l * self.row_v, self.row_v, n_vec, out + k * self.row_v, self.row_v)
            out += self.n_u * self.row_v
        for k in range(self.n_spectrum):
            work.feature[k] = self.scale[k] * work.spectrum[self.place[k]]
            square += work.feature[k] * work.feature[k]
        if not self.normalize:
            return 1.0
        return 1.0 / sqrt(square) if square > 0 else 0.0

    # ------------------------------------------------------------------ reverse

    cdef void fill_adjoint(self, Work* work, double inverse, const double* cotangents) noexcept nogil:
        """c_bar = cotangents of the density; `feature` holds p, and `inverse` 1/|p|."""
        cdef double along = 0.0, bar
        cdef double* transposed = work.spectrum if self.symmetric else work.transposed
        cdef int k
        if self.normalize:
            for k in range(self.n_spectrum):
                along += work.feature[k] * cotangents[k]
            along *= inverse * inverse
        for k in range(self.n_spectrum):
            bar = self.scale_back[k] * inverse * (cotangents[k] - along * work.feature[k])
            work.spectrum[self.place[k]] = bar
            transposed[self.place_back[k]] = bar
        if not self.mixed:
            memset(work.c_bar, 0, self.n_lm * self.row_c * sizeof(double))
            self.contract(work.u, self.row_u, self.n_u, work.spectrum, self.row_v, work.c_bar)
            return
        memset(work.c_bar, 0, self.n_lm * self.row_c * sizeof(double))
        memset(work.v_bar, 0, self.n_lm * self.row_v * sizeof(double))
        self.contract(work.u, self.row_u, self.n_u, work.spectrum, self.row_v, work.v_bar)
        add_product(self.n_lm, self.n_v, work.v_bar, self.row_v, 1, &self.right_back[0, 0], self.row_c,
                    self.row_c // LANES, work.c_bar, self.row_c)
        if self.symmetric:
            return
        memset(work.u_bar, 0, self.n_lm * self.row_u * sizeof(double))
        self.contract(work.v, self.row_v, self.n_v, work.transposed, self.row_u, work.u_bar)
        add_product(self.n_lm, self.n_u, work.u_bar, self.row_u, 1, &self.left_back[0, 0], self.row_c,
                    self.row_c // LANES, work.c_bar, self.row_c)

    cdef inline void contract(self, const double* u, int row, int n, const double* matrix, int columns,
                              double* out) noexcept nogil:
        """out[lm][κ'] += Σ_κ u[lm][κ] matrix[l][κ][κ']."""
        cdef int l
        for l in range(self.l_max + 1):
            add_product(2 * l + 1, n, u + l * l * row, row, 1, matrix + l * n * columns, columns, columns // LANES,
                        out + l * l * columns, columns)

    cdef void write_gradient(self, Work* work, Pairs pairs, Py_ssize_t center, double* out) noexcept nogil:
        cdef Py_ssize_t n_neighbors, k, size = (self.l_max + 1) * self.n_pad
        cdef int channel, lane, here
        memset(out + 3 * pairs.offsets[center], 0,
               3 * (pairs.offsets[center + 1] - pairs.offsets[center]) * sizeof(double))
        for channel in range(self.n_channels):
            n_neighbors = self.gather(work, pairs, center, channel)
            k = 0
            while k < n_neighbors:
                self.fill_directions(work, k)
                here = min(<Py_ssize_t> LANES, n_neighbors - k)
                for lane in range(here):
                    self.fill_radial(work.r[k + lane], work.radial + lane * size, work.slope + lane * size)
                for lane in range(0, here, 2):  # two at a time hide the latency of the additions
                    self.sweep(work, k, lane, min(lane + 1, here - 1), channel, out)
                k += LANES

    cdef inline void sweep(self, Work* work, Py_ssize_t k, int one, int two, int channel, double* out) noexcept nogil:
        """Gradients of Σ c̄ F Y with respect to two neighbors' positions; both may be the same one."""
        cdef Py_ssize_t size = (self.l_max + 1) * self.n_pad
        cdef int l, n, v, _m
        cdef const double* directions
        cdef const double* bar
        cdef vec b, q1, x1, y1, z1, q2, x2, y2, z2, f, rx1, ry1, rz1, rr1, rx2, ry2, rz2, rr2
        rr1 = rx1 = ry1 = rz1 = rr2 = rx2 = ry2 = rz2 = splat(0.0)
        for l in range(self.l_max + 1):
            for v in range(self.n_pad // LANES):
                n = v * LANES
                q1 = x1 = y1 = z1 = q2 = x2 = y2 = z2 = splat(0.0)
                directions = <double*> (work.directions + 4 * l * l)
                bar = work.c_bar + l * l * self.row_c + channel * self.n_max + n
                for _m in range(2 * l + 1):
                    b = load(bar)
                    q1 += directions[one] * b
                    x1 += directions[LANES + one] * b
                    y1 += directions[2 * LANES + one] * b
                    z1 += directions[3 * LANES + one] * b
                    q2 += directions[two] * b
                    x2 += directions[LANES + two] * b
                    y2 += directions[2 * LANES + two] * b
                    z2 += directions[3 * LANES + two] * b
                    directions += 4 * LANES
                    bar += self.row_c
                f = load(work.radial + one * size + l * self.n_pad + n)
                rx1 += f * x1
                ry1 += f * y1
                rz1 += f * z1
                rr1 += load(work.slope + one * size + l * self.n_pad + n) * q1
                f = load(work.radial + two * size + l * self.n_pad + n)
                rx2 += f * x2
                ry2 += f * y2
                rz2 += f * z2
                rr2 += load(work.slope + two * size + l * self.n_pad + n) * q2
        put(out + 3 * work.pair[k + one], work, k + one, rr1, rx1, ry1, rz1)
        put(out + 3 * work.pair[k + two], work, k + two, rr2, rx2, ry2, rz2)

    # ------------------------------------------------------------------ explicit Jacobian

    cdef void write_jacobian(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t base, double inverse,
                             double* out) noexcept nogil:
        cdef Py_ssize_t n_neighbors, k, first = pairs.offsets[center], size = 3 * (self.n_spectrum + 1)
        cdef int channel, lane
        memset(out + (first - base) * size, 0, size * (pairs.offsets[center + 1] - first) * sizeof(double))
        for channel in range(self.n_channels):
            n_neighbors = self.gather(work, pairs, center, channel)
            for k in range(n_neighbors):
                lane = k % LANES
                if lane == 0:
                    self.fill_directions(work, k)
                self.fill_radial(work.r[k], work.radial, work.slope)
                self.fill_sides(work, channel, lane)
                self.fill_change(work, k)
                self.write_features(work, inverse, out + (work.pair[k] - base) * size)

    cdef void fill_sides(self, Work* work, int channel, int lane) noexcept nogil:
        """left, right: the neighbor's F and dF by κ; along_u, along_v: sums over m."""
        cdef int l
        self.fill_side(work, channel, self.row_u, &self.left[0, 0] if self.mixed else NULL, work.left)
        self.fill_side(work, channel, self.row_v, &self.right[0, 0] if self.mixed else NULL, work.right)
        memset(work.along_u, 0, 4 * (self.l_max + 1) * self.row_u * sizeof(double))
        memset(work.along_v, 0, 4 * (self.l_max + 1) * self.row_v * sizeof(double))
        for l in range(self.l_max + 1):
            add_product(4, 2 * l + 1, <double*> (work.directions + 4 * l * l) + lane, LANES, 4 * LANES,
                        work.v + l * l * self.row_v, self.row_v, self.row_v // LANES,
                        work.along_v + 4 * l * self.row_v, self.row_v)
            add_product(4, 2 * l + 1, <double*> (work.directions + 4 * l * l) + lane, LANES, 4 * LANES,
                        work.u + l * l * self.row_u, self.row_u, self.row_u // LANES,
                        work.along_u + 4 * l * self.row_u, self.row_u)

    cdef inline void fill_side(self, Work* work, int channel, int row, const double* mixture,
                               double* out) noexcept nogil:
        cdef int l, n, n_l = self.l_max + 1
        memset(out, 0, 2 * n_l * row * sizeof(double))
        if mixture != NULL:
            mixture += channel * self.n_max * row
            add_product(n_l, self.n_max, work.radial, self.n_pad, 1, mixture, row, row // LANES, out, row)
            add_product(n_l, self.n_max, work.slope, self.n_pad, 1, mixture, row, row // LANES, out + n_l * row, row)
            return
        for l in range(n_l):
            for n in range(self.n_max):
                out[l * row + channel * self.n_max + n] = work.radial[l * self.n_pad + n]
                out[(n_l + l) * row + channel * self.n_max + n] = work.slope[l * self.n_pad + n]

    cdef void fill_change(self, Work* work, Py_ssize_t k) noexcept nogil:
        """change[x][l][κ][κ'] = ∂/∂x of Σ_m u v, from both factors."""
        cdef double unit[3]
        cdef int x, l, n, a, n_l = self.l_max + 1, n_vec = self.row_v // LANES
        cdef const double* u
        cdef const vec* v
        cdef const vec* gradient
        cdef const vec* radial
        cdef const vec* slope
        cdef vec* to
        cdef double f, d, q, g
        unit[0], unit[1], unit[2] = work.x[k], work.y[k], work.z[k]
        for x in range(3):
            for l in range(n_l):
                u = work.along_u + 4 * l * self.row_u
                v = <vec*> (work.along_v + 4 * l * self.row_v)
                gradient = v + (x + 1) * n_vec
                radial = <vec*> (work.right + l * self.row_v)
                slope = <vec*> (work.right + (n_l + l) * self.row_v)
                to = <vec*> (work.change + (x * n_l + l) * self.n_u * self.row_v)
                for n in range(self.n_u):
                    f = work.left[l * self.row_u + n]
                    d = work.left[(n_l + l) * self.row_u + n] * unit[x]
                    q = u[n] * unit[x]
                    g = u[(x + 1) * self.row_u + n]
                    for a in range(n // LANES + 1 if self.symmetric else n_vec):
                        to[a] = d * v[a] + f * gradient[a] + (q * slope[a] + g * radial[a])
                    to += n_vec

    cdef void write_features(self, Work* work, double inverse, double* out) noexcept nogil:
        """Three rows of derivatives of the features, from change."""
        cdef int k, _x
        cdef double along
        cdef const double* change = work.change
        for _x in range(3):
            along = 0.0
            for k in range(self.n_spectrum):
                work.row[k] = self.scale[k] * change[self.place[k]]
                along += work.row[k] * work.feature[k]
            along *= inverse * inverse if self.normalize else 0.0
            for k in range(self.n_spectrum):
                out[k] = inverse * (work.row[k] - along * work.feature[k])
            out += self.n_spectrum + 1
            change += (self.l_max + 1) * self.n_u * self.row_v


cdef inline int padded(int n) noexcept nogil:
    return (n + 7) // 8 * 8


cdef inline vec load(const double* p) noexcept nogil:
    return (<const vec*> p)[0]


cdef inline void put(double* out, const Work* work, Py_ssize_t k, vec radial, vec x, vec y, vec z) noexcept nogil:
    """out = r̂ Σ radial + Σ (x, y, z), the sums over lanes."""
    cdef int lane
    cdef double r = 0.0, gx = 0.0, gy = 0.0, gz = 0.0
    for lane in range(LANES):
        r += (<double*> &radial)[lane]
        gx += (<double*> &x)[lane]
        gy += (<double*> &y)[lane]
        gz += (<double*> &z)[lane]
    out[0] = gx + r * work.x[k]
    out[1] = gy + r * work.y[k]
    out[2] = gz + r * work.z[k]


cdef inline void combine(Py_ssize_t size, const double* knot, const double* weight, double* out) noexcept nogil:
    """out = Σ_i weight[i] knot[i·size + ...]."""
    cdef Py_ssize_t i = 0
    while i < size:
        (<vec*> (out + i))[0] = (
            (weight[0] * load(knot + i) + weight[1] * load(knot + size + i) + weight[2] * load(knot + 2 * size + i))
            + (weight[3] * load(knot + 3 * size + i) + weight[4] * load(knot + 4 * size + i)
               + weight[5] * load(knot + 5 * size + i)))
        i += LANES


cdef inline void combine_both(Py_ssize_t size, const double* knot, const double* weight, const double* change,
                              double* out, double* slope) noexcept nogil:
    """As `combine`, with two sets of weights."""
    cdef Py_ssize_t i = 0, j
    cdef vec a, b, d
    while i < size:
        a = b = splat(0.0)
        for j in range(6):
            d = load(knot + j * size + i)
            a += weight[j] * d
            b += change[j] * d
        (<vec*> (out + i))[0] = a
        (<vec*> (slope + i))[0] = b
        i += LANES


cdef inline void add_product(int n_rows, int n_inner, const double* a, Py_ssize_t row, Py_ssize_t inner,
                             const double* b, Py_ssize_t b_row, int n_vec, double* out,
                             Py_ssize_t out_row) noexcept nogil:
    """out[r][:] += Σ_i a[r·row + i·inner] b[i][:], for `n_vec` vectors of columns."""
    cdef int r = 0, v
    while r + 8 <= n_rows:
        for v in range(n_vec):
            add_eight(n_inner, a + r * row, row, inner, b + v * LANES, b_row, out + r * out_row + v * LANES, out_row)
        r += 8
    if r + 4 <= n_rows:
        for v in range(n_vec):
            add_four(n_inner, a + r * row, row, inner, b + v * LANES, b_row, out + r * out_row + v * LANES, out_row)
        r += 4
    while r < n_rows:
        for v in range(n_vec):
            add_one(n_inner, a + r * row, inner, b + v * LANES, b_row, out + r * out_row + v * LANES)
        r += 1


cdef inline void add_eight(int n, const double* a, Py_ssize_t row, Py_ssize_t inner, const double* b, Py_ssize_t b_row,
                           double* out, Py_ssize_t out_row) noexcept nogil:
    cdef vec s0, s1, s2, s3, s4, s5, s6, s7, t
    cdef int _i
    s0, s1, s2, s3 = load(out), load(out + out_row), load(out + 2 * out_row), load(out + 3 * out_row)
    s4, s5 = load(out + 4 * out_row), load(out + 5 * out_row)
    s6, s7 = load(out + 6 * out_row), load(out + 7 * out_row)
    for _i in range(n):
        t = load(b)
        s0 += a[0] * t
        s1 += a[row] * t
        s2 += a[2 * row] * t
        s3 += a[3 * row] * t
        s4 += a[4 * row] * t
        s5 += a[5 * row] * t
        s6 += a[6 * row] * t
        s7 += a[7 * row] * t
        a += inner
        b += b_row
    (<vec*> out)[0] = s0
    (<vec*> (out + out_row))[0] = s1
    (<vec*> (out + 2 * out_row))[0] = s2
    (<vec*> (out + 3 * out_row))[0] = s3
    (<vec*> (out + 4 * out_row))[0] = s4
    (<vec*> (out + 5 * out_row))[0] = s5
    (<vec*> (out + 6 * out_row))[0] = s6
    (<vec*> (out + 7 * out_row))[0] = s7


cdef inline void add_four(int n, const double* a, Py_ssize_t row, Py_ssize_t inner, const double* b, Py_ssize_t b_row,
                          double* out, Py_ssize_t out_row) noexcept nogil:
    cdef vec s0, s1, s2, s3, t
    cdef int _i
    s0, s1, s2, s3 = load(out), load(out + out_row), load(out + 2 * out_row), load(out + 3 * out_row)
    for _i in range(n):
        t = load(b)
        s0 += a[0] * t
        s1 += a[row] * t
        s2 += a[2 * row] * t
        s3 += a[3 * row] * t
        a += inner
        b += b_row
    (<vec*> out)[0] = s0
    (<vec*> (out + out_row))[0] = s1
    (<vec*> (out + 2 * out_row))[0] = s2
    (<vec*> (out + 3 * out_row))[0] = s3


cdef inline void add_one(int n, const double* a, Py_ssize_t inner, const double* b, Py_ssize_t b_row,
                         double* out) noexcept nogil:
    cdef vec s = load(out)
    cdef int _i
    for _i in range(n):
        s += a[0] * load(b)
        a += inner
        b += b_row
    (<vec*> out)[0] = s


def with_transpose(matrix, row, back_row):
    """The matrix, and its transpose, with rows padded by zeros."""
    n, m = matrix.shape
    there, back = np.zeros((n, row)), np.zeros((m, back_row))
    there[:, :m], back[:, :n] = matrix, matrix.T
    return there, back
