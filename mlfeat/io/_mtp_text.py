"""The text of MLIP's ``.mtp`` files, as plain data.

After ``MTP`` and the version, a file is lines ``keyword = value``. Values are words, numbers, or tables of numbers in
braces; the table of radial coefficients follows its keyword on lines of its own, a block ``a-b`` for each pair of
species. MLIP reads the keywords in one order; the order of those that are there changes nothing else.
"""

import re
from itertools import product
from typing import NamedTuple

import numpy as np

from mlfeat.io._text import format_number, read_lines

VERSION = "1.1.0"
RADIAL_BASIS = "RBChebyshev"
# motep's files have their own words for what is between the neighbors' distances.
_SYNONYMS = {"min": "min_dist", "max": "max_dist", "size": "radial_basis_size"}
_KEYWORDS = (
    "potential_name",
    "scaling",
    "species_count",
    "potential_tag",
    "radial_basis_type",
    "min_dist",
    "max_dist",
    "radial_basis_size",
    "radial_funcs_count",
    "radial_coeffs",
    "alpha_moments_count",
    "alpha_index_basic_count",
    "alpha_index_basic",
    "alpha_index_times_count",
    "alpha_index_times",
    "alpha_scalar_moments",
    "alpha_moment_mapping",
    "species_coeffs",
    "moment_coeffs",
)
_COEFFICIENTS = ("radial_coeffs", "species_coeffs", "moment_coeffs")
_ACTIVE_SET = b"#MVS"  # MLIP 3 appends it, in binary: the environments that its active learning selected
_PAIR = re.compile(r"\d+-\d+", re.ASCII)
_BETWEEN_ROWS = re.compile(r"\} ?, ?\{")


class MomentTensorFile(NamedTuple):
    """What a ``.mtp`` file holds; the coefficients are None in a file that is to be trained."""

    n_species: int
    scaling: float
    min_dist: float  # Å
    max_dist: float  # Å, the cutoff
    n_polynomials: int
    moments: np.ndarray  # (n_basic, 4): μ and three exponents
    products: np.ndarray  # (n_products, 4): first, second, factor, result
    scalars: np.ndarray  # (n_features,)
    radial_coefficients: np.ndarray | None  # (n_species, n_species, n_radial, n_polynomials)
    species_coefficients: np.ndarray | None  # (n_species,), eV
    moment_coefficients: np.ndarray | None  # (n_features,), eV


def read_moments(path):
    """Read a ``.mtp`` file as :class:`MomentTensorFile`."""
    fields = _Fields(path)
    fields.check_words()
    n_species = fields.count("species_count", 1) if "species_count" in fields.found else 1
    low, high = fields.real("min_dist"), fields.real("max_dist")
    if not 0 <= low < high:
        line = fields.get("max_dist").line
        raise line.error(f"max_dist, {high}, should be more than min_dist, {low}, which should not be negative.")
    n_radial, n_polynomials = fields.count("radial_funcs_count", 1), fields.count("radial_basis_size", 1)
    moments, products, scalars = _read_basis(fields, n_radial)
    radial = _read_radial(fields, n_species, (n_radial, n_polynomials))
    given = [name for name in _COEFFICIENTS if name in fields.found and (name != "radial_coeffs" or radial is not None)]
    if given and len(given) < len(_COEFFICIENTS):
        missing = [name for name in _COEFFICIENTS if name not in given]
        raise ValueError(f"{path}: {' and '.join(given)} without {' and '.join(missing)}; the file is truncated.")
    return MomentTensorFile(
        n_species,
        fields.real("scaling") if "scaling" in fields.found else 1.0,
        low,
        high,
        n_polynomials,
        moments,
        products,
        scalars,
        radial,
        fields.reals("species_coeffs", n_species, "species_count") if given else None,
        fields.reals("moment_coeffs", len(scalars), "alpha_scalar_moments") if given else None,
    )


def format_moments(content):
    """Text of a ``.mtp`` file; the numbers are written so that they are read back exactly."""
    n_radial = content.radial_coefficients.shape[2]
    n_nodes = 1 + max(array.max() for array in (np.arange(len(content.moments)), content.products[:, 3:]) if array.size)
    lines = [
        "MTP",
        f"version = {VERSION}",
        "potential_name = MTP1m",  # MLIP takes the next word for the name, so there has to be one
        f"scaling = {format_number(content.scaling)}",
        f"species_count = {content.n_species}",
        "potential_tag =",
        f"radial_basis_type = {RADIAL_BASIS}",
        f"\tmin_dist = {format_number(content.min_dist)}",
        f"\tmax_dist = {format_number(content.max_dist)}",
        f"\tradial_basis_size = {content.n_polynomials}",
        f"\tradial_funcs_count = {n_radial}",
        "\tradial_coeffs",
    ]
    for a, b in product(range(content.n_species), repeat=2):
        lines.append(f"\t\t{a}-{b}")
        lines += [f"\t\t\t{_braces(map(format_number, row))}" for row in content.radial_coefficients[a, b]]
    lines += [
        f"alpha_moments_count = {n_nodes}",
        f"alpha_index_basic_count = {len(content.moments)}",
        f"alpha_index_basic = {_table(content.moments)}",
        f"alpha_index_times_count = {len(content.products)}",
        f"alpha_index_times = {_table(content.products)}",
        f"alpha_scalar_moments = {len(content.scalars)}",
        f"alpha_moment_mapping = {_braces(map(str, content.scalars.tolist()))}",
        f"species_coeffs = {_braces(map(format_number, content.species_coefficients))}",
        f"moment_coeffs = {_braces(map(format_number, content.moment_coefficients))}",
    ]
    return "\n".join(lines) + "\n"


def _braces(words):
    return "{" + ", ".join(words) + "}"


def _table(rows):
    return _braces(_braces(map(str, row)) for row in rows.tolist())


class _Field(NamedTuple):
    """The value of a keyword, with blanks of one space, and its line."""

    line: tuple
    text: str


class _Fields:
    """Keywords of a file with their values, and the lines of its radial coefficients."""

    def __init__(self, path):
        self.path = path
        self.found = {}
        self.radial_lines = []
        lines = read_lines(path, until=_ACTIVE_SET)
        self._check_head(lines)
        last = None
        for line in lines:
            text = " ".join(line.words)
            keyword, equals, value = (part.strip() for part in text.partition("="))
            if last == "radial_coeffs" and not equals and text not in _KEYWORDS and text[0] in "{0123456789":
                self.radial_lines.append(_Field(line, text))
            else:
                last = self._add(line, keyword, equals, value)

    def _check_head(self, lines):
        """Raise ValueError unless the first two lines are those of a file of the version that is known."""
        head = [next(lines, None), next(lines, None)]
        if head[0] is None or head[0].words != ["MTP"]:
            raise ValueError(f"{self.path}: this is no .mtp file: its first line should be 'MTP'.")
        if head[1] is None or head[1].words != ["version", "=", VERSION]:
            found = "nothing" if head[1] is None else repr(" ".join(head[1].words))
            raise ValueError(
                f"{self.path}: the second line should be 'version = {VERSION}', not {found}; other versions of the "
                "format are not supported."
            )

    def _add(self, line, keyword, equals, value):
        keyword = _SYNONYMS.get(keyword, keyword)
        if keyword not in _KEYWORDS:
            raise line.error(f"unknown keyword {keyword[:40]!r}: it may change the results, so it is refused.")
        if keyword in self.found:
            raise line.error(f"keyword {keyword} occurs twice.")
        if bool(equals) == (keyword == "radial_coeffs"):
            raise line.error(f"expected {keyword!r} alone." if equals else f"expected '{keyword} = ' and its value.")
        self.found[keyword] = _Field(line, value)
        return keyword

    def get(self, keyword):
        if keyword not in self.found:
            raise ValueError(f"{self.path}: {keyword} is missing; the file is truncated, or no potential.")
        return self.found[keyword]

    def check_words(self):
        """Raise ValueError if the radial functions are other ones."""
        line, text = self.get("radial_basis_type")
        if text != RADIAL_BASIS:
            raise line.error(f"radial_basis_type {text}: only {RADIAL_BASIS} is supported.")

    def count(self, keyword, least):
        line, text = self.get(keyword)
        line.check_ended()
        count = line.integer(text, keyword)
        if count < least:
            raise line.error(f"{keyword} should be at least {least}, not {count}.")
        return count

    def real(self, keyword):
        line, text = self.get(keyword)
        line.check_ended()
        return line.real(text, keyword)

    def reals(self, keyword, n, counted_by):
        line, words = self._words(keyword, n, counted_by)
        return np.array([line.real(word, f"a number of {keyword}") for word in words])

    def indices(self, keyword, n, counted_by):
        line, words = self._words(keyword, n, counted_by)
        return np.array([line.integer(word, f"a number of {keyword}") for word in words], dtype=int)

    def rows(self, keyword, n, counted_by):
        """A table of rows of four integers."""
        line, text = self.get(keyword)
        content = _within_braces(line, text, keyword)
        rows = _BETWEEN_ROWS.split(_within_braces(line, content, keyword)) if content else []
        _check_number(line, len(rows), n, keyword, counted_by)
        table = np.empty((n, 4), dtype=int)
        for k, row in enumerate(rows):
            words = row.split(",")
            if len(words) != 4:
                raise line.error(f"row {k} of {keyword} should be four integers, not {row.strip()[:40]!r}.")
            table[k] = [line.integer(word.strip(), f"a number in row {k} of {keyword}") for word in words]
        return table

    def _words(self, keyword, n, counted_by):
        line, text = self.get(keyword)
        words = _split(_within_braces(line, text, keyword))
        _check_number(line, len(words), n, keyword, counted_by)
        return line, words


def _within_braces(line, text, what):
    if len(text) < 2 or text[0] != "{" or text[-1] != "}":
        raise line.error(f"{what} should be in braces; the line is cut or damaged.")
    return text[1:-1].strip()


def _split(text):
    return [word.strip() for word in text.split(",")] if text else []


def _check_number(line, found, expected, what, counted_by):
    if found != expected:
        raise line.error(f"{what} has {found} entries, but {counted_by} says {expected}; the file is damaged.")


def _read_basis(fields, n_radial):
    """The three tables; no index is beyond what the file has room for."""
    moments = fields.rows(
        "alpha_index_basic", fields.count("alpha_index_basic_count", 1), "alpha_index_basic_count"
    )
    products = fields.rows(
        "alpha_index_times", fields.count("alpha_index_times_count", 0), "alpha_index_times_count"
    )
    scalars = fields.indices("alpha_moment_mapping", fields.count("alpha_scalar_moments", 1), "alpha_scalar_moments")
    _check_moments(fields.get("alpha_index_basic").line, moments, n_radial)
    n_nodes = fields.count("alpha_moments_count", 1)
    used = max(len(moments), 1 + products[:, 3].max(initial=-1))
    if not used <= n_nodes <= len(moments) + len(products):
        raise fields.get("alpha_moments_count").line.error(
            f"alpha_moments_count is {n_nodes}, but the tables make {used} moments; the file is damaged."
        )
    for name, indices in (("alpha_index_times", products[:, [0, 1, 3]]), ("alpha_moment_mapping", scalars)):
        if indices.min(initial=0) < 0 or indices.max(initial=0) >= n_nodes:
            raise fields.get(name).line.error(f"a moment of {name} is none of the {n_nodes} of alpha_moments_count.")
    return moments, products, scalars


def _check_moments(line, moments, n_radial):
    if moments.min() < 0:
        raise line.error("alpha_index_basic has a negative number.")
    if moments[:, 0].max() != n_radial - 1 or n_radial > len(moments):
        raise line.error(
            f"the radial functions of alpha_index_basic should be 0 to {n_radial - 1}, as radial_funcs_count says."
        )
    rank = int(moments[:, 1:].sum(axis=1).max())
    n_components = (rank + 1) * (rank + 2) // 2
    if n_components > len(moments):
        raise line.error(
            f"alpha_index_basic has {len(moments)} moments, fewer than the {n_components} components of a tensor of "
            f"rank {rank}, of which one is there."
        )


def _read_radial(fields, n_species, shape):
    """Radial coefficients, or None if there are none."""
    if not fields.radial_lines:
        return None
    numbers = iter(fields.radial_lines)
    table = []
    for a, b in ((a, b) for a in range(n_species) for b in range(n_species)):  # product() would list them first
        _check_pair(fields, next(numbers, None), f"{a}-{b}", n_species)
        for k in range(shape[0]):
            table.append(_radial_row(fields, next(numbers, None), f"{a}-{b}", k, shape))
    extra = next(numbers, None)
    if extra is not None:
        raise extra.line.error(
            f"more radial coefficients than those of species_count = {n_species} and radial_funcs_count = {shape[0]}."
        )
    return np.array(table).reshape(n_species, n_species, *shape)


def _check_pair(fields, field, pair, n_species):
    line, text = field or (fields.get("radial_coeffs").line, "the end of the table")
    if text != pair:
        raise line.error(
            f"expected the radial coefficients of the pair {pair}, not {text[:40]!r}: those of species 0 to "
            f"{n_species - 1} (species_count) should follow in this order."
        )


def _radial_row(fields, field, pair, k, shape):
    what = f"row {k} of the radial coefficients of {pair}"
    if field is None or _PAIR.fullmatch(field.text):
        line = fields.get("radial_coeffs").line if field is None else field.line
        raise line.error(f"{what} is missing; radial_funcs_count says {shape[0]} rows.")
    words = _split(_within_braces(field.line, field.text, what))
    _check_number(field.line, len(words), shape[1], what, "radial_basis_size")
    return [field.line.real(word, f"a number in {what}") for word in words]
