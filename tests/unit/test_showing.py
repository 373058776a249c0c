"""How runs are shown where."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from datapipe import showing
from datapipe.display import ErrorView, RunView, StepView
from datapipe.surroundings import surroundings, via


class Shell:
    def __init__(self, **names: str) -> None:
        self.kernel, self.user_ns = object(), names


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "DATAPIPE_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return shell


def test_a_notebook_with_nobody_before_it_gets_html(kernel: Shell) -> None:
    assert (surroundings(), showing.form(), via()) == ("headless", "html", "notebook")


def test_jupyter_gets_widgets_if_there_are_any(kernel: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert (surroundings(), showing.form()) == ("lab", "widget")
    monkeypatch.setattr(showing, "find_spec", {}.get)
    assert showing.form() == "html"


def test_an_editor_gets_html(kernel: Shell) -> None:
    kernel.user_ns["__vsc_ipynb_file__"] = "x.ipynb"
    assert (surroundings(), showing.form()) == ("vscode", "html")


@pytest.mark.parametrize(("asked", "form"), [("off", "off"), ("text", "lines"), ("html", "html"), ("widget", "widget")])
def test_what_is_asked_for_is_done(kernel: Shell, monkeypatch: pytest.MonkeyPatch, asked: str, form: str) -> None:
    monkeypatch.setenv("DATAPIPE_DISPLAY", asked)
    assert showing.form() == form


@pytest.mark.parametrize(("asked", "form"), [("auto", "off"), ("widget", "off"), ("text", "lines"), ("off", "off")])
def test_a_pipe_gets_nothing_unless_it_asks(monkeypatch: pytest.MonkeyPatch, asked: str, form: str) -> None:
    monkeypatch.setenv("DATAPIPE_DISPLAY", asked)
    assert (surroundings(), showing.form()) == ("terminal", form)


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_process_without_standard_error_runs_all_the_same(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "argv", [])
    assert (showing.form(), via()) == ("off", "script")
    monkeypatch.setenv("DATAPIPE_DISPLAY", "text")
    with showing.shown(RunView("r", "running"), None) as show:
        show(RunView("r", "succeeded"))


def test_a_log_has_no_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DATAPIPE_DISPLAY", "text")
    with showing.shown(RunView("r", "running"), None) as show:
        show(RunView("r", "failed", error=ErrorView("DataError", "bad", row=17, cells={"mail": "ann@example.com"})))
    told = capsys.readouterr().err
    assert "Row 17" in told and "ann@" not in told


def test_a_log_tells_of_the_cells_of_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATAPIPE_DISPLAY", "text")
    monkeypatch.setattr(showing, "_EVERY", -1.0)
    cells = (StepView("cell 1", "cell 1", "Load\x1b[2J", state="done", seconds=5.25), StepView("cell 2", "cell 2"))
    view = RunView("r", "running", name="daily", kind="notebook", steps=cells, elapsed=42.0)
    with showing.shown(view, None) as show:
        show(view)
        show(view)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "daily: cell 1 of 2 done in 5.2 s: Load\\x1b[2J", "once, and it moves no cursor"
    assert {*lines[1:]} == {"daily: 1 of 2 cells · 0:42 so far · cell 1 of 2: Load\\x1b[2J"}


def test_a_log_tells_of_the_steps_of_a_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATAPIPE_DISPLAY", "text")
    monkeypatch.setattr(showing, "_EVERY", -1.0)
    view = RunView("r", "running", name="daily", steps=(StepView("ingestion", "read", state="done", rows_out=1200),))
    with showing.shown(view, None) as show:
        show(view)
    assert capsys.readouterr().err.splitlines() == [
        "daily: ingestion done: 1,200 rows",
        "daily: 1,200 rows read so far",
    ]
