"""Files of other programs, read as fitted models and written from them."""

from mlfeat.io._gap import read_gap, write_gap
from mlfeat.io._snap import read_snap, write_snap

__all__ = ["read_gap", "read_snap", "write_gap", "write_snap"]
