"""SQL sees all rows: the answer does not depend on how they are cut into batches."""

import psycopg
import pyarrow as pa
import pytest

import datapipe

ROWS = 1_000_000
QUERIES = {
    "group by": (
        "SELECT k, COUNT(*) AS n, SUM(v) AS s FROM input_data GROUP BY k ORDER BY k",
        "SELECT k, count(*), sum(v)::bigint FROM numbers GROUP BY k ORDER BY k",
    ),
    "window": (
        "SELECT id, r FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, id) AS r FROM input_data) WHERE r <= 2 ORDER BY id",
        "SELECT id, r FROM (SELECT id, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS r FROM numbers) q WHERE r <= 2 ORDER BY id",
    ),
    "distinct": (
        "SELECT DISTINCT k, v % 7 AS m FROM input_data ORDER BY 1, 2",
        "SELECT DISTINCT k, v % 7 FROM numbers ORDER BY 1, 2",
    ),
    "self join": (
        "SELECT COUNT(*) AS n, SUM(a.v - b.v) AS d FROM input_data a JOIN input_data b ON a.id = b.id + 1",
        "SELECT count(*), sum(a.v - b.v)::bigint FROM numbers a JOIN numbers b ON a.id = b.id + 1",
    ),
    "sub-query": (
        "SELECT COUNT(*) AS n FROM input_data WHERE v > (SELECT AVG(v) FROM input_data)",
        "SELECT count(*) FROM numbers WHERE v > (SELECT avg(v) FROM numbers)",
    ),
}


@pytest.fixture(scope="module")
def numbers(postgresql_server):
    """One million rows, once."""
    with psycopg.connect(postgresql_server, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS numbers")
        conn.execute(
            f"CREATE TABLE numbers AS SELECT g AS id, g % 97 AS k, (g::bigint * 7919) % 100003 AS v FROM generate_series(1, {ROWS}) g"
        )
        yield postgresql_server
        conn.execute("DROP TABLE numbers")


@pytest.mark.parametrize("batch_size", [1_000, 65_536, 1_000_000])
@pytest.mark.parametrize("name", QUERIES)
def test_the_answer_is_that_of_the_whole_table(numbers, name, batch_size, monkeypatch):
    monkeypatch.setenv("BATCH_SIZE", str(batch_size))
    sql, reference = QUERIES[name]
    # The step before hands its rows on in batches of exactly this size.
    plan = datapipe.read("numbers", source=numbers).apply(unchanged, per_batch=True).sql(sql)
    found = plan.collect("arrow")
    with psycopg.connect(numbers) as conn:
        expected = conn.execute(reference).fetchall()
    assert [tuple(row.values()) for row in found.to_pylist()] == expected


def unchanged(table: pa.Table) -> pa.Table:
    assert table.num_rows <= ROWS
    return table
