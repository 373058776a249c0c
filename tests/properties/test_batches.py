"""The result of a step never depends on how its input is cut into batches."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.stream import Stream, Workspace, resized, scratch_directory
from datapipe.plan import TransformConfig
from datapipe.transformation import run_config, run_sql

QUERIES = [
    "SELECT * FROM input_data WHERE v > 0",
    "SELECT k, COUNT(*) AS n, SUM(v) AS s, AVG(v) AS a FROM input_data GROUP BY k",
    "SELECT id, SUM(v) OVER (PARTITION BY k ORDER BY id) AS running FROM input_data",
    "SELECT DISTINCT k FROM input_data",
    "SELECT a.id FROM input_data a JOIN input_data b ON a.id = b.id + 1",
    "SELECT id FROM input_data WHERE v >= (SELECT MAX(v) FROM input_data)",
    "SELECT id, v FROM input_data ORDER BY v DESC NULLS LAST, id LIMIT 5",
]
CONFIGS = [
    {"filter": {"k": "a"}, "rename": {"v": "w"}},
    {"group_by": ["k"], "aggregations": {"total": "SUM(v)"}},
    {"distinct": True, "select": ["k"]},
]
rows = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(-5, 5)), max_size=60)


def table_of(given_rows) -> pa.Table:
    columns = [list(range(len(given_rows))), [k for k, _ in given_rows], [v for _, v in given_rows]]
    schema = pa.schema([("id", pa.int64()), ("k", pa.string()), ("v", pa.int64())])
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def cut(table: pa.Table, size: int) -> Stream:
    return Stream(table.schema, iter(table.to_batches(max_chunksize=size)))


def ordered(stream: Stream) -> list:
    return sorted(
        (tuple(row.values()) for row in pa.Table.from_batches(stream.batches, stream.schema).to_pylist()), key=repr
    )


@settings(deadline=None, max_examples=25)
@given(rows, st.sampled_from(QUERIES), st.integers(1, 70))
def test_sql(given_rows, sql, size):
    table = table_of(given_rows)
    found = []
    with scratch_directory() as scratch:
        for chunk in (size, 1_000):
            with run_sql(sql, {}, {"input_data": cut(table, chunk)}, Workspace(scratch=scratch)) as stream:
                found.append((stream.schema, ordered(stream)))
    assert found[0] == found[1]


@settings(deadline=None, max_examples=15)
@given(rows, st.sampled_from(CONFIGS), st.integers(1, 70))
def test_declarative_steps(given_rows, config, size):
    table = table_of(given_rows)
    found = []
    with scratch_directory() as scratch:
        for chunk in (size, 1_000):
            made = TransformConfig.model_validate(config)
            with run_config(made, cut(table, chunk), Workspace(scratch=scratch)) as stream:
                found.append((stream.schema, ordered(stream)))
    assert found[0] == found[1]


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(1, 50))
def test_resizing_keeps_rows_and_order(sizes, rows_each):
    numbers = iter(range(10_000))
    batches = [pa.record_batch({"a": pa.array([next(numbers) for _ in range(size)], pa.int64())}) for size in sizes]
    found = list(resized(iter(batches), rows=rows_each))
    assert [b.num_rows for b in found[:-1]] == [rows_each] * max(0, len(found) - 1)
    assert [v for b in found for v in b.column(0).to_pylist()] == list(range(sum(sizes)))
    by_bytes = list(resized(iter(batches), size=100))
    assert [v for b in by_bytes for v in b.column(0).to_pylist()] == list(range(sum(sizes)))
