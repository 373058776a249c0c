"""Secrets by name, where they are needed, and texts without them, whoever wrote those."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from datapipe.errors import PlanError, did_you_mean
from datapipe.settings import environment, expand, named_connections, settings, variable
from datapipe.settings.environ import IN_FILE, LARGEST, lines_of, place, text_in
from datapipe.traces import masked

MASK = "***"
_LEAST = 3  # characters of a secret: two tell nothing
_SHORT = 8  # characters below which a password may be a word that a text has anyway
_LINE = 16  # characters of a line that is a secret of its own
_NAMED = re.compile(
    r"PASSWORD|PASSWD|(?<![A-Z])PWD(?![A-Z])|PASSPHRASE|SECRETS?(?![A-Z])|TOKENS?(?![A-Z])|API_?KEY|ACCESS_KEY"
    r"|PRIVATE_KEY|SIGNING_KEY|CREDENTIALS?(?![A-Z])"
)
_FOLDERS = re.compile(r"PWD|.*_(FILE|DIR|PATH)")  # variables that say where something is
_BINARY = re.compile(r"image/(?!svg)|application/pdf|audio/|video/")
_URL = re.compile(r"[A-Za-z][\w+.-]*://\S+")
_USERINFO = re.compile(r"://(?P<user>[^:@/\s]*):(?P<password>.+)@", re.DOTALL)
_WEB = re.compile(r"(?i)https?://(?P<user>[^:@/\s]*):(?P<password>[^/\s]+)@")  # paths of the web have a : and an @, too
_OPTION = re.compile(r"(?i)[?&;][\w-]*(?:passw|pwd|secret|token|key)[\w-]*=([^&\s]+)")
_MOST_FILES = 200  # of the folder of secrets
_REFERENCE = re.compile(r"\$\{\w+\}")


def secret(name: str) -> str:
    """The value of a secret: of the environment variable, of the line in ``.env``, or in a file.

    Parameters
    ----------
    name : str
        With ``_FILE`` behind it, the variable that names the file. Also the name of a file in the folder
        DATAPIPE_SECRETS_DIR, which is ``/run/secrets`` if left out.

    Raises
    ------
    PlanError
        If it is in none of these places. The message holds names only.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", API_TOKEN="hunter2!"):
    ...     secret("API_TOKEN")
    'hunter2!'
    """
    if not name.isidentifier():
        raise PlanError("a secret is named by letters, digits and underscores", hint='For example secret("API_TOKEN")')
    known = environment()
    found = variable(name, known) or _in_file(name)
    if not found:
        folder = settings().secrets_dir
        near = did_you_mean(name, [one for one, value in known.items() if value and names_secret(one)], what="set here")
        hint = f"Set the variable {name}, in the environment or in .env, or write the file {Path(folder) / name}"
        raise PlanError(f"the secret {name} is not known here", hint=f"{hint}. {near}" if near else hint)
    return found


def _in_file(name: str) -> str:
    file = place(expand(settings().secrets_dir)) / name
    with suppress(OSError):  # of the folder, perhaps; what reads the file says so
        if not file.exists():
            return ""
    return text_in(file, f"the secret {name}")


def _in_files() -> Iterator[str]:
    """The secrets that are files, as a container has them: anybody may ask for them by their names."""
    files: list[Path] = []
    with suppress(OSError, PlanError):
        folder = place(expand(settings().secrets_dir))
        files = sorted(folder.iterdir())[:_MOST_FILES] if folder.is_dir() else []
    for file in files:
        with suppress(OSError, UnicodeDecodeError):  # of this one: those after it are secrets all the same
            if file.is_file() and file.stat().st_size <= LARGEST:
                yield file.read_text("utf-8").strip()


def _known() -> Mapping[str, str]:
    """The environment; without ``.env`` if that cannot be read, of which whoever needs it tells."""
    try:
        return environment()
    except PlanError:
        return os.environ


def _of_files(known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What the files hold that variables with ``_FILE`` behind their names stand for, as far as they can be read."""
    for name, file in known.items():
        if file and name.upper().endswith(IN_FILE) and len(name) > len(IN_FILE):
            with suppress(PlanError, OSError, ValueError):  # such variables are of many programs
                if (path := place(file)).is_file():
                    yield name[: -len(IN_FILE)], text_in(path, name)


@dataclass(frozen=True)
class Redactor:
    """Leaves secrets out of texts and data.

    Parameters
    ----------
    values : tuple of str
        What is replaced wherever it stands, as it is, and as URLs, JSON, Python, HTML and Base64 write it. Never shown.
    words : tuple of str
        The same for what is short and not known to be secret by its name: only where no longer word has it.

    Examples
    --------
    >>> Redactor(("hunter2!",)).data({"note": "it is hunter2!", "n": 1})
    {'note': 'it is ***', 'n': 1}
    """

    values: tuple[str, ...] = field(default=(), repr=False)
    words: tuple[str, ...] = field(default=(), repr=False)

    def text(self, text: str) -> str:
        """The text without the secrets, and without whatever else can be told to be a password."""
        return masked(self._exactly(text))

    @cached_property
    def _searched(self) -> tuple[str | re.Pattern[str], ...]:
        coded = {form for value in self.values for form in _base64(value)}
        found = {**{value: _pattern(value) for value in self.values}, **{form: form for form in coded}}
        found |= {
            word: re.compile(rf"(?<!\w){word}(?!\w)") if word.isalnum() else _pattern(word) for word in self.words
        }
        # One within another goes after it.
        return tuple(found[value] for value in sorted(found, key=lambda value: (-len(value), value)))

    def _of(self, key: Any, value: Any) -> Any:
        """What stands under a key: in a picture, no pattern of a password means anything."""
        if isinstance(key, str) and isinstance(value, str) and _BINARY.match(key):
            return self._exactly(value)
        return self.data(value)

    def _exactly(self, text: str) -> str:
        for one in self._searched:
            text = text.replace(one, MASK) if isinstance(one, str) else one.sub(MASK, text)
        return text

    def data(self, value: Any) -> Any:
        """JSON-like data without them: texts, keys, and whole numbers that are a secret."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self._of(key, one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            found = [self.data(one) for one in value]
            return found if isinstance(value, list) else tuple(found)
        return MASK if type(value) is int and str(value) in self.values else value


def redactor(names: Iterable[str] = (), folders: Iterable[Path] = ()) -> Redactor:
    """What leaves out the secrets that are known in this process.

    These are the named ones; passwords in the URLs of connections and of variables; and variables, of the environment,
    of ``.env`` or in files, whose names tell that they are secret, from 8 characters on. They are found as they are,
    and as URLs, JSON, Python, HTML and Base64 write them, and long lines of theirs alone. A password that is also its
    URL's user name is left out of URLs only.

    Parameters
    ----------
    names : iterable of str
        Of secrets for :func:`secret`; those that are not known here are passed over.
    folders : iterable of Path
        Further ones whose ``.env`` may hold some.

    Examples
    --------
    >>> redactor().text("cannot open redis://ann:s3cret@db/0")
    'cannot open redis://ann:…@db/0'
    """
    sure, found = set[str](), set[str]()
    wanted = set(names)
    for name in wanted:
        with suppress(PlanError):
            sure.add(secret(name))
    sure |= set(_in_files())
    others: list[tuple[str, str]] = []
    for folder in folders:
        with suppress(PlanError):  # as above
            others += lines_of(folder / ".env").items()
    sure |= {value for name, value in others if name in wanted and value}
    known = _known()
    for name, value in (*known.items(), *_of_files(known), *others):
        if names_secret(name) and len(value) >= _SHORT:
            sure.add(value)
        for url in [value] if _URL.match(value) else _URL.findall(value):
            found |= passwords(url)
    with suppress(PlanError):  # as above
        for target in named_connections().values():  # also those that this process alone knows
            url = getattr(target, "url", target)  # of an engine
            text = url.render_as_string(hide_password=False) if hasattr(url, "render_as_string") else str(url)
            found |= passwords(text)
    values = {part for one in sure for part in _parts(one)} | {one for one in found if len(one) >= _SHORT}
    return Redactor(tuple(sorted(values)), tuple(sorted(found - values)))


def names_secret(name: str) -> bool:
    """Whether a variable's name tells that its value is a secret.

    Examples
    --------
    >>> [name for name in ("PGPASSWORD", "DB_PWD", "PWD", "GITHUB_TOKEN", "TOKEN_FILE", "HOME") if names_secret(name)]
    ['PGPASSWORD', 'DB_PWD', 'GITHUB_TOKEN']
    """
    return _NAMED.search(name.upper()) is not None and not _FOLDERS.fullmatch(name.upper())


def passwords(url: str) -> set[str]:
    """What must be told of no URL: its password, those among its options, and their parts.

    Examples
    --------
    >>> passwords("postgresql://ann:s3cret@db/crm")
    {'s3cret'}
    """
    with suppress(PlanError):  # what is not set has no password
        url = expand(url)
    info = (_WEB if url.lower().startswith("http") else _USERINFO).search(url)
    found = {*_OPTION.findall(url), *_OPTION.findall(unquote(url))}
    if info and info["password"] != info["user"]:
        found.add(info["password"])
    # A driver that takes a password apart at its / or @ may tell a part of it.
    parts = {part for one in found if not _REFERENCE.search(one) for part in (one, *re.split(r"[/@:?#]", one))}
    return {form for part in parts for form in (part, unquote(part)) if len(form) >= _LEAST}


def _parts(value: str) -> Iterator[str]:
    """A secret, and of one with several lines, such as a key, each long line."""
    lines = [line.strip() for line in value.splitlines()]
    if len(value.strip()) >= _LEAST:
        yield value.strip()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _LINE and not line.startswith("-----"))


def _pattern(value: str) -> str | re.Pattern[str]:
    """What finds a secret however its signs are escaped; the secret itself, where none ever is."""
    if value.isascii() and value.isalnum():
        return value
    return re.compile("".join(map(_escapes, re.sub(r"\\+", r"\\", value))))  # how many there are differs


def _escapes(sign: str) -> str:
    """The ways in which URLs, JSON, Python and HTML write a sign, those within each other with more backslashes."""
    if sign.isascii() and sign.isalnum():
        return sign
    percent = quote(sign, safe="", errors="surrogateescape")  # as Python has bytes of the environment that are no text
    percent = percent if percent != sign else f"%{ord(sign):02X}"
    ways = [percent, f"&#{ord(sign)};", f"&#x0*{ord(sign):x};"]
    if sign == "\\":
        return rf"(?i:{'|'.join(ways)}|\\)+"
    # Two ways that fit the same text would take twice as long with every sign.
    escaped = {json.dumps(sign)[1:-1], repr(sign)[1:-1], html.escape(sign)} - {sign, f"\\{sign}", f"&#x{ord(sign):x};"}
    ways += [re.escape(text).replace(r"\\", r"\\+") for text in sorted(escaped)]
    return f"(?i:{'|'.join([*ways, *(['[+]'] if sign == ' ' else [])])}|\\\\*{re.escape(sign)})"


def _base64(value: str) -> Iterator[str]:
    if len(value) >= _SHORT:
        raw = value.encode("utf-8", "surrogateescape")
        for coded in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
            yield from (coded, coded.rstrip("="))
