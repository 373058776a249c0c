"""Locks that are told by the path, whatever becomes of the file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from datapipe.data.locks import gate, hold, release


def test_a_lock_is_one_for_a_path(tmp_path: Path) -> None:
    lock = hold(tmp_path / "lock", create=True)
    assert lock is not None
    assert hold(tmp_path / "lock") is None
    release(lock)
    again = hold(tmp_path / "lock")
    assert again is not None
    release(again)


def test_the_lock_of_a_removed_file_is_not_that_of_the_next_one(tmp_path: Path) -> None:
    first = hold(tmp_path / "lock", create=True)
    (tmp_path / "lock").unlink()
    second = hold(tmp_path / "lock", create=True)
    assert first is not None
    assert second is not None
    release(first)
    assert hold(tmp_path / "lock") is None
    release(second)


def test_a_lock_is_given_back_once(tmp_path: Path) -> None:
    lock = hold(tmp_path)
    assert lock is not None
    release(lock)
    file = os.open(tmp_path, os.O_RDONLY)  # has the same number
    release(lock)
    os.close(file)


def test_no_file_is_made_unless_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hold(tmp_path / "lock")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        hold(tmp_path / "link", create=True)


def test_the_gate_lets_many_in_or_one() -> None:
    inside = threading.Event()

    def enter() -> None:
        with gate(shared=False):
            inside.set()

    with gate(shared=True), gate(shared=True):
        other = threading.Thread(target=enter)
        other.start()
        assert not inside.wait(0.05)
    assert inside.wait(5)
    other.join()
