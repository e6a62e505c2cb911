"""What a search is fitted to: structures, their features, or any other samples."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlfeat.features import FeatureSet
from mlfeat.targets import get_groups

__all__ = ["are_structures", "find_groups"]


def are_structures(X):
    """Whether these are structures, in a list, a tuple or an array."""
    is_sequence = isinstance(X, (Sequence, np.ndarray)) and len(X) > 0
    return is_sequence and all(isinstance(atoms, Atoms) for atoms in X)


def find_groups(X):
    """Group of each structure, or of each structure's features; None of other samples."""
    if isinstance(X, FeatureSet):
        return X.groups
    return get_groups(X) if are_structures(X) else None
