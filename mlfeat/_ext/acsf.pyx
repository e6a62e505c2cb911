"""Atom-centered symmetry functions and their derivatives, one environment at a time.

Tables come from ``mlfeat.descriptors._acsf_program``: the functions of a center with one cutoff are a shell, those of a
shell that run over the same neighbors a part. An environment goes through these steps, for each shell:

1. gather     neighbors within the cutoff by species, f_c and its slope; lanes are neighbors
2. radial     per neighbor, rows of exponentials x_e; G = Σ f_c x_e
3. triplets   pairs of neighbors, narrow functions drop those with r_jk beyond the cutoff, into a list without gaps
4. blocks     of the list, WIDTH vectors at a time: F = 2 f_c f_c f_c, cos θ, rows of exponentials x_e and of powers
              v_p = ((1 + λ cos θ)/2)^ζ; G = Σ F x_e v_p

Everything that has derivatives is a function of q_ij = r_ij²/2, q_ik and q_jk, for which ∂q_ij/∂r_ij = r_ij and
∂q_jk/∂r_ij = r_ij - r_ik. With E = Σ_f c_f G_f, the gradient of a triplet is a = ∂E/∂q_ij, b = ∂E/∂q_ik and
β = ∂E/∂q_jk; what is added to a neighbor is (a + β) r_ij - β r_ik.
"""

import numpy as np

from libc.math cimport M_PI, pow, tanh
from libc.stdlib cimport free, malloc
from libc.string cimport memmove, memset

from mlfeat._ext.neighbors cimport Pairs, longest, pairs_of
from mlfeat._ext.simd cimport LANES, expneg, inverse_root, keep_below, larger, sincospi, splat, vec

lanes = LANES

cdef enum:
    WIDTH = 4  # vectors of triplets in a block

cdef enum:  # kinds of functions
    RADIAL = 2
    NARROW = 3

cdef enum:  # numbers of cutoff functions
    HARD = 0
    COSINE = 1
    TANH = 2
    NORMALIZED_TANH = 3
    EXPONENTIAL = 4
    POLY1 = 5
    POLY2 = 6
    POLY3 = 7

cdef enum:
    REAL_POWER = -2

cdef double FAR = 1e50  # Å, where slots are that count nothing


cdef struct Part:
    Py_ssize_t kind, first, second  # and species of the neighbors
    Py_ssize_t exp, exp_stop, power, power_stop, function, function_stop  # rows
    bint shifted  # whether some r_s is not zero


cdef struct Cut:
    # a cutoff function's parameters
    int kind
    double cutoff, inner
    bint of_square  # needs r² only


cdef struct Neighbors:
    # [slot] those of one species together, filled up to whole vectors with some that count nothing
    Py_ssize_t* pair
    double* x
    double* y
    double* z
    double* square
    double* inverse  # 1/r
    double* cut
    double* slope  # f_c'/r
    double* to  # [slot][4] sum of gradients: Σ -β r, and along the neighbor itself
    double* move  # [slot][4] displacement, and its component along r times r


cdef struct Triplets:
    # a list: slots of the two neighbors, r_jk², and what belongs to the first one, which is the same for many in a row
    int* one
    int* two
    double* apart
    double* square
    double* inverse
    double* cut
    double* slope


cdef struct Block:
    # triplets in lanes
    const vec* square1  # pieces of the list
    const vec* inverse1
    const vec* cut1
    const vec* slope1
    const vec* square3  # r_jk²
    vec square2[WIDTH]
    vec inverse2[WIDTH]
    vec inverse3[WIDTH]
    vec cut2[WIDTH]
    vec cut3[WIDTH]
    vec slope2[WIDTH]
    vec slope3[WIDTH]
    vec cosine[WIDTH]
    vec factor[WIDTH]  # F
    vec along1[WIDTH]  # a + β, then b + β, then β
    vec along2[WIDTH]
    vec along3[WIDTH]


cdef struct Work:
    # one thread's buffers
    void* memory
    Neighbors n
    Py_ssize_t* start  # [species] first slot
    Py_ssize_t* stop
    Py_ssize_t blank  # a slot that counts nothing
    Py_ssize_t n_slots
    Triplets list
    Block* block
    vec* exps  # [e][WIDTH]
    vec* powers  # [p][value, derivative by cos θ][WIDTH]
    vec* total  # [function] sums in lanes
    double* coefficient  # [function] cotangents
    Py_ssize_t first  # function of the shell
    double* jacobian  # [slot][4][function of the shell] as Neighbors.to
    vec* weights  # [function] products of a block, in lanes of triplets: [function][2][WIDTH]


ctypedef enum Task:
    VALUES
    GRADIENT
    JACOBIAN
    FORWARD


cdef class Kernel:
    """Compiled symmetry functions.

    Parameters
    ----------
    program : mlfeat.descriptors._acsf_program.Program
    cutoff_function : int
        n2p2's number.
    inner_cutoff : float
        Share of the cutoff up to which the cutoff function is 1.
    n_features : int
    """

    cdef Py_ssize_t n_species, n_features, n_exps, n_powers, n_functions, row
    cdef int cutoff_function
    cdef double inner_cutoff
    cdef const Py_ssize_t[::1] shell_start, part_start
    cdef const double[::1] shell_cutoff, exp_shift, pow_number
    cdef const Py_ssize_t[:, ::1] part, exp_rows, pow_rows, function
    cdef const double[:, ::1] exp_numbers, function_numbers

    def __init__(self, program, cutoff_function, inner_cutoff, n_features):
        self.shell_start, self.part_start, self.shell_cutoff = (
            program.shell_start, program.part_start, program.shell_cutoff)
        self.part, self.function, self.function_numbers = program.part, program.function, program.function_numbers
        self.exp_rows, self.exp_numbers, self.exp_shift = program.exp_rows, program.exp_numbers, program.exp_shift
        self.pow_rows, self.pow_number = program.pow_rows, program.pow_number
        self.cutoff_function, self.inner_cutoff, self.n_features = cutoff_function, inner_cutoff, n_features
        self.n_species = len(program.shell_start) - 1
        self.n_exps = (program.part[:, 4] - program.part[:, 3]).max()
        self.n_powers = (program.part[:, 6] - program.part[:, 5]).max()
        self.n_functions = len(program.function)
        first = program.part[program.part_start[:-1], 7]
        self.row = np.diff(np.append(first, self.n_functions)).max()

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
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef Work work
        cdef Py_ssize_t i
        if self.allocate(&work, longest(pairs, start, stop), False) != 0:
            raise MemoryError
        with nogil:
            for i in range(start, stop):
                memset(&out[i, 0], 0, self.n_features * sizeof(double))
                self.sweep(&work, VALUES, pairs, i, 0, NULL, &out[i, 0])
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
        cdef Py_ssize_t i
        if self.allocate(&work, longest(pairs, start, stop), False) != 0:
            raise MemoryError
        with nogil:
            for i in range(start, stop):
                memset(&out[0, 0] + 3 * offsets[i], 0, 3 * (offsets[i + 1] - offsets[i]) * sizeof(double))
                self.sweep(&work, GRADIENT, pairs, i, 0, &cotangents[i, 0], &out[0, 0])
        free(work.memory)

    def jvp(self, const double[:, ::1] vectors, const Py_ssize_t[::1] offsets, const int[::1] second,
            const Py_ssize_t[::1] species, Py_ssize_t start, Py_ssize_t stop,
            const double[:, ::1] displacements, double[:, ::1] out):
        """Fill `out` (n_atoms, n_features) with Σ_j displacements[ij] · ∂B_k(i)/∂r_ij for the centers start to stop."""
        if displacements.shape[0] != vectors.shape[0] or displacements.shape[1] != 3:
            raise ValueError(f"displacements have the shape {displacements.shape[0], displacements.shape[1]}, must "
                             f"have {vectors.shape[0], 3}: a vector for each pair")
        cdef Pairs pairs = pairs_of(vectors, offsets, second, species)
        cdef const double* moves = &displacements[0, 0] if displacements.shape[0] else NULL
        cdef Work work
        cdef Py_ssize_t i
        if self.allocate(&work, longest(pairs, start, stop), False) != 0:
            raise MemoryError
        with nogil:
            for i in range(start, stop):
                memset(&out[i, 0], 0, self.n_features * sizeof(double))
                self.sweep(&work, FORWARD, pairs, i, 0, moves, &out[i, 0])
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
        cdef Py_ssize_t i, size = 3 * self.n_features
        if self.allocate(&work, longest(pairs, start, stop), True) != 0:
            raise MemoryError
        with nogil:
            for i in range(start, stop):
                memset(&out[0, 0, 0] + size * (offsets[i] - offsets[start]), 0,
                       size * (offsets[i + 1] - offsets[i]) * sizeof(double))
                self.sweep(&work, JACOBIAN, pairs, i, offsets[start], NULL, &out[0, 0, 0])
        free(work.memory)

    # ------------------------------------------------------------------ one environment

    cdef int allocate(self, Work* work, Py_ssize_t n_neighbors, bint jacobian) noexcept nogil:
        cdef Py_ssize_t n = n_neighbors + 2 * self.n_species * LANES
        cdef Py_ssize_t n_list = n_neighbors + 2 * WIDTH * LANES
        cdef Py_ssize_t sizes[24]
        cdef double* places[24]
        cdef Py_ssize_t total = 0
        cdef int k
        for k in range(8):
            sizes[k] = n
        sizes[8] = sizes[9] = 4 * n
        sizes[10] = sizes[11] = sizes[12] = sizes[20] = sizes[21] = sizes[22] = sizes[23] = n_list
        sizes[13] = sizeof(Block) // sizeof(double)
        sizes[14] = self.n_exps * WIDTH * LANES
        sizes[15] = 2 * self.n_powers * WIDTH * LANES
        sizes[16] = self.n_functions * LANES
        sizes[17] = self.n_functions
        sizes[18] = 4 * n * self.row if jacobian else 0
        sizes[19] = 2 * self.row * WIDTH * LANES if jacobian else 0
        for k in range(24):
            sizes[k] = padded(sizes[k])
            total += sizes[k]
        work.memory = malloc((total + 8) * sizeof(double) + 2 * self.n_species * sizeof(Py_ssize_t))
        if work.memory == NULL:
            return -1
        places[0] = <double*> ((<size_t> work.memory + 63) // 64 * 64)
        for k in range(23):
            places[k + 1] = places[k] + sizes[k]
        work.n.pair = <Py_ssize_t*> places[0]
        work.n.x, work.n.y, work.n.z = places[1], places[2], places[3]
        work.n.square, work.n.inverse, work.n.cut, work.n.slope = places[4], places[5], places[6], places[7]
        work.n.to, work.n.move = places[8], places[9]
        work.list.one, work.list.two, work.list.apart = <int*> places[10], <int*> places[11], places[12]
        work.list.square, work.list.inverse, work.list.cut, work.list.slope = (
            places[20], places[21], places[22], places[23])
        work.block = <Block*> places[13]
        work.exps, work.powers, work.total = <vec*> places[14], <vec*> places[15], <vec*> places[16]
        work.coefficient, work.jacobian, work.weights = places[17], places[18], <vec*> places[19]
        work.start = <Py_ssize_t*> (places[23] + sizes[23])
        work.stop = work.start + self.n_species
        return 0

    cdef void sweep(self, Work* work, Task task, Pairs pairs, Py_ssize_t center, Py_ssize_t base,
                    const double* given, double* out) noexcept nogil:
        """One operation on one center: `given` are cotangents or displacements."""
        cdef Py_ssize_t shell, k, f, first, stop
        cdef Cut cut
        cdef Part part
        for shell in range(self.shell_start[pairs.species[center]], self.shell_start[pairs.species[center] + 1]):
            cut = self.cut_of(self.shell_cutoff[shell])
            self.gather(work, &cut, task != VALUES, pairs, center)
            first = work.first = self.part[self.part_start[shell], 7]
            stop = self.part[self.part_start[shell + 1] - 1, 8]
            if task == VALUES or task == FORWARD:
                memset(work.total + first, 0, (stop - first) * sizeof(vec))
                if task == FORWARD:
                    self.gather_moves(work, given)
            elif task == GRADIENT:
                memset(work.n.to, 0, 4 * work.n_slots * sizeof(double))
                for f in range(first, stop):
                    work.coefficient[f] = given[self.function[f, 2]] if self.function[f, 2] >= 0 else 0.0
            else:
                memset(work.jacobian, 0, 4 * work.n_slots * self.row * sizeof(double))
            for k in range(self.part_start[shell], self.part_start[shell + 1]):
                part = self.part_of(k)
                if part.kind == RADIAL:
                    self.radial(work, task, &part)
                else:
                    self.angular(work, task, &part, &cut)
            if task == VALUES or task == FORWARD:
                for f in range(first, stop):
                    if self.function[f, 2] >= 0:
                        out[self.function[f, 2]] = sum_of(work.total[f])
            elif task == GRADIENT:
                self.write_gradient(work, out)
            else:
                self.write_jacobian(work, base, stop, out)

    cdef inline Cut cut_of(self, double cutoff) noexcept nogil:
        cdef Cut cut
        cut.kind, cut.cutoff, cut.inner = self.cutoff_function, cutoff, self.inner_cutoff * cutoff
        cut.of_square = cut.kind == HARD or (cut.kind == COSINE and cut.inner == 0.0)
        return cut

    cdef inline Part part_of(self, Py_ssize_t k) noexcept nogil:
        cdef Part part
        cdef const Py_ssize_t* row = &self.part[k, 0]
        cdef Py_ssize_t e
        part.kind, part.first, part.second = row[0], row[1], row[2]
        part.exp, part.exp_stop, part.power, part.power_stop = row[3], row[4], row[5], row[6]
        part.function, part.function_stop = row[7], row[8]
        part.shifted = False
        for e in range(part.exp, part.exp_stop):
            part.shifted |= self.exp_shift[e] != 0.0
        return part

    cdef void gather(self, Work* work, const Cut* cut, bint slopes, Pairs pairs, Py_ssize_t center) noexcept nogil:
        cdef Py_ssize_t k = 0, p, s, end
        cdef const double* d
        cdef double r2, limit = cut.cutoff * cut.cutoff
        cdef Neighbors n = work.n
        cdef vec square, value, slope
        for s in range(self.n_species):
            work.start[s] = k
            for p in range(pairs.offsets[center], pairs.offsets[center + 1]):
                if pairs.species[pairs.second[p]] != s:
                    continue
                d = pairs.vectors + 3 * p
                r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
                if r2 < limit:
                    n.x[k], n.y[k], n.z[k], n.square[k], n.pair[k] = d[0], d[1], d[2], r2, p
                    k += 1
            work.stop[s] = k
            end = (k + 2 * LANES - 1) // LANES * LANES  # a vector may begin at the last neighbor
            for k in range(work.stop[s], end):
                n.x[k] = n.y[k] = n.z[k] = FAR
                n.square[k] = 1.0
                n.pair[k] = -1
            k = end
        work.blank, work.n_slots = work.stop[self.n_species - 1], k
        k = 0
        while k < work.n_slots:
            square = load(n.square + k)
            put(n.inverse + k, inverse_root(square))
            fill_cut(cut, square, load(n.inverse + k), slopes, &value, &slope)
            put(n.cut + k, value)
            put(n.slope + k, slope)
            k += LANES
        for s in range(self.n_species):
            for k in range(work.stop[s], work.start[s + 1] if s + 1 < self.n_species else work.n_slots):
                n.cut[k] = n.slope[k] = 0.0

    cdef void gather_moves(self, Work* work, const double* moves) noexcept nogil:
        cdef Py_ssize_t k
        cdef Neighbors n = work.n
        cdef const double* u
        memset(n.move, 0, 4 * work.n_slots * sizeof(double))
        for k in range(work.n_slots):
            if n.pair[k] >= 0:
                u = moves + 3 * n.pair[k]
                n.move[4 * k], n.move[4 * k + 1], n.move[4 * k + 2] = u[0], u[1], u[2]
                n.move[4 * k + 3] = u[0] * n.x[k] + u[1] * n.y[k] + u[2] * n.z[k]

    cdef void write_gradient(self, Work* work, double* out) noexcept nogil:
        cdef Py_ssize_t k
        cdef Neighbors n = work.n
        cdef const double* g
        cdef double* to
        for k in range(work.n_slots):
            if n.pair[k] >= 0:
                g = n.to + 4 * k
                to = out + 3 * n.pair[k]
                to[0] += g[0] + g[3] * n.x[k]
                to[1] += g[1] + g[3] * n.y[k]
                to[2] += g[2] + g[3] * n.z[k]

    cdef void write_jacobian(self, Work* work, Py_ssize_t base, Py_ssize_t stop, double* out) noexcept nogil:
        cdef Py_ssize_t k, f, x, column
        cdef Neighbors n = work.n
        cdef const double* g
        cdef double* to
        cdef double r[3]
        for k in range(work.n_slots):
            if n.pair[k] < 0:
                continue
            r[0], r[1], r[2] = n.x[k], n.y[k], n.z[k]
            g = work.jacobian + 4 * k * self.row
            to = out + 3 * (n.pair[k] - base) * self.n_features
            for x in range(3):
                for f in range(stop - work.first):
                    column = self.function[work.first + f, 2]
                    if column >= 0:
                        to[x * self.n_features + column] = g[x * self.row + f] + g[3 * self.row + f] * r[x]

    # ------------------------------------------------------------------ radial functions

    cdef void radial(self, Work* work, Task task, const Part* part) noexcept nogil:
        cdef Py_ssize_t k, e, f, lane
        cdef vec square, inverse, distance, cut, slope, x, q, r0, r1, h, along
        cdef vec* exps = work.exps
        cdef Neighbors n = work.n
        cdef double eta, eta_shift
        k = work.start[part.first]
        while k < work.stop[part.first]:
            square, inverse, cut, slope = load(n.square + k), load(n.inverse + k), load(n.cut + k), load(n.slope + k)
            distance = square * inverse
            for e in range(part.exp, part.exp_stop):
                if self.exp_rows[e, 0] >= 0:
                    exps[e - part.exp] = exps[self.exp_rows[e, 0]] * exps[self.exp_rows[e, 1]]
                else:
                    x = distance - self.exp_shift[e]
                    exps[e - part.exp] = expneg(-self.exp_numbers[e, 0] * (x * x))
            if task == VALUES:
                for f in range(part.function, part.function_stop):
                    work.total[f] += cut * exps[self.function[f, 0]]
            elif task == GRADIENT:
                q = r0 = r1 = splat(0.0)
                for f in range(part.function, part.function_stop):
                    x = work.coefficient[f] * exps[self.function[f, 0]]
                    q += x
                    r0 += self.function_numbers[0, f] * x
                    r1 += self.function_numbers[1, f] * x
                along = slope * q - 2.0 * cut * (r0 - r1 * inverse)
                for lane in range(LANES):
                    n.to[4 * (k + lane) + 3] += (<double*> &along)[lane]
            else:
                for lane in range(LANES):
                    (<double*> &h)[lane] = n.move[4 * (k + lane) + 3] if task == FORWARD else 1.0
                for f in range(part.function, part.function_stop):
                    eta, eta_shift = self.function_numbers[0, f], self.function_numbers[1, f]
                    x = h * exps[self.function[f, 0]] * (slope - 2.0 * cut * (eta - eta_shift * inverse))
                    if task == FORWARD:
                        work.total[f] += x
                    else:
                        for lane in range(LANES):
                            work.jacobian[(4 * (k + lane) + 3) * self.row + f - work.first] = (<double*> &x)[lane]
            k += LANES

    # ------------------------------------------------------------------ angular functions

    cdef void angular(self, Work* work, Task task, const Part* part, const Cut* cut) noexcept nogil:
        """All triplets of a part, in blocks."""
        cdef Py_ssize_t j, k, n_list = 0, old, done
        cdef Neighbors n = work.n
        cdef Triplets rows = work.list
        cdef double limit = cut.cutoff * cut.cutoff if part.kind == NARROW else FAR
        cdef vec x, y, z
        cdef int lane
        for j in range(work.start[part.first], work.stop[part.first]):
            k = j + 1 if part.first == part.second else work.start[part.second]
            old = n_list
            while k < work.stop[part.second]:
                x, y, z = load(n.x + k) - n.x[j], load(n.y + k) - n.y[j], load(n.z + k) - n.z[j]
                n_list += keep_below(x * x + y * y + z * z, limit, <int> k, rows.apart + n_list, rows.two + n_list)
                k += LANES
            while old < n_list:
                for lane in range(LANES):
                    rows.one[old + lane] = <int> j
                put(rows.square + old, splat(n.square[j]))
                put(rows.inverse + old, splat(n.inverse[j]))
                put(rows.cut + old, splat(n.cut[j]))
                put(rows.slope + old, splat(n.slope[j]))
                old += LANES
            done = 0
            while n_list - done >= WIDTH * LANES:
                self.block(work, task, part, cut, done, WIDTH * LANES)
                done += WIDTH * LANES
            if done:
                n_list -= done
                shift_list(&rows, done, n_list)
        if n_list:
            for k in range(n_list, WIDTH * LANES):
                rows.one[k] = rows.two[k] = <int> work.blank
                rows.apart[k] = rows.square[k] = rows.inverse[k] = 1.0
                rows.cut[k] = rows.slope[k] = 0.0
            self.block(work, task, part, cut, 0, n_list)

    cdef void block(self, Work* work, Task task, const Part* part, const Cut* cut, Py_ssize_t first,
                    Py_ssize_t count) noexcept nogil:
        self.fill_block(work, part, cut, task != VALUES, first)
        self.fill_exps(work, part)
        self.fill_powers(work, part, task != VALUES)
        if task == VALUES:
            self.add_values(work, part)
        elif task == GRADIENT:
            self.add_gradient(work, part, first, count)
        elif task == FORWARD:
            self.add_forward(work, part, first)
        else:
            self.add_jacobian(work, part, first, count)

    cdef inline void fill_block(self, Work* work, const Part* part, const Cut* cut, bint slopes,
                                Py_ssize_t first) noexcept nogil:
        cdef Py_ssize_t t, k
        cdef int v
        cdef Block* b = work.block
        cdef Neighbors n = work.n
        cdef const int* two = work.list.two + first
        cdef vec inverse
        b.square1, b.inverse1 = <const vec*> (work.list.square + first), <const vec*> (work.list.inverse + first)
        b.cut1, b.slope1 = <const vec*> (work.list.cut + first), <const vec*> (work.list.slope + first)
        b.square3 = <const vec*> (work.list.apart + first)
        for t in range(WIDTH * LANES):
            k = two[t]
            (<double*> b.square2)[t] = n.square[k]
            (<double*> b.inverse2)[t] = n.inverse[k]
            (<double*> b.cut2)[t] = n.cut[k]
        if slopes:
            for t in range(WIDTH * LANES):
                (<double*> b.slope2)[t] = n.slope[two[t]]
        for v in range(WIDTH):
            inverse = b.inverse1[v] * b.inverse2[v]
            b.cosine[v] = 0.5 * (b.square1[v] + b.square2[v] - b.square3[v]) * inverse
            b.inverse3[v] = splat(0.0)
            b.cut3[v], b.slope3[v] = splat(1.0), splat(0.0)
            if part.kind == NARROW:
                if part.shifted or not cut.of_square:
                    b.inverse3[v] = inverse_root(b.square3[v])
                fill_cut(cut, b.square3[v], b.inverse3[v], slopes, &b.cut3[v], &b.slope3[v])
            b.factor[v] = 2.0 * b.cut1[v] * b.cut2[v] * b.cut3[v]

    cdef inline void fill_exps(self, Work* work, const Part* part) noexcept nogil:
        cdef Py_ssize_t e
        cdef int v
        cdef Block* b = work.block
        cdef vec* x = work.exps
        cdef const vec* left
        cdef const vec* right
        cdef vec d1, d2, d3, y
        cdef double shift
        for e in range(part.exp, part.exp_stop):
            if self.exp_rows[e, 0] >= 0:
                left = work.exps + self.exp_rows[e, 0] * WIDTH
                right = work.exps + self.exp_rows[e, 1] * WIDTH
                for v in range(WIDTH):
                    x[v] = left[v] * right[v]
            else:
                shift = self.exp_shift[e]
                for v in range(WIDTH):
                    if shift == 0.0:
                        y = b.square1[v] + b.square2[v]
                        if part.kind == NARROW:
                            y += b.square3[v]
                    else:
                        d1, d2 = b.square1[v] * b.inverse1[v] - shift, b.square2[v] * b.inverse2[v] - shift
                        y = d1 * d1 + d2 * d2
                        if part.kind == NARROW:
                            d3 = b.square3[v] * b.inverse3[v] - shift
                            y += d3 * d3
                    x[v] = expneg(-self.exp_numbers[e, 0] * y)
            x += WIDTH

    cdef inline void fill_powers(self, Work* work, const Part* part, bint slopes) noexcept nogil:
        """Powers of (1 + λ cos θ)/2 and, for `slopes`, their derivatives with respect to cos θ."""
        cdef Py_ssize_t p, t
        cdef int v
        cdef Block* b = work.block
        cdef vec* x = work.powers
        cdef const vec* left
        cdef const vec* right
        cdef double number, base, power
        for p in range(part.power, part.power_stop):
            number = self.pow_number[p]
            right = work.powers + self.pow_rows[p, 1] * 2 * WIDTH
            if self.pow_rows[p, 0] >= 0:
                left = work.powers + self.pow_rows[p, 0] * 2 * WIDTH
                for v in range(WIDTH):
                    x[v] = left[v] * right[v]
                if slopes:
                    for v in range(WIDTH):
                        x[WIDTH + v] = left[v] * right[WIDTH + v] + left[WIDTH + v] * right[v]
            elif self.pow_rows[p, 0] == REAL_POWER:
                for t in range(WIDTH * LANES):
                    base = max((<double*> right)[t], 0.0)
                    power = pow(base, number - 1.0)
                    (<double*> x)[t] = power * base
                    (<double*> x)[WIDTH * LANES + t] = number * power * (<double*> right)[WIDTH * LANES + t]
            else:
                for v in range(WIDTH):
                    x[v] = 0.5 + 0.5 * number * b.cosine[v]
                    x[WIDTH + v] = splat(0.5 * number)
            x += 2 * WIDTH

    cdef inline void add_values(self, Work* work, const Part* part) noexcept nogil:
        cdef Py_ssize_t e, f
        cdef int v
        cdef const vec* x = work.exps
        cdef const vec* power
        cdef vec w[WIDTH]
        cdef vec total
        for e in range(part.exp, part.exp_stop):
            for v in range(WIDTH):
                w[v] = work.block.factor[v] * x[v]
            for f in range(self.exp_rows[e, 2], self.exp_rows[e, 3]):
                power = work.powers + self.function[f, 1] * 2 * WIDTH
                total = work.total[f]
                for v in range(WIDTH):
                    total += w[v] * power[v]
                work.total[f] = total
            x += WIDTH

    cdef inline void add_gradient(self, Work* work, const Part* part, Py_ssize_t first,
                                  Py_ssize_t count) noexcept nogil:
        cdef Py_ssize_t e, f
        cdef int v
        cdef const vec* x = work.exps
        cdef const vec* power
        cdef Block* b = work.block
        cdef double c
        cdef vec s[WIDTH]
        cdef vec s_cosine[WIDTH]
        cdef vec q[WIDTH]  # Σ_e x_e S_e, with S_e = Σ_p c_ep v_p
        cdef vec q_cosine[WIDTH]  # its derivative with respect to cos θ
        cdef vec r0[WIDTH]  # Σ_e η_e x_e S_e
        cdef vec r1[WIDTH]  # Σ_e η_e r_s x_e S_e
        cdef vec y, turn, inverse
        for v in range(WIDTH):
            q[v] = q_cosine[v] = r0[v] = r1[v] = splat(0.0)
        for e in range(part.exp, part.exp_stop):
            for v in range(WIDTH):
                s[v] = s_cosine[v] = splat(0.0)
            for f in range(self.exp_rows[e, 2], self.exp_rows[e, 3]):
                power = work.powers + self.function[f, 1] * 2 * WIDTH
                c = work.coefficient[f]
                for v in range(WIDTH):
                    s[v] += c * power[v]
                    s_cosine[v] += c * power[WIDTH + v]
            for v in range(WIDTH):
                y = x[v] * s[v]
                q[v] += y
                r0[v] += self.exp_numbers[e, 0] * y
                r1[v] += self.exp_numbers[e, 1] * y
                q_cosine[v] += x[v] * s_cosine[v]
            x += WIDTH
        for v in range(WIDTH):
            inverse = b.inverse1[v] * b.inverse2[v]
            turn = b.factor[v] * q_cosine[v]
            r0[v] *= 2.0 * b.factor[v]
            r1[v] *= 2.0 * b.factor[v]
            q[v] *= 2.0
            y = -turn * inverse
            if part.kind == NARROW:
                y += b.cut1[v] * b.cut2[v] * b.slope3[v] * q[v] - (r0[v] - r1[v] * b.inverse3[v])
            b.along3[v] = y
            y += turn * inverse - r0[v]
            q[v] *= b.cut3[v]
            turn *= b.cosine[v]
            b.along1[v] = (y + b.slope1[v] * b.cut2[v] * q[v]
                           + b.inverse1[v] * (r1[v] - turn * b.inverse1[v]))
            b.along2[v] = (y + b.slope2[v] * b.cut1[v] * q[v]
                           + b.inverse2[v] * (r1[v] - turn * b.inverse2[v]))
        self.scatter(work, first, count)

    cdef inline void scatter(self, Work* work, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
        """Add a block's gradients to its neighbors; the first of them is the same for many in a row."""
        cdef Py_ssize_t t = 0, j, k
        cdef Neighbors n = work.n
        cdef const double* along1 = <double*> work.block.along1
        cdef const double* along2 = <double*> work.block.along2
        cdef const double* along3 = <double*> work.block.along3
        cdef double x, y, z, along, beta, to_x, to_y, to_z, to_along
        cdef double* to
        while t < count:
            j = work.list.one[first + t]
            x = y = z = along = 0.0
            while t < count and work.list.one[first + t] == j:
                k = work.list.two[first + t]
                beta = along3[t]
                x -= beta * n.x[k]
                y -= beta * n.y[k]
                z -= beta * n.z[k]
                along += along1[t]
                to = n.to + 4 * k
                to_x, to_y, to_z = to[0] - beta * n.x[j], to[1] - beta * n.y[j], to[2] - beta * n.z[j]
                to_along = to[3] + along2[t]
                to[0], to[1], to[2], to[3] = to_x, to_y, to_z, to_along
                t += 1
            to = n.to + 4 * j
            to[0] += x
            to[1] += y
            to[2] += z
            to[3] += along

    cdef inline void add_forward(self, Work* work, const Part* part, Py_ssize_t first) noexcept nogil:
        """Change of each function where h = r · δr of the triplet's three distances."""
        cdef Py_ssize_t e, f, t, j, k
        cdef int v
        cdef const vec* x = work.exps
        cdef const vec* power
        cdef Block* b = work.block
        cdef Neighbors n = work.n
        cdef const double* one
        cdef const double* two
        cdef vec* h1 = b.along1
        cdef vec* h2 = b.along2
        cdef vec* h3 = b.along3
        cdef vec turn[WIDTH]  # δ cos θ
        cdef vec change[WIDTH]  # δF
        cdef vec sums[WIDTH]  # Σ h
        cdef vec shifts[WIDTH]  # Σ h/r
        cdef vec w[WIDTH]
        cdef vec w_change[WIDTH]
        cdef vec total
        for t in range(WIDTH * LANES):
            j, k = work.list.one[first + t], work.list.two[first + t]
            one, two = n.move + 4 * j, n.move + 4 * k
            (<double*> h1)[t] = one[3]
            (<double*> h2)[t] = two[3]
            (<double*> h3)[t] = (one[3] + two[3] - (one[0] * n.x[k] + one[1] * n.y[k] + one[2] * n.z[k])
                                 - (two[0] * n.x[j] + two[1] * n.y[j] + two[2] * n.z[j]))
        for v in range(WIDTH):
            turn[v] = ((h1[v] + h2[v] - h3[v]) * b.inverse1[v] * b.inverse2[v]
                       - b.cosine[v] * (h1[v] * b.inverse1[v] * b.inverse1[v] + h2[v] * b.inverse2[v] * b.inverse2[v]))
            if part.kind != NARROW:
                h3[v] = splat(0.0)
            change[v] = 2.0 * ((b.slope1[v] * b.cut2[v] * h1[v] + b.slope2[v] * b.cut1[v] * h2[v]) * b.cut3[v]
                               + b.cut1[v] * b.cut2[v] * b.slope3[v] * h3[v])
            sums[v] = h1[v] + h2[v] + h3[v]
            shifts[v] = h1[v] * b.inverse1[v] + h2[v] * b.inverse2[v] + h3[v] * b.inverse3[v]
        for e in range(part.exp, part.exp_stop):
            for v in range(WIDTH):
                w_change[v] = x[v] * (change[v] - 2.0 * b.factor[v] * (
                    self.exp_numbers[e, 0] * sums[v] - self.exp_numbers[e, 1] * shifts[v]))
                w[v] = x[v] * b.factor[v] * turn[v]
            for f in range(self.exp_rows[e, 2], self.exp_rows[e, 3]):
                power = work.powers + self.function[f, 1] * 2 * WIDTH
                total = work.total[f]
                for v in range(WIDTH):
                    total += w_change[v] * power[v] + w[v] * power[WIDTH + v]
                work.total[f] = total
            x += WIDTH

    cdef inline void add_jacobian(self, Work* work, const Part* part, Py_ssize_t first,
                                  Py_ssize_t count) noexcept nogil:
        """As `add_gradient` for each function; its lanes are functions, once the triplets' products are formed."""
        cdef Py_ssize_t f, t, j, k, lane, n = self.row
        cdef int v
        cdef const vec* x
        cdef const vec* power
        cdef const double* weight
        cdef Block* b = work.block
        cdef vec* w = work.weights
        cdef vec y, dy, both, one, two, beta, eta, eta_shift
        cdef double factor, inverse, inverse1, inverse2, inverse3, turn1, turn2, slope1, slope2, slope3
        cdef double* to1
        cdef double* to2
        cdef double r1[3]
        cdef double r2[3]
        for f in range(part.function, part.function_stop):
            x = work.exps + self.function[f, 0] * WIDTH
            power = work.powers + self.function[f, 1] * 2 * WIDTH
            for v in range(WIDTH):
                w[v] = x[v] * power[v]
                w[WIDTH + v] = x[v] * power[WIDTH + v]
            w += 2 * WIDTH
        for t in range(count):
            j, k = work.list.one[first + t], work.list.two[first + t]
            r1[0], r1[1], r1[2] = work.n.x[j], work.n.y[j], work.n.z[j]
            r2[0], r2[1], r2[2] = work.n.x[k], work.n.y[k], work.n.z[k]
            factor = (<double*> b.factor)[t]
            inverse1, inverse2 = (<const double*> b.inverse1)[t], (<double*> b.inverse2)[t]
            inverse3 = (<double*> b.inverse3)[t]
            inverse = factor * inverse1 * inverse2
            turn1 = -factor * (<double*> b.cosine)[t] * inverse1 * inverse1
            turn2 = -factor * (<double*> b.cosine)[t] * inverse2 * inverse2
            slope1 = 2.0 * (<const double*> b.slope1)[t] * (<double*> b.cut2)[t] * (<double*> b.cut3)[t]
            slope2 = 2.0 * (<double*> b.slope2)[t] * (<const double*> b.cut1)[t] * (<double*> b.cut3)[t]
            slope3 = 2.0 * (<double*> b.slope3)[t] * (<const double*> b.cut1)[t] * (<double*> b.cut2)[t]
            factor *= 2.0
            weight = <double*> work.weights + t
            f = part.function
            while f < part.function_stop:
                y = dy = splat(0.0)
                for lane in range(min(<Py_ssize_t> LANES, part.function_stop - f)):
                    (<double*> &y)[lane] = weight[0]
                    (<double*> &dy)[lane] = weight[WIDTH * LANES]
                    weight += 2 * WIDTH * LANES
                eta, eta_shift = load(&self.function_numbers[0, f]), load(&self.function_numbers[1, f])
                beta = -inverse * dy
                both = inverse * dy
                if part.kind == NARROW:
                    beta += y * (slope3 - factor * (eta - inverse3 * eta_shift))
                both += beta
                one = both + y * (slope1 - factor * (eta - inverse1 * eta_shift)) + turn1 * dy
                two = both + y * (slope2 - factor * (eta - inverse2 * eta_shift)) + turn2 * dy
                to1 = work.jacobian + 4 * j * n + f - work.first
                to2 = work.jacobian + 4 * k * n + f - work.first
                for v in range(3):
                    put(to1 + v * n, load(to1 + v * n) - r2[v] * beta)
                    put(to2 + v * n, load(to2 + v * n) - r1[v] * beta)
                put(to1 + 3 * n, load(to1 + 3 * n) + one)
                put(to2 + 3 * n, load(to2 + 3 * n) + two)
                f += LANES


cdef inline void shift_list(const Triplets* rows, Py_ssize_t done, Py_ssize_t count) noexcept nogil:
    """Move the end of a list to its beginning."""
    memmove(rows.one, rows.one + done, count * sizeof(int))
    memmove(rows.two, rows.two + done, count * sizeof(int))
    memmove(rows.apart, rows.apart + done, count * sizeof(double))
    memmove(rows.square, rows.square + done, count * sizeof(double))
    memmove(rows.inverse, rows.inverse + done, count * sizeof(double))
    memmove(rows.cut, rows.cut + done, count * sizeof(double))
    memmove(rows.slope, rows.slope + done, count * sizeof(double))


# --- functions of one distance ----------------------------------------------------------------------------------------


cdef inline void fill_cut(const Cut* cut, vec square, vec inverse, bint slopes, vec* value, vec* slope) noexcept nogil:
    """f_c and f_c'/r for r below the cutoff; 1/r is not used where cut.of_square."""
    cdef vec r, x, p, q, d
    cdef double scale = 1.0 / (cut.cutoff - cut.inner)
    if cut.kind == HARD:
        value[0], slope[0] = splat(1.0), splat(0.0)
        return
    if cut.of_square:
        # cos²y and -sin(y)/y cos(y) (π/r_c)²/2 with y = πr/2r_c are power series of y², and need no root
        q = (0.25 * M_PI * M_PI / (cut.cutoff * cut.cutoff)) * square
        p = cosine_of_root(q)
        value[0] = p * p
        slope[0] = splat(0.0)
        if slopes:
            slope[0] = (-0.5 * M_PI * M_PI / (cut.cutoff * cut.cutoff)) * p * sinc_of_root(q)
        return
    r = square * inverse
    if cut.kind == TANH or cut.kind == NORMALIZED_TANH:
        p = expneg(-2.0 * larger(1.0 - (1.0 / cut.cutoff) * r, splat(0.0)))
        p = (1.0 - p) / (1.0 + p)
        q = splat(1.0 if cut.kind == TANH else 1.0 / tanh(1.0) ** 3)
        value[0] = q * p * p * p
        slope[0] = (-3.0 / cut.cutoff) * q * p * p * (1.0 - p * p) * inverse
        return
    x = larger(scale * (r - cut.inner), splat(0.0))
    if cut.kind == COSINE:
        sincospi(x, &q, &p)
        value[0] = 0.5 + 0.5 * p
        d = -0.5 * M_PI * q
    elif cut.kind == EXPONENTIAL:
        p = splat(1.0) / larger(1.0 - x * x, splat(1e-3))  # zero, but not its reciprocal, where that takes effect
        value[0] = expneg(1.0 - p)
        d = -2.0 * x * p * p * value[0]
    else:  # n2p2's polynomials in 1 - x, which are small without cancellation at the cutoff
        p = 1.0 - x
        q = p * p
        if cut.kind == POLY1:
            value[0] = q * (3.0 - 2.0 * p)
            d = -6.0 * x * p
        elif cut.kind == POLY2:
            value[0] = q * p * (10.0 + p * (6.0 * p - 15.0))
            d = -30.0 * x * x * q
        elif cut.kind == POLY3:
            value[0] = q * q * (35.0 + p * (p * (70.0 - 20.0 * p) - 84.0))
            d = -140.0 * x * x * x * q * p
        else:
            value[0] = q * q * p * (126.0 + p * (p * (540.0 + p * (70.0 * p - 315.0)) - 420.0))
            d = -630.0 * (x * x) * (x * x) * q * q
    slope[0] = scale * d * inverse


cdef inline vec cosine_of_root(vec q) noexcept nogil:
    """cos √q for 0 ≤ q ≤ π²/4: the first term left out is below 2e-17."""
    cdef vec p = splat(4.110317623312165e-19)  # 1/20!, and so on down to 1/0!
    p = -1.5619206968586225e-16 + q * p
    p = 4.779477332387385e-14 + q * p
    p = -1.1470745597729725e-11 + q * p
    p = 2.08767569878681e-09 + q * p
    p = -2.755731922398589e-07 + q * p
    p = 2.48015873015873e-05 + q * p
    p = -0.001388888888888889 + q * p
    p = 0.041666666666666664 + q * p
    p = -0.5 + q * p
    return 1.0 + q * p


cdef inline vec sinc_of_root(vec q) noexcept nogil:
    """sin(√q)/√q for 0 ≤ q ≤ π²/4: the first term left out is below 1e-18."""
    cdef vec p = splat(1.9572941063391263e-20)  # 1/21!, and so on down to 1/1!
    p = -8.22063524662433e-18 + q * p
    p = 2.8114572543455206e-15 + q * p
    p = -7.647163731819816e-13 + q * p
    p = 1.6059043836821613e-10 + q * p
    p = -2.505210838544172e-08 + q * p
    p = 2.7557319223985893e-06 + q * p
    p = -0.0001984126984126984 + q * p
    p = 0.008333333333333333 + q * p
    p = -0.16666666666666666 + q * p
    return 1.0 + q * p


# --- small things -----------------------------------------------------------------------------------------------------


cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    return (n + 7) // 8 * 8


cdef inline vec load(const double* p) noexcept nogil:
    return (<const vec*> p)[0]


cdef inline void put(double* p, vec x) noexcept nogil:
    (<vec*> p)[0] = x


cdef inline double sum_of(vec x) noexcept nogil:
    cdef double total = 0.0
    cdef int lane
    for lane in range(LANES):
        total += (<double*> &x)[lane]
    return total
