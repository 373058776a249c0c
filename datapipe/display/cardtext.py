"""A run as text, for terminals, logs, and notebooks that show nothing else."""

from __future__ import annotations

import re

from datapipe.display import facts
from datapipe.display.view import ErrorView, RunView, StepView
from datapipe.display.words import aligned, duration, shortened

_WIDTH = 60  # characters of a step
_NOTES = 5
# What would move a terminal's cursor, or turn the text around it; errors and names are anybody's.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def run_card_text(view: RunView) -> str:
    """A run in a few lines: its state, its rows, what went wrong, its steps.

    Examples
    --------
    >>> print(run_card_text(RunView("7d7d5f5c-8a5f", "queued", "users", "members", "daily", ahead=2, elapsed=75)))
    ⏳ QUEUED daily · run 7d7d5f5c · 2 runs before it
    waiting for 1:15
    users → members
    """
    lines = [" · ".join(facts.headline(view)), facts.amounts(view)]
    lines += _problem(view.error) if view.error is not None else []
    lines += [facts.effect(view), *facts.warnings(view), *_steps(view)]
    lines += [f"note: {note.text}" for note in view.notes[-_NOTES:]]
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], "\n".join(lines))


def _problem(error: ErrorView) -> list[str]:
    lines = [facts.problem(error)]
    lines += [f"Next: {error.hint}"] if error.hint else []
    lines += [facts.where_it_is(error)] if facts.where_it_is(error) else []
    lines += [f"  {name}: {shortened(value, _WIDTH)}" for name, value in error.cells.items()]
    return [*lines, error.place, error.code] if error.code else lines


def _steps(view: RunView) -> list[str]:
    rows = [_step(view, place, step) for place, step in enumerate(view.steps)]
    return [f"  {line}" for line in aligned(rows).splitlines()]


def _step(view: RunView, place: int, step: StepView) -> tuple[str, ...]:
    flow = [f"{n:,}" for n in (step.rows_in, step.rows_out) if n]
    rows = " → ".join(dict.fromkeys(flow))
    took = duration(step.busy) if step.busy is not None else ""
    rejected = f"{step.rejected:,} rejected" if step.rejected else ""
    what = shortened(f"{step.verb} {step.what}", _WIDTH)
    return (
        facts.step_number(view, place),
        what,
        step.where,
        f"{rows} row{'' if rows == '1' else 's'}" if rows else "",
        rejected,
        took,
        facts.step_state(view, step),
    )
