"""Showing a run while it lasts, where there is somebody to see it: in a notebook, in a terminal, or in a log."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from datapipe.display import LogLine, RunView, facts, run_card_text, view_of_plan
from datapipe.display.words import unmoving
from datapipe.errors import DatapipeError, FatalError
from datapipe.hosts import host
from datapipe.plan import Plan, check_runnable
from datapipe.settings import settings
from datapipe.surroundings import shell_of_kernel, surroundings

if TYPE_CHECKING:  # loads pyarrow, which to show a run of elsewhere does without
    from datapipe.engine import RunOptions, RunResult

Show = Callable[[RunView], None]
Form = Literal["widget", "html", "bars", "lines", "off"]
_EVERY = 30.0  # seconds between two lines about a step that lasts


def form() -> Form:
    """How runs are shown here: as DATAPIPE_DISPLAY says, or as this place can show them."""
    wanted, place = settings().display, surroundings()
    if wanted == "off":
        return "off"
    if place == "terminal":
        return "bars" if _is_terminal() else "lines" if wanted == "text" else "off"
    if wanted in {"text", "html"}:
        return "lines" if wanted == "text" else "html"
    has_widgets = find_spec("ipywidgets") is not None
    return "widget" if has_widgets and (place == "lab" or wanted == "widget") else "html"


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, as in a service; or it is closed
        return False


@contextmanager
def shown(view: RunView, cancel: Callable[[], object] | None) -> Iterator[Show]:
    """What shows one view of a run after the other; the last one stays, where that is a notebook.

    Parameters
    ----------
    view : RunView
        The run at first.
    cancel : callable, optional
        What stops it, where there is a button for that.
    """
    found = form()
    if found in {"widget", "html"}:
        with host("notebook").panel(view, cancel, live=found == "widget") as show:
            yield show
    elif found == "bars":
        from datapipe.display.terminal import terminal  # loads Rich

        with terminal() as show:
            yield show
    elif found == "lines":
        yield _Lines()
    else:
        yield lambda _: None


def run_shown(plan: Plan, options: RunOptions) -> RunResult:
    """Run a plan here, on record, and show how it goes.

    Raises
    ------
    DatapipeError, KeyboardInterrupt
        As :func:`~datapipe.engine.run_recorded` does.
    """
    check_runnable(plan)
    return _run_here(plan, options, view_of_plan(plan, options.run_id, options.places))


def _run_here(plan: Plan, options: RunOptions, view: RunView) -> RunResult:
    from datapipe.engine import run_recorded

    with shown(view, options.cancel.cancel) as show:
        return _followed(view, show, options, lambda found: run_recorded(plan, found))


def run_behind(plan: Plan, options: RunOptions) -> None:
    """Begin to run a plan here, in a thread of its own, on record, and show how it goes.

    Raises
    ------
    PlanError
        If runs are not recorded.
    """
    from datapipe.engine import Follower, begin_recorded

    check_runnable(plan)
    view = view_of_plan(plan, options.run_id, options.places)
    if surroundings() == "headless":
        note = LogLine("", "nobody waits for a run in the background here: this cell has waited for it")
        _run_here(plan, options, dataclasses.replace(view, notes=(note,)))
        return
    with ExitStack() as stack:
        show = stack.enter_context(shown(view, options.cancel.cancel))
        try:
            run = begin_recorded(plan, options)
        except BaseException as error:  # such as an interrupt
            Follower(view, show).end(None, error)
            raise
        left = stack.pop_all()

    def work() -> None:
        with left:
            _followed(view, show, options, run)

    # The interpreter waits for it at its end: what was begun is finished.
    threading.Thread(target=_quietly, args=(work,), name="datapipe run", daemon=False).start()


def _quietly(work: Callable[[], object]) -> None:
    """Do the work of a run that nobody waits for: how it ended is on record, and on its card."""
    with suppress(BaseException):
        work()


def _followed(view: RunView, show: Show, options: RunOptions, run: Callable[[RunOptions], RunResult]) -> RunResult:
    from datapipe.engine import Follower

    follower = Follower(view, show)
    try:
        result = run(dataclasses.replace(options, listeners=(follower, *options.listeners)))
    except BaseException as error:
        follower.end(getattr(error, "result", None), error)
        if isinstance(error, DatapipeError):
            error.on_card = form() in {"widget", "html"}
            if not isinstance(error, FatalError):  # which may be a fault of datapipe's own
                error = error.with_traceback(None)  # the way through datapipe's own threads tells users nothing
        raise error
    return dataclasses.replace(result, view=follower.end(result))


def _without_values(view: RunView) -> RunView:
    """The same view without the row that its error is about: a service's standard error is its log."""
    return view if view.error is None else dataclasses.replace(view, error=dataclasses.replace(view.error, cells={}))


def _named(view: RunView) -> str:
    return f"{view.name}: " if view.name else ""


class _Lines:
    """A line on standard error when a step has ended, every half minute, and a card at the end."""

    def __init__(self) -> None:
        self._done: set[str] = set()
        self._told = time.monotonic()

    def __call__(self, view: RunView) -> None:
        """Take the next view."""
        for step in view.steps:
            if step.state == "done" and step.name not in self._done and not view.final:
                self._done.add(step.name)
                self._say(unmoving(f"{_named(view)}{facts.step_ended(view, step)}"))
        if view.final:
            self._say(run_card_text(view if shell_of_kernel() is not None else _without_values(view)))
        elif time.monotonic() - self._told > _EVERY:
            self._say(unmoving(f"{_named(view)}{facts.progress(view)}"))

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        with suppress(OSError, ValueError):  # it may be closed
            print(text, file=sys.stderr, flush=True)  # noqa: T201  # it was asked for by DATAPIPE_DISPLAY=text
