"""Configuration of Sphinx; `make docs` builds."""

import re
import warnings

import mlfeat

project = "mlfeat"
author = "The mlfeat developers"
copyright = "2026, The mlfeat developers"
version = release = mlfeat.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst"]
nitpicky = False
default_role = "code"

html_title = "mlfeat"
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False

templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",  # all of them run
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "capture_repr": (),
    "show_memory": False,
    "min_reported_time": 10**6,
}

# Warnings are part of what an example prints, the path of the file on this machine is not.
warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}\n"
# Sphinx Gallery shows figures with plt.show, which Agg cannot do and says so.
warnings.filterwarnings("ignore", message=".*FigureCanvasAgg is non-interactive.*")


def escape_initials(app, what, name, obj, options, lines):
    """Keep a reference that begins with an author's initial, ``A. Author``, from being read as item A of a list."""
    lines[:] = [re.sub(r"^(\s*)([A-Z]\.) ", r"\1\\\2 ", line) for line in lines]


def setup(app):
    """Register what this configuration adds to Sphinx."""
    app.connect("autodoc-process-docstring", escape_initials)
