"""How the documentation is built: ``make docs``. Nothing is fetched from the network, neither here nor by the pages."""

import sys
from importlib.util import find_spec
from pathlib import Path

import smoe

sys.path.append(str(Path(__file__).parent))  # gallery_order.py, nowrap.py

from gallery_order import PARTS  # noqa: E402

project = "smoe"
author = copyright = "The smoe developers"
version = release = smoe.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "nowrap",
]
exclude_patterns = [
    "_build",
    "sg_execution_times.rst",
    *(f"auto_examples/**.{kind}" for kind in ("ipynb", "py", "md5")),
]
templates_path = ["_templates"]
default_role = "py:obj"
nitpicky = True
# What other projects document, and words of signatures that are no names.
nitpick_ignore_regex = [
    ("py:.*", r"(sklearn|numpy|np|scipy|matplotlib|pandas|dask|joblib|logging|collections|abc|builtins)\..*"),
    ("py:class", r".*, default=.*|optional"),
    ("py:class", "NamedTuple|BaseEstimator|RegressorMixin|(np\\.)?ndarray"),
]

myst_enable_extensions = [
    "dollarmath",
    "amsmath",
    "colon_fence",
    "deflist",
    "attrs_inline",
    "attrs_block",
    "substitution",
]
myst_substitutions = {"release": release}
myst_heading_anchors = 3

autosummary_generate = True
autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# A copy of MathJax that a package carries; the script that makes SVG needs no fonts beside it.
mathjax_path = "tex-svg.js"
_mathjax = Path(find_spec("sphinx-mathjax-offline").submodule_search_locations[0], "static", "mathjax", mathjax_path)

html_title = "smoe"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static", str(_mathjax)]
html_css_files = ["smoe.css"]
html_favicon = html_logo = "_static/logo.svg"
html_show_sourcelink = html_copy_source = False
html_sidebars = {
    page: []
    for page in ("index", "install", "faq", "trust", "cite", "changelog", "studies", "published", "architecture")
}
html_theme_options = {
    "logo": {"text": "smoe", "alt_text": "smoe: home"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

# Metadata routing is scikit-learn's; fields of a named tuple and what tuples can do need no entries.
SKIPPED = {
    "get_metadata_routing",
    "set_fit_request",
    "set_score_request",
    "set_predict_request",
    "set_partial_fit_request",
    "count",
    "index",
}


def skip_member(app, what, name, obj, skip, options):
    """Leave out members that say nothing about smoe."""
    return True if name in SKIPPED or type(obj).__name__ == "_tuplegetter" else None


def own_words(app, what, name, obj, options, lines):
    """Say what the inherited ``score`` is without links into scikit-learn's manual."""
    if name.endswith(".score") and obj.__module__.startswith("sklearn"):
        lines[:] = ["Return the coefficient of determination of ``predict(X)``, as all regressors do."]


def close_blocks(app, docname, source):
    """Take away the blank line that ends the output of a doctest in Markdown."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", close_blocks)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", own_words, priority=100)  # before numpydoc


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "/plot_",
    "subsection_order": [*PARTS, "*"],
    "within_subsection_order": "gallery_order.StoryOrder",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 5,
    "doc_module": ("smoe",),
    "reference_url": {"smoe": None},
    "backreferences_dir": "auto_examples/backreferences",
    "image_srcset": ["2x"],
}
