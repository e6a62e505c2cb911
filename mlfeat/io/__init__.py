"""Files of other programs, read as fitted models and structures, and written from them."""

from mlfeat.io._cfg import read_cfg, write_cfg
from mlfeat.io._gap import read_gap, write_gap
from mlfeat.io._mtp import read_mtp, write_mtp
from mlfeat.io._nnp import read_nnp, write_nnp
from mlfeat.io._snap import read_snap, write_snap

__all__ = [
    "read_cfg",
    "read_gap",
    "read_mtp",
    "read_nnp",
    "read_snap",
    "write_cfg",
    "write_gap",
    "write_mtp",
    "write_nnp",
    "write_snap",
]
