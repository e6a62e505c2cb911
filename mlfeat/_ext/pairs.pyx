"""Loops over neighbor pairs: vectors, forces, virial, design-matrix rows.

Pairs are sorted by center, r_p = r_second - r_first + shift_p, and g_p = ∂E/∂r_p. Each function runs on one thread in the
order of the pairs, so its result never depends on how many threads there are.
"""

import numpy as np


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
    virial = np.empty((3, 3))
    cdef double[:, ::1] out = virial
    cdef double[9] total
    cdef Py_ssize_t p, x, y
    with nogil:
        for x in range(9):
            total[x] = 0
        for p in range(vectors.shape[0]):
            for x in range(3):
                for y in range(3):
                    total[3 * x + y] += vectors[p, x] * gradients[p, y]
        for x in range(3):
            for y in range(3):
                out[x, y] = total[3 * x + y]
    return virial


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
    cdef Py_ssize_t n_features = jacobian.shape[2], n_atoms = (rows.shape[0] - 7) // 3
    cdef Py_ssize_t b, p, x, i, j, column
    cdef Py_ssize_t n_stress = 1 + 3 * n_atoms
    cdef const double* block
    cdef double rx, ry, rz
    if n_features == 0 or jacobian.shape[0] == 0:
        return
    with nogil:
        for b in range(jacobian.shape[0]):
            p = start + b
            i = first[p]
            j = second[p]
            column = species[i] * n_features
            for x in range(3):
                block = &jacobian[b, x, 0]
                add_scaled(&rows[1 + 3 * i + x, column], block, 1.0, n_features)
                add_scaled(&rows[1 + 3 * j + x, column], block, -1.0, n_features)
            rx = vectors[p, 0] * per_volume
            ry = vectors[p, 1] * per_volume
            rz = vectors[p, 2] * per_volume
            add_stress(&rows[n_stress, column], rows.shape[1], &jacobian[b, 0, 0], rx, ry, rz, n_features)


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
