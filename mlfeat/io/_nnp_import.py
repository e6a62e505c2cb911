"""A fitted model of what n2p2's files say."""

import errno

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from mlfeat.descriptors import ACSF
from mlfeat.descriptors._acsf import CUTOFF_FUNCTIONS
from mlfeat.descriptors._acsf_functions import NARROW, RADIAL, WIDE
from mlfeat.io._nnp_networks import with_columns
from mlfeat.io._nnp_settings import by_atomic_number
from mlfeat.io._nnp_text import read_scaling, read_weights
from mlfeat.potentials import NeuralNetworkPotential
from mlfeat.potentials._network import Network
from mlfeat.preprocessing import FeatureScaler


def make_descriptor(path, settings, length):
    cutoff = max(f.cutoff for functions in settings.functions.values() for f in functions)
    lists = {"radial": {}, "angular": {}, "wide": {}}
    for center, functions in settings.functions.items():
        for f in functions:
            table = lists[{RADIAL: "radial", NARROW: "angular", WIDE: "wide"}[f.kind]]
            table.setdefault((center, *f.neighbors), []).append(_parameters(f, cutoff, length))
    if len(settings.elements) == 1:
        lists = {name: next(iter(table.values()), []) for name, table in lists.items()}
    descriptor = ACSF(
        cutoff=cutoff * length,
        **lists,
        cutoff_function=CUTOFF_FUNCTIONS[settings.cutoff_type],
        inner_cutoff=settings.alpha,
        species=settings.elements,
    )
    try:
        # An atom alone: what there is to fit is in the parameters.
        return descriptor.fit([Atoms(settings.elements[:1])])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parameters(function, cutoff, length):
    """A function as ACSF is told of it, with the numbers that are not its defaults."""
    f = function
    own = (f.cutoff * length,) if f.cutoff != cutoff else ()
    if f.kind == RADIAL:
        return (f.eta / length**2, f.r_s * length, *own)
    shift = (f.r_s * length,) if f.r_s or own else ()
    return (f.eta / length**2, f.zeta, f.lambda_, *shift, *own)


def make_scaler(path, settings, orders):
    """The scaler with the statistics of each element's functions, in the descriptor's order; zeros behind them."""
    by_charge = by_atomic_number(settings.elements)
    statistics, lines = read_scaling(path, [len(orders[s]) for s in by_charge])
    table = np.zeros((4, len(orders), max(map(len, orders))))
    for s, rows in zip(by_charge, statistics, strict=True):
        # Half the range, where there is no standard deviation, is more than it could be: not zero, at least.
        rows[:, 3] = np.where(np.isnan(rows[:, 3]), 0.5 * (rows[:, 1] - rows[:, 0]), rows[:, 3])
        table[:, s, orders[s]] = rows.T
    center, scale = settings.scaling
    scaler = FeatureScaler(center, scale, feature_range=_feature_range(settings), by_species=len(orders) > 1)
    scaler.min_, scaler.max_, scaler.mean_, scaler.std_ = table
    scaler.species_ = settings.elements if len(orders) > 1 else None
    scaler.n_features_in_ = table.shape[2]
    _check_divisors(scaler, zip(by_charge, lines, strict=True), orders)
    return scaler


def _feature_range(settings):
    return (0.0, 1.0) if settings.scaling[1] is None else settings.scaled_range


def _check_divisors(scaler, lines, orders):
    """Raise ValueError where n2p2 divides by zero, or by something so small that it is the rounding of its numbers."""
    divisors = {"range": scaler.max_ - scaler.min_, "std": scaler.std_, None: np.ones_like(scaler.std_)}[scaler.scale]
    for s, own in lines:
        for k, line in zip(orders[s], own, strict=True):
            if scaler.scale == "std" and len(line.words) < 6:
                raise line.error("no sigma, by which scale_symmetry_functions_sigma divides; make the file anew.")
            if divisors[s, k] != scaler.scale_[s, k] or divisors[s, k] <= 0:
                raise line.error(
                    f"the function did not vary, so that it is divided by {divisors[s, k]:g}; remove it from input.nn "
                    "and train anew."
                )


def read_network(folder, settings, symbol, order):
    """The network of an element, its inputs in the descriptor's order."""
    path = folder / f"weights.{atomic_numbers[symbol]:03d}.data"
    if not path.is_file():
        others = ", ".join(sorted(other.name for other in folder.glob("weights.*.data"))) or "none"
        raise FileNotFoundError(
            errno.ENOENT,
            f"there is no such file, with the network of {symbol}; there are: {others}",
            str(path),
        )
    n_inputs, nodes = len(order), settings.nodes[symbol]
    sizes = [(n_inputs, *nodes)]
    if settings.last_nodes:
        sizes.append((n_inputs, *nodes[:-1], settings.last_nodes))
    weights, biases = read_weights(path, sizes)
    if settings.normalize_nodes:
        biases = [b / w.shape[1] for w, b in zip(weights, biases, strict=True)]
        weights = [w / w.shape[1] for w in weights]
    return with_columns(Network(weights, biases, settings.activations[symbol]), np.argsort(order))


def make_potential(settings, networks, scaler, energy):
    """The potential with the attributes that a fit would have given it."""
    nodes = {symbol: network.sizes[1:] for symbol, network in zip(settings.elements, networks, strict=True)}
    forms = set(nodes.values())
    names = settings.activations[settings.elements[0]]
    zeros = {symbol: energy * (settings.atom_energies[symbol] + settings.mean_energy) for symbol in settings.elements}
    potential = NeuralNetworkPotential(
        hidden_layer_sizes=forms.pop() if len(forms) == 1 else nodes,
        activation=names[0] if len(set(names)) == 1 else names,
        intercept=zeros,
        **dict(settings.training),
    )
    potential.layer_sizes_ = tuple(network.sizes for network in networks)
    potential.activations_ = tuple(network.activations for network in networks)
    potential.parameters_ = np.concatenate([network.parameters for network in networks])[None]
    potential.scale_ = energy / settings.conv_energy
    potential.intercept_ = np.array(list(zeros.values()))
    potential.species_ = settings.elements
    potential.n_features_in_ = max(network.sizes[0] for network in networks)
    potential.n_iter_, potential.history_ = 0, []
    species = np.arange(len(settings.elements))
    potential.input_min_ = scaler.apply(scaler.min_, species)
    potential.input_max_ = scaler.apply(scaler.max_, species)
    return potential
