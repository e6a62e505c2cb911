"""Compiled kernels, and the choice of the instruction set they run on.

A kernel compiled for several instruction sets is imported with :func:`kernel`; the others are plain modules.
``MLFEAT_SIMD=baseline|avx2|avx512`` forces a set, for tests and benchmarks.
"""

import os
from importlib import import_module

from mlfeat._ext import cpu

ISAS = ("baseline", "avx2", "avx512")


def supported_isas():
    """Instruction sets that this processor runs, slowest first."""
    return tuple(isa for isa in ISAS if cpu.supports(isa))


def choose_isa():
    """The instruction set that ``MLFEAT_SIMD`` names, or else the fastest that the processor has."""
    supported = supported_isas()
    wanted = os.environ.get("MLFEAT_SIMD") or supported[-1]
    if wanted not in supported:
        raise ImportError(f"MLFEAT_SIMD={wanted!r}: this processor runs {', '.join(supported)}; set it to one of them")
    return wanted


ISA = choose_isa()


def kernel(name, isa=None):
    """Return the module of kernel `name` compiled for `isa` (default: the one chosen at import)."""
    return import_module(f"mlfeat._ext.{isa or ISA}.{name}")
