"""Queries on MariaDB: shapes, names, parameters; one snapshot, little memory, and no end that looks like the last row."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from conftest import mysql_database
from contracts.sinks import mysql_connected, mysql_rows

import datapipe
from datapipe.data.stream import Workspace
from datapipe.data.types import tag
from datapipe.errors import PlanError, TransientError
from datapipe.ingestion import open_source
from datapipe.plan import QuerySource, build

FLOATS = {1: 0.10000000149011612, 2: 16777216.0, 3: -0.30000001192092896}
JSON = '{"a": 12345678901234567890.10}'


@pytest.fixture(scope="module")
def source(mysql_server: str) -> Iterator[str]:
    with mysql_database(mysql_server) as url:
        mysql_rows(
            url,
            "CREATE TABLE r (id int PRIMARY KEY, f float, d decimal(38,0), j json, v varchar(20), u uuid, b varbinary(9),"
            ' ts timestamp(6) NULL, ti time(6), dy date, "odd ` "" : % name" int)',
            f"INSERT INTO r VALUES (1, 0.1, 9007199254740993, '{JSON}', 'it''s', '{uuid.UUID(int=7)}', x'00FF',"
            " '2024-01-01 00:00:00.000001', '01:02:03.5', '2024-02-29', 7)",
            "INSERT INTO r (id, f, v) VALUES (2, 16777217, '100%'), (3, -0.3, 'back\\slash')",
            "CREATE VIEW w AS SELECT * FROM r",
        )
        yield url


def rows(source: str, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    found = datapipe.read(query, source=source, params=parameters or None).collect("arrow")
    return [tuple(row.values()) for row in found.to_pylist()]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("SELECT f FROM r ORDER BY f DESC", [2, 1, 3]),
        ("SELECT f FROM r ORDER BY id DESC LIMIT 2", [3, 2]),
        ("SELECT f FROM r ORDER BY id LIMIT 1, 2", [2, 3]),
        ("SELECT f FROM r ORDER BY id DESC OFFSET 1 ROW FETCH FIRST 1 ROW ONLY", [2]),
        ("SELECT f FROM r WHERE id > (SELECT id FROM r ORDER BY id LIMIT 1) ORDER BY id DESC -- LIMIT 1", [3, 2]),
        ("(SELECT f FROM r WHERE id = 1) UNION ALL (SELECT f FROM r WHERE id = 2) ORDER BY 1 DESC", [2, 1]),
        ("SELECT q.f FROM (SELECT f, id FROM r) AS q ORDER BY q.id DESC", [3, 2, 1]),
        ("WITH q AS (SELECT f, id FROM r LIMIT 9) SELECT f FROM q ORDER BY id DESC", [3, 2, 1]),
        ("SELECT MAX(f) AS f FROM r GROUP BY id ORDER BY id DESC", [3, 2, 1]),
        ("SELECT f FROM w ORDER BY id DESC", [3, 2, 1]),
    ],
)
def test_floats_are_exact_and_in_order(source: str, query: str, ids: list[int]) -> None:
    assert rows(source, query) == [(FLOATS[id_],) for id_ in ids]


def test_two_floats_of_a_join_have_odd_names(source: str) -> None:
    query = 'SELECT a.f AS `a `` f`, b.f AS `b " f` FROM r a JOIN r b USING (id) WHERE a.id = 1'
    found = datapipe.read(query, source=source).collect("arrow")
    assert found.to_pylist() == [{"a ` f": FLOATS[1], 'b " f': FLOATS[1]}]


def test_a_column_keeps_its_type_in_a_table_and_a_view(source: str) -> None:
    for query in ("r", "SELECT * FROM r", "SELECT r.* FROM r JOIN r AS o USING (id)"):
        schema = datapipe.read(query, source=source).collect("arrow").schema
        assert (tag(schema.field("j")), tag(schema.field("v"))) == ("json", "varchar(20)")
        assert schema.field("u").type == pa.uuid()
    view = datapipe.read("w", source=source).collect("arrow").schema
    assert view.field("u").type == pa.uuid()
    assert tag(view.field("v")) == "varchar(20)"


def test_what_a_query_computes_has_the_servers_type(source: str) -> None:
    query = (
        "SELECT COUNT(*) AS n, SUM(id) AS s, AVG(id) AS a, 1.50 AS d, 1e0 AS e, NULL AS z, TRUE AS t, x'00' AS h,"
        " MAX(ts) AS ts, CURRENT_DATE AS dy, 18446744073709551615 AS big, CAST(1 AS decimal(65,30)) AS wide FROM r"
    )
    found = datapipe.read(query, source=source).collect("arrow")
    types = {field.name: tag(field) or str(field.type) for field in found.schema}
    assert types == {
        "n": "int64",
        "s": "decimal128(32, 0)",
        "a": "decimal128(14, 4)",
        "d": "decimal128(3, 2)",
        "e": "double",
        "z": "null",
        "t": "int32",
        "h": "binary",
        "ts": "timestamp[us, tz=UTC]",
        "dy": "date32[day]",
        "big": "uint64",
        "wide": "numeric(65,30)",
    }
    assert found["d"].to_pylist() == [Decimal("1.50")]


def test_unions_and_derived_tables_keep_every_value(source: str) -> None:
    assert rows(source, "SELECT j FROM r WHERE id = 1 UNION SELECT v FROM r WHERE id = 2") == [(JSON,), ("100%",)]
    assert rows(source, "SELECT * FROM (SELECT u, b, d FROM r WHERE id = 1) AS q") == [
        (str(uuid.UUID(int=7)), b"\0\xff", Decimal(9007199254740993))
    ]


def test_a_long_group_is_not_cut(source: str) -> None:
    query = "SELECT GROUP_CONCAT(REPEAT('x', 1000) SEPARATOR '') AS t FROM seq_1_to_3000"
    assert len(rows(source, query)[0][0]) == 3_000_000


@pytest.mark.parametrize(
    "value",
    [
        "it's",
        "back\\slash\\",
        "100% %s %(a)s",
        'say "hi" `x`',
        "\0\n\r\t\x1a",
        "'; DROP TABLE r; --",
        "😀",
        "",
        ":x",
        0,
        -(2**63),
        2**64 - 1,
        0.1,
        1e-7,
        1.7976931348623157e308,
        Decimal("12345678901234567890.12345678901234567"),
        Decimal("1E-30"),
        b"\0\xff'\\%",
        b"",
        dt.date(1, 1, 1),
        dt.datetime(2024, 1, 1, 1, 2, 3, 4),
        dt.time(1, 2, 3, 4),
        dt.time(0),
        None,
    ],
    ids=repr,
)
def test_a_parameter_comes_back_as_it_is(source: str, value: Any) -> None:
    assert rows(source, "SELECT :v AS v, ':v' AS text, 5 % 3 AS two", v=value) == [(value, ":v", 2)]


@pytest.mark.parametrize(
    ("condition", "value", "ids"),
    [
        ("v = :p", "it's", [1]),
        ("v LIKE :p", "100\\%", [2]),
        ("v = :p", "back\\slash", [3]),
        ("v IN :p", ("it's", "100%"), [1, 2]),
        ("id IN :p", [1, 3], [1, 3]),
        ("v = :p", None, []),
        ("d = :p", Decimal(9007199254740993), [1]),
        ("d + 0 = :p", Decimal(9007199254740992), []),
        ("u = :p", uuid.UUID(int=7), [1]),
        ("b = :p", b"\0\xff", [1]),
        ("dy = :p", dt.date(2024, 2, 29), [1]),
        ("ti = :p", dt.time(1, 2, 3, 500_000), [1]),
        ("ts = :p", dt.datetime(2024, 1, 1, 1, 0, 0, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), [1]),
        ('`odd `` " : % name` = :p', 7, [1]),
        ("TRUE = :p", True, [1, 2, 3]),
    ],
)
def test_a_parameter_finds_its_rows(source: str, condition: str, value: Any, ids: list[int]) -> None:
    assert rows(source, f"SELECT id FROM r WHERE {condition} ORDER BY id", p=value) == [(id_,) for id_ in ids]


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity"), dt.time(1, tzinfo=dt.UTC)], ids=repr)
def test_a_parameter_without_a_form_is_refused(source: str, value: Any) -> None:
    with pytest.raises(PlanError, match="a parameter has no form in MySQL"):
        rows(source, "SELECT :v AS v", v=value)


@pytest.mark.parametrize("query", ["SELECT id FROM r WHERE id = :p FRM r", "SELECT nope(:p) AS n", "SELECT id FRM :p"])
def test_a_mistake_names_no_parameter(source: str, query: str) -> None:
    with pytest.raises(PlanError) as caught:
        rows(source, query, p="secret value")
    assert "secret" not in str(caught.value)


def test_a_read_sees_one_moment(source: str) -> None:
    mysql_rows(source, "CREATE TABLE account AS SELECT seq AS id, 100 AS n FROM seq_1_to_100000")
    stop = threading.Event()

    def move() -> None:
        with mysql_connected(source) as conn, conn.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("UPDATE account SET n = n + IF(id = 1, 7, -7) WHERE id IN (1, 100000)")

    writer = threading.Thread(target=move)
    writer.start()
    try:
        for _ in range(5):
            found = datapipe.read("account", source=source).collect("arrow")
            assert (sum(found["n"].to_pylist()), found.num_rows) == (10_000_000, 100_000)
    finally:
        stop.set()
        writer.join()


def reading(source: str, query: str) -> Any:
    return open_source(build(QuerySource, {"query": query, "source_db_url": source}), Workspace())


def busy(source: str) -> list[int]:
    found = (
        "SELECT id FROM information_schema.processlist WHERE info LIKE '%seq_1_to_90000000%' AND id <> CONNECTION_ID()"
    )
    return [id_ for (id_,) in mysql_rows(source, found)]


def test_who_stops_reading_leaves_no_connection_at_work(source: str) -> None:
    with reading(source, "SELECT seq AS id FROM seq_1_to_90000000") as stream:
        assert next(stream.batches).num_rows
        assert busy(source)
    for _ in range(50):
        if not busy(source):
            return
        threading.Event().wait(0.1)
    assert busy(source) == []


@pytest.mark.parametrize("kind", ["CONNECTION", "QUERY"])
def test_a_killed_read_is_an_error_and_never_the_end(source: str, kind: str) -> None:
    with pytest.raises(TransientError), reading(source, "SELECT seq AS id FROM seq_1_to_90000000") as stream:
        next(stream.batches)
        (id_,) = busy(source)
        mysql_rows(source, f"KILL {kind} {id_}")
        for _ in stream.batches:
            pass


CHILD = """
import json, sys
import datapipe
query = "SELECT seq AS id, REPEAT(MD5(seq), 10) AS t, 0.1e0 AS d FROM seq_1_to_1000000"
result = datapipe.read(query, source=sys.argv[1]).write("t.parquet").run(memory="64MB")
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"peak_mb": peak, "rows": result.rows_written}))
"""


def test_a_million_rows_take_little_memory(source: str, tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, source], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    found = json.loads(done.stdout)
    assert found["rows"] == 1_000_000
    assert found["peak_mb"] < 64 + 210  # the rows are 350 MB
