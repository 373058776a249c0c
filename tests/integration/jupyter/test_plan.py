"""B1, B2: a plan and a preview in a notebook."""

from __future__ import annotations

import socket

import pytest
from lab.checks import faults, poor_contrasts
from lab.notebook import Notebook

# What Python opens, connects to and lists is told to the hook. The file is a pipe: to open it would last forever.
SPIED = """
import os, sys
import datapipe
def clean(df):
    return df
told, listens = [], False
def spy(event, arguments):
    if listens and event in {{"open", "sqlite3.connect", "socket.connect", "os.listdir", "os.scandir", "glob.glob"}}:
        told.append(f"{{event}} {{arguments}}")
sys.addaudithook(spy)
os.mkfifo("pipe.parquet")
makers = [
    lambda: datapipe.read("pipe.parquet"),
    lambda: datapipe.read("SELECT id, price FROM orders", source="sqlite:///not_there.db"),
    lambda: datapipe.read("orders", source="postgresql://ann:secret@127.0.0.1:{port}/crm"),
]
listens = True
plans = []
for read in makers:
    plan = read().sql("SELECT id, price * 2 AS price FROM input_data").apply(clean)
    plan = plan.validate(checks=["price > 0"]).write("twice", to="sqlite:///target.db").named("orders")
    plan._repr_html_(), repr(plan)
    plans.append(plan)
plans[1]
"""
OPENED = """
listens = False
[line for line in told if any(name in line for name in ("pipe.parquet", "not_there", "target.db", "connect ("))]
"""
PREVIEW = """
import pyarrow as pa, pyarrow.parquet
import datapipe
pa.parquet.write_table(pa.table({"before": [1]}), "seen.parquet")
data = pa.table({"id": pa.array(range(500)), "note": ["<b>x</b>", "<b>x</b>", None, "y", "z"] * 100})
plan = datapipe.read(data).sql("SELECT id, note FROM input_data").write("seen.parquet").named("orders")
plan.preview(7)
"""
KEPT = "pa.parquet.read_table('seen.parquet').to_pylist()"


def test_a_plan_shows_itself_and_opens_nothing(shared: Notebook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        plan, opened = shared.add_all(SPIED.format(port=server.getsockname()[1]), OPENED)
        shared.run_all(plan, opened, seconds=20)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert shared.text(opened) == "[]"
    assert not (shared.server.folder / "not_there.db").exists()
    assert not (shared.server.folder / "target.db").exists()
    (shared.server.folder / "pipe.parquet").unlink()
    card = shared.output(plan)
    assert "Plan orders · 3 transformations · nothing is executed before .run()" in shared.text(plan)
    alt = card.locator("img").get_attribute("alt") or ""
    assert all(verb in alt for verb in ("read", "1 sql", "2 apply", "3 validate", "write"))
    assert card.locator("thead th").all_inner_texts() == ["step", "what", "written at", "columns", "engine"]
    rows = [row.locator("td").all_inner_texts() for row in card.locator("tbody tr").all()]
    assert [row[0] for row in rows] == ["read", "1 sql", "2 apply", "3 validate", "write"]
    assert all(f"In[{shared.count(plan)}]" in row[2] for row in rows)  # where each step was written
    assert all(row[3] and row[4] for row in rows)
    assert faults(card) == []
    for theme in ("light", "dark"):
        shared.theme(theme)
        assert poor_contrasts(card) == []
    shared.save()
    assert "orders" in "".join(shared.saved()["cells"][plan]["outputs"][0]["data"]["text/plain"])


def test_a_preview_shows_rows_as_they_are_and_writes_nothing(shared: Notebook) -> None:
    preview, kept = shared.add_all(PREVIEW, KEPT)
    shared.run_all(preview, kept)
    card = shared.output(preview)
    heads = [head.split("\n") for head in card.locator("thead th").all_inner_texts()]
    assert heads == [["id", "bigint", "0 % NULL"], ["note", "text", "20 % NULL"]]
    rows = [row.locator("td").all_inner_texts() for row in card.locator("tbody tr").all()]
    assert rows[:3] == [["0", "<b>x</b>"], ["1", "<b>x</b>"], ["2", "NULL"]]  # as text
    assert len(rows) == 7
    assert card.locator("td b").count() == 0
    assert "7 of 500 rows after step 1 (sql) · all 500 source rows" in shared.text(preview)
    assert "nothing is written" in shared.text(preview)
    assert shared.text(kept) == "[{'before': 1}]"  # the target is as it was
    assert faults(card) == []
    for theme in ("light", "dark"):
        shared.theme(theme)
        assert poor_contrasts(card) == []
