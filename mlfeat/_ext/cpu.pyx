"""Which instruction sets the processor has."""

cdef extern from *:
    """
    #if (defined(__x86_64__) || defined(__amd64__)) && defined(__GNUC__)
    static int mlfeat_avx2(void) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    }
    static int mlfeat_avx512(void) {
        return mlfeat_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512cd");
    }
    #else
    static int mlfeat_avx2(void) { return 0; }
    static int mlfeat_avx512(void) { return 0; }
    #endif
    """
    int mlfeat_avx2() noexcept nogil
    int mlfeat_avx512() noexcept nogil


def supports(isa):
    """Whether the processor (and the build) can run kernels compiled for `isa`."""
    return {"baseline": True, "avx2": bool(mlfeat_avx2()), "avx512": bool(mlfeat_avx512())}[isa]
