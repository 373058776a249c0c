"""B1, B2: a plan and a preview in a notebook."""

from __future__ import annotations

from collections.abc import Callable

from lab.checks import faults, poor_contrasts
from lab.notebook import Notebook

Open = Callable[..., Notebook]

UNREAD = """
import datapipe
def clean(df):
    return df
query = "SELECT id, price FROM orders"
plan = datapipe.read(query, source="sqlite:///not_there.db")
plan = plan.sql("SELECT id, price * 2 AS price FROM input_data").apply(clean).write("twice", to="sqlite:///target.db")
plan = plan.named("orders")
plan
"""
PREVIEW = """
import pyarrow as pa
import datapipe
data = pa.table({"id": pa.array(range(500)), "note": ["<b>x</b>"] * 500})
plan = datapipe.read(data).sql("SELECT id, note FROM input_data").write("seen.parquet").named("orders")
plan.preview(7)
"""


def test_a_plan_shows_itself_and_opens_nothing(notebook: Open) -> None:
    found = notebook(UNREAD)
    found.run_all(0)
    card = found.output(0)
    assert "orders" in found.text(0)
    assert "nothing is executed before .run()" in found.text(0)
    alt = card.locator("img").get_attribute("alt") or ""
    assert all(verb in alt for verb in ("read", "sql", "apply", "write"))
    heads = card.locator("th").all_inner_texts()
    assert {"step", "what", "columns"} <= set(heads)
    assert card.locator("tbody tr").count() >= 4
    assert "In[1]" in found.text(0)  # where each step was written
    assert not (found.server.folder / "not_there.db").exists()
    assert not (found.server.folder / "target.db").exists()
    found.save()
    assert "orders" in "".join(found.saved()["cells"][0]["outputs"][0]["data"]["text/plain"])


def test_everybody_can_read_a_plan(notebook: Open) -> None:
    found = notebook(UNREAD)
    found.run_all(0)
    assert faults(found.output(0)) == []
    for theme in ("light", "dark"):
        found.theme(theme)
        assert poor_contrasts(found.output(0)) == []


def test_a_preview_shows_rows_as_they_are_and_writes_nothing(notebook: Open) -> None:
    found = notebook(PREVIEW)
    found.run_all(0)
    table = found.output(0).locator("table").first
    numbers = [row for row in table.locator("tr").all_inner_texts() if "<b>x</b>" in row]
    assert len(numbers) == 7
    assert found.output(0).locator("td b").count() == 0
    shown = found.text(0)
    assert "bigint" in shown or "int64" in shown  # the types stand below the names
    assert "500" in shown  # rows of the source it is from
    assert not (found.server.folder / "seen.parquet").exists()
    assert faults(found.output(0)) == []
