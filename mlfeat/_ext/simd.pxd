"""A vector of doubles as wide as the registers of the instruction set a kernel is compiled for.

Arithmetic on :c:type:`vec` reads like arithmetic on doubles: Cython sees a double, C sees ``LANES`` of them. The lanes
are a batch of environments (or the neighbors of one), with data laid out ``[index][lane]``.
"""

cdef extern from *:
    """
    #if defined(__AVX512F__)
    enum { LANES = 8 };
    #elif defined(__AVX__)
    enum { LANES = 4 };
    #elif defined(__GNUC__)
    enum { LANES = 2 };
    #else
    enum { LANES = 1 };
    #endif
    #if defined(__GNUC__)
    typedef double vec __attribute__((vector_size(LANES * 8), aligned(8)));
    static inline vec splat(double x) { vec zero = {0}; return zero + x; }
    typedef long long bits __attribute__((vector_size(LANES * 8), aligned(8)));
    /* x 2^n for the n in the last bits of n + 1.5 2^52; zero where y is -700 or less */
    static inline vec scale_or_zero(vec x, vec n, vec y) {
        return (vec) (((bits) x + ((bits) n << 52)) & (y > splat(-700.0)));
    }
    static inline vec larger(vec x, vec y) {
        bits more = x > y;
        return (vec) (((bits) x & more) | ((bits) y & ~more));
    }
    /* within 4 % of 1/sqrt(x), x > 0: half the exponent, with its sign turned */
    static inline vec inverse_root_guess(vec x) {
        bits magic = (bits) splat(0.0) + 0x5fe6eb50c7b537a9LL;
        return (vec) (magic - ((bits) x >> 1));
    }
    #else
    #include <math.h>
    typedef double vec;
    static inline vec splat(double x) { return x; }
    static inline vec scale_or_zero(vec x, vec n, vec y) {
        return y > -700.0 ? ldexp(x, (int) (n - 6755399441055744.0)) : 0.0;
    }
    static inline vec larger(vec x, vec y) { return x > y ? x : y; }
    static inline vec inverse_root_guess(vec x) { return 1.0 / sqrt(x); }
    #endif
    /* Write those lanes of x that are below the limit one after the other, and their numbers, counted from first;
       returns how many. All LANES places at to and at number may be written. */
    #if defined(__AVX512F__) && defined(__AVX512VL__)
    #include <immintrin.h>
    static inline int keep_below(vec x, double limit, int first, double* to, int* number) {
        __mmask8 below = _mm512_cmp_pd_mask((__m512d) x, _mm512_set1_pd(limit), _CMP_LT_OQ);
        __m256i numbers = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
        _mm512_storeu_pd(to, _mm512_maskz_compress_pd(below, (__m512d) x));
        _mm256_storeu_si256((__m256i*) number, _mm256_maskz_compress_epi32(below, numbers));
        return __builtin_popcount(below);
    }
    #else
    static inline int keep_below(vec x, double limit, int first, double* to, int* number) {
        int lane, n = 0;
        for (lane = 0; lane < LANES; lane++) {
            double value = ((double*) &x)[lane];
            to[n] = value;
            number[n] = first + lane;
            n += value < limit;
        }
        return n;
    }
    #endif
    """
    const int LANES
    ctypedef double vec
    vec splat(double x) noexcept nogil
    vec scale_or_zero(vec x, vec n, vec y) noexcept nogil
    vec larger(vec x, vec y) noexcept nogil
    vec inverse_root_guess(vec x) noexcept nogil
    int keep_below(vec x, double limit, int first, double* to, int* number) noexcept nogil


cdef inline vec inverse_root(vec x) noexcept nogil:
    """1/√x for x > 0 to rounding errors: four steps of Newton's method, which take less time than a root."""
    cdef vec y = inverse_root_guess(x), half = 0.5 * x
    y *= 1.5 - half * y * y
    y *= 1.5 - half * y * y
    y *= 1.5 - half * y * y
    return y * (1.5 - half * y * y)


cdef inline vec expneg(vec y) noexcept nogil:
    """exp(y) for y ≤ 0 to rounding error; zero for y ≤ −700.

    exp(y) = 2^n exp(f), |f| ≤ ½ ln 2; the first term that the Taylor polynomial of exp(f) leaves out is below 5e-18.
    """
    cdef vec n = 1.4426950408889634 * y + 6755399441055744.0  # 1.5·2^52: rounds to an integer
    cdef vec k = n - 6755399441055744.0
    cdef vec f = y - k * 0.6931471803691238 - k * 1.9082149292705877e-10  # ln 2, the first part with zeros at its end
    cdef vec p = splat(1.6059043836821613e-10)  # 1/13!, and so on down to 1/0!
    p = 2.08767569878681e-09 + f * p
    p = 2.505210838544172e-08 + f * p
    p = 2.755731922398589e-07 + f * p
    p = 2.7557319223985893e-06 + f * p
    p = 2.48015873015873e-05 + f * p
    p = 0.0001984126984126984 + f * p
    p = 0.001388888888888889 + f * p
    p = 0.008333333333333333 + f * p
    p = 0.041666666666666664 + f * p
    p = 0.16666666666666666 + f * p
    p = 0.5 + f * p
    p = 1.0 + f * p
    p = 1.0 + f * p
    return scale_or_zero(p, n, y)


cdef inline void sincospi(vec t, vec* sine, vec* cosine) noexcept nogil:
    """sin(πt) and cos(πt) for 0 ≤ t ≤ 1 to rounding error.

    Taylor polynomials of y = π(t − ½), |y| ≤ π/2: sin(πt) = cos(y), cos(πt) = −sin(y); the first terms left out are
    below 2e-18.
    """
    cdef vec y = 3.141592653589793 * (t - 0.5)
    cdef vec q = y * y
    cdef vec even = splat(-8.896791392450574e-22)  # -1/22!, and so on down to 1/0!
    cdef vec odd = splat(-3.868170170630684e-23)  # -1/23!, and so on down to 1/1!
    even = 4.110317623312165e-19 + q * even
    even = -1.5619206968586225e-16 + q * even
    even = 4.779477332387385e-14 + q * even
    even = -1.1470745597729725e-11 + q * even
    even = 2.08767569878681e-09 + q * even
    even = -2.755731922398589e-07 + q * even
    even = 2.48015873015873e-05 + q * even
    even = -0.001388888888888889 + q * even
    even = 0.041666666666666664 + q * even
    even = -0.5 + q * even
    even = 1.0 + q * even
    odd = 1.9572941063391263e-20 + q * odd
    odd = -8.22063524662433e-18 + q * odd
    odd = 2.8114572543455206e-15 + q * odd
    odd = -7.647163731819816e-13 + q * odd
    odd = 1.6059043836821613e-10 + q * odd
    odd = -2.505210838544172e-08 + q * odd
    odd = 2.7557319223985893e-06 + q * odd
    odd = -0.0001984126984126984 + q * odd
    odd = 0.008333333333333333 + q * odd
    odd = -0.16666666666666666 + q * odd
    odd = 1.0 + q * odd
    sine[0] = even
    cosine[0] = -y * odd
