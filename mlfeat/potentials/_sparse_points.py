"""Choice of sparse points among the environments of the training structures.

Each method takes environments (N, F) of one species, none twice, and returns indices of `n` of them, or of fewer.
"""

import numpy as np
from scipy import linalg
from sklearn.cluster import MiniBatchKMeans
from sklearn.utils import check_random_state

from mlfeat.potentials._kernels import dot_kernel, power

BATCH = 128  # environments that are tried at a time, so that the work is matrix products
SAME = 1e-9  # environments that differ by less of their size are one
SPENT = 1e-13  # share of the kernel below which what is left of it is rounding


def distinct(values):
    """Indices of environments (N, F) no two of which are the same to rounding.

    Their order, along a projection, is that of the environments themselves, not of their places.
    """
    rng = np.random.default_rng(0)
    scale = np.abs(values).max(initial=0.0) or 1.0
    along = values @ rng.normal(size=values.shape[1])
    order = np.argsort(along, kind="stable")
    gap = np.abs(np.diff(values[order], axis=0)).max(axis=1, initial=0.0)
    return order[np.r_[True, gap > SAME * scale][: len(order)]]


def select(values, n, zeta, method, random_state):
    """Indices of about `n` environments (N, F) by one of METHODS, and how many of them are distinct.

    Fewer than `n` are chosen if that is all that are distinct, or if the kernels of some span all others to rounding.
    The same environments in another order give the same choice, in the same order, but for differences by rounding.
    """
    candidates = distinct(values)
    if n >= len(candidates):
        return candidates, len(candidates)
    rng = check_random_state(random_state)
    return candidates[METHODS[method](values[candidates], n, zeta, rng)], len(candidates)


def randomly_pivoted(values, n, zeta, rng):
    """CUR decomposition of the kernel matrix by randomly pivoted Cholesky factorization.

    An environment is drawn with a probability proportional to its residual, its squared distance in the space of the
    kernel to what those drawn before span. Batches are drawn and thinned by rejection, which gives the same
    distribution as drawing one after the other.

    References
    ----------
    Y. Chen, E. N. Epperly, J. A. Tropp, R. J. Webber, Commun. Pure Appl. Math. 78, 995 (2025); E. N. Epperly, J. A.
    Tropp, R. J. Webber, arXiv:2410.03969.
    """
    residual = _diagonal(values, zeta)
    tolerance = SPENT * residual.max()
    factor = np.empty((len(values), n), order="F")
    chosen = []
    while len(chosen) < n and residual.max() > tolerance:
        k = len(chosen)
        drawn = rng.choice(len(values), min(BATCH, n - k), p=residual / residual.sum())
        block = dot_kernel(values[drawn], values[drawn], zeta) - factor[drawn, :k] @ factor[drawn, :k].T
        kept, lower = _thinned(block, tolerance, rng)
        residual[np.setdiff1d(drawn[:1], drawn[kept])] = 0.0  # rounding only was left of it
        drawn = drawn[kept]
        new = dot_kernel(values, values[drawn], zeta) - factor[:, :k] @ factor[drawn, :k].T
        new = linalg.solve_triangular(lower, new.T, lower=True, check_finite=False, overwrite_b=True).T
        factor[:, k : k + len(drawn)] = new
        residual = np.maximum(residual - np.einsum("nk,nk->n", new, new), 0.0)
        residual[drawn] = 0.0
        chosen.extend(drawn)
    return np.array(chosen, dtype=np.intp)


def _thinned(block, tolerance, rng):
    """Which of the drawn ones are kept, and the Cholesky factor of their residual kernel."""
    first, left = np.diag(block).copy(), block.copy()
    kept, columns = [], []
    for j, u in enumerate(rng.random(len(block))):
        if left[j, j] > max(tolerance, u * first[j]):
            column = left[:, j] / np.sqrt(left[j, j])
            left -= np.outer(column, column)
            kept.append(j)
            columns.append(column)
    lower = np.array(columns).reshape(-1, len(block)).T[kept]
    return np.array(kept, dtype=np.intp), np.tril(lower)


def farthest(values, n, zeta, rng):
    """Farthest-point sampling in the kernel's metric, d² = k(B,B) + k(B',B') - 2 k(B,B'), from a random first one.

    A few of the farthest environments are worked on together: as long as the farthest of these is farther than all
    others were before, it is the farthest of all.
    """
    chosen = [rng.randint(len(values))]
    squared = squared_distances(values, values[chosen], zeta)[:, 0]
    while len(chosen) < n:
        near = np.argpartition(squared, -BATCH)[-BATCH:] if len(values) > BATCH else np.arange(len(values))
        limit = squared[near].min() if len(values) > BATCH else -1.0
        mutual = squared_distances(values[near], values[near], zeta)
        left, new = squared[near], []
        while len(chosen) + len(new) < n and (not new or left.max() > limit):
            new.append(left.argmax())
            left = np.minimum(left, mutual[:, new[-1]])
        new = near[new]
        squared = np.minimum(squared, squared_distances(values, values[new], zeta).min(axis=1))
        squared[new] = -1.0
        chosen.extend(new)
    return np.array(chosen)


def squared_distances(values, others, zeta):
    """Squared distances of environments (N, F) from others (M, F) in the kernel's metric, (N, M)."""
    return _diagonal(values, zeta)[:, None] + _diagonal(others, zeta) - 2 * dot_kernel(values, others, zeta)


def nearest_to_means(values, n, zeta, rng):
    """Members nearest to the means of k-means clusters; others at random where two clusters have the same one."""
    seed = rng.randint(2**31 - 1)
    clusters = MiniBatchKMeans(n, n_init=1, batch_size=max(1024, 2 * n), random_state=seed).fit(values)
    squares = np.einsum("nf,nf->n", values, values)
    chosen = []
    for start in range(0, n, BATCH):
        centers = clusters.cluster_centers_[start : start + BATCH]
        chosen.extend((squares[:, None] - 2 * values @ centers.T).argmin(axis=0))
    chosen = np.unique(chosen)
    others = np.setdiff1d(np.arange(len(values)), chosen)
    return np.concatenate([chosen, rng.choice(others, n - len(chosen), replace=False)])


def at_random(values, n, zeta, rng):
    """Any environments, all with the same probability."""
    return rng.choice(len(values), n, replace=False)


def _diagonal(values, zeta):
    return power(np.einsum("nf,nf->n", values, values), zeta)


METHODS = {"cur": randomly_pivoted, "fps": farthest, "kmeans": nearest_to_means, "random": at_random}
