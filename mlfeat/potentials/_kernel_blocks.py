"""Blocks of a sparse Gaussian process, from parameters and training environments; `_kernels` says what a block is."""

import logging
import warnings
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

from mlfeat._archive import check_array
from mlfeat.base import FeatureBlock
from mlfeat.potentials._sparse_points import METHODS, select

logger = logging.getLogger("mlfeat")


def make_blocks(X, zeta, delta):
    """Blocks of a FeatureSet, without sparse points; several with the same features where there are several ζ.

    Raises
    ------
    ValueError
        If ζ is no positive integer (or tuple of them) or δ no positive number (both may be dicts by the block's name),
        or two blocks have one name.
    """
    found = _feature_blocks(X)
    places = [
        (name, block, z)
        for block, zetas in zip(found, by_name("zeta", zeta, [block.name for block in found]), strict=True)
        for name, z in _kernels_of(block, zetas)
    ]
    names = [name for name, *_ in places]
    if len(set(names)) < len(names):
        raise ValueError(f"the blocks {', '.join(names)} have equal names: rename the parts of the union")
    return [
        {
            "name": name,
            "start": int(block.start),
            "stop": int(block.stop),
            "zeta": z,
            "delta": d,
            "sparse_points": None,
            "sparse_species": None,
            "covariance": block.covariance,
        }
        for (name, block, z), d in zip(places, deltas_of(names, delta), strict=True)
    ]


def _kernels_of(block, zetas):
    """Name and ζ of each kernel on a block of features."""
    if block.covariance is not None:
        return [(block.name, None)]
    if not isinstance(zetas, (tuple, list)):
        check_zeta(zetas)
        return [(block.name, int(zetas))]
    for z in zetas:
        check_zeta(z)
    if not zetas or len(set(zetas)) < len(zetas):
        raise ValueError(f"zeta={zetas!r}: must be different positive integers")
    return [(f"{block.name}_zeta{z}", int(z)) for z in zetas]


def check_zeta(zeta):
    """Raise ValueError unless ζ is a positive integer."""
    if not (isinstance(zeta, Integral) and zeta >= 1):
        raise ValueError(f"zeta={zeta!r}: must be a positive integer, for which (p·p')^zeta is a kernel")


def _feature_blocks(X):
    blocks = X[0].descriptor.feature_blocks()
    if not X[0].steps:
        return blocks
    if len(blocks) > 1 or blocks[0].covariance is not None:
        raise ValueError(
            f"steps after {type(X[0].descriptor).__name__} mix features whose kernels differ; remove the steps"
        )
    return (FeatureBlock(blocks[0].name, 0, X.shape[1]),)


def by_name(what, value, names):
    """A parameter of each block, from one of all or a dict by the block's name."""
    if not isinstance(value, Mapping):
        return [value] * len(names)
    unknown, missing = sorted(set(value) - set(names)), [name for name in names if name not in value]
    if unknown or missing:
        raise ValueError(f"{what}={value!r}: give one for each of the blocks {', '.join(names)}")
    return [value[name] for name in names]


def deltas_of(names, delta):
    """δ of each block, checked, from one of all or a dict by the block's name."""
    deltas = by_name("delta", delta, names)
    for d in deltas:
        if not (isinstance(d, Real) and 0 < d < np.inf):
            raise ValueError(f"delta={d!r}: must be a positive number (eV)")
    return [float(d) for d in deltas]


def sparse_counts(n_sparse, species):
    """Number of sparse points of each species, from a number or a dict by symbol."""
    by_symbol = n_sparse if isinstance(n_sparse, Mapping) else dict.fromkeys(species, n_sparse)
    counts = [by_symbol.get(symbol) for symbol in species]
    for symbol, count in zip(species, counts, strict=True):
        if not (isinstance(count, Integral) and count >= 1):
            raise ValueError(f"n_sparse={n_sparse!r}: give a positive integer, or one for every species ({symbol})")
    return counts


def given_points(sparse_points, X, blocks):
    """Given sparse points as a dict from (block's name, place of the species) to array, checked."""
    species = X[0].descriptor.species_
    features = {block.start: block.name for block in _feature_blocks(X)}
    own = [block for block in blocks if block["covariance"] is None]
    points = {}
    for block in own:
        of_block = _of_block(sparse_points, (block["name"], features[block["start"]]), len(own) == 1)
        for s, symbol in enumerate(species):
            if len(species) > 1 or isinstance(of_block, Mapping):
                array = _entry(of_block, symbol, "species")
            else:
                array = of_block
            points[block["name"], s] = _checked(array, block, symbol)
        if not any(len(points[block["name"], s]) for s in range(len(species))):
            raise ValueError(f"sparse_points: there is not one for {block['name']}")
    return points


def _of_block(points, names, alone):
    """Those of the block that has these names; if it is `alone`, it need not be named."""
    for name in names:
        if isinstance(points, Mapping) and name in points:
            return points[name]
    return points if alone else _entry(points, names[0], "block")


def _entry(points, key, kind):
    if not isinstance(points, Mapping) or key not in points:
        raise ValueError(f"sparse_points: give a dict with the points of every {kind}; there are none of {key!r}")
    return points[key]


def _checked(array, block, symbol):
    array, n = np.array(array, dtype=float, ndmin=2), block["stop"] - block["start"]
    if array.ndim != 2 or array.shape[1] != n or not np.isfinite(array).all():
        raise ValueError(
            f"sparse_points of {symbol}: an array of shape {array.shape}; give finite numbers, with {n} columns, the "
            f"features of {block['name']}"
        )
    return array


def choose_points(blocks, X, counts, method, given, random_state):
    """Set the sparse points of all blocks, chosen among the environments of a FeatureSet or `given`."""
    values = X.values
    species = np.concatenate([item.species for item in X])
    symbols = X[0].descriptor.species_
    for block in blocks:
        if block["covariance"] is not None:
            continue
        points = []
        for s, count in enumerate(counts):
            if given is not None:
                points.append(given[block["name"], s])
                continue
            own = values[species == s, block["start"] : block["stop"]]
            chosen, n_distinct = select(own, count, block["zeta"], method, random_state)
            if n_distinct < count:
                _warn_of_few_points(symbols, s, block["name"], count, n_distinct, len(own))
            logger.debug("%d sparse points of %s among %d environments", len(chosen), symbols[s], n_distinct)
            points.append(own[chosen])
        block["sparse_points"] = np.concatenate(points)
        block["sparse_species"] = np.repeat(np.arange(len(counts)), [len(part) for part in points])


def _warn_of_few_points(symbols, s, name, count, n_distinct, n_environments):
    if n_environments == 0:
        message = f"there is no {symbols[s]} in the data: its atoms will have no sparse points ({name})"
    else:
        remedy = str(n_distinct) if len(symbols) == 1 else f"{{{symbols[s]!r}: {n_distinct}, ...}}"
        message = (
            f"{count} sparse points of {symbols[s]} were asked for, but only {n_distinct} of its {n_environments} "
            f"environments ({name}) differ: these are taken. Set n_sparse={remedy}, or add data"
        )
    warnings.warn(message, stacklevel=5)


def n_points(blocks, counts, atoms, method, given=None):
    """How many sparse points, over all blocks and species, there will be at most, of this many atoms of each species.

    CUR takes no more than span the kernel: with ζ = 1 as many as there are features.
    """
    if given is not None:
        return sum(len(points) for points in given.values())
    counts, atoms, total = np.asarray(counts), np.asarray(atoms), 0
    for block in blocks:
        if block["covariance"] is None:
            spanned = block["stop"] - block["start"] if (method, block["zeta"]) == ("cur", 1) else np.inf
            total += np.where(atoms <= counts, atoms, np.minimum(counts, spanned)).sum()
    return int(total)


def check_blocks(blocks, n_species, n_features):
    """Raise ValueError unless blocks of a fitted model go together."""
    keys = {"name", "start", "stop", "zeta", "delta", "sparse_points", "sparse_species", "covariance", "weights"}
    for block in blocks:
        if set(block) - {"compressed_points"} != keys:
            raise ValueError(f"a block has the keys {sorted(block)}, expected {sorted(keys)}")
        if not 0 <= block["start"] < block["stop"] <= n_features:
            raise ValueError(f"block {block['name']!r} has the features {block['start']} to {block['stop']}")
        width = block["stop"] - block["start"]
        if block["covariance"] is not None:
            check_array("covariance", block["covariance"], (width, width))
            check_array("weights", block["weights"], (width,))
            continue
        check_array("sparse_points", block["sparse_points"], (None, width))
        n = len(block["sparse_points"])
        check_array("compressed_points", block.get("compressed_points", block["sparse_points"]), (n, width))
        check_array("sparse_species", block["sparse_species"], (n,))
        check_array("weights", block["weights"], (n,))
        species = block["sparse_species"]
        if (np.diff(species) < 0).any() or n and not (0 <= species[0] and species[-1] < n_species):
            raise ValueError(f"sparse_species must ascend within the {n_species} species")
        check_zeta(block["zeta"])


def check_method(method):
    """Raise ValueError unless there is such a method of choosing sparse points."""
    if method not in METHODS:
        raise ValueError(f"sparse_method={method!r}: must be one of {', '.join(map(repr, METHODS))}")
