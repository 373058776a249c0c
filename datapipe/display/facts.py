"""What there is to say about a run, in words: the lines that every card has, whatever it is drawn with."""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.display import notebooks
from datapipe.display.view import ErrorView, RunView, StepView
from datapipe.display.words import clock, count, duration, rate, shortened, size, state_words

_QUIET = 15.0  # seconds without a sign of life that are told
_SHOWN = 8  # characters of a run's id
_WIDTH = 80  # characters of a step
_TITLE = 50  # characters of a run's name among others
_STEPS = 20  # of a plan
_REASONS = {"timed_out": "⚠ timed out", "kernel_died": "⚠ its kernel died"}
_REASONS |= {"out_of_memory": "⚠ its kernel was out of memory"}
_MUCH = 32 << 20  # bytes below which nobody asks where the memory goes
_TIMED = 0.5  # seconds of a run below which its speed says nothing


def headline(view: RunView) -> tuple[str, ...]:
    """The first line: the state and the name, then what else matters most."""
    title = f"{state_words(view.state)} {shortened(view.name, _WIDTH)}" if view.name else state_words(view.state)
    found = [title, f"run {view.id[:_SHOWN]}"]
    found += [position(view)] if position(view) else []
    if view.state == "queued" and view.ahead is not None:
        found.append(f"{count(view.ahead, 'run')} before it" if view.ahead else "next in its queue")
    if view.attempts > 1:
        found.append(f"attempt {view.attempts}")
    if view.place and not view.final:
        found.append(f"on {view.place}")
    return tuple(found)


def position(view: RunView) -> str:
    """How far it has come, or where it has ended before its time; empty where that says nothing."""
    at = _reached(view)
    if view.kind == "notebook":
        return notebooks.position(view, at)
    if at is None or view.state not in {"running", "cancelling", "failed", "cancelled"}:
        return ""
    number, step = step_number(view, at), view.steps[at]
    return f"at step {number} of {len(view.steps) - 2}: {step_label(step)}" if number else f"at {step.verb}"


def inner(view: RunView) -> RunView | None:
    """The pipeline that runs within a notebook right now."""
    return notebooks.current(view)


def nested(view: RunView) -> str:
    """The pipeline that runs within a notebook right now, and how far it is; empty if there is none."""
    child = inner(view)
    if child is None:
        return ""
    found = [f"{state_words(child.state)[0]} {run_title(child)}", position(child).removeprefix("at "), amounts(child)]
    return " · ".join(filter(None, found))


def run_title(view: RunView) -> str:
    """What a run is called among others."""
    return shortened(view.name or f"{view.source} → {view.target}", _TITLE)


def step_number(view: RunView, place: int) -> str:
    """The number of a step, as plans and errors have it: transformations count from 1, source and target do not.

    The cells of a notebook all count.
    """
    if view.kind == "notebook":
        return str(place + 1)
    return str(place) if 0 < place < len(view.steps) - 1 else ""


def step_name(view: RunView, place: int) -> str:
    """What a step is called in a table, beside what it is about."""
    number = step_number(view, place)
    return number if view.kind == "notebook" else f"{number} {view.steps[place].verb}".strip()


def step_words(view: RunView, step: StepView) -> str:
    """What a step is about, beside its number."""
    return step.what if view.kind == "notebook" else f"{step.verb} {step.what}"


def steps_shown(view: RunView) -> tuple[Sequence[int], str]:
    """The places of the steps that a card shows, and what is said of the others."""
    if view.kind == "notebook":
        return notebooks.shown(view, _reached(view))
    more = len(view.steps) - _STEPS
    return range(len(view.steps))[:_STEPS], f"and {more} more steps" if more > 0 else ""


def step_seconds(view: RunView, step: StepView) -> float | None:
    """Seconds in which a step was at work, as far as they are known."""
    return notebooks.lasted(view, step) if view.kind == "notebook" else step.busy


def step_took(view: RunView, step: StepView) -> str:
    """The same in words; a cell that lasts has a clock."""
    seconds = step_seconds(view, step)
    if seconds is None:
        return ""
    is_lasting = view.kind == "notebook" and step.state == "running" and not view.final
    return clock(seconds) if is_lasting else duration(seconds)


def step_memory(step: StepView) -> str:
    """What a step has held at most, where that is much.

    Examples
    --------
    >>> step_memory(StepView("s", "sql", peak=350_000_000)), step_memory(StepView("s", "sql", peak=9_000_000))
    ('333.8 MB', '')
    """
    return size(step.peak) if step.peak >= _MUCH else ""


def step_label(step: StepView) -> str:
    """A step in a few words."""
    return shortened(f"{step.verb} {step.what}".strip(), _WIDTH)


def amounts(view: RunView) -> str:
    """How many rows, how fast, how much longer."""
    if view.state == "queued":
        return f"waiting for {duration(view.elapsed)}"
    if view.kind == "notebook":
        return notebooks.amounts(view)
    total = view.steps[0].total if view.steps else None
    if view.final:
        return _final_amounts(view)
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
    found += [f"{view.deleted:,} deleted"] if view.deleted else []
    found += [f"{view.rejected:,} rejected"] if view.rejected else []
    found += [f"{view.deduplicated:,} duplicates left out"] if view.deduplicated else []
    found.append(duration(view.elapsed))
    found += [rate(view.speed)] if view.speed and view.elapsed >= _TIMED else []
    return " · ".join(found)


def effect(view: RunView) -> str:
    """What the run has done to its target, or what a notebook has given."""
    if view.kind == "notebook":
        return notebooks.effect(view)
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
        found.append(_REASONS.get(view.reason, view.reason))
    return tuple(found)


def step_state(view: RunView, step: StepView) -> str:
    """A step's state as a sign and a word."""
    if step.state == "running" and (view.final or view.state == "lost"):
        return "■ stopped"
    # Steps through which no row goes never begin; cells that have not begun were left out.
    if view.kind == "plan" and view.state == "succeeded" and step.state != "failed" and view.replay_of is None:
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


def step_ended(view: RunView, step: StepView) -> str:
    """A line about a step that has ended."""
    if view.kind == "notebook":
        return notebooks.ended(view, step)
    return f"{step.name} done: {count(max(step.rows_in, step.rows_out))}"


def progress(view: RunView) -> str:
    """A line about a run that lasts."""
    if view.kind == "notebook":
        return " · ".join(filter(None, [amounts(view), position(view), nested(view)]))
    return f"{count(view.rows_read)} read so far"


def share(view: RunView) -> float | None:
    """How much of it is done, where that is known."""
    return notebooks.share(view) if view.kind == "notebook" else view.share


def kept(view: RunView) -> str:
    """Where a notebook is, and what it leaves; empty for a plan."""
    return notebooks.kept(view) if view.kind == "notebook" else ""


def _reached(view: RunView) -> int | None:
    """The place of the step that it is at, or at which it has ended before its time."""
    if view.state not in {"failed", "cancelled"}:
        return view.current
    name = view.error.step if view.error else None
    return next((place for place, step in enumerate(view.steps) if name and step.name == name), view.current)
