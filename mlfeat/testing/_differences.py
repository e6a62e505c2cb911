"""Central differences of a stated order, with their own error estimate."""

import numpy as np

# Coefficients c_k of f'(0) ≈ Σ_k c_k [f(k h) − f(−k h)] / h, k = 1, 2, ...; the error is O(h^order).
STENCILS = {
    2: (1 / 2,),
    4: (2 / 3, -1 / 12),
    6: (3 / 4, -3 / 20, 1 / 60),
    8: (4 / 5, -1 / 5, 4 / 105, -1 / 280),
}
STEP = 2e-5  # Å, or strain; order 4 then leaves 1e-11 of a smooth feature, and rounding about as much
ROUNDING = 16 * np.finfo(float).eps  # of a value that is itself a sum of larger terms


def central_difference(function, step=STEP, order=4):
    """Differentiate ``function(t)`` at t = 0 by central differences.

    Parameters
    ----------
    function : callable
        Takes a float, returns an array of any shape.
    step : float
        Distance h between the points.
    order : {4, 6, 8}
        The truncation error is O(h^order).

    Returns
    -------
    derivative : array
    error : array of the same shape
        Bound of the derivative's error where the curvature jumps between the points, as it does at a cutoff: three
        times its distance from the difference of the next lower order on the same points, which is tiny where the
        function is smooth; and the rounding of the values divided by the step.
    """
    points = range(1, order // 2 + 1)
    ahead = np.array([function(k * step) for k in points])
    behind = np.array([function(-k * step) for k in points])
    derivative = np.tensordot(STENCILS[order], ahead - behind, axes=1) / step
    lower = np.tensordot(STENCILS[order - 2], (ahead - behind)[:-1], axes=1) / step
    rounding = ROUNDING / step * np.maximum(np.abs(ahead).max(axis=0), np.abs(behind).max(axis=0))
    return derivative, 3 * np.abs(derivative - lower) + rounding


def gradient(function, x, step=STEP, order=4):
    """Differentiate ``function(x)`` with respect to every component of the array `x` by central differences.

    Parameters
    ----------
    function : callable
        Takes an array of the shape of `x`, returns an array of any shape.
    x : array
        Where.
    step : float
        Distance h between the points.
    order : {4, 6, 8}
        The truncation error is O(h^order).

    Returns
    -------
    derivative, error : arrays of shape ``x.shape + function(x).shape``
        See :func:`central_difference`.
    """
    x = np.asarray(x, dtype=float)
    pairs = [central_difference(lambda t, e=e: function(x + t * e), step, order) for e in _unit_arrays(x.shape)]
    derivative, error = (np.array(part) for part in zip(*pairs, strict=True))
    return derivative.reshape(x.shape + derivative.shape[1:]), error.reshape(x.shape + error.shape[1:])


def _unit_arrays(shape):
    for index in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[index] = 1.0
        yield unit
