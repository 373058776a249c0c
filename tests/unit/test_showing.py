"""How runs are shown where."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from datapipe import showing
from datapipe.display import ErrorView, RunView
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
