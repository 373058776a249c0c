"""Where the user's own code is."""

from __future__ import annotations

import linecache
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datapipe.errors import DataError, PlanError, RunCancelled
from datapipe.traces import Excerpt, call_site, called_with, excerpt, label, masked, users_code


def test_a_call_site_is_the_caller_s_line() -> None:
    assert call_site().rpartition("/")[2].startswith("test_traces.py:")


def test_the_users_line_is_found_below_a_library() -> None:
    def parse(text: str) -> float:
        return float(text)

    with pytest.raises(ValueError, match="n/a") as caught:
        pd.Series(["1", "n/a"]).map(parse)
    found = users_code(caught.value)
    assert found is not None and found.function == "parse"
    assert "return float(text)" in dict(found.lines)[found.line]
    assert list(called_with(caught.value)) == ["n/a"], "pandas called parse; nobody called this test for a row"


def test_passwords_in_code_are_never_shown() -> None:
    name = "/tmp/ipykernel_1/77.py"
    text = 'def f(x):\n    to = "postgresql://ann:s3cret@db/crm"\n    return 1 / 0\n'
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), "In[3]")
    found = excerpt(name, 3, "f")
    assert "s3cret" not in found.text() and "postgresql://ann:…@db/crm" in found.text()
    assert found.place == "In[3]:3 in f" and label("/tmp/ipykernel_1/78.py") == "a notebook cell"
    assert masked("redis://:pw@h redis://h mysql://u:p%40@h") == "redis://:…@h redis://h mysql://u:…@h"
    assert masked("{'api_key': 'k1'} PASSWORD 'p1'") == "{'api_key': '…'} PASSWORD '…'"
    harmless = "WHERE password = :password, environ['PASSWORD'], unexpected token '}', {'token': t, 'a': 1}"
    assert masked(harmless) == harmless
    masked("'password" * 5_000)  # in no time


def test_an_excerpt_survives_as_json_and_marks_its_place() -> None:
    found = Excerpt("the SQL", 2, "", ((1, "SELECT"), (2, "  idd"), (3, "FROM t")), 2, 3)
    assert Excerpt.from_dict(found.to_dict()) == found
    assert found.text().splitlines()[1:3] == ["--> 2   idd", "        ^^^"]


def test_an_error_shows_the_users_lines_and_no_library_first() -> None:
    def broken() -> Any:
        raise PlanError("no", hint="Do it")

    with pytest.raises(PlanError) as caught:
        broken()
    lines = caught.value._render_traceback_()
    assert len(lines) <= 12 and lines[-1] == "PlanError: no. Do it"
    assert any("-->" in line and "raise PlanError" in line for line in lines)
    assert RunCancelled("stopped")._render_traceback_() == ["RunCancelled: stopped"]


def test_a_row_does_not_travel_with_its_error() -> None:
    error = DataError("no", row=3)
    error.cells = {"card": "4111"}
    assert pickle.loads(pickle.dumps(error)).cells == {}
    assert "4111" not in str(error.to_dict())


def test_a_plan_is_built_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert label("/home/ann/etl.py") == "etl.py"
    assert call_site().startswith("test_traces.py:")


@pytest.mark.parametrize("text", ["http://a:80/x,", "http://a:b", "password='", '"password=', "://a:'", "a@"])
def test_a_long_line_is_masked(text: str) -> None:
    assert len(masked(text * 10_000)) > 10_000  # it would take hours, if it were quadratic
