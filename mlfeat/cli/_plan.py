"""What a comparison consists of: its pieces of work, from what the user asks for."""

import dataclasses
import hashlib
import json
import re

import numpy as np

from mlfeat.cli import _pieces
from mlfeat.cli._guess import species_of
from mlfeat.cli._methods import METHODS
from mlfeat.cli._tasks import Task, fingerprint
from mlfeat.cli._train import checked_model, describe
from mlfeat.cli._user_models import UserModel, method_of
from mlfeat.targets import get_groups

REFERENCE = "reference"
_SECONDS = {"cost": 2.0, "variant_cost": 0.5, "scaling": 0.5}  # of each timing

# Smaller settings beside those of the table; which of them are the same is seen in the models.
LADDERS = {
    "snap": [{"twojmax": n} for n in (2, 4, 6, 8)],
    "qsnap": [{"twojmax": n} for n in (2, 4, 6)],
    "gap": [{"n_max": n, "l_max": n, "n_sparse": m} for n, m in ((3, 100), (4, 200), (6, 400))],
    "nnp": [{"hidden_layers": (n, n)} for n in (4, 8, 16)],
    "mtp": [{"level": n} for n in (6, 8, 12, 16)],
}
_LONGEST = 80  # characters of a variant in names of files
_SYMBOLS = {"twojmax": "2J", "n_max": "n", "l_max": "l", "n_sparse": "M", "hidden_layers": "layers"}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a comparison should find out, beside errors and costs."""

    properties: tuple = ()
    fractions: tuple = ()  # of the training set, for learning curves
    sizes: tuple = ()  # numbers of atoms, for the scaling
    variants: dict | None = None  # lists of settings by method; None: some smaller ones of each
    seed: int = 0


class Plan:
    """The tasks of a comparison of some sources: names of the five, and UserModels.

    Raises UsageError, before any work, if a model cannot be built.
    """

    def __init__(self, sources, settings, train, test, folder, wanted, crystals, *, emt=False, verbose=True):
        self.sources = {name_of(source): source for source in sources}
        self.settings, self.train, self.test, self.folder = settings, train, test, folder
        self.wanted, self.crystals, self.verbose = wanted, crystals, verbose
        self.hashes = {"train": fingerprint(train), "test": fingerprint(test)}
        self.labels = {name: method_of(source).label for name, source in self.sources.items()}
        self.models = {name: checked_model(method_of(source), settings, train) for name, source in self.sources.items()}
        self.fractions = nested_subsets(train, wanted.fractions, wanted.seed)
        self.variants = {name: self._variants(name) for name in self.sources}
        self.tasks = list(self._tasks(emt))

    def _tasks(self, emt):
        if emt and self.wanted.properties:
            yield self._properties(REFERENCE, None, None)
        for name, source in self.sources.items():
            yield from self._method(name, source)

    def _method(self, name, source):
        fit = self._fit(name, source)
        path = self.folder / fit.files[0]
        yield fit
        if self.wanted.properties:
            yield self._properties(name, source, path, fit.name)
        if not is_fitted(source):
            for fraction, subset in self.fractions.items():
                args = source, self.settings, subset, self.test, None, {}
                yield self._part("learning", name, f"{fraction:g}", args, {"train": fingerprint(subset)})
            for label, variant in self.variants[name].items():
                yield from self._variant(name, source, label, variant)
        yield self._cost("cost", name, source, path, fit.name)
        if self.wanted.sizes:
            args = source, path, self.crystals["scaling"], self.wanted.sizes, _SECONDS["scaling"]
            inputs = {"sizes": self.wanted.sizes, "crystal": _describe(self.crystals["scaling"])}
            yield Task("scaling", name, _pieces.scaling_piece, args, inputs, needs=fit.name, alone=True)

    def _fit(self, name, source):
        files = f"{name}.mlfeat", f"{name}.predictions.npz"
        paths = [self.folder / file for file in files]
        args = source, self.settings, self.train, self.test, *paths, self.verbose
        return Task("fit", name, _pieces.fit_piece, args, self.inputs(source), files=files)

    def _part(self, kind, name, label, args, more, files=()):
        inputs = self.inputs(args[0], args[1]) | more
        return Task(kind, name, _pieces.part_piece, args, inputs, label, files=files)

    def _variant(self, name, source, label, variant):
        file = f"variants/{name}-{label}.mlfeat"
        settings, changes = self._changed(source, variant)
        args = source, settings, self.train, self.test, self.folder / file, changes
        fit = self._part("variant", name, label, args, {"changes": changes}, (file,))
        yield fit
        yield self._cost("variant_cost", name, source, args[4], fit.name, label)

    def _cost(self, kind, name, source, path, needs, label=""):
        args = source, path, self.train.structures, _SECONDS[kind]
        inputs = {"train": self.hashes["train"]}  # the structure is one of these
        return Task(kind, name, _pieces.cost_piece, args, inputs, label, needs, alone=True)

    def _properties(self, name, source, path, needs=None):
        crystal, which = self.crystals["properties"], self.wanted.properties
        inputs = {"which": which, "crystal": _describe(crystal)}
        return Task("properties", name, _pieces.properties_piece, (source, path, crystal, which), inputs, needs=needs)

    def inputs(self, source, settings=None):
        """What decides a fit of a source, as JSON holds it."""
        if not isinstance(source, str):
            return source.inputs() | self.hashes | {"model": describe(self.models[source.name])}
        options = METHODS[source].options
        known = {"cutoff", "presets", *options}
        known |= {f"{kind}s" for kind in ("weight", "sigma") if any(name.endswith(f"_{kind}") for name in options)}
        asked = dataclasses.asdict(settings or self.settings)
        return {"settings": {name: value for name, value in asked.items() if name in known}, **self.hashes}

    def _changed(self, source, variant):
        """Settings, and parameters of the model, of a variant."""
        if not isinstance(source, str):
            return self.settings, variant
        kinds = {
            name: getattr(self.settings, name) | {key: value for key, value in variant.items() if key.endswith(end)}
            for name, end in (("weights", "_weight"), ("sigmas", "_sigma"))
        }
        others = {key: value for key, value in variant.items() if not key.endswith(("_weight", "_sigma"))}
        return dataclasses.replace(self.settings, **others, **kinds), {}

    def _variants(self, name):
        """The variants of a method by label; of the default ones without the model of the table itself."""
        source, found, asked = self.sources[name], {}, self.wanted.variants
        for variant in (ladders(self.settings) if asked is None else asked).get(name, []):
            settings, changes = self._changed(source, variant)
            model = checked_model(method_of(source), settings, self.train, changes)
            if asked is not None or describe(model) != describe(self.models[name]):
                found[_slug(variant, found)] = variant
        return found


def name_of(source):
    """Name of one of the five, or of a UserModel, as that of files."""
    return source.name if isinstance(source, UserModel) else source


def is_fitted(source):
    """Whether a source is a model that is there already."""
    return isinstance(source, UserModel) and source.is_fitted


def ladders(settings):
    """The default variants of each method; those of a setting that the user gives are left out."""
    return {
        name: [variant for variant in ladder if all(getattr(settings, key) is None for key in variant)]
        for name, ladder in LADDERS.items()
    }


def nested_subsets(data, fractions, seed):
    """Parts of a data set by fraction: the same of each group, each with all elements and within the larger ones."""
    rng, rank = np.random.default_rng(seed), np.empty(len(data.structures))
    groups = get_groups(data.structures)
    for group in sorted(set(groups.tolist())):
        members = np.flatnonzero(groups == group)
        # The first of each group has rank 0: it is in all parts.
        rank[members] = rng.permutation(len(members)) / len(members)
    for symbol in species_of(data.structures):
        members = [index for index, atoms in enumerate(data.structures) if symbol in atoms.symbols]
        # Two of each element: networks refuse an element whose environments are all the same.
        rank[sorted(members, key=rank.__getitem__)[:2]] = 0
    return {fraction: data[rank < fraction] for fraction in sorted(fractions)}


def variant_label(variant):
    """A variant in words."""
    return ", ".join(f"{_SYMBOLS.get(key, key)} = {_value(value)}" for key, value in variant.items())


def _slug(variant, others):
    """A variant as part of a file's name, unlike those of other variants."""
    text = ",".join(f"{key}={_value(value)}" for key, value in variant.items())
    slug = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text)
    if len(slug) > _LONGEST or others.get(slug, variant) != variant:
        digest = hashlib.sha256(json.dumps(variant).encode()).hexdigest()
        slug = f"{slug[:_LONGEST]}-{digest[:8]}"
    return slug


def _value(value):
    return "×".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _describe(crystal):
    """A crystal as numbers, for a hash."""
    return [crystal.numbers, crystal.positions, crystal.cell.array, crystal.pbc]
