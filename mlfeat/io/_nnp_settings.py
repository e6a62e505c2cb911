"""What n2p2's settings file, ``input.nn``, says of a potential, as plain data, and the text that says it.

A keyword and its values stand on each line, in any order.
"""

from collections import Counter
from typing import NamedTuple

from ase.data import atomic_numbers

from mlfeat.descriptors._acsf_functions import RADIAL
from mlfeat.io._nnp_keywords import ACTIVATIONS, SCALINGS
from mlfeat.io._text import format_number


class Settings(NamedTuple):
    """What ``input.nn`` says of a potential. Lengths and energies are in its units, which it does not name."""

    elements: tuple  # symbols
    atom_energies: dict  # by symbol
    cutoff_type: int
    alpha: float
    functions: dict  # by symbol: tuple of SymmetryFunction in these units
    scaling: tuple  # `center` and `scale` of FeatureScaler
    scaled_range: tuple
    nodes: dict  # by symbol: numbers of nodes in the hidden layers
    activations: dict  # by symbol: their names
    normalize_nodes: bool = False
    mean_energy: float = 0.0
    conv_energy: float = 1.0
    training: tuple = ()  # names and values of parameters of NeuralNetworkPotential
    last_nodes: int = 0  # what global_nodes_short has for the last hidden layer, if anything


def by_atomic_number(symbols):
    """Places of symbols in ascending atomic number, the order of elements in ``scaling.data``."""
    return sorted(range(len(symbols)), key=lambda k: atomic_numbers[symbols[k]])


def in_file_order(functions):
    """Order of the functions of a center in ``scaling.data`` and as inputs of the network.

    They are sorted by kind, cutoff, η, r_s, ζ, λ, then the atomic numbers of the neighbors.

    Parameters
    ----------
    functions : sequence of SymmetryFunction

    Returns
    -------
    list of int
        The place, among those given, of each function of the file.
    """

    def key(k):
        f = functions[k]
        angle = () if f.kind == RADIAL else (f.zeta, f.lambda_)
        return f.kind, f.cutoff, f.eta, f.r_s, angle, sorted(atomic_numbers[symbol] for symbol in f.neighbors)

    return sorted(range(len(functions)), key=key)


def format_settings(settings, comments=()):
    """Text of ``input.nn``.

    What n2p2 has no defaults for comes last, so that no file that was cut is taken for a whole one.
    """
    elements = [settings.elements[k] for k in by_atomic_number(settings.elements)]
    nodes = {symbol: " ".join(map(str, settings.nodes[symbol])) for symbol in elements}
    letters = {name: letter for letter, name in ACTIVATIONS.items()}
    activations = {
        symbol: " ".join([*(letters[name] for name in settings.activations[symbol]), "l"]) for symbol in elements
    }
    lines = [*(f"# {comment}" for comment in comments), ""]
    lines += [f"atom_energy {symbol} {format_number(settings.atom_energies[symbol])}" for symbol in elements]
    lines += sorted(next(flags for flags, scaling in SCALINGS.items() if scaling == settings.scaling))
    if settings.scaling[1] is not None:
        lines += [f"scale_min_short {format_number(settings.scaled_range[0])}"]
        lines += [f"scale_max_short {format_number(settings.scaled_range[1])}"]
    lines += [f"cutoff_type {settings.cutoff_type} {format_number(settings.alpha)}"]
    for symbol in elements:
        lines += [_format_function(symbol, function) for function in settings.functions[symbol]]
    lines += _by_element("element_nodes_short", nodes)
    lines += _by_element("element_activation_short", activations)
    lines += [
        f"global_hidden_layers_short {len(settings.nodes[elements[0]])}",
        f"global_nodes_short {most_common(nodes.values())[0]}",
        f"global_activation_short {most_common(activations.values())[0]}",
        f"number_of_elements {len(elements)}",
        f"elements {' '.join(settings.elements)}",
    ]
    return "\n".join(lines) + "\n"


def _by_element(keyword, values):
    """Lines for the elements whose value is not the most common one."""
    common, _ = most_common(values.values())
    return [f"{keyword} {symbol} {value}" for symbol, value in values.items() if value != common]


def most_common(values):
    """The value that is there most often, the first of several, and how often it is."""
    return Counter(values).most_common(1)[0]


def _format_function(center, function):
    if function.kind == RADIAL:
        numbers = function.eta, function.r_s, function.cutoff
    else:
        numbers = function.eta, function.lambda_, function.zeta, function.cutoff, function.r_s
    return " ".join(
        ["symfunction_short", center, str(function.kind), *function.neighbors, *map(format_number, numbers)]
    )
