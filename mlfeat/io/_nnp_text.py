"""The text of n2p2's ``scaling.data`` and ``weights.ZZZ.data``, as plain arrays."""

from itertools import pairwise

import numpy as np

from mlfeat.io._text import read_lines

SCALING_COLUMNS = "element function min max mean sigma"
WEIGHTS_COLUMNS = "connection, a (weight) or b (bias), number; layer and node: from, to (of a bias: its own)"


def read_scaling(path, counts):
    """Read statistics of the functions of each element.

    Parameters
    ----------
    path : path-like
    counts : sequence of int
        Numbers of functions, of the elements in ascending atomic number.

    Returns
    -------
    list of arrays (count, 4)
        Least, largest and mean value and standard deviation; the last is NaN where the file, of an old version, has
        none.
    list of lists of Line
        Where each is.
    """
    lines = list(read_lines(path))
    expected = [(s, k) for s, count in enumerate(counts, 1) for k in range(1, count + 1)]
    rows = []
    for line, place in zip(lines, expected, strict=False):
        line.check_ended()
        rows.append(_scaling_row(line, place))
    extra = lines[len(expected) :]
    if len(rows) < len(expected):
        raise ValueError(
            f"{path}: {len(rows)} functions, but input.nn has {len(expected)}; the file is truncated, or belongs to "
            "another potential."
        )
    # RuNNer appends the least and the largest energy, a line of two numbers.
    if len(extra) > 1 or (extra and len(extra[0].words) != 2):
        raise extra[0].error(
            f"more functions than the {len(expected)} of input.nn; the file belongs to another potential."
        )
    ends = np.cumsum([0, *counts])
    return [np.array(rows[a:b]) for a, b in pairwise(ends)], [lines[a:b] for a, b in pairwise(ends)]


def _scaling_row(line, place):
    if len(line.words) not in (5, 6):
        raise line.error(f"expected {SCALING_COLUMNS}, six columns, not {len(line.words)}.")
    if tuple(line.integer(word, "an index") for word in line.words[:2]) != place:
        raise line.error(
            f"expected function {place[1]} of element {place[0]}, in ascending atomic number, not "
            f"{' '.join(line.words[:2])}; input.nn and this file do not belong together."
        )
    names = SCALING_COLUMNS.split()[2:]
    numbers = [line.real(word, name) for name, word in zip(names, line.words[2:], strict=False)]
    if numbers[0] > numbers[1]:
        raise line.error(f"the least value, {numbers[0]}, is more than the largest, {numbers[1]}.")
    return numbers if len(numbers) == 4 else [*numbers, np.nan]


def read_weights(path, sizes):
    """Read the weights and biases of a network.

    Each line holds one, alone or with its place. They come layer by layer: first weights, those that leave one node
    after those that leave the one before, then biases.

    Parameters
    ----------
    path : path-like
    sizes : list of tuple of int
        Numbers of inputs and of nodes in the hidden layers that the network may have.

    Returns
    -------
    weights : list of arrays (n_to, n_from)
        Of each layer.
    biases : list of arrays (n_to,)
    """
    lines = list(read_lines(path))
    fitting = [(*own, 1) for own in sizes if _n_connections((*own, 1)) == len(lines)]
    if not fitting:
        own = (*sizes[0], 1)
        raise ValueError(
            f"{path}: {len(lines)} weights and biases, but the network of input.nn, with {'-'.join(map(str, own))} "
            f"nodes, has {_n_connections(own)}; the file is truncated, or belongs to another potential."
        )
    own = fitting[0]
    values = []
    for line, place in zip(lines, _places(own), strict=True):
        line.check_ended()
        if line.words[1:] and line.words[1:] != place:
            raise line.error(f"expected '{' '.join(place)}' behind the number, not {' '.join(line.words[1:])!r}.")
        values.append(line.real(line.words[0], "a weight or bias"))
    return _unpack(np.array(values), own)


def format_scaling(statistics, comments=()):
    """Text of ``scaling.data`` for statistics as `read_scaling` gives them."""
    lines = [*(f"# {comment}" for comment in comments), f"# {SCALING_COLUMNS}"]
    for s, rows in enumerate(statistics, 1):
        lines += [f"{s:4d} {k:4d} " + " ".join(map(_format, row)) for k, row in enumerate(rows, 1)]
    return "\n".join(lines) + "\n"


def format_weights(weights, biases, comments=()):
    """Text of ``weights.ZZZ.data``."""
    sizes = [w.shape[1] for w in weights] + [1]
    values = np.concatenate([part.ravel() for w, b in zip(weights, biases, strict=True) for part in (w.T, b)])
    lines = [*(f"# {comment}" for comment in comments), f"# {WEIGHTS_COLUMNS}"]
    for value, (kind, number, *place) in zip(values, _places(sizes), strict=True):
        lines.append(" ".join([_format(value), kind, f"{number:>9}", *(f"{index:>5}" for index in place)]))
    return "\n".join(lines) + "\n"


def _format(value):
    return f"{value:24.16E}"


def _n_connections(sizes):
    return sum((a + 1) * b for a, b in pairwise(sizes))


def _places(sizes):
    """What stands behind each number: kind, number, and the layers and nodes that it connects."""
    number = 0
    for level, (n_from, n_to) in enumerate(pairwise(sizes)):
        for j in range(n_from):
            for k in range(n_to):
                number += 1
                yield ["a", *map(str, (number, level, j + 1, level + 1, k + 1))]
        for k in range(n_to):
            number += 1
            yield ["b", *map(str, (number, level + 1, k + 1))]


def _unpack(values, sizes):
    weights, biases, start = [], [], 0
    for n_from, n_to in pairwise(sizes):
        middle = start + n_from * n_to
        weights.append(values[start:middle].reshape(n_from, n_to).T)
        biases.append(values[middle : middle + n_to])
        start = middle + n_to
    return weights, biases
