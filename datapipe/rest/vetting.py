"""What a plan that comes from outside may name: connections of ours, folders and functions that were allowed.

A plan's author may run Python where it is built. Whoever sends one to this interface may not, and reaches nothing that
was not opened to requests: no other server, no file, no variable of the environment.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import URL, Engine

from datapipe.data.connections import PORTS, family, place_of, to_url
from datapipe.errors import PlanError
from datapipe.notebooks.leaks import texts_of
from datapipe.plan import DatabaseUrl, FileSource, FileTarget, Plan, SqlStep, functions
from datapipe.plan.steps import Feed
from datapipe.plan.values import freeze
from datapipe.settings import expand, named_connections, settings
from datapipe.workers.envelope import check_function

P = TypeVar("P", Plan, Feed)
_WILD = re.compile(r"[*?\[]")
_NAME_IT = "Set DATAPIPE_CONNECTION_<NAME> where the server and its workers run, and name it: source: name"


@dataclass(frozen=True)
class Rules:
    """What was opened to requests.

    Parameters
    ----------
    connections : tuple of URL
        Where the connections lead that this process has.
    databases : frozenset of str
        Servers that a URL may lead to: ``host`` or ``host:port``.
    folders : tuple of pathlib.Path
        Where files may be read and written.
    modules : str
        Whose functions may be called, with commas between them.
    """

    connections: tuple[URL, ...] = field(default=(), repr=False)
    databases: frozenset[str] = frozenset()
    folders: tuple[Path, ...] = ()
    modules: str = ""


def rules() -> Rules:
    """The rules as the environment has them now."""
    found = settings()
    return Rules(
        tuple(_known([found.source_db_url, found.dest_db_url, *named_connections().values()])),
        frozenset(listed(found.api_databases.lower())),
        tuple(Path(folder).expanduser().resolve() for folder in listed(found.api_folders)),
        found.function_modules,
    )


def listed(text: str) -> list[str]:
    """The parts of a text with commas between them.

    Examples
    --------
    >>> listed("a, b,")
    ['a', 'b']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def admitted(plan: Plan, allowed: Rules) -> Plan:
    """The plan as it may run: its URLs are those of our own connections, its paths are absolute.

    Raises
    ------
    PlanError
        If it names what requests may not.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> admitted(parse({"ingestion": {"files": "/etc/passwd", "format": "csv"}}), Rules())
    Traceback (most recent call last):
    datapipe.errors.PlanError: ingestion: requests may not read files here. Set DATAPIPE_API_FOLDERS to the folders ...
    """
    for ref in functions(plan):
        check_function(ref, allowed.modules)
    target = plan.persistence
    if isinstance(target, FileTarget):
        path = target.path
        path = _at("persistence", lambda: _inside(path, allowed, "write"))
        target = target.model_copy(update={"path": path})
    elif target is not None:
        target = _with_url(target, "dest_db_url", "persistence", allowed)
    return _fed(plan, allowed).model_copy(update={"persistence": target})


def _fed(plan: P, allowed: Rules) -> P:
    """A plan, or the input of a step, with sources that requests may read."""
    source = plan.ingestion
    if isinstance(source, FileSource):
        files = _at("ingestion", lambda: _inside(source.files, allowed, "read"))
        source = source.model_copy(update={"files": files})
    else:
        source = _with_url(source, "source_db_url", "ingestion", allowed)
    steps = tuple(_step(step, allowed) for step in plan.transformation)
    return plan.model_copy(update={"ingestion": source, "transformation": steps})


def _step(step: Any, allowed: Rules) -> Any:
    if not isinstance(step, SqlStep) or not step.config.tables:
        return step
    tables = freeze({name: _fed(feed, allowed) for name, feed in step.config.tables.items()})
    return step.model_copy(update={"config": step.config.model_copy(update={"tables": tables})})


def _with_url(part: Any, name: str, step: str, allowed: Rules) -> Any:
    url = getattr(part, name, None)
    if url is None:
        return part
    return part.model_copy(update={name: _at(step, lambda: _own(url, allowed))})


def _at(step: str, check: Callable[[], Any]) -> Any:
    try:
        return check()
    except PlanError as error:
        raise error.at(step) from None


def _own(url: DatabaseUrl, allowed: Rules) -> DatabaseUrl:
    """The URL of our own connection to the same place; else the one that was given, if its server is allowed."""
    if url.references:
        raise PlanError("a request may not name variables of the environment", hint=_NAME_IT)
    if url.driver in {"sqlite", "duckdb"}:
        return _file(url, allowed)
    wanted = _parsed(url)
    for known in allowed.connections:
        if place_of(known) == place_of(wanted):
            if any(known.query.get(name) != value for name, value in wanted.query.items()):
                raise PlanError(_OPTIONS, hint=f"Leave them out, or change those of the connection. {_NAME_IT}")
            return DatabaseUrl.parse(known._replace(password=None).render_as_string())
    where = f"{wanted.host or 'localhost'}:{wanted.port or PORTS.get(family(wanted), '')}".lower()
    if family(wanted) not in PORTS or not {where, where.rpartition(":")[0]} & allowed.databases:
        hint = f"{_NAME_IT}; or set DATAPIPE_API_DATABASES to the servers that URLs may lead to"
        raise PlanError(f"no connection of this server leads to {url.label}, and requests may not", hint=hint)
    if wanted.query:
        raise PlanError(_OPTIONS, hint="Leave them out")
    if wanted.password is not None:
        raise PlanError(f"the workers do not know the password for {url.label}, and none travels", hint=_NAME_IT)
    return url


_OPTIONS = "the options of a URL are not taken from a request"


def _parsed(url: DatabaseUrl) -> URL:
    found = to_url(url)
    if not found.host:
        raise PlanError("the URL names no server", hint=_NAME_IT)
    return found


def _file(url: DatabaseUrl, allowed: Rules) -> DatabaseUrl:
    """A database that is a file: one of our connections, or in an allowed folder, without options."""
    wanted = to_url(url)
    for known in allowed.connections:
        if (known.get_backend_name(), known.database) == (wanted.get_backend_name(), wanted.database):
            return DatabaseUrl.parse(known.render_as_string())
    if wanted.query or (wanted.database or "").startswith("file:"):
        raise PlanError(_OPTIONS, hint="Leave them out")
    path = _inside(wanted.database or "", allowed, "open")
    return DatabaseUrl.parse(wanted.set(database=path).render_as_string())


def _inside(text: str, allowed: Rules, what: str) -> str:
    """An absolute path in one of the folders, with nothing on its way that leads out of it."""
    if not allowed.folders:
        hint = "Set DATAPIPE_API_FOLDERS to the folders that they may use; or read from a table"
        raise PlanError(f"requests may not {what} files here", hint=hint)
    refused = PlanError(
        f"requests may not {what} this file", hint="DATAPIPE_API_FOLDERS has the folders that they may use"
    )
    if "://" in text or "\0" in text or not text or ".." in Path(text).parts:
        raise refused
    if Path(text).parts.count("**") > 1:  # each one more multiplies what is looked at
        raise refused
    fixed = Path(*Path(text).parts[: _first_wild(Path(text).parts)])
    for folder in allowed.folders:
        try:
            found = (folder / fixed).resolve()
        except (OSError, RuntimeError):  # a loop of links
            raise refused from None
        if found.is_relative_to(folder):
            whole = found.joinpath(*Path(text).parts[len(fixed.parts) :])
            if all(Path(os.path.realpath(file)).is_relative_to(folder) for file in _meant(whole)):
                return str(whole)
    raise refused


def _meant(path: Path) -> Iterable[Path]:
    """The files that a folder or a pattern stands for: each of them may be a link."""
    if path.is_dir():
        return path.iterdir()
    return [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207  # Path.glob takes no absolute pattern


def _first_wild(parts: tuple[str, ...]) -> int:
    return next((number for number, part in enumerate(parts) if _WILD.search(part)), len(parts))


def _known(urls: list[Any]) -> list[URL]:
    found = []
    for url in urls:
        if url is None or isinstance(url, Engine):
            continue
        try:
            found.append(to_url(expand(str(url))))
        except PlanError:
            continue  # it fails where it is used
    return found


def check_references(values: Mapping[str, Any]) -> None:
    """Refuse parameters of a notebook that stand for secrets: what a notebook may have, it says itself.

    Raises
    ------
    PlanError
        If one does, or a text within one.

    Examples
    --------
    >>> check_references({"day": "2024-01-01"})
    >>> check_references({"day": "secret:TOKEN"})
    Traceback (most recent call last):
    datapipe.errors.PlanError: a request may not name secrets, as the parameter 'day' does. In the notebook: ...
    """
    for name, value in values.items():
        if any(text.startswith("secret:") or "${" in text for _, text in texts_of(value)):
            hint = f'In the notebook: {name} = datapipe.secrets.secret("NAME")'
            raise PlanError(f"a request may not name secrets, as the parameter {name!r} does", hint=hint)
