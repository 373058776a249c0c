"""A run as a card of HTML: what a notebook shows while it lasts, keeps when it has ended, and a web page shows, too."""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.display import facts
from datapipe.display.html import BORDERS, GREY, Html, bar, card, code, faint, fold, heading, image, line, table
from datapipe.display.inside import listings
from datapipe.display.picture import SHORTEST, run_picture
from datapipe.display.picture import WIDTH as PICTURE
from datapipe.display.view import ErrorView, LogLine, RunView, StepView
from datapipe.display.words import rate, shortened

_LINES = 200  # lines of a log
_LONGEST = 4_000  # characters of a log, or of a traceback
_CELL = 80  # characters
_WHAT = 60
_CELLS = 20  # columns of a row
_MESSAGE = 2_000  # characters
_NOTE = 500
_BRIEF = 1.0  # seconds of a run of which there is little to show
_FEW = 2  # notes
_NUMBERS = {"cell", "rows in", "rows out", "rejected", "rows/s", "busy", "took", "memory"}
_SHORT = {"step", "busy", "state", "rows", "took", "run", "output"}  # columns that do not break
_BARS = 12  # steps at most that are shown in time
_BAR = "#64b5f6"
_TIMED = 0.05  # seconds below which a speed says nothing


def run_card(view: RunView) -> str:
    """A run as it is now; one that has ended with everything there is to know of it."""
    if view.state == "succeeded" and view.elapsed < _BRIEF and len(view.notes) <= _FEW:
        return card(_brief(view), border=BORDERS["succeeded"])
    body = ended_card(view) if view.final else live_card(view)
    when = f" · as of {view.at}" if view.at and not view.final else ""
    return card(body + faint(f"run {view.id}{when}"), border=BORDERS.get(view.state, GREY))


def _brief(view: RunView) -> str:
    """A run that took no time in two lines, for one of many in a loop."""
    told = [*map(line, facts.warnings(view)), *(faint(f"note: {shortened(note.text, _NOTE)}") for note in view.notes)]
    effect = line(facts.effect(view))
    above, below = (effect, "") if view.outputs else ("", effect)
    more = below + _steps(view) + _inside(view) + faint(f"run {view.id}")
    head = heading(*facts.headline(view), facts.amounts(view))
    return "".join([head, *told, above, fold(shortened(view.target or view.source, _WHAT), more)])


def live_card(view: RunView, *, headed: bool = True) -> str:
    """What changes from one moment to the next: small enough to be sent several times a second."""
    head = heading(*facts.headline(view)) if headed else ""
    words = [facts.amounts(view), *facts.warnings(view)]
    note = faint(shortened(view.notes[-1].text, _NOTE)) if view.notes else ""
    # A bar without an end moves: only where it will be replaced when the run has ended.
    share, is_moving = facts.share(view), view.state in {"running", "cancelling"}
    progress = bar(share, facts.amounts(view)) if is_moving and (share is not None or not headed) else ""
    parts = [head, progress, *map(line, words), _nested(view), _effect(view), note, _steps(view), _inside(view)]
    return f'<div style="line-height:1.5">{"".join(parts)}</div>'


def ended_card(view: RunView) -> str:
    """Everything there is to know of a run that has ended."""
    parts = [heading(*facts.headline(view)), line(facts.amounts(view))]
    parts += [_problem(view.error)] if view.error is not None else []
    parts += [_effect(view), *map(line, facts.warnings(view)), _steps(view), _inside(view)]
    picture = run_picture(view)
    parts += [image(*picture, width=PICTURE) + faint(picture[1])] if picture else []
    parts += [faint(f"note: {shortened(note.text, _NOTE)}") for note in view.notes[-5:]]
    parts += [fold(f"Log ({len(view.notes)} lines)", code(log_text(view.notes)))] if len(view.notes) > 5 else []
    if view.error is not None and view.error.traceback:
        parts.append(fold("Full traceback", code(_traceback(view.error.traceback))))
    return "".join(parts)


def _effect(view: RunView) -> str:
    effect = facts.effect(view)
    return line(effect) if effect else ""


def _nested(view: RunView) -> str:
    """The pipeline that runs within a notebook right now."""
    child = facts.inner(view)
    if child is None:
        return ""
    share = facts.share(child)
    return (bar(share, facts.run_title(child)) if share is not None else "") + line(facts.nested(view))


def _traceback(text: str) -> str:
    """A traceback, without its middle if it is long: how it begins, and where it ends."""
    if len(text) <= _LONGEST:
        return text
    head, _, rest = text.partition("\n")
    return f"{head[:_NOTE]}\n  …\n{rest[-_LONGEST:].partition(chr(10))[2]}"


def log_text(notes: tuple[LogLine, ...]) -> str:
    """The last lines of a log."""
    return "\n".join(f"{note.time} {note.text}".strip() for note in notes[-_LINES:])[-_LONGEST:]


def _problem(error: ErrorView) -> str:
    """Why it failed: what, where in the code, on which row, and what to do."""
    first, *rest = facts.problem(error)[:_MESSAGE].split("\n")
    parts = [heading(first), *map(line, rest)]
    parts += [line(f"Next: {error.hint[:_MESSAGE]}")] if error.hint else []
    where = facts.where_it_is(error)
    if error.cells:
        names = list(error.cells)[:_CELLS]
        more = f" (and {len(error.cells) - _CELLS} more columns)" if len(error.cells) > _CELLS else ""
        row = [shortened(error.cells[name], _CELL) for name in names]
        parts.append(table(names, [row], caption=f"{where}{more}"))
    elif where:
        parts.append(line(where))
    if error.code:
        parts += [line(error.place), code(error.code[:_MESSAGE])]
    return "".join(parts)


def _steps(view: RunView) -> str:
    """The table of steps, or of cells."""
    places, more = facts.steps_shown(view)
    steps = [view.steps[place] for place in places]
    name, busy = ("cell", "took") if view.kind == "notebook" else ("step", "busy")
    columns = [
        (name, [facts.step_name(view, place) for place in places]),
        ("what", [shortened(step.what, _WHAT) for step in steps]),
        ("written at", [step.where for step in steps]),
        ("rows in", [f"{step.rows_in:,}" if step.rows_in else "" for step in steps]),
        ("rows out", [f"{step.rows_out:,}" if step.rows_out else "" for step in steps]),
        ("rejected", [f"{step.rejected:,}" if step.rejected else "" for step in steps]),
        ("rows/s", [_rate(step) for step in steps]),
        (busy, [facts.step_took(view, step) for step in steps]),
        ("memory", [facts.step_memory(step) for step in steps]),
        ("when", [_when(view, step) for step in steps]),
        ("state", [facts.step_state(view, step) for step in steps]),
    ]
    return _listed(columns, more)


def _inside(view: RunView) -> str:
    """What has run within a notebook, and what it has given; nothing for a plan."""
    kept = facts.kept(view)
    return "".join(_listed(found.columns, found.more) for found in listings(view)) + (faint(kept) if kept else "")


def _listed(columns: Sequence[tuple[str, Sequence[str]]], more: str) -> str:
    """A table without the columns that would be empty."""
    shown = [(name, cells) for name, cells in columns if any(cells)]
    if not shown:
        return ""
    numbers = [place for place, (name, _) in enumerate(shown) if name in _NUMBERS]
    short = [place for place, (name, _) in enumerate(shown) if name in _SHORT]
    rows = zip(*(cells for _, cells in shown), strict=True)
    return table([name for name, _ in shown], rows, numbers=numbers, short=short) + (line(more) if more else "")


def _when(view: RunView, step: StepView) -> str:
    """When a step was at work, as a bar in the time of a run that has ended."""
    is_notebook = view.kind == "notebook"
    some = view.final and view.elapsed >= SHORTEST and (is_notebook or len(view.steps) <= _BARS)
    seconds = facts.step_seconds(view, step) if is_notebook else step.seconds
    if not some or step.begun is None or seconds is None:
        return ""
    left = min(0.98, step.begun / view.elapsed)
    width = max(0.02, min(seconds / view.elapsed, 1 - left))
    told = f"from {step.begun:.1f} s to {step.begun + seconds:.1f} s"
    inner = f"margin-left:{left:.0%};width:{width:.0%};height:7px;background-color:{_BAR}"
    outer = "width:120px;margin-top:4px;background-color:rgba(127,127,127,.15)"
    return Html(f'<div title="{told}" style="{outer}"><div style="{inner}"></div></div>')


def _rate(step: StepView) -> str:
    rows = max(step.rows_in, step.rows_out)
    seconds = step.busy or 0.0
    return rate(rows / seconds).removesuffix(" rows/s") if seconds > _TIMED and rows else ""
