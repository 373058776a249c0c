"""What ``explain()`` and ``preview()`` return: values that show themselves as text and as HTML."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from datapipe.display import html
from datapipe.display.grid import Grid, grid_html, grid_of, grid_text
from datapipe.display.words import count, duration


@dataclass(frozen=True)
class Section:
    """One part of an explanation."""

    title: str
    text: str
    columns: tuple[tuple[str, str], ...] = ()  # what the step hands on: name and type
    note: str = ""  # what was left to the source


@dataclass(frozen=True)
class Explanation:
    """What a plan would do: the SQL that is sent, the columns of each step, the statements of the write.

    Parameters
    ----------
    sections : tuple of Section

    Examples
    --------
    >>> print(Explanation((Section("ingestion", "SELECT 1 AS a", (("a", "integer"),)),)))
    ingestion
        SELECT 1 AS a
        -> a integer
    """

    sections: tuple[Section, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "sections": [
                {
                    "title": section.title,
                    "text": section.text,
                    "note": section.note,
                    "columns": [{"name": name, "type": type_} for name, type_ in section.columns],
                }
                for section in self.sections
            ]
        }

    def __str__(self) -> str:
        return "\n\n".join(_section_text(section) for section in self.sections)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html.card(
            html.heading("What a run would do", "nothing is written") + "".join(map(_section_html, self.sections))
        )


def _section_html(section: Section) -> str:
    columns = html.table(("column", "type"), section.columns)
    folded = html.fold(count(len(section.columns), "column"), columns) if section.columns else ""
    note = html.faint(section.note) if section.note else ""
    return html.titled(section.title, html.code(section.text) + note + folded)


def _section_text(section: Section) -> str:
    lines = [section.title, *(f"    {line}" for line in section.text.splitlines())]
    if section.note:
        lines.append(f"    ({section.note})")
    if section.columns:
        lines.append("    -> " + ", ".join(f"{name} {type_}" for name, type_ in section.columns))
    return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Preview:
    """The first rows after a step.

    Parameters
    ----------
    table : pyarrow.Table
        The rows that are shown.
    step : str
        The step the rows come out of.
    sampled : bool
        Whether only part of the source was read: aggregates are then those of the sample.
    source_rows : int
        The rows that were read from the source.
    rows : int
        The rows that came out of the step.
    nulls : tuple of int
        How many values of each column are NULL, in all of these.
    seconds : float, optional
        How long that took.

    Examples
    --------
    >>> import pyarrow as pa
    >>> Preview(pa.table({"id": [1]}), "ingestion", False, 1, 1, (0,), 0.004)
        id
    bigint
         1
    (all 1 source row · 4 ms · nothing is written)
    """

    table: Any
    step: str
    sampled: bool
    source_rows: int
    rows: int = 0
    nulls: tuple[int, ...] = ()
    seconds: float | None = None

    @cached_property
    def frame(self) -> Any:
        """The rows as a pandas DataFrame."""
        from datapipe.data.frames import to_pandas  # loads pandas

        return to_pandas(self.table)

    @property
    def note(self) -> str:
        """Where the rows come from, in a line."""
        source = self.step == "ingestion"
        read = count(self.source_rows, "source row")
        rows = count(len(self)) if len(self) == self.rows else f"{len(self):,} of {count(self.rows)}"
        parts = [rows if source else f"{rows} after {self.step.removeprefix('transformation ')}"]
        parts.append(f"a sample: the first {read}" if self.sampled else f"all {read}")
        if source and not self.sampled:
            parts = [f"all {read}" if len(self) == self.rows else f"{len(self):,} of {read}"]
        if self.sampled and not source:
            parts.append("aggregates, windows and DISTINCT are those of the sample")
        parts += [duration(self.seconds)] if self.seconds is not None else []
        return " · ".join([*parts, "nothing is written"])

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values; of the rows, what JSON lacks is text."""
        from datapipe.data.jsonrows import to_json  # loads DuckDB
        from datapipe.data.types import describe

        schema = self.table.schema
        texts = [text for batch in self.table.to_batches() for text in to_json(batch, schema).to_pylist()]
        nulls = self.nulls or [None] * len(schema)
        return {
            "step": self.step,
            "columns": [
                {"name": field.name, "type": describe(field), "nulls": count_}
                for field, count_ in zip(schema, nulls, strict=True)
            ],
            "rows": [json.loads(text) for text in texts],
            "row_count": self.rows,
            "source_rows": self.source_rows,
            "sampled": self.sampled,
        }

    @cached_property
    def _grid(self) -> Grid:
        return grid_of(self.table, self.nulls, self.rows)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __str__(self) -> str:
        return f"{grid_text(self._grid)}\n({self.note})"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html.card(grid_html(self._grid) + html.faint(self.note))
