"""Connections of PyMySQL's, made in little time."""

from __future__ import annotations

import functools
import ssl
from typing import Any

import pymysql

_OWN = ("ssl", "read_default")  # how options begin that say how to encrypt, or where that is written


def connect(**parameters: Any) -> pymysql.Connection[Any]:
    """A connection as ``pymysql.connect`` makes it.

    Where no option says how to encrypt, PyMySQL does it if the server can, and looks at no certificate; but it loads
    all that the system trusts, for each connection anew, which takes longer than to connect.

    Raises
    ------
    pymysql.Error
        If the server cannot be reached, or refuses.
    """
    if any(value for name, value in parameters.items() if name.startswith(_OWN)):
        return pymysql.connect(**parameters)
    raw: Any = pymysql.Connection(**{**parameters, "defer_connect": True, "ssl_disabled": True})
    raw.ssl, raw.ctx = True, _unverified()
    raw.connect()
    return raw  # type: ignore[no-any-return]  # its stubs lack these attributes


@functools.cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
