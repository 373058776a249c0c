"""An executed notebook as a page that needs nothing from anywhere."""

from __future__ import annotations

import nbformat
from jobside import remote_parts

from datapipe.execution.page import as_html


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    cell = nbformat.v4.new_code_cell("print(1)", outputs=[nbformat.v4.new_output("stream", text="it is 1\n")])  # type: ignore[no-untyped-call]  # it has none
    notes = nbformat.v4.new_markdown_cell("# Load\n$x^2$")  # type: ignore[no-untyped-call]  # nor this
    page = as_html(nbformat.v4.new_notebook(cells=[notes, cell]), "daily")  # type: ignore[no-untyped-call]  # nor this
    assert "<title>daily</title>" in page and "it is 1" in page and "Load" in page
    assert "<script" not in page and remote_parts(page) == []
