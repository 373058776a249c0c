"""What the documentation says of settings: tables for the reference, and ``.env.example``, from the fields themselves.

``python -m datapipe.settings.page docs/reference/settings.md .env.example`` writes both anew.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapipe.settings.connections import OPTIONS, PREFIX
from datapipe.settings.model import Settings, variables

_WIDTH = 118
_MARK = re.compile(
    r"(?P<begin>^(?:<!-- settings: (?P<group>[^\n]*?) -->|# settings: begin)\n)"
    r".*?(?P<end>^(?:<!-- settings: end -->|# settings: end)$)",
    re.M | re.S,
)
_EXAMPLE = "postgresql://writer:secret@localhost:5432/warehouse"


@dataclass(frozen=True)
class Entry:
    """One variable, for people.

    Parameters
    ----------
    field : str
        Of ``Settings``; empty for one that is none.
    default : str
        As it would be written; empty if there is none.
    otherwise : str
        What holds then.
    example : str
        A value that shows its form.
    """

    group: str
    variable: str
    meaning: str
    field: str = ""
    default: str = ""
    otherwise: str = ""
    example: str = ""

    @property
    def row(self) -> str:
        """A line of a table in Markdown."""
        field = f"`{self.field}`" if self.field else ""
        default = f"`{self.default}`" if self.default else self.otherwise
        meaning = self.meaning[0].lower() + self.meaning[1:].removesuffix(".")
        return re.sub(r"(?<=\|)  (?=\|)", " ", f"| `{self.variable}` | {field} | {default} | {meaning} |")

    @property
    def lines(self) -> list[str]:
        """Its lines in a ``.env`` that sets nothing."""
        meaning = self.meaning + (f" Left out: {self.otherwise}." if self.otherwise else "")
        return [*textwrap.wrap(meaning, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False),
                f"# {self.variable}={self.default or self.example}"]  # fmt: skip


def entries() -> Iterator[Entry]:
    """Every variable, group by group."""
    names = variables()
    fields = [_entry(field, names[field]) for field in Settings.model_fields]
    for group in dict.fromkeys(entry.group for entry in fields):
        yield from (entry for entry in fields if entry.group == group)
        yield from (entry for entry in _of_connections() if entry.group == group)


def _entry(field: str, variable: str) -> Entry:
    info = Settings.model_fields[field]
    about: Any = info.json_schema_extra or {}
    return Entry(
        group=about.get("group", ""),
        variable=variable,
        meaning=info.description or "",
        field=field,
        default=_written(info.default),
        otherwise=about.get("otherwise", ""),
        example=about.get("example", ""),
    )


def _of_connections() -> Iterator[Entry]:
    name = f"{PREFIX}<NAME>"
    meaning = "The URL that NAME stands for as a source or a destination."
    yield Entry("Connections", name, meaning, example=_EXAMPLE)
    for option, about in OPTIONS.items():
        variable, number = f"{name}__{option.upper()}", about.default if about.default.isdecimal() else ""
        otherwise = "" if number else about.default
        yield Entry("Connections", variable, about.meaning, default=number, otherwise=otherwise, example="2")


def _written(value: Any) -> str:
    """A default as it would be written in ``.env``."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else f"{value}"


def table(group: str) -> str:
    """The variables of a group as a table in Markdown.

    Examples
    --------
    >>> print(table("Notebooks as jobs").splitlines()[-1])
    | `DATAPIPE_ARTIFACTS_RUNS` | `artifacts_runs` | `200` | how many runs of a notebook are kept |
    """
    head = ["| variable | field of `Settings` | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(entry.row for entry in entries() if entry.group == group)])


def example() -> str:
    """All variables as the lines of a ``.env`` that sets none."""
    found: list[str] = []
    group = ""
    for entry in entries():
        if entry.group != group:
            group = entry.group
            found += ["", f"# --- {group} ".ljust(_WIDTH - 13, "-")]
        found += ["", *entry.lines]
    return "\n".join([*found[1:], ""])


def written_anew(text: str) -> str:
    """A page, or an example of ``.env``, with what stands between its marks as the fields say it now.

    Examples
    --------
    >>> written_anew("# settings: begin\\n# settings: end\\n").count("# BATCH_SIZE=10000")
    1
    """

    def between(match: re.Match[str]) -> str:
        found = f"\n{table(match['group'])}\n" if match["group"] else example()
        return f"{match['begin']}{found}\n{match['end']}"

    return _MARK.sub(between, text)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(written_anew(path.read_text(encoding="utf-8")), encoding="utf-8")
