"""An executed notebook as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nbformat

# JupyterLab's look, without the scripts that it would fetch from elsewhere: what a cell has shown is there as it is.
_TEMPLATE = """{% extends "index.html.j2" %}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""


def as_html(notebook: Mapping[str, Any], name: str | None = None) -> str:
    """A notebook as a page that needs nothing from anywhere.

    Parameters
    ----------
    notebook : mapping
        Its content, as in an .ipynb file.
    name : str, optional
        The page's title.
    """
    from nbconvert import HTMLExporter  # takes a second to load

    exporter = HTMLExporter(embed_images=True, raw_template=_TEMPLATE)  # type: ignore[no-untyped-call]  # it has none
    node = nbformat.from_dict(dict(notebook))  # type: ignore[no-untyped-call]  # it has none
    text, _ = exporter.from_notebook_node(node, resources={"metadata": {"name": name or "Notebook"}})
    return str(text)
