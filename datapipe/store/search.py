"""Runs by what is known of them, a page at a time, the newest first."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from datapipe.errors import PlanError
from datapipe.store.schema import RUNS
from datapipe.store.store import RunStore

# What a list shows of each run: not its document, outline, result, which can be long.
_BRIEF = (
    "id", "pipeline_id", "kind", "name", "state", "reason", "source", "target", "owner", "via", "worker", "queue",
    "correlation_id", "parent_run_id", "created", "queued", "started", "ended", "attempts", "rows_read",
    "rows_written", "error",
)  # fmt: skip
_TIME = re.compile(r"[0-9T:.Z-]{20,30}")
_NEWEST = sa.select(*(RUNS.c[name] for name in _BRIEF)).order_by(RUNS.c.created.desc(), RUNS.c.id.desc())
_EQUAL = ("state", "kind", "name", "pipeline_id", "correlation_id", "parent_run_id", "owner", "queue", "via")


@dataclass(frozen=True)
class Page:
    """Some runs.

    Parameters
    ----------
    rows : tuple of mapping
        What a list shows of each.
    after : str, optional
        What :func:`search` is given for the next page; None for the last one.
    """

    rows: tuple[Mapping[str, Any], ...]
    after: str | None = None


def search(
    store: RunStore,
    *,
    limit: int = 50,
    after: str | None = None,
    since: str | None = None,
    until: str | None = None,
    **wanted: str | None,
) -> Page:
    """A page of runs.

    Parameters
    ----------
    after : str, optional
        The page before it has said so.
    since, until : str, optional
        Only those recorded from, and before, these times: ISO 8601 in UTC.
    **wanted : str, optional
        ``state``, ``kind``, ``name``, ``pipeline_id``, ``correlation_id``, ``parent_run_id``, ``owner``, ``queue``,
        ``via``: only those that have it.

    Raises
    ------
    PlanError
        If ``after`` is nothing that a page has said.

    Examples
    --------
    >>> store = RunStore(sa.create_engine("sqlite://"))
    >>> for number in range(3):
    ...     store.add(f"r{number}", state="queued")
    >>> first = search(store, limit=2)
    >>> len(first.rows), len(search(store, limit=2, after=first.after).rows)
    (2, 1)
    """
    created, run_id = RUNS.c.created, RUNS.c.id
    conditions: list[sa.ColumnElement[bool]] = [
        RUNS.c[name] == value for name, value in wanted.items() if value is not None and name in _EQUAL
    ]
    conditions += [created >= since] if since else []
    conditions += [created < until] if until else []
    if after is not None:
        last = _opened(after)
        conditions.append(sa.or_(created < last[0], sa.and_(created == last[0], run_id < last[1])))
    query = _NEWEST.where(*conditions).limit(limit + 1)
    with store.reading() as conn:
        found = conn.execute(query).all()
    rows = tuple(_row(values) for values in found[:limit])
    return Page(rows, _sealed(rows[-1]["created"], rows[-1]["id"]) if len(found) > limit else None)


def _row(values: Iterable[Any]) -> dict[str, Any]:
    found = dict(zip(_BRIEF, values, strict=True))
    found["error"] = json.loads(found["error"]) if found["error"] else None
    return found


def _sealed(created: str, run_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([created, run_id]).encode()).decode().rstrip("=")


def _opened(after: str) -> tuple[str, str]:
    try:
        created, run_id = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if _sealed(created, run_id) == after and _TIME.fullmatch(created) and run_id.isprintable():
            return created, run_id
    except (ValueError, TypeError):
        pass
    raise PlanError("after is not what a page has said", hint="Take it from next of the page before, as it is")
