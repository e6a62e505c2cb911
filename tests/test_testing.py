"""The conformance suites find what is wrong: a small descriptor passes, each way of breaking it fails."""

import numpy as np
import pytest
from _toy import LeastSquares
from sklearn.pipeline import make_pipeline

from mlfeat import Bispectrum
from mlfeat.base import Descriptor
from mlfeat.persistence import register
from mlfeat.testing import (
    DESCRIPTOR_LAWS,
    POTENTIAL_LAWS,
    awkward_structures,
    central_difference,
    check_descriptor,
    check_potential,
    gradient,
)


class Moments(Descriptor):
    """Σ_j w_j f(r) and |Σ_j w_j f(r) r_ij|² with f = (1 − r²/R²)³: a descriptor on one screen."""

    def __init__(self, cutoff=4.0, *, species=None, n_jobs=None):
        self.cutoff = cutoff
        self.species = species
        self.n_jobs = n_jobs

    def _setup(self):
        self.cutoff_ = self.cutoff
        self.n_features_out_ = 2

    def _sums(self, pairs):
        r = pairs.vectors
        x = np.maximum(1 - np.einsum("px,px->p", r, r) / self.cutoff_**2, 0)
        weight = 1.0 + self.species_index(pairs.numbers)[pairs.second]
        f, slope = weight * x**3, -6 * weight * x**2 / self.cutoff_**2  # ∂f/∂r_x = slope r_x
        density, vector = np.zeros(pairs.n_atoms), np.zeros((pairs.n_atoms, 3))
        np.add.at(density, pairs.first, f)
        np.add.at(vector, pairs.first, f[:, None] * r)
        return f, slope, density, vector

    def values(self, pairs):
        _, _, density, vector = self._sums(pairs)
        return np.stack([density, np.einsum("nx,nx->n", vector, vector)], axis=1)

    def jacobian(self, pairs, start=0, stop=None):
        f, slope, _, vector = self._sums(pairs)
        r, center = pairs.vectors, vector[pairs.first]
        along = np.einsum("px,px->p", center, r)
        of_square = 2 * (slope * along)[:, None] * r + 2 * f[:, None] * center
        jacobian = np.stack([slope[:, None] * r, of_square], axis=2)
        return jacobian[pairs.offsets[start] : pairs.offsets[pairs.n_atoms if stop is None else stop]]


class WrongJacobian(Moments):
    """The last pair's derivative is 0.01 % too large."""

    def jacobian(self, pairs, start=0, stop=None):
        jacobian = super().jacobian(pairs, start, stop)
        jacobian[-1:] *= 1.0001
        return jacobian


class WrongSign(Moments):
    def vjp(self, pairs, cotangents):
        return -super().vjp(pairs, cotangents)


class WrongRows(Moments):
    """Columns by the species of the neighbor: the wrong side."""

    def species_index(self, numbers):
        return super().species_index(numbers)[::-1].copy()


class NoSkin(Moments):
    """Counts every pair of the list."""

    def _sums(self, pairs):
        f, slope, density, vector = super()._sums(pairs)
        np.add.at(density, pairs.first, 1e-3)
        return f, slope, density, vector


class Kinked(Moments):
    """f falls to zero with a slope."""

    def _sums(self, pairs):
        r = pairs.distances
        x = np.maximum(1 - r / self.cutoff_, 0)
        slope = np.where(x > 0, -1 / (self.cutoff_ * r), 0.0)
        density, vector = np.zeros(pairs.n_atoms), np.zeros((pairs.n_atoms, 3))
        np.add.at(density, pairs.first, x)
        np.add.at(vector, pairs.first, x[:, None] * pairs.vectors)
        return x, slope, density, vector


class Directional(Moments):
    def values(self, pairs):
        values = super().values(pairs)
        values[:, 0] += 1e-6 * self._sums(pairs)[3][:, 2]
        return values


class Absolute(Moments):
    def values(self, pairs):
        return super().values(pairs) + 1e-6 * pairs.positions[:, :1]


class Scheduled(Moments):
    """A sum whose order depends on the number of threads."""

    def values(self, pairs):
        return super().values(pairs) * (1 + 1e-16 * (self.n_jobs or 1)) * (1 + 3e-16 * (self.n_jobs == 2))


class Meddling(Moments):
    """Changes its parameters in fit."""

    def _setup(self):
        super()._setup()
        self.cutoff = float(self.cutoff) + 0.0


class SpoiledBuffer(Moments):
    """The pullback reads what the latest call left behind."""

    def values_and_pullback(self, pairs):
        self._latest = pairs
        values = self.values(pairs)

        def pullback(cotangents):
            if self._latest is not pairs:
                return np.zeros((pairs.n_pairs, 3))
            return self.vjp(pairs, cotangents)

        return values, pullback


class Trusting(Moments):
    def transform(self, X):
        return super().transform([X[0], X[0], *X[1:]] if len(X) == 2 else X)


BROKEN = {
    WrongJacobian: "jacobian_is_the_derivative_of_values",
    WrongSign: "vjp_is_the_contracted_jacobian",
    WrongRows: "permutation_permutes_values",
    NoSkin: "pairs_beyond_the_cutoff_do_not_count",
    Kinked: "neighbors_leave_smoothly",
    Directional: "rotation_leaves_values",
    Absolute: "translation_leaves_values",
    Scheduled: "threads_do_not_change_a_bit",
    Meddling: "fit_leaves_parameters",
    SpoiledBuffer: "pullback_is_the_vjp",
    Trusting: "bad_structures_are_refused",
}


def test_a_right_descriptor_passes():
    check_descriptor(Moments())


def test_one_species_and_given_structures_pass():
    check_descriptor(Moments(species=("Si",)))
    check_descriptor(Moments(cutoff=3), [awkward_structures()["tiny"]])


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_descriptor_is_told_which_law_it_breaks(broken):
    with pytest.raises(AssertionError, match=rf"laws do not hold for {broken.__name__}[\s\S]*{BROKEN[broken]}"):
        check_descriptor(broken())


def test_laws_can_be_skipped_by_name():
    broken = ("rotation_leaves_values", "jacobian_is_the_derivative_of_values", "rows_are_derivatives_of_the_features")
    check_descriptor(Directional(), skip=broken)
    with pytest.raises(ValueError, match="no such laws"):
        check_descriptor(Moments(), skip=["gravity"])


def test_every_law_has_its_name():
    assert all(name == law.__name__ for name, law in (DESCRIPTOR_LAWS | POTENTIAL_LAWS).items())


@pytest.mark.parametrize("order", [4, 6, 8])
def test_central_differences_have_the_stated_order(order):
    errors = [abs(central_difference(np.exp, step, order)[0] - 1.0) for step in (0.4, 0.2)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_the_error_estimate_covers_a_jump_of_the_curvature():
    for t0 in np.linspace(-5e-5, 5e-5, 41):
        slope, error = central_difference(lambda t, t0=t0: max(t - t0, 0.0) ** 2)
        assert abs(slope - 2 * max(-t0, 0.0)) < error + 1e-20
    slope, error = central_difference(np.sin)
    assert abs(slope - 1) < error < 1e-9


def test_gradient_keeps_the_shape():
    x = np.random.default_rng(0).normal(size=(2, 3))
    slope, error = gradient(lambda a: np.array([(a**2).sum(), a[0, 1]]), x)
    assert slope.shape == error.shape == (2, 3, 2)
    np.testing.assert_allclose(slope[..., 0], 2 * x, rtol=1e-9)
    np.testing.assert_allclose(slope[..., 1], [[0, 1, 0], [0, 0, 0]], atol=1e-9)


def test_awkward_structures_are_what_they_say():
    structures = awkward_structures()
    pbc = {name: tuple(bool(flag) for flag in atoms.pbc) for name, atoms in structures.items()}
    assert pbc["cluster"] == pbc["isolated"] == (False,) * 3
    assert pbc["mixed_pbc"] == (True, False, True)
    assert pbc["slab"] == (True, True, False)
    assert pbc["wire"] == (False, False, True)
    assert len(structures["one_atom"]) == len(structures["isolated"]) == 1
    assert not structures["slab"].cell[2].any()
    assert not structures["cluster"].cell.array.any()
    fractional = structures["skewed"].get_scaled_positions(wrap=False)
    assert (np.abs(fractional) > 1).any(), "no atom is outside the cell"
    for atoms in structures.values():
        distances = atoms.repeat(np.where(atoms.pbc, 3, 1)).get_all_distances()
        assert distances[distances > 0].min(initial=9.0) > 0.65 * 2.6


# --- Potentials -----------------------------------------------------------------------------------------------------


class Sloped(LeastSquares):
    """Cotangents 0.01 % too large."""

    def energy_and_cotangent(self, features):
        energies, cotangents = super().energy_and_cotangent(features)
        return energies, 1.0001 * cotangents


class Constant(LeastSquares):
    """An energy that does not grow with the system."""

    def predict(self, X):
        return super().predict(X) + 1.0


class Counting(LeastSquares):
    """Atom k of the file has its own energy."""

    def energy_and_cotangent(self, features):
        energies, cotangents = super().energy_and_cotangent(features)
        return energies + 1e-3 * np.arange(len(energies)), cotangents


class Forgetful(LeastSquares):
    """The saved state lacks the intercept."""

    _state = ("coef_",)
    intercept_ = 0.5


class Restless(LeastSquares):
    """No two fits are the same."""

    def fit(self, X, y):
        super().fit(X, y)
        self.intercept_ += 1e-9 * np.random.default_rng().uniform()
        return self


BROKEN_POTENTIALS = {
    Sloped: "forces_are_minus_the_gradient",
    Constant: "all_ways_give_the_same",
    Counting: "permutation_permutes_forces",
    Forgetful: "copies_give_the_same_bits",
    Restless: "fitting_again_gives_the_same",
}


def test_a_right_potential_passes():
    register(LeastSquares)
    check_potential(make_pipeline(Moments(), LeastSquares()), skip=["copies_give_the_same_bits"])
    check_potential(make_pipeline(Bispectrum(twojmax=2, species=("Si",)), LeastSquares()))


@pytest.mark.parametrize("broken", BROKEN_POTENTIALS, ids=lambda broken: broken.__name__)
def test_a_broken_potential_is_told_which_law_it_breaks(broken):
    register(broken)
    pattern = rf"laws do not hold for Pipeline[\s\S]*{BROKEN_POTENTIALS[broken]}"
    with pytest.raises(AssertionError, match=pattern):
        check_potential(make_pipeline(Bispectrum(twojmax=2), broken()))
