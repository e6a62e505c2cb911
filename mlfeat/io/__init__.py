"""Files of other programs, read as fitted models and written from them."""

from mlfeat.io._snap import read_snap, write_snap

__all__ = ["read_snap", "write_snap"]
