"""Lines of the small text files in which other programs keep their models.

The readers accept what the programs accept, and refuse what these would misread in silence: a number that may have been
cut, bytes that are no text.
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

# What C's strtod and these programs read alike; Python's float() also takes nan, inf and 1_000.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_LARGEST = 2**31 - 1  # integer of these programs
_NOT_TEXT = re.compile(rb"[^\t\n\f\r\x20-\xff]|\x7f")


class Line(NamedTuple):
    """A line that holds something: its place, its words, and whether it is whole."""

    path: Path
    number: int
    words: list
    ended: bool

    def error(self, message):
        """A ValueError that says where."""
        return ValueError(f"{self.path}, line {self.number}: {message}")

    def real(self, word, what):
        """The number in a word."""
        value = float(word) if _NUMBER.fullmatch(word) else math.nan
        if not math.isfinite(value):
            raise self.error(f"{what} should be a finite number, not {word!r}.")
        return value

    def integer(self, word, what):
        """The integer in a word."""
        if not _INTEGER.fullmatch(word):
            raise self.error(f"{what} should be an integer, not {word!r}.")
        if len(word) > 1 + len(str(_LARGEST)) or abs(int(word)) > _LARGEST:
            raise self.error(f"{what} should be an integer of at most {_LARGEST}, not {word!r}.")
        return int(word)

    def check_ended(self):
        """Raise ValueError if the file ends within this line."""
        if not self.ended:
            raise self.error(
                f"the file ends within this line, so {self.words[-1]!r} may be a part of a number. "
                "If the file is complete, end its last line with a newline."
            )


def read_lines(path, comments="#", blanks="", until=None):
    """Yield each Line that holds more than blanks and comments.

    Parameters
    ----------
    path : path-like
    comments : str
        Each of these characters begins a comment.
    blanks : str
        These characters are read as blanks.
    until : bytes, default=None
        A line that begins so ends what is read; anything may follow.

    Raises
    ------
    ValueError
        If the file is no text, or has characters other than ASCII outside comments.
    """
    path = Path(path)
    blob = path.read_bytes()
    if until is not None:
        blob = blob.partition(b"\n" + until)[0]
    strange = _NOT_TEXT.search(blob)
    if strange:
        number = blob.count(b"\n", 0, strange.start()) + 1
        raise ValueError(f"{path}, line {number}: byte {strange.group()[0]:#04x}: this is not a text file.")
    table = bytes.maketrans(blanks.encode(), b" " * len(blanks))
    comment = re.compile(f"[{comments}]".encode())
    # Comments name authors in whatever encoding; all that is read of a file is ASCII.
    texts = blob.split(b"\n")
    for number, text in enumerate(texts, start=1):
        content, *rest = comment.split(text, maxsplit=1)
        words = content.translate(table).decode("latin-1").split()
        if words:
            line = Line(path, number, words, bool(rest) or number < len(texts))
            if not content.isascii():
                raise line.error("characters other than ASCII outside a comment.")
            yield line


def format_number(value):
    """The shortest text that is read back as the same number."""
    return repr(float(value))
