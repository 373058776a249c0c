"""Where a spool's files are: a folder, or a place that fsspec knows. Both keep whole files under plain names."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from datapipe.errors import DatapipeError, FatalError, PlanError, TransientError
from datapipe.plan import DatabaseUrl
from datapipe.settings import data_home, expand, settings

PART = ".part"  # how the name of a file ends that is not published yet


@dataclass(frozen=True)
class Entry:
    """A file: its name, its size in bytes, and the seconds since it was written, where they are known."""

    name: str
    size: int
    age: float | None


class Place(Protocol):
    """Files under plain names. A name is there with the whole file, or not at all."""

    @property
    def label(self) -> str:
        """Where it is, for people, without passwords."""

    @property
    def compression(self) -> str | None:
        """Of what is written to it."""

    def draft(self, name: str, scratch: Path) -> Path:
        """The local path where a file that will have the name is written, which nobody else looks at."""

    def publish(self, draft: Path, name: str, *, replace: bool = True) -> bool:
        """Give a draft its name; without ``replace`` only if nothing has it. Whether it has."""

    def local(self, name: str, scratch: Path) -> Path | None:
        """The path of a file on this machine, a copy if need be; None if there is no such file."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def entries(self) -> Iterator[Entry]:
        """Every file."""


def place() -> Place:
    """The place that DATAPIPE_SPOOL_URL names, or a folder in the user's data directory.

    Raises
    ------
    PlanError
        If the URL is wrong, or needs a library that is not installed.
    """
    named = settings().spool_url
    if named is None:
        return Folder(data_home() / "spool")
    url = expand(named)
    scheme, mark, rest = url.partition("://")
    if not mark:
        return Folder(Path(url).expanduser().absolute())
    if scheme.lower() == "file":
        return Folder(Path(unquote(rest)))
    return Remote.at(url)


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, or one that several machines share. Files are for this user's eyes only."""

    root: Path
    compression: str | None = None  # so that files can be mapped into memory

    @property
    def label(self) -> str:
        """Its path."""
        return str(self.root)

    def draft(self, name: str, scratch: Path) -> Path:  # noqa: ARG002  # as every place has it
        """A path beside the one it will have, so that it can be moved at once."""
        with self._named():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.root / f"{name}.{secrets.token_hex(4)}{PART}"
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        return path

    def publish(self, draft: Path, name: str, *, replace: bool = True) -> bool:
        """Rename it, once it is on the disk: what it is made of may be removed right after."""
        with self._named():
            _sync(draft)
            if not replace and not self._claim(draft, self.root / name):
                return False
            draft.replace(self.root / name)  # of two links to one file this removes none
            draft.unlink(missing_ok=True)
            _sync(self.root)
        return True

    @staticmethod
    def _claim(draft: Path, path: Path) -> bool:
        """Link a name that nothing has to the draft."""
        try:
            os.link(draft, path)
        except FileExistsError:
            draft.unlink()
            return False
        except OSError:  # a file system without links: two at the same moment may both succeed
            return not path.exists()
        return True

    def local(self, name: str, scratch: Path) -> Path | None:  # noqa: ARG002  # as every place has it
        """The file itself, if it is one of this user's, and neither a link nor anything else."""
        path = self.root / name
        with self._named():
            try:
                found = path.lstat()
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                hint = "Have all workers of a spool run as one user"
                raise FatalError(f"{name} in the spool is no file of this user", hint=hint)
        return path

    def remove(self, name: str) -> None:
        """Unlink it; whoever reads it may go on."""
        with self._named(), suppress(FileNotFoundError):
            (self.root / name).unlink()

    def entries(self) -> Iterator[Entry]:
        """This user's files."""
        with self._named():
            for found in os.scandir(self.root) if self.root.is_dir() else ():
                with suppress(FileNotFoundError):  # somebody else has removed it
                    info = found.stat(follow_symlinks=False)
                    if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid():
                        yield Entry(found.name, info.st_size, time.time() - info.st_mtime)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise FatalError(f"the spool {self.label} fails: {reason}", hint=_CURE) from None


_CURE = "Check its permissions and its room, or set DATAPIPE_SPOOL_URL to another place"


@dataclass(frozen=True)
class Remote:
    """A place that fsspec reaches: an object store, a server, the memory of this process."""

    files: Any  # fsspec's file system
    root: str
    label: str
    compression: str | None = "zstd"  # it travels

    @classmethod
    def at(cls, url: str) -> Remote:
        """The place of a URL, which may hold a password and is never repeated."""
        scheme = url.partition("://")[0]
        try:
            import fsspec  # optional

            files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            missing = error.name or "fsspec"
            raise PlanError(f"a spool at {scheme}:// needs {missing}", hint=f"Run: pip install {missing}") from None
        except Exception:  # noqa: BLE001  # whatever a file system says may hold the password
            hint = "For example s3://bucket/spool, or a folder"
            raise PlanError(f"DATAPIPE_SPOOL_URL ({scheme}://…) is wrong", hint=hint) from None
        return cls(files, root.rstrip("/"), DatabaseUrl.parse(url).safe)

    def draft(self, name: str, scratch: Path) -> Path:
        """A path in the run's own folder."""
        return scratch / f"{name}{PART}"

    def publish(self, draft: Path, name: str, *, replace: bool = True) -> bool:
        """Upload it under another name, then move it."""
        path = f"{self.root}/{name}"
        with self._named():
            if not replace and self.files.exists(path):
                return False
            self.files.makedirs(self.root, exist_ok=True)
            part = f"{path}.{secrets.token_hex(4)}{PART}"
            self.files.put_file(str(draft), part)
            self.files.mv(part, path)
            draft.unlink()
        return True

    def local(self, name: str, scratch: Path) -> Path | None:
        """A copy in the run's own folder."""
        copy = scratch / name
        with self._named():
            try:
                self.files.get_file(f"{self.root}/{name}", str(copy))
            except FileNotFoundError:
                return None
        return copy

    def remove(self, name: str) -> None:
        """Remove it."""
        with self._named(), suppress(FileNotFoundError):
            self.files.rm_file(f"{self.root}/{name}")

    def entries(self) -> Iterator[Entry]:
        """Every file."""
        with self._named():
            try:
                found = self.files.ls(self.root, detail=True)
            except FileNotFoundError:
                return
            for info in found:
                if info.get("type") == "file":
                    yield Entry(info["name"].rpartition("/")[2], int(info.get("size") or 0), self._age(info["name"]))

    def _age(self, path: str) -> float | None:
        try:
            return float(time.time() - self.files.modified(path).timestamp())
        except (NotImplementedError, FileNotFoundError):
            return None  # so it is never taken for old

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except DatapipeError:
            raise
        except Exception as error:  # noqa: BLE001  # each file system has its own; what they say may hold a password
            reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise TransientError(f"the spool {self.label} fails: {reason}", hint=_CURE) from None


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
