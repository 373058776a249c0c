"""An executed notebook as one HTML page."""

from __future__ import annotations

import re
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


_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_COLOURED = 100_000  # characters beyond which a text loses its colours: nbconvert takes minutes for them


def _plainer(notebook: Mapping[str, Any]) -> dict[str, Any]:
    return {**notebook, "cells": [_without_colours(cell) for cell in notebook["cells"]]}


def _without_colours(cell: Mapping[str, Any]) -> dict[str, Any]:
    if not any(len(output.get("text", "")) > _COLOURED for output in cell.get("outputs", ())):
        return dict(cell)
    found = [
        {**output, "text": _ANSI.sub("", output["text"])} if isinstance(output.get("text"), str) else output
        for output in cell["outputs"]
    ]
    return {**cell, "outputs": found}


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
    node = nbformat.from_dict(_plainer(notebook))  # type: ignore[no-untyped-call]  # it has none
    text, _ = exporter.from_notebook_node(node, resources={"metadata": {"name": name or "Notebook"}})
    return str(text)
