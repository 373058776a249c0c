"""The columns that this process has seen: what each step of a plan has handed on. A small memory, for displays only."""

from __future__ import annotations

import hashlib
import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from datapipe.errors import DatapipeError
from datapipe.plan import Feed, FrameSource, Plan, SqlStep

if TYPE_CHECKING:
    import pyarrow as pa

Columns: TypeAlias = tuple[tuple[str, str], ...]  # names and types
_MOST = 256  # steps


@dataclass(frozen=True)
class _Entry:
    """What a step has handed on; a frame that came before it is known by being that very object."""

    frames: tuple[weakref.ref[Any], ...]
    columns: Columns


_entries: OrderedDict[str, _Entry] = OrderedDict()
_lock = threading.Lock()


def known_columns(plan: Plan) -> tuple[Columns | None, ...]:
    """What the source and each transformation hand on, as names and types; None where nobody has looked yet.

    Known are a frame's own columns, and what a run, a preview or an explanation in this process has seen of a plan
    that is the same up to that step.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from datapipe.plan import FrameSource
    >>> known_columns(Plan(ingestion=FrameSource(frame=pa.table({"id": [1], "name": ["ann"]}))))
    ((('id', 'bigint'), ('name', 'text')),)
    """
    found = [_recall(key, frames) for key, frames in _prefixes(plan)]
    if found[0] is None and isinstance(plan.ingestion, FrameSource):
        found[0] = _own_columns(plan.ingestion.frame)
    return tuple(found)


def remember(plan: Plan, schemas: Sequence[pa.Schema | None]) -> None:
    """Keep what the source and each transformation of a plan have handed on; None where that is not known."""
    from datapipe.data.types import describe  # loads pyarrow

    for (key, frames), schema in zip(_prefixes(plan), schemas, strict=False):
        if schema is None:
            continue
        try:
            held = tuple(weakref.ref(frame) for frame in frames)
        except TypeError:  # an object that cannot tell when it is gone
            return
        with _lock:
            _entries[key] = _Entry(held, tuple((field.name, describe(field)) for field in schema))
            _entries.move_to_end(key)
            while len(_entries) > _MOST:
                _entries.popitem(last=False)


def _recall(key: str, frames: Sequence[Any]) -> Columns | None:
    with _lock:
        found = _entries.get(key)
        if found is None or not all(ref() is frame for ref, frame in zip(found.frames, frames, strict=True)):
            return None
        _entries.move_to_end(key)
        return found.columns


def _prefixes(plan: Plan) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """A key for the plan up to its source and up to each step, and the frames that are read until then."""
    document = plan.document()
    frames = tuple(_frames(plan.ingestion))
    digest = hashlib.sha256()
    parts = [document["ingestion"], *document.get("transformation", ())]
    for part, step in zip(parts, [None, *plan.transformation], strict=True):
        further = tuple(_frames(step)) if step is not None else frames
        frames = frames if step is None else (*frames, *further)
        shapes = [(id(frame), _own_columns(frame)) for frame in further]
        digest.update(json.dumps([part, shapes], sort_keys=True, default=str).encode())
        yield digest.hexdigest(), frames


def _frames(given: Any) -> Iterator[Any]:
    """The frames of a source or of the further tables of a step."""
    if isinstance(given, FrameSource):
        yield given.frame
    elif isinstance(given, SqlStep):
        for _, feed in sorted(given.config.tables.items()):
            yield from _frames(feed)
    elif isinstance(given, Feed):
        yield from _frames(given.ingestion)
        for step in given.transformation:
            yield from _frames(step)


def _own_columns(frame: Any) -> Columns | None:
    """The columns of a frame, without a look at its rows; the type of a column of Python objects is empty."""
    from datapipe.data.types import describe, normal_field  # loads pyarrow

    try:
        kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}"
        if kind == "pandas.DataFrame":
            return _of_pandas(frame)
        schema = {"polars.DataFrame": lambda: frame.head(0).to_arrow().schema, "pyarrow.Table": lambda: frame.schema}
        return tuple((field.name, describe(normal_field(field))) for field in schema[kind]())
    except (DatapipeError, ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError):
        return None  # a run says what is wrong with it


def _of_pandas(frame: Any) -> Columns:
    from datapipe.data.frames import from_frame  # loads pandas, which such a frame has loaded already
    from datapipe.data.types import describe

    loose = {str(name) for name, dtype in frame.dtypes.items() if str(dtype) == "object"}
    return tuple((f.name, "" if f.name in loose else describe(f)) for f in from_frame(frame.iloc[:0]).schema)
