"""What a killed run leaves is removed; what a live one uses is not, however often somebody cleans up beside it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forked import Forked

import datapipe
from datapipe.persistence import Leftover, remove_leftovers

ROWS = 200_000
RUN = f"""
import os, sys, time
import pyarrow as pa
import datapipe
target, sql, stall = sys.argv[1:]
seen = 0
def look(df):
    global seen
    seen += len(df)
    if stall and seen == {ROWS} // 2:
        open(stall, "w").close()
        while os.path.exists(stall):
            time.sleep(0.01)
    return df
plan = datapipe.read(pa.table({{"id": range({ROWS}), "text": [os.urandom(60).hex() for _ in range({ROWS})]}}))
plan = (plan.sql(sql) if sql else plan).apply(look, per_batch=True)
plan = plan.write("t", to=target) if "://" in target else plan.write(target)
assert plan.run("64MB").rows_written == {ROWS}
"""
_KEYS = ", ".join(f"hash(id + {number})" for number in range(26))  # too many to be held
SORT = f"SELECT * FROM input_data ORDER BY {_KEYS}"
Process = Forked | subprocess.Popen[bytes]
TARGETS = ["out/t.parquet", "out/t.csv", "out/t.jsonl", "sqlite:///t.db", "duckdb:///t.duckdb"]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own, in an empty working directory."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delenv("DEST_DB_URL", raising=False)
    return folder


def run(target: str, sql: str = "", stall: str = "", script: str = "") -> Process:
    """A run in a process of its own. A script of a test, which may fork or count on how a process ends, gets a new one."""
    if not script:
        return Forked(["-c", RUN, target, sql, stall], output=2)
    return subprocess.Popen([sys.executable, "-c", script, target, sql, stall])


@contextlib.contextmanager
def stalled(target: str, sql: str = "", script: str = "") -> Iterator[Process]:
    """A run that stands still with half of its rows on their way, until the file "stalled" is removed."""
    with run(target, sql, "stalled", script) as process:
        try:
            wait(Path("stalled").exists, process)
            yield process
        finally:
            process.kill()
            Path("stalled").unlink(missing_ok=True)


def wait(until: Any, process: Process) -> None:
    limit = time.monotonic() + 60
    while not until():
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)


def kill(target: str, sql: str = "") -> None:
    with stalled(target, sql) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def cleanup(forked_cli: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``datapipe cleanup``."""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [forked_cli, "cleanup", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


def left(folder: Path = Path()) -> list[str]:
    """Every file below a folder, but for the gate that stays, the databases, and the tests' own."""
    files = (path for path in folder.rglob("*") if not path.is_dir() or path.name.startswith("datapipe-scratch-"))
    return sorted(path.name for path in files if path.name not in {"gate", "stalled", "t.db", "t.duckdb"})


# --- killed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_a_killed_run_stops_no_later_one_and_a_cleanup_removes_what_it_left(target: str) -> None:
    kill(target)
    is_file = "://" not in target
    assert [name.endswith(".part") for name in left(Path("out"))] == ([True] if is_file else [])
    with run(target) as again:
        assert again.wait(60) == 0
    counts = "SELECT count(*) AS n, count(DISTINCT id) AS d FROM input_data"
    source = datapipe.read(target) if is_file else datapipe.read("SELECT * FROM t", source=target)
    assert source.sql(counts).collect("arrow").to_pylist() == [{"n": ROWS, "d": ROWS}]
    would = remove_leftovers(dry_run=True)
    assert [item.kind for item in would] == [*(["temporary file"] if is_file else []), "scratch directory"]
    assert remove_leftovers() == would
    assert left() == ([Path(target).name] if is_file else [])


@pytest.mark.parametrize("target", ["sqlite:///t.db", "duckdb:///t.duckdb"])
def test_the_lock_of_a_killed_run_is_removed(target: str) -> None:
    kill(target)
    assert [item.kind for item in remove_leftovers()] == ["scratch directory", "lock"]
    assert set(left()) <= {"t.db-journal", "t.duckdb.wal"}  # which the databases need


def test_a_spill_is_removed(temporary: Path) -> None:
    kill("out/t.parquet", SORT)
    (scratch,) = temporary.glob("datapipe-scratch-*")
    spilt = sum(path.stat().st_size for path in scratch.glob("duckdb-*/*"))
    assert spilt > 2_000_000
    sizes = {item.kind: item.size for item in remove_leftovers()}
    assert sizes["scratch directory"] >= spilt
    assert left() == []


def test_the_command_tells_what_it_removes(temporary: Path, cleanup: Callable[..., Any]) -> None:
    scratch = temporary / "datapipe-scratch-12345678"
    scratch.mkdir()
    (scratch / "spill").write_bytes(bytes(2000))
    line = f"removed scratch directory {scratch} (2.0 kB)\nremoved 1 thing, 2.0 kB\n"
    assert cleanup("--dry-run").stdout == line.replace("removed", "would remove")
    done = cleanup()
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")
    assert cleanup().stdout == "there is nothing to remove\n"


# --- alive --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_a_live_run_loses_nothing(target: str) -> None:
    found: list[Leftover] = []
    times = 0
    with run(target, SORT) as process:
        while process.poll() is None:
            found += remove_leftovers()
            times += 1
            time.sleep(0.005)
        assert process.returncode == 0
    assert found == []
    assert times > 20
    assert left(Path("tmp")) == []


def test_a_stalled_run_keeps_its_files_while_those_of_a_dead_one_go() -> None:
    with stalled("out/live.parquet", SORT) as live:
        with run("out/dead.csv", "", "dead") as dead:
            wait(Path("dead").exists, dead)
            dead.kill()
        assert [item.kind for item in remove_leftovers()] == ["temporary file", "scratch directory"]
        Path("stalled").unlink()
        assert live.wait(60) == 0
    assert left() == ["dead", "live.parquet"]


def test_short_runs_are_not_disturbed() -> None:
    """Directories and locks are made and given back all the time, while somebody cleans up all the time."""
    script = """
import contextlib, os, sys
from datapipe.data.stream import scratch_directory
from datapipe.persistence.filelocks import try_lock
for number in range(500):
    with scratch_directory() as path, contextlib.ExitStack() as locks:
        assert try_lock(sys.argv[1], "turn", f"run {number}", locks) is None
        (path / "spill").touch()
        (path / "spill").unlink()
"""
    with run("first", script=script) as first, run("second", script=script) as second:
        while first.poll() is None or second.poll() is None:
            remove_leftovers()
            time.sleep(0.001)
        assert (first.returncode, second.returncode) == (0, 0)
    assert left(Path("tmp")) == []


def test_two_cleanups_share_the_work() -> None:
    script = """
import contextlib, os, sys
from datapipe.data.stream import scratch_directory
from datapipe.persistence.filelocks import try_lock
with contextlib.ExitStack() as stack:
    for number in range(200):
        (stack.enter_context(scratch_directory()) / "spill").write_bytes(bytes(1000))
        try_lock(str(number), "turn", "run", stack)
    os.kill(os.getpid(), 9)
"""
    with run("none", script=script) as process:
        process.wait()
    command = [str(Path(sys.executable).with_name("datapipe")), "cleanup", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names: list[str] = []
    for one in both:
        output, _ = one.communicate(timeout=60)
        assert one.returncode == 0
        names += [item["name"] for item in json.loads(output)["removed"]]
    assert (len(names), len(set(names))) == (400, 400)
    assert left() == []


# --- forked -------------------------------------------------------------------------------------------------


def test_a_forked_child_that_ends_removes_nothing() -> None:
    """The run is in a thread, which the child does not have; what a process does at its end is what counts."""
    indented = "".join(f"    {line}\n" for line in RUN.replace("    global seen", "    nonlocal seen").splitlines())
    script = f"""
import os, sys, threading, time
def work():
{indented}
thread = threading.Thread(target=work)
thread.start()
while not os.path.exists("stalled"):
    time.sleep(0.01)
if (child := os.fork()) == 0:
    sys.exit()
os.waitpid(child, 0)
open("went", "w").close()
"""
    with stalled("out/t.parquet", SORT, script) as process:
        wait(Path("went").exists, process)
        assert len(left(Path("tmp"))) > 2  # the spill is there still
        Path("stalled").unlink()
        assert process.wait(60) == 0
    assert left() == ["t.parquet", "went"]


def test_a_forked_child_keeps_nothing_of_a_dead_run() -> None:
    script = RUN.replace(
        "    seen += len(df)",
        """
    if not seen:
        if (child := os.fork()) == 0:
            time.sleep(60)
            os._exit(0)
        open("child", "w").write(str(child))
    seen += len(df)""",
    )
    with stalled("sqlite:///t.db", SORT, script) as process:
        process.kill()
        process.wait()
    child = int(Path("child").read_text())
    try:
        assert [item.kind for item in remove_leftovers()] == ["scratch directory", "lock"]
        os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)


# --- what is no leftover ------------------------------------------------------------------------------------


def test_what_has_another_name_or_owner_stays(temporary: Path) -> None:
    (temporary / "datapipe-results").mkdir()
    (temporary / "datapipe-scratch-link").symlink_to(temporary / "datapipe-results")
    (temporary / "datapipe-scratch-foreign").mkdir()
    if os.geteuid() == 0:
        os.chown(temporary / "datapipe-scratch-foreign", 65534, 65534)
    else:
        (temporary / "datapipe-scratch-foreign").rmdir()
    before = left()
    assert remove_leftovers() == ()
    assert left() == before
    assert (temporary / "datapipe-results").exists()


def test_a_file_that_cannot_be_removed_is_named(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = temporary / "datapipe-scratch-12345678"
    scratch.mkdir()
    (scratch / ".t.csv.1.part").symlink_to("/proc/version")
    with pytest.raises(datapipe.DatapipeError, match="cannot remove /proc/version"):
        remove_leftovers()
    assert scratch.exists()


def test_a_wrong_url_is_refused_before_anything_is_removed(temporary: Path, cleanup: Callable[..., Any]) -> None:
    (temporary / "datapipe-scratch-12345678").mkdir()
    done = cleanup("--to", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no connection is called 'out'" in done.stderr
    assert len(remove_leftovers()) == 1
