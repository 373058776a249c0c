"""Where the user's own code is: notebook cells by their number, files by their name, libraries left out."""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

_CONTEXT = 2  # lines before and after
_OURS = str(Path(__file__).parent) + os.sep
_LIBRARIES = (
    _OURS,
    *{sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
_KERNELS = re.compile(r"[/\\]ipykernel_\d+[/\\]\d+\.py\Z")  # what ipykernel calls the file of a cell
_IN_URL = re.compile(r"(?<=://)(?P<user>[^/\s:@'\"]*):(?:[^@\s'\"]|['\"](?=[^\s'\"/]{0,256}@)){1,256}(?=@)")
_SECRET = r"(?i:password|passwd|pwd|passphrase|secret|token|api_?key)"  # noqa: S105  # names, not a password
_WORDS = ("pass", "pwd", "secret", "token", "key")  # one of them is in whatever the pattern finds
_TYPE = r"(?::\s*[\w\[\]| .]{1,80})"  # as in password: str = "…"
# password="…", {"password": "…"}, PASSWORD '…': a text that stands beside such a name, and no reference to a secret.
_GIVEN = re.compile(
    rf"(?P<name>{_SECRET}(?:[\"']?\s*{_TYPE}?[=:]\s*|(?<=(?i:password))\s+))(?P<quote>[\"'])"
    r"(?!secret:[A-Za-z_]\w*(?P=quote))(?P<text>[^\"'\n]+)(?P=quote)"
)
# password=… within a text, as in libpq's "host=db password=…", and in the query of a URL.
_WITHIN = re.compile(rf"(?P<name>[\"'][^\"'\n]*{_SECRET}=)[^\s\"'&;,){{]+")
_NO_FILES = ("<frozen", "<__array", "<string>")


@dataclass(frozen=True)
class Excerpt:
    """A line of the user's code, and those around it.

    Parameters
    ----------
    file : str
        As Python names it.
    line : int
    function : str
    lines : tuple of (int, str)
        Numbers and texts, where the source is at hand.
    column, width : int
        What of the line is meant, where that is known.
    """

    file: str
    line: int
    function: str
    lines: tuple[tuple[int, str], ...] = ()
    column: int = 0
    width: int = 0

    @property
    def place(self) -> str:
        """For people: ``In[4]:3 in clean``."""
        inside = f" in {self.function}" if self.function and not self.function.startswith("<") else ""
        return f"{label(self.file)}:{self.line}{inside}"

    def to_dict(self) -> dict[str, Any]:
        """The excerpt as plain JSON values, its place in words."""
        names = ("line", "function", "lines", "column", "width")
        return {"file": label(self.file), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Excerpt:
        """The excerpt that :meth:`to_dict` gave."""
        lines = tuple((int(number), str(text)) for number, text in found.get("lines", ()))
        column, width = int(found.get("column", 0)), int(found.get("width", 0))
        return cls(str(found["file"]), int(found["line"]), str(found.get("function", "")), lines, column, width)

    def text(self) -> str:
        """The lines as text, the one in question marked."""
        digits = max((len(str(number)) for number, _ in self.lines), default=1)
        shown = []
        for number, text in self.lines:
            shown.append(f"{'-->' if number == self.line else '   '} {number:>{digits}} {text}".rstrip())
            if number == self.line and self.width:
                shown.append(" " * (5 + digits + self.column) + "^" * self.width)
        return "\n".join(shown)


def call_site() -> str:
    """Where the user's code calls datapipe right now: ``In[4]:3`` or ``etl.py:12``; empty where that is unknown."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    if frame is None:
        return ""
    found = label(frame.f_code.co_filename)
    return "" if found.startswith("<") else f"{found}:{frame.f_lineno}"


def label(file: str) -> str:
    """What people call a file: a notebook's cell by its number, a file by its path from here, or by its name.

    Examples
    --------
    >>> label("/somewhere/else/etl.py")
    'etl.py'
    """
    cell = _cell(file)
    if cell:
        return cell
    if _KERNELS.search(file):
        return "a notebook cell"
    if file.startswith("<"):
        return file
    # As text: every method that builds a plan asks, and paths take three times as long.
    try:
        here = os.getcwd() + os.sep  # noqa: PTH109  # as above
    except OSError:  # the folder is gone
        here = os.sep * 2
    return file.removeprefix(here).replace(os.sep, "/") if file.startswith(here) else file.rpartition(os.sep)[2]


def _cell(file: str) -> str | None:
    """The notebook cell that IPython keeps under this file's name, here or where the function came from."""
    known = linecache.cache.get(file)
    if known is not None and len(known) == 4 and known[3].startswith("In["):
        return known[3]
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    namer = getattr(getattr(shell, "compile", None), "format_code_name", None)
    found = namer(file) if namer else None
    return found[1] if found and found[0] == "Cell" else None


def users_code(error: BaseException, own: str | None = None) -> Excerpt | None:
    """The innermost line of the user's own code that an error came through; ``own`` is a file known to be theirs."""
    found = list(users_frames(error, own))
    return excerpt(found[-1].filename, found[-1].lineno or 0, found[-1].name) if found else None


def users_frames(error: BaseException, own: str | None = None) -> Iterator[traceback.FrameSummary]:
    """The lines an error came through that are in no library."""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == own or not of_library(frame.filename):
            yield frame


def masked(text: str) -> str:
    """The same text without the passwords that can be told: in URLs, and as texts beside a name such as ``password``.

    Examples
    --------
    >>> masked('to="postgresql://ann:s3cret@db/crm"')
    'to="postgresql://ann:…@db/crm"'
    >>> masked("connect(user='ann', password='s3cret')"), masked("connect('host=db password=s3cret')")
    ("connect(user='ann', password='…')", "connect('host=db password=…')")
    >>> masked('password="secret:CRM"')
    'password="secret:CRM"'
    """
    text = _IN_URL.sub(r"\g<user>:…", text)
    folded = text.lower()  # a search for words is thirty times as fast as one for their pattern
    if not any(word in folded for word in _WORDS):
        return text
    text = _GIVEN.sub(r"\g<name>\g<quote>…\g<quote>", text)
    return _WITHIN.sub(r"\g<name>…", text)


def excerpt(file: str, line: int, function: str) -> Excerpt:
    """A line with those around it, as far as the source is at hand."""
    return Excerpt(file, line, function, surrounding(linecache.getlines(file), line))


def surrounding(texts: Sequence[str], line: int) -> tuple[tuple[int, str], ...]:
    """The lines around one of a text, with their numbers, which count from 1; passwords are left out."""
    first = max(1, line - _CONTEXT)
    lines = [(n, masked(text.rstrip("\n"))) for n, text in enumerate(texts[first - 1 : line + _CONTEXT], first)]
    while lines and not lines[-1][1].strip():
        lines.pop()
    while lines and not lines[0][1].strip():
        lines.pop(0)
    return tuple(lines)


def called_with(error: BaseException, own: str | None = None) -> Iterator[Any]:
    """The first argument of each function of the user's that a library had called when an error arose."""
    trace, was_library = error.__traceback__, False
    while trace is not None:
        frame, code = trace.tb_frame, trace.tb_frame.f_code
        is_library = code.co_filename != own and of_library(code.co_filename)
        if was_library and not is_library and code.co_argcount:
            names = [name for name in code.co_varnames[: code.co_argcount] if name != "self"]
            yield frame.f_locals.get(names[0]) if names else None
        trace, was_library = trace.tb_next, is_library and not code.co_filename.startswith(_OURS)


def is_ours(file: str) -> bool:
    """Whether a file is one of datapipe's own."""
    return file.startswith(_OURS)


def of_library(name: str) -> bool:
    """Whether a file is no code of the user's."""
    return name.startswith((*_LIBRARIES, *_NO_FILES)) or name.endswith((".pyx", ".pxi"))
