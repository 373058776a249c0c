"""What the process that executes tells, and what it is told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from io import StringIO

import pytest
from workerside import until

from datapipe.execution import __main__ as main
from datapipe.execution.telling import Teller
from datapipe.notebooks.order import Order, Outcome


def test_lines_of_many_threads_are_whole() -> None:
    stream = StringIO()
    tell = Teller(stream)
    threads = [
        threading.Thread(target=lambda n=n: [tell("e", n=n, text="ü\n" * 50) for _ in range(100)]) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 800 and all(line["text"] == "ü\n" * 50 and line["time"] > 0 for line in lines)


def test_telling_nobody_is_no_error() -> None:
    stream = StringIO()
    stream.close()
    Teller(stream)("ended")


def test_what_else_is_printed_goes_to_the_log() -> None:
    source = "from datapipe.execution.telling import own_output\nout = own_output()\nimport os\nprint('loud', flush=True)\nos.system('echo louder')\nout.write('told\\n')\nout.flush()"
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert found.stdout == "told\n" and found.stderr == "loud\nlouder\n"


def test_an_order_travels_as_a_line() -> None:
    places = {"path": "p", "kernel": "k", "folder": ".", "root": "r", "place": "p", "scratch": "s"}
    one = Order(notebook={}, secrets=("A", "B"), parameters={"x": "ü\n"}, memory=5, **places)
    assert "\n" not in one.to_json() and Order.from_json(one.to_json()) == one


def test_it_hears_wishes_and_that_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    wish = Outcome("cancelled", "interrupted")
    monkeypatch.setattr(sys, "stdin", StringIO(json.dumps(wish.to_dict()) + "\nnonsense\n"))
    heard: list[Outcome] = []
    with main._listening(heard.append):
        until(lambda: len(heard) == 2, 5)
    assert heard == [wish, Outcome("lost", "the process that had started it is gone")]
