"""Functions in which a sparse Gaussian process is solved, and their prior."""

import numpy as np
from scipy import linalg

from mlfeat.potentials._kernels import part_covariance


class Basis:
    """Functions φ = K_NM W of each part, with coefficients γ of the prior precision UᵀU/δ².

    Parameters
    ----------
    parts : list of Part
    solver : {"rkhs-qr", "qr"}
        "rkhs-qr": W = V Λ^(-1/2) of the eigenvectors V of K_MM whose eigenvalues are more than `jitter` of the largest,
        and U = 1. "qr": W = 1 and UᵀU = K_MM + jitter‖K_MM‖.
    jitter : float

    Attributes
    ----------
    slices : list of slice
        The functions of each part.
    block_of : int array of shape (n_functions,)
        The block that each function belongs to.
    log_determinant : float
        log |UᵀU|.
    """

    def __init__(self, parts, solver, jitter):
        self.parts = parts
        factorize = SOLVERS[solver]
        self.factors = [factorize(part_covariance(part), jitter) for part in self.parts]
        edges = np.cumsum([0, *(len(upper) for _, upper in self.factors)])
        self.slices = [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        names = list(dict.fromkeys(part.name for part in parts))
        self.block_of = np.repeat([names.index(part.name) for part in self.parts], np.diff(edges))
        self.log_determinant = 2 * sum(np.log(np.diag(upper)).sum() for _, upper in self.factors)

    @property
    def n_functions(self):
        """Number of functions of all parts."""
        return len(self.block_of)

    def whiten(self, rows):
        """Rows of the functions (n, n_functions + k), from those of the kernels (n, n_columns + k)."""
        rest = rows[:, self.parts[-1].columns.stop :]
        pieces = [
            rows[:, part.columns] if whitening is None else rows[:, part.columns] @ whitening
            for part, (whitening, _) in zip(self.parts, self.factors, strict=True)
        ]
        return np.concatenate([*pieces, rest], axis=1)

    def unwhiten(self, coef):
        """Coefficients of the kernels from those of the functions, (n_functions, ...)."""
        pieces = [
            coef[own] if whitening is None else whitening @ coef[own]
            for own, (whitening, _) in zip(self.slices, self.factors, strict=True)
        ]
        return np.concatenate(pieces)

    def prior(self):
        """U of all parts (n_functions, n_functions)."""
        return linalg.block_diag(*(upper for _, upper in self.factors))


def _eigenvectors(covariance, jitter):
    values, vectors = linalg.eigh(covariance, check_finite=False)
    kept = values > jitter * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept]), np.eye(np.count_nonzero(kept))


def _cholesky(covariance, jitter):
    size = np.abs(covariance).sum(axis=1).max() or 1.0
    return None, linalg.cholesky(covariance + jitter * size * np.eye(len(covariance)), check_finite=False)


SOLVERS = {"rkhs-qr": _eigenvectors, "qr": _cholesky}
