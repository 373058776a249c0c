"""SQL over streams: all rows, exact types, locked down, and errors that name what is wrong."""

import datetime as dt
import threading
import time
import uuid
from decimal import Decimal

import pyarrow as pa
import pytest

from datapipe.data.cancel import CancelToken
from datapipe.data.stream import Stream, Workspace
from datapipe.data.types import INTERVAL, TIMESTAMPTZ, tag, tagged
from datapipe.errors import DataError, FatalError, PlanError, RunCancelled
from datapipe.transformation import run_sql

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        tagged("amount", "numeric"),
        tagged("body", "jsonb"),
        tagged("address", "inet"),
        pa.field("key", pa.uuid()),
        pa.field("price", pa.decimal128(15, 2)),
        pa.field("at", TIMESTAMPTZ),
    ]
)
KEYS = [uuid.UUID(int=7), uuid.UUID(int=8), None]
NOW = dt.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
TABLE = pa.Table.from_arrays(
    [
        pa.array([1, 2, 3]),
        pa.array(["1.10", None, "3.000000000000000000000001"]),
        pa.array(['{"a": 1.10}', None, "[]"]),
        pa.array(["10.0.0.1/32", None, "::1"]),
        pa.array([key and key.bytes for key in KEYS], pa.uuid()),
        pa.array([Decimal("1.10"), None, Decimal("2.00")], pa.decimal128(15, 2)),
        pa.array([NOW, None, NOW], TIMESTAMPTZ),
    ],
    schema=SCHEMA,
)


@pytest.fixture
def run(tmp_path):
    def run_query(sql, parameters=None, table=TABLE, work=None, **inputs):
        streams = {"input_data": Stream(table.schema, iter(table.to_batches(max_chunksize=2)))}
        streams |= {name: Stream(t.schema, iter(t.to_batches())) for name, t in inputs.items()}
        with run_sql(sql, parameters or {}, streams, work or Workspace(scratch=tmp_path)) as made:
            return pa.Table.from_batches(made.batches, schema=made.schema)

    return run_query


def test_untouched_columns_keep_type_and_value(run):
    for sql in ("SELECT * FROM input_data", 'SELECT id, amount, body, address, key, price, "at" FROM input_data i'):
        found = run(sql)
        assert found.equals(TABLE)
        assert [tag(field) for field in found.schema] == [tag(field) for field in SCHEMA]


def test_an_alias_a_join_and_a_star_with_exceptions_keep_tags(run):
    other = pa.table({"id": [1, 3]})
    found = run("SELECT i.* EXCLUDE (body, id), amount AS total FROM input_data i JOIN other o USING (id)", other=other)
    tags = {field.name: tag(field) for field in found.schema}
    assert tags == {"amount": "numeric", "address": "inet", "key": None, "price": None, "at": None, "total": "numeric"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM input_data WHERE amount > 1",
        "SELECT amount * 2 AS a FROM input_data",
        "SELECT DISTINCT amount FROM input_data",
        "SELECT MAX(amount) AS m FROM input_data",
        "SELECT amount FROM input_data ORDER BY 1",
        "SELECT amount AS x FROM input_data ORDER BY x",
        "WITH c AS (SELECT * FROM input_data) SELECT * FROM c",
        "SELECT amount FROM input_data UNION SELECT amount FROM input_data",
        "SELECT COLUMNS('amount') FROM input_data",
        "SELECT amount FROM input_data GROUP BY ALL",
        "SELECT max(COLUMNS('amount')) FROM input_data",
        "SELECT max(b) FROM input_data AS t(a, b)",
        "SELECT max(#2) FROM input_data",
        "SELECT (SELECT max(b) FROM input_data s(a, b)) AS m",
        "SELECT * RENAME (amount AS total) FROM input_data",
        "SELECT to_json(t) AS j FROM input_data AS t",
    ],
)
def test_an_unconstrained_numeric_is_computed_on_exactly_or_not_at_all(run, sql):
    with pytest.raises(DataError, match=r"column 'amount', row 3.*CAST\(\"amount\" AS numeric\(p, s\)\)"):
        run(sql)
    fitting = TABLE.slice(0, 2)
    found = run(sql, table=fitting)
    assert "numeric" not in {tag(field) for field in found.schema}


def test_what_duckdb_makes_leaves_exactly(run):
    found = run(
        "SELECT 5::HUGEINT AS h, SUM(id) AS s, COUNT(DISTINCT key) AS c, SUM(price) AS p, MAX(key) AS k, "
        "'{}'::JSON AS j, INTERVAL 1 DAY AS i, [1, 2] AS l, '12:00:00+02'::TIMETZ AS z FROM input_data"
    )
    types = {field.name: (field.type, tag(field)) for field in found.schema}
    assert types["h"] == types["s"] == types["c"] == (pa.int64(), None)
    assert types["p"] == (pa.decimal128(38, 2), None)
    assert types["k"] == (pa.uuid(), None) and found["k"].to_pylist() == [KEYS[1]]
    assert types["j"] == (pa.string(), "json") and types["z"] == (pa.string(), "time with time zone")
    assert types["i"] == (INTERVAL, None) and types["l"] == (pa.list_(pa.int32()), None)


def test_an_overflowing_hugeint_is_a_data_error_without_the_value(run):
    with pytest.raises(DataError) as caught:
        run("SELECT 170141183460469231731687303715884105727::HUGEINT AS h")
    assert "17014118346046923" not in str(caught.value)


def test_parameters(run):
    found = run("SELECT id FROM input_data WHERE id > :low AND ':low' <> 'x'", {"low": 1})
    assert found["id"].to_pylist() == [2, 3]
    with pytest.raises(PlanError, match=r":low has no value"):
        run("SELECT :low")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nam FROM input_data", "nam"),
        ("SELECT * FROM other", "there is no table 'other'"),
        ("SELECT * FROM '/etc/passwd'", "there is no table"),
        ("SELECT * FROM read_csv('/etc/passwd')", r"read_csv\(\) is not allowed"),
        ("SELECT * FROM glob('*')", "not allowed"),
        ("SELECT getenv('HOME')", "not allowed"),
        ("SELECT * FROM duckdb_settings()", "not allowed"),
        ("SELECT * FROM main.input_data", "named with a schema"),
        ("FROM input_data PIVOT (SUM(id) FOR address IN ('a'))", "not allowed"),
        ("WITH x AS (INSERT INTO input_data VALUES (1) RETURNING *) SELECT * FROM x", "would write"),
        ("SELECT id, id FROM input_data", "two columns called 'id'"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("ATTACH ':memory:' AS x", "not a query"),
        ("SELECT id FROM input_data GROUP BY", "parse"),
    ],
)
def test_everything_else_is_refused_by_name(run, sql, message):
    with pytest.raises((PlanError, DataError), match=message):
        run(sql)


def test_a_conversion_error_says_what_but_not_the_value(run):
    with pytest.raises(DataError) as caught:
        run("SELECT CAST(address AS INTEGER) FROM input_data")
    assert "INT32" in str(caught.value) and "10.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("sql", ["SELECT id + 1 AS i FROM input_data", "SELECT SUM(id) AS s FROM input_data"])
def test_an_error_of_the_input_arrives_as_itself(tmp_path, sql):
    error = DataError("row 9 is bad")

    def batches():
        yield TABLE.to_batches()[0]
        raise error

    inputs = {"input_data": Stream(SCHEMA, batches())}
    with pytest.raises(DataError) as caught, run_sql(sql, {}, inputs, Workspace(scratch=tmp_path)) as made:
        list(made.batches)
    assert caught.value is error


def test_cancel_interrupts_a_running_query(tmp_path):
    cancel = CancelToken()
    big = pa.table({"id": range(30_000)})
    work = Workspace(scratch=tmp_path, cancel=cancel)
    threading.Timer(0.5, cancel.cancel).start()
    started = time.monotonic()
    inputs = {"input_data": Stream(big.schema, iter(big.to_batches()))}
    with (
        pytest.raises(RunCancelled),
        run_sql(
            "SELECT COUNT(*) AS n FROM input_data a, input_data b WHERE hash(a.id, b.id) = 1", {}, inputs, work
        ) as made,
    ):
        list(made.batches)
    assert time.monotonic() - started < 2.5


def test_too_little_memory_and_no_spilling_is_named(tmp_path):
    big = pa.table({"id": range(900_000), "t": ["x" * 100] * 900_000})
    inputs = {"input_data": Stream(big.schema, iter(big.to_batches()))}
    work = Workspace(memory=1 << 20, scratch=tmp_path)
    sql = "SELECT LIST(t || id) AS l FROM input_data"
    with pytest.raises(FatalError, match="more memory"), run_sql(sql, {}, inputs, work) as made:
        list(made.batches)


def test_an_empty_input_keeps_the_schema(run):
    found = run("SELECT id, upper(address) AS a FROM input_data", table=TABLE.slice(0, 0))
    assert found.num_rows == 0 and found.schema.names == ["id", "a"]


def test_closing_early_closes_the_input(tmp_path):
    closed = threading.Event()

    def batches():
        try:
            while True:
                yield TABLE.to_batches()[0]
        finally:
            closed.set()

    inputs = {"input_data": Stream(SCHEMA, batches())}
    with run_sql("SELECT id FROM input_data LIMIT 1", {}, inputs, Workspace(scratch=tmp_path)) as made:
        assert sum(batch.num_rows for batch in made.batches) == 1
    assert closed.is_set()
