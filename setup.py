"""Extension modules: one table, one set of directives, one set of flags.

Every kernel is one ``.pyx`` file. Those listed in ``SIMD_KERNELS`` are compiled once per instruction set, as
``mlfeat._ext.<isa>.<name>``, and :mod:`mlfeat._ext` chooses among them when they are imported.
"""

import copy
import os
import platform
import sys
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = ["blas", "cpu", "pairs", "quadratic"]  # compiled once
# compiled for every instruction set
SIMD_KERNELS = ["acsf", "bispectrum", "moment_tensor", "outer_sums", "pair_distance", "soap"]

SOURCE = Path("mlfeat") / "_ext"
IS_X86 = platform.machine().lower() in {"x86_64", "amd64"} and sys.platform != "win32"
ISA_FLAGS = {"baseline": []}
if IS_X86:
    ISA_FLAGS |= {"avx2": ["-march=x86-64-v3"], "avx512": ["-march=x86-64-v4"]}

# Reassociation without -ffast-math: that one sets flush-to-zero for the whole process when an old gcc links it.
FLAGS = [] if sys.platform == "win32" else ["-O2", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"]
KERNEL_FLAGS = {"acsf": FLAGS and ["-O3"]}  # its short loops of constant length get unrolled; -O2 is better for others

CHECKS = os.environ.get("MLFEAT_BOUNDSCHECK") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKS,
    "wraparound": False,
    "initializedcheck": CHECKS,
    "cdivision": True,
    "embedsignature": True,
}


def extension(name, source, flags=()):
    return Extension(
        name,
        [source],
        include_dirs=[np.get_include(), str(SOURCE)],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=[*FLAGS, *flags],
    )


def extensions():
    once = [extension(f"mlfeat._ext.{name}", str(SOURCE / f"{name}.pyx")) for name in KERNELS + SIMD_KERNELS]
    once = cythonize(once, compiler_directives=DIRECTIVES)
    plain, simd = once[: len(KERNELS)], once[len(KERNELS) :]
    variants = [
        extension(f"mlfeat._ext.{isa}.{name}", module.sources[0], [*flags, *KERNEL_FLAGS.get(name, [])])
        for name, module in zip(SIMD_KERNELS, simd, strict=True)
        for isa, flags in ISA_FLAGS.items()
    ]
    return plain + variants


class BuildOnePerFolder(build_ext):
    """Several at a time. Variants of a kernel share their C file, so each extension has object files of its own."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext):
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp) / ext.name)
        super(BuildOnePerFolder, own).build_extension(ext)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOnePerFolder})
