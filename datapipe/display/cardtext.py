"""A run as text, for terminals, logs, and notebooks that show nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.display import facts
from datapipe.display.inside import Listing, listings
from datapipe.display.view import ErrorView, RunView
from datapipe.display.words import aligned, shortened, unmoving

_WIDTH = 60  # characters of a step
_NOTES = 5


def run_card_text(view: RunView) -> str:
    """A run in a few lines: its state, its rows, what went wrong, its steps.

    Examples
    --------
    >>> print(run_card_text(RunView("7d7d5f5c-8a5f", "queued", "users", "members", "daily", ahead=2, elapsed=75)))
    ⏳ QUEUED daily · run 7d7d5f5c · 2 runs before it
    waiting for 1:15
    users → members
    """
    lines = [" · ".join(facts.headline(view)), facts.amounts(view), facts.nested(view)]
    lines += _problem(view.error) if view.error is not None else []
    lines += [facts.effect(view), *facts.warnings(view), *_steps(view)]
    lines += [line for found in listings(view) for line in _listed(found)]
    lines += [facts.kept(view), *(f"note: {note.text}" for note in view.notes[-_NOTES:])]
    return unmoving("\n".join(line for line in lines if line))


def _problem(error: ErrorView) -> list[str]:
    lines = [facts.problem(error)]
    lines += [f"Next: {error.hint}"] if error.hint else []
    lines += [facts.where_it_is(error)] if facts.where_it_is(error) else []
    lines += [f"  {name}: {shortened(value, _WIDTH)}" for name, value in error.cells.items()]
    return [*lines, error.place, error.code] if error.code else lines


def _steps(view: RunView) -> list[str]:
    places, more = facts.steps_shown(view) if view.kind == "notebook" else (range(len(view.steps)), "")
    rows = [_step(view, place) for place in places]
    return _indented(rows, more)


def _step(view: RunView, place: int) -> tuple[str, ...]:
    step = view.steps[place]
    flow = [f"{n:,}" for n in (step.rows_in, step.rows_out) if n]
    rows = " → ".join(dict.fromkeys(flow))
    rejected = f"{step.rejected:,} rejected" if step.rejected else ""
    return (
        facts.step_number(view, place),
        shortened(facts.step_words(view, step), _WIDTH),
        step.where,
        f"{rows} row{'' if rows == '1' else 's'}" if rows else "",
        rejected,
        facts.step_took(view, step),
        facts.step_state(view, step),
    )


def _listed(found: Listing) -> list[str]:
    columns = [(name, *cells) for name, cells in found.columns if any(cells)]
    return _indented([*zip(*columns, strict=True)], found.more)


def _indented(rows: Sequence[Sequence[str]], more: str) -> list[str]:
    return [f"  {line}" for line in [*aligned(rows).splitlines(), *([more] if more else [])]]
