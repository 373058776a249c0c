"""What is set here, where it comes from, and what is wrong with it; no secret is shown."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from datapipe.errors import PlanError
from datapipe.plan import DatabaseUrl
from datapipe.secrets import MASK, names_secret, redactor
from datapipe.settings import Settings, connection, connection_names, environment, expand, pool_options
from datapipe.settings.connections import PREFIX, pools_without_connection
from datapipe.settings.environ import IN_FILE
from datapipe.settings.model import redis_url, text_of
from datapipe.settings.page import Entry, entries

_OWN = "DATAPIPE_"
_DATABASES = {"source_db_url", "dest_db_url", "metadata_url"}
_BROKERS = {"redis_url", "celery_broker_url"}
_FINITE = ConfigDict(allow_inf_nan=False)  # as of Settings
_LIKE = 0.85  # from here on a name is taken for a setting's, mistyped


@dataclass(frozen=True)
class ShownSetting:
    """A setting as it is here.

    Parameters
    ----------
    name : str
        Its variable.
    value : object
        Without passwords; None if it is not set and has no default.
    origin : str
        ``environment``, ``.env``, ``file …`` or ``default``.
    otherwise : str
        What holds where there is no value.
    problem : str, optional
        What is wrong with it, and what to do.
    """

    name: str
    field: str
    group: str
    value: Any
    origin: str
    otherwise: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class ShownConnection:
    """A named connection as it is here.

    Parameters
    ----------
    url : str, optional
        Without its password; None if it cannot be read.
    origin : str
        As of a setting; ``connect()`` for one of this process.
    pool : mapping
        The options of its own pool.
    problem : str, optional
        What is wrong with it, and what to do.
    """

    name: str
    url: str | None
    origin: str
    pool: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Configuration:
    """All settings and named connections, and what is wrong with them.

    Parameters
    ----------
    notes : tuple of str
        Variables that have no effect, and look as if they were meant to.
    """

    settings: tuple[ShownSetting, ...]
    connections: tuple[ShownConnection, ...]
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in a sentence each."""
        found = (*(one.problem for one in self.settings), *(one.problem for one in self.connections))
        return tuple(problem for problem in found if problem)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {"ok": not self.problems, **dataclasses.asdict(self)}


def configuration() -> Configuration:
    """The settings and named connections of this process; a wrong one is told, and stops nothing.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", BATCH_SIZE="many"):
    ...     next(one for one in configuration().settings if one.name == "BATCH_SIZE").origin
    'environment'
    """
    known = {name.upper(): value for name, value in environment().items()}
    here = {name.upper() for name in os.environ}
    clean = redactor().data
    settings = [_setting(entry, known, here) for entry in entries() if entry.field]
    connections = [_connection(name, known, here) for name in connection_names()]
    return Configuration(
        tuple(dataclasses.replace(one, value=clean(one.value)) for one in settings),
        tuple(dataclasses.replace(one, url=clean(one.url)) for one in connections),
        tuple(_notes(known)),
    )


def _setting(entry: Entry, known: Mapping[str, str], here: set[str]) -> ShownSetting:
    info = Settings.model_fields[entry.field]
    found = ShownSetting(entry.variable, entry.field, entry.group, info.default, "default", entry.otherwise)
    if not info.repr:
        found = dataclasses.replace(found, value=_safe(info.default))
    try:
        text = text_of(entry.field, known)
        if text is None:
            return found
        value = TypeAdapter[Any](info.rebuild_annotation(), config=_FINITE).validate_python(text)
        if entry.field in _DATABASES and text != "off":
            DatabaseUrl.parse(expand(text))
        if entry.field in _BROKERS:
            redis_url(text, entry.variable)
    except (PlanError, ValidationError) as error:
        shown = None if isinstance(error, PlanError) else text if info.repr else MASK
        return dataclasses.replace(
            found, value=shown, origin=_origin(entry.variable, known, here), problem=_problem(entry, error)
        )
    if not info.repr:
        in_file = not known.get(entry.variable)  # where a password may stand alone
        value = MASK if names_secret(entry.variable) or (in_file and "://" not in text) else _safe(value)
    return dataclasses.replace(found, value=value, origin=_origin(entry.variable, known, here))


def _problem(entry: Entry, error: PlanError | ValidationError) -> str:
    if isinstance(error, PlanError):
        text = str(error)
        return text if entry.variable in text else f"{entry.variable}: {text}"
    said = error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
    without = f"; without it: {entry.otherwise}" if entry.otherwise else ""
    without = f" for {entry.default}" if entry.default else without
    return f"{entry.variable}: {said.removeprefix('Value error, ')}. Correct it, or unset it{without}"


def _connection(name: str, known: Mapping[str, str], here: set[str]) -> ShownConnection:
    key = PREFIX + name.upper()
    is_given = key not in known and key + IN_FILE not in known
    found = ShownConnection(name, None, "connect()" if is_given else _origin(key, known, here))
    try:
        target = connection(name)
        url = getattr(target, "url", None)  # of an engine
        shown = _safe(target) if url is None else url.render_as_string(hide_password=True)
        if url is None:
            DatabaseUrl.parse(str(target))  # what is no URL is not shown
        found = dataclasses.replace(found, url=shown)
        return dataclasses.replace(found, pool=pool_options(name))
    except PlanError as error:
        text = str(error)
        return dataclasses.replace(found, problem=text if key in text else f"{key}: {text}")


def _origin(name: str, known: Mapping[str, str], here: set[str]) -> str:
    if known.get(name):
        return "environment" if name in here else ".env"
    return f"file {_safe(known[name + IN_FILE])}"


def _safe(text: Any) -> Any:
    """A URL with its password masked; a path as it is.

    Examples
    --------
    >>> _safe("redis://:s3cret@db/0"), _safe("postgresql://ann@db/crm?password=s3cret"), _safe("/mnt/spool")
    ('redis://:…@db/0', 'postgresql://ann@db/crm', '/mnt/spool')
    """
    if not isinstance(text, str):
        return text
    try:
        found, place = DatabaseUrl.parse(text), DatabaseUrl.parse(text.partition("?")[0])
    except PlanError:  # it is none
        return MASK if "@" in text else text
    return found.safe.replace("@", ":…@", 1) if place.full != place.safe else found.safe


def _notes(known: Mapping[str, str]) -> Iterator[str]:
    """Variables that look like settings and are none."""
    names = {entry.variable for entry in entries() if entry.field}
    in_files = {entry.variable for entry in entries() if entry.field and not Settings.model_fields[entry.field].repr}
    for name in sorted(known):
        base = name.removesuffix(IN_FILE)
        if name in names or (base != name and base in in_files) or name.startswith(PREFIX):
            continue
        if base != name and base in names:
            yield f"{name} has no effect: {base} may not be in a file"
        elif difflib.SequenceMatcher(None, name[: len(PREFIX)], PREFIX).ratio() >= _LIKE:
            yield f"{name} has no effect: the URL of a connection is in a variable that begins with {PREFIX}"
        elif name.startswith(_OWN) and (near := difflib.get_close_matches(name, names, n=1, cutoff=_LIKE)):
            yield f"{name} has no effect: there is no such setting. Did you mean {near[0]}?"
    yield from (f"{name} has no effect: there is no connection of this name" for name in pools_without_connection())
