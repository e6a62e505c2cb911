"""Parameters of MomentTensorPotential, checked and made definite."""

import logging
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from mlfeat._cluster import count_threads
from mlfeat.features import BLOCK_BYTES
from mlfeat.potentials._fitting import size_in_words
from mlfeat.potentials._maxvol import working_bytes
from mlfeat.potentials._moment_data import BLOCK_ROWS, WAVE
from mlfeat.potentials._settings import INSIDE, NOT_NEGATIVE, check_parameters, is_count, is_number

logger = logging.getLogger("mlfeat")

WEIGHTINGS = ("vibrations", "structures", "molecules")
SOLVERS = ("varpro", "bfgs", "ridge")
INITIAL = ("levels", "random", "given")

_NUMBERS = {"alpha": NOT_NEGATIVE, "tol": NOT_NEGATIVE, "validation_fraction": INSIDE}
_COUNTS = {"max_iter": ("auto",), "n_init": (), "n_iter_no_change": (), "n_models": ()}
_CHOICES = {
    "solver": SOLVERS,
    "weighting": WEIGHTINGS,
    "initial": INITIAL,
    "tied": (True, False),
    "early_stopping": (True, False),
    "warm_start": (True, False),
    "verbose": (True, False),
}

KEPT_BYTES = 2**30  # of rows between solving for the linear parameters and the step of the radial ones
_VARPRO_ITERATIONS = 60
_BFGS_ITERATIONS = ((16, 500), (20, 1000), (np.inf, 2000))  # by level


def check_settings(potential):
    """Raise ValueError for the first parameter that is wrong."""
    check_parameters(potential, _NUMBERS, _COUNTS, _CHOICES)
    scaling, limit = potential.scaling, potential.memory_limit
    if scaling is not None and not (is_number(scaling) and np.isfinite(scaling) and scaling != 0):
        raise ValueError(f"scaling={scaling!r}: must be None, or a number other than zero")
    if limit is not None and not (is_number(limit) and limit >= 0):
        raise ValueError(f"memory_limit={limit!r}: must be None, or a number of bytes")
    if potential.n_models > 1 and starts_as_given(potential):
        raise ValueError(
            f"n_models={potential.n_models}: with solver={potential.solver!r}, initial={potential.initial!r} all "
            "members would be alike: set initial='random'"
        )
    check_random_state(potential.random_state)


def check_pruning(potential, cost, max_increase, refine):
    """Raise ValueError unless a potential can be pruned with these parameters."""
    if len(potential.coef_) > 1:
        raise ValueError(f"this is a committee of {len(potential.coef_)}: prune a potential with n_models=1")
    if not (is_number(cost) and 0 <= cost <= 1):
        raise ValueError(f"cost={cost!r}: must be a share between 0 and 1")
    if not (is_number(max_increase) and max_increase >= 0):
        raise ValueError(f"max_increase={max_increase!r}: must be zero or a positive number")
    if refine != 0 and not is_count(refine):
        raise ValueError(f"refine={refine!r}: must be zero or a positive integer")


def starts_as_given(potential):
    """Whether training begins with the radial functions of the descriptor."""
    return potential.initial == "given" or (potential.solver == "ridge" and potential.initial == "levels")


def iterations(potential, level):
    """Most iterations at the highest level."""
    if potential.max_iter != "auto":
        return int(potential.max_iter)
    if potential.solver == "bfgs":
        return next(n for highest, n in _BFGS_ITERATIONS if level <= highest)
    return _VARPRO_ITERATIONS


class MemoryForecast(NamedTuple):
    """Bytes that a fit takes at its peaks, beside the features it is given.

    Attributes
    ----------
    training : float
        Normal equations, and rows of blocks of structures.
    rows : float
        Rows of all structures, which are kept if there is room.
    active_set : float
        The search for the active set, after the training.
    """

    training: float
    rows: float
    active_set: float

    def kept_bytes(self, limit):
        """Bytes of rows that may be kept so that `limit` (None: there is none) is not exceeded."""
        return KEPT_BYTES if limit is None else min(KEPT_BYTES, limit - self.training)

    def total(self, limit):
        """The highest peak."""
        kept = self.rows if self.rows <= self.kept_bytes(limit) else 0
        return max(self.training + kept, self.active_set)


def check_memory(potential, descriptor, data):
    """Log what a fit needs; raise MemoryError, with a remedy, if that is more than `memory_limit` bytes."""
    limit = potential.memory_limit
    needed = memory_forecast(potential, descriptor, data).total(limit)
    logger.info("training on %d structures: about %s", len(data.items), size_in_words(needed))
    if limit is not None and needed > limit:
        least = memory_forecast(potential, descriptor, data, n_workers=1).total(limit)
        raise MemoryError(
            f"the fit needs about {size_in_words(needed)}, memory_limit is {size_in_words(limit)}: "
            f"use n_jobs=1 ({size_in_words(least)}), a lower level of the MomentTensor, or raise memory_limit"
        )


def memory_forecast(potential, descriptor, data, n_workers=None):
    """The MemoryForecast of a fit with the contractions of a MomentTensor; None: `n_jobs` threads."""
    n_workers = max(1, count_threads(potential.n_jobs)) if n_workers is None else n_workers
    n_species, n_scalars = len(descriptor.species_), len(descriptor.basis_.scalars)
    n_features = n_scalars * (1 if potential.tied else n_species)
    n_radial = descriptor.radial_coefficients_.size
    is_varpro = potential.solver == "varpro"
    width = n_features + is_varpro * n_radial + n_species + 1
    n_rows = BLOCK_ROWS + max(3 * item.n_atoms + 7 for item in data.items)
    n_matrices = WAVE * n_workers + 8
    inverse_hessian = 4 * (n_features + n_radial) ** 2 if potential.solver == "bfgs" else 0
    jacobian = min(BLOCK_BYTES, 24 * n_scalars * max(item.pairs.n_pairs for item in data.items))
    n_atoms = sum(item.n_atoms for item in data.items)
    return MemoryForecast(
        8 * (n_matrices * width**2 + 4 * n_workers * n_rows * width + inverse_hessian) + n_workers * jacobian,
        is_varpro * data.row_bytes(n_features + n_species + 1),
        8 * n_atoms * n_scalars + working_bytes(n_atoms, n_scalars),
    )
