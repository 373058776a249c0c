"""Text is characters, not bytes, whatever encoding a database or a client has."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from fidelity.roads import ROADS, Postgresql, Sqlite
from psycopg.sql import SQL, Identifier

import datapipe
from datapipe.data.connections import shared
from datapipe.errors import DataError
from datapipe.pipeline import Pipeline

LATIN = "caf\u00e9 \u00a3"


@pytest.fixture(scope="module", params=["LATIN1", "SQL_ASCII", "UTF8"])
def encoded(postgresql_server: str, request: pytest.FixtureRequest) -> Iterator[Postgresql]:
    """A database of this encoding, with a table of the same text in column v."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = urlsplit(postgresql_server)._replace(path=f"/{name}").geturl()
    create = SQL("CREATE DATABASE {} TEMPLATE template0 LOCALE 'C' ENCODING {}")
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(create.format(Identifier(name), request.param))
        with psycopg.connect(url, autocommit=True, prepare_threshold=None, client_encoding="utf8") as conn:
            conn.execute("CREATE TABLE source AS SELECT 1 AS id, %s::text AS v", (LATIN,))
            yield Postgresql(url, conn)
        shared().dispose()
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__)
def test_text_keeps_its_characters(encoded: Postgresql, sqlite: Sqlite, road: Callable[[Pipeline], Pipeline]) -> None:
    encoded.run("DROP TABLE IF EXISTS target")
    source = datapipe.read(f"SELECT id, v FROM source WHERE v = '{LATIN}'", source=encoded.url)
    road(source).write("target", to=encoded.url).run()
    assert encoded.texts() == [LATIN]
    road(source).write("target", to=sqlite.url).run()
    assert sqlite.values() == [("text", LATIN)]


def test_a_lent_engine_of_another_encoding_changes_no_character(encoded: Postgresql) -> None:
    encoded.run("DROP TABLE IF EXISTS target")
    engine = sa.create_engine(
        encoded.url.replace("postgresql://", "postgresql+psycopg://"), connect_args={"client_encoding": "latin1"}
    )
    try:
        datapipe.read("source", source=engine).write("target", to=engine).run()
        with engine.connect() as conn:
            assert conn.execute(sa.text("SHOW client_encoding")).scalar() == "LATIN1"
    finally:
        engine.dispose()
    assert encoded.texts() == [LATIN]


def test_a_character_that_the_database_has_not_is_named(encoded: Postgresql) -> None:
    encoded.run("DROP TABLE IF EXISTS target")
    plan = datapipe.read(pa.table({"id": [1, 2], "v": ["a", "\U0001f600"]})).write("target", to=encoded.url)
    (encoding,) = encoded.conn.execute("SHOW server_encoding").fetchone() or ("",)
    if encoding != "LATIN1":
        plan.run()
        assert encoded.texts() == ["a", "\U0001f600"]
        return
    with pytest.raises(DataError, match="column 'v', row 2") as caught:
        plan.run()
    assert (caught.value.column, caught.value.row) == ("v", 2)
    assert "0x" not in str(caught.value)
