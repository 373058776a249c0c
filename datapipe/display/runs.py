"""A recorded run as text and as HTML."""

from __future__ import annotations

from html import escape

from datapipe.display.html import table, titled
from datapipe.store import RunRow, StepRow

_QUIET = 5.0  # seconds after which silence is told


def run_text(row: RunRow) -> str:
    """A run in a few lines: its state, where it is, what went wrong."""
    lines = [_head(row), f"  {row.source} -> {_target(row)}"]
    lines += [f"  {step.name}: {rows_of(step)}" for step in row.steps]
    if row.error:
        lines.append(f"  error: {_error(row)}")
    return "\n".join(lines)


def run_html(row: RunRow) -> str:
    """The same as a small table."""
    error = f"<div>{escape(_error(row))}</div>" if row.error else ""
    steps = table(("step", "rows"), [(step.name, rows_of(step)) for step in row.steps]) if row.steps else ""
    ends = escape(f"{row.source} → {_target(row)}")
    return titled(_head(row), f"<div>{ends}</div>{steps}{error}")


def _target(row: RunRow) -> str:
    version = f" (schema version {row.schema_version})" if row.schema_version else ""
    return f"{row.target or 'nowhere'}{version}"


def rows_of(step: StepRow) -> str:
    """How far a step is, for people."""
    if step.rows_in and step.rows_out and step.rows_in != step.rows_out:
        return f"{step.rows_in:,} -> {step.rows_out:,} rows"
    done = max(step.rows_in, step.rows_out)
    return f"{done:,} of {step.total:,} rows" if step.total else f"{done:,} rows"


def _head(row: RunRow) -> str:
    name = f" ({row.name})" if row.name else ""
    took = f", {row.seconds:.1f} s" if row.seconds is not None else ""
    why = f": {row.reason}" if row.reason else ""
    quiet = f", silent for {row.silence:.0f} s" if (row.silence or 0) > _QUIET else ""
    tries = f", attempt {row.attempts}" if row.attempts > 1 else ""
    return f"run {row.id}{name}: {row.state}{why}{took}{tries}{quiet}"


def _error(row: RunRow) -> str:
    found = row.error or {}
    step = f"{found['step']}: " if found.get("step") else ""
    hint = f". {found['hint']}" if found.get("hint") else ""
    return f"{step}{found.get('message')}{hint}"
