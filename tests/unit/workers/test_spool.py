"""Rows in the spool: exact, private, found by name alone, swept when old."""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from datapipe.data.stream import Stream, Workspace
from datapipe.data.types import INTERVAL, tagged
from datapipe.errors import FatalError, PlanError
from datapipe.workers import spool
from datapipe.workers.spool import SpoolFile, SpoolMissing

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("amount", pa.decimal128(12, 2)),
        tagged("exact", "numeric"),
        tagged("payload", "jsonb"),
        tagged("price", "money"),
        pa.field("key", pa.uuid()),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("span", INTERVAL),
        pa.field("days", pa.list_(pa.date32())),
    ]
)
ROW = {
    "id": 1,
    "amount": Decimal("12.50"),
    "exact": "1E+40",
    "payload": '{"a": 1}',
    "price": "$1.00",
    "key": uuid.UUID(int=7).bytes,
    "at": 0,
    "span": pa.MonthDayNano([1, 2, 3]),
    "days": [1, None],
}
TABLE = pa.Table.from_pylist([ROW, {"id": 2}], schema=SCHEMA)


@pytest.fixture(params=["folder", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a kind of place, which is set and empty."""
    urls = {
        "folder": str(tmp_path / "spool"),
        "file": f"file://{tmp_path}/spool",
        "memory": f"memory://{uuid.uuid4().hex}/spool",
    }
    monkeypatch.setenv("DATAPIPE_SPOOL_URL", urls[request.param])
    yield request.param
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool in a folder that does not exist yet."""
    monkeypatch.setenv("DATAPIPE_SPOOL_URL", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    (tmp_path / "scratch").mkdir()
    return Workspace(scratch=tmp_path / "scratch")


def written(work: Workspace, table: pa.Table = TABLE, task_id: str = "t1") -> SpoolFile:
    return spool.write(Stream(table.schema, iter(table.to_batches(max_chunksize=1))), work, task_id)


def read(name: str, work: Workspace) -> pa.Table:
    with spool.opened(name, work) as stream:
        return pa.Table.from_batches(list(stream.batches), schema=stream.schema)


def test_rows_come_back_with_their_exact_types(place: str, work: Workspace) -> None:
    file = written(work)
    found = read(file.name, work)
    assert found.schema.equals(SCHEMA, check_metadata=True)
    assert found.equals(TABLE)
    assert (file.row_count, file.columns["exact"], file.columns["amount"]) == (2, "numeric", "numeric(12,2)")


def test_no_rows_still_have_columns(place: str, work: Workspace) -> None:
    file = written(work, TABLE.slice(0, 0))
    assert file.row_count == 0
    assert read(file.name, work).schema.equals(SCHEMA, check_metadata=True)


def test_what_is_discarded_is_gone_and_may_be_discarded_again(place: str, work: Workspace) -> None:
    file = written(work)
    spool.discard(file.name)
    spool.discard(file.name)
    with pytest.raises(SpoolMissing, match="not in the spool"):
        read(file.name, work)


def test_the_first_note_of_a_task_counts(place: str) -> None:
    assert spool.remembered("t1") is None
    assert spool.remember("t1", {"n": 1}) == {"n": 1}
    assert spool.remember("t1", {"n": 2}) == {"n": 1}
    assert spool.remembered("t1") == {"n": 1}


def test_nothing_but_the_file_is_left_of_a_write(folder: Path, work: Workspace) -> None:
    file = written(work)
    assert [path.name for path in folder.iterdir()] == [file.name]
    assert list(work.scratch.iterdir()) == []


def test_nothing_is_left_of_a_write_that_fails(folder: Path, work: Workspace) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield TABLE.to_batches()[0]
        raise FatalError("the source broke")

    with pytest.raises(FatalError, match="the source broke"):
        spool.write(Stream(SCHEMA, broken()), work, "t1")
    assert list(folder.iterdir()) == []


def test_the_spool_is_for_its_user_only(folder: Path, work: Workspace) -> None:
    file = written(work)
    spool.remember("t1", {})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert file.name != written(work).name, "the name cannot be guessed"


def test_a_task_id_never_becomes_a_path(folder: Path, work: Workspace) -> None:
    file = written(work, task_id="../../etc/passwd")
    assert (folder / file.name).is_file()
    assert read(file.name, work).num_rows == 2


HEX = "0" * 32
OUTSIDE = [
    "../secret.arrow",
    f"../t1.{HEX}.arrow",
    f"/etc/t1.{HEX}.arrow",
    f"sub/t1.{HEX}.arrow",
    f"file:///tmp/t1.{HEX}.arrow",
    "s3://key:s3cret@bucket/x.arrow",
    "t1.json",
    f"t1.{HEX}.arrow\n",
    "",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_only_names_of_the_spool_are_read_or_removed(folder: Path, work: Workspace, name: str) -> None:
    for call in (lambda: read(name, work), lambda: spool.discard(name), lambda: spool.stored(name)):
        with pytest.raises(PlanError, match="no file of the spool") as caught:
            call()
        assert "s3cret" not in str(caught.value)


def test_a_link_in_the_spool_is_not_followed(folder: Path, work: Workspace, tmp_path: Path) -> None:
    file = written(work)
    (folder / file.name).rename(tmp_path / "elsewhere.arrow")
    (folder / file.name).symlink_to(tmp_path / "elsewhere.arrow")
    with pytest.raises(FatalError, match="no file of this user"):
        read(file.name, work)


def test_a_damaged_file_is_named_as_such(folder: Path, work: Workspace) -> None:
    file = written(work)
    (folder / file.name).write_bytes((folder / file.name).read_bytes()[:-20])
    with pytest.raises(FatalError, match="damaged"):
        read(file.name, work)


def test_a_place_that_fails_says_no_password(monkeypatch: pytest.MonkeyPatch, work: Workspace) -> None:
    for url in ("ftp://ann:s3cret@127.0.0.1:1/spool", "nonsense://ann:s3cret@host/spool"):
        monkeypatch.setenv("DATAPIPE_SPOOL_URL", url)
        with pytest.raises(Exception, match=r"spool|SPOOL") as caught:
            written(work)
        assert "s3cret" not in f"{caught.value!r}{caught.value}"


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_sweeping_takes_what_is_too_old_to_be_wanted(folder: Path, work: Workspace) -> None:
    day, names = 86_400, [written(work, task_id=f"t{number}").name for number in range(2)]
    spool.remember("t0", {})
    for name in ("t2.json.00000000.part", f"t2.{HEX}.arrow.00000000.part", "mine.txt", "fresh.json.0.part"):
        (folder / name).touch(mode=0o600)
        aged(folder / name, 8 * day if name == "mine.txt" else 1.5 * day)
    aged(folder / "fresh.json.0.part", 60)
    aged(folder / names[0], 8 * day)
    aged(folder / names[1], 6 * day)
    aged(folder / "t0.json", 8 * day)
    wanted = {names[0], "t0.json", "t2.json.00000000.part", f"t2.{HEX}.arrow.00000000.part"}
    assert {Path(found.name).name for found in spool.sweep_spool(dry_run=True)} == wanted
    assert {Path(found.name).name for found in spool.sweep_spool()} == wanted
    assert {path.name for path in folder.iterdir()} == {names[1], "mine.txt", "fresh.json.0.part"}
    assert [Path(found.name).name for found in spool.sweep_spool(older_than=5 * day)] == [names[1]]


def test_sweeping_a_place_of_fsspec(place: str, work: Workspace) -> None:
    name = written(work).name
    assert spool.sweep_spool() == ()
    time.sleep(0.02)
    assert [found.name.rpartition("/")[2] for found in spool.sweep_spool(older_than=0.01)] == [name]


def test_a_spool_that_does_not_exist_yet_has_nothing_to_sweep(place: str) -> None:
    assert spool.sweep_spool() == ()


def test_rows_are_not_read_into_memory(folder: Path, work: Workspace) -> None:
    big = pa.table({"n": pa.nulls(1_000_000, pa.int64())})
    file = spool.write(Stream(big.schema, iter(big.to_batches() * 8)), work, "t1")
    before = pa.total_allocated_bytes()
    with spool.opened(file.name, work) as stream:
        assert sum(batch.num_rows for batch in stream.batches) == 8_000_000
        assert pa.total_allocated_bytes() - before < 1 << 20
