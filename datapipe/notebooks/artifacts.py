"""Where jobs leave their files: a folder for each attempt of each run, kept for a while."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datapipe.errors import PlanError
from datapipe.notebooks.storage import Entry, storage
from datapipe.settings import data_home, expand, settings

_NAME = re.compile(r"\w[\w .-]*(/\w[\w .-]*)*")  # of a file, which may be in a folder
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LONGEST = 80  # characters of a folder's name
_YOUNG = 3600.0  # seconds since the last file of a run in which it may be running


@dataclass(frozen=True)
class Artifacts:
    """The folder of one attempt of one run: ``{root}/{notebook}/{date}/{run_id}/{attempt}``.

    Parameters
    ----------
    url : str
        The root, as it was given. It may hold a password and is not shown.
    path : str
        The folder below it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     found = artifacts_of(folder, "daily", "r1", 1, dt.date(2026, 11, 26))
    ...     found.write("result.json", b"{}")
    ...     found.path, found.names(), found.read("result.json"), found.read("other.json")
    ('daily/2026-11-26/r1/1', ['result.json'], b'{}', None)
    """

    url: str = field(repr=False)
    path: str

    @property
    def label(self) -> str:
        """The whole path or URL, for people, without a password."""
        return f"{storage(self.url).label}/{self.path}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, in the place of an earlier one of its name.

        Raises
        ------
        PlanError
            If the name is none for a file.
        FatalError
            If the folder cannot be written.
        TransientError
            If another machine is in the way.
        """
        storage(self.url).write(self._path(name), content)

    def write_file(self, name: str, file: Path) -> None:
        """Write the copy of a local file; as for :meth:`write`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        """
        file.stat()  # so that it is not taken for a fault of the folder
        storage(self.url).write(self._path(name), file)

    def read(self, name: str) -> bytes | None:
        """What is in a file; None if there is none of that name."""
        return storage(self.url).read(self._path(name))

    def uri(self, name: str) -> str:
        """The whole path or URL of a file, without a password."""
        return f"{storage(self.url).label}/{self._path(name)}"

    def names(self) -> list[str]:
        """The files that are there, in order."""
        return sorted(entry.path for entry in storage(self.url).below(self.path) if entry.kind == "file")

    def _path(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise PlanError(f"{name!r} cannot name a file", hint="Use letters, digits, spaces and . _ -")
        return f"{self.path}/{name}"


def artifacts_root(named: str | None = None) -> str:
    """Where all of them are: the folder or URL that DATAPIPE_ARTIFACTS_URL names, or one in the data directory.

    It may hold a password.

    Parameters
    ----------
    named : str, optional
        A job's own folder or URL.

    Raises
    ------
    PlanError
        If it refers to a variable that is not set.
    """
    named = named or settings().artifacts_url
    if named is None:
        return str(data_home() / "notebooks")
    url = expand(named)
    return url if "://" in url else str(Path(url).expanduser().absolute())


def artifacts_of(root: str, notebook_name: str, run_id: str, attempt: int, day: dt.date) -> Artifacts:
    """The folder of an attempt, which comes into being with its first file.

    Parameters
    ----------
    root : str
        A folder or a URL, as of :func:`artifacts_root`.
    notebook_name : str
        Made fit for a folder: what is no letter, digit or one of ``. _ -`` becomes ``_``.
    run_id : str
    attempt : int
        From 1.
    day : datetime.date
        When the run began; the same for each of its attempts.

    Examples
    --------
    >>> artifacts_of("/srv/jobs", "sales / daily", "r1", 2, dt.date(2026, 11, 26))
    Artifacts(path='sales___daily/2026-11-26/r1/2')
    """
    return Artifacts(root, f"{_folder(notebook_name)}/{day:%Y-%m-%d}/{_folder(run_id)}/{attempt}")


def _folder(name: str) -> str:
    found = re.sub(r"[^\w.-]", "_", name)[:_LONGEST].encode()[: 3 * _LONGEST].decode(errors="ignore") or "_"
    return f"_{found[1:]}" if found.startswith(".") else found


def sweep(root: str, notebook_name: str, *, days: float, runs: int, dry_run: bool = False) -> list[str]:
    """Remove old runs of a notebook, all attempts of each; only folders that look like runs are touched.

    The newest run stays, and so does one that has written a file within the last hour: it may not have ended.

    Parameters
    ----------
    root, notebook_name : str
        As for :func:`artifacts_of`.
    days : float
        A run is old if its newest file is older.
    runs : int
        Beyond so many, the oldest are old, too.
    dry_run : bool
        Only look.

    Returns
    -------
    list of str
        The folders that were removed, or would be, as :attr:`Artifacts.label` has them.
    """
    place, notebook, now = storage(root), _folder(notebook_name), time.time()
    entries = list(place.below(notebook))
    old = _old(_runs(entries), days=days, keep=runs, now=now)
    if not dry_run:
        for run in old:
            place.remove(f"{notebook}/{run}")
        yesterday = f"{dt.date.today() - dt.timedelta(days=1)}"  # a run may be about to write into a younger one
        for day in {entry.path.partition("/")[0] for entry in entries}:
            if _DAY.fullmatch(day) and day < yesterday:
                place.remove_empty(f"{notebook}/{day}")
    return [f"{place.label}/{notebook}/{run}" for run in old]


def all_notebooks(root: str) -> list[str]:
    """The folders of notebooks that have left something, for :func:`sweep`."""
    place = storage(root)
    return [name for name in place.folders() if any(map(_DAY.fullmatch, place.folders(name)))]


def _runs(entries: Iterable[Entry]) -> dict[str, float | None]:
    """The runs among what is in a notebook's folder, with the time of their last file; None where it is unknown."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        day, _, rest = entry.path.partition("/")
        if rest and _DAY.fullmatch(day):
            found.setdefault(f"{day}/{rest.partition('/')[0]}", []).append(entry)
    return {run: _last(below) for run, below in found.items() if all(map(_of_a_run, below))}


def _of_a_run(entry: Entry) -> bool:
    """Whether a run has such a file or folder: right in it there are folders of attempts, and nothing else."""
    _, _, *below = entry.path.split("/")
    return (not below or below[0].isdecimal()) and (len(below) > 1 or entry.kind == "directory")


def _last(entries: Iterable[Entry]) -> float | None:
    found = list(entries)
    times = [entry.written for entry in found if entry.kind == "file"] or [entry.written for entry in found]
    known = [written for written in times if written is not None]
    return max(known) if len(known) == len(times) and known else None


def _old(runs: Mapping[str, float | None], *, days: float, keep: int, now: float) -> list[str]:
    """Which of these runs go, oldest first."""
    ages = sorted((now - written, run) for run, written in runs.items() if written is not None)
    unknown = len(runs) - len(ages)  # they count as new
    return [
        run
        for place, (age, run) in reversed([*enumerate(ages, unknown + 1)])
        if place > 1 and age > _YOUNG and (age > days * 86_400 or place > keep)
    ]
