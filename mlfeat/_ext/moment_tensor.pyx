"""Contractions of moment tensors and their derivatives, a batch of ``LANES`` environments at a time.

Per environment, with the tables of ``mlfeat.descriptors._moment_program``:

1. functions   f_μ(r_j), and monomials p_m = x^a y^b z^c/(a! b!) of r̂_j with c ≤ 1, in number (2ν + 1) of degree ν
2. moments     R_μm = Σ_j f_μ p_m                              over neighbors
3. expansion   basic moments of all monomials, since x² + y² + z² = 1: sparse, constant
4. graph       node = Σ factor · node · node
5. reverse     the graph and the expansion backwards: cotangents of R
6. gradient    Σ_μm R̄_μm ∇(f_μ p_m)                            over neighbors

Changes of the pair vectors are pushed through 2 to 4 likewise, and cotangents of those changes back: derivatives of
energies and forces with respect to the radial coefficients take one sweep each way.

Every array is laid out ``[index][lane]``. Missing neighbors of a lane stand at the cutoff, where all is zero, so that
no environment knows which others share its batch. Neighbors are taken ``GROUP`` at a time, so that a moment stays in
its register for as many products.
"""

from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from mlfeat._ext.neighbors cimport Pairs, longest, pairs_of
from mlfeat._ext.simd cimport LANES, splat, vec

lanes = LANES

cdef enum:  # what a neighbor carries
    NX, NY, NZ, RINV, XI, CUT, N_FIELDS

cdef enum:
    GROUP = 4  # neighbors
    COLUMNS = 8  # features whose derivatives are written together


cdef struct Work:
    # one thread's buffers; every vec pointer has [index][lane] layout
    void* memory
    Py_ssize_t* pair  # [neighbor][lane] -> pair
    Py_ssize_t* count  # [lane] -> neighbors
    Py_ssize_t* kind  # [neighbor][lane] -> pair of species, or -1 without neighbor
    vec* field  # [neighbor][NX ... CUT]
    vec* phi  # [neighbor][polynomial] the radial basis
    vec* phi_slope
    vec* f  # [neighbor][mu]
    vec* f_slope
    vec* power  # [neighbor][monomial]
    vec* push  # [neighbor][monomial] change of the monomials along a displacement
    vec* along  # [neighbor] change of the distance
    vec* share  # [neighbor] the scaling if it has the species in question, else 0
    vec* mix  # coefficients of one neighbor, when lanes differ
    vec* moment  # [mu, monomial]
    vec* moment_bar
    vec* moment_push  # changes of moments, later the cotangents of R for a change
    vec* node
    vec* node_push
    vec* bar
    vec* bar_push
    vec* h  # [GROUP][monomial] cotangents of the monomials
    vec* gradient  # [COLUMNS][neighbor][3]
    vec* total  # [species, mu, polynomial] derivative with respect to radial coefficients


cdef class Kernel:
    """Compiled contractions of moments.

    Parameters
    ----------
    program : MomentProgram
        Tables.
    coefficients : array (n_species, n_species, n_radial, n_polynomials)
        Of the radial functions, by species of center and neighbor; scaling included.
    scaling : float
        By which derivatives with respect to radial coefficients are multiplied.
    min_dist, cutoff : float
        Ends of the radial basis, Å.
    """

    cdef int n_species, n_radial, n_polynomials, n_monomials, n_moments, n_basic, n_nodes, n_results, n_features, degree
    cdef double scaling, min_dist, cutoff
    cdef const double[:, :, :, ::1] coefficients
    cdef const int[::1] degrees, first_moment, expand_start, expand_column
    cdef const int[::1] result, start, first, second, scalars
    cdef const int[::1] part_start, part_result, part_basic_start, part_basic, push_start, push_result
    cdef const int[::1] pull_start, pull_result, all_forward, all_reverse
    cdef const int[:, ::1] part_degrees, pull_degrees
    cdef const double[::1] expand_value, factor, inverse

    def __init__(self, program, coefficients, scaling, min_dist, cutoff):
        self.n_species, _, self.n_radial, self.n_polynomials = coefficients.shape
        self.coefficients, self.scaling, self.min_dist, self.cutoff = coefficients, scaling, min_dist, cutoff
        self.degrees, self.first_moment = program.degrees, program.first_moment
        self.degree = max(program.degrees)
        self.n_monomials = (self.degree + 1) ** 2
        self.n_moments, self.n_basic, self.n_nodes = program.n_moments, program.n_basic, program.n_nodes
        self.expand_start, self.expand_column, self.expand_value = program.expand
        self.result, self.start, self.first, self.second, self.factor = program.graph
        self.part_start, self.part_result = program.feature_parts.reverse
        self.part_basic_start, self.part_basic = program.feature_parts.basic
        self.part_degrees = program.feature_parts.degrees
        self.push_start, self.push_result = program.radial_parts.forward
        self.pull_start, self.pull_result = program.radial_parts.reverse
        self.pull_degrees = program.radial_parts.degrees
        self.all_forward = np.arange(len(program.graph[0]) + 1, dtype=np.intc)  # never empty
        self.all_reverse = np.append(np.arange(len(program.graph[0]))[::-1], 0).astype(np.intc)
        self.scalars, self.inverse = program.scalars, program.inverse
        self.n_results, self.n_features = len(program.graph[0]), len(program.scalars)

    def density_shape(self, n_atoms):
        """Shape of the moments of `n_atoms` centers: a batch of LANES in each row."""
        return n_batches(0, n_atoms), self.n_moments * LANES

    # ------------------------------------------------------------------ operations

    def values(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
               const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
               double[:, ::1] density, double[:, ::1] out):
        """Fill `out` (n_atoms, n_features) and `density` (`density_shape`) for centers start to stop.

        `start` is a multiple of LANES.
        """
        if (out.shape[0] < stop or out.shape[1] != self.n_features or density.shape[0] * LANES < stop
                or density.shape[1] != self.n_moments * LANES):
            raise ValueError("values or density have the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center, batch, most
        cdef vec* moment
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                moment = <vec*> &density[center // LANES, 0]
                most = self.fill_neighbors(&work, pairs, center, stop)
                self.fill_moments(&work, most, moment)
                self.expand(moment, work.node)
                self.forward(&work)
                self.write_features(work.node, center, stop, &out[0, 0])
        free(work.memory)

    def gradient(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                 const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
                 const double[:, ::1] density, const double[:, ::1] cotangents, double[:, ::1] out):
        """Fill `out` (n_pairs, 3) with Σ_k cotangents[i, k] ∂B_k(i)/∂r_ij for the centers start to stop."""
        self.check_cotangents(offsets, cotangents)
        if out.shape[0] == 0:
            return
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center, batch, most
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                self.expand(<const vec*> &density[center // LANES, 0], work.node)
                self.forward(&work)
                self.fill_bar(work.bar, center, stop, &cotangents[0, 0], 1.0)
                self.reverse(&work)
                self.contract(work.bar, work.moment_bar)
                most = self.fill_neighbors(&work, pairs, center, stop)
                self.pull(&work, most, work.moment_bar, &self.degrees[0], NULL, 0, 0, work.gradient)
                clear(pairs, center, stop, 3, &out[0, 0])
                self.write_gradient(&work, &out[0, 0])
        free(work.memory)

    def linear(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
               const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
               const double[:, ::1] coef, double[::1] energies, double[:, ::1] out):
        """Fill `energies` (n_atoms,) with coef[s_i] · B_i and `out` (n_pairs, 3) with its derivatives by r_ij.

        One sweep forward and one back: the cotangents `coef` (n_species, n_features) are known before.
        """
        if coef.shape[0] != self.n_species or coef.shape[1] != self.n_features or energies.shape[0] < stop:
            raise ValueError("coefficients or energies have the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center, batch, most, lane
        cdef double* gradients = &out[0, 0] if out.shape[0] else NULL
        cdef vec total
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                most = self.fill_neighbors(&work, pairs, center, stop)
                self.fill_moments(&work, most, work.moment)
                self.expand(work.moment, work.node)
                self.forward(&work)
                total = self.fill_linear_bar(&work, species, center, stop, &coef[0, 0])
                for lane in range(min(LANES, stop - center)):
                    energies[center + lane] = (<double*> &total)[lane]
                if gradients == NULL:
                    continue
                self.reverse(&work)
                self.contract(work.bar, work.moment_bar)
                self.pull(&work, most, work.moment_bar, &self.degrees[0], NULL, 0, 0, work.gradient)
                clear(pairs, center, stop, 3, gradients)
                self.write_gradient(&work, gradients)
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
        cdef Py_ssize_t center, batch, most, base = offsets[start]
        cdef int block, feature, column, n
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                most = self.fill_neighbors(&work, pairs, center, stop)
                self.fill_moments(&work, most, work.moment)
                self.expand(work.moment, work.node)
                self.forward(&work)
                clear(pairs, center, stop, 3 * self.n_features, &out[0, 0, 0] - 3 * self.n_features * base)
                for block in range((self.n_features + COLUMNS - 1) // COLUMNS):
                    feature = block * COLUMNS
                    n = min(COLUMNS, self.n_features - feature)
                    for column in range(n):
                        self.reverse_feature(&work, feature + column)
                        self.pull(&work, most, work.moment_bar, &self.part_degrees[feature + column, 0], NULL, 0, 0,
                                  work.gradient + 3 * most * column)
                    self.write_columns(&work, most, n, self.n_features,
                                       &out[0, 0, feature] - 3 * self.n_features * base)
        free(work.memory)

    def jvp(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
            const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
            const double[:, ::1] displacements, double[:, ::1] out):
        """Fill `out` (n_atoms, n_features) with Σ_j displacements[ij] · ∂B(i)/∂r_ij for the centers start to stop."""
        if out.shape[0] < stop or out.shape[1] != self.n_features:
            raise ValueError("values have the wrong shape")
        self.check_displacements(vectors, displacements)
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef const double* shift = &displacements[0, 0] if displacements.shape[0] else NULL
        cdef Work work
        cdef Py_ssize_t center, batch
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                self.push(&work, pairs, center, stop, shift)
                self.write_features(work.node_push, center, stop, &out[0, 0])
        free(work.memory)

    def radial_gradient(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                        const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
                        const double[:, ::1] displacements, const double[:, ::1] cotangents, double energy_factor,
                        double[:, ::1] features, double[:, ::1] out):
        """Fill what `MomentTensor.radial_gradient` returns for the centers start to stop."""
        self.check_cotangents(offsets, cotangents)
        self.check_displacements(vectors, displacements)
        cdef int size = self.n_species * self.n_radial * self.n_polynomials
        if (features.shape[0] < stop or features.shape[1] != self.n_features
                or out.shape[0] < stop or out.shape[1] != size):
            raise ValueError("features or derivatives have the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef const double* shift = &displacements[0, 0] if displacements.shape[0] else NULL
        cdef Work work
        cdef Py_ssize_t center, batch, most, lane
        cdef int k
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                most = self.push(&work, pairs, center, stop, shift)
                self.fill_bar(work.bar, center, stop, &cotangents[0, 0], 1.0)
                self.fill_bar(work.bar_push, center, stop, &cotangents[0, 0], energy_factor)
                self.reverse(&work)
                self.reverse_push(&work, &self.all_reverse[0], self.n_results)
                self.contract(work.bar, work.moment_bar)
                self.contract(work.bar_push, work.moment_push)
                self.fill_total(&work, most)
                for k in range(self.n_features):
                    work.node_push[self.scalars[k]] += energy_factor * work.node[self.scalars[k]]
                self.write_features(work.node_push, center, stop, &features[0, 0])
                for lane in range(min(LANES, stop - center)):
                    for k in range(size):
                        out[center + lane, k] = (<double*> (work.total + k))[lane]
        free(work.memory)

    def radial_jacobian(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
                        const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
                        const double[:, ::1] cotangents, double[:, :, ::1] out):
        """Fill `out` (n_pairs of these centers, 3, n_species n_radial n_polynomials), see `MomentTensor`."""
        self.check_cotangents(offsets, cotangents)
        if out.shape[0] == 0:
            return
        cdef int size = self.n_species * self.n_radial * self.n_polynomials
        if out.shape[2] != size:
            raise ValueError("the derivatives have the wrong shape")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t center, batch, most, base = offsets[start]
        cdef int block, q, column, n, mu, k
        if self.allocate(&work, longest(pairs, start, stop)) != 0:
            raise MemoryError
        with nogil:
            for batch in range(n_batches(start, stop)):
                center = start + batch * LANES
                most = self.fill_neighbors(&work, pairs, center, stop)
                self.fill_moments(&work, most, work.moment)
                self.expand(work.moment, work.node)
                self.forward(&work)
                self.fill_bar(work.bar, center, stop, &cotangents[0, 0], 1.0)
                self.reverse(&work)
                self.contract(work.bar, work.moment_bar)
                clear(pairs, center, stop, 3 * size, &out[0, 0, 0] - 3 * size * base)
                for block in range((size + COLUMNS - 1) // COLUMNS):
                    q = block * COLUMNS
                    n = min(COLUMNS, size - q)
                    for column in range(n):
                        k = (q + column) % self.n_polynomials
                        mu = (q + column) // self.n_polynomials % self.n_radial
                        self.fill_share(&work, most, (q + column) // (self.n_polynomials * self.n_radial))
                        if k == 0:  # another μ changes other nodes
                            memset(work.node_push, 0, self.n_nodes * sizeof(vec))
                        self.push_radial(&work, most, mu, k)
                        self.pull(&work, most, work.moment_push, &self.pull_degrees[mu, 0], work.moment_bar, mu, k,
                                  work.gradient + 3 * most * column)
                    self.write_columns(&work, most, n, size, &out[0, 0, q] - 3 * size * base)
        free(work.memory)

    def check_cotangents(self, offsets, cotangents):
        """Raise ValueError unless there is one for each atom and feature."""
        if cotangents.shape != (len(offsets) - 1, self.n_features):
            raise ValueError(f"cotangents have the shape {tuple(cotangents.shape)}, must have "
                             f"{len(offsets) - 1, self.n_features}: one for each atom and feature")

    def check_displacements(self, vectors, displacements):
        """Raise ValueError unless there is one for each pair."""
        if displacements.shape != vectors.shape:
            raise ValueError(f"displacements have the shape {tuple(displacements.shape)}, must have "
                             f"{tuple(vectors.shape)}: one for each pair")

    # ------------------------------------------------------------------ neighbors

    cdef int allocate(self, Work* work, Py_ssize_t n_neighbors) noexcept nogil:
        cdef Py_ssize_t n = (n_neighbors + GROUP - 1) // GROUP * GROUP
        cdef Py_ssize_t sizes[20]
        cdef Py_ssize_t total = 0
        cdef int k
        sizes[0] = n * N_FIELDS
        sizes[1] = sizes[2] = n * self.n_polynomials
        sizes[3] = sizes[4] = n * self.n_radial
        sizes[5] = sizes[6] = n * self.n_monomials
        sizes[7] = sizes[8] = n
        sizes[9] = self.n_radial * self.n_polynomials
        sizes[10] = sizes[11] = sizes[12] = self.n_moments
        sizes[13] = sizes[14] = sizes[15] = sizes[16] = self.n_nodes
        sizes[17] = GROUP * self.n_monomials
        sizes[18] = COLUMNS * n * 3
        sizes[19] = self.n_species * self.n_radial * self.n_polynomials
        for k in range(20):
            total += sizes[k]
        work.memory = malloc(total * sizeof(vec) + (2 * n + 1) * LANES * sizeof(Py_ssize_t) + 64)
        if work.memory == NULL:
            return -1
        work.field = <vec*> ((<size_t> work.memory + 63) // 64 * 64)
        work.phi = work.field + sizes[0]
        work.phi_slope = work.phi + sizes[1]
        work.f = work.phi_slope + sizes[2]
        work.f_slope = work.f + sizes[3]
        work.power = work.f_slope + sizes[4]
        work.push = work.power + sizes[5]
        work.along = work.push + sizes[6]
        work.share = work.along + sizes[7]
        work.mix = work.share + sizes[8]
        work.moment = work.mix + sizes[9]
        work.moment_bar = work.moment + sizes[10]
        work.moment_push = work.moment_bar + sizes[11]
        work.node = work.moment_push + sizes[12]
        work.node_push = work.node + sizes[13]
        work.bar = work.node_push + sizes[14]
        work.bar_push = work.bar + sizes[15]
        work.h = work.bar_push + sizes[16]
        work.gradient = work.h + sizes[17]
        work.total = work.gradient + sizes[18]
        work.count = <Py_ssize_t*> (work.total + sizes[19])
        work.pair = work.count + LANES
        work.kind = work.pair + n * LANES
        return 0

    cdef Py_ssize_t fill_neighbors(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t stop) noexcept nogil:
        """Functions and monomials of the neighbors within the cutoff; their number, a multiple of GROUP."""
        cdef Py_ssize_t lane, i, k, p, most = 0
        cdef const double* d
        cdef double r2
        for lane in range(LANES):
            i = center + lane
            k = 0
            if i < stop:
                for p in range(pairs.offsets[i], pairs.offsets[i + 1]):
                    d = pairs.vectors + 3 * p
                    r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
                    if r2 < self.cutoff * self.cutoff:
                        self.put(<double*> (work.field + k * N_FIELDS) + lane, d, sqrt(r2))
                        work.pair[k * LANES + lane] = p
                        work.kind[k * LANES + lane] = (
                            pairs.species[i] * self.n_species + pairs.species[pairs.second[p]])
                        k += 1
            work.count[lane] = k
            most = max(most, k)
        most = (most + GROUP - 1) // GROUP * GROUP
        for lane in range(LANES):
            for k in range(work.count[lane], most):
                self.put_nothing(<double*> (work.field + k * N_FIELDS) + lane)
                work.kind[k * LANES + lane] = -1
        for k in range(most):
            self.fill_radial(work, k)
            self.fill_powers(work.field + k * N_FIELDS, work.power + k * self.n_monomials)
        return most

    cdef inline void put(self, double* f, const double* d, double r) noexcept nogil:
        cdef double inverse = 1.0 / r
        f[NX * LANES] = d[0] * inverse
        f[NY * LANES] = d[1] * inverse
        f[NZ * LANES] = d[2] * inverse
        f[RINV * LANES] = inverse
        f[XI * LANES] = (2.0 * r - (self.min_dist + self.cutoff)) / (self.cutoff - self.min_dist)
        f[CUT * LANES] = self.cutoff - r

    cdef inline void put_nothing(self, double* f) noexcept nogil:
        f[NX * LANES] = f[NY * LANES] = f[CUT * LANES] = 0.0
        f[NZ * LANES] = f[RINV * LANES] = f[XI * LANES] = 1.0

    cdef inline void fill_radial(self, Work* work, Py_ssize_t neighbor) noexcept nogil:
        """phi = T_k(ξ) (R − r)², f = Σ_k c_μk phi_k, and their derivatives with respect to r."""
        cdef const vec* field = work.field + neighbor * N_FIELDS
        cdef vec* phi = work.phi + neighbor * self.n_polynomials
        cdef vec* slope = work.phi_slope + neighbor * self.n_polynomials
        cdef vec xi = field[XI], cut = field[CUT], square = cut * cut
        cdef vec t = splat(1.0), d = splat(0.0), before = xi, d_before = splat(1.0), after  # T_-1 = T_1
        cdef double stretch = 2.0 / (self.cutoff - self.min_dist)
        cdef int k, mu
        for k in range(self.n_polynomials):
            phi[k] = t * square
            slope[k] = stretch * d * square - 2.0 * cut * t
            after = 2.0 * xi * t - before
            before = t
            t = after
            after = 2.0 * (before + xi * d) - d_before
            d_before = d
            d = after
        cdef vec value, change
        cdef const double* c
        cdef const vec* mixed
        cdef Py_ssize_t kind = self.common_kind(work, neighbor)
        if kind >= 0:
            c = &self.coefficients[0, 0, 0, 0] + kind * self.n_radial * self.n_polynomials
            for mu in range(self.n_radial):
                value = change = splat(0.0)
                for k in range(self.n_polynomials):
                    value += c[k] * phi[k]
                    change += c[k] * slope[k]
                work.f[neighbor * self.n_radial + mu] = value
                work.f_slope[neighbor * self.n_radial + mu] = change
                c += self.n_polynomials
            return
        mixed = self.fill_mix(work, neighbor)
        for mu in range(self.n_radial):
            value = change = splat(0.0)
            for k in range(self.n_polynomials):
                value += mixed[k] * phi[k]
                change += mixed[k] * slope[k]
            work.f[neighbor * self.n_radial + mu] = value
            work.f_slope[neighbor * self.n_radial + mu] = change
            mixed += self.n_polynomials

    cdef inline Py_ssize_t common_kind(self, Work* work, Py_ssize_t neighbor) noexcept nogil:
        """The pair of species that all lanes have, or -1."""
        cdef const Py_ssize_t* kind = work.kind + neighbor * LANES
        cdef Py_ssize_t lane, common = 0
        if self.n_species == 1:
            return 0
        for lane in range(LANES):
            common = max(common, kind[lane])
        for lane in range(LANES):
            if kind[lane] != common and kind[lane] >= 0:
                return -1
        return common

    cdef const vec* fill_mix(self, Work* work, Py_ssize_t neighbor) noexcept nogil:
        """Coefficients of each lane's own pair of species."""
        cdef Py_ssize_t lane, kind
        cdef const double* c
        cdef int k
        for lane in range(LANES):
            kind = work.kind[neighbor * LANES + lane]
            c = &self.coefficients[0, 0, 0, 0] + max(kind, 0) * self.n_radial * self.n_polynomials
            for k in range(self.n_radial * self.n_polynomials):
                (<double*> (work.mix + k))[lane] = c[k]
        return work.mix

    cdef inline void fill_powers(self, const vec* field, vec* power) noexcept nogil:
        """x^a y^b/(a! b!), then z times those of the degree below, degree after degree."""
        cdef vec x = field[NX], y = field[NY], z = field[NZ]
        cdef int n, b
        cdef const vec* below = power
        cdef vec* to = power + 1
        power[0] = splat(1.0)
        for n in range(1, self.degree + 1):
            for b in range(n):
                to[b] = self.inverse[n - b] * x * below[b]
            to[n] = self.inverse[n] * y * below[n - 1]
            for b in range(n):
                to[n + 1 + b] = z * below[b]
            below = to
            to += 2 * n + 1

    # ------------------------------------------------------------------ forward

    cdef void fill_moments(self, Work* work, Py_ssize_t most, vec* moment) noexcept nogil:
        """moment = Σ_j f_μ p_m."""
        cdef Py_ssize_t group, k
        cdef int mu, m, n = self.n_monomials
        cdef const vec* p
        cdef const vec* f
        cdef vec* to
        cdef vec f0, f1, f2, f3
        memset(moment, 0, self.n_moments * sizeof(vec))
        for group in range(most // GROUP):
            k = group * GROUP
            p = work.power + k * n
            for mu in range(self.n_radial):
                f = work.f + k * self.n_radial + mu
                f0 = f[0]
                f1 = f[self.n_radial]
                f2 = f[2 * self.n_radial]
                f3 = f[3 * self.n_radial]
                to = moment + self.first_moment[mu]
                for m in range((self.degrees[mu] + 1) * (self.degrees[mu] + 1)):
                    to[m] = (to[m] + f0 * p[m] + f1 * p[m + n]) + (f2 * p[m + 2 * n] + f3 * p[m + 3 * n])

    cdef inline void expand(self, const vec* moment, vec* node) noexcept nogil:
        """Basic moments from those of the monomials with z to the power 0 or 1."""
        cdef int row, k
        cdef vec total
        for row in range(self.n_basic):
            total = splat(0.0)
            for k in range(self.expand_start[row], self.expand_start[row + 1]):
                total += self.expand_value[k] * moment[self.expand_column[k]]
            node[row] = total

    cdef void forward(self, Work* work) noexcept nogil:
        cdef vec* node = work.node
        cdef const int* start = &self.start[0]
        cdef const int* first = &self.first[0]
        cdef const int* second = &self.second[0]
        cdef const double* factor = &self.factor[0]
        cdef int r, k
        cdef vec total
        for r in range(self.n_results):
            total = splat(0.0)
            for k in range(start[r], start[r + 1]):
                total += factor[k] * node[first[k]] * node[second[k]]
            node[self.result[r]] = total

    cdef void forward_push(self, Work* work, const int* part, int n_part) noexcept nogil:
        """Changes of some results."""
        cdef const vec* node = work.node
        cdef vec* push = work.node_push
        cdef const int* first = &self.first[0]
        cdef const int* second = &self.second[0]
        cdef const double* factor = &self.factor[0]
        cdef int i, r, k, a, b
        cdef vec total
        for i in range(n_part):
            r = part[i]
            total = splat(0.0)
            for k in range(self.start[r], self.start[r + 1]):
                a = first[k]
                b = second[k]
                total += factor[k] * (node[a] * push[b] + push[a] * node[b])
            push[self.result[r]] = total

    cdef void write_features(self, const vec* node, Py_ssize_t center, Py_ssize_t stop, double* out) noexcept nogil:
        cdef Py_ssize_t lane
        cdef int k
        for lane in range(min(LANES, stop - center)):
            for k in range(self.n_features):
                out[(center + lane) * self.n_features + k] = (<const double*> (node + self.scalars[k]))[lane]

    # ------------------------------------------------------------------ reverse

    cdef void fill_bar(self, vec* bar, Py_ssize_t center, Py_ssize_t stop, const double* cotangents,
                       double factor) noexcept nogil:
        """Cotangents of the nodes that are features; zero at the others."""
        cdef Py_ssize_t lane
        cdef int k
        memset(bar, 0, self.n_nodes * sizeof(vec))
        for lane in range(min(LANES, stop - center)):
            for k in range(self.n_features):
                (<double*> (bar + self.scalars[k]))[lane] += factor * cotangents[(center + lane) * self.n_features + k]

    cdef vec fill_linear_bar(self, Work* work, const Py_ssize_t[::1] species, Py_ssize_t center, Py_ssize_t stop,
                             const double* coef) noexcept nogil:
        """Coefficients as cotangents of the nodes that are features, zero at the others; the energies."""
        cdef vec* bar = work.bar
        cdef vec own, total = splat(0.0)
        cdef Py_ssize_t lane, size = self.n_features
        cdef int k
        memset(bar, 0, self.n_nodes * sizeof(vec))
        for k in range(self.n_features):
            own = splat(coef[k])
            if self.n_species > 1:
                for lane in range(min(LANES, stop - center)):
                    (<double*> &own)[lane] = coef[species[center + lane] * size + k]
            bar[self.scalars[k]] += own
            total += own * work.node[self.scalars[k]]
        return total

    cdef inline void reverse_result(self, const vec* node, vec* bar, int r) noexcept nogil:
        cdef const int* first = &self.first[0]
        cdef const int* second = &self.second[0]
        cdef const double* factor = &self.factor[0]
        cdef vec t, own = bar[self.result[r]]
        cdef int k, a, b
        for k in range(self.start[r], self.start[r + 1]):
            a = first[k]
            b = second[k]
            t = factor[k] * own
            bar[a] += t * node[b]
            bar[b] += t * node[a]

    cdef void reverse(self, Work* work) noexcept nogil:
        cdef int r
        for r in range(self.n_results - 1, -1, -1):
            self.reverse_result(work.node, work.bar, r)

    cdef void reverse_feature(self, Work* work, int feature) noexcept nogil:
        """Cotangents of the moments for one feature."""
        cdef int i, k, row
        cdef const int* part = &self.part_result[0]
        cdef const int* basic = &self.part_basic[0]
        cdef vec* bar = work.bar
        memset(work.moment_bar, 0, self.n_moments * sizeof(vec))
        for i in range(self.part_basic_start[feature], self.part_basic_start[feature + 1]):
            bar[basic[i]] = splat(0.0)
        for i in range(self.part_start[feature], self.part_start[feature + 1]):
            bar[self.result[part[i]]] = splat(0.0)
        bar[self.scalars[feature]] = splat(1.0)
        for i in range(self.part_start[feature], self.part_start[feature + 1]):
            self.reverse_result(work.node, bar, part[i])
        for i in range(self.part_basic_start[feature], self.part_basic_start[feature + 1]):
            row = basic[i]
            for k in range(self.expand_start[row], self.expand_start[row + 1]):
                work.moment_bar[self.expand_column[k]] += self.expand_value[k] * bar[row]

    cdef void reverse_push(self, Work* work, const int* part, int n_part) noexcept nogil:
        """bar_push: what `reverse` does, derived along the change of the nodes; from some results."""
        cdef const vec* node = work.node
        cdef const vec* push = work.node_push
        cdef const int* first = &self.first[0]
        cdef const int* second = &self.second[0]
        cdef const double* factor = &self.factor[0]
        cdef vec* bar = work.bar_push
        cdef vec t, u, own, fixed
        cdef int i, r, k, a, b
        for i in range(n_part):
            r = part[i]
            own = bar[self.result[r]]
            fixed = work.bar[self.result[r]]
            for k in range(self.start[r], self.start[r + 1]):
                a = first[k]
                b = second[k]
                t = factor[k] * own
                u = factor[k] * fixed
                bar[a] += t * node[b] + u * push[b]
                bar[b] += t * node[a] + u * push[a]

    cdef void contract(self, const vec* bar, vec* moment) noexcept nogil:
        """`expand` backwards."""
        cdef int row, k
        memset(moment, 0, self.n_moments * sizeof(vec))
        for row in range(self.n_basic):
            for k in range(self.expand_start[row], self.expand_start[row + 1]):
                moment[self.expand_column[k]] += self.expand_value[k] * bar[row]

    cdef void pull(self, Work* work, Py_ssize_t most, const vec* bar, const int* degrees, const vec* more,
                   int mu_more, int k_more, vec* gradient) noexcept nogil:
        """gradient [neighbor][3] = Σ_μm bar_μm ∇(f_μ p_m), and, if there is more, Σ_m more_μm ∇(phi_k p_m) of one μ.

        Of each μ the cotangents up to a degree count, none if it is -1.
        """
        cdef Py_ssize_t group, k, j
        cdef int mu, m, n = self.n_monomials, n_mu = self.n_radial
        cdef const vec* p
        cdef const vec* f
        cdef const vec* d
        cdef const vec* b
        cdef vec* h = work.h
        cdef vec f0, f1, f2, f3, s0, s1, s2, s3, own
        cdef vec radial[GROUP]
        cdef int degree = self.degrees[mu_more] if more != NULL else 0
        for mu in range(n_mu):
            degree = max(degree, degrees[mu])
        for group in range(most // GROUP):
            k = group * GROUP
            p = work.power + k * n
            for j in range(GROUP):
                memset(h + j * n, 0, (degree + 1) * (degree + 1) * sizeof(vec))
            radial[0] = radial[1] = radial[2] = radial[3] = splat(0.0)
            for mu in range(n_mu):
                f = work.f + k * n_mu + mu
                d = work.f_slope + k * n_mu + mu
                f0 = f[0]
                f1 = f[n_mu]
                f2 = f[2 * n_mu]
                f3 = f[3 * n_mu]
                s0 = s1 = s2 = s3 = splat(0.0)
                b = bar + self.first_moment[mu]
                for m in range((degrees[mu] + 1) * (degrees[mu] + 1)):
                    own = b[m]
                    h[m] += f0 * own
                    h[m + n] += f1 * own
                    h[m + 2 * n] += f2 * own
                    h[m + 3 * n] += f3 * own
                    s0 += own * p[m]
                    s1 += own * p[m + n]
                    s2 += own * p[m + 2 * n]
                    s3 += own * p[m + 3 * n]
                radial[0] += d[0] * s0
                radial[1] += d[n_mu] * s1
                radial[2] += d[2 * n_mu] * s2
                radial[3] += d[3 * n_mu] * s3
            for j in range(GROUP):
                if more != NULL:
                    own = work.share[k + j]
                    b = more + self.first_moment[mu_more]
                    f0 = own * work.phi[(k + j) * self.n_polynomials + k_more]
                    s0 = splat(0.0)
                    for m in range((self.degrees[mu_more] + 1) * (self.degrees[mu_more] + 1)):
                        h[j * n + m] += f0 * b[m]
                        s0 += b[m] * p[j * n + m]
                    radial[j] += own * work.phi_slope[(k + j) * self.n_polynomials + k_more] * s0
                self.finish_pull(degree, work.field + (k + j) * N_FIELDS, h + j * n, p + j * n, radial[j],
                                 gradient + 3 * (k + j))

    cdef inline void finish_pull(self, int degree, const vec* field, const vec* h, const vec* p, vec radial,
                                 vec* gradient) noexcept nogil:
        """radial r̂ + Σ_m h_m ∇p_m."""
        cdef vec gx = splat(0.0), gy = splat(0.0), gz = splat(0.0), along
        cdef int n, b
        for n in range(1, degree + 1):
            h += 2 * n - 1  # degree n; p is that of the degree below
            for b in range(n):
                gx += h[b] * p[b]
                gy += h[b + 1] * p[b]
                gz += h[n + 1 + b] * p[b]
            for b in range(n - 1):
                gx += h[n + 1 + b] * p[n + b]
                gy += h[n + 2 + b] * p[n + b]
            p += 2 * n - 1
        along = gx * field[NX] + gy * field[NY] + gz * field[NZ]
        gradient[0] = radial * field[NX] + (gx - along * field[NX]) * field[RINV]
        gradient[1] = radial * field[NY] + (gy - along * field[NY]) * field[RINV]
        gradient[2] = radial * field[NZ] + (gz - along * field[NZ]) * field[RINV]

    cdef void write_gradient(self, Work* work, double* out) noexcept nogil:
        cdef Py_ssize_t lane, k
        cdef int x
        for lane in range(LANES):
            for k in range(work.count[lane]):
                for x in range(3):
                    out[3 * work.pair[k * LANES + lane] + x] = (<double*> (work.gradient + 3 * k + x))[lane]

    cdef void write_columns(self, Work* work, Py_ssize_t most, int n, Py_ssize_t size, double* out) noexcept nogil:
        """n columns of a Jacobian with `size` of them; `out` is the place of the first in the row of pair 0."""
        cdef Py_ssize_t lane, k
        cdef int x, column
        cdef double* to
        for lane in range(LANES):
            for k in range(work.count[lane]):
                to = out + 3 * size * work.pair[k * LANES + lane]
                for x in range(3):
                    for column in range(n):
                        to[x * size + column] = (<double*> (work.gradient + 3 * (most * column + k) + x))[lane]

    # ------------------------------------------------------------------ changes

    cdef Py_ssize_t push(self, Work* work, Pairs pairs, Py_ssize_t center, Py_ssize_t stop,
                         const double* displacements) noexcept nogil:
        """Nodes, and their changes along displacements of the neighbors; the number of neighbors."""
        cdef Py_ssize_t most = self.fill_neighbors(work, pairs, center, stop)
        self.fill_moments(work, most, work.moment)
        self.expand(work.moment, work.node)
        self.forward(work)
        self.fill_push(work, most, displacements)
        self.fill_moments_push(work, most)
        self.expand(work.moment_push, work.node_push)
        self.forward_push(work, &self.all_forward[0], self.n_results)
        return most

    cdef void fill_push(self, Work* work, Py_ssize_t most, const double* displacements) noexcept nogil:
        """Changes of distances and monomials."""
        cdef Py_ssize_t lane, k
        cdef int x
        cdef vec u[3]
        cdef vec along
        cdef const vec* field
        for k in range(most):
            field = work.field + k * N_FIELDS
            for lane in range(LANES):
                for x in range(3):
                    (<double*> &u[x])[lane] = (
                        displacements[3 * work.pair[k * LANES + lane] + x] if k < work.count[lane] else 0.0)
            along = u[0] * field[NX] + u[1] * field[NY] + u[2] * field[NZ]
            work.along[k] = along
            for x in range(3):
                u[x] = (u[x] - along * field[NX + x]) * field[RINV]
            self.push_powers(u, work.power + k * self.n_monomials, work.push + k * self.n_monomials)

    cdef inline void push_powers(self, const vec* u, const vec* p, vec* to) noexcept nogil:
        """Changes of the monomials for a change u of the direction."""
        cdef int n, b
        to[0] = splat(0.0)
        for n in range(1, self.degree + 1):
            to += 2 * n - 1  # degree n; p is that of the degree below
            to[0] = u[0] * p[0]
            for b in range(1, n):
                to[b] = u[0] * p[b] + u[1] * p[b - 1]
            to[n] = u[1] * p[n - 1]
            for b in range(n):
                to[n + 1 + b] = u[2] * p[b]
            for b in range(n - 1):
                to[n + 1 + b] += u[0] * p[n + b]
                to[n + 2 + b] += u[1] * p[n + b]
            p += 2 * n - 1

    cdef void fill_moments_push(self, Work* work, Py_ssize_t most) noexcept nogil:
        cdef Py_ssize_t k
        cdef int mu, m
        cdef vec f, d
        cdef const vec* p
        cdef const vec* q
        cdef vec* to
        memset(work.moment_push, 0, self.n_moments * sizeof(vec))
        for k in range(most):
            p = work.power + k * self.n_monomials
            q = work.push + k * self.n_monomials
            for mu in range(self.n_radial):
                f = work.f[k * self.n_radial + mu]
                d = work.along[k] * work.f_slope[k * self.n_radial + mu]
                to = work.moment_push + self.first_moment[mu]
                for m in range((self.degrees[mu] + 1) * (self.degrees[mu] + 1)):
                    to[m] += d * p[m] + f * q[m]

    # ------------------------------------------------------------------ radial coefficients

    cdef void fill_share(self, Work* work, Py_ssize_t most, int species) noexcept nogil:
        """The scaling for neighbors of the species, 0 for others."""
        cdef Py_ssize_t lane, k, kind
        for k in range(most):
            for lane in range(LANES):
                kind = work.kind[k * LANES + lane]
                (<double*> (work.share + k))[lane] = self.scaling * (kind >= 0 and kind % self.n_species == species)

    cdef void push_radial(self, Work* work, Py_ssize_t most, int mu, int polynomial) noexcept nogil:
        """moment_push: derivative of the cotangents of the moments with respect to a radial coefficient."""
        cdef Py_ssize_t k
        cdef int m
        cdef vec f
        cdef const vec* p
        cdef vec* to = work.moment_push + self.first_moment[mu]
        memset(work.moment_push, 0, self.n_moments * sizeof(vec))
        for k in range(most):
            p = work.power + k * self.n_monomials
            f = work.share[k] * work.phi[k * self.n_polynomials + polynomial]
            for m in range((self.degrees[mu] + 1) * (self.degrees[mu] + 1)):
                to[m] += f * p[m]
        self.expand(work.moment_push, work.node_push)
        k = self.push_start[mu]
        self.forward_push(work, &self.push_result[k], self.push_start[mu + 1] - <int> k)
        memset(work.bar_push, 0, self.n_nodes * sizeof(vec))
        k = self.pull_start[mu]
        self.reverse_push(work, &self.pull_result[k], self.pull_start[mu + 1] - <int> k)
        self.contract(work.bar_push, work.moment_push)

    cdef void fill_total(self, Work* work, Py_ssize_t most) noexcept nogil:
        """Derivative with respect to radial coefficients, from the cotangents of moments and of their changes."""
        cdef Py_ssize_t k
        cdef int mu, m, n, species
        cdef vec value, change, share
        cdef const vec* p
        cdef const vec* q
        cdef const vec* own
        cdef const vec* fixed
        cdef vec* to
        memset(work.total, 0, self.n_species * self.n_radial * self.n_polynomials * sizeof(vec))
        for species in range(self.n_species):
            self.fill_share(work, most, species)
            for k in range(most):
                p = work.power + k * self.n_monomials
                q = work.push + k * self.n_monomials
                share = work.share[k]
                for mu in range(self.n_radial):
                    own = work.moment_push + self.first_moment[mu]
                    fixed = work.moment_bar + self.first_moment[mu]
                    value = change = splat(0.0)
                    for m in range((self.degrees[mu] + 1) * (self.degrees[mu] + 1)):
                        value += own[m] * p[m] + fixed[m] * q[m]
                        change += fixed[m] * p[m]
                    value *= share
                    change *= share * work.along[k]
                    to = work.total + (species * self.n_radial + mu) * self.n_polynomials
                    for n in range(self.n_polynomials):
                        to[n] += (value * work.phi[k * self.n_polynomials + n]
                                  + change * work.phi_slope[k * self.n_polynomials + n])


cdef inline Py_ssize_t n_batches(Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    return (stop - start + LANES - 1) // LANES


cdef inline void clear(Pairs pairs, Py_ssize_t center, Py_ssize_t stop, Py_ssize_t size, double* out) noexcept nogil:
    """Zero the rows, of `size` numbers each, of a batch's pairs: those beyond the cutoff are not written."""
    cdef Py_ssize_t first = pairs.offsets[center], last = pairs.offsets[min(stop, center + LANES)]
    memset(out + first * size, 0, (last - first) * size * sizeof(double))
