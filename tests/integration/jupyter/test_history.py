"""B15: what changed: between two schemas, and from one run to the next."""

from __future__ import annotations

from lab.checks import faults
from lab.notebook import Notebook

SETUP = """
import pyarrow as pa
import datapipe

def load(rows):
    orders = pa.table({"id": pa.array(range(rows))})
    datapipe.read(orders).write("history.parquet").named("history").run()

for rows in (1000, 1250, 1250, 1100):
    load(rows)
"""
DIFF = """
before = datapipe.read(pa.table({"id": [1], "price": ["1.5"], "note": ["a"]}))
after = datapipe.read(pa.table({"id": [1], "price": [1], "country": ["NL"]}))
after.diff(before)
"""


def test_what_changed_in_a_schema_is_said_in_words(shared: Notebook) -> None:
    setup, diff = shared.add_all("import pyarrow as pa\nimport datapipe", DIFF)
    shared.run_all(setup, diff)
    table = shared.output(diff).locator("table")
    rows = dict(
        zip(table.locator("tbody th").all_inner_texts(), table.locator("tbody tr").all_inner_texts(), strict=True)
    )
    assert rows.keys() == {"price", "note", "country"}
    for column, words in (
        ("price", ("retyped", "text", "bigint")),
        ("note", ("removed", "text")),
        ("country", ("added", "text")),
    ):
        for word in words:
            assert word in rows[column], rows
    assert table.locator("thead th").all_inner_texts()[0] == "column"
    assert faults(shared.output(diff)) == []


def test_runs_are_listed_with_what_changed_since_the_run_before(shared: Notebook) -> None:
    setup, listed, plain = shared.add_all(
        SETUP, "datapipe.runs(plan='history')", "print(datapipe.runs(plan='history'))"
    )
    shared.run_all(setup, listed, plain)
    table = shared.output(listed).locator("table")
    heads = table.locator("thead th").all_inner_texts()
    rows = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    found = [(row[heads.index("rows written")], row[heads.index("change")]) for row in rows]
    assert found == [("1,100", "-150"), ("1,250", "±0"), ("1,250", "+250"), ("1,000", "")]  # the newest first
    assert all("SUCCEEDED" in row[0] for row in rows)
    assert "latest 4 runs" in shared.text(listed)
    assert shared.text(plain).count("SUCCEEDED") == 4
    assert faults(shared.output(listed)) == []
