"""The loss of moment tensor potentials as a function of their parameters, for all ways to minimize it."""

import numpy as np

from mlfeat.potentials._moment_data import ordered_sum
from mlfeat.potentials._moment_design import Design
from mlfeat.potentials._moment_model import MomentModel, loss_and_gradient, to_errors
from mlfeat.potentials._moment_varpro import Projected


class MomentProblem:
    """Weighted squared residuals of some structures, with a penalty of the coefficients.

    Parameters
    ----------
    data : MomentData
    descriptor : MomentTensor
        Fitted; its radial functions are replaced.
    basis : MomentBasis
    scaling : float
    alpha : float
        Penalty in units of the diagonal of the coefficients' normal equations, as they are at the start.
    free_intercept : bool
    tied : bool
        Whether all species of centers have the same coefficients.
    n_jobs : int or None
    kept_bytes : float, default=inf
        Rows are kept, between solving for the linear parameters and the step of the radial ones, if they take no more.

    Attributes
    ----------
    penalty : array (n_groups F,)
        α s_k²; `begin` sets it.
    """

    def __init__(self, data, descriptor, basis, *, scaling, alpha, free_intercept, tied, n_jobs, kept_bytes=np.inf):
        self.data, self.basis, self.alpha, self.free_intercept, self.n_jobs = data, basis, alpha, free_intercept, n_jobs
        self._descriptor, self._scaling = descriptor, scaling
        self.n_species = len(descriptor.species_)
        self.n_groups = 1 if tied else self.n_species
        self.penalty = None
        n_columns = self.n_groups * len(basis.scalars) + self.n_species + 1
        self._keeps = data.row_bytes(n_columns) <= kept_bytes

    def descriptor(self, radial):
        """The MomentTensor with these radial coefficients."""
        return self._descriptor.with_radial(radial, scaling=self._scaling, basis=self.basis)

    def model(self, radial, coef, intercept):
        """The MomentModel of these parameters."""
        return MomentModel(self.descriptor(radial), np.reshape(coef, (self.n_groups, -1)), intercept)

    def begin(self, radial, keep=False):
        """As `project`, and fix the penalty by what is found; ValueError if that is not finite."""
        self.penalty = None
        projected = self.project(radial, keep)
        if projected is None:
            raise ValueError(
                "features or their derivatives are not finite: look for atoms that are too close to each other, far "
                "below the `min_dist` of the MomentTensor"
            )
        self.penalty = projected.penalty
        return projected

    def project(self, radial, keep=False):
        """Linear parameters solved for, see `Projected`; None if the normal equations are not finite.

        With `keep` it is one to be given to `linearize`, for which rows are kept if they take little memory.
        """
        design = Design(self.descriptor(radial), self.data, self.n_groups, self.n_jobs, keep and self._keeps)
        return self._projected(design, design.matrix)

    def linearize(self, projected):
        """The same, with what steps in the radial coefficients need."""
        coef = projected.coef.reshape(self.n_groups, -1)
        return self._projected(projected.design, projected.design.with_radial(coef))

    def _projected(self, design, matrix):
        if not np.isfinite(matrix).all():
            return None
        n_columns = self.n_groups * len(self.basis.scalars)
        return Projected(design, matrix, self.n_species, n_columns, self.free_intercept, self.alpha, self.penalty)

    def loss(self, radial, coef, intercept):
        """The loss with its penalty, and its derivatives by the three; errors of the structures too.

        Returns
        -------
        loss : float
        derivatives : tuple of arrays
            By `radial` (S, S, n_radial, K), `coef` (n_groups F,), `intercept` (n_species,).
        errors : Errors
        """
        model = self.model(radial, coef, intercept)

        def block_sum(block):
            return sum(np.concatenate([part.ravel() for part in loss_and_gradient(model, self.data, k)]) for k in block)

        total = ordered_sum(block_sum, self.data.blocks(), self.n_jobs)
        squares = total[:9].reshape(3, 3)
        by_coef, by_intercept, by_radial = np.split(total[9:], np.cumsum([model.coef.size, self.n_species]))
        loss = squares[:, 0].sum() + self.penalty @ coef**2
        derivatives = by_radial.reshape(radial.shape), by_coef + 2 * self.penalty * coef, by_intercept
        return loss, derivatives, to_errors(squares, len(self.data.items))
