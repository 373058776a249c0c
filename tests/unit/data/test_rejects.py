"""Refused rows: in memory while they are few, then in files, always in order."""

from pathlib import Path

import pyarrow as pa

from datapipe.data.rejects import SCHEMA, Rejects


def batch(first: int, count: int, size: int) -> pa.RecordBatch:
    row = {"step": "v", "column_name": None, "check_name": "c", "reason": "r", "data": "x" * size}
    return pa.RecordBatch.from_pylist([{**row, "row_number": first + number} for number in range(count)], schema=SCHEMA)


def test_few_stay_in_memory(tmp_path: Path) -> None:
    rejects = Rejects()
    rejects.add(batch(1, 3, 10), tmp_path)
    assert not list(tmp_path.iterdir())
    assert rejects.rows == 3


def test_many_go_to_files_in_order(tmp_path: Path) -> None:
    rejects = Rejects()
    for part in range(30):
        rejects.add(batch(part * 10, 10, 100_000), tmp_path)
    assert len(list(tmp_path.iterdir())) >= 3
    assert rejects.rows == 300
    assert [n for found in rejects.batches() for n in found.column("row_number").to_pylist()] == list(range(300))
