"""What targets hold at a time is bounded in bytes, however long the rows."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from datapipe.data.stream import MIB, Stream, Workspace
from datapipe.persistence import sqlite
from datapipe.persistence.files import write_files
from datapipe.plan import FileTarget

LONG = pa.record_batch({"t": pa.array(["x" * 50_000] * 40)})  # 2 MB
SHORT = pa.record_batch({"b": pa.array([True] * 100_000)})


def test_sqlite_takes_long_rows_few_at_a_time_and_short_ones_not_too_many() -> None:
    long, short = list(sqlite._parts(iter([LONG] * 20))), list(sqlite._parts(iter([SHORT] * 3)))
    assert sum(part.num_rows for part in long) == 800 and max(part.nbytes for part in long) < 4 * MIB
    assert sum(part.num_rows for part in short) == 300_000 and max(part.num_rows for part in short) == 10_000


def test_small_batches_make_no_small_row_groups(tmp_path) -> None:
    batch = pa.record_batch({"n": pa.array(range(1000), pa.int64())})
    target = FileTarget(path=str(tmp_path / "out" / "a.parquet"))
    # What a Parquet file says of each of its row groups stays in memory until its end.
    write_files(target, Stream(batch.schema, iter([batch] * 3000)), Workspace(memory=64 * MIB, scratch=tmp_path))
    footer = pq.read_metadata(target.path)
    assert (footer.num_rows, footer.num_row_groups) == (3_000_000, 3)
