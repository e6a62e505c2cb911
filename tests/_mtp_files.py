"""A small file of a moment tensor potential, as MLIP writes it."""

import re

FILE = """MTP
version = 1.1.0
potential_name = MTP1m
scaling = 2.5e-02
species_count = 2
potential_tag =
radial_basis_type = RBChebyshev
\tmin_dist = 1.5
\tmax_dist = 4.000000000000000e+00
\tradial_basis_size = 3
\tradial_funcs_count = 2
\tradial_coeffs
\t\t0-0
\t\t\t{1.0e+00, -2.0e+00, 3.0e+00}
\t\t\t{4.0e+00, 5.0e+00, 6.0e+00}
\t\t0-1
\t\t\t{-1.0e+00, 2.0e+00, 3.0e+00}
\t\t\t{-4.0e+00, 5.0e+00, 6.0e+00}
\t\t1-0
\t\t\t{1.5e+00, 2.0e+00, 3.0e+00}
\t\t\t{4.5e+00, 5.0e+00, 6.0e+00}
\t\t1-1
\t\t\t{0.5, 0, -0.5}
\t\t\t{.25, 7., 1e-3}
alpha_moments_count = 7
alpha_index_basic_count = 5
alpha_index_basic = {{0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {1, 0, 0, 0}}
alpha_index_times_count = 4
alpha_index_times = {{0, 0, 1, 5}, {1, 1, 1, 6}, {2, 2, 1, 6}, {3, 3, 2, 6}}
alpha_scalar_moments = 4
alpha_moment_mapping = {0, 5, 6, 4}
species_coeffs = {-1.25, 2.5}
moment_coeffs = {1e-1, -20.5, 0.125, 3}"""
# The same, made to be trained.
UNTRAINED = re.sub(r"\tradial_coeffs\n(\t\t.*\n)*|species_coeffs.*\n|moment_coeffs.*", "", FILE)


def replaced(old, new, text=FILE):
    """The text with its first ``old`` replaced."""
    assert old in text
    return text.replace(old, new, 1)
