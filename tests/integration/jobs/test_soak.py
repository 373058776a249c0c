"""A hundred random kills: never a process that is left, never a record or an artifact that is untrue."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jobside import calling
from notebookfiles import kept, processes_of, write_notebook

from datapipe.store import RunStore
from datapipe.store.opening import engine_of

KILLS, AT_ONCE, SPAN, LEFT = 100, 4, 6.0, 20.0
HITS = 80  # of the kills that must have found somebody: a notebook may have ended before its turn
CELLS = 4
SOURCE = """
import subprocess, time
from pathlib import Path
beside = subprocess.Popen(["sleep", "300"])
time.sleep(0.6)
Path("marks").open("a").write("{number}")
"""
SCRIPT = "import sys, datapipe\ndatapipe.notebook(sys.argv[1], retries=0).run()"


@dataclass(frozen=True)
class Kill:
    """Who is signalled, how, and how many seconds after it is there."""

    number: int
    whom: str
    how: signal.Signals
    after: float
    by_command: bool

    @classmethod
    def drawn(cls, number: int) -> Kill:
        draw = random.Random(number)
        whom = draw.choice(["caller", "executor", "kernel"])
        how = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        return cls(number, whom, how, draw.uniform(0.0, SPAN), draw.random() < 0.5)


def victim(kill: Kill, caller: psutil.Process) -> psutil.Process | None:
    """Whom it hits, as soon as they are there; None if the caller has ended before."""
    word = {"executor": "datapipe.execution", "kernel": "ipykernel_launcher"}.get(kill.whom)
    while word is not None:
        below = caller.children(recursive=True)
        found = next((one for one in below if word in one.cmdline()), None)
        if found is not None:
            return found
        if caller.status() == psutil.STATUS_ZOMBIE:
            return None
        time.sleep(0.02)
    return caller


def outcome(kill: Kill, home: Path) -> tuple[bool, list[str]]:
    """Whether a kill has hit somebody, and what is wrong after it; nothing, if all is well."""
    sources = [SOURCE.format(number=number) for number in range(CELLS)]
    path = write_notebook(home / "killed.ipynb", *sources)
    arguments = ("notebook", "run", str(path), "--retries", "0") if kill.by_command else (str(path),)
    caller = calling(home, *arguments, script=None if kill.by_command else SCRIPT)
    try:
        hit = _hit(kill, psutil.Process(caller.pid))
        _, said = caller.communicate(timeout=90)
    finally:
        caller.kill()
        caller.communicate()
    wrong = [f"a process is left: {one.cmdline()}" for one in _left(home)]
    wrong += list(_untrue(home, caller.returncode))
    return hit, [f"{kill} hit {hit}: {found}\n{said[-500:]}" for found in wrong]


def _hit(kill: Kill, caller: psutil.Process) -> bool:
    try:
        found = victim(kill, caller)
        if found is None:
            return False
        time.sleep(kill.after)
        found.send_signal(kill.how)  # not to another process that has got its number
    except (psutil.Error, ProcessLookupError):
        return False
    return True


def _left(home: Path) -> list[psutil.Process]:
    until = time.monotonic() + LEFT
    while (found := processes_of(home) + _beside(home)) and time.monotonic() < until:
        time.sleep(0.2)
    return found


def _beside(home: Path) -> list[psutil.Process]:
    """The processes that cells have started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "sleep" and process.environ().get("DATAPIPE_HOME") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _untrue(home: Path, code: int) -> Iterator[str]:
    rows = _rows(home)
    done = home / "marks"
    is_done = done.exists() and done.read_text() == "".join(map(str, range(CELLS)))
    state = rows[0].state if rows else None
    if len(rows) > 1:
        yield f"{len(rows)} runs"
    if state in {"running", "queued"}:
        yield f"the record says {state}"
    if state == "succeeded" and not is_done:
        yield "the record says succeeded"
    if (code == 0) is not (state == "succeeded"):
        yield f"exit code {code} and {state}"
    for file in home.glob("notebooks/*/*/*/*/*.*"):
        if file.suffix in {".json", ".ipynb"}:
            found = kept(str(file.parent), file.name)
            if file.suffix == ".ipynb":
                nbformat.validate(nbformat.from_dict(found))  # type: ignore[no-untyped-call]  # it has none
                yield from _untrue_notebook(found["metadata"]["datapipe"]["state"], state, is_done)


def _untrue_notebook(said: str, state: Any, is_done: bool) -> Iterator[str]:
    if said == "running":
        yield "the notebook says running"
    if said == "succeeded" and not is_done:
        yield "the notebook says succeeded"
    if state not in {said, "lost"} and not (said == "lost" and state is None):
        yield f"the notebook says {said}, the record {state}"


def _rows(home: Path) -> list[Any]:
    file = home / "runs.db"
    if not file.exists():
        return []
    engine = engine_of(f"sqlite:///{file}")
    store = RunStore(engine)
    until = time.monotonic() + 10
    while True:
        store.find_lost()
        rows = store.runs()
        if all(row.state != "running" for row in rows) or time.monotonic() > until:
            return rows
        time.sleep(0.5)


@pytest.mark.soak
def test_a_hundred_random_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAPIPE_METADATA_URL", raising=False)

    def one(number: int) -> tuple[bool, list[str]]:
        home = tmp_path / str(number)
        home.mkdir()
        return outcome(Kill.drawn(number), home)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, range(KILLS)))
    wrong = [text for _, texts in found for text in texts]
    assert wrong == [], "\n".join(wrong)
    assert sum(hit for hit, _ in found) >= HITS
