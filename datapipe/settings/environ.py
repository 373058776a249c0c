"""Variables: the environment over ``.env``; and files that hold a value in place of its variable."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from datapipe.errors import PlanError

DOTENV = Path(".env")
IN_FILE = "_FILE"  # NAME_FILE names the file that holds the value of NAME
_LOG = logging.getLogger("datapipe.settings")
_REFERENCE = re.compile(r"\$\{(\w+)\}")
LARGEST = 64 << 10  # bytes of such a file
_CHECK = "Check the path, and that this user may read it"

Stamp = tuple[int, ...] | None  # which file it is, as it was last written; None if there is none


def environment() -> dict[str, str]:
    """The environment over ``.env``, as it is written there; a variable that is empty hides its line in ``.env``.

    Raises
    ------
    PlanError
        If ``.env`` cannot be read.
    """
    return lines_of(DOTENV) | dict(os.environ)


def lines_of(file: Path) -> dict[str, str]:
    """What a file such as ``.env`` sets; nothing, if there is none. Lines that set nothing are warned of.

    Raises
    ------
    PlanError
        If it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{file} cannot be read: {_reason(error)}", hint=_CHECK) from None
    parts = list(parse_stream(io.StringIO(text)))
    if wrong := [part.original.line for part in parts if part.error]:
        _warn(file.absolute(), *wrong)
        text = "".join(part.original.string for part in parts if not part.error)
    return {key: value for key, value in dotenv_values(stream=io.StringIO(text)).items() if value}


@functools.lru_cache(maxsize=64)
def _warn(file: Path, *lines: int) -> None:
    """Say it once: the file is read often."""
    for line in lines:
        _LOG.warning("%s: line %d is not of the form NAME=value, and has no effect", file, line)


def variable(name: str, known: Mapping[str, str] | None = None) -> str | None:
    """The value of a variable: its own, or what the file holds that ``<NAME>_FILE`` names.

    Parameters
    ----------
    name : str
    known : mapping, optional
        The environment, if it is at hand.

    Returns
    -------
    str or None
        None if it is not set, or empty.

    Raises
    ------
    PlanError
        If both are set, or the file cannot be read. The message holds names only.

    Examples
    --------
    >>> variable("CRM_URL", {"CRM_URL": "sqlite:///crm.db"})
    'sqlite:///crm.db'
    """
    known = environment() if known is None else known
    own, file = known.get(name), known.get(name + IN_FILE)
    if own and file:
        raise PlanError(
            f"both {name} and {name}{IN_FILE} are set", hint="Unset one of them, in the environment or .env"
        )
    if not file:
        return own or None
    return text_in(place(file), name)


def place(text: str) -> Path:
    """A path, with the user's folder for ``~``.

    Raises
    ------
    PlanError
        If it begins with ``~`` and the name of nobody.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise PlanError(f"nobody here has the folder {text.partition('/')[0]}", hint="Give the whole path") from None


def text_in(file: Path, what: str) -> str:
    """What a small file holds, without the end of its last line.

    Parameters
    ----------
    what : str
        What it holds, for an error: ``the secret API_TOKEN``.

    Raises
    ------
    PlanError
        If it cannot be read, is empty, or is too large to be a secret.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(LARGEST + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{what} cannot be read from {_shown(file)}: {_reason(error)}", hint=_CHECK) from None
    if len(text) > LARGEST:
        raise PlanError(f"{what} cannot be read from {_shown(file)}: it is larger than 64 kB", hint="Check the path")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise PlanError(f"{what} cannot be read from {_shown(file)}: it is empty", hint="Write the value into it")
    return text


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is no text in UTF-8"


def _shown(file: Path) -> str:
    """A path for people; not a URL that somebody has taken for one, with its password perhaps."""
    return "a URL, where the path of a file belongs" if ":/" in str(file) else str(file)


def stamp(file: Path) -> Stamp:
    """What changes whenever a file does."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def expand(text: str) -> str:
    """The text with every ``${NAME}`` replaced by its value, or by that in the file that ``NAME_FILE`` names.

    Raises
    ------
    PlanError
        If a variable is not set, or its file cannot be read.
    """
    if not _REFERENCE.search(text):
        return text
    known = environment()

    def value(match: re.Match[str]) -> str:
        found = variable(match.group(1), known)
        if not found:
            raise PlanError(f"the environment variable {match.group(1)} is not set", hint="Set it, or put it into .env")
        return found

    return _REFERENCE.sub(value, text)
