"""What there is to say about a run, in words: the lines that every card has, whatever it is drawn with."""

from __future__ import annotations

from datapipe.display.view import ErrorView, RunView, StepView
from datapipe.display.words import clock, count, duration, rate, shortened, state_words

_QUIET = 15.0  # seconds without a sign of life that are told
_SHOWN = 8  # characters of a run's id
_WIDTH = 80  # characters of a step
_TIMED = 0.5  # seconds of a run below which its speed says nothing


def headline(view: RunView) -> tuple[str, ...]:
    """The first line: the state and the name, then what else matters most."""
    title = f"{state_words(view.state)} {shortened(view.name, _WIDTH)}" if view.name else state_words(view.state)
    found = [title, f"run {view.id[:_SHOWN]}"]
    at = _stopped(view) if view.state in {"failed", "cancelled"} else view.current
    if at is not None and view.state in {"running", "cancelling", "failed", "cancelled"}:
        number = step_number(view, at)
        step = view.steps[at]
        found.append(f"at step {number} of {len(view.steps) - 2}: {step_label(step)}" if number else f"at {step.verb}")
    if view.state == "queued" and view.ahead is not None:
        found.append(f"{count(view.ahead, 'run')} before it" if view.ahead else "next in its queue")
    if view.attempts > 1:
        found.append(f"attempt {view.attempts}")
    if view.place and not view.final:
        found.append(f"on {view.place}")
    return tuple(found)


def step_number(view: RunView, place: int) -> str:
    """The number of a step, as plans and errors have it: transformations count from 1, source and target do not."""
    return str(place) if 0 < place < len(view.steps) - 1 else ""


def step_label(step: StepView) -> str:
    """A step in a few words."""
    return shortened(f"{step.verb} {step.what}".strip(), _WIDTH)


def amounts(view: RunView) -> str:
    """How many rows, how fast, how much longer."""
    total = view.steps[0].total if view.steps else None
    if view.final:
        return _final_amounts(view)
    if view.state == "queued":
        return f"waiting for {duration(view.elapsed)}"
    if view.all_read:
        return f"{count(view.rows_read)}, all that there are · {clock(view.elapsed)} so far"
    found = [f"{view.rows_read:,} of {count(total)}" if total else count(view.rows_read)]
    if view.speed is not None:
        found.append(rate(view.speed))
    if view.left is not None:
        found.append(f"ETA {clock(view.left)}")
    return " · ".join([*found, f"{clock(view.elapsed)} so far"])


def _final_amounts(view: RunView) -> str:
    if view.replay_of is not None:
        then = f"{count(view.rows_written)} written by run {view.replay_of[:_SHOWN]}, which has the same key"
        return f"nothing to do: {then} · {duration(view.elapsed)}"
    found = [f"{count(view.rows_read)} read"]
    if view.state == "succeeded":
        found.append(f"{view.rows_written:,} written")
    found += [f"{view.rejected:,} rejected"] if view.rejected else []
    found += [f"{view.deduplicated:,} duplicates left out"] if view.deduplicated else []
    found.append(duration(view.elapsed))
    found += [rate(view.speed)] if view.speed and view.elapsed >= _TIMED else []
    return " · ".join(found)


def effect(view: RunView) -> str:
    """What the run has done to its target."""
    if view.state == "succeeded":
        version = f" · schema version {view.schema_version}" if view.schema_version else ""
        return f"{view.source} → {view.target}{version}"
    if view.state in {"cancelled", "failed"} and (view.unsure or (view.error and view.error.kind == "OutcomeUnknown")):
        return "Whether the rows are in the target is not known."
    if view.state == "cancelled":
        return "The target is unchanged."
    if view.state == "failed" and view.error is not None:
        handed = view.steps[-1].rows_in if view.steps else 0
        return f"The target is unchanged: {count(handed)} rolled back." if handed else "The target is unchanged."
    return f"{view.source} → {view.target}"


def warnings(view: RunView) -> tuple[str, ...]:
    """What is not as it should be."""
    found = []
    if view.state == "lost":
        found.append(f"⚠ lost: {view.reason or 'its process is gone'}")
    elif not view.final and view.silence is not None and view.silence > _QUIET:
        found.append(f"⚠ no sign of life for {duration(view.silence)}")
    if view.reason and view.state != "lost":
        found.append(view.reason)
    return tuple(found)


def step_state(view: RunView, step: StepView) -> str:
    """A step's state as a sign and a word."""
    if step.state == "running" and (view.final or view.state == "lost"):
        return "■ stopped"
    if view.state == "succeeded" and step.state != "failed" and view.replay_of is None:
        return "✓ done"
    if step.state == "waiting" and view.final:
        return "· not begun"
    return {"waiting": "· waiting", "running": "▶ running", "done": "✓ done", "failed": "✗ failed"}[step.state]


def problem(error: ErrorView) -> str:
    """What went wrong, in a sentence; the line of code it ends with is left out where the code itself is shown.

    Examples
    --------
    >>> code = "--> 2 return float(x)"
    >>> problem(ErrorView("DataError", "it failed (In[1]:2: return float(x))", place="In[1]:2 in clean", code=code))
    'DataError: it failed'
    """
    head, found, _ = error.message.rpartition(f" ({error.place.partition(' in ')[0]}")
    message = head if found and error.code and error.message.endswith(")") else error.message
    return f"{error.kind}: {message}" if error.kind else message


def where_it_is(error: ErrorView) -> str:
    """The row and the column an error is about."""
    found = [f"Row {error.row:,} of what came into the step"] if error.row else []
    found += [f"column {error.column}"] if error.column else []
    return ", ".join(found)


def _stopped(view: RunView) -> int | None:
    """The place of the step at which a run has ended before its time."""
    name = view.error.step if view.error else None
    return next((place for place, step in enumerate(view.steps) if name and step.name == name), view.current)
