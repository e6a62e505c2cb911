"""Files of other programs, read as fitted models and structures, and written from them."""

from mlfeat.io._cfg import read_cfg, write_cfg
from mlfeat.io._gap import read_gap, write_gap
from mlfeat.io._mtp import read_mtp, write_mtp
from mlfeat.io._nnp import read_nnp, write_nnp
from mlfeat.io._snap import read_snap, write_snap
from mlfeat.io._structures import read_structures
from mlfeat.io._structures_stress import StressCheck, check_stress
from mlfeat.io._structures_summary import StructuresSummary, describe_structures

__all__ = [
    "StressCheck",
    "StructuresSummary",
    "check_stress",
    "describe_structures",
    "read_cfg",
    "read_gap",
    "read_mtp",
    "read_nnp",
    "read_snap",
    "read_structures",
    "write_cfg",
    "write_gap",
    "write_mtp",
    "write_nnp",
    "write_snap",
]
