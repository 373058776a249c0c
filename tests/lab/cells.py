"""Cells of notebooks: plans that take as long as a test needs."""

from __future__ import annotations

_BATCHES_A_SECOND = 10
_BYTES = 60_000_000


def slow_plan(target: str, *, seconds: float = 6, rows: int = 60_000, name: str = "orders", steps: str = "") -> str:
    """A cell with a ``plan`` that hands on its rows evenly, and counts in ``calls`` how often its function was called.

    The rows are so wide, and come in so many pieces, that the source cannot run far ahead of the function.

    Parameters
    ----------
    target : str
        What is written: a path of a file.
    steps : str
        Further steps, before the slow one.
    """
    batch = max(1, round(rows / seconds / _BATCHES_A_SECOND))
    return f"""
import os, time
os.environ["BATCH_SIZE"] = "{batch}"
import pyarrow as pa
import datapipe
calls = []
def slow(df):
    calls.append(len(df))
    time.sleep({1 / _BATCHES_A_SECOND})
    return df[["id"]]
ids = pa.table({{"id": pa.array(range({rows})), "pad": pa.array(["x" * {_BYTES // rows}] * {rows}, pa.large_string())}})
rows = pa.concat_tables(ids.slice(start, {batch}) for start in range(0, {rows}, {batch}))
plan = datapipe.read(rows){steps}.apply(slow, per_batch=True).write({target!r}).named({name!r})
"""


QUICK = """
import pyarrow as pa
import datapipe
orders = pa.table({"id": [1, 2, 3], "note": ["a", "<b>x</b>", None]})
plan = datapipe.read(orders).sql("SELECT id, note FROM input_data WHERE id > 1").write("quick.parquet").named("orders")
plan.run()
"""

FAILING = """
import pyarrow as pa
import datapipe
prices = pa.table({"id": pa.array(range(1000)), "price": ["1.5"] * 700 + ["n/a"] + ["2.5"] * 299})
def number(text):
    return float(text)
def clean(df):
    df["price"] = df["price"].map(number)
    return df
plan = datapipe.read(prices).sql("SELECT * FROM input_data").apply(clean).write("failing.parquet").named("orders")
plan.run()
"""
