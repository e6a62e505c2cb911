"""Models of the user's beside the five: a Pipeline, a function that makes one, or a file of a fitted one."""

import ast
import glob
import hashlib
import importlib
import importlib.util
import re
import sys
from argparse import ArgumentTypeError, Namespace
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sklearn.base import clone

from mlfeat.cli._errors import UsageError, one_line
from mlfeat.cli._guess import species_of
from mlfeat.cli._methods import METHODS, Method
from mlfeat.cli._models import NNP, SNAP, format_of, read_model

_NOT_BESIDE = {"__main__", "mlfeat", *sys.stdlib_module_names}
_INSTALLED = {"site-packages", "dist-packages"}
_NAMED = re.compile(r"(?P<place>.+):(?P<attribute>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class UserModel:
    """What ``--model NAME=PLACE`` asks for; the Python object is looked up only where it is needed."""

    label: str
    place: str
    attribute: str | None = None  # None: a file of a fitted model

    @property
    def name(self):
        """The name, as that of a file."""
        return re.sub(r"[^\w.]+", "-", self.label.lower()).strip("-.")

    @property
    def is_fitted(self):
        """Whether it is only evaluated."""
        return self.attribute is None

    def method(self):
        """The `Method` of it; imports the user's code."""
        if self.is_fitted:
            return Method(self.label, "fitted", lambda structures, _: self._read(structures), None, ())
        found = self._find()
        return Method(self.label, "the user's", lambda structures, _: _unfitted(found, structures), _fit, ())

    def inputs(self):
        """What decides the model: the code or the files, by a hash."""
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(path.name.encode() + b"\n" + path.read_bytes())
        return {"place": self.place, "attribute": self.attribute, "content": digest.hexdigest()}

    def _files(self):
        return _files_of_model(Path(self.place)) if self.is_fitted else _files_of_code(self._module())

    def _read(self, structures):
        path, options = Path(self.place), {}
        form = format_of(path)
        if "species" in form.read_options:
            options["species"] = species_of(structures)
            if form.program == "MLIP" and len(options["species"]) > 1:
                raise UsageError(
                    f"{path}: the file does not say which of its species is which of {', '.join(options['species'])}; "
                    f"make a file that does: mlfeat convert {path} {path.stem}.mlfeat --species LIST"
                )
        return read_model(path, Namespace(**options))

    def _find(self):
        try:
            return getattr(self._module(), self.attribute)
        except Exception as error:  # the user's code may raise anything
            raise UsageError(f"--model {self.label}: {type(error).__name__}: {one_line(error)}") from error

    def _module(self):
        path = Path(self.place)
        return _import_file(path) if path.suffix == ".py" else _import_module(self.place)


def user_model(text):
    """Argument NAME=module:attribute, NAME=file.py:attribute or NAME=file."""
    label, equals, place = (part.strip() for part in text.partition("="))
    if not (label and equals and place):
        raise ArgumentTypeError(
            f"{text!r} is neither NAME=module:attribute nor NAME=file.py:attribute nor NAME=file of a fitted model"
        )
    match = _NAMED.fullmatch(place)
    if match and not Path(place).exists():
        return UserModel(label, match["place"], match["attribute"])
    return UserModel(label, place)


def _files_of_model(path):
    """The file of a fitted model, and those that belong to it."""
    folder = path if path.is_dir() else path.parent
    stem, name = glob.escape(path.stem), glob.escape(path.name)
    patterns = {
        "LAMMPS": [f"{stem}{suffix}" for suffix in SNAP],
        "n2p2": [NNP, "scaling.data", "weights.*.data"],
        "QUIP": [name, f"{name}.sparseX*"],
    }.get(format_of(path).program, [name])
    return sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file())


def _files_of_code(module):
    """Files of a module and of what it imports from its package, or from the folder that this lies in."""
    package = module.__name__.partition(".")[0]
    depth = module.__name__.count(".") + hasattr(module, "__path__")
    folder, found, waiting = Path(module.__file__).parents[depth], set(), [module]
    while waiting:
        one = waiting.pop()
        path, own_package = Path(getattr(one, "__file__", None) or ""), one.__name__.partition(".")[0]
        beside = path.is_relative_to(folder) and not _INSTALLED & set(path.parts) and own_package not in _NOT_BESIDE
        if path.is_file() and path not in found and (own_package == package or beside):
            found.add(path)
            waiting += _imported(one, path)
    return sorted(found)


def _imported(module, path):
    """The modules that a module's code imports, and the packages that hold these or itself, if they are loaded."""
    names = {module.__name__}
    for node in ast.walk(ast.parse(path.read_bytes())) if path.suffix == ".py" else ():
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), module.__package__)
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names]
    names |= {".".join(part[:n]) for part in parts for n in range(1, len(part))}
    return [sys.modules[name] for name in names if isinstance(sys.modules.get(name), ModuleType)]


def method_of(source):
    """The `Method` of the name of one of the five, or of a UserModel."""
    return METHODS[source] if isinstance(source, str) else source.method()


def _import_file(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    path, name = path.resolve(), path.stem
    sys.path.append(str(path.parent))  # for what it imports beside it, and under the name that other programs will use
    module = importlib.import_module(name)
    if Path(module.__file__ or "").resolve() != path:
        raise ImportError(f"there is another module {name!r} in {module.__file__}; give the file another name")
    return module


def _import_module(name):
    sys.path.append(str(Path.cwd()))
    return importlib.import_module(name)


def _unfitted(found, structures):
    return clone(found if hasattr(found, "fit") else found(structures))


def _fit(model, structures, targets, settings):
    model.fit(structures, targets)
    return getattr(model, "best_estimator_", model)
