"""How far the loads of a source have come, as the ledger keeps it."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from datapipe.data.filemarks import Files
from datapipe.plan.values import decode, encode

Mark: TypeAlias = int | Decimal | dt.date | dt.datetime | str


@dataclass(frozen=True)
class Watermark:
    """The greatest cursor of all rows that were loaded, and what identifies the rows near it.

    Parameters
    ----------
    cursor : tuple of str
        The columns.
    values : tuple, optional
        One for each column, of its own type; None where nothing has been read yet.
    columns : tuple of str
        Those that ``seen`` was made of.
    seen : bytes
        A digest of 16 bytes for each row that the next load reads again, sorted.
    floor : tuple, optional
        The cursor from which on ``seen`` has all rows that were loaded; of its first columns, or of all.
    begin : tuple, optional
        Where the next load begins, if somebody has said so.

    Examples
    --------
    >>> print(Watermark(("updated_at",), (dt.datetime(2024, 1, 1, 10, 0, 0, 5),)))
    updated_at 2024-01-01 10:00:00.000005
    """

    cursor: tuple[str, ...]
    values: tuple[Mark, ...] | None = None
    columns: tuple[str, ...] = ()
    seen: bytes = b""
    floor: tuple[Mark, ...] | None = None
    begin: tuple[Mark, ...] | None = None

    @property
    def loaded(self) -> bool:
        """Whether a load has left it, with rows."""
        return self.values is not None

    def __str__(self) -> str:
        if self.values is None and self.begin is None:
            return f"{', '.join(self.cursor)}: nothing yet"
        if self.values is None:
            return f"set to {self._with(self.begin)}"
        return self._with(self.values)

    def _with(self, values: tuple[Mark, ...] | None) -> str:
        return ", ".join(f"{name} {value}" for name, value in zip(self.cursor, values or (), strict=True))

    def form(self) -> dict[str, Any]:
        """As JSON values."""
        found = {"cursor": list(self.cursor), "values": _encoded(self.values), "columns": list(self.columns)}
        sides = {
            name: _encoded(side) for name, side in (("floor", self.floor), ("begin", self.begin)) if side is not None
        }
        return {**found, "seen": base64.b64encode(self.seen).decode(), **sides}

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> Watermark:
        """The inverse of :meth:`form`."""
        seen = base64.b64decode(form["seen"])
        values, floor, begin = (_decoded(form.get(name)) for name in ("values", "floor", "begin"))
        return cls(tuple(form["cursor"]), values, tuple(form["columns"]), seen, floor, begin)


def _encoded(values: tuple[Mark, ...] | None) -> list[Any] | None:
    return None if values is None else [encode(value) for value in values]


def _decoded(values: list[Any] | None) -> tuple[Mark, ...] | None:
    return None if values is None else tuple(decode(value) for value in values)


@dataclass(frozen=True)
class Position:
    """Where a source's loads into a target stand.

    Parameters
    ----------
    stream : str
        The hash that stands for the source and its cursor, or for the folder of its files.
    watermark : Watermark or Files, optional
        None before the first load.
    generation : int
        The ledger's number of the load that left it; 0 before the first.
    run_id, committed : str
        That load's.
    """

    stream: str
    watermark: Watermark | Files | None = None
    generation: int = 0
    run_id: str = ""
    committed: str = ""

    def text(self, watermark: Watermark | Files) -> str:
        """What the ledger keeps of what a load has left; the stream comes first, and is looked for."""
        return json.dumps({"stream": self.stream, **watermark.form()})
