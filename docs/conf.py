"""The site: these pages and a reference from the docstrings. `make docs` builds it; a warning is an error there.

It fetches nothing, neither when it is built nor when it is looked at: no fonts, scripts or counters of others.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the reference describes this working tree, whatever is installed

project = "evalpool"
author = "the authors of evalpool"
html_title = "evalpool"
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "friendly"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["conf.py"]
default_role = "py:obj"  # `Evaluator.submit` in a docstring leads there, if it is public
add_module_names = False

myst_heading_anchors = 4  # links to headings, as the same files have them in a browser of the repository
myst_links_external_new_tab = False

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_use_rtype = False


BELOW = {
    "decisions/README": "[0-9]*",
    "reference/README": (
        "evaluator searching storage callbacks simulation benchmarks analysis testing errors compat logging backends"
    ),
}


def _put_pages_below(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put pages below the one that lists them, which is plain Markdown wherever else it is read."""
    if docname in BELOW:
        pages = BELOW[docname].replace(" ", "\n")
        source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    app.connect("source-read", _put_pages_below)
