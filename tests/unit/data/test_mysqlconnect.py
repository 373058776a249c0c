from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest

from datapipe.data.mysqlconnect import connect


def place(server: str) -> dict[str, Any]:
    parts = urlsplit(server)
    return {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}


def cipher(raw: Any) -> str:
    with raw.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return str(cursor.fetchone()[1])


def test_a_connection_is_encrypted_as_pymysql_would_and_shares_its_context(mysql_server: str) -> None:
    plain: Any = pymysql.connect
    own: Any = connect
    with plain(**place(mysql_server)) as theirs, own(**place(mysql_server)) as one, own(**place(mysql_server)) as two:
        assert cipher(one) == cipher(two) == cipher(theirs)
        assert one.ctx is two.ctx
        for name in ("verify_mode", "check_hostname", "minimum_version", "options"):
            assert getattr(one.ctx, name) == getattr(theirs.ctx, name)
        assert (one.ssl, one._ssl_required) == (theirs.ssl, theirs._ssl_required)


def test_encryption_that_is_asked_for_is_pymysqls_own(tmp_path: Path, mysql_server: str) -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        connect(**place(mysql_server), ssl_ca=str(tmp_path / "missing.pem"))
    with connect(**place(mysql_server), ssl_disabled=True) as raw:
        assert not raw.ssl
