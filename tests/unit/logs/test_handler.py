"""Programs write lines; the library, as long as nobody asks for them, does not."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapipe.logs import RUNS, configure_logs, logger

LIBRARY = """
import logging, sys
import datapipe

before = list(logging.root.manager.loggerDict)
datapipe.read("a.csv").sql("SELECT * FROM input_data").write("t", to="sqlite:///t.db").run()
try:
    datapipe.read("a.csv").sql("SELECT no_such_column FROM input_data").write("t", to="sqlite:///t.db").run()
except datapipe.DatapipeError:
    print("failed")
names = [name for name in logging.root.manager.loggerDict if name.startswith("datapipe")]
loggers = [logging.root, *map(logging.getLogger, names)]
print([each.name for each in loggers if each.handlers or each.level not in {logging.NOTSET, logging.WARNING}])
print("structlog" in sys.modules)
"""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "datapipe", RUNS)]
    before = [(log.level, log.handlers[:]) for log in loggers]
    yield
    for log, (level, handlers) in zip(loggers, before, strict=True):
        log.setLevel(level)
        log.handlers = handlers
    logging.captureWarnings(False)


def test_the_library_configures_nothing_and_says_nothing(tmp_path: Path):
    (tmp_path / "a.csv").write_text("id\n1\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIBRARY], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["failed", "[]", "False", ""]
    assert done.stderr == ""


def test_a_level_counts_for_everybody_but_debug_is_for_datapipe():
    stream = io.StringIO()
    configure_logs("debug", "text", stream)
    logger("datapipe.test").debug("ours")
    logging.getLogger("urllib3").debug("theirs")
    logging.getLogger("urllib3").info("theirs, too")
    assert [line.split(": ")[-1] for line in stream.getvalue().splitlines()] == ["ours", "theirs, too"]
    configure_logs("ERROR", "text", stream)
    logger("datapipe.test").warning("no more")
    assert "no more" not in stream.getvalue()


def test_calling_it_again_writes_no_line_twice():
    first, second = io.StringIO(), io.StringIO()
    configure_logs("INFO", "json", first)
    configure_logs("INFO", "json", second)
    logging.getLogger("uvicorn.access").info("GET /")
    assert first.getvalue() == "" and json.loads(second.getvalue())["logger"] == "uvicorn.access"


def test_a_program_that_shows_runs_itself_logs_none():
    stream = io.StringIO()
    configure_logs("INFO", "text", stream, runs=False)
    logger(RUNS).error("run failed")
    logger("datapipe.store").warning("this run is not recorded")
    assert stream.getvalue().count("\n") == 1


def test_standard_error_is_what_it_is_when_the_line_is_written(capsys: pytest.CaptureFixture[str]):
    configure_logs("INFO", "text")
    logger("datapipe.test").info("now")
    assert capsys.readouterr().err.endswith("INFO datapipe.test: now\n")


def test_a_new_secret_is_left_out(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    monkeypatch.setenv("SHOP_TOKEN", "cnry-9f2!x")
    configure_logs("INFO", "json", stream)
    logging.getLogger("requests").info("with %s", "cnry-9f2!x")
    assert json.loads(stream.getvalue())["message"] == "with ***"


def test_values_that_do_not_fit_their_message_are_not_printed(capsys: pytest.CaptureFixture[str]):
    stream = io.StringIO()
    configure_logs("INFO", "json", stream)
    logging.getLogger("mine").info("%d rows", "cnry-9f2!x")
    assert json.loads(stream.getvalue())["message"] == "%d rows"
    assert capsys.readouterr().err == ""


def test_what_is_logged_while_secrets_are_looked_for_does_not_begin_it_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("this is no line\nSHOP_TOKEN=cnry-9f2!x\n")
    stream = io.StringIO()
    configure_logs("INFO", "json", stream)
    logging.getLogger("mine").info("with %s", "cnry-9f2!x")
    names = [(line["logger"], line["message"]) for line in map(json.loads, stream.getvalue().splitlines())]
    assert [name for name, _ in names] == ["datapipe.settings", "mine"] and names[1][1] == "with ***"
