"""Kernels compiled for the instruction set avx512."""
