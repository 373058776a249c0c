"""Many runs as a table: how each ended, how long it took, how many rows more or fewer than the time before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from html import escape

from datapipe.display.html import Html, line, table
from datapipe.display.runs import is_of_notebook
from datapipe.display.words import aligned, count, duration, shortened, state_words, unmoving
from datapipe.store import RunRow, StepRow

_HEAD = ("state", "name", "started", "took", "rows written", "change", "by", "run")
_BLOCKS = "▁▂▃▄▅▆▇█"
_NAME = 40  # characters


def runs_html(rows: Sequence[RunRow]) -> str:
    """A table of runs."""
    if not rows:
        return line("no runs yet")
    cells = [(*cells[:-1], Html(f"<code>{escape(cells[-1])}</code>")) for cells in _rows(rows)]
    return table(
        _HEAD,
        cells,
        numbers=(4, 5),
        short=(0, 2, 3, 6),
        caption=f"The latest {count(len(rows), 'run')}, the newest first",
    )


def runs_text(rows: Sequence[RunRow]) -> str:
    """The same in plain text."""
    return "\n".join(map(unmoving, aligned([_HEAD, *_rows(rows)]).split("\n"))) if rows else "no runs yet"


def compared_html(before: RunRow, after: RunRow) -> str:
    """Two runs, step by step."""
    return table(_head(before, after), _steps(before, after), numbers=(1, 2, 3), caption=_title(before, after))


def compared_text(before: RunRow, after: RunRow) -> str:
    """The same in plain text."""
    return f"{_title(before, after)}\n{aligned([_head(before, after), *_steps(before, after)])}"


def _rows(rows: Sequence[RunRow]) -> list[tuple[str, ...]]:
    longest = max((row.seconds or 0.0 for row in rows), default=0.0)
    changes = _changes(rows)
    return [
        (
            state_words(row.state),
            shortened(_name(row), _NAME) + (" (notebook)" if is_of_notebook(row) else ""),
            _when(row.started or row.created),
            f"{_block(row.seconds, longest)} {duration(row.seconds)}" if row.seconds is not None else "",
            f"{row.rows_written:,}" if row.state == "succeeded" and not is_of_notebook(row) else "-",
            changes[row.id],
            " ".join([row.owner or "somebody", *([f"({row.via})"] if row.via else [])]),
            row.id[:8],
        )
        for row in rows
    ]


def _name(row: RunRow) -> str:
    """What its plan, or its caller, calls it; else what it is about."""
    if row.name or is_of_notebook(row):
        return row.name or row.source or ""
    return row.pipeline_id if row.pipeline_id != row.id else f"{row.source} → {row.target}"


def _changes(rows: Sequence[RunRow]) -> dict[str, str]:
    """For each run, its rows less those of the run before it of the same plan that has succeeded, too."""
    latest: dict[str | None, int] = {}
    found = {}
    for row in reversed(rows):
        plan = row.name or row.fingerprint
        done = row.state == "succeeded" and not is_of_notebook(row) and not (row.result or {}).get("replayed")
        known = latest.get(plan) if done else None
        found[row.id] = "" if known is None else f"{row.rows_written - known:+,}" if row.rows_written != known else "±0"
        if done:
            latest[plan] = row.rows_written
    return found


def _block(seconds: float | None, longest: float) -> str:
    share = (seconds or 0.0) / longest if longest else 0.0
    return _BLOCKS[min(len(_BLOCKS) - 1, int(share * len(_BLOCKS)))]


def _when(time: str) -> str:
    """A time of the store on the user's own clock."""
    return dt.datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _title(before: RunRow, after: RunRow) -> str:
    states = f"{state_words(before.state)} → {state_words(after.state)}"
    took = " → ".join(duration(row.seconds) for row in (before, after) if row.seconds is not None)
    names = dict.fromkeys((_name(before), _name(after)))
    return f"{' → '.join(names)} · run {before.id[:8]} → run {after.id[:8]} · {states} · {took}"


def _head(before: RunRow, after: RunRow) -> tuple[str, ...]:
    return ("step", f"rows of {before.id[:8]}", f"rows of {after.id[:8]}", "change", "time")


def _steps(before: RunRow, after: RunRow) -> list[tuple[str, ...]]:
    old, new = {s.name: s for s in before.steps}, {s.name: s for s in after.steps}
    names = dict.fromkeys((*old, *new))
    has_rows = not (is_of_notebook(before) or is_of_notebook(after))
    return [_step(name, old.get(name), new.get(name), has_rows=has_rows) for name in names]


def _step(name: str, before: StepRow | None, after: StepRow | None, *, has_rows: bool) -> tuple[str, ...]:
    rows = [max(step.rows_in, step.rows_out) if step and has_rows else None for step in (before, after)]
    change = f"{rows[1] - rows[0]:+,}" if rows[0] is not None and rows[1] is not None and rows[0] != rows[1] else ""
    times = [duration(step.seconds) if step and step.seconds is not None else "-" for step in (before, after)]
    return (name, *("-" if n is None else f"{n:,}" for n in rows), change, " → ".join(times))
