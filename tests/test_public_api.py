"""What is public is documented, and listed in the reference."""

import importlib
import inspect
import pkgutil
import re
from importlib import metadata
from pathlib import Path

import pytest

import mlfeat

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "index.rst"


def public_modules():
    """Modules whose dotted names have no part with an underscore."""
    found = pkgutil.walk_packages(mlfeat.__path__, "mlfeat.")
    names = [info.name for info in found if "._" not in info.name]
    return [importlib.import_module(name) for name in ["mlfeat", *names]]


def public_objects():
    """Dotted name and object of everything in some module's ``__all__``, methods and properties of classes included."""
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name)
            yield f"{module.__name__}.{name}", item
            if inspect.isclass(item) and item.__module__.startswith("mlfeat"):
                for attribute in vars(item):
                    if not attribute.startswith("_"):
                        yield f"{module.__name__}.{name}.{attribute}", getattr(item, attribute)


@pytest.mark.parametrize("module", public_modules(), ids=lambda module: module.__name__)
def test_module_has_a_docstring(module):
    assert module.__doc__


def test_whatever_can_be_called_has_a_docstring():
    bare = {name for name, item in public_objects() if callable(item) and not inspect.getdoc(item)}
    assert not bare


def test_reference_lists_every_name_of_the_package():
    if not REFERENCE.exists():
        pytest.skip("the tests run without the documentation's sources")
    listed = set(re.findall(r"^ +([\w.]+)$", REFERENCE.read_text(), flags=re.MULTILINE))
    missing = {
        name.removeprefix("mlfeat.")
        for name, item in public_objects()
        if not inspect.ismodule(item) and name.count(".") == 1
    } - listed
    assert not missing


def test_version_is_that_of_the_installed_distribution():
    try:
        installed = metadata.version("mlfeat")
    except metadata.PackageNotFoundError:
        pytest.skip("mlfeat runs from its sources, not installed")
    assert installed == mlfeat.__version__
