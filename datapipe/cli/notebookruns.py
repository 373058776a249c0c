"""The runs of a notebook, for people and for programs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datapipe.display.words import aligned, duration, shortened, state_words, unmoving
from datapipe.store import RunRow

_HEAD = ("state", "started", "took", "parameters", "what came of it", "by", "run")
_PARAMETERS, _RESULT = 40, 60  # characters


def history_text(rows: Sequence[RunRow]) -> str:
    """Runs as a table, the newest first: what each was given, and its outputs or what went wrong."""
    return unmoving(aligned([_HEAD, *map(_cells, rows)])) if rows else "no runs yet"


def summary(row: RunRow) -> dict[str, Any]:
    """A run as JSON."""
    names = ("id", "state", "reason", "name", "created", "started", "ended", "seconds", "attempts")
    result: Mapping[str, Any] = row.result or {}
    told = {name: result.get(name) for name in ("outputs", "artifacts", "error")}
    return {**{name: getattr(row, name) for name in names}, "parameters": _parameters(row), **told}


def _cells(row: RunRow) -> tuple[str, ...]:
    started = dt.datetime.fromisoformat(row.started or row.created).astimezone()
    return (
        state_words(row.state),
        f"{started:%Y-%m-%d %H:%M:%S}",
        duration(row.seconds) if row.seconds is not None else "",
        shortened(_pairs(_parameters(row).items()), _PARAMETERS),
        shortened(_came_of(row), _RESULT),
        " ".join([row.owner or "somebody", *([f"({row.via})"] if row.via else [])]),
        row.id[:8],
    )


def _parameters(row: RunRow) -> dict[str, Any]:
    found = json.loads(row.document) if row.document else {}
    return dict(found.get("notebook", {}).get("parameters", {}))


def _came_of(row: RunRow) -> str:
    result: Mapping[str, Any] = row.result or {}
    return result.get("error") or (row.error or {}).get("message") or _outputs(result) or row.reason or ""


def _outputs(result: Mapping[str, Any]) -> str:
    return _pairs((name, shown) for name, shown in result.get("outputs_shown", ()))


def _pairs(found: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in found)
