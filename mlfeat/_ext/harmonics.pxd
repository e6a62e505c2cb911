"""Real spherical harmonics of unit vectors, one vector a lane; ``mlfeat.descriptors._harmonics`` defines them."""

from mlfeat._ext.simd cimport splat, vec


cdef struct Legendre:
    # the arrays of the Python class of that name
    int l_max
    const double* up
    const double* back
    const double* slope


cdef struct Harmonics:
    # buffers of a thread
    vec* legendre  # Q_lm, (l_max + 1)(l_max + 2)/2 of them and l_max + 2 to spare
    vec* cosine  # (x + iy)^m, l_max + 1 each
    vec* sine
    vec* value  # Y_lm at l² + l + m


cdef inline void fill_harmonics(const Legendre* table, Harmonics* h, vec x, vec y, vec z) noexcept nogil:
    """legendre Q_lm(z), (cosine, sine)_m = (x + iy)^m, value Y_{l,±m} = Q_lm cosine_m, Q_lm sine_m."""
    cdef vec t
    cdef vec* q = h.legendre
    cdef vec* Y
    cdef int l, m, k
    h.cosine[0] = splat(1.0)
    h.sine[0] = splat(0.0)
    for m in range(1, table.l_max + 1):
        h.cosine[m] = x * h.cosine[m - 1] - y * h.sine[m - 1]
        h.sine[m] = x * h.sine[m - 1] + y * h.cosine[m - 1]
    for l in range(table.l_max + 1):
        k = l * (l + 1) // 2
        for m in range(l - 1):
            q[k + m] = table.up[k + m] * (z * q[k - l + m] - table.back[k + m] * q[k - 2 * l + 1 + m])
        if l > 0:
            q[k + l - 1] = table.up[k + l - 1] * z * q[k - 1]
        q[k + l] = splat(table.up[k + l])
        Y = h.value + l * l + l
        Y[0] = q[k]
        for m in range(1, l + 1):
            t = q[k + m]
            Y[m] = t * h.cosine[m]
            Y[-m] = t * h.sine[m]


cdef inline void fill_gradients(const Legendre* table, const Harmonics* h, vec x, vec y, vec z, vec rinv,
                                vec* out, int stride) noexcept nogil:
    """out[stride · lm] and the next two = ∇Y_lm(r/|r|), once `fill_harmonics` was called; `rinv` is 1/|r|."""
    cdef vec gx, gy, gz, along
    cdef int l, m, k
    for l in range(table.l_max + 1):
        for m in range(-l, l + 1):
            k = l * (l + 1) // 2 + abs(m)
            gx = gy = gz = splat(0.0)
            if m > 0:
                gx = m * h.legendre[k] * h.cosine[m - 1]
                gy = -m * h.legendre[k] * h.sine[m - 1]
            elif m < 0:
                gx = -m * h.legendre[k] * h.sine[-m - 1]
                gy = -m * h.legendre[k] * h.cosine[-m - 1]
            if abs(m) < l:
                gz = table.slope[k] * h.legendre[k + 1] * (h.cosine[m] if m >= 0 else h.sine[-m])
            along = gx * x + gy * y + gz * z
            out[0] = (gx - along * x) * rinv
            out[1] = (gy - along * y) * rinv
            out[2] = (gz - along * z) * rinv
            out += stride
