"""Bispectrum components and their derivatives, a batch of ``LANES`` environments at a time.

Per environment, with the bases and tables of ``mlfeat.descriptors._bispectrum_tables``:

1. density     x_nlm = Σ_j A(r_j) g_nl(ψ_j) Y_lm(r̂_j)        over neighbors, recurrences only
2. wigner      u = T x                                          sparse, constant
3. couplings   z = Σ c·u1·u2                                    the Clebsch-Gordan products
4. values      B = Re Σ conj(u) z
5. adjoint     Y = Σ_features cotangent·z,  x̄ = Tᵀ Y
6. gradient    ∂E/∂r_ij = Σ_nlm x̄_nlm ∇(A g_nl Y_lm)           over neighbors, recurrences only

Every array is laid out ``[index][lane]``. Missing neighbors of a lane are filled with weight zero, so that no
environment knows which others share its batch.
"""

from libc.math cimport M_PI, cos, sin, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from mlfeat._ext.harmonics cimport Harmonics, Legendre, fill_gradients, fill_harmonics
from mlfeat._ext.neighbors cimport Pairs, longest, pairs_of
from mlfeat._ext.simd cimport LANES, sincospi, splat, vec

lanes = LANES

cdef enum:  # what a neighbor carries
    NX, NY, NZ, RINV, PSI, CUT, WEIGHT, WEIGHT_SLOPE, PSI_SLOPE, CUT_SLOPE, N_FIELDS


cdef struct Work:
    # one thread's buffers; every vec pointer has [index][lane] layout
    void* memory
    Py_ssize_t* pair  # [neighbor][lane] -> pair
    Py_ssize_t* count  # [lane] -> neighbors
    vec* field  # [neighbor][NX ... CUT_SLOPE]
    vec* radial  # g_nl, later A g_nl
    vec* slope  # d(A g_nl)/dr
    Harmonics harmonics
    vec* weight  # cotangents of Y_lm, or ∇Y_lm as x, y, z
    vec* u  # [channel][element][re, im]
    vec* z  # one coupling
    vec* y  # cotangents of the half of u
    vec* x  # cotangents of the density, or its basis functions' gradients
    vec* coefficient  # cotangents of the features
    vec* jacobian  # ∂B/∂x by slot


cdef class Kernel:
    """Compiled bispectrum for given tables and pair parameters.

    Parameters
    ----------
    tables : Tables
    radial : Radial
    legendre : Legendre
    cutoff : array (n_species, n_species)
        Pair cutoffs in Å.
    weights : array (n_species,)
    inner : array (n_species, n_species, 2)
        Center and half width of the inner switching; half width 0: none.
    shift : array (n_species, n_features)
        Subtracted from the components of a center of each species.
    rfac0, rmin0 : float
    switch, chem, self_all : bool
    """

    cdef int twojmax, n_species, n_channels, n_features, n_l, n_g, n_x, n_u, n_h
    cdef int n_blocks, n_slots, slot_h, slot_x, max_half
    cdef double rfac0, rmin0
    cdef bint switch, chem, self_all
    cdef const double[::1] up, back, down, above, q_up, q_back, q_slope
    cdef Legendre legendre
    cdef const int[::1] t_start, t_column, a_start, a_column
    cdef const double[::1] t_value, a_value
    cdef const int[::1] half_offset, half_full, product_start, product_first, product_second
    cdef const double[::1] half_weight, product_value, sink_factor, value_factor
    cdef const int[:, ::1] block, sink, value_block, slot
    cdef const int[::1] sink_start, slot_start
    cdef const double[:, ::1] cutoff, shift
    cdef const double[::1] weights
    cdef const double[:, :, ::1] inner

    def __init__(self, tables, radial, legendre, cutoff, weights, inner, shift, rfac0, rmin0, switch, chem, self_all):
        self.twojmax, self.n_channels, self.n_features = tables.twojmax, tables.n_channels, tables.n_features
        self.n_species = len(weights)
        self.n_l = (self.twojmax + 1) ** 2
        self.n_g = len(radial.up)
        self.n_u = self.n_x = len(tables.from_wigner.start) - 1
        self.n_h = len(tables.half_full)
        self.up, self.back, self.down, self.above = radial
        self.q_up, self.q_back, self.q_slope = legendre
        self.legendre = Legendre(self.twojmax, &self.q_up[0], &self.q_back[0], &self.q_slope[0])
        self.t_start, self.t_column, self.t_value = tables.to_wigner
        self.a_start, self.a_column, self.a_value = tables.from_wigner
        self.half_offset, self.half_full, self.half_weight = tables.half_offset, tables.half_full, tables.half_weight
        self.product_start, self.product_value = tables.product_start, tables.product_value
        self.product_first, self.product_second = tables.product_first, tables.product_second
        self.block, self.sink_start, self.sink = tables.block, tables.sink_start, tables.sink
        self.sink_factor, self.value_factor = tables.sink_factor, tables.value_factor
        self.value_block, self.slot_start, self.slot = tables.value_block, tables.slot_start, tables.slot
        self.n_blocks, self.n_slots = len(tables.block), len(tables.slot)
        last = tables.slot[self.n_slots - 1]
        self.max_half = max(tables.half_offset[j + 1] - tables.half_offset[j] for j in range(self.twojmax + 1))
        self.slot_h = last[2] + tables.half_offset[last[1] + 1] - tables.half_offset[last[1]]
        self.slot_x = last[3] + (last[1] + 1) ** 2
        self.cutoff, self.weights, self.inner, self.shift = cutoff, weights, inner, shift
        self.rfac0, self.rmin0 = rfac0, rmin0
        self.switch, self.chem, self.self_all = switch, chem, self_all

    def density_shape(self, n_atoms):
        """Shape of the densities of `n_atoms` centers: a batch of LANES in each row."""
        return n_batches(0, n_atoms), self.n_channels * self.n_x * LANES

    # ------------------------------------------------------------------ operations

    def values(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
               const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
               double[:, ::1] density, double[:, ::1] out):
        """Fill `out` (n_atoms, n_features) and `density` (`density_shape`) for centers start to stop.

        `start` is a multiple of LANES.
        """
        if (out.shape[0] < stop or out.shape[1] != self.n_features or density.shape[0] * LANES < stop
                or density.shape[1] != self.n_channels * self.n_x * LANES):
            raise ValueError("values or density have the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center, batch
        cdef vec* x
        if self.allocate(&work, longest(pairs, start, stop), False) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                x = <vec*> &density[center // LANES, 0]
                self.fill_density(&work, pairs, center, stop, x)
                self.fill_wigner(&work, x)
                self.write_values(&work, pairs, center, stop, &out[0, 0])
        free(work.memory)

    def gradient(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                 const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
                 const double[:, ::1] density, const double[:, ::1] cotangents, double[:, ::1] out):
        """Fill `out` (n_pairs, 3) with Σ_k cotangents[i, k] ∂B_k(i)/∂r_ij for the centers start to stop."""
        if cotangents.shape[0] != offsets.shape[0] - 1 or cotangents.shape[1] != self.n_features:
            raise ValueError(f"cotangents have the shape {cotangents.shape[0], cotangents.shape[1]}, must have "
                             f"{offsets.shape[0] - 1, self.n_features}: one for each atom and feature")
        if out.shape[0] == 0:
            return
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center, batch
        if self.allocate(&work, longest(pairs, start, stop), False) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                self.fill_wigner(&work, <const vec*> &density[center // LANES, 0])
                self.fill_adjoint(&work, center, stop, &cotangents[0, 0])
                self.write_gradient(&work, pairs, center, stop, &out[0, 0])
        free(work.memory)

    def jacobian(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                 const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop, double[:, :, ::1] out):
        """Fill `out` (n_pairs of these centers, 3, n_features) with ∂B(i)/∂r_ij for the centers start to stop."""
        if out.shape[0] == 0:
            return
        if out.shape[2] != self.n_features:
            raise ValueError("the Jacobian has the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center, batch
        cdef vec* x
        if self.allocate(&work, longest(pairs, start, stop), True) != 0:
            raise MemoryError
        with nogil:
            x = work.x
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                self.fill_density(&work, pairs, center, stop, x)
                self.fill_wigner(&work, x)
                self.fill_jacobian(&work)
                self.write_jacobian(&work, pairs, center, stop, offsets[start], &out[0, 0, 0])
        free(work.memory)

    # ------------------------------------------------------------------ neighbors

    cdef int allocate(self, Work* work, Py_ssize_t n_neighbors, bint jacobian) noexcept nogil:
        cdef Py_ssize_t m = self.twojmax + 2
        cdef Py_ssize_t nx = self.n_channels * self.n_x
        cdef Py_ssize_t sizes[13]
        cdef Py_ssize_t total = 0
        cdef int k
        sizes[0] = n_neighbors * N_FIELDS
        sizes[1] = sizes[2] = sizes[3] = self.n_g + m
        sizes[4] = sizes[5] = m
        sizes[6] = self.n_l
        sizes[7] = 3 * self.n_l
        sizes[8] = 2 * self.n_channels * self.n_u
        sizes[9] = 2 * self.max_half
        sizes[10] = 2 * (self.slot_h if jacobian else self.n_channels * self.n_h)
        sizes[11] = max(nx, 3 * self.n_x)
        sizes[12] = self.slot_x if jacobian else self.n_features
        for k in range(13):
            total += sizes[k]
        cdef Py_ssize_t integers = (n_neighbors + 1) * LANES
        work.memory = malloc(total * sizeof(vec) + integers * sizeof(Py_ssize_t) + 64)
        if work.memory == NULL:
            return -1
        cdef vec* p = <vec*> ((<size_t> work.memory + 63) // 64 * 64)
        work.field = p
        work.radial = work.field + sizes[0]
        work.slope = work.radial + sizes[1]
        work.harmonics.legendre = work.slope + sizes[2]
        work.harmonics.cosine = work.harmonics.legendre + sizes[3]
        work.harmonics.sine = work.harmonics.cosine + sizes[4]
        work.harmonics.value = work.harmonics.sine + sizes[5]
        work.weight = work.harmonics.value + sizes[6]
        work.u = work.weight + sizes[7]
        work.z = work.u + sizes[8]
        work.y = work.z + sizes[9]
        work.x = work.y + sizes[10]
        work.coefficient = work.x + sizes[11]
        work.jacobian = work.coefficient
        work.count = <Py_ssize_t*> (p + total)
        work.pair = work.count + LANES
        return 0

    cdef Py_ssize_t gather(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t stop,
                           int channel) noexcept nogil:
        """Neighbors within the cutoff, of one species if `channel` >= 0; the longest lane's number of them."""
        cdef Py_ssize_t lane, i, k, p, most = 0
        cdef Py_ssize_t si, sj
        cdef const double* d
        cdef double r2, cut
        for lane in range(LANES):
            i = center + lane
            k = 0
            if i < stop:
                si = pairs.species[i]
                for p in range(pairs.offsets[i], pairs.offsets[i + 1]):
                    sj = pairs.species[pairs.second[p]]
                    if channel >= 0 and sj != channel:
                        continue
                    d = pairs.vectors + 3 * p
                    cut = self.cutoff[si, sj]
                    r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
                    if r2 < cut * cut:
                        self.put(<double*> (work.field + k * N_FIELDS) + lane, d, sqrt(r2), si, sj)
                        work.pair[k * LANES + lane] = p
                        k += 1
            work.count[lane] = k
            most = max(most, k)
        for lane in range(LANES):
            for k in range(work.count[lane], most):
                self.put_nothing(<double*> (work.field + k * N_FIELDS) + lane)
        return most

    cdef inline void put(self, double* f, const double* d, double r, Py_ssize_t si, Py_ssize_t sj) noexcept nogil:
        cdef double scale = 1.0 / (self.cutoff[si, sj] - self.rmin0)
        cdef double inverse = 1.0 / r
        cdef double s = (r - self.rmin0) * scale
        cdef double psi = self.rfac0 * s
        f[NX * LANES] = d[0] * inverse
        f[NY * LANES] = d[1] * inverse
        f[NZ * LANES] = d[2] * inverse
        f[RINV * LANES] = inverse
        f[PSI * LANES] = psi if psi >= 0 else psi + 1.0  # below rmin0 LAMMPS takes the opposite point of the sphere
        f[CUT * LANES] = s if self.switch and s > 0 else 0.0
        f[WEIGHT * LANES] = self.weights[sj]
        f[WEIGHT_SLOPE * LANES] = 0.0
        f[PSI_SLOPE * LANES] = M_PI * self.rfac0 * scale
        f[CUT_SLOPE * LANES] = M_PI * scale
        cdef double middle = self.inner[si, sj, 0]
        cdef double width = self.inner[si, sj, 1]
        if width > 0 and r < middle + width:
            s = M_PI / 2 * (r - middle) / width if r > middle - width else -M_PI / 2
            f[WEIGHT * LANES] = self.weights[sj] * 0.5 * (1.0 + sin(s))
            f[WEIGHT_SLOPE * LANES] = self.weights[sj] * 0.5 * cos(s) * M_PI / 2 / width if r > middle - width else 0.0

    cdef inline void put_nothing(self, double* f) noexcept nogil:
        cdef int k
        for k in range(N_FIELDS):
            f[k * LANES] = 0.0
        f[NZ * LANES] = 1.0
        f[RINV * LANES] = 1.0
        f[PSI * LANES] = 0.5

    # ------------------------------------------------------------------ recurrences of one neighbor

    cdef inline void fill_radial(self, Work* work, const vec* f, bint slopes) noexcept nogil:
        """radial = A g_nl and, if asked, slope = d(A g_nl)/dr."""
        cdef vec s, c, cut_s, cut_c, amplitude, amplitude_slope, psi_slope
        cdef vec* g = work.radial
        cdef int n, l, k
        sincospi(f[PSI], &s, &c)
        sincospi(f[CUT], &cut_s, &cut_c)
        amplitude = f[WEIGHT] * (0.5 + 0.5 * cut_c)
        g[0] = splat(1.0)
        for n in range(1, self.twojmax + 1):
            k = n * (n + 1) // 2
            for l in range(n - 1):
                g[k + l] = self.up[k + l] * (c * g[k - n + l] - self.back[k + l] * g[k - 2 * n + 1 + l])
            g[k + n - 1] = self.up[k + n - 1] * c * g[k - 1]
            g[k + n] = self.up[k + n] * s * g[k - 1]
        if slopes:
            amplitude_slope = f[WEIGHT_SLOPE] * (0.5 + 0.5 * cut_c) - f[WEIGHT] * 0.5 * cut_s * f[CUT_SLOPE]
            psi_slope = amplitude * f[PSI_SLOPE]
            work.slope[0] = amplitude_slope
            for n in range(1, self.twojmax + 1):
                k = n * (n + 1) // 2
                work.slope[k] = amplitude_slope * g[k] - psi_slope * self.above[k] * g[k + 1]
                for l in range(1, n):
                    work.slope[k + l] = amplitude_slope * g[k + l] + psi_slope * (
                        self.down[k + l] * g[k + l - 1] - self.above[k + l] * g[k + l + 1])
                work.slope[k + n] = amplitude_slope * g[k + n] + psi_slope * self.down[k + n] * g[k + n - 1]
        for k in range(self.n_g):
            g[k] = g[k] * amplitude

    cdef inline void fill_directions(self, Work* work, const vec* f) noexcept nogil:
        fill_harmonics(&self.legendre, &work.harmonics, f[NX], f[NY], f[NZ])

    # ------------------------------------------------------------------ forward

    cdef void fill_density(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t stop, vec* x) noexcept nogil:
        cdef Py_ssize_t most, k, lane
        cdef int channel, n, l, m, g
        cdef vec a
        cdef vec* row
        cdef const vec* Y
        memset(x, 0, self.n_channels * self.n_x * sizeof(vec))
        for channel in range(self.n_channels):
            row = x + channel * self.n_x
            for n in range(self.twojmax + 1):  # the central atom: u = 1, that is x_n00 = n + 1
                for lane in range(LANES):
                    if self.has_self(pairs, center + lane, stop, channel):
                        (<double*> row)[lane] = n + 1.0
                row += (n + 1) * (n + 1)
            most = self.gather(work, pairs, center, stop, channel if self.chem else -1)
            for k in range(most):
                self.fill_radial(work, work.field + k * N_FIELDS, False)
                self.fill_directions(work, work.field + k * N_FIELDS)
                row = x + channel * self.n_x
                g = 0
                for n in range(self.twojmax + 1):
                    Y = work.harmonics.value
                    for l in range(n + 1):
                        a = work.radial[g]
                        g += 1
                        for m in range(2 * l + 1):
                            row[m] = row[m] + a * Y[m]
                        row += 2 * l + 1
                        Y += 2 * l + 1

    cdef inline bint has_self(self, Pairs pairs, Py_ssize_t i, Py_ssize_t stop, int channel) noexcept nogil:
        return i < stop and (not self.chem or self.self_all or pairs.species[i] == channel)

    cdef void fill_wigner(self, Work* work, const vec* x) noexcept nogil:
        """u = T x for each channel."""
        cdef int channel
        for channel in range(self.n_channels):
            multiply(2 * self.n_u, &self.t_start[0], &self.t_column[0], &self.t_value[0], x + channel * self.n_x,
                     work.u + 2 * channel * self.n_u)

    cdef inline int couple(self, Work* work, int block) noexcept nogil:
        """z = the block's coupling of two u, on the half of its elements; returns how many they are."""
        cdef int j = self.block[block, 0]
        cdef int n = self.half_offset[j + 1] - self.half_offset[j]
        contract(n, &self.product_start[self.block[block, 1]], &self.product_first[0], &self.product_second[0],
                 &self.product_value[0], work.u + 2 * self.block[block, 2] * self.n_u,
                 work.u + 2 * self.block[block, 3] * self.n_u, work.z)
        return n

    cdef void write_values(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t stop,
                           double* out) noexcept nogil:
        cdef int feature, j, n, h, first
        cdef Py_ssize_t lane
        cdef vec total
        cdef const vec* u
        for feature in range(self.n_features):
            n = self.couple(work, self.value_block[feature, 0])
            j = self.block[self.value_block[feature, 0], 0]
            first = self.half_offset[j]
            total = splat(0.0)
            for h in range(n):
                u = work.u + 2 * (self.value_block[feature, 1] * self.n_u + self.half_full[first + h])
                total += self.half_weight[first + h] * (u[0] * work.z[2 * h] + u[1] * work.z[2 * h + 1])
            total = total * self.value_factor[feature]
            for lane in range(min(<Py_ssize_t> LANES, stop - center)):
                out[(center + lane) * self.n_features + feature] = (
                    (<double*> &total)[lane] - self.shift[pairs.species[center + lane], feature])

    # ------------------------------------------------------------------ reverse

    cdef void fill_adjoint(self, Work* work, Py_ssize_t center, Py_ssize_t stop,
                           const double* cotangents) noexcept nogil:
        """x = ∂E/∂density from the cotangents of the features."""
        cdef int block, n, h, s, channel
        cdef Py_ssize_t lane, feature
        cdef vec a
        cdef vec* y
        for feature in range(self.n_features):
            a = splat(0.0)
            for lane in range(min(<Py_ssize_t> LANES, stop - center)):
                (<double*> &a)[lane] = cotangents[(center + lane) * self.n_features + feature]
            work.coefficient[feature] = a
        memset(work.y, 0, 2 * self.n_channels * self.n_h * sizeof(vec))
        for block in range(self.n_blocks):
            n = self.couple(work, block)
            for s in range(self.sink_start[block], self.sink_start[block + 1]):
                a = self.sink_factor[s] * work.coefficient[self.sink[s, 0]]
                y = work.y + 2 * (self.sink[s, 1] * self.n_h + self.half_offset[self.block[block, 0]])
                for h in range(2 * n):
                    y[h] = y[h] + a * work.z[h]
        for channel in range(self.n_channels):
            multiply(self.n_x, &self.a_start[0], &self.a_column[0], &self.a_value[0],
                     work.y + 2 * channel * self.n_h, work.x + channel * self.n_x)

    cdef void write_gradient(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t stop,
                             double* out) noexcept nogil:
        cdef Py_ssize_t most, k, lane
        cdef int channel, x
        cdef double* to
        cdef vec gradient[3]
        for lane in range(3 * (pairs.offsets[min(stop, center + LANES)] - pairs.offsets[center])):
            out[3 * pairs.offsets[center] + lane] = 0.0
        for channel in range(self.n_channels):
            most = self.gather(work, pairs, center, stop, channel if self.chem else -1)
            for k in range(most):
                self.pair_gradient(work, work.field + k * N_FIELDS, work.x + channel * self.n_x, gradient)
                for lane in range(LANES):
                    if k < work.count[lane]:
                        to = out + 3 * work.pair[k * LANES + lane]
                        for x in range(3):
                            to[x] = (<double*> &gradient[x])[lane]

    cdef inline void pair_gradient(self, Work* work, const vec* f, const vec* bar, vec* gradient) noexcept nogil:
        """Gradient of Σ bar_nlm A g_nl Y_lm with respect to the neighbor's position."""
        cdef vec radial = splat(0.0), gx = splat(0.0), gy = splat(0.0), gz = splat(0.0)
        cdef vec h, d, b, along, a_m, b_m, z_m
        cdef int l, m, n, lm, k
        cdef const vec* row
        self.fill_radial(work, f, True)
        self.fill_directions(work, f)
        for l in range(self.twojmax + 1):
            for lm in range(l * l, (l + 1) * (l + 1)):
                h = splat(0.0)
                d = splat(0.0)
                k = l * (l + 1) // 2 + l
                row = bar + l * (l + 1) * (2 * l + 1) // 6 + lm
                for n in range(l, self.twojmax + 1):
                    b = row[0]
                    h += b * work.radial[k]
                    d += b * work.slope[k]
                    row += (n + 1) * (n + 1)
                    k += n + 1
                work.weight[lm] = h
                radial += d * work.harmonics.value[lm]
        for m in range(self.twojmax + 1):
            a_m = splat(0.0)
            b_m = splat(0.0)
            z_m = splat(0.0)
            for l in range(m, self.twojmax + 1):
                k = l * (l + 1) // 2 + m
                lm = l * l + l
                if m > 0:
                    a_m += work.weight[lm + m] * work.harmonics.legendre[k]
                    b_m += work.weight[lm - m] * work.harmonics.legendre[k]
                if m < l:
                    h = work.weight[lm + m] * work.harmonics.cosine[m]
                    if m > 0:
                        h += work.weight[lm - m] * work.harmonics.sine[m]
                    z_m += self.q_slope[k] * work.harmonics.legendre[k + 1] * h
            gz += z_m
            if m > 0:
                gx += m * (a_m * work.harmonics.cosine[m - 1] + b_m * work.harmonics.sine[m - 1])
                gy += m * (b_m * work.harmonics.cosine[m - 1] - a_m * work.harmonics.sine[m - 1])
        along = gx * f[NX] + gy * f[NY] + gz * f[NZ]
        gradient[0] = radial * f[NX] + (gx - along * f[NX]) * f[RINV]
        gradient[1] = radial * f[NY] + (gy - along * f[NY]) * f[RINV]
        gradient[2] = radial * f[NZ] + (gz - along * f[NZ]) * f[RINV]

    # ------------------------------------------------------------------ explicit Jacobian

    cdef void fill_jacobian(self, Work* work) noexcept nogil:
        """jacobian[slot] = ∂B_feature/∂x of one channel and level."""
        cdef int block, n, h, s, k, j
        cdef vec* y
        cdef vec* out
        memset(work.y, 0, 2 * self.slot_h * sizeof(vec))
        for block in range(self.n_blocks):
            n = self.couple(work, block)
            for s in range(self.sink_start[block], self.sink_start[block + 1]):
                y = work.y + 2 * self.slot[self.sink[s, 2], 2]
                for h in range(2 * n):
                    y[h] = y[h] + self.sink_factor[s] * work.z[h]
        for s in range(self.n_slots):
            j = self.slot[s, 1]
            y = work.y + 2 * (self.slot[s, 2] - self.half_offset[j])
            out = work.jacobian + self.slot[s, 3]
            k = j * (j + 1) * (2 * j + 1) // 6
            multiply((j + 1) * (j + 1), &self.a_start[k], &self.a_column[0], &self.a_value[0], y, out)

    cdef void write_jacobian(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t stop, Py_ssize_t base,
                             double* out) noexcept nogil:
        cdef Py_ssize_t most, k, lane, size = 3 * self.n_features
        cdef Py_ssize_t first = pairs.offsets[center] - base
        cdef int channel, feature, s, j, x, i
        cdef vec total[3]
        cdef const vec* gradient
        cdef const vec* bar
        cdef double* to
        memset(out + first * size, 0,
               size * (pairs.offsets[min(stop, center + LANES)] - pairs.offsets[center]) * sizeof(double))
        for channel in range(self.n_channels):
            most = self.gather(work, pairs, center, stop, channel if self.chem else -1)
            for k in range(most):
                self.fill_basis(work, work.field + k * N_FIELDS)
                for feature in range(self.n_features):
                    total[0] = total[1] = total[2] = splat(0.0)
                    for s in range(self.slot_start[feature], self.slot_start[feature + 1]):
                        if self.slot[s, 0] != channel:
                            continue
                        j = self.slot[s, 1]
                        gradient = work.x + 3 * (j * (j + 1) * (2 * j + 1) // 6)
                        bar = work.jacobian + self.slot[s, 3]
                        for i in range((j + 1) * (j + 1)):
                            total[0] += bar[i] * gradient[3 * i]
                            total[1] += bar[i] * gradient[3 * i + 1]
                            total[2] += bar[i] * gradient[3 * i + 2]
                    for lane in range(LANES):
                        if k < work.count[lane]:
                            to = out + (work.pair[k * LANES + lane] - base) * size + feature
                            for x in range(3):
                                to[x * self.n_features] = (<double*> &total[x])[lane]

    cdef inline void fill_basis(self, Work* work, const vec* f) noexcept nogil:
        """x[nlm] = ∇(A g_nl Y_lm) as three components."""
        cdef vec x = f[NX], y = f[NY], z = f[NZ], a, d, h
        cdef vec* to = work.x
        cdef int n, l, k, lm
        self.fill_radial(work, f, True)
        self.fill_directions(work, f)
        fill_gradients(&self.legendre, &work.harmonics, x, y, z, f[RINV], work.weight, 3)
        k = 0
        for n in range(self.twojmax + 1):
            for l in range(n + 1):
                a = work.radial[k]
                d = work.slope[k]
                k += 1
                for lm in range(l * l, (l + 1) * (l + 1)):
                    h = d * work.harmonics.value[lm]
                    to[0] = a * work.weight[3 * lm] + h * x
                    to[1] = a * work.weight[3 * lm + 1] + h * y
                    to[2] = a * work.weight[3 * lm + 2] + h * z
                    to += 3


cdef inline Py_ssize_t n_batches(Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    return (stop - start + LANES - 1) // LANES


cdef inline void multiply(int n_rows, const int* start, const int* column, const double* value, const vec* x,
                          vec* out) noexcept nogil:
    """out = sparse · x, lane by lane."""
    cdef int row, k
    cdef vec total
    for row in range(n_rows):
        total = splat(0.0)
        for k in range(start[row], start[row + 1]):
            total += value[k] * x[column[k]]
        out[row] = total


cdef inline void contract(int n, const int* start, const int* first, const int* second, const double* value,
                          const vec* u1, const vec* u2, vec* z) noexcept nogil:
    """z[i] = Σ value·u1[first]·u2[second], complex; two sums at a time hide the latency of the additions."""
    cdef int i, k
    cdef vec re, im, re2, im2
    cdef const vec* a
    cdef const vec* b
    for i in range(n):
        re = im = re2 = im2 = splat(0.0)
        k = start[i]
        if (start[i + 1] - k) & 1:
            a = u1 + first[k]
            b = u2 + second[k]
            re += value[k] * (a[0] * b[0] - a[1] * b[1])
            im += value[k] * (a[0] * b[1] + a[1] * b[0])
            k += 1
        while k < start[i + 1]:
            a = u1 + first[k]
            b = u2 + second[k]
            re += value[k] * (a[0] * b[0] - a[1] * b[1])
            im += value[k] * (a[0] * b[1] + a[1] * b[0])
            a = u1 + first[k + 1]
            b = u2 + second[k + 1]
            re2 += value[k + 1] * (a[0] * b[0] - a[1] * b[1])
            im2 += value[k + 1] * (a[0] * b[1] + a[1] * b[0])
            k += 2
        z[2 * i] = re + re2
        z[2 * i + 1] = im + im2
