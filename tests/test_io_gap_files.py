"""Mutilated, foreign and hostile GAP files, and keywords that have no counterpart."""

import os
import re

import numpy as np
import pytest
from _gap_files import Pair, Soap, write_files
from hypothesis import given, settings
from hypothesis import strategies as st

from mlfeat.io import _gap_keywords as gap_keywords
from mlfeat.io import _gap_xml as gap_xml
from mlfeat.io import read_gap, write_gap

BOMB = """<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">\
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>"""
THEFT = '<!DOCTYPE x [<!ENTITY theft SYSTEM "file:///etc/passwd">]>'


def replace(old, new, count=-1):
    """A change of a text that changes it."""

    def change(text):
        assert old in text
        return text.replace(old, new, count)

    return change


def removed(start, stop):
    return lambda text: text[: text.index(start)] + text[text.index(stop) :]


FOREIGN = "no whole XML file"
BAD_XML = {
    "empty": (lambda text: "", FOREIGN),
    "another program's": (lambda text: "<html><body>404</body></html>", "no GAP_params elements"),
    "a picture": (lambda text: "\x89PNG\r\n\x1a\n\0\0", FOREIGN),
    "cut": (lambda text: text[: len(text) // 2], FOREIGN),
    "two in one": (lambda text: f"<both>{text}{text}</both>", "2 GAP_params elements"),
    "unknown encoding": (lambda text: '<?xml version="1.0" encoding="martian"?>' + text, FOREIGN),
    "bomb": (lambda text: BOMB + text.replace("soap n_max", "&c; n_max"), "document type or entities.*remove"),
    "theft": (lambda text: THEFT + text.replace("soap n_max", "&theft; n_max"), "document type or entities"),
    "document type": (lambda text: '<!DOCTYPE GAP SYSTEM "http://localhost/gap.dtd">' + text, "document type"),
    "undefined entity": (replace("soap n_max", "&c; n_max"), FOREIGN),
    "a sum": (
        replace(
            'init_args="IP GAP label=GAP_2026"', 'init_args="Sum init_args_pot1={IP Glue} init_args_pot2={IP GAP}"'
        ),
        "the potential is 'Sum .*no sums with other potentials",
    ),
    "scaled": (replace("IP GAP label", "E_scale=2.0 IP GAP label"), "the potential is 'E_scale=2.0"),
    "another label": (replace("IP GAP label=GAP_2026", "IP GAP label=GAP_2025"), "another label"),
    "a baseline": (replace('do_core="F"', 'do_core="T"'), "do_core is T: .*core_ip_args"),
    "not fitted": (replace('fitted="T"', 'fitted="F"'), "not fitted"),
    "no gpSparse": (removed("  <gpSparse", "  <command_line"), "no gpSparse elements"),
    "a term short": (removed("    <gpCoordinates", "  </gpSparse>"), "0 gpCoordinates elements, but n_coordinate is 3"),
    "fewer terms": (replace('n_coordinate="3"', 'n_coordinate="2"'), "3 gpCoordinates .* n_coordinate is 2"),
    "bad version": (replace("1769700636", "last"), "gap_version should be an integer, not 'last'"),
    "old soap": (replace("1769700636", "1423143768"), "gpCoordinates 2: gap_version 1423143768: its soap"),
    "old soap of two": (replace("1769700636", "1426512067"), "gpCoordinates 2: soap of several species"),
    "no version": (replace(' gap_version="1769700636"', ""), "gap_version 0: its soap"),
    "e0 no number": (replace("-1.5000000000000000", "NaN"), "e0 of the atomic number 28 .*finite number, not 'NaN'"),
    "e0 twice": (replace('e0 Z="42"', 'e0 Z="28"'), "e0 of the atomic number 28: .*once"),
    "no dimensions": (replace('dimensions="21"', ""), "gpCoordinates 2: dimensions should be an integer, not None"),
    "other dimensions": (replace('dimensions="21"', 'dimensions="20"'), "63 numbers .* expected 3 sparse points x 20"),
    "huge dimensions": (replace('dimensions="21"', f'dimensions="{10**17}"'), "63 numbers .* expected 3"),
    "negative dimensions": (replace('dimensions="21"', 'dimensions="-21"'), "no dimensions"),
    "more points": (replace('n_sparseX="3"', 'n_sparseX="4"'), "3 sparse points in it, but n_sparseX is 4"),
    "huge points": (replace('n_sparseX="3"', f'n_sparseX="{10**17}"'), "3 sparse points in it, but n_sparseX is 1000"),
    "a point twice": (replace('sparseX i="2"', 'sparseX i="1"'), "4 sparse points in it, but n_sparseX is 4"),
    "no points": (
        lambda text: re.sub("<sparseX .*/>", "", text).replace('n_sparseX="3"', 'n_sparseX="0"'),
        "n_sparseX",
    ),
    "no delta": (replace('signal_variance="0.5"', ""), "signal_variance should be a finite number, not None"),
    "negative delta": (replace('signal_variance="0.5"', 'signal_variance="-0.5"'), "should be positive"),
    "no descriptor": (lambda text: re.sub("<descriptor>soap.*</descriptor>", "", text), "no descriptor in it"),
    "piecewise kernel": (replace('covariance_type="2"', 'covariance_type="4"'), r"covariance_type 4 \(pp\): only 1"),
    "unknown kernel": (replace('covariance_type="2"', 'covariance_type="7"'), r"covariance_type 7 \(unknown\)"),
    "squared exponential of soaps": (
        lambda text: replace('covariance_type="2"', 'covariance_type="1"')(text).replace(
            "<descriptor>soap", "<theta>1.0</theta><descriptor>soap"
        ),
        "soap with the kernel ard_se: only dot_product",
    ),
    "dot product of distances": (
        replace('covariance_type="1"', 'covariance_type="2" zeta="2"'),
        "distance_2b with the kernel dot_product: only ard_se",
    ),
    "real zeta": (replace('zeta="2"', 'zeta="2.5"'), "zeta is 2.5; only positive whole"),
    "zero zeta": (replace('zeta="2"', 'zeta="0"'), "zeta is 0.0; only positive whole"),
    "no zeta": (replace('zeta="2"', ""), "zeta should be a finite number, not None"),
    "no theta": (lambda text: re.sub("<theta>.*</theta>", "", text), "theta should be one positive number"),
    "two thetas": (replace("</theta>", " 1.0 </theta>"), "theta should be one positive number"),
    "negative theta": (replace("<theta>  ", "<theta> -"), "theta should be one positive number"),
    "alpha no number": (lambda text: re.sub('alpha="[^"]*"', 'alpha="*****"', text), r"alpha .*not '\*\*\*\*\*'"),
    "infinite alpha": (lambda text: re.sub('alpha="[^"]*"', 'alpha="1e999"', text), "alpha .*not '1e999'"),
    "no alpha": (lambda text: re.sub('alpha="[^"]*"', "", text), "alpha of a sparse point .*not None"),
    "mean of pairs": (replace(".00000000000000000E+000", ".5"), r"gpCoordinates 1: f0 \(signal_mean\) is 0.5"),
    "cutoffs of another function": (replace("width=1.0", "width=0.9"), "sparseCutoff is not the cutoff function"),
    "cutoffs of soap": (lambda text: '0.5"/>'.join(text.rsplit('1.0"/>', 1)), "sparseCutoff of a soap should be 1"),
    "no width of pairs": (replace("width=1.0", "width=0.0"), "cutoff_transition_width is 0.0, and should be between"),
    "soap of other n_max": (replace("n_max=2", "n_max=3"), "dimensions is 21, but 'soap n_max=3.*' has 43"),
    "too large n_max": (replace("n_max=2", "n_max=2000000000"), "dimensions is 21, but"),
    "negative cutoff": (replace("cutoff=4.0", "cutoff=-4.0"), "cutoff=-4.0"),
    "zero sigma": (replace("atom_sigma=0.5", "atom_sigma=0"), "sigma=0.0"),
    "no element": (replace("={28", "={220"), "220 is no atomic number"),
}


@pytest.mark.parametrize(("change", "message"), BAD_XML.values(), ids=BAD_XML)
def test_bad_xml_files_are_refused(tmp_path, change, message):
    path = write_files(tmp_path)
    path.write_bytes(change(path.read_text()).encode("latin-1"))
    with pytest.raises(ValueError, match=rf"(?s)gap\.xml(:|, ).*({message})"):
        read_gap(path)


SOAP_KEYWORDS = {
    "average=T": "average other than F, which has no counterpart",
    "diagonal_radial=T": "diagonal_radial other than F",
    "cutoff_dexp=2": "cutoff_dexp other than 0",
    "basis_error_exponent=8": "basis_error_exponent other than 10.0",
    "R_mix=T": "r_mix other than F",
    "Z_mix=T K=2": "z_mix other than F",
    "sym_mix=T": "sym_mix other than F",
    "coupling=F": "coupling other than T",
    "radial_basis=GTO": "radial_basis other than EQUISPACED_GAUSS",
    "radial_basis=POLY": "radial_basis other than EQUISPACED_GAUSS",
    "nu_R=1": "nu_R=1 nu_S=2: only 2 2, 2 1 and 2 0",
    "nu_R=1 nu_S=1": "nu_R=1 nu_S=1: only",
    "central_reference_all_species=T": "soap of several species with central_reference_all_species T",
    "xml_version=1": "unknown keyword xml_version of soap: it may change the results",
    "colour=blue": "unknown keyword colour",
    "average": "average other than F",
    "average=1": "average should be T or F, not '1'",
    "n_max=3": "keyword n_max occurs twice",
    "atom_gaussian_width=0.4": "atom_sigma and atom_gaussian_width are the same",
    "cutoff_dexp=x": "cutoff_dexp should be an integer, not 'x'",
    "central_weight=1_0": "central_weight should be a finite number",
    "=3": "cannot be understood from '=3",
    "x=}3": "cannot be understood",
    "n_Z=2": "n_Z and Z do not go together: 2 and",
}


@pytest.mark.parametrize("keywords", SOAP_KEYWORDS)
def test_keywords_without_counterpart_are_refused_by_name(tmp_path, keywords):
    path = write_files(tmp_path)
    path.write_text(path.read_text().replace("width=0.7", f"width=0.7 {keywords}", 1))
    with pytest.raises(ValueError, match=rf"gap.xml, gpCoordinates 2: .*{SOAP_KEYWORDS[keywords]}"):
        read_gap(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cutoff=4.0", "", "soap has no cutoff; the file is damaged"),
        ("n_species=2", "n_species=1", r"n_species and species_Z do not go together: 1 and \(28, 42\)"),
        ("species_Z={28 42 }", "", r"n_species and species_Z do not go together: 2 and \(0,\)"),
        ("species_Z={28 42 }", "species_Z={28 28 }", "do not go together"),
        ("n_species=2 Z=28 species_Z={28 42 }", "n_species=1 Z=28 species_Z=28", "species_Z of its soap lacks Mo"),
        ("soap n_max", "soap_turbo n_max", "descriptor 'soap_turbo': only soap, distance_2b"),
        ("soap n_max", "angle_3b n_max", "descriptor 'angle_3b'"),
        ("distance_2b", "distance_2b only_intra=T", "only_intra other than F"),
        ("distance_2b", "distance_2b exponents={-1}", "exponents other than 1"),
        ("distance_2b", "distance_2b tail_exponent=1", "tail_exponent other than 0"),
        ("distance_2b", "distance_2b compact_clusters=T", "unknown keyword compact_clusters of distance_2b"),
        ("distance_2b", "distance_Nb order=2", "unknown keyword z1 and z2 of distance_nb"),
        ("distance_2b", "distance_Nb order=3", "order other than 2"),
        ("Z1=28", "Z1=0", "pairs of Mo with any species"),
    ],
)
def test_settings_without_counterpart_are_refused_by_name(tmp_path, old, new, message):
    path = write_files(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"gap.xml, gpCoordinates [12]: .*{message}"):
        read_gap(path)


# --- the files of sparse points ------------------------------------------------------------------


def sparse_file(path, k=2):
    return path.with_name(f"{path.name}.sparseX.GAP_2026{k}")


BAD_SPARSE = {
    "empty": (lambda blob: b"", "ends within a line"),
    "cut within a number": (lambda blob: blob[:-9], "ends within a line.*cut"),
    "cut between numbers": (lambda blob: blob[: blob.rindex(b"\n", 0, -1) + 1], "62 numbers in .*truncated"),
    "a number more": (lambda blob: blob + b"1.0\n", "64 numbers in .*expected 3 sparse points x 21 dimensions"),
    "nan": (lambda blob: b"nan" + blob[blob.index(b"\n") :], "byte 0x6e among the numbers"),
    "infinite": (lambda blob: b"1e999" + blob[blob.index(b"\n") :], "should be finite numbers"),
    "underscore": (lambda blob: b"1_0" + blob[blob.index(b"\n") :], "byte 0x5f"),
    "two points": (lambda blob: b"1.0.0" + blob[blob.index(b"\n") :], "could not convert"),
    "text": (lambda blob: b"hello\n" * 63, "byte 0x68"),
    "binary": (lambda blob: bytes(range(256)) * 4 + b"\n", "byte 0x00"),
}


@pytest.mark.parametrize(("change", "message"), BAD_SPARSE.values(), ids=BAD_SPARSE)
def test_bad_files_of_sparse_points_are_refused(tmp_path, change, message):
    path = write_files(tmp_path)
    file = sparse_file(path)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match="sparseX.GAP_20262: .*not what .*gap.xml was written with .*Copy both"):
        read_gap(path)
    path.write_text(re.sub(' sparseX_md5sum="[^"]*"', "", path.read_text()))
    with pytest.raises(ValueError, match=f"gap.xml.*{message}"):
        read_gap(path)


def test_a_missing_file_of_sparse_points_is_named(tmp_path):
    path = write_files(tmp_path)
    sparse_file(path).unlink()
    message = f"in which {path} has its sparse points; copy it into that folder: .*sparseX.GAP_20262"
    with pytest.raises(FileNotFoundError, match=message):
        read_gap(path)


def test_a_missing_xml_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.xml"):
        read_gap(tmp_path / "nowhere.xml")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "..", "a/../../secret", "..\\secret", "C:secret", "", "a\tb/c"]
)
def test_no_file_outside_the_folder_is_opened(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = write_files(folder)
    (tmp_path / "secret").write_bytes(sparse_file(path).read_bytes())
    path.write_text(path.read_text().replace(sparse_file(path).name, name.replace("\t", "&#9;")))
    with pytest.raises(
        ValueError, match="gpCoordinates 2: sparseX_filename .*should be the name of a file in the same"
    ):
        read_gap(path)


def test_nothing_is_waited_for_that_is_no_file(tmp_path):
    path = write_files(tmp_path)
    sparse_file(path).unlink()
    os.mkfifo(sparse_file(path))
    with pytest.raises(FileNotFoundError):
        read_gap(path)


# --- any cut, any noise --------------------------------------------------------------------------


def content_of(path):
    content = gap_xml.read_gap_file(path)
    return repr(content[:2]) + repr([[np.asarray(value).tolist() for value in one] for one in content.coordinates])


def outcome_of(path, blob, file=None):
    """What reading gives after a file, the XML file by default, got another content."""
    (file or path).write_bytes(blob)
    try:
        return content_of(path)
    except (ValueError, FileNotFoundError) as error:
        return "refused" if str(path) in str(error) else f"unclear: {error}"


@pytest.mark.parametrize("inline", [False, True], ids=["files", "inline"])
def test_a_cut_xml_file_is_an_error(tmp_path, inline):
    path = write_files(tmp_path, inline=inline)
    blob = path.read_bytes()
    whole = content_of(path)
    stops = [*range(0, len(blob), 11), *range(len(blob) - 40, len(blob))]
    assert {outcome_of(path, blob[:stop]) for stop in stops} <= {"refused", whole}
    assert outcome_of(path, blob[: len(blob) - 9]) == "refused"


def test_cut_files_of_ours_are_an_error(tmp_path):
    (tmp_path / "new").mkdir()
    xml, *sparse = write_gap(read_gap(write_files(tmp_path)), tmp_path / "new" / "gap.xml")
    for file in [xml, *sparse]:
        blob = file.read_bytes()
        outcomes = {outcome_of(xml, blob[:stop], file) for stop in [*range(0, len(blob), 53), len(blob) - 2]}
        assert outcomes == {"refused"}
        file.write_bytes(blob)


@given(st.binary(max_size=60), st.integers(0, 6000))
@settings(max_examples=100, deadline=None)
def test_noise_within_a_file_is_a_clear_error_if_it_is_one(tmp_path_factory, noise, place):
    path = write_files(tmp_path_factory.mktemp("noise"), [Pair(), Soap(28)])
    blob = path.read_bytes()
    assert "unclear" not in outcome_of(path, blob[:place] + noise + blob[place:])


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=4), st.floats(1e-300, 1e300))
@settings(max_examples=50, deadline=None)
def test_numbers_are_written_with_all_their_digits(tmp_path_factory, rows, delta):
    path = tmp_path_factory.mktemp("digits") / "gap.xml"
    points, alpha = np.array(rows)[:, :2], np.array(rows)[:, 2]
    one = gap_xml.GapCoordinates("soap <&> x", "dot_product", 2.0, delta, 0.0, points, alpha, np.ones(len(rows)))
    content = gap_xml.GapFile(gap_xml.VERSION, {0: 0.0, 42: rows[0][0]}, (one,))
    e0 = {42: rows[0][0]}
    for file, text in gap_xml.format_gap_file(content._replace(e0=e0), path, "a <comment> & more").items():
        file.write_text(text)
    again = gap_xml.read_gap_file(path)
    assert again[:2] == content[:2]
    assert again.coordinates[0][:5] == one[:5]
    for old, new in zip(one[5:], again.coordinates[0][5:], strict=True):
        assert old.tobytes() == new.tobytes()


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_descriptor_is_understood_or_a_clear_error(text):
    place = gap_xml.Place("gap.xml")
    one = gap_xml.GapCoordinates(text, "dot_product", 2.0, 1.0, 0.0, *[np.ones((1, 1))] * 3)
    with pytest.raises(ValueError, match=r"gap\.xml: "):
        gap_keywords.interpret(place, one, gap_xml.VERSION)
