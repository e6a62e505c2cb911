"""The text of QUIP's GAP files, as plain data.

A potential is an XML file, with a descriptor's settings and the coefficients of its sparse points in each
``gpCoordinates`` element, beside one text file of sparse points for each. The reader here accepts what QUIP does,
and refuses what QUIP would misread: a number that may have been cut, counts that do not agree. Nothing in a file is
executed, no entity is expanded, and no file outside the XML file's folder is opened.
"""

import errno
import hashlib
import math
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

# From this version of the files on, soap and distance_2b have meant what they mean today.
VERSION = 1426512068
KERNELS = {1: "ard_se", 2: "dot_product"}
OTHER_KERNELS = {3: "bond_real_space", 4: "pp"}

# What Fortran writes; Python's float() also takes nan, inf and 1_000.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FILE_NAME = re.compile(r"[^/\\:\0]+")
_NOT_NUMBERS = re.compile(rb"[^0-9eEdD+\-.\s]")
_FORTRAN_EXPONENT = bytes.maketrans(b"dD", b"ee")


class GapCoordinates(NamedTuple):
    """A descriptor and its sparse points: what a ``gpCoordinates`` element and its file of sparse points hold."""

    descriptor: str  # the kind and its settings, as QUIP is told
    kernel: str  # "dot_product" or "ard_se"
    exponent: float  # zeta of the one, theta (Å) of the other
    delta: float  # eV
    mean: float  # of the Gaussian process, eV
    points: np.ndarray  # (n_sparse, dimensions)
    alpha: np.ndarray  # (n_sparse,), 1/eV
    cutoffs: np.ndarray  # (n_sparse,), what the kernel with each point is multiplied by


class GapFile(NamedTuple):
    """What a potential's files hold."""

    version: int
    e0: dict  # eV by atomic number; 0 stands for all others
    coordinates: tuple


class Place(NamedTuple):
    """Where in which file, for messages."""

    path: Path
    what: str = ""

    def error(self, message):
        """A ValueError that says where."""
        return ValueError(f"{self.path}{self.what and ', '}{self.what}: {message}")

    def real(self, text, what):
        """The number in a text."""
        number = math.nan
        if text is not None and _NUMBER.fullmatch(text.strip()):
            number = float(text.lower().replace("d", "e"))
        if not math.isfinite(number):
            raise self.error(f"{what} should be a finite number, not {text!r}.")
        return number

    def integer(self, text, what):
        """The integer in a text."""
        if text is None or not _INTEGER.fullmatch(text.strip()):
            raise self.error(f"{what} should be an integer, not {text!r}.")
        return int(text)

    def numbers(self, blob, what):
        """All numbers in some bytes, which hold nothing else."""
        strange = _NOT_NUMBERS.search(blob)
        if strange:
            raise self.error(f"byte {strange.group()[0]:#04x} among the numbers of {what}.")
        try:
            values = np.array(blob.translate(_FORTRAN_EXPONENT).split(), dtype="S").astype(float)
        except ValueError as error:
            raise self.error(f"{what}: {error}.") from error
        if not np.isfinite(values).all():
            raise self.error(f"{what} should be finite numbers.")
        return values


def read_gap_file(path):
    """Read a potential's XML file, and the files of sparse points that it names, as :class:`GapFile`."""
    place = Place(Path(path))
    root = _parse(place)
    parameters = _only(place, root, "GAP_params")
    _check_potential(place, root, parameters)
    version = parameters.get("gap_version", "0")
    sparse = _only(place, parameters, "gpSparse")
    if sparse.get("fitted", "T") != "T":
        raise place.error("the model in it is not fitted; run gap_fit to its end.")
    elements = sparse.findall("gpCoordinates")
    expected = place.integer(sparse.get("n_coordinate"), "n_coordinate")
    if not elements or len(elements) != expected:
        raise place.error(f"{len(elements)} gpCoordinates elements, but n_coordinate is {expected}; it is damaged.")
    coordinates = [
        _read_coordinates(Place(place.path, f"gpCoordinates {k}"), element) for k, element in enumerate(elements, 1)
    ]
    return GapFile(place.integer(version, "gap_version"), _read_e0(place, parameters), tuple(coordinates))


def format_gap_file(content, path, comment=""):
    """Texts of a potential's files by path, the XML file last.

    The files of sparse points are named after their content, so that an older XML file of the same name keeps those
    that it refers to. Numbers are written with all their digits.
    """
    path = Path(path)
    texts = [_column(coordinates.points.ravel()) for coordinates in content.coordinates]
    sums = [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in texts]
    digest = hashlib.sha256("\n".join(_format_xml(content, path, "", sums, "")).encode())
    label = f"GAP_mlfeat_{digest.hexdigest()[:16]}"
    files = {path.parent / _sparse_name(path, label, k): text for k, text in enumerate(texts, 1)}
    return files | {path: "\n".join(_format_xml(content, path, label, sums, comment)) + "\n"}


# --- reading -------------------------------------------------------------------------------------


def _parse(place):
    try:
        with place.path.open("rb") as stream:
            events = iterparse(stream, forbid_dtd=True)
            for _, element in events:
                if element.tag == "XYZ_data":
                    element.clear()  # structures that it was fitted to; may be most of the file
            return events.root
    except DefusedXmlException as error:
        raise place.error(
            "declares a document type or entities, which no GAP file needs and by which files attack the programs "
            "that read them. Do not use it, or remove the declarations."
        ) from error
    except (ParseError, LookupError, ValueError) as error:
        raise place.error(f"no whole XML file ({error}); it is truncated, damaged or foreign.") from error


def _only(place, parent, tag):
    found = list(parent.iter(tag))
    if len(found) != 1:
        raise place.error(f"{len(found) or 'no'} {tag} elements; a GAP file, as gap_fit writes it, has one.")
    return found[0]


def _check_potential(place, root, parameters):
    """Refuse sums with other potentials: the numbers would be those of a part."""
    for element in root.iter("Potential"):
        words = element.get("init_args", "").split()
        if words[:2] != ["IP", "GAP"] or not all(word.startswith("label=") for word in words[2:]):
            raise place.error(
                f"the potential is {' '.join(words)!r}; only 'IP GAP' alone can be read, no sums with other potentials."
            )
        if words[2:] and words[2] != f"label={parameters.get('label')}":
            raise place.error(f"the potential is {' '.join(words)!r}, but GAP_params has another label.")
    for element in parameters.iter("GAP_data"):
        if element.get("do_core", "F") != "F":
            raise place.error(
                "do_core is T: the potential is a sum with another one, the baseline of its fit (core_ip_args), "
                "which cannot be read."
            )


def _read_e0(place, parameters):
    energies = {0: 0.0}
    for element in parameters.iter("GAP_data"):
        if element.get("e0") is not None:
            energies[0] = place.real(element.get("e0"), "e0")
    for element in parameters.iter("e0"):
        number = place.integer(element.get("Z"), "Z of an e0")
        if number in energies or number < 1:
            raise place.error(f"e0 of the atomic number {number}: should be there once, and positive.")
        energies[number] = place.real(element.get("value"), f"e0 of the atomic number {number}")
    return energies


def _read_coordinates(place, element):
    dimensions = place.integer(element.get("dimensions"), "dimensions")
    kernel, exponent = _read_kernel(place, element)
    rows = _sorted_rows(place, element)
    if dimensions < 1 or not rows:
        raise place.error("no dimensions, or no sparse points.")
    delta = place.real(element.get("signal_variance"), "signal_variance")  # its name notwithstanding
    if delta <= 0:
        raise place.error(f"signal_variance, which is delta, should be positive, not {delta}.")
    descriptor = element.findtext("descriptor")
    if descriptor is None:
        raise place.error("no descriptor in it.")
    return GapCoordinates(
        descriptor.strip(),
        kernel,
        exponent,
        delta,
        place.real(element.get("signal_mean", "0"), "signal_mean"),
        _read_points(place, element, rows).reshape(len(rows), -1),
        np.array([place.real(row.get("alpha"), "alpha of a sparse point") for row in rows]),
        np.array([place.real(row.get("sparseCutoff", "1"), "sparseCutoff") for row in rows]),
    )


def _read_kernel(place, element):
    number = place.integer(element.get("covariance_type"), "covariance_type")
    if number not in KERNELS:
        name = OTHER_KERNELS.get(number, "unknown")
        raise place.error(f"covariance_type {number} ({name}): only {_listed(KERNELS)} can be read.")
    theta = element.findtext("theta")
    if KERNELS[number] == "ard_se":
        values = place.numbers((theta or "").encode(), "theta")
        if len(values) != 1 or values[0] <= 0:
            raise place.error(f"theta should be one positive number, the length scale, not {theta!r}.")
        return "ard_se", float(values[0])
    zeta = element.get("zeta") or theta  # older files have it as the one theta
    return "dot_product", place.real(zeta, "zeta")


def _sorted_rows(place, element):
    """The sparseX elements, in the order of their numbers."""
    rows = element.findall("sparseX")
    expected = place.integer(element.get("n_sparseX"), "n_sparseX")
    numbers = [place.integer(row.get("i"), "i of a sparse point") for row in rows]
    if len(rows) != expected or sorted(numbers) != list(range(1, expected + 1)):
        raise place.error(f"{len(rows)} sparse points in it, but n_sparseX is {expected}; it is damaged.")
    return [row for _, row in sorted(zip(numbers, rows, strict=True), key=lambda pair: pair[0])]


def _read_points(place, element, rows):
    """Numbers of the sparse points, one point after the other."""
    size = len(rows) * place.integer(element.get("dimensions"), "dimensions")
    name = element.get("sparseX_filename")
    if name is None:
        values = place.numbers(" ".join(row.text or "" for row in rows).encode(), "the sparse points")
        source = "in it"
    else:
        values = _read_sparse_file(place, name, element.get("sparseX_md5sum"))
        source = f"in {name}"
    if len(values) != size:
        raise place.error(
            f"{len(values)} numbers {source}, expected {len(rows)} sparse points x {size // len(rows)} dimensions; "
            "the file is truncated, or belongs to another potential."
        )
    return values


def _read_sparse_file(place, name, md5):
    if not _FILE_NAME.fullmatch(name) or name in (".", ".."):
        raise place.error(f"sparseX_filename {name!r}: should be the name of a file in the same folder, with no path.")
    path = place.path.parent / name
    if not path.is_file():
        raise FileNotFoundError(
            errno.ENOENT,
            f"there is no such file, in which {place.path} has its sparse points; copy it into that folder",
            str(path),
        )
    blob = path.read_bytes()
    if md5 is not None and hashlib.md5(blob, usedforsecurity=False).hexdigest() != md5.strip().lower():
        raise Place(path).error(
            f"its content is not what {place.path} was written with (another MD5 sum): it is damaged or of another "
            "potential. Copy both files again."
        )
    if not blob.endswith(b"\n"):
        raise Place(path).error(
            "the file ends within a line, so its last number may be cut. If it is complete, end that line."
        )
    return Place(path).numbers(blob, "the sparse points")


def _listed(table):
    return " and ".join(f"{number} ({name})" for number, name in table.items())


# --- writing -------------------------------------------------------------------------------------


def _format_xml(content, path, label, sums, comment):
    """Lines of the XML file."""
    quoted = quoteattr(label)
    usage = f'pair_coeff * * {path.name} "Potential xml_label={label}" {" ".join(map(str, content.e0))}'
    return [
        f"<{label}>",
        f'<Potential label={quoted} init_args="IP GAP label={label}"/>',
        f'<GAP_params label={quoted} gap_version="{content.version}">',
        '  <GAP_data do_core="F">',
        *(f'    <e0 Z="{number}" value="{_number(value)}"/>' for number, value in content.e0.items()),
        "  </GAP_data>",
        f'  <gpSparse label={quoted} n_coordinate="{len(content.coordinates)}" fitted="T">',
        *(
            line
            for k, (coordinates, md5) in enumerate(zip(content.coordinates, sums, strict=True), 1)
            for line in _format_coordinates(coordinates, f"{label}{k}", _sparse_name(path, label, k), md5)
        ),
        "  </gpSparse>",
        f"  <command_line> {escape(comment)}; in LAMMPS: {escape(usage)} </command_line>",
        "</GAP_params>",
        f"</{label}>",
    ]


def _format_coordinates(coordinates, label, name, md5):
    n_sparse, dimensions = coordinates.points.shape
    number = {kernel: number for number, kernel in KERNELS.items()}[coordinates.kernel]
    dot_product = coordinates.kernel == "dot_product"
    zeta = f'zeta="{_number(coordinates.exponent)}" ' if dot_product else ""
    return [
        f'    <gpCoordinates label={quoteattr(label)} dimensions="{dimensions}" '
        f'signal_variance="{_number(coordinates.delta)}" signal_mean="{_number(coordinates.mean)}" sparsified="T" '
        f'n_permutations="1" covariance_type="{number}" {zeta}n_sparseX="{n_sparse}" '
        f'sparseX_filename={quoteattr(name)} sparseX_md5sum="{md5}">',
        *([] if dot_product else [f"      <theta>{_number(coordinates.exponent)}</theta>"]),
        f"      <descriptor>{escape(coordinates.descriptor)}</descriptor>",
        '      <permutation i="1">1</permutation>',
        *(
            f'      <sparseX i="{k}" alpha="{_number(alpha)}" sparseCutoff="{_number(cutoff)}"/>'
            for k, (alpha, cutoff) in enumerate(zip(coordinates.alpha, coordinates.cutoffs, strict=True), 1)
        ),
        "    </gpCoordinates>",
    ]


def _sparse_name(path, label, k):
    return f"{path.name}.sparseX.{label}{k}"


def _column(values):
    return "".join(f"{_number(value)}\n" for value in values)


def _number(value):
    return repr(float(value))
