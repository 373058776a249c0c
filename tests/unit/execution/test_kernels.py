"""A kernel's process: it ends with whoever started it, within its memory, and its death is told by its code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from workerside import until

from datapipe.execution import guard
from datapipe.execution.kernels import KernelProcess, channels

GUARD = Path(guard.__file__)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, with a child."""
    found = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
    yield found
    found.kill()
    found.wait()


def test_a_process_ends_with_all_it_has_started(process: subprocess.Popen[bytes]) -> None:
    until(lambda: len(psutil.Process(process.pid).children()) == 2, 5)
    children = psutil.Process(process.pid).children()
    kernel = KernelProcess(process.pid)
    kernel.close()
    assert process.wait(5) == -signal.SIGKILL
    until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), 5)
    kernel.interrupt()  # of what is gone, does nothing


def test_a_process_beyond_its_memory_is_killed() -> None:
    source = "import time\nfound = b'x' * (100 << 20)\ntime.sleep(60)"
    found = subprocess.Popen([sys.executable, "-c", source], start_new_session=True)
    kernel = KernelProcess(found.pid, limit=60 << 20)
    assert found.wait(10) == -signal.SIGKILL
    death = kernel.death(found.returncode)
    assert (death.reason, death.message) == ("out_of_memory", "the kernel took more than 60 MB of memory")
    assert kernel.peak > 60 << 20
    kernel.close()


def test_a_process_within_its_memory_is_left_alone(process: subprocess.Popen[bytes]) -> None:
    kernel = KernelProcess(process.pid, limit=1 << 30)
    time.sleep(0.5)
    assert process.poll() is None and 0 < kernel.peak < 100 << 20
    kernel.close()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-9, "the kernel was killed (SIGKILL); it had used up to 2.0 GB of memory"),
        (-11, "the kernel died of signal 11 (SIGSEGV); it had used up to 2.0 GB of memory"),
        (-250, "the kernel died of signal 250; it had used up to 2.0 GB of memory"),
        (3, "the kernel's process ended by itself with exit code 3"),
    ],
)
def test_a_death_is_told_by_its_code(code: int, message: str, process: subprocess.Popen[bytes]) -> None:
    kernel = KernelProcess(process.pid)
    kernel.close()
    kernel.peak = 2 << 30
    found = kernel.death(code)
    assert (found.reason, found.message, found.code) == ("kernel_died", message, code) and found.hint


def test_a_kill_for_want_of_memory_is_told(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 1\noom_kill 1\n")
    monkeypatch.setattr("datapipe.execution.kernels._EVENTS", events)
    kernel = KernelProcess(process.pid)
    kernel.close()
    assert kernel.death(-9).reason == "kernel_died"
    events.write_text("low 0\noom 1\noom_kill 2\n")
    assert kernel.death(-9).reason == "out_of_memory" and "the system killed the kernel" in kernel.death(-9).message
    assert kernel.death(-11).reason == "kernel_died"


def test_sockets_are_in_our_folder_where_its_path_is_short() -> None:
    assert channels("/tmp/x")["transport"] == "ipc"
    assert channels("/" + "x" * 90) == {"transport": "tcp"}


def test_the_guard_becomes_its_command() -> None:
    command = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), "sh", "-c", "echo $0 $1; exit 7", "a b", "c"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (7, "a b c\n")


def test_the_guard_starts_nothing_when_its_parent_is_gone() -> None:
    command = [sys.executable, "-I", "-S", str(GUARD), "1", "sh", "-c", "echo no"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel itself looks for its parent")
def test_what_is_guarded_ends_with_its_parent() -> None:
    inner = f"import os, subprocess, sys, time\np = subprocess.Popen([sys.executable, '-I', '-S', {str(GUARD)!r}, str(os.getpid()), 'sleep', '60'])\nprint(p.pid, flush=True)\ntime.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", inner], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        guarded = psutil.Process(int(parent.stdout.readline()))
        until(lambda: guarded.name() == "sleep", 5)
        parent.kill()
    until(lambda: not guarded.is_running() or guarded.status() == "zombie", 2)
