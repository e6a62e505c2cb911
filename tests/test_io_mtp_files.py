"""What MLIP's .mtp files say, and what is refused of them."""

import re

import numpy as np
import pytest
from _mtp_files import FILE, UNTRAINED, replaced
from hypothesis import given, settings
from hypothesis import strategies as st

from mlfeat.io import _mtp_text as mtp_text
from mlfeat.io._mtp_text import MomentTensorFile, format_moments, read_moments

CONTENT = MomentTensorFile(
    n_species=2,
    scaling=0.025,
    min_dist=1.5,
    max_dist=4.0,
    n_polynomials=3,
    moments=[[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]],
    products=[[0, 0, 1, 5], [1, 1, 1, 6], [2, 2, 1, 6], [3, 3, 2, 6]],
    scalars=[0, 5, 6, 4],
    radial_coefficients=[
        [[[1, -2, 3], [4, 5, 6]], [[-1, 2, 3], [-4, 5, 6]]],
        [[[1.5, 2, 3], [4.5, 5, 6]], [[0.5, 0, -0.5], [0.25, 7, 0.001]]],
    ],
    species_coefficients=[-1.25, 2.5],
    moment_coefficients=[0.1, -20.5, 0.125, 3],
)
def read_text(tmp_path, text):
    path = tmp_path / "a.mtp"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_moments(path)


def assert_same(ours, theirs):
    for name, a, b in zip(MomentTensorFile._fields, ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


# --- what is read --------------------------------------------------------------------------------


def test_every_number_of_the_file_is_read(tmp_path):
    assert_same(read_text(tmp_path, FILE), CONTENT)


SAME = {
    "no name": replaced("potential_name = MTP1m\n", ""),
    "name of words": replaced("potential_name = MTP1m", "potential_name = {a} = b"),
    "tag": replaced("potential_tag =", "potential_tag = some 1 {words} # and a comment"),
    "no tag": replaced("potential_tag =\n", ""),
    "comments": replaced("MTP\n", "# a comment\nMTP # another\n\n"),
    "blanks": FILE.replace(", ", " ,  ").replace(" = ", "  =\t").replace("{", "{ ").replace("}", " }"),
    "no blanks": FILE.replace(", ", ",").replace("\t", "").replace(" = ", "=").replace("version=", "version = "),
    "line ends": FILE.replace("\n", "\r\n") + "\r\n",
    "order": replaced("scaling = 2.5e-02\n", "") + "\nscaling = 0.025\n",
    "motep": FILE.replace("min_dist", "min").replace("max_dist", "max").replace("radial_basis_size", "size"),
    "unused": replaced("alpha_moments_count = 7", "alpha_moments_count = 9"),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_does_not_matter_changes_nothing(tmp_path, text):
    assert_same(read_text(tmp_path, text), CONTENT)


def test_a_state_of_active_learning_is_passed_over(tmp_path):
    state = b"\n#MVS_v1.1\nenergy_weight 1\n#" + bytes(range(256))
    assert_same(read_text(tmp_path, FILE.encode() + state), CONTENT)
    with pytest.raises(ValueError, match="moment_coeffs; the file is truncated"):
        read_text(tmp_path, FILE[: FILE.index("moment_coeffs")].encode() + state)


def test_scaling_is_one_if_not_given(tmp_path):
    assert read_text(tmp_path, replaced("scaling = 2.5e-02\n", "")).scaling == 1.0


@pytest.mark.parametrize("line", ["", "\tradial_coeffs\n"], ids=["without radial_coeffs", "with it, empty"])
def test_files_to_be_trained_have_no_coefficients(tmp_path, line):
    content = read_text(tmp_path, replaced("alpha_moments_count", f"{line}alpha_moments_count", UNTRAINED))
    none = {name: None for name in MomentTensorFile._fields if name.endswith("coefficients")}
    assert_same(content, CONTENT._replace(**none))


def test_a_file_to_be_trained_may_leave_the_species_open(tmp_path):
    assert read_text(tmp_path, replaced("species_count = 2\n", "", UNTRAINED)).n_species == 1


def test_tables_may_be_empty_where_nothing_is_multiplied(tmp_path):
    text = replaced("{{0, 0, 1, 5}, {1, 1, 1, 6}, {2, 2, 1, 6}, {3, 3, 2, 6}}", "{}")
    text = replaced("times_count = 4", "times_count = 0", replaced("moments_count = 7", "moments_count = 5", text))
    text = replaced("{0, 5, 6, 4}", "{0, 4, 0, 4}", text)
    content = read_text(tmp_path, text)
    assert content.products.shape == (0, 4)
    assert read_text(tmp_path, format_moments(content)).products.shape == (0, 4)


# --- what is written -----------------------------------------------------------------------------


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    content = read_text(tmp_path, FILE)._replace(
        scaling=1 / 3,
        min_dist=2 / 3,
        max_dist=np.nextafter(5, 6),
        radial_coefficients=rng.normal(size=(2, 2, 2, 3)) * 10.0 ** rng.integers(-300, 300, size=(2, 2, 2, 3)),
        species_coefficients=rng.normal(size=2) * 1e5,
        moment_coefficients=rng.normal(size=4) * 1e-5,
    )
    assert_same(read_text(tmp_path, format_moments(content)), content)


def test_the_file_is_laid_out_as_mlip_reads_it(tmp_path):
    text = format_moments(read_text(tmp_path, FILE))
    keywords = re.compile(r"^\t?(\w+)(?: =|$)", re.MULTILINE).findall(text)
    assert keywords == ["MTP", "version", *mtp_text._KEYWORDS]
    ours, theirs = (re.sub(r"[-+.e\d]+", "N", part) for part in (text, FILE + "\n"))
    assert ours == theirs


@pytest.mark.parametrize("name", ["Li/mtp/fitted", "MoNbTaW/mtp.2021.08/quaternary", "Ni/mtp/fitted"])
def test_published_files_survive(shared, tmp_path, name):
    content = read_moments(shared / "models" / f"{name}.mtp")
    assert_same(read_text(tmp_path, format_moments(content)), content)


# --- what is refused -----------------------------------------------------------------------------


BAD = {
    "empty": ("", "this is no .mtp file: its first line should be 'MTP'"),
    "foreign": ("2 6\nNi 0.5 1.0\n", "this is no .mtp file"),
    "binary": (b"MTP\n\0\1", "line 2: byte 0x00: this is not a text file"),
    "name alone": ("MTP\n", "the second line should be 'version = 1.1.0', not nothing"),
    "version": (replaced("1.1.0", "1.2.0"), "the second line should be 'version = 1.1.0', not 'version = 1.2.0'"),
    "basis": (replaced("RBChebyshev", "RBShapeev"), "line 7: radial_basis_type RBShapeev: only RBChebyshev"),
    "repulsion": (replaced("RBChebyshev", "RBChebyshev_repuls"), "line 7: radial_basis_type RBChebyshev_repuls: only"),
    "no basis": (replaced("radial_basis_type = RBChebyshev\n", ""), "radial_basis_type is missing; the file is trunc"),
    "magnetic": (
        replaced("\tradial_funcs_count", "magnetic_basis_type = RBChebyshev\n\tradial_funcs_count"),
        "line 11: unknown keyword 'magnetic_basis_type'",
    ),
    "keyword": (replaced("scaling", "scale"), "line 4: unknown keyword 'scale': it may change the results, so it is"),
    "twice": (replaced("potential_tag =", "scaling = 1"), "line 6: keyword scaling occurs twice"),
    "two names": (replaced("\tmax_dist", "\tmin = 2\n\tmax_dist"), "line 9: keyword min_dist occurs twice"),
    "no value": (replaced("scaling = 2.5e-02", "scaling"), "line 4: expected 'scaling = ' and its value"),
    "empty value": (replaced("scaling = 2.5e-02", "scaling ="), "line 4: scaling should be a finite number, not ''"),
    "value": (replaced("\tradial_coeffs", "\tradial_coeffs = {}"), "line 12: expected 'radial_coeffs' alone"),
    "scaling": (replaced("2.5e-02", "nan"), "line 4: scaling should be a finite number, not 'nan'"),
    "species": (replaced("species_count = 2", "species_count = 2.0"), "line 5: species_count should be an integer"),
    "no species": (replaced("species_count = 2", "species_count = 0"), "line 5: species_count should be at least 1"),
    "more species": (replaced("species_count = 2", "species_count = 3"), "line 19: expected .* pair 0-2, not '1-0'"),
    "less species": (replaced("species_count = 2", "species_count = 1"), "line 16: more radial coefficients than"),
    "absurd species": (replaced("= 2\n", "= 2000000000\n"), "line 19: expected .* of the pair 0-2, not '1-0'"),
    "huge species": (replaced("= 2\n", "= 20000000000\n"), "line 5: species_count should be an integer of at most"),
    "negative min": (replaced("= 1.5", "= -1.5"), "line 9: max_dist, 4.0, should be more than min_dist, -1.5, which"),
    "min over max": (replaced("= 1.5", "= 4.0"), "line 9: max_dist, 4.0, should be more than min_dist, 4.0"),
    "infinite max": (replaced("4.000000000000000e+00", "1e999"), "line 9: max_dist should be a finite number"),
    "basis size": (replaced("size = 3", "size = 4"), "line 14: row 0 .* 3 entries, but radial_basis_size says 4"),
    "absurd size": (replaced("size = 3", "size = 2000000000"), "line 14: .* 3 entries, but radial_basis_size says 2"),
    "functions": (replaced("funcs_count = 2", "funcs_count = 1"), "line 27: the radial functions .* should be 0 to 0"),
    "absurd functions": (
        replaced("funcs_count = 2", "funcs_count = 2000000000"),
        "line 27: the radial functions of alpha_index_basic should be 0 to 1999999999",
    ),
    "pair": (replaced("0-1", "0-2"), "line 16: expected the radial coefficients of the pair 0-1, not '0-2'"),
    "pairs": (replaced("\t\t0-1\n", ""), "line 16: expected .* pair 0-1, not '.-1.0e.00"),
    "row": (replaced("\t\t\t{4.0e+00, 5.0e+00, 6.0e+00}\n", ""), "line 15: row 1 of .* 0-0 is missing"),
    "last row": (replaced("\t\t\t{.25, 7., 1e-3}\n", ""), "line 12: row 1 of .* 1-1 is missing"),
    "last pair": (re.sub("\t\t1-1\n.*\n.*\n", "", FILE), "line 12: expected .* pair 1-1, not 'the end of"),
    "extra row": (replaced("\t\t0-1\n", "\t\t\t{1, 2, 3}\n\t\t0-1\n"), "line 16: expected .* 0-1, not '.1, 2, 3.'"),
    "brace": (replaced("6.0e+00}", "6.0e+00"), "line 15: row 1 .* of 0-0 should be in braces; the line is cut"),
    "radial": (replaced("5.0e+00", "5.0d+00"), "line 15: a number in row 1 of .* 0-0 should be .* not '5.0d"),
    "comma": (replaced("1.0e+00, -2", "1.0e+00 -2"), "line 14: row 0 .* of 0-0 has 2 entries, but"),
    "moments": (replaced("moments_count = 7", "moments_count = 6"), "line 25: alpha_moments_count is 6, but .* 7 mo"),
    "absurd moments": (
        replaced("moments_count = 7", "moments_count = 2000000000"),
        "line 25: alpha_moments_count is 2000000000, but the tables make 7 moments",
    ),
    "basic count": (replaced("basic_count = 5", "basic_count = 6"), "line 27: .* has 5 entries, but .* 6"),
    "basic absurd": (replaced("basic_count = 5", "basic_count = 2147483647"), "line 27: .* 5 entries, but .* 2147"),
    "basic brace": (replaced("{{0, 0, 0, 0}", "{0, 0, 0, 0}"), "line 27: alpha_index_basic should be in braces"),
    "basic inner": (replaced("0}, {0, 1", "0, 0, 1"), "line 27: alpha_index_basic has 4 entries"),
    "basic row": (replaced("{0, 1, 0, 0}", "{0, 1, 0}"), "line 27: row 1 of alpha_index_basic should be four integers"),
    "basic real": (replaced("{0, 1, 0, 0}", "{0, 1.0, 0, 0}"), "line 27: a number in row 1 .* integer, not '1.0'"),
    "basic negative": (replaced("{0, 1, 0, 0}", "{0, -1, 0, 0}"), "line 27: alpha_index_basic has a negative number"),
    "basic rank": (replaced("{0, 1, 0, 0}", "{0, 2, 0, 0}"), "line 27: .* 5 moments, fewer than the 6 comp.* rank 2"),
    "absurd rank": (replaced("{0, 1, 0, 0}", "{0, 2000000000, 0, 0}"), "line 27: .* 5 moments, fewer than the 2000000"),
    "absurd function": (
        replaced("{1, 0, 0, 0}", "{1999999999, 0, 0, 0}", replaced("funcs_count = 2", "funcs_count = 2000000000")),
        "line 27: the radial functions of alpha_index_basic should be 0 to 1999999999",
    ),
    "times count": (replaced("times_count = 4", "times_count = 3"), "line 29: .* has 4 entries, but .* 3"),
    "times index": (replaced("{3, 3, 2, 6}", "{3, 3, 2, 7}"), "line 25: alpha_moments_count is 7, but .* 8"),
    "times first": (replaced("{3, 3, 2, 6}", "{7, 3, 2, 6}"), "line 29: a moment of alpha_index_times is none of"),
    "times negative": (replaced("{3, 3, 2, 6}", "{-1, 3, 2, 6}"), "line 29: a moment of alpha_index_times is none of"),
    "times huge": (replaced("{3, 3, 2, 6}", "{3, 3, 9876543210, 6}"), "line 29: .* should be an integer of at most"),
    "scalars count": (replaced("moments = 4", "moments = 5"), "line 31: alpha_moment_mapping has 4 entries, but .* 5"),
    "scalars": (replaced("{0, 5, 6, 4}", "{0, 5, 7, 4}"), "line 31: a moment of alpha_moment_mapping is none"),
    "no scalars": (replaced("moments = 4", "moments = 0"), "line 30: alpha_scalar_moments should be at least 1, not 0"),
    "species coeffs": (replaced("{-1.25, 2.5}", "{-1.25}"), "line 32: species_coeffs has 1 entries, but spec"),
    "moment coeffs": (replaced("0.125, ", ""), "line 33: moment_coeffs has 3 entries, but alpha_scalar"),
    "no coefficients": (re.sub("\nmoment_coeffs.*", "", FILE), "radial_coeffs and species_coeffs without moment"),
    "no linear": (re.sub("\nspecies_coeffs(.*\n?)*", "", FILE), "radial_coeffs without species_coeffs and"),
    "no radial": (replaced("\tradial_coeffs\n", "", re.sub("\t\t.*\n", "", FILE)), "without radial_coeffs"),
    "infinite": (replaced("-20.5", "-1e400"), "line 33: a number of moment_coeffs should be a finite number"),
    "something else": (FILE + "\nenergy_weight 1\n", "line 34: unknown keyword 'energy_weight 1'"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.mtp(:|,) ({message}|.*{message})"):
        read_text(tmp_path, text)


def test_every_cut_is_an_error(tmp_path):
    for stop in range(len(FILE) - 1):
        with pytest.raises(ValueError, match="a.mtp"):
            read_text(tmp_path, FILE[:stop])


def test_every_cut_of_a_file_to_be_trained_is_an_error(tmp_path):
    for stop in range(len(UNTRAINED) - 2):
        with pytest.raises(ValueError, match="a.mtp"):
            read_text(tmp_path, UNTRAINED[:stop])


@given(st.binary(max_size=100), st.integers(0, len(FILE)))
@settings(max_examples=100, deadline=None)
def test_noise_is_a_clear_error_if_it_is_one(tmp_path_factory, noise, place):
    path = tmp_path_factory.mktemp("noise")
    assert complaint(path, FILE.encode()[:place] + noise + FILE.encode()[place:]) in (None, str(path / "a.mtp"))


def complaint(path, text):
    """The file that the error of reading a text names."""
    try:
        read_text(path, text)
    except ValueError as error:
        return re.split("[,:]", str(error))[0]


def test_every_cut_of_a_published_file_is_an_error(shared, tmp_path):
    whole = (shared / "models" / "MoNbTaW" / "mtp.2021.08" / "quaternary.mtp").read_bytes().rstrip()
    for stop in {*range(0, len(whole), 997), *range(len(whole) - 90, len(whole))}:
        with pytest.raises(ValueError, match="a.mtp"):
            read_text(tmp_path, whole[:stop])
