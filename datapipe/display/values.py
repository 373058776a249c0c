"""What ``explain()`` and ``preview()`` return: values that show themselves as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datapipe.display import html


@dataclass(frozen=True)
class Section:
    """One part of an explanation."""

    title: str
    text: str
    columns: tuple[tuple[str, str], ...] = ()  # what the step hands on: name and type


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

    def __str__(self) -> str:
        return "\n\n".join(_section_text(section) for section in self.sections)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [
            html.titled(s.title, html.code(s.text) + (html.table(("column", "type"), s.columns) if s.columns else ""))
            for s in self.sections
        ]
        return "".join(parts)


def _section_text(section: Section) -> str:
    lines = [section.title, *(f"    {line}" for line in section.text.splitlines())]
    if section.columns:
        lines.append("    -> " + ", ".join(f"{name} {type_}" for name, type_ in section.columns))
    return "\n".join(lines)


@dataclass(frozen=True)
class Preview:
    """The first rows after a step.

    Parameters
    ----------
    frame : pandas.DataFrame
    step : str
        The step the rows come out of.
    sampled : bool
        Whether only part of the source was read: aggregates are then those of the sample.
    source_rows : int
        The rows that were read from the source.
    """

    frame: Any
    step: str
    sampled: bool
    source_rows: int

    @property
    def note(self) -> str:
        """Where the rows come from, in a sentence."""
        if not self.sampled:
            return f"after {self.step}, from all {self.source_rows:,} source rows"
        return (
            f"after {self.step}, from a sample of {self.source_rows:,} source rows: "
            "aggregates, windows and DISTINCT are those of the sample"
        )

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        return f"{self.frame.to_string(index=False)}\n({self.note})"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html.titled(self.note, self.frame.to_html(index=False, border=0))
