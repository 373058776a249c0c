"""Which files are new, and what their folder is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapipe.data.asking import everything
from datapipe.data.cancel import CancelToken
from datapipe.data.filemarks import FileMark, Files
from datapipe.data.stream import Workspace
from datapipe.errors import PlanError, RunCancelled
from datapipe.ingestion.folders import folder_of, place_of
from datapipe.ingestion.newfiles import NewFiles, Stamp, sorted_out
from datapipe.plan import FileSource


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with files in it."""
    for name in ("in/a.csv", "in/b.csv", "in/2024/c.csv", "in/odd[1].csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "place", "rest"),
    [
        ("in", "in", "*"),
        ("in/", "in", "*"),
        ("in/*.csv", "in", "*.csv"),
        ("./in/../in/*.csv", "in", "*.csv"),
        ("in/**/*.csv", "in", "**/*.csv"),
        ("in/20[0-9]*/c.csv", "in", "20[0-9]*/c.csv"),
        ("in/a.csv", "in", "a.csv"),
        ("in/gone.csv", "in", "gone.csv"),
        ("in/odd[1].csv", "in", "odd[1].csv"),  # which is a file
        ("*.csv", ".", "*.csv"),
    ],
)
def test_the_folder_of_a_pattern(folder: Path, pattern: str, place: str, rest: str) -> None:
    assert folder_of(pattern)[1] == rest
    assert place_of(pattern) == (folder / place).resolve().as_posix()
    assert place_of(str(folder / pattern)) == place_of(pattern)


def test_new_ones_and_those_to_be_looked_at_again() -> None:
    there = {
        name: Stamp(size, modified, (0, 0, 0), False)
        for name, size, modified in [("same", 3, 7), ("larger", 4, 7), ("later", 3, 8), ("young", 3, 7), ("new", 3, 7)]
    }
    known = {name: FileMark(3, 7, b"") for name in ("same", "larger", "later", "vanished")}
    known["young"] = FileMark(3, None, b"")
    assert sorted_out(there, known) == (["new"], ["larger", "later", "young"])


def test_a_stamp_differs_with_all_but_age(folder: Path) -> None:
    path = folder / "in/a.csv"
    os.utime(path, (1, 1))
    old = Stamp.of(path)
    assert not old.is_young and old.mark(b"d") == FileMark(5, 1_000_000_000, b"d")
    (folder / "copy").write_bytes(path.read_bytes())
    os.utime(folder / "copy", (1, 1))
    (folder / "copy").rename(path)
    assert Stamp.of(path) != old
    os.utime(path)
    assert Stamp.of(path).is_young and Stamp.of(path).mark(b"d").modified is None


def test_a_cancelled_run_does_not_go_on_hashing(folder: Path) -> None:
    token = CancelToken()
    token.cancel()
    with (
        pytest.raises(RunCancelled),
        NewFiles(FileSource(files="in/*.csv")).opened(Workspace(cancel=token), everything),
    ):
        pass


def test_what_may_not_be_read_is_named(folder: Path) -> None:
    (folder / "in/b.csv").unlink()
    (folder / "in/b.csv").symlink_to("/proc/self/mem")  # a file that opens, and cannot be read
    with (
        pytest.raises(PlanError, match=r"in/b\.csv cannot be read: Input/output error"),
        NewFiles(FileSource(files="in/b.csv")).opened(Workspace(), everything),
    ):
        pass


def test_a_folder_that_may_not_be_looked_into_is_not_empty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Files({"a.tsv": FileMark(1, 1, bytes(32))}, {"*.tsv": b"columns"})
    with NewFiles(FileSource(files="in/*.csv"), known).opened(Workspace(limit=0), everything):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)
    with (
        pytest.raises(PlanError, match="no file matches"),
        NewFiles(FileSource(files="in/*.tsv"), known).opened(Workspace(), everything),
    ):
        pass
