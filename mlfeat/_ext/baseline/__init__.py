"""Kernels compiled for the instruction set baseline."""
