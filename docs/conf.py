"""Sphinx's configuration: `python -m sphinx -W --keep-going -b html docs docs/_build/html`.

The build needs no network. It runs `quickstart.ipynb`, and fails where one of its cells does.
"""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Here and in the notebook's kernel the package is that of the checkout, installed or not.
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
).rstrip(os.pathsep)

from sphinx.util.typing import stringify_annotation  # noqa: E402

from specjax import PAPER, EntropyRule, ViT  # noqa: E402
from specjax.tokens import Grid  # noqa: E402

project = "specjax"
author = "The specjax authors"
copyright = f"2026, {author}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

html_theme = "sphinx_book_theme"
html_title = "specjax"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_persistent": [],  # the search field is in the sidebar
}
html_copy_source = False

# ---------------------------------------------------------------- pages and the notebook

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

# ---------------------------------------------------------------- the API, from docstrings

# `name` in a docstring is code, and a link where it is something public.
default_role = "py:obj"
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 70
python_use_unqualified_type_names = True
napoleon_use_rtype = False
# Types are in the signature.
napoleon_custom_sections = [("Attributes", "params_style")]

# What a signature shows instead of what Python makes of the source.
_SHORT = {
    stringify_annotation(Grid, "smart"): "Grid",
    "jaxlib._jax.Array": "Array",
    repr(PAPER): "PAPER",
    repr(EntropyRule()): "EntropyRule()",
    "<class 'numpy.float32'>": "float32",
}


def _shorten(app, what, name, obj, options, signature, result):
    if obj is ViT:  # Flax hides it behind a metaclass
        signature = "(config: ViTConfig, *, rngs: Rngs)"
    for long, short in _SHORT.items():
        signature = signature and signature.replace(long, short)
        result = result and result.replace(long, short)
    return signature, result


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _shorten)
