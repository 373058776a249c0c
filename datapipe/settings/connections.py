"""Connections by name, and options of their pools."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from datapipe.errors import PlanError, did_you_mean
from datapipe.settings.environ import IN_FILE, environment, variable

PREFIX = "DATAPIPE_CONNECTION_"
_OPTION = "__"  # between a connection's name and an option of its pool


class PoolOptions(TypedDict, total=False):
    """How the pool of one connection differs from the others.

    Parameters
    ----------
    pool_size, max_overflow : int
        Connections kept open, and how many more may open under load; DB_POOL_SIZE and DB_MAX_OVERFLOW if left out.
    recycle : float
        Seconds after which a connection is replaced, so that a firewall or a server does not do it first; 1800 if
        left out.
    timeout : float
        Seconds to wait for a connection when all are in use; 30 if left out.
    """

    pool_size: int
    max_overflow: int
    recycle: float
    timeout: float


@dataclass(frozen=True)
class PoolOption:
    """What an option may be, what holds if it is left out, and what it does."""

    kind: type[int] | type[float]
    least: int
    default: str
    meaning: str


OPTIONS = {
    "pool_size": PoolOption(int, 1, "DB_POOL_SIZE", "Connections kept open to NAME."),
    "max_overflow": PoolOption(int, 0, "DB_MAX_OVERFLOW", "How many more may open to NAME under load."),
    "recycle": PoolOption(float, 1, "1800", "Seconds after which a connection to NAME is replaced."),
    "timeout": PoolOption(float, 0, "30", "Seconds to wait for a connection to NAME when all are in use."),
}


@dataclass(frozen=True)
class _Given:
    target: Any
    options: Mapping[str, float] = field(default_factory=dict)


_connections: dict[str, _Given] = {}  # given by connect(); they belong to this process


def connect(name: str, target: Any, **options: Unpack[PoolOptions]) -> None:
    """Give a connection a name, for this process.

    Parameters
    ----------
    name : str
        What plans call it: ``read(..., source="crm")``.
    target : str or sqlalchemy.Engine
        A database URL, or an engine, which is borrowed and never disposed.
    **options
        Of its pool: ``pool_size``, ``max_overflow``, ``recycle``, ``timeout``, as :class:`PoolOptions` has them. A file
        (SQLite, DuckDB) has none to speak of.

    Raises
    ------
    PlanError
        If that cannot be a name, or there is no such option, or it cannot have this value.

    Examples
    --------
    >>> connect("crm", "sqlite:///crm.db")
    >>> connect("warehouse", "postgresql://etl@db.example/mart", pool_size=2, max_overflow=0)
    """
    if not name.isidentifier():
        raise PlanError(f"{name!r} cannot name a connection", hint="Use letters, digits and underscores")
    if _OPTION in name or name.upper().endswith(IN_FILE):
        hint = f"Two underscores stand before an option of its pool, {IN_FILE} behind the name of one in a file"
        raise PlanError(f"{name!r} cannot name a connection", hint=hint)
    found = {option: _checked(option, value, f"connection {name!r}") for option, value in options.items()}
    if found and not isinstance(target, str):
        raise PlanError(
            f"connection {name!r} is an engine, which has a pool of its own", hint="Give the options to create_engine()"
        )
    _connections[name.lower()] = _Given(target, found)


def connection(name: str) -> Any:
    """The URL or engine a name stands for.

    Raises
    ------
    PlanError
        If nothing has that name, or the file with its URL cannot be read.
    """
    known = _variables()
    if name.lower() not in _names(known):
        raise PlanError(
            f"no connection is called {name!r}",
            hint=did_you_mean(name, _names(known))
            or f"Set {PREFIX}{name.upper()} or call datapipe.connect({name!r}, url)",
        )
    return _target(name, known)


def connection_names() -> list[str]:
    """The names of all connections: of the environment, of ``.env``, and those given by :func:`connect`."""
    return _names(_variables())


def named_connections() -> dict[str, Any]:
    """Every named connection; without those whose file cannot be read, of which :func:`connection` tells why."""
    found, known = {}, _variables()
    for name in _names(known):
        with suppress(PlanError):
            found[name] = _target(name, known)
    return found


def pool_options(name: str) -> Mapping[str, float]:
    """The options of a connection's pool: those given to :func:`connect`, over those of variables such as
    DATAPIPE_CONNECTION_CRM__POOL_SIZE.

    Raises
    ------
    PlanError
        If there is no such option, or it cannot have this value.
    """
    given = _connections.get(name.lower())
    if given is not None and not isinstance(given.target, str):
        return {}  # an engine has its own pool
    found = {}
    for key, text in _variables().items():
        own, option = _parts(key)
        if own == name.lower() and option:
            found[option] = _checked(option, text, key)
    return {**found, **(given.options if given is not None else {})}


def pools_without_connection() -> list[str]:
    """The variables that are options of connections that nobody knows here."""
    known = _variables()
    parts = {key: _parts(key) for key in known}
    return sorted(key for key, (name, option) in parts.items() if option and name not in _names(known))


def _names(known: Mapping[str, str]) -> list[str]:
    named = {name for name, option in map(_parts, known) if name and not option}
    return sorted({*named, *_connections})


def _target(name: str, known: Mapping[str, str]) -> Any:
    given = _connections.get(name.lower())
    return variable(f"{PREFIX}{name.upper()}", known) if given is None else given.target


def _variables() -> dict[str, str]:
    """What the environment has of connections, by their variables in capitals."""
    return {key.upper(): text for key, text in environment().items() if text and key.upper().startswith(PREFIX)}


def _parts(key: str) -> tuple[str, str]:
    """The connection that a variable is about, and the option of its pool, which is empty for its URL."""
    name, mark, option = key.removeprefix(PREFIX).partition(_OPTION)
    return (name if mark else name.removesuffix(IN_FILE)).lower(), option.lower() if mark else ""


def _checked(option: str, value: Any, where: str) -> float:
    """An option's value as a number."""
    if option not in OPTIONS:
        hint = did_you_mean(option, OPTIONS, what="options")
        raise PlanError(f"{where}: a connection has no option {option!r}", hint=hint)
    wanted = OPTIONS[option]
    try:
        number = wanted.kind(value)
        is_exact = wanted.least <= number < float("inf") and float(number) == float(value)
    except (TypeError, ValueError, OverflowError):
        is_exact = False
    if isinstance(value, bool) or not is_exact:
        what = "a whole number" if wanted.kind is int else "a number"
        raise PlanError(f"{where}: {option} must be {what}, {wanted.least} or more")
    return number
