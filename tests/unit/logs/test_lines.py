"""One record, one line: what stands in it, in each form, and what never does."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from datapipe.errors import DataError
from datapipe.logs import bound, of_run
from datapipe.logs.lines import Form, formatter
from datapipe.secrets import Redactor

KEY = "cnry-9f2!x"


def record(message: Any = "step finished", *args: Any, name: str = "datapipe.runs", **fields: Any) -> logging.LogRecord:
    found = logging.LogRecord(name, logging.INFO, __file__, 1, message, args, fields.pop("exc_info", None))
    found.created = 1_769_851_800.125
    vars(found).update(fields)
    return found


def line(form: Form, *args: Any, **fields: Any) -> str:
    return formatter(form, lambda: Redactor((KEY,))).format(record(*args, **fields))


def told(*args: Any, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line("json", *args, **fields))
    return found


def raised(error: BaseException) -> Any:
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_json_is_an_object_with_the_ids_at_its_end():
    with of_run("r1", "c1"), bound(step="ingestion"):
        assert line("json", rows_out=3) == (
            '{"time": "2026-01-31T09:30:00.125Z", "level": "INFO", "logger": "datapipe.runs", "message": "step finished",'
            ' "step": "ingestion", "rows_out": 3, "run_id": "r1", "correlation_id": "c1", "pipeline_id": "r1"}'
        )


def test_text_is_a_sentence_and_pairs():
    with of_run("r1", "c1"), bound(step="transformation step 1 (sql)"):
        assert line("text", rows_out=3, empty="") == (
            "2026-01-31T09:30:00.125Z INFO datapipe.runs: step finished"
            ' step="transformation step 1 (sql)" rows_out=3 empty="" run_id=r1 correlation_id=c1 pipeline_id=r1'
        )


def test_a_console_is_told_an_id_once():
    with of_run("r1", "r1"):
        assert line("console", rows_out=3) == (
            "2026-01-31T09:30:00.125Z [info] step finished [datapipe.runs] rows_out=3 run_id=r1"
        )


@pytest.mark.parametrize("form", ["text", "console"])
def test_people_read_an_error_line_by_line(form: Form):
    error = DataError("row 3 is empty")
    error.__cause__ = ValueError("three eggs")
    assert line(form, exc_info=raised(error)).splitlines()[1:] == [
        "    DataError: row 3 is empty",
        f"      at tests/unit/logs/test_lines.py:{raised.__code__.co_firstlineno + 2} in raised",
        "    because of ValueError",
    ]


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.floats() | st.binary() | st.none(), max_size=3))
def test_whatever_is_said_is_one_line_of_json(message: str, fields: dict[str, Any]):
    odd = {f"x{name}": value for name, value in fields.items()}  # the names of a record's own are refused before
    text = line("json", "%s", message, **odd)
    assert text.isascii() and text.isprintable()
    assert {"time", "level", "logger", "message"} <= set(json.loads(text, parse_constant=pytest.fail))


@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_whatever_is_said_begins_no_further_line_and_moves_no_cursor(message: str):
    for form in ("text", "console"):
        text = line(form, "%s", message, user=message)
        assert len(text.splitlines()) == 1
        assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 or 0x2028 <= ord(sign) <= 0x202E for sign in text)


@pytest.mark.parametrize("form", ["json", "text", "console"])
def test_secrets_are_left_out_wherever_they_stand(form: Form):
    error = DataError(f"no {KEY}")
    error.__cause__ = RuntimeError(KEY)
    text = line(
        form,
        "password %s of postgresql://ann:other-one@db/crm",
        KEY,
        name="urllib3",
        exc_info=raised(error),
        stack_info=KEY,
        nested={"a": [KEY, {KEY: 1}]},
    )
    assert KEY not in text and "other-one" not in text and "***" in text


def test_a_field_whose_name_tells_that_it_is_secret_is_left_out():
    found = told("logged in", user="ann", password="short", api_token="", tokens=12)
    assert (found["user"], found["password"], found["api_token"], found["tokens"]) == ("ann", "***", "", 12)


def test_what_libraries_raise_is_told_without_what_it_quotes():
    assert "message" not in told(name="sqlalchemy.pool", exc_info=raised(ValueError("ann@x.org")))["exception"][0]
    assert told(name="mine", exc_info=raised(ValueError("three eggs")))["exception"][0]["message"] == "three eggs"


def test_what_a_users_function_has_said_is_left_out():
    error = DataError("function 'clean' failed: ValueError: no user ann", step="step 1")
    error.outside = "ValueError: no user ann"
    assert told(exc_info=raised(error))["exception"][0]["message"] == "step 1: function 'clean' failed: ValueError"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"return_value": "{'name': 'ann'}", "runtime": 0.5}, "Task datapipe.ingest[t1] succeeded in 0.500s"),
        (
            {"exc": "DataError('no ann')", "description": "raised expected"},
            "Task datapipe.ingest[t1] raised expected: DataError",
        ),
        ({"exc": "Retry('no ann')"}, "Task datapipe.ingest[t1] is to be tried again: Retry"),
        ({"description": "ignored"}, "Task datapipe.ingest[t1] ignored"),
    ],
)
def test_celerys_lines_have_no_values(data: dict[str, Any], message: str):
    data = {"id": "t1", "name": "datapipe.ingest", "args": "('ann',)", **data}
    found = told("%(id)s %(args)s", data, name="celery.app.trace", data=data)
    assert (found["message"], found["task_id"], found["task_name"]) == (message, "t1", "datapipe.ingest")
    assert "ann" not in json.dumps(found)


def test_what_has_no_text_is_told_all_the_same():
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert told(odd=Odd())["odd"] == "a Odd that cannot be shown: RuntimeError"


@pytest.mark.parametrize("form", ["json", "text", "console"])
def test_a_field_may_have_the_name_of_the_error(form: Form):
    text = line(form, "failed", name="mine", exception="theirs", exc_info=raised(ValueError("three eggs")))
    assert "theirs" in text and "three eggs" in text
    assert len(line(form, "failed", exception="theirs").splitlines()) == 1


def test_a_text_without_an_end_is_cut():
    assert len(told("x" * 1_000_000)["message"]) < 10_000


def test_structlogs_own_loggers_write_the_same_lines(capsys: pytest.CaptureFixture[str]):
    handler = logging.StreamHandler(sys.stdout)
    structlog.reset_defaults()
    handler.setFormatter(formatter("json", Redactor))  # configures structlog
    log = logging.getLogger("users.own")
    log.addHandler(handler)
    try:
        with of_run("r1", "c1"), structlog.contextvars.bound_contextvars(shop=7):
            structlog.get_logger("users.own").warning("%s eggs", "three", price=2, exc_info=True)
    finally:
        log.removeHandler(handler)
        structlog.reset_defaults()
    found = json.loads(capsys.readouterr().out)
    assert (found["message"], found["price"], found["shop"], found["run_id"]) == ("three eggs", 2, 7, "r1")
    assert "exception" not in found  # there is none
