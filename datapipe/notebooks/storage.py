"""A folder of this machine, or a place that fsspec knows, with whole files in it: written at once, listed, removed."""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from datapipe.errors import DatapipeError, FatalError, PlanError, TransientError
from datapipe.hosts import part
from datapipe.plan import DatabaseUrl

_CURE = "Check its permissions and its room, or set DATAPIPE_ARTIFACTS_URL to another place"
_DRAFT = re.compile(r"\.[0-9a-f]{8}\.part$")  # how the name of a file ends that is not whole yet
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")  # as file systems call it


@dataclass(frozen=True)
class Entry:
    """What is in a folder: its path below that, what it is, and when it was written, where that is known."""

    path: str
    kind: str  # "file", "directory", or something else
    written: float | None


@dataclass(frozen=True)
class Storage:
    """Files below a root. Those of this machine are for this user's eyes only."""

    files: Any  # fsspec's file system
    root: str
    label: str  # for people, without a password
    is_local: bool

    def write(self, path: str, content: bytes | Path) -> None:
        """Write a file, the copy of another one if that is given, whole or not at all."""
        with self._named():
            if self.is_local:
                _write(Path(self.root, path), content)
                return
            target, draft = f"{self.root}/{path}", f"{self.root}/{path}.{secrets.token_hex(4)}.part"
            self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
            try:
                if isinstance(content, Path):
                    self.files.put_file(str(content), draft)
                else:
                    self.files.pipe_file(draft, content)
                self.files.mv(draft, target)
            except BaseException:
                with suppress(Exception):  # what went wrong first is told
                    self.files.rm_file(draft)
                raise

    def read(self, path: str) -> bytes | None:
        """What is in a file; None if there is no such file."""
        with self._named():
            try:
                return bytes(self.files.cat_file(f"{self.root}/{path}"))
            except FileNotFoundError:
                return None

    def below(self, path: str) -> Iterator[Entry]:
        """All that is below a folder, but files that are not whole yet; folders only on this machine."""
        base = f"{self.root}/{path}"
        with self._named():
            for name, info in self.files.find(base, withdirs=self.is_local, detail=True).items():
                found = name.strip("/").removeprefix(base.strip("/")).strip("/")
                if found and not _DRAFT.search(found):
                    yield Entry(found, info["type"], _time(info))

    def folders(self, path: str = "") -> list[str]:
        """The names of the folders right in one."""
        base = f"{self.root}/{path}".rstrip("/")
        with self._named():
            try:
                found = self.files.ls(base, detail=True)
            except FileNotFoundError:
                return []
            names = (info["name"].strip("/") for info in found if info["type"] == "directory")
            return sorted(name.rpartition("/")[2] for name in names if name != base.strip("/"))

    def remove(self, path: str) -> None:
        """Remove a folder with all that is in it, if it is there."""
        with self._named(), suppress(FileNotFoundError):
            self.files.rm(f"{self.root}/{path}", recursive=True)

    def remove_empty(self, path: str) -> None:
        """Remove a folder if nothing is in it. Other places than this machine have no such folders."""
        if self.is_local:
            with suppress(OSError):
                Path(self.root, path).rmdir()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors that say where, and hold no password, which those of a file system may do."""
        try:
            yield
        except DatapipeError:
            raise
        except Exception as error:  # noqa: BLE001  # each file system has its own
            kind = FatalError if self.is_local else TransientError
            reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise kind(f"the notebooks' folder {self.label} fails: {reason}", hint=_CURE) from None


def storage(url: str) -> Storage:
    """The place of a URL, which may hold a password and is never repeated, or of a local path.

    Raises
    ------
    PlanError
        If the URL is wrong, or needs a library that is not installed.
    """
    fsspec = part("fsspec", "notebook")
    scheme, mark, rest = url.partition("://")
    if not mark or scheme.lower() in {"file", "local"}:
        path = str(Path(unquote(rest) if mark else url).expanduser().absolute())
        return Storage(fsspec.filesystem("file", use_listings_cache=False), path.rstrip("/"), path, is_local=True)
    try:
        label = DatabaseUrl.parse(url).safe.partition("?")[0].rstrip("/")
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or error.name or "a library of fsspec's"
        hint = f"Run: pip install {missing}"
        raise PlanError(f"notebooks at {scheme}:// need {missing}", hint=hint) from None
    except Exception:  # noqa: BLE001  # whatever a file system says may hold the password
        hint = "For example s3://bucket/notebooks, or a folder"
        raise PlanError(f"DATAPIPE_ARTIFACTS_URL ({scheme}://…) is wrong", hint=hint) from None
    return Storage(files, root.rstrip("/"), label, is_local=False)


def _write(path: Path, content: bytes | Path) -> None:
    _private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, stream, 1 << 20)
            else:
                stream.write(content)
            stream.flush()
            os.fsync(file)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)


def _private_folder(path: Path) -> None:
    missing = [path]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing[:-1]):
        folder.mkdir(mode=0o700, exist_ok=True)


def _time(info: Mapping[str, Any]) -> float | None:
    """When it was written, in seconds since 1970."""
    found = next((info[key] for key in _TIMES if info.get(key) is not None), None)
    if isinstance(found, str):
        with suppress(ValueError):
            found = dt.datetime.fromisoformat(found)
    if isinstance(found, dt.datetime):
        return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()
    return float(found) if isinstance(found, int | float) else None
