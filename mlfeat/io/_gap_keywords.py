"""The descriptors of QUIP's GAP files: strings of a kind, keywords and values.

Each keyword is translated, required to have the one value that has a counterpart here, or known to change no number.
Any other is refused by name.
"""

import re
from typing import NamedTuple

WILDCARD = 0  # as an atomic number: any

# Of all descriptors: they tell gap_fit how to fit, and what counts of them afterwards is in the XML file.
_OF_THE_FIT = frozenset(
    "delta energy_scale f0 n_sparse config_type_n_sparse sparse_method lengthscale_factor theta_fac "
    "lengthscale_uniform theta_uniform lengthscale_file theta_file sparse_file mark_sparse_atoms add_species "
    "covariance_type soap_exponent zeta print_sparse_index unique_hash_tolerance unique_descriptor_tolerance".split()
)
# Without effect where the keywords below have their one value.
_IDLE = {
    "soap": {"cutoff_scale", "cutoff_rate", "k", "mix_shift", "z_map"},
    "distance_2b": {"resid_name", "tail_range"},
    "distance_nb": set(),
}
_FIXED = {
    "soap": {
        "average": False,
        "basis_error_exponent": 10.0,
        "coupling": True,
        "cutoff_dexp": 0,
        "diagonal_radial": False,
        "r_mix": False,
        "radial_basis": "EQUISPACED_GAUSS",
        "sym_mix": False,
        "z_mix": False,
    },
    "distance_2b": {"exponents": 1, "n_exponents": 1, "only_inter": False, "only_intra": False, "tail_exponent": 0},
    "distance_nb": {"order": 2},
}
_KERNELS = {"soap": "dot_product", "distance_2b": "ard_se", "distance_nb": "ard_se"}
# (nu_R, nu_S): each factor of the spectrum has its own n and species, or the sum over them.
_COMPRESSIONS = {(2, 2): None, (2, 1): "mu1nu1", (2, 0): "mu2"}

_WORD = re.compile(r"""(\w+)(?:\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\([^)]*\)|[^\s"'{}()]+))?\s*""", re.ASCII)
_TRUE = {"t", "true", ".true."}
_FALSE = {"f", "false", ".false."}


class SoapSettings(NamedTuple):
    """What a ``soap`` descriptor is."""

    parameters: dict  # of SOAP
    centers: tuple  # atomic numbers of the centers
    species: tuple  # atomic numbers that the density is made of, in the order of the components


class PairSettings(NamedTuple):
    """What a ``distance_2b`` or a ``distance_Nb`` of order 2 is."""

    parameters: dict  # of PairDistance
    pair: tuple  # two atomic numbers
    once: bool  # whether a pair counts once, half for each of its atoms, instead of once for each


def interpret(place, coordinates, version):
    """The settings of a `GapCoordinates`."""
    kind, given = parse(place, coordinates.descriptor)
    if kind not in _KERNELS:
        raise place.error(f"descriptor {kind!r}: only soap, distance_2b, and distance_Nb of order 2 can be read.")
    if coordinates.kernel != _KERNELS[kind]:
        raise place.error(f"{kind} with the kernel {coordinates.kernel}: only {_KERNELS[kind]} can be read.")
    reader = _Keywords(place, kind, given)
    settings = _READERS[kind](reader, version)
    reader.check_rest()
    if isinstance(settings, PairSettings) and coordinates.mean != 0:
        raise place.error(f"f0 (signal_mean) is {coordinates.mean}: only pair terms with 0 can be read.")
    return settings


def parse(place, text):
    """Kind and keywords of a descriptor string, in lower case; a word without a value is true."""
    given, position = {}, 0
    text = text.strip()
    while position < len(text):
        match = _WORD.match(text, position)
        if match is None:
            raise place.error(
                f"the descriptor {text!r} cannot be understood from {text[position : position + 20]!r} on."
            )
        key, value = match[1].lower(), match[2]
        if key in given:
            raise place.error(f"keyword {key} occurs twice in the descriptor.")
        given[key] = "T" if value is None else value.strip("\"'{}()").strip()
        position = match.end()
    if not given:
        raise place.error("the descriptor is empty.")
    kind = next(iter(given))
    del given[kind]
    return kind, given


def format_soap(parameters, center, species):
    """Descriptor string of a ``soap`` for one central species; all numbers are atomic numbers."""
    orders = {compression: nu for nu, compression in _COMPRESSIONS.items()}[parameters["compression"]]
    return (
        f"soap n_max={parameters['n_max']} l_max={parameters['l_max']} atom_sigma={float(parameters['sigma'])!r} "
        f"cutoff={float(parameters['cutoff'])!r} "
        f"cutoff_transition_width={float(parameters['cutoff_transition_width'])!r} "
        f"central_weight={float(parameters['central_weight'])!r} normalise={'FT'[bool(parameters['normalize'])]} "
        f"covariance_sigma0={float(parameters['covariance_sigma0'])!r} "
        + f"nu_R={orders[0]} nu_S={orders[1]} " * (orders != (2, 2))
        + f"n_species={len(species)} Z={center} species_Z={{{' '.join(map(str, species))}}} covariance_type=dot_product"
    )


def format_pair(parameters, pair):
    """Descriptor string of a ``distance_2b``."""
    return (
        f"distance_2b cutoff={float(parameters['cutoff'])!r} "
        f"cutoff_transition_width={float(parameters['cutoff_transition_width'])!r} Z1={pair[0]} Z2={pair[1]} "
        "covariance_type=ard_se"
    )


class _Keywords:
    """Keywords of one descriptor, taken one after the other."""

    def __init__(self, place, kind, given):
        self.place, self.kind, self.given = place, kind, dict(given)
        for name, value in _FIXED[kind].items():
            if name in given:
                self.require(name, value)

    def take(self, *names):
        """The text of a keyword that has several names, or None."""
        found = [name for name in names if name in self.given]
        if len(found) > 1:
            raise self.place.error(f"keywords {' and '.join(found)} are the same; one of them should be there.")
        return self.given.pop(found[0]) if found else None

    def _value(self, convert, names, default):
        text = self.take(*names)
        if text is not None:
            return convert(text, names[0])
        if default is None:
            raise self.place.error(f"{self.kind} has no {names[0]}; the file is damaged.")
        return default

    def real(self, *names, default=None):
        return self._value(self.place.real, names, default)

    def integer(self, *names, default=None):
        return self._value(self.place.integer, names, default)

    def flag(self, *names, default):
        return self._value(self._flag, names, default)

    def _flag(self, text, name):
        if text.lower() not in _TRUE | _FALSE:
            raise self.place.error(f"{name} should be T or F, not {text!r}.")
        return text.lower() in _TRUE

    def integers(self, name, default=None):
        """A list in braces."""
        text = self.take(name)
        return default if text is None else tuple(self.place.integer(word, name) for word in text.split())

    def require(self, name, expected):
        """Refuse a keyword unless it has the value that it has by default."""
        convert = {bool: self.flag, float: self.real, int: self.integer}.get(type(expected))
        value = convert(name, default=expected) if convert else self.take(name).upper()
        if value != expected:
            shown = "FT"[expected] if isinstance(expected, bool) else expected
            raise self.place.error(f"{self.kind} with {name} other than {shown}, which has no counterpart in mlfeat.")

    def check_rest(self):
        """Refuse what nobody has taken."""
        unknown = sorted(self.given.keys() - _OF_THE_FIT - _IDLE[self.kind])
        if unknown:
            raise self.place.error(
                f"unknown keyword {' and '.join(unknown)} of {self.kind}: it may change the results, so it is refused."
            )


def _read_soap(keywords, version):
    place = keywords.place
    if version < 1423143769:
        raise place.error(f"gap_version {version}: its soap is another one; only those since 1423143769 can be read.")
    orders = keywords.integer("nu_r", default=2), keywords.integer("nu_s", default=2)
    if orders not in _COMPRESSIONS:
        raise place.error(f"soap with nu_R={orders[0]} nu_S={orders[1]}: only 2 2, 2 1 and 2 0 have counterparts.")
    parameters = {
        "cutoff": keywords.real("cutoff"),
        "n_max": keywords.integer("n_max"),
        "l_max": keywords.integer("l_max"),
        "sigma": keywords.real("atom_sigma", "atom_gaussian_width"),
        "cutoff_transition_width": keywords.real("cutoff_transition_width", default=0.5),
        "central_weight": keywords.real("central_weight", default=1.0),
        "normalize": keywords.flag("normalise", "normalize", default=True),
        "covariance_sigma0": keywords.real("covariance_sigma0", default=0.0),
        "compression": _COMPRESSIONS[orders],
    }
    n_species = keywords.integer("n_species", default=1)
    species = keywords.integers("species_z", (WILDCARD,))
    n_centers = keywords.integer("n_z", default=1)
    centers = keywords.integers("z", (WILDCARD,))
    for count, numbers, names in ((n_species, species, "n_species and species_Z"), (n_centers, centers, "n_Z and Z")):
        if len(numbers) != count or len(set(numbers)) < count:
            raise place.error(f"{names} do not go together: {count} and {numbers}.")
    references = keywords.flag("central_reference_all_species", default=version < 1426512068)
    if references and n_species > 1:
        raise place.error(
            "soap of several species with central_reference_all_species T, or of a gap_version before 1426512068, "
            "which has it so: it has no counterpart in mlfeat."
        )
    return SoapSettings(parameters, centers, species)


def _read_distance_2b(keywords, version):
    pair = keywords.integer("z1", default=WILDCARD), keywords.integer("z2", default=WILDCARD)
    return PairSettings(_pair_parameters(keywords), pair, False)


def _read_distance_nb(keywords, version):
    pair = keywords.integers("z", (WILDCARD, WILDCARD))
    if len(pair) != 2:
        raise keywords.place.error(f"Z of a distance_Nb of order 2 should be two numbers, not {pair}.")
    compact = keywords.flag("compact_clusters", default=True)
    return PairSettings(_pair_parameters(keywords), pair, version < 1596837814 or not compact)


def _pair_parameters(keywords):
    return {
        "cutoff": keywords.real("cutoff"),
        "cutoff_transition_width": keywords.real("cutoff_transition_width", default=0.5),
    }


_READERS = {"soap": _read_soap, "distance_2b": _read_distance_2b, "distance_nb": _read_distance_nb}
