"""Terms of a GAP file, as the descriptors of mlfeat that stand for them.

QUIP has one term for each central species or kind of pair, mlfeat one descriptor for all whose settings are equal.
"""

from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from mlfeat.descriptors import SOAP, PairDistance
from mlfeat.io._gap_keywords import WILDCARD, PairSettings, SoapSettings, interpret
from mlfeat.io._gap_xml import GapCoordinates, Place


class Term(NamedTuple):
    """One descriptor of the file."""

    place: Place
    settings: SoapSettings | PairSettings
    coordinates: GapCoordinates

    @classmethod
    def of(cls, path, k, coordinates, version):
        """The file's term number `k`."""
        place = Place(Path(path), f"gpCoordinates {k}")
        return cls(place, interpret(place, coordinates, version), coordinates)

    def named(self):
        """Atomic numbers in it, in its order."""
        settings = self.settings
        both = (*settings.species, *settings.centers) if isinstance(settings, SoapSettings) else settings.pair
        return [number for number in both if number != WILDCARD]


class Group(NamedTuple):
    """Terms that one descriptor of mlfeat stands for: those of all central species, or all kinds of pairs."""

    kind: type
    parameters: dict
    delta: float
    zeta: int
    members: dict  # by place of the center's species or by kind of pair: points, alpha and, of pairs, theta


def names(numbers):
    """Symbols of atomic numbers, for messages."""
    return ", ".join(chemical_symbols[number] for number in numbers)


def select_species(path, terms, species):
    """Atomic numbers of the species asked for."""
    soaps_first = sorted(terms, key=lambda term: isinstance(term.settings, PairSettings))
    known = list(dict.fromkeys(number for term in soaps_first for number in term.named()))
    strange = [number for number in known if not 0 < number < len(chemical_symbols)]
    if strange:
        raise ValueError(f"{path}: {strange[0]} is no atomic number.")
    if species is None:
        if not known:
            raise ValueError(f"{path}: names no element, its terms are for any. Say which: species=['Si'].")
        return known
    numbers = [atomic_numbers.get(symbol, 0) for symbol in species]
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 1 or not set(numbers) <= set(known or numbers):
        raise ValueError(f"species={species!r}: should be different ones of {names(known) or 'the elements'}.")
    return numbers


def group_terms(terms, numbers):
    """Groups of terms of equal settings, as far as they belong to different species.

    Groups that differ in δ and ζ alone share a descriptor, and are together in the lists returned.
    """
    shared = []
    for group in _equal_terms(terms, numbers):
        for sharing in shared:
            same = sharing[0][:2] == group[:2] and group.kind is SOAP
            if same and group.zeta not in [other.zeta for other in sharing]:
                sharing.append(group)
                break
        else:
            shared.append([group])
    return shared


def _equal_terms(terms, numbers):
    groups = []
    for term in terms:
        kind, parameters, delta, zeta, members = (
            _soap_members(term, numbers) if isinstance(term.settings, SoapSettings) else _pair_members(term, numbers)
        )
        for group in groups:
            if group[:4] == (kind, parameters, delta, zeta) and not group.members.keys() & members.keys():
                group.members.update(members)
                break
        else:
            if members:
                groups.append(Group(kind, parameters, delta, zeta, members))
    return groups


def _soap_members(term, numbers):
    place, (parameters, centers, species), coordinates = term
    if species == (WILDCARD,):
        if len(numbers) > 1:
            raise place.error(
                f"soap of neighbors of any species alike, which has no counterpart for {names(numbers)}; it can be "
                f"read for one species, as with species={[chemical_symbols[numbers[0]]]!r}."
            )
        species = tuple(numbers)
    missing = [number for number in numbers if number not in species]
    if missing:
        raise place.error(f"species_Z of its soap lacks {names(missing)}, whose atoms it does not see; leave it out.")
    if not coordinates.exponent.is_integer() or coordinates.exponent < 1:
        raise place.error(f"zeta is {coordinates.exponent}; only positive whole numbers can be read.")
    if (coordinates.cutoffs != 1).any():
        raise place.error("sparseCutoff of a soap should be 1.")
    size = _n_pairs(parameters, len(species)) * (parameters["l_max"] + 1) + 1
    if coordinates.points.shape[1] != size:
        raise place.error(f"dimensions is {coordinates.points.shape[1]}, but {coordinates.descriptor!r} has {size}.")
    points = coordinates.points[:, _components(parameters, species, numbers)]
    own = [s for s, number in enumerate(numbers) if number in centers or centers == (WILDCARD,)]
    members = {s: (points, coordinates.alpha) for s in own}
    return SOAP, parameters, coordinates.delta, int(coordinates.exponent), members


def _n_pairs(parameters, n_species):
    """Number of the pairs (k, k') of components."""
    n_max = parameters["n_max"]
    if parameters["compression"] == "mu1nu1":
        return n_species * n_max * n_max
    n = n_max if parameters["compression"] == "mu2" else n_species * n_max
    return n * (n + 1) // 2


def _components(parameters, species, numbers):
    """Where the components for the `numbers` are among those for the `species`."""
    n_max, n_l = parameters["n_max"], parameters["l_max"] + 1
    radial = np.arange(n_max)
    order = np.concatenate([species.index(number) * n_max + radial for number in numbers])
    if parameters["compression"] == "mu2":
        pairs = np.arange(_n_pairs(parameters, 1))
    elif parameters["compression"] == "mu1nu1":
        pairs = (order[:, None] * n_max + radial).ravel()
    else:
        left, right = (order[k] for k in np.tril_indices(len(order)))
        high, low = np.maximum(left, right), np.minimum(left, right)
        pairs = high * (high + 1) // 2 + low
    columns = (pairs[:, None] * n_l + np.arange(n_l)).ravel()
    return np.append(columns, _n_pairs(parameters, len(species)) * n_l)


def _pair_members(term, numbers):
    place, (parameters, pair, once), coordinates = term
    if WILDCARD in pair and pair != (WILDCARD, WILDCARD):
        raise place.error(f"pairs of {names(set(pair) - {WILDCARD})} with any species; only any with any can be read.")
    if coordinates.points.shape[1] != 1:
        raise place.error(f"dimensions of a pair is {coordinates.points.shape[1]}, and should be 1.")
    points, cutoff, width = coordinates.points[:, 0], parameters["cutoff"], parameters["cutoff_transition_width"]
    if not 0 < width <= cutoff:
        raise place.error(f"cutoff_transition_width is {width}, and should be between 0 and the cutoff, {cutoff}.")
    within = points < cutoff
    expected = 0.5 + 0.5 * np.cos(np.pi * np.clip((points - cutoff + width) / width, 0, 1))
    if np.abs(coordinates.cutoffs - np.where(within, expected, 0.0)).max() > 1e-8:
        raise place.error(f"sparseCutoff is not the cutoff function of {coordinates.descriptor!r}; it is damaged.")
    scale = 2 if once else 1
    kinds = [tuple(chemical_symbols[number] for number in kind) for kind in combinations_with_replacement(numbers, 2)]
    wanted = sorted(chemical_symbols[number] for number in pair)
    member = points[within], coordinates.alpha[within] * scale, coordinates.exponent
    members = {kind: member for kind in kinds if WILDCARD in pair or sorted(kind) == wanted}
    return PairDistance, parameters, coordinates.delta / scale, None, members
