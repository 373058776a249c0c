"""Files of jobs: whole or not there, private, found by name, swept when old."""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.errors import FatalError, PlanError, TransientError
from datapipe.notebooks import storage
from datapipe.notebooks.artifacts import Artifacts, all_notebooks, artifacts_of, artifacts_root, sweep

DAY = dt.date(2026, 11, 26)
HOUR = 3600.0


@pytest.fixture(params=["folder", "file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place that does not exist yet."""
    yield {
        "folder": str(tmp_path / "a b" / "jobs"),
        "file": f"file://{tmp_path}/a%20b/jobs",
        "memory": f"memory://{uuid.uuid4().hex}/jobs",
    }[request.param]
    fsspec.filesystem("memory").store.clear()


def written(
    root: str, run: str, *, age: float = 0.0, day: dt.date = DAY, name: str = "daily", attempt: int = 1
) -> None:
    """A run with one file of some age in seconds."""
    found = artifacts_of(root, name, run, attempt, day)
    found.write("result.json", b"{}")
    then = time.time() - age
    if root.startswith("memory:"):
        path = f"/{root.removeprefix('memory://')}/{found.path}/result.json"
        fsspec.filesystem("memory").store[path].created = dt.datetime.fromtimestamp(then, dt.UTC)
    else:
        os.utime(f"{found.label}/result.json", (then, then))


def runs(root: str, name: str = "daily") -> list[str]:
    """The runs that are there."""
    place = storage.storage(root)
    return [run for day in place.folders(name) for run in place.folders(f"{name}/{day}")]


def test_a_file_is_read_as_it_was_written(root: str) -> None:
    found = artifacts_of(root, "daily", "r1", 1, DAY)
    assert found.names() == [] and found.read("a.bin") is None
    content = bytes(range(256)) * 10_000
    found.write("a.bin", content)
    found.write("outputs/orders 1.parquet", b"PAR1")
    assert found.read("a.bin") == content
    assert found.names() == ["a.bin", "outputs/orders 1.parquet"]
    found.write("a.bin", b"")
    assert found.read("a.bin") == b""
    assert artifacts_of(root, "daily", "r1", 2, DAY).names() == []


def test_a_local_file_is_copied(root: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.parquet"
    file.write_bytes(b"PAR1" * 1_000_000)
    found = artifacts_of(root, "daily", "r1", 1, DAY)
    found.write_file("orders.parquet", file)
    assert found.read("orders.parquet") == file.read_bytes()
    with pytest.raises(FileNotFoundError):
        found.write_file("orders.parquet", tmp_path / "missing")


def test_a_write_that_fails_leaves_what_was_there(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = artifacts_of(root, "daily", "r1", 1, DAY)
    found.write("a.txt", b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        patch.setattr(fsspec.implementations.memory.MemoryFileSystem, "mv", fails)
        with pytest.raises((FatalError, TransientError), match=re.escape(storage.storage(root).label)) as caught:
            found.write("a.txt", b"after")
    assert "No space left on device" in str(caught.value) and "DATAPIPE_ARTIFACTS_URL" in str(caught.value)
    assert found.read("a.txt") == b"before"
    every = fsspec.filesystem("memory").store if root.startswith("memory:") else list(Path(found.label).iterdir())
    assert len(every) == 1


def fails(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_draft_is_no_file(tmp_path: Path) -> None:
    found = artifacts_of(str(tmp_path), "daily", "r1", 1, DAY)
    found.write("a.txt", b"1")
    Path(found.label, ".a.txt.0123abcd.part").write_bytes(b"2")
    assert found.names() == ["a.txt"]


def test_local_files_are_for_this_user_alone(tmp_path: Path) -> None:
    found = artifacts_of(str(tmp_path / "jobs"), "daily", "r1", 1, DAY)
    before = os.umask(0)
    try:
        found.write("deep/a.txt", b"1")
    finally:
        os.umask(before)
    every = [tmp_path / "jobs", *(tmp_path / "jobs").rglob("*")]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in every}
    assert modes == {**dict.fromkeys(("jobs", "daily", f"{DAY}", "r1", "1", "deep"), 0o700), "a.txt": 0o600}


def test_it_tells_where_it_is_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Artifacts("memory://ann:s3cret@bucket/jobs?token=s3cret", "daily/2026-11-26/r1/1")
    assert found.label == "memory://ann@bucket/jobs/daily/2026-11-26/r1/1"
    assert found.uri("a.txt") == f"{found.label}/a.txt"
    assert "s3cret" not in repr(found)
    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "cat_file", tells)
    with pytest.raises(TransientError, match="RuntimeError") as caught:
        found.read("a.txt")
    assert "s3cret" not in str(caught.value)


def tells(*_: object, **__: object) -> None:
    raise RuntimeError("cannot log in with s3cret")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://ann:s3cret@h/jobs", r"DATAPIPE_ARTIFACTS_URL \(nosuch://…\) is wrong"),
        ("a::b://s3cret", r"DATAPIPE_ARTIFACTS_URL \(a::b://…\) is wrong"),
        ("hdfs3s3cret", None),
    ],
)
def test_a_wrong_url_is_not_repeated(url: str, message: str | None) -> None:
    if message is None:  # a folder, then
        assert Artifacts(url, "p").label == f"{Path(url).absolute()}/p"
        return
    with pytest.raises(PlanError, match=message) as caught:
        Artifacts(url, "p").names()
    assert "s3cret" not in str(caught.value)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(PlanError, match=r"notebooks at s3:// need s3fs. Run: pip install s3fs"):
        Artifacts("s3://bucket/jobs", "p").names()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FatalError, match=f"{tmp_path}/jobs fails: Permission denied.*DATAPIPE_ARTIFACTS_URL"):
        artifacts_of(str(tmp_path / "jobs"), "daily", "r1", 1, DAY).write("a", b"")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("")
    found = artifacts_of(str(tmp_path / "jobs"), "daily", "r1", 1, DAY)
    with pytest.raises(FatalError, match=r"/jobs fails: (Not a directory|File exists).*DATAPIPE_ARTIFACTS_URL"):
        found.write("a", b"")


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/../b", "/a", "a/", "a//b", "a\\b", ".hidden", "a*", "a\n"])
def test_a_name_stays_within_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlanError, match="cannot name a file"):
        artifacts_of(str(tmp_path), "daily", "r1", 1, DAY).write(name, b"")


@pytest.mark.parametrize("run", ["", "..", "a/b", ".a", "x" * 81, "celery:7"])
def test_any_runs_id_makes_one_folder(run: str) -> None:
    name, day, folder, attempt = artifacts_of("/x", "daily", run, 1, DAY).path.split("/")
    assert (name, day, attempt) == ("daily", "2026-11-26", "1")
    assert re.fullmatch(r"[\w.-]{1,80}", folder) and not folder.startswith(".")


@given(st.text())
def test_any_notebooks_name_makes_one_folder(name: str) -> None:
    folder, *rest = artifacts_of("/x", name, "r1", 1, DAY).path.split("/")
    assert rest == ["2026-11-26", "r1", "1"]
    assert re.fullmatch(r"[\w.-]{1,80}", folder) and not folder.startswith(".") and len(folder.encode()) <= 240
    assert artifacts_of("/x", folder, "r1", 1, DAY).path.startswith(f"{folder}/")  # its own


@pytest.mark.parametrize(
    ("name", "folder"),
    [("Umsätze 2026", "Umsätze_2026"), ("..", "_."), ("", "_"), ("a/b", "a_b"), ("x" * 99, "x" * 80)],
)
def test_how_a_notebooks_folder_is_called(name: str, folder: str) -> None:
    assert artifacts_of("/x", name, "r1", 1, DAY).path.startswith(f"{folder}/2026")


def test_the_root_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "home"))
    assert artifacts_root() == str(tmp_path / "home" / "notebooks")
    monkeypatch.setenv("DATAPIPE_ARTIFACTS_URL", "jobs")
    assert artifacts_root() == str(tmp_path / "jobs")
    monkeypatch.setenv("BUCKET", "b1")
    monkeypatch.setenv("DATAPIPE_ARTIFACTS_URL", "s3://${BUCKET}/jobs")
    assert artifacts_root() == "s3://b1/jobs"


def test_old_runs_go_with_all_their_attempts(root: str) -> None:
    written(root, "old", age=91 * 86_400)
    written(root, "old", age=95 * 86_400, attempt=2)
    written(root, "retried", age=91 * 86_400)
    written(root, "retried", age=2 * HOUR, attempt=2)
    written(root, "new", age=2 * HOUR, day=DAY + dt.timedelta(days=1))
    written(root, "other", age=91 * 86_400, name="weekly")
    label = f"{storage.storage(root).label}/daily/2026-11-26/old"
    assert sweep(root, "daily", days=90, runs=9, dry_run=True) == [label]
    assert runs(root) == ["old", "retried", "new"]
    assert sweep(root, "daily", days=90, runs=9) == [label]
    assert runs(root) == ["retried", "new"] and runs(root, "weekly") == ["other"]
    assert sweep(root, "daily", days=90, runs=9) == []


def test_of_many_runs_the_newest_stay(root: str) -> None:
    for number in (3, 1, 5, 2, 4):
        written(root, f"r{number}", age=number * 2 * HOUR)
    assert [label.rpartition("/")[2] for label in sweep(root, "daily", days=90, runs=2)] == ["r5", "r4", "r3"]
    assert runs(root) == ["r1", "r2"]


def test_the_newest_run_stays_and_those_that_may_be_running(root: str) -> None:
    for name, age in {"a": 0.5 * HOUR, "b": 0.9 * HOUR, "c": 1.1 * HOUR}.items():
        written(root, name, age=age)
    sweep(root, "daily", days=0, runs=0)
    assert runs(root) == ["a", "b"]
    written(root, "a", age=500 * HOUR)
    written(root, "b", age=400 * HOUR)
    sweep(root, "daily", days=1, runs=0)
    assert runs(root) == ["b"]


def test_folders_of_days_without_runs_go(tmp_path: Path) -> None:
    root, today = str(tmp_path), dt.date.today()
    written(root, "r1", age=2 * 86_400, day=today - dt.timedelta(days=2))
    written(root, "r2", age=2 * HOUR, day=today)
    (tmp_path / "daily" / "2020-01-01").mkdir()
    (tmp_path / "daily" / f"{today - dt.timedelta(days=1)}").mkdir()  # a run may be about to write into it
    sweep(root, "daily", days=1, runs=9, dry_run=True)
    assert len(list((tmp_path / "daily").iterdir())) == 4
    sweep(root, "daily", days=1, runs=9)
    assert sorted(path.name for path in (tmp_path / "daily").iterdir()) == [
        f"{today - dt.timedelta(days=1)}",
        f"{today}",
    ]


@pytest.mark.parametrize(
    "path",
    ["2020-01-01/host/log.txt", "2020-01-01/log.txt", "2020-01-01/r/1", "archive/r/1/a", "1/r/1/a", "2020-01-01/r/x/a"],
)
def test_what_does_not_look_like_a_run_is_left_alone(root: str, path: str) -> None:
    written(root, "newest", age=2 * HOUR)
    files, base = storage.storage(root).files, storage.storage(root).root
    files.makedirs(f"{base}/daily/{path}".rpartition("/")[0], exist_ok=True)
    files.pipe_file(f"{base}/daily/{path}", b"mine")
    if not root.startswith("memory:"):
        os.utime(f"{base}/daily/{path}", (0, 0))
    assert sweep(root, "daily", days=0, runs=0) == []
    assert files.cat_file(f"{base}/daily/{path}") == b"mine"


def test_a_link_is_left_alone(tmp_path: Path) -> None:
    written(str(tmp_path), "newest", age=2 * HOUR)
    written(str(tmp_path / "elsewhere"), "r1", age=900 * HOUR)
    link = tmp_path / "daily" / f"{DAY}" / "link"
    link.symlink_to(tmp_path / "elsewhere" / "daily" / f"{DAY}" / "r1")
    os.utime(link, (0, 0), follow_symlinks=False)
    assert sweep(str(tmp_path), "daily", days=1, runs=1) == []


def test_a_run_without_files_is_as_old_as_its_folder(tmp_path: Path) -> None:
    written(str(tmp_path), "newest")
    for name, age in {"stuck": 900 * HOUR, "begun": 0.1 * HOUR}.items():
        folder = tmp_path / "daily" / f"{DAY}" / name
        folder.mkdir()
        os.utime(folder, (time.time() - age,) * 2)
    sweep(str(tmp_path), "daily", days=1, runs=9)
    assert runs(str(tmp_path)) == ["begun", "newest"]


def test_what_tells_no_time_is_not_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        written(str(tmp_path), name, age=900 * HOUR)
    monkeypatch.setattr(storage, "_TIMES", ("nothing",))
    assert sweep(str(tmp_path), "daily", days=0, runs=0) == []


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"mtime": 12.5, "created": 1.0}, 12.5),
        ({"LastModified": dt.datetime(1970, 1, 1, 0, 1, tzinfo=dt.UTC)}, 60.0),
        ({"last_modified": dt.datetime(1970, 1, 1, 0, 1)}, 60.0),
        ({"updated": "1970-01-01T00:01:00.000Z"}, 60.0),
        ({"updated": "yesterday"}, None),
        ({}, None),
    ],
)
def test_file_systems_tell_times_in_many_ways(info: dict[str, Any], expected: float | None) -> None:
    assert storage._time(info) == expected


def test_all_notebooks_are_those_that_ran(root: str) -> None:
    assert all_notebooks(root) == [] and sweep(root, "daily", days=1, runs=1) == []
    for name in ("weekly", "daily", "a b"):
        written(root, "r1", name=name)
    place = storage.storage(root)
    place.write("logs/host/log.txt", b"")
    place.write("notes.txt", b"")
    assert all_notebooks(root) == ["a_b", "daily", "weekly"]
