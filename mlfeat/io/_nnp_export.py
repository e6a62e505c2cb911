"""What n2p2's files say of a fitted model."""

import math
from typing import NamedTuple

import numpy as np

from mlfeat.descriptors import ACSF
from mlfeat.descriptors._acsf import CUTOFF_FUNCTIONS
from mlfeat.io._nnp_keywords import ACTIVATIONS, SCALINGS
from mlfeat.io._nnp_networks import deepened, merged, widened, with_columns, with_inputs, with_output
from mlfeat.io._nnp_settings import Settings, in_file_order, most_common
from mlfeat.io._text import format_number
from mlfeat.potentials import NeuralNetworkPotential
from mlfeat.potentials._network import Network
from mlfeat.preprocessing import FeatureScaler, FeatureSelector


class Inputs(NamedTuple):
    """What the networks' inputs x are: of the features B of columns c, x = slope B_c + offset."""

    columns: np.ndarray  # (n_inputs,)
    statistics: np.ndarray  # (4, n_species, n_inputs): least, largest, mean, standard deviation of B_c
    constant: np.ndarray  # (n_species, n_inputs), whether they say that it does not vary
    slope: np.ndarray  # (n_species, n_inputs)
    offset: np.ndarray
    scaling: tuple  # `center` and `scale` of FeatureScaler
    scaled_range: tuple

    @property
    def has_keywords(self):
        """Whether n2p2 can be told of this scaling."""
        unused_range = self.scaling[1] is None and self.scaled_range != (0.0, 1.0)
        return self.scaling in SCALINGS.values() and not unused_range


class Element(NamedTuple):
    """What the files hold of an element."""

    functions: tuple  # of SymmetryFunction, in the files' unit and in the descriptor's order
    statistics: np.ndarray  # (n_functions, 4), in the files' order
    network: Network  # its inputs in the files' order


def check_writable(descriptor, potential):
    """Raise TypeError or ValueError for what n2p2 has no counterpart of."""
    if not isinstance(descriptor, ACSF):
        raise TypeError(f"n2p2's files hold symmetry functions, ACSF, not {type(descriptor).__name__}.")
    if not isinstance(potential, NeuralNetworkPotential):
        raise TypeError(f"n2p2's files hold a NeuralNetworkPotential, not {type(potential).__name__}.")
    if potential.baseline is not None:
        raise ValueError(
            f"the potential has a baseline, {potential.baseline!r}, which n2p2's files cannot hold: write a model with "
            "baseline None, and add the baseline where the files are used, as by LAMMPS' pair_style hybrid/overlay."
        )
    unknown = {name for names in potential.activations_ for name in names} - set(ACTIVATIONS.values())
    if unknown:
        raise ValueError(
            f"n2p2 does not have the activation function {min(unknown)!r}; train with one of "
            f"{', '.join(map(repr, ACTIVATIONS.values()))}."
        )
    if not np.isfinite(potential.parameters_).all():
        raise ValueError("some weights of the model are not finite; fit it again.")


def find_inputs(descriptor, steps, potential):
    """The Inputs, from the steps between descriptor and potential."""
    columns, scaler, kept = np.arange(descriptor.n_features_out_), None, None
    for step in steps:
        if isinstance(step, FeatureSelector):
            columns = columns[step.indices_]
            kept = None if kept is None else kept[step.indices_]
        elif isinstance(step, FeatureScaler) and scaler is None:
            scaler, kept = step, np.arange(len(columns))
        else:
            again = " twice" if isinstance(step, FeatureScaler) else ""
            raise ValueError(
                f"n2p2 has no counterpart of {type(step).__name__}{again} between descriptor and networks; fit a model "
                "with FeatureSelector and one FeatureScaler alone."
            )
    shape = len(descriptor.species_), len(columns)
    if scaler is None:
        return _unscaled(columns, shape, potential)
    spread = [np.broadcast_to(a[:, kept], shape) for a in (scaler.constant_, scaler.center_, scaler.scale_)]
    constant, center, scale = spread
    a, b = map(float, scaler.feature_range)
    slope = (b - a) / scale
    statistics = [np.broadcast_to(t[:, kept], shape) for t in (scaler.min_, scaler.max_, scaler.mean_, scaler.std_)]
    scaling = scaler.center, scaler.scale
    return Inputs(columns, np.array(statistics), constant, slope, a - slope * center, scaling, (a, b))


def _unscaled(columns, shape, potential):
    """Inputs without a scaler: the statistics are what the ranges in training tell."""
    low, high = (np.where(np.isfinite(ends), ends, 0.0) for ends in (potential.input_min_, potential.input_max_))
    statistics = np.array([low, high, 0.5 * (low + high), 0.5 * (high - low)])
    constant = np.zeros(shape, dtype=bool)
    return Inputs(columns, statistics, constant, np.ones(shape), np.zeros(shape), (None, None), (0.0, 1.0))


def make_element(descriptor, potential, inputs, s, length, energy):
    """The Element of species s."""
    symbol, functions = descriptor.species_[s], descriptor.functions_[s]
    network = merged(networks[s] for networks in potential.networks_)
    network = with_output(network, potential.scale_ / energy)
    columns = inputs.columns[: network.sizes[0]]  # others it does not have
    kept = np.flatnonzero(columns < len(functions))  # others are always zero for this element
    if not len(kept):
        raise ValueError(f"{symbol} has no symmetry functions, which n2p2 needs; fit a model with some.")
    functions = [_in_units(functions[c], length) for c in columns[kept]]
    order = in_file_order(functions)
    network = with_columns(_in_keywords(network, inputs, s, kept), kept[order])
    return Element(tuple(functions), _divisible(inputs, s)[kept[order]], network)


def _in_units(function, length):
    eta, r_s, cutoff = function.eta * length**2, function.r_s / length, function.cutoff / length
    return function._replace(eta=eta, r_s=r_s, cutoff=cutoff)


def _in_keywords(network, inputs, s, kept):
    """The network of inputs as n2p2 makes them; it takes in a scaling without keywords, and features always zero."""
    n = network.sizes[0]
    factors, offsets = inputs.slope[s, :n].copy(), inputs.offset[s, :n].copy()
    if inputs.has_keywords:
        factors[kept], offsets[kept] = 1.0, 0.0
    return with_inputs(network, factors, offsets)


def _divisible(inputs, s):
    """Statistics (n_inputs, 4) with which n2p2 divides by one where a feature did not vary, as FeatureScaler does."""
    low, high, mean, std = inputs.statistics[:, s].copy()
    if inputs.has_keywords and inputs.scaling[1] == "range":
        high = np.where(inputs.constant[s], low + 1.0, high)
    if inputs.has_keywords and inputs.scaling[1] == "std":
        std = np.where(inputs.constant[s], 1.0, std)
    return np.column_stack([low, high, mean, std])


def align(elements):
    """Elements whose networks have the same number of layers, and of nodes in the last hidden one, as n2p2 needs."""
    depth = max(2, *(len(element.network.weights) for element in elements))
    networks = [deepened(element.network, depth) for element in elements]
    if len(elements) - most_common([network.activations for network in networks])[1] > 1:
        raise ValueError(
            "several elements have numbers of hidden layers of their own, n2p2 can be told of one; train with "
            "hidden_layer_sizes of one length."
        )
    width = max(network.sizes[-1] for network in networks)
    return [
        element._replace(network=widened(network, width)) for element, network in zip(elements, networks, strict=True)
    ]


def make_settings(descriptor, potential, inputs, elements, energy):
    """The Settings of Elements."""
    species = descriptor.species_
    return Settings(
        elements=species,
        atom_energies=dict(zip(species, (potential.intercept_ / energy).tolist(), strict=True)),
        cutoff_type=CUTOFF_FUNCTIONS.index(descriptor.cutoff_function),
        alpha=descriptor.inner_cutoff,
        functions={symbol: element.functions for symbol, element in zip(species, elements, strict=True)},
        scaling=inputs.scaling if inputs.has_keywords else (None, None),
        scaled_range=inputs.scaled_range,
        nodes={symbol: element.network.sizes[1:] for symbol, element in zip(species, elements, strict=True)},
        activations={symbol: element.network.activations for symbol, element in zip(species, elements, strict=True)},
    )


def lammps_commands(folder, descriptor, length, energy):
    """Lines of a script, with ``units metal``, and atom types in the order of the species."""
    cutoff = max(f.cutoff for functions in descriptor.functions_ for f in functions)
    units = f"cflength {format_number(1 / length)} cfenergy {format_number(1 / energy)}"
    return [
        f'pair_style hdnnp {math.ceil(cutoff * 1e6) / 1e6} dir "{folder}" {units} &',
        "    showew no showewsum 1000 resetew no maxew 1000000",
        f"pair_coeff * * {' '.join(descriptor.species_)}",
    ]
