"""The live card: a line that is read aloud, what ticks, a button, and a log that stays open."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets
from ipywidgets import HTML, Accordion
from ipywidgets.widgets.widget_string import HTMLStyle

from datapipe.display import RunView, ended_card, facts, live_card, log_text
from datapipe.display.html import BLUE, code

COMMS = 10  # messages it takes to open one


class LiveCard:
    """The widgets of one run. Only what has changed is sent.

    Parameters
    ----------
    view : RunView
    cancel : callable, optional
        What the button does; no button without it.
    """

    def __init__(self, view: RunView, cancel: Callable[[], object] | None) -> None:
        layout, style = ipywidgets.Layout(), HTMLStyle()
        self._look = {"layout": layout, "style": style}
        self._log: Any = None
        self._status = HTML(_status(view), layout=layout, style=style)
        self._body = HTML(_body(view), layout=layout, style=style)
        self._button = ipywidgets.Button(
            description="Cancel",
            tooltip="Stop this run; the notebook's ■ does the same",
            disabled=cancel is None,
            layout=ipywidgets.Layout(width="90px", margin="6px 2px"),
        )
        self._button.on_click(lambda _: cancel() if cancel is not None else None)
        _heard_at_once(self._button)
        buttons = [] if cancel is None else [self._button]
        frame = ipywidgets.Layout(border_left=f"4px solid {BLUE}", padding="0 0 0 10px")
        self._box = ipywidgets.VBox([self._status, self._body, *buttons], layout=frame)

    @property
    def bundle(self) -> dict[str, Any]:
        """What a front end that knows widgets shows."""
        name = "application/vnd.jupyter.widget-view+json"
        return {name: {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}}

    def changes(self, view: RunView) -> list[tuple[Any, str]]:
        """The widgets that are to show something else, and what."""
        wanted = [(self._status, _status(view)), (self._body, _body(view))]
        return [(widget, text) for widget, text in wanted if widget.value != text]

    def log_changes(self, view: RunView) -> list[tuple[Any, str]]:
        """The same of the log, which is there as soon as it has a line."""
        if not view.notes:
            return []
        text = code(log_text(view.notes))
        if self._log is None:
            self._log = Accordion([HTML(text, **self._look)], titles=("Log",), layout=self._look["layout"])
            self._box.children = (*self._box.children, self._log)
        inside = self._log.children[0]
        return [(inside, text)] if inside.value != text else []

    def end(self, view: RunView) -> None:
        """Show how the run ended. The widgets stay: a page that was loaded again has nothing else."""
        self._status.value, self._body.value = "", ended_card(view)
        for widget, text in self.log_changes(view):
            widget.value = text
        self._button.layout.display = "none"


def _heard_at_once(button: Any) -> None:
    """Have clicks handled while a cell is being run.

    Front ends send them to a thread of the kernel's own for that; ipykernel 7.4 hands them to the cell's thread all
    the same, which would find them when the run is over.
    """
    if hasattr(button.comm, "_reply_subshell_for"):
        button.comm._reply_subshell_for = lambda data, asked: asked  # noqa: ARG005  # its signature


def _status(view: RunView) -> str:
    """The line that a screen reader says when it changes."""
    title, *rest = facts.headline(view)
    further = "".join(f" · {escape(text)}" for text in rest)
    return f'<div role="status" aria-live="polite"><b>{escape(title)}</b>{further}</div>'


def _body(view: RunView) -> str:
    return live_card(view, headed=False)
