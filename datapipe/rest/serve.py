"""Serving the REST interface: ``datapipe api``."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import uvicorn

from datapipe.errors import FatalError
from datapipe.logs import configure_logs
from datapipe.rest.app import create_app
from datapipe.settings import settings

_BACKLOG = 2048


def serve(host: str, port: int, ready: Callable[[str, bool], object]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Parameters
    ----------
    host : str
        The address to listen at.
    port : int
        0 for any that is free.
    ready : callable
        Called when it listens, with its URL and whether it takes requests without a key.

    Raises
    ------
    PlanError
        As :func:`~datapipe.rest.create_app` does.
    FatalError
        If it cannot listen there.
    """
    app, found = create_app(host), settings()
    configure_logs(found.log_level, found.log_format)
    with _listening(host, port) as listener:
        name = f"[{host}]" if ":" in host else host
        # Who called is asked of the connection itself: a header can say anything.
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        ready(f"http://{name}:{listener.getsockname()[1]}", app.state.is_open)
        with contextlib.suppress(KeyboardInterrupt):  # it has stopped, and raises again what has stopped it
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or type(error).__name__
        raise FatalError(f"cannot listen at {host}:{port}: {reason}", hint="Choose another --port or --host") from None
    return listener
