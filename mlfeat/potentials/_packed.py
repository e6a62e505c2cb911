"""A symmetric matrix that takes half the memory of a full one, updated in place by BLAS."""

import numpy as np

from mlfeat._ext import blas

WIDTH = 128  # columns of a block, measured
PENDING = 64  # columns that are subtracted at a time, measured
LARGEST = 1e100  # of the factor that is kept apart


class PackedMatrix:
    """Symmetric matrix P = s (B − W Wᵀ), to which symmetric updates of low rank are made.

    The upper triangle of B is stored as block columns: a rectangle above the diagonal and a square on it, each
    contiguous, so that BLAS works on them in place. Few columns at a time make an update as slow as memory; they
    are collected in W, and subtracted from B together. The factor s spares a pass over B for P/λ.

    Parameters
    ----------
    size : int
        n.
    diagonal : float
        P is this, times one, at first.
    """

    def __init__(self, size, diagonal):
        self.size = size
        self._ranges = [(start, min(start + WIDTH, size)) for start in range(0, size, WIDTH)]
        self._above = [np.zeros((start, stop - start), order="F") for start, stop in self._ranges]
        self._squares = [np.diag(np.full(stop - start, float(diagonal))).copy("F") for start, stop in self._ranges]
        self._pending = np.empty((size, PENDING), order="F")
        self._n_pending = 0
        self._factor = 1.0

    def product(self, rows):
        """Rows (m, n), in Fortran order, times P: (m, n), in Fortran order."""
        out = self._vector_product(rows[0])[None] if len(rows) == 1 else self._block_product(rows)
        if self._n_pending:
            pending = self._pending[:, : self._n_pending]
            out -= (rows @ pending) @ pending.T
        out *= self._factor
        return np.asfortranarray(out)

    def _block_product(self, rows):
        out = np.zeros(rows.shape, order="F")
        for (start, stop), above, square in zip(self._ranges, self._above, self._squares, strict=True):
            mine, target = rows[:, start:stop], out[:, start:stop]
            blas.symm(square, mine, target)
            if start:
                blas.gemm(1.0, rows[:, :start], above, target)
                blas.gemm(1.0, mine, above, out[:, :start], trans_b=True)
        return out

    def _vector_product(self, row):
        out = np.zeros(self.size)
        for (start, stop), above, square in zip(self._ranges, self._above, self._squares, strict=True):
            mine, target = row[start:stop], out[start:stop]
            blas.symv(square, mine, target)
            if start:
                blas.gemv(above, row[:start], target, trans=True)
                blas.gemv(above, mine, out[:start])
        return out

    def subtract(self, rows):
        """P − VᵀV, V (m, n) in Fortran order."""
        n_rows = len(rows)
        if self._n_pending + n_rows > PENDING:
            self._apply_pending()
        if n_rows >= PENDING:
            self._subtract(rows / np.sqrt(self._factor))
        else:
            mine = self._pending[:, self._n_pending : self._n_pending + n_rows]
            np.divide(rows.T, np.sqrt(self._factor), out=mine)
            self._n_pending += n_rows

    def _apply_pending(self):
        if self._n_pending:
            self._subtract(np.asfortranarray(self._pending[:, : self._n_pending].T))
            self._n_pending = 0

    def _subtract(self, rows):
        for (start, stop), above, square in zip(self._ranges, self._above, self._squares, strict=True):
            mine = rows[:, start:stop]
            blas.syrk(-1.0, mine, square, trans=True)
            if start:
                blas.gemm(-1.0, rows[:, :start], mine, above, trans_a=True)

    def divide(self, number):
        """P / number."""
        self._factor /= number
        if self._factor > LARGEST:
            self.assign(self.dense())

    def add_diagonal(self, number):
        """P + number · 1."""
        for square in self._squares:
            np.einsum("ii->i", square)[:] += number / self._factor

    def diagonal(self):
        """Diagonal of P, (n,)."""
        stored = np.concatenate([np.diag(square) for square in self._squares])
        pending = self._pending[:, : self._n_pending]
        return self._factor * (stored - np.einsum("nk,nk->n", pending, pending))

    def dense(self):
        """Whole matrix (n, n), of which the lower triangle is set; in Fortran order."""
        self._apply_pending()
        matrix = np.zeros((self.size, self.size), order="F")
        for (start, stop), above, square in zip(self._ranges, self._above, self._squares, strict=True):
            matrix[start:stop, :start] = above.T
            matrix[start:stop, start:stop] = np.tril(square)
        matrix *= self._factor
        return matrix

    def assign(self, matrix):
        """Become the symmetric matrix with this lower triangle."""
        self._n_pending, self._factor = 0, 1.0
        for (start, stop), above, square in zip(self._ranges, self._above, self._squares, strict=True):
            above[:] = matrix[start:stop, :start].T
            square[:] = matrix[start:stop, start:stop]
