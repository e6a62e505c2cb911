"""The lines of a LAMMPS script that choose a SNAP potential, alone or on top of ZBL."""

from itertools import combinations_with_replacement
from pathlib import Path

from ase.data import atomic_numbers

from mlfeat.potentials import ZBL

__all__ = ["format_pair_commands", "read_baseline"]


def format_pair_commands(coeff, param, species, baseline=None):
    """Lines for a script: ``pair_style`` and ``pair_coeff``, with atom types in the order of the species.

    Raises
    ------
    ValueError
        If LAMMPS has no pair style for the baseline.
    """
    files = f"{_quoted(coeff)} {_quoted(param)} {' '.join(species)}"
    if baseline is None:
        return ["pair_style snap", f"pair_coeff * * {files}"]
    _check_baseline(baseline)
    charges = [_charge(baseline, symbol) for symbol in species]
    pairs = combinations_with_replacement(range(len(species)), 2)
    return [
        f"pair_style hybrid/overlay zbl {float(baseline.inner)!r} {float(baseline.outer)!r} snap",
        # Every pair has its line: a hybrid style does not mix.
        *(f"pair_coeff {i + 1} {j + 1} zbl {charges[i]!r} {charges[j]!r}" for i, j in pairs),
        f"pair_coeff * * snap {files}",
    ]


def read_baseline(path):
    """The ZBL repulsion in a script, or None if it has ``pair_style snap`` alone.

    Reads ``pair_style`` and ``pair_coeff`` with numbers in them, as `format_pair_commands` writes them.

    Raises
    ------
    ValueError
        If the script says anything else.
    """
    commands = list(_commands(path))
    styles = [words for name, *words in commands if name == "pair_style"]
    if styles == [["snap"]]:
        return None
    if len(styles) != 1 or styles[0][:1] != ["hybrid/overlay"]:
        raise ValueError(f"{path}: expected one pair_style, snap or hybrid/overlay of zbl and snap.")
    inner, outer = _distances(path, styles[0][1:])
    pairs, elements = {}, None
    for name, *words in commands:
        if name == "pair_coeff" and words[2:3] == ["zbl"] and len(words) == 5:
            pairs[words[0], words[1]] = words[3], words[4]
        elif name == "pair_coeff" and words[:3] == ["*", "*", "snap"] and len(words) > 5:
            elements = words[5:]
        elif name != "pair_style":
            raise ValueError(f"{path}: cannot interpret: {' '.join([name, *words])}")
    charges = _charges(path, pairs, elements)
    special = {symbol: z for symbol, z in charges.items() if z != atomic_numbers.get(symbol)}
    return ZBL(inner, outer, charges=special or None)


def _check_baseline(baseline):
    if not isinstance(baseline, ZBL):
        raise ValueError(
            f"The model has a baseline, {type(baseline).__name__}, that cannot be written for LAMMPS; only ZBL can. "
            "Set potential.baseline to None to write the rest, and add LAMMPS' own form of the baseline to it."
        )
    if not baseline.inner > 0:
        raise ValueError(f"ZBL(inner={baseline.inner!r}): LAMMPS needs a positive inner distance.")


def _charge(baseline, symbol):
    return float((baseline.charges or {}).get(symbol, atomic_numbers[symbol]))


def _quoted(path):
    path = str(path)
    if '"' in path or "\n" in path:
        raise ValueError(f"{path!r}: LAMMPS has no way to name this file.")
    return f'"{path}"' if set(path) & set(" \t#&$'") else path


def _commands(path):
    """Words of each command; comments dropped, continued lines joined."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    if "\0" in text:
        raise ValueError(f"{path}: this is not a text file.")
    lines = (line.partition("#")[0] for line in text.splitlines())
    for line in "\n".join(lines).replace("&\n", " ").splitlines():
        words = line.split()
        if "$" in line:
            raise ValueError(f"{path}: variables are not evaluated; write their values: {line.strip()}")
        if words and words[0] not in ("pair_style", "pair_coeff"):
            raise ValueError(f"{path}: only pair_style and pair_coeff are read, not {words[0]!r}.")
        if words:
            yield words


def _distances(path, words):
    """Inner and outer distance from the styles of hybrid/overlay."""
    if words[:1] == ["snap"]:
        words = words[1:] + words[:1]
    if len(words) != 4 or words[0] != "zbl" or words[3] != "snap":
        raise ValueError(f"{path}: hybrid/overlay of {' '.join(words)}: expected zbl, two distances, and snap.")
    return _number(path, words[1]), _number(path, words[2])


def _charges(path, pairs, elements):
    """Charges by symbol, from those of all pairs of atom types."""
    if not elements or len(set(elements)) < len(elements):
        raise ValueError(f"{path}: expected one 'pair_coeff * * snap' that names an element for each atom type.")
    types = [str(k + 1) for k in range(len(elements))]
    own = {k: _number(path, pairs.get((k, k), ("nothing", ""))[0]) for k in types}
    expected = {(i, j): (own[i], own[j]) for i, j in combinations_with_replacement(types, 2)}
    found = {key: tuple(_number(path, word) for word in words) for key, words in pairs.items()}
    if found != expected:
        raise ValueError(f"{path}: zbl needs the charges of {', '.join(elements)}, one line a pair of types.")
    return dict(zip(elements, own.values(), strict=True))


def _number(path, word):
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{path}: expected a number, not {word!r}.") from None
