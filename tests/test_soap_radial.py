"""Radial functions of SOAP: against quadrature, their derivatives, and the errors of their splines."""

import numpy as np
import pytest
from _soap_twin import Parameters, quadrature, radial_functions

from mlfeat.descriptors import _soap_radial as radial
from mlfeat.testing import central_difference

BASES = ("equispaced_gauss", "gto")
# n_max, l_max, cutoff, sigma. The condition number of the gto overlap is 1e10 with 8, 8 and 1e12 with 12, 6: there
# rounding errors of the functions are above the spline's tolerance.
SETTINGS = [(1, 0, 3.0, 0.5), (4, 3, 4.5, 0.4), (8, 8, 5.2, 0.5), (8, 6, 4.0, 1.0), (8, 8, 5.0, 0.1), (12, 6, 6.0, 0.3)]
CASES = [(basis, *setting) for basis in BASES for setting in SETTINGS]
ROUNDED = ("gto", 12, 6, 6.0, 0.3)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))


def spline_of(case, **keywords):
    return radial.radial_spline(*case, reach_of(case), **keywords)


def reach_of(case):
    return radial.padded_cutoff(*case[3:]) if case[0] == "gto" else case[3]


def distances(case, n):
    return np.random.default_rng(0).uniform(0, reach_of(case), n)


# --- Functions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize(("n_max", "l_max"), [(1, 0), (3, 5), (5, 2)])
def test_functions_equal_quadrature(basis, n_max, l_max):
    """Of few functions: the twin orthonormalizes gto in double precision."""
    r = np.concatenate([[0.0], np.linspace(0.01, 5.0, 50)])
    found = radial.exact(basis, n_max, l_max, 4.5, 0.4)(r)[0]
    parameters = Parameters(cutoff=4.5, n_max=n_max, l_max=l_max, sigma=0.4, radial_basis=basis)
    expected = radial_functions(r, parameters).transpose(0, 2, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("n_max", "l_max"), [(4, 3), (8, 8), (10, 9), (12, 6)])
def test_gto_basis_is_orthonormal_by_a_symmetric_mixture(n_max, l_max):
    """Both together make it Löwdin's; the products are integrated, not taken from the overlap matrix."""
    fallen = np.linspace(1.0, 5.0, n_max)
    x, w = quadrature(14.0, 600)
    for order in range(l_max + 1):
        alpha = (order * np.log(fallen) - np.log(1e-3)) / fallen**2
        mix = radial._orthonormalization(order, alpha)
        g = x[:, None] ** order * np.exp(-alpha * x[:, None] ** 2) @ mix
        np.testing.assert_allclose(g.T @ (g * (w * x**2)[:, None]), np.eye(n_max), rtol=0, atol=1e-10)
        np.testing.assert_allclose(mix, mix.T, rtol=0, atol=1e-14 * np.abs(mix).max())
        assert np.linalg.eigvalsh(mix).min() > 0


@each_case
@pytest.mark.parametrize("order", [0, 1])
def test_derivatives_equal_differences(case, order):
    functions, step = radial.exact(*case), 0.02 * case[-1]
    r = np.maximum(distances(case, 300), 5 * step)
    derivative = functions(r)[order + 1]
    numeric, error = central_difference(lambda t: functions(r + t)[order], step, order=8)
    excess = np.abs(derivative - numeric) - error
    limit = 2e-9 if case == ROUNDED else 1e-10
    assert excess.max() < limit * np.abs(derivative).max()


@each_case
def test_functions_go_as_powers_at_the_origin(case):
    """f_l = c_l r^l (1 + O(r²)): the derivatives at 0, and at distances whose powers underflow, follow from c_l."""
    functions = radial.exact(*case)
    near = 1e-3 * case[-1]
    coefficient = functions(np.array([near]))[0][0] / near ** np.arange(case[2] + 1)[:, None]
    for r in (0.0, 1e-300, 1e-20):
        value, first, second = (part[0] for part in functions(np.array([r])))
        for part, power, factor in ((value, 0, 1), (first, 1, 1), (second, 2, 2)):
            others = [order for order in range(case[2] + 1) if order != power and (part is not second or order != 0)]
            assert np.abs(part[others]).max(initial=0) <= 1e-15 * np.abs(coefficient).max()
            if power <= case[2]:
                expected = factor * coefficient[power]
                np.testing.assert_allclose(part[power], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_padded_cutoff_is_where_a_gaussian_at_the_cutoff_has_fallen_to_a_thousandth():
    assert np.exp(-0.5 * ((radial.padded_cutoff(4.0, 0.3) - 4.0) / 0.3) ** 2) == pytest.approx(1e-3)


# --- Splines ---------------------------------------------------------------------------------------------------------


def errors_of(case, step, data):
    """Largest errors of values and slopes at distances that are not those where the spline measures its own."""
    r = distances(case, 5000)
    values, slopes, _ = radial.exact(*case)(r)
    found = [part[..., : case[1]] for part in radial.interpolate(step, data, r)]
    return [np.abs(f - e).max() / np.abs(e).max() for f, e in zip(found, (values, slopes), strict=True)]


@each_case
def test_spline_is_within_its_tolerance(case):
    """The error of slopes goes as the fifth power of the step."""
    step, data, error = spline_of(case)
    values, slopes = errors_of(case, step, data)
    limit = 1e-10 if case == ROUNDED else 1e-12
    assert error <= limit
    assert values <= limit
    assert slopes <= 200 * limit


@each_case
def test_spline_says_its_error(case):
    step, data, error = spline_of(case)
    assert 0.5 * error < errors_of(case, step, data)[0] < 2 * error


@pytest.mark.parametrize("tolerance", [1e-8, 1e-9, 1e-10, 1e-11])
def test_spline_is_no_finer_than_the_tolerance_asks(tolerance):
    case = CASES[2]
    step, data, error = spline_of(case, tolerance=tolerance)
    assert 0.1 * tolerance < error <= tolerance
    assert errors_of(case, step, data)[0] <= tolerance


@each_case
def test_table_holds_functions_and_scaled_derivatives_at_the_knots(case):
    step, data, _ = spline_of(case)
    n_max, l_max = case[1:3]
    n_pad = {1: 8, 4: 8, 8: 8, 12: 16}[n_max]
    assert data.shape[1:] == (3, l_max + 1, n_pad)
    assert data.dtype == np.float64
    assert data.flags.c_contiguous
    assert not data[..., n_max:].any()
    for order, part in enumerate(radial.exact(*case)(step * np.arange(len(data)))):
        np.testing.assert_array_equal(data[:, order, :, :n_max], step**order * part)


@each_case
def test_table_has_a_knot_on_both_sides_of_the_reach(case):
    step, data, _ = spline_of(case)
    assert (len(data) - 2) * step <= reach_of(case) < (len(data) - 1) * step


def test_interpolation_is_exact_at_the_knots():
    step, data, _ = spline_of(CASES[1])
    for r, knots in ((step * np.arange(len(data) - 1), data[:-1]), (step * np.arange(1, len(data)), data[1:])):
        values, slopes = radial.interpolate(step, data, r)
        np.testing.assert_allclose(values, knots[:, 0], rtol=0, atol=1e-14)
        np.testing.assert_allclose(slopes * step, knots[:, 1], rtol=0, atol=1e-14)


def test_table_is_made_once_and_cannot_be_written():
    data = spline_of(CASES[1])[1]
    again = radial.radial_spline(CASES[1][0], np.int64(4), 3, np.float64(4.5), 0.4, 4.5)[1]
    assert again is data
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 0.0


# --- Bad input -------------------------------------------------------------------------------------------------------


def test_an_unknown_basis_is_refused():
    with pytest.raises(ValueError, match="radial_basis='slater': must be one of 'equispaced_gauss', 'gto'"):
        radial.exact("slater", 4, 3, 5.0, 0.5)


def test_gto_needs_a_cutoff_above_its_first_function():
    with pytest.raises(ValueError, match=r"cutoff=1\.0: must be larger than 1 Å"):
        radial.exact("gto", 4, 3, 1.0, 0.5)


def test_dependent_functions_are_refused():
    with pytest.raises(ValueError, match=r"n_max=40: .* linearly dependent .* smaller n_max"):
        radial.exact("equispaced_gauss", 40, 3, 4.0, 2.0)


def test_functions_that_drown_in_rounding_errors_are_refused():
    with pytest.raises(ValueError, match=r"n_max=16, l_max=2: rounding errors of the 'gto' .* smaller n_max"):
        radial.radial_spline("gto", 16, 2, 5.0, 0.5, 5.0)
