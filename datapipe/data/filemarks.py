"""Files that were loaded, as the ledger keeps them: each load's row has its own, and all rows together are known."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_DIGEST = 32  # bytes of SHA-256


@dataclass(frozen=True, slots=True)
class FileMark:
    """A file as it was when it was loaded.

    Parameters
    ----------
    size : int
        In bytes.
    modified : int, optional
        When, in nanoseconds; None if it was so young that it may have changed since without showing.
    digest : bytes
        SHA-256 of its content.
    run_id : str
        The run that loaded it.
    """

    size: int
    modified: int | None
    digest: bytes
    run_id: str = ""


@dataclass(frozen=True)
class Files:
    """Loaded files by their paths within the folder: of one load, or of all together, those loaded last at the end.

    Parameters
    ----------
    marks : mapping of str to FileMark
    columns : mapping of str to bytes
        By the pattern within the folder, those of the files that it led to last: an Arrow schema, serialised. A load
        leaves them where they are not known.
    anew : bool
        Whether no load before counts.

    Examples
    --------
    >>> one = Files({"a.csv": FileMark(3, 1, bytes(32))}, anew=True)
    >>> two = Files({"b.csv": FileMark(4, 2, bytes(32))})
    >>> list(Files.joined([(two.form(), "r2"), (one.form(), "r1")]).marks)
    ['a.csv', 'b.csv']
    """

    marks: Mapping[str, FileMark] = field(default_factory=dict)
    columns: Mapping[str, bytes] = field(default_factory=dict)
    anew: bool = False

    @property
    def loaded(self) -> bool:
        """Whether a load has left them, rather than somebody who said that none counts."""
        return bool(self.marks)

    def form(self) -> dict[str, Any]:
        """As JSON values: some 70 bytes a file, most of them its digest. The runs are those of the ledger's rows."""
        paths = sorted(self.marks)
        marks = [self.marks[path] for path in paths]
        shown = [paths, [mark.size for mark in marks], [mark.modified for mark in marks]]
        return {
            "files": len(paths),
            "anew": self.anew,
            "marks": _text(zlib.compress(json.dumps(shown, separators=(",", ":")).encode())),
            "digests": _text(b"".join(mark.digest for mark in marks)),
            "columns": {pattern: _text(zlib.compress(schema)) for pattern, schema in self.columns.items()},
        }

    @classmethod
    def of(cls, form: Mapping[str, Any], run_id: str = "") -> Files:
        """The inverse of :meth:`form`, for the row of a run."""
        shown = zip(*json.loads(zlib.decompress(base64.b64decode(form["marks"]))), strict=True)
        digests = base64.b64decode(form["digests"])
        marks = {
            path: FileMark(size, modified, digests[place * _DIGEST : (place + 1) * _DIGEST], run_id)
            for place, (path, size, modified) in enumerate(shown)
        }
        columns = {pattern: zlib.decompress(base64.b64decode(text)) for pattern, text in form["columns"].items()}
        return cls(marks, columns, form["anew"])

    @classmethod
    def joined(cls, rows: Iterable[tuple[Mapping[str, Any], str]]) -> Files:
        """All files that are known, from the forms of a ledger's rows and their runs, the newest first."""
        counting: list[tuple[Mapping[str, Any], str]] = []
        for form, run_id in rows:
            counting.append((form, run_id))
            if form["anew"]:
                break
        marks: dict[str, FileMark] = {}
        columns: dict[str, bytes] = {}
        for each in (cls.of(*row) for row in reversed(counting)):
            columns |= each.columns
            for path, mark in each.marks.items():
                before = marks.get(path)
                if before is not None and before.digest == mark.digest:  # looked at again, and not loaded
                    marks[path] = dataclasses.replace(mark, run_id=before.run_id)
                else:
                    marks.pop(path, None)
                    marks[path] = mark
        return cls(marks, columns)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
