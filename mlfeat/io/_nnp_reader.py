"""The reader of n2p2's settings file, ``input.nn``.

All that bears on energies is read, all that bears on training alone is accepted; other keywords are refused, since they
might change the results.
"""

from collections import defaultdict

from ase.data import atomic_numbers

from mlfeat.descriptors._acsf_functions import RADIAL, SymmetryFunction
from mlfeat.io._nnp_keywords import (
    ACTIVATIONS,
    FLAGS,
    INTEGERS,
    KALMAN_TYPES,
    KINDS,
    MANY,
    N_CUTOFF_TYPES,
    OTHER_KINDS,
    READ,
    REFUSED,
    SCALINGS,
    SOLVERS,
    SYNONYMS,
    TRAINING,
    WITHOUT_EFFECT,
)
from mlfeat.io._nnp_settings import Settings
from mlfeat.io._text import read_lines


def read_settings(path):
    """Read ``input.nn`` as Settings."""
    return _Reader(path).settings()


class _Reader:
    """The lines of the file by keyword, and what they say."""

    def __init__(self, path):
        self.path = path
        self.lines = defaultdict(list)
        for line in read_lines(path, comments="#!"):
            line.check_ended()
            keyword = self._known(line)
            if keyword in self.lines and keyword not in MANY:
                raise line.error(f"{line.words[0]} is there already, in line {self.lines[keyword][0].number}.")
            self.lines[keyword].append(line)

    @staticmethod
    def _known(line):
        word = line.words[0]
        keyword = SYNONYMS.get(word, word)
        if keyword in REFUSED:
            raise line.error(f"{word} {REFUSED[keyword]}.")
        if not (keyword in READ or keyword in FLAGS or keyword in TRAINING or keyword in WITHOUT_EFFECT):
            raise line.error(
                f"unknown keyword {word!r}: it may change the results, so it is refused. If it does not, remove it."
            )
        if keyword in FLAGS and len(line.words) > 1:
            raise line.error(f"{word} takes no value.")
        return keyword

    def settings(self):
        """Everything, checked."""
        self._check_type()
        elements = self._elements()
        cutoff_type, alpha = self._cutoff()
        nodes, activations, last_nodes = self._layers(elements)
        mean_energy, conv_energy = self._normalization()
        return Settings(
            elements,
            self._atom_energies(elements),
            cutoff_type,
            alpha,
            self._functions(elements),
            self._scaling(),
            self._scaled_range(),
            nodes,
            activations,
            "normalize_nodes" in self.lines,
            mean_energy,
            conv_energy,
            self._training(),
            last_nodes,
        )

    def _values(self, keyword, count=None):
        """The line of a keyword that has to be there, and its values."""
        if keyword not in self.lines:
            raise ValueError(f"{self.path}: {keyword} is missing; the file is truncated, or not of n2p2.")
        return self._values_of(self.lines[keyword][0], count)

    @staticmethod
    def _values_of(line, count=None):
        keyword, *values = line.words
        if not values or (count is not None and len(values) != count):
            raise line.error(f"{keyword} takes {count or 'some'} value(s), not {len(values)}.")
        return line, values

    def _number(self, keyword, default):
        if keyword not in self.lines:
            return default
        line, (value,) = self._values(keyword, 1)
        return line.real(value, keyword)

    def _check_type(self):
        if "nnp_type" in self.lines:
            line, (value,) = self._values("nnp_type", 1)
            if value not in ("2G-HDNNP", "2"):
                raise line.error(f"{line.words[0]} {value}: only 2G-HDNNP, without charges, can be read.")

    def _elements(self):
        line, symbols = self._values("elements")
        for symbol in symbols:
            if atomic_numbers.get(symbol, 0) < 1:
                raise line.error(f"{symbol!r} is not the symbol of an element.")
            if symbols.count(symbol) > 1:
                raise line.error(f"element {symbol} is there twice.")
        count, (value,) = self._values("number_of_elements", 1)
        if count.integer(value, "number_of_elements") != len(symbols):
            raise count.error(f"number_of_elements is {value}, but elements names {len(symbols)}: {' '.join(symbols)}.")
        return tuple(symbols)

    def _by_element(self, keyword, elements, count=None):
        """Lines and values of a keyword that may be there once for each element, by symbol."""
        found = {}
        for line in self.lines.get(keyword, ()):
            _, (symbol, *values) = self._values_of(line, count)
            self._check_element(line, symbol, elements)
            if symbol in found:
                raise line.error(f"{keyword} of {symbol} is there already, in line {found[symbol][0].number}.")
            if not values:
                raise line.error(f"{keyword} of {symbol} has no value.")
            found[symbol] = line, values
        return found

    @staticmethod
    def _check_element(line, symbol, elements):
        if symbol not in elements:
            raise line.error(f"{symbol!r} is not among the elements, {' '.join(elements)}.")

    def _atom_energies(self, elements):
        given = self._by_element("atom_energy", elements, 2)
        return dict.fromkeys(elements, 0.0) | {
            symbol: line.real(values[0], f"atom_energy of {symbol}") for symbol, (line, values) in given.items()
        }

    def _cutoff(self):
        line, values = self._values("cutoff_type")
        if len(values) > 2:
            raise line.error(f"cutoff_type takes one value or two, not {len(values)}.")
        number = line.integer(values[0], "cutoff_type")
        alpha = line.real(values[1], "the inner cutoff of cutoff_type") if len(values) > 1 else 0.0
        if not 0 <= number < N_CUTOFF_TYPES:
            raise line.error(f"cutoff_type {number}: should be from 0 to {N_CUTOFF_TYPES - 1}.")
        if not 0 <= alpha < 1:
            raise line.error(f"the inner cutoff of cutoff_type should be from 0 to less than 1, not {alpha}.")
        return number, alpha

    def _functions(self, elements):
        found, places = {symbol: [] for symbol in elements}, {}
        for line in self.lines.get("symfunction_short", ()):
            center, function = self._function(line, elements)
            key = center, str(function)  # text: nan is not equal to itself
            if key in places:
                raise line.error(f"the same function as in line {places[key]}; remove one.")
            places[key] = line.number
            found[center].append(function)
        for symbol, functions in found.items():
            if not functions:
                raise ValueError(
                    f"{self.path}: no symfunction_short for {symbol}; the file is truncated, or add its functions."
                )
        return {symbol: tuple(functions) for symbol, functions in found.items()}

    def _function(self, line, elements):
        _, values = self._values_of(line)
        kind = line.integer(values[1], "the type of symmetry function") if len(values) > 1 else None
        if kind not in KINDS:
            name = f" ({OTHER_KINDS[kind]})" if kind in OTHER_KINDS else ""
            known = ", ".join(f"{number} ({name})" for number, name in KINDS.items())
            raise line.error(f"symmetry functions of type {kind}{name} cannot be read; only {known} can.")
        n_neighbors = 1 if kind == RADIAL else 2
        names = ("eta", "r_s", "cutoff") if kind == RADIAL else ("eta", "lambda_", "zeta", "cutoff", "r_s")
        center, _, *rest = values
        neighbors, numbers = rest[:n_neighbors], rest[n_neighbors:]
        optional = kind != RADIAL
        if not len(names) - optional <= len(numbers) <= len(names):
            raise line.error(
                f"a function of type {kind} takes {n_neighbors} neighbor(s) and {len(names)} numbers"
                f"{', the last one optional' * optional}; there are {len(rest)} values."
            )
        for symbol in (center, *neighbors):
            self._check_element(line, symbol, elements)
        fields = {"r_s": 0.0, "zeta": float("nan"), "lambda_": float("nan")}
        fields |= {name: line.real(word, name.strip("_")) for name, word in zip(names, numbers, strict=False)}
        function = SymmetryFunction(kind, tuple(sorted(neighbors, key=elements.index)), **fields)
        self._check_function(line, function)
        return center, function

    @staticmethod
    def _check_function(line, function):
        limits = {
            "eta": (function.eta >= 0, "zero or positive"),
            "r_s": (function.r_s >= 0, "zero or positive"),
            "cutoff": (function.cutoff > 0, "positive"),
        }
        if function.kind != RADIAL:
            limits["zeta"] = function.zeta >= 1, "at least 1"
            limits["lambda_"] = -1 <= function.lambda_ <= 1, "from -1 to 1"
        for field, (valid, expected) in limits.items():
            if not valid:
                raise line.error(f"{field.strip('_')} should be {expected}, not {getattr(function, field):g}.")

    def _scaling(self):
        flags = [keyword for keyword in sorted(FLAGS - {"normalize_nodes"}) if keyword in self.lines]
        if frozenset(flags) not in SCALINGS:
            raise self.lines[flags[-1]][0].error(f"{' and '.join(flags)} exclude each other; remove all but one.")
        return SCALINGS[frozenset(flags)]

    def _scaled_range(self):
        low, high = self._number("scale_min_short", 0.0), self._number("scale_max_short", 1.0)
        if not low < high:
            line = (self.lines.get("scale_max_short") or self.lines["scale_min_short"])[0]
            raise line.error(f"scale_max_short, {high:g}, should be more than scale_min_short, {low:g}.")
        return low, high

    def _layers(self, elements):
        """Nodes and activations of the hidden layers, by symbol."""
        count, nodes, letters = self._global_layers()
        own_count = self._by_element("element_hidden_layers_short", elements, 2)
        own_nodes = self._by_element("element_nodes_short", elements)
        own_letters = self._by_element("element_activation_short", elements)
        all_nodes, activations = {}, {}
        for symbol in elements:
            n = count
            if symbol in own_count:
                line, (value,) = own_count[symbol]
                n = line.integer(value, line.words[0])
            given = own_nodes.get(symbol, nodes if n == count else None)
            all_nodes[symbol] = self._nodes(symbol, given, n)
            given = own_letters.get(symbol, letters if n == count else None)
            activations[symbol] = self._activations(symbol, given, n)
        return all_nodes, activations, int(nodes[1][-1]) if count and nodes else 0

    def _global_layers(self):
        """Number of hidden layers, then the lines and values of their nodes and activations, None where missing."""
        if "global_hidden_layers_short" not in self.lines:
            return None, None, None
        line, (value,) = self._values("global_hidden_layers_short", 1)
        count = line.integer(value, "global_hidden_layers_short")
        nodes = self._values("global_nodes_short") if "global_nodes_short" in self.lines else None
        letters = self._values("global_activation_short") if "global_activation_short" in self.lines else None
        self._nodes("all", nodes, count) if nodes else None
        self._activations("all", letters, count) if letters else None
        return count, nodes, letters

    def _nodes(self, symbol, given, count):
        if given is None or count is None:
            raise ValueError(
                f"{self.path}: the hidden layers of {symbol} are not given; add global_hidden_layers_short and "
                "global_nodes_short. The file may be truncated."
            )
        line, values = given
        nodes = tuple(line.integer(value, line.words[0]) for value in values)
        if len(nodes) != count or count < 1 or min(nodes) < 1:
            raise line.error(f"{line.words[0]}: expected {count} positive integer(s), one for each hidden layer.")
        return nodes

    def _activations(self, symbol, given, count):
        if given is None:
            raise ValueError(
                f"{self.path}: the activation functions of {symbol} are not given; add global_activation_short. "
                "The file may be truncated."
            )
        line, values = given
        for value in values:
            if value not in ACTIVATIONS:
                raise line.error(f"unknown activation function {value!r}; known ones are {' '.join(ACTIVATIONS)}.")
        if len(values) != count + 1:
            raise line.error(
                f"{line.words[0]}: expected {count + 1} letters, for {count} hidden layer(s) and the output."
            )
        if values[-1] != "l":
            raise line.error(f"the output has the activation function {values[-1]!r}; only l (linear) can be read.")
        return tuple(ACTIVATIONS[value] for value in values[:-1])

    def _normalization(self):
        """Mean energy per atom and energy unit of the networks, as n2p2's normalization of data sets has them."""
        keywords = ("mean_energy", "conv_energy", "conv_length")
        given = [keyword for keyword in keywords if keyword in self.lines]
        if not given:
            return 0.0, 1.0
        if len(given) < len(keywords):
            line = self.lines[given[0]][0]
            raise line.error(f"{' and '.join(given)} without the rest of {', '.join(keywords)}: give all or none.")
        for keyword in keywords[1:]:
            line, (value,) = self._values(keyword, 1)
            if not line.real(value, keyword) > 0:
                raise line.error(f"{keyword} should be positive, not {value}.")
        return self._number("mean_energy", 0.0), self._number("conv_energy", 1.0)

    def _training(self):
        """Names and values of parameters of NeuralNetworkPotential, for another fit."""
        found = {}
        for keyword, parameter in TRAINING.items():
            if keyword in self.lines:
                line, (value,) = self._values(keyword, 1)
                read = line.integer if keyword in INTEGERS else line.real
                found[parameter] = read(value, keyword)
        for keyword, parameter, table in (
            ("kalman_type", "kalman_type", KALMAN_TYPES),
            ("updater_type", "solver", SOLVERS),
        ):
            if keyword in self.lines:
                line, (value,) = self._values(keyword, 1)
                if value not in table:
                    raise line.error(f"{keyword} should be one of {', '.join(table)}, not {value!r}.")
                found[parameter] = table[value]
        if "updater_type" in self.lines and "use_short_forces" not in self.lines:
            found["force_weight"] = 0.0
        return tuple(found.items())
