"""Loops over neighbor pairs: vectors, forces, virial, design-matrix rows.

Pairs are sorted by center, r_p = r_second - r_first + shift_p, and g_p = ∂E/∂r_p. Each function runs on one thread, in
the order of the pairs, so its result never depends on how many threads there are.
"""

import numpy as np


def stable_order(const int[::1] keys, Py_ssize_t n_keys, const Py_ssize_t[::1] order):
    """Reorder indices by their keys, 0 <= keys[p] < n_keys, keeping the order of those with equal keys (counting sort).

    Returns the new order, and offsets (n_keys + 1,): the indices with key k are at ``offsets[k]:offsets[k + 1]``.
    """
    result = np.empty(order.shape[0], dtype=np.intp)
    offsets = np.zeros(n_keys + 1, dtype=np.intp)
    cdef Py_ssize_t[::1] next_place = np.zeros(n_keys + 1, dtype=np.intp)
    cdef Py_ssize_t[::1] out = result, start = offsets
    cdef Py_ssize_t a, p, k
    with nogil:
        for a in range(order.shape[0]):
            start[keys[order[a]] + 1] += 1
        for k in range(n_keys):
            start[k + 1] += start[k]
            next_place[k] = start[k]
        for a in range(order.shape[0]):
            p = order[a]
            k = keys[p]
            out[next_place[k]] = p
            next_place[k] += 1
    return result, offsets


def shift_vectors(const int[:, ::1] shifts, const double[:, ::1] cell):
    """S·cell of each pair (n_pairs, 3)."""
    vectors = np.empty((shifts.shape[0], 3))
    cdef double[:, ::1] out = vectors
    cdef Py_ssize_t p, x
    with nogil:
        for p in range(shifts.shape[0]):
            for x in range(3):
                out[p, x] = shifts[p, 0] * cell[0, x] + shifts[p, 1] * cell[1, x] + shifts[p, 2] * cell[2, x]
    return vectors


def pair_vectors(
    const double[:, ::1] positions,
    const int[::1] first,
    const int[::1] second,
    const double[:, ::1] shift_vectors,
    double[:, ::1] out,
):
    """Write r_j - r_i + S·cell of each pair into `out` (n_pairs, 3)."""
    cdef Py_ssize_t p, x, i, j
    with nogil:
        for p in range(out.shape[0]):
            i = first[p]
            j = second[p]
            for x in range(3):
                out[p, x] = positions[j, x] - positions[i, x] + shift_vectors[p, x]


def pair_forces(const double[:, ::1] gradients, const int[::1] first, const int[::1] second, Py_ssize_t n_atoms):
    """Forces (n_atoms, 3): F_i += g_ij, F_j -= g_ij."""
    forces = np.zeros((n_atoms, 3))
    cdef double[:, ::1] out = forces
    cdef Py_ssize_t p, x, i, j
    with nogil:
        for p in range(gradients.shape[0]):
            i = first[p]
            j = second[p]
            for x in range(3):
                out[i, x] += gradients[p, x]
                out[j, x] -= gradients[p, x]
    return forces


def pair_virial(const double[:, ::1] vectors, const double[:, ::1] gradients):
    """Virial (3, 3): Σ_p r_p ⊗ g_p."""
    cdef double xx = 0, xy = 0, xz = 0, yx = 0, yy = 0, yz = 0, zx = 0, zy = 0, zz = 0
    cdef double x, y, z, gx, gy, gz
    cdef Py_ssize_t p
    with nogil:
        for p in range(vectors.shape[0]):
            x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
            gx, gy, gz = gradients[p, 0], gradients[p, 1], gradients[p, 2]
            xx += x * gx
            xy += x * gy
            xz += x * gz
            yx += y * gx
            yy += y * gy
            yz += y * gz
            zx += z * gx
            zy += z * gy
            zz += z * gz
    return np.array([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]])


def center_virials(const double[:, ::1] vectors, const double[:, ::1] gradients, const Py_ssize_t[::1] offsets):
    """Virial (n_atoms, 3, 3) of each center: Σ_p r_p ⊗ g_p over its pairs."""
    virials = np.zeros((offsets.shape[0] - 1, 3, 3))
    cdef double[:, :, ::1] out = virials
    cdef Py_ssize_t i, p, x, y
    with nogil:
        for i in range(out.shape[0]):
            for p in range(offsets[i], offsets[i + 1]):
                for x in range(3):
                    for y in range(3):
                        out[i, x, y] += vectors[p, x] * gradients[p, y]
    return virials


def max_squared_displacement(const double[:, ::1] positions, const double[:, ::1] reference):
    """Largest squared distance between the rows of two (n_atoms, 3) arrays; NaN if any of them is."""
    cdef double largest = 0, squared, d
    cdef Py_ssize_t i, x
    with nogil:
        for i in range(positions.shape[0]):
            squared = 0
            for x in range(3):
                d = positions[i, x] - reference[i, x]
                squared += d * d
            if not squared <= largest:  # also true of NaN, which then stays
                largest = squared
                if squared != squared:
                    break
    return largest


cdef inline void add_scaled(double* out, const double* values, double factor, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        out[k] += factor * values[k]


cdef inline void add_stress(
    double* out, Py_ssize_t stride, const double* gx, double rx, double ry, double rz, Py_ssize_t n
) noexcept nogil:
    """Six rows of r ⊗ g, off-diagonal ones symmetrized."""
    cdef const double* gy = gx + n
    cdef const double* gz = gy + n
    cdef double* xx = out
    cdef double* yy = out + stride
    cdef double* zz = out + 2 * stride
    cdef double* yz = out + 3 * stride
    cdef double* xz = out + 4 * stride
    cdef double* xy = out + 5 * stride
    cdef Py_ssize_t k
    for k in range(n):
        xx[k] += rx * gx[k]
        yy[k] += ry * gy[k]
        zz[k] += rz * gz[k]
        yz[k] += 0.5 * (ry * gz[k] + rz * gy[k])
        xz[k] += 0.5 * (rx * gz[k] + rz * gx[k])
        xy[k] += 0.5 * (rx * gy[k] + ry * gx[k])


cdef inline void add_pair(
    double* out,
    Py_ssize_t stride,
    Py_ssize_t n_atoms,
    Py_ssize_t i,
    Py_ssize_t j,
    const double* block,
    const double* vector,
    double per_volume,
    Py_ssize_t n,
) noexcept nogil:
    """Add ∂B_i/∂r_p, a block (3, n), to 3 n_atoms force rows and then six stress rows that start at `out`."""
    cdef Py_ssize_t x
    for x in range(3):
        add_scaled(out + (3 * i + x) * stride, block + x * n, 1.0, n)
        add_scaled(out + (3 * j + x) * stride, block + x * n, -1.0, n)
    out += 3 * n_atoms * stride
    add_stress(out, stride, block, vector[0] * per_volume, vector[1] * per_volume, vector[2] * per_volume, n)


def scatter_rows(
    const double[:, :, ::1] jacobian,
    Py_ssize_t start,
    const int[::1] first,
    const int[::1] second,
    const Py_ssize_t[::1] species,
    const double[:, ::1] vectors,
    double per_volume,
    double[:, ::1] rows,
):
    """Add a block of pairs to the force and stress rows of a design matrix.

    `jacobian` (n_block, 3, F) holds ∂B_i/∂r_p of the pairs from number `start` on; `rows` is (1 + 3N + 6, n_species F).
    Row 1 + 3a + x is the force -∂/∂r_ax, and the last six are the stress (Voigt xx yy zz yz xz xy), the virial times
    `per_volume`. The center's species chooses the columns.
    """
    cdef Py_ssize_t n_features = jacobian.shape[2], n_atoms = species.shape[0]
    cdef Py_ssize_t b, p, i
    if n_features == 0:
        return
    with nogil:
        for b in range(jacobian.shape[0]):
            p = start + b
            i = first[p]
            add_pair(
                &rows[1, species[i] * n_features],
                rows.shape[1],
                n_atoms,
                i,
                second[p],
                &jacobian[b, 0, 0],
                &vectors[p, 0],
                per_volume,
                n_features,
            )


def merge_gradients(
    const double[:, :, ::1] jacobian,
    const Py_ssize_t[::1] centers,
    const Py_ssize_t[::1] offsets,
    Py_ssize_t first_pair,
    const int[::1] second,
    const double[:, ::1] vectors,
    double per_volume,
    double[:, ::1] rows,
    Py_ssize_t[::1] places,
    Py_ssize_t[::1] owners,
):
    """Derivatives of the features of single centers, those with respect to images of one atom summed.

    `jacobian` (n_block, 3, F) holds ∂B_i/∂r_p of the pairs from `first_pair` on. Center after center, `rows` (at least
    9 n_centers + 3 n_block, F) gets -∂B_i/∂r_ix, the six stresses of B_i (Voigt, the virial times `per_volume`), and
    -∂B_i/∂r_jx of each neighbor j. `places` tells to which of 3N force rows and six stress rows each belongs, `owners`
    the center. Returns the number of rows.
    """
    cdef Py_ssize_t n_features = jacobian.shape[2], n_atoms = offsets.shape[0] - 1
    cdef Py_ssize_t[::1] found = np.full(n_atoms, -1, dtype=np.intp)
    cdef Py_ssize_t c, i, j, p, x, start, n = 0
    cdef const double* block
    if n_features == 0:
        return 0
    with nogil:
        for c in range(centers.shape[0]):
            i = centers[c]
            start = n
            for x in range(9):
                places[n] = 3 * i + x if x < 3 else 3 * n_atoms + x - 3
                owners[n] = i
                rows[n, :] = 0
                n += 1
            for p in range(offsets[i], offsets[i + 1]):
                j = second[p]
                block = &jacobian[p - first_pair, 0, 0]
                add_stress(
                    &rows[start + 3, 0],
                    n_features,
                    block,
                    vectors[p, 0] * per_volume,
                    vectors[p, 1] * per_volume,
                    vectors[p, 2] * per_volume,
                    n_features,
                )
                if j == i:  # an atom moves with its images
                    continue
                if found[j] < start:
                    found[j] = n
                    for x in range(3):
                        places[n] = 3 * j + x
                        owners[n] = i
                        rows[n, :] = 0
                        n += 1
                add_scaled(&rows[start, 0], block, 1.0, 3 * n_features)
                add_scaled(&rows[found[j], 0], block, -1.0, 3 * n_features)
    return n


def add_weighted_rows(
    const double[:, ::1] rows,
    const Py_ssize_t[::1] places,
    const Py_ssize_t[::1] owners,
    const double[:, ::1] weights,
    Py_ssize_t first_weight,
    double[:, ::1] out,
    Py_ssize_t first_column,
):
    """out[places[r], first_column + k] += weights[owners[r], first_weight + k] · rows[r, k]."""
    cdef Py_ssize_t r, k, n = rows.shape[1]
    cdef const double* row
    cdef const double* weight
    cdef double* target
    if n == 0:
        return
    with nogil:
        for r in range(rows.shape[0]):
            row = &rows[r, 0]
            weight = &weights[owners[r], first_weight]
            target = &out[places[r], first_column]
            for k in range(n):
                target[k] += weight[k] * row[k]
