"""Minimize a function of a few numbers by evolution of a normal distribution (CMA-ES)."""

import numpy as np

__all__ = ["minimize"]

CONVERGED = 1e-3  # share of the box below which a search starts anew


def minimize(function, starts, n_trials, random_state=0, step=0.2):
    """Minimize a function on the unit box, without derivatives.

    Covariance matrix adaptation, started anew with twice the population when it has converged, until all
    trials are used.

    Parameters
    ----------
    function : callable
        Takes an array (d,) with elements in [0, 1] and returns a number; infinity is allowed.
    starts : array of shape (n_starts, d)
        Points to try first; the search begins at the best of them.
    n_trials : int
        How often `function` is called.
    random_state : int
        Seed; equal seeds give equal results.
    step : float
        Standard deviation at the beginning.

    Returns
    -------
    best : array of shape (d,)
    value : float

    References
    ----------
    N. Hansen, *The CMA evolution strategy: a tutorial*, arXiv:1604.00772 (2016).
    """
    rng = np.random.default_rng(random_state)
    starts = np.asarray(starts, dtype=float)[:n_trials]
    values = np.array([function(start) for start in starts])
    best, value = starts[values.argmin()], values.min()
    n_left, strategy, population = n_trials - len(starts), None, 4 + int(3 * np.log(max(2, len(best))))
    while n_left > 0:
        if strategy is None:
            strategy = _Strategy(best, step, population, rng)
        points = strategy.ask()[:n_left]
        boxed = _into_box(points)
        values = np.array([function(point) for point in boxed])
        n_left -= len(points)
        if values.min() < value:
            best, value = boxed[values.argmin()], values.min()
        if len(points) == strategy.size:
            strategy.tell(points, values)
        if strategy.spread() < CONVERGED:
            strategy, population = None, 2 * population
    return best, float(value)


def _into_box(points):
    """Mirror what is outside the unit box back into it."""
    return 1 - np.abs(1 - np.mod(points, 2))


class _Strategy:
    """Normal distribution with mean, covariance sigma² C, and the two evolution paths of the tutorial."""

    def __init__(self, mean, sigma, size, rng):
        d = len(mean)
        self.mean, self.sigma, self.size, self.rng = np.array(mean), sigma, size, rng
        weights = np.log((size + 1) / 2) - np.log(np.arange(1, size // 2 + 1))
        self.weights = weights / weights.sum()
        mass = 1 / np.sum(self.weights**2)
        self.mass = mass
        self.c_sigma = (mass + 2) / (d + mass + 5)
        self.damping = 1 + 2 * max(0, np.sqrt((mass - 1) / (d + 1)) - 1) + self.c_sigma
        self.c_path = (4 + mass / d) / (d + 4 + 2 * mass / d)
        self.c_one = 2 / ((d + 1.3) ** 2 + mass)
        self.c_many = min(1 - self.c_one, 2 * (mass - 2 + 1 / mass) / ((d + 2) ** 2 + mass))
        self.expected_norm = np.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
        self.covariance, self.path, self.path_sigma = np.eye(d), np.zeros(d), np.zeros(d)
        self.generation = 0

    def spread(self):
        """Largest standard deviation in any direction."""
        return self.sigma * np.sqrt(np.linalg.eigvalsh(self.covariance)[-1])

    def ask(self):
        """Points (size, d) of the next generation."""
        values, self.axes = np.linalg.eigh(self.covariance)
        self.lengths = np.sqrt(np.maximum(values, 1e-20))
        normal = self.rng.standard_normal((self.size, len(self.mean)))
        return self.mean + self.sigma * (normal * self.lengths) @ self.axes.T

    def tell(self, points, values):
        """Adapt to the function's values (size,) at the points asked for."""
        steps = (points[np.argsort(values, kind="stable")[: len(self.weights)]] - self.mean) / self.sigma
        move = self.weights @ steps
        self.mean = self.mean + self.sigma * move
        self.generation += 1
        white = self.axes @ ((self.axes.T @ move) / self.lengths)
        c = self.c_sigma
        self.path_sigma = (1 - c) * self.path_sigma + np.sqrt(c * (2 - c) * self.mass) * white
        norm = np.linalg.norm(self.path_sigma)
        stalled = (
            norm / np.sqrt(1 - (1 - c) ** (2 * self.generation)) > (1.4 + 2 / (len(move) + 1)) * self.expected_norm
        )
        c = self.c_path
        self.path = (1 - c) * self.path + (not stalled) * np.sqrt(c * (2 - c) * self.mass) * move
        lost = self.c_one * stalled * c * (2 - c)
        self.covariance = (
            (1 - self.c_one - self.c_many + lost) * self.covariance
            + self.c_one * np.outer(self.path, self.path)
            + self.c_many * (steps.T * self.weights) @ steps
        )
        self.sigma *= np.exp(self.c_sigma / self.damping * (norm / self.expected_norm - 1))
