"""What an execution leaves: statuses that are true, a banner that leads to the cell, and nothing that is secret."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import mistune
import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.execution import report as reports
from datapipe.execution.executing import finished, prepared
from datapipe.execution.report import Report, truthful
from datapipe.notebooks.artifacts import Artifacts
from datapipe.notebooks.order import Order, Outcome
from datapipe.secrets import redactor

SOURCES = ("md:# Load", "x = 1", "1 / 0", "print(x)")
FAILED = Outcome("failed", None, {"type": "ZeroDivisionError", "message": "division by zero", "cell": 2})
STATES = {1: "done", 2: "failed"}
SECRET = "s3cret-of-the-test"
MARKDOWN = mistune.create_markdown(escape=False, plugins=["strikethrough", "table"])  # what nbconvert makes HTML with


def cells(*sources: str) -> list[dict[str, Any]]:
    found = []
    for number, source in enumerate(sources):
        kind = "markdown" if source.startswith("md:") else "code"
        cell = {"cell_type": kind, "id": f"c{number}", "metadata": {}, "source": source.removeprefix("md:")}
        found.append({**cell, "outputs": [], "execution_count": None} if kind == "code" else cell)
    return found


def order(tmp_path: Path, *sources: str, **values: Any) -> Order:
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells(*(sources or SOURCES))}
    (tmp_path / "scratch").mkdir(exist_ok=True)
    places = {"root": str(tmp_path / "kept"), "place": "job/1", "scratch": str(tmp_path / "scratch")}
    given: dict[str, Any] = {"notebook": content, "path": "job.ipynb", "kernel": "python3", "folder": ".", **places}
    return Order(**{**given, "about": {"run_id": "r", "name": "job"}, **values})


def statuses(found: dict[str, Any]) -> list[str]:
    return [cell["metadata"]["papermill"]["status"] for cell in found["cells"]]


def test_a_notebook_that_goes_on_says_so(tmp_path: Path) -> None:
    one = order(tmp_path)
    found = truthful(prepared(one), {1: "done", 2: "running"}, None, one)
    assert statuses(found) == ["completed", "completed", "running", "pending"]
    assert found["metadata"]["datapipe"] == {"state": "running", "run_id": "r", "name": "job"}
    assert found["metadata"]["papermill"]["exception"] is None


def test_one_that_failed_has_a_banner_that_leads_to_the_cell(tmp_path: Path) -> None:
    one = order(tmp_path)
    nb = prepared(one)
    before = copy.deepcopy(nb)
    found = truthful(nb, STATES, FAILED, one)
    assert nb == before, "the notebook itself is left alone"
    assert [cell["cell_type"] for cell in found["cells"]] == [
        "markdown",
        "markdown",
        "code",
        "markdown",
        "code",
        "code",
    ]
    assert (
        found["cells"][0]["source"]
        == "**✗ Failed in [cell 2](#papermill-error-cell).** ZeroDivisionError: division by zero"
    )
    assert 'id="papermill-error-cell"' in found["cells"][3]["source"] and found["cells"][4]["source"] == "1 / 0"
    assert statuses(found)[2:] == ["completed", "completed", "failed", "pending"]
    assert [cell["metadata"]["papermill"]["exception"] for cell in found["cells"]][2:] == [False, None, True, None]
    assert found["metadata"]["papermill"]["exception"] is True
    nbformat.validate(nbformat.from_dict(found))  # type: ignore[no-untyped-call]  # it has none


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        (Outcome("cancelled", "interrupted"), "**✗ Cancelled (interrupted) in [cell 2](#papermill-error-cell).** It was told to stop."),
        (Outcome("cancelled"), "**✗ Cancelled in [cell 2](#papermill-error-cell).** It was told to stop."),
        (Outcome("lost", "nobody is there"), "**✗ Stopped (nobody is there) in [cell 2](#papermill-error-cell).** It was told to stop."),
        (Outcome("failed", "kernel_died", {"message": "it died", "hint": "Do"}), "**✗ Failed (its kernel died) in [cell 2](#papermill-error-cell).** it died\n\nNext: Do"),
        (Outcome("failed", "timed_out", {"message": "slow"}), "**✗ Failed (timed out) in [cell 2](#papermill-error-cell).** slow"),
        (Outcome("failed", "out_of_memory", {"message": "big"}), "**✗ Failed (out of memory) in [cell 2](#papermill-error-cell).** big"),
    ],
)  # fmt: skip
def test_the_banner_says_how_it_ended(outcome: Outcome, title: str, tmp_path: Path) -> None:
    one = order(tmp_path)
    found = truthful(prepared(one), {1: "done", 2: "running"}, outcome, one)
    assert found["cells"][0]["source"] == title
    assert statuses(found)[4] == "failed", "a cell that was being executed has not ended well"


def test_one_that_ended_before_its_first_cell_has_a_banner_without_a_link(tmp_path: Path) -> None:
    one = order(tmp_path)
    found = truthful(prepared(one), {}, Outcome("failed", None, {"message": "no kernel"}), one)
    assert found["cells"][0]["source"] == "**✗ Failed.** no kernel"
    assert len(found["cells"]) == 5 and statuses(found)[2:] == ["pending"] * 3


def test_one_that_succeeded_has_none(tmp_path: Path) -> None:
    one = order(tmp_path)
    states = dict.fromkeys((1, 2, 3), "done")
    found = truthful(prepared(one), states, Outcome("succeeded", "it ended itself"), one)
    assert len(found["cells"]) == 4 and statuses(found) == ["completed"] * 4
    assert found["metadata"]["papermill"]["exception"] is False
    assert found["metadata"]["datapipe"]["reason"] == "it ended itself"


@given(st.text(max_size=200), st.text(max_size=100))
def test_a_message_is_text_in_the_banner_whatever_it_holds(message: str, kind: str) -> None:
    said = reports._escaped(f"{kind}: {message}")
    shown = str(MARKDOWN(f"**✗ Failed.** {said}"))
    for mark in ("<script", "<img", "<a ", "<code", "<em", "<table", "<del", "<br"):
        assert mark not in shown
    assert shown.count("<strong>") == 1 and len(said) <= 600 and "\n" not in said


def test_a_copy_is_kept_at_first_and_then_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(reports.time, "monotonic", lambda: clock[0])
    one = order(tmp_path)
    artifacts = Artifacts(one.root, one.place)
    found = Report(one, artifacts, redactor(()))
    written: list[str] = []
    monkeypatch.setattr(Artifacts, "write", lambda _, name, __: written.append(name))
    nb = prepared(one)
    for _ in range(10):
        found.keep_copy(nb, {})
        clock[0] += 1.0
    assert written == ["notebook.ipynb"] * 2, "at 0 s and 5 s"


def test_the_report_is_whole_and_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", SECRET)
    one = order(tmp_path, "x = 1", secrets=("THE_SECRET",), parameters={"p": {"secret": "THE_SECRET"}})
    nb = prepared(one)
    nb.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"it is {SECRET}\n")]  # type: ignore[no-untyped-call]  # it has none
    (tmp_path / "scratch" / "kernel.log").write_text(f"noise {SECRET}")
    artifacts = Artifacts(one.root, one.place)
    error = {"type": "ValueError", "message": f"no {SECRET}", "cell": 1, "traceback": SECRET}
    told = Report(one, artifacts, redactor(one.secrets)).finish(
        nb, {0: "failed"}, Outcome("failed", None, error), {"outputs": {"a": SECRET}}
    )
    assert artifacts.names() == ["error.json", "kernel.log", "notebook.html", "notebook.ipynb", "run.json"]
    for name in artifacts.names():
        assert SECRET.encode() not in (artifacts.read(name) or b""), name
    assert told.error == {"type": "ValueError", "message": "no ***", "cell": 1, "traceback": "***"}
    facts = json.loads(artifacts.read("run.json") or b"")
    assert (
        facts["packages"]["datapipe-sdk"]
        and facts["state"] == "failed"
        and facts["parameters"] == {"p": {"secret": "THE_SECRET"}}
    )
    assert json.loads(artifacts.read("error.json") or b"") == {"state": "failed", "reason": None, "error": told.error}


def test_an_output_is_kept_with_its_file(tmp_path: Path) -> None:
    one = order(tmp_path)
    (tmp_path / "scratch" / "outputs").mkdir()
    (tmp_path / "scratch" / "outputs" / "rows.parquet").write_bytes(b"PAR1")
    found = Report(one, Artifacts(one.root, one.place), redactor(())).keep_output(
        {"name": "rows", "file": "rows.parquet", "shown": "1"}
    )
    assert found == {"name": "rows", "shown": "1", "uri": f"{tmp_path}/kept/job/1/outputs/rows.parquet"}
    assert Path(found["uri"]).read_bytes() == b"PAR1"


def test_an_output_takes_no_file_from_elsewhere(tmp_path: Path) -> None:
    one = order(tmp_path)
    (tmp_path / "private").write_text("no")
    with pytest.raises(OSError, match="private"):
        Report(one, Artifacts(one.root, one.place), redactor(())).keep_output(
            {"name": "x", "file": "../../private", "shown": ""}
        )
    assert not (tmp_path / "kept").exists()


def test_what_is_finished_after_a_death_has_what_was_kept_before(tmp_path: Path) -> None:
    one = order(tmp_path)
    nb = prepared(one)
    nb.cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="so far\n")]  # type: ignore[no-untyped-call]  # it has none
    Report(one, Artifacts(one.root, one.place), redactor(())).keep_copy(nb, {1: "done", 2: "running"})
    past = {
        "state": "failed",
        "reason": "kernel_died",
        "error": {"message": "died", "cell": 2},
        "states": {"1": "done", "2": "running"},
    }
    told = finished(one, past)
    assert (told["state"], told["reason"], told["not_kept"]) == ("failed", "kernel_died", None)
    found = json.loads((tmp_path / "kept" / "job" / "1" / "notebook.ipynb").read_text())
    assert "so far" in json.dumps(found["cells"][2]) and statuses(found)[4:] == ["failed", "pending"]
    assert not (tmp_path / "scratch").exists()


def test_finishing_twice_marks_once(tmp_path: Path) -> None:
    """A process that dies when it has written all but told nothing is finished by another one."""
    one = order(tmp_path)
    Report(one, Artifacts(one.root, one.place), redactor(())).finish(prepared(one), STATES, FAILED, {})
    finished(one, {**FAILED.to_dict(), "states": {"1": "done", "2": "failed"}})
    found = json.loads((tmp_path / "kept" / "job" / "1" / "notebook.ipynb").read_text())
    assert [cell["source"] for cell in found["cells"]].count(found["cells"][0]["source"]) == 1
    assert len(found["cells"]) == 6 and statuses(found)[2:] == ["completed", "completed", "failed", "pending"]


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("no folder")
    one = order(tmp_path)
    told = finished(one, {**FAILED.to_dict(), "states": {}})
    assert told["state"] == "failed" and told["error"] == FAILED.error
    assert str(tmp_path / "kept") in told["not_kept"]


def test_a_notebook_of_an_older_format_is_brought_up_to_date(tmp_path: Path) -> None:
    one = order(tmp_path, "x = 1")
    old = {
        **one.notebook,
        "nbformat_minor": 2,
        "cells": [{k: v for k, v in cell.items() if k != "id"} for cell in one.notebook["cells"]],
    }
    nb = prepared(order(tmp_path, notebook=old))
    assert nb.nbformat_minor >= 5 and nb.cells[0].id and nb.cells[0].metadata.tags == []


def test_a_page_of_much_output_has_no_colours() -> None:
    shown = nbformat.v4.new_output(
        "stream", name="stdout", text=("\x1b[31mred\x1b[0m and \x1b[32mgreen\x1b[0m\n" * 50_000)
    )  # type: ignore[no-untyped-call]  # it has none
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells("x")}
    notebook["cells"][0]["outputs"] = [dict(shown)]
    page = reports.as_html(notebook)
    assert "red and green" in page, "without its colours, which would take minutes"
