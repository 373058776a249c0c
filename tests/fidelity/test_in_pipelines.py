"""What steps do to values: nothing that is not asked for, and never without a word."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from fidelity.roads import Postgresql, Sqlite

import datapipe
from datapipe.errors import DataError

ROWS = "SELECT n AS id FROM generate_series(1, 3) AS n"
FUNCTIONS: dict[str, list[Any]] = {
    "half a surrogate pair": ["ok", "bad\ud800", None],
    "half a pair in a list": [["ok"], ["bad\udfff"], None],
    "a whole number of 65 bits": [1, 2**64, None],
    "an infinite decimal": [Decimal("1.5"), Decimal("Infinity"), None],
    "a list of two kinds": [["a"], ["a", 1], None],
    "a complex number in a list": [[1], [1j], None],
}


def made(postgresql: Postgresql, values: list[Any]) -> datapipe.Pipeline:
    """Three rows, with these values of a function in column v."""
    objects = pd.Series(values, dtype=object)
    return datapipe.read(ROWS, source=postgresql.url).apply(lambda frame: frame.assign(v=objects))


@pytest.mark.parametrize("what", FUNCTIONS)
def test_a_value_of_a_function_that_no_type_holds_is_named(postgresql: Postgresql, what: str) -> None:
    with pytest.raises(DataError, match="column 'v', row 2") as caught:
        made(postgresql, FUNCTIONS[what]).collect()
    assert (caught.value.column, caught.value.row) == ("v", 2)


@pytest.mark.parametrize("value", ["bad\x00", ["bad\x00"]], ids=["text", "list"])
def test_a_nul_character_from_a_function_is_named(postgresql: Postgresql, value: Any) -> None:
    postgresql.fresh()
    rows = [type(value)("a"), value, None]
    with pytest.raises(DataError) as caught:
        made(postgresql, rows).write("target", to=postgresql.url).run()
    assert (caught.value.column, caught.value.row) == ("v", 2)
    assert not postgresql.exists()


NUMBERS = pa.array([1.5, math.nan, None])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.Series(pd.arrays.ArrowExtensionArray(NUMBERS)), ["1.5", "NaN", None]),
        (pd.Series([[1.5, math.nan, None], [pd.NA], None], dtype=object), ["{1.5,NaN,NULL}", "{NULL}", None]),
        # In NumPy's floats NaN is how pandas writes a missing value.
        (pd.Series([1.5, math.nan, -0.0]), ["1.5", None, "-0"]),
    ],
    ids=["arrow", "lists", "numpy"],
)
def test_nan_is_null_only_where_pandas_has_no_other_null(
    postgresql: Postgresql, values: pd.Series[Any], texts: list[str | None]
) -> None:
    postgresql.fresh()
    plan = datapipe.read(ROWS, source=postgresql.url).apply(lambda frame: frame.assign(v=values))
    plan.write("target", to=postgresql.url).run()
    assert postgresql.texts() == texts


@pytest.mark.parametrize("step", [None, lambda frame: frame], ids=["plain", "per_batch"])
def test_one_type_whatever_the_batches_hold(
    postgresql: Postgresql, step: Callable[[Any], Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No NULL in the first batch, one in the second, nothing else in the third."""
    monkeypatch.setenv("BATCH_SIZE", "2")
    postgresql.fresh()
    values = "CASE WHEN n < 3 THEN 9007199254740993 WHEN n = 3 THEN 1 END"
    source = datapipe.read(f"SELECT n AS id, {values} AS v FROM generate_series(1, 6) AS n", source=postgresql.url)
    plan = source.apply(step, per_batch=True) if step else source
    plan.write("target", to=postgresql.url).run()
    assert postgresql.texts() == ["9007199254740993", "9007199254740993", "1", None, None, None]
    assert postgresql.type() == "bigint"


COMPUTED = (
    ("sum(big)", "bigint", "9223372036854775807"),
    ("count(*)", "bigint", "2"),
    ("avg(amount)", "double precision", "1.1"),
    ("sum(amount)", "numeric(38,2)", "2.20"),
    ("amount * 2", "numeric(18,2)", "2.20"),
    ("1 / 2", "double precision", "0.5"),
    ("exact + 1", "numeric(38,20)", "2.10000000000000000000"),
)


@pytest.mark.parametrize(("expression", "type_", "text"), COMPUTED)
def test_what_sql_computes_has_the_type_that_explain_says(
    postgresql: Postgresql, expression: str, type_: str, text: str
) -> None:
    postgresql.fresh()
    rows = "SELECT n AS id, 9223372036854775806 * (2 - n) + (n - 1) AS big, 1.10::numeric(10,2) AS amount, 1.1::numeric AS exact FROM generate_series(1::bigint, 2) AS n"
    grouped = "(" in expression
    query = f"SELECT {'0' if grouped else 'id'} AS id, {expression} AS v FROM input_data" + (
        "" if grouped else " WHERE id = 1"
    )
    plan = datapipe.read(rows, source=postgresql.url).sql(query).write("target", to=postgresql.url)
    assert f"v {type_}" in str(plan.explain())
    plan.run()
    assert (postgresql.type(), postgresql.texts()) == (type_, [text])


def test_a_sum_beyond_64_bits_is_named(postgresql: Postgresql) -> None:
    rows = "SELECT 9223372036854775807 AS big FROM generate_series(1, 2)"
    with pytest.raises(DataError) as caught:
        datapipe.read(rows, source=postgresql.url).sql("SELECT sum(big) AS v FROM input_data").collect()
    assert (caught.value.column, caught.value.row) == ("v", 1)


@pytest.mark.parametrize("value", ["'NaN'", "1e30", "1e-30"])
def test_a_numeric_that_a_step_cannot_compute_with_is_named(postgresql: Postgresql, value: str) -> None:
    rows = f"SELECT CASE n WHEN 2 THEN {value}::numeric END AS v FROM generate_series(1, 2) AS n"
    source = datapipe.read(rows, source=postgresql.url)
    for plan in (source.sql("SELECT v + 1 AS v FROM input_data"), source.apply(lambda frame: frame)):
        with pytest.raises(DataError) as caught:
            plan.collect()
        assert (caught.value.column, caught.value.row) == ("v", 2)


def test_a_year_that_sqlite_cannot_write_is_named(postgresql: Postgresql, sqlite: Sqlite) -> None:
    rows = "SELECT n AS id, CASE n WHEN 2 THEN date '12000-01-01' END AS v FROM generate_series(1, 2) AS n"
    with pytest.raises(DataError) as caught:
        datapipe.read(rows, source=postgresql.url).write("target", to=sqlite.url).run()
    assert (caught.value.column, caught.value.row) == ("v", 2)
    assert not sqlite.exists()


INFINITE = ("TIMESTAMP 'infinity'", "TIMESTAMPTZ '-infinity'", "DATE 'infinity'", "[DATE '-infinity']")


@pytest.mark.parametrize("value", INFINITE)
def test_an_infinite_time_that_sql_makes_is_named(postgresql: Postgresql, value: str) -> None:
    made = datapipe.read(ROWS, source=postgresql.url).sql(
        f"SELECT CASE id WHEN 2 THEN {value} END AS v FROM input_data"
    )
    with pytest.raises(DataError, match="column 'v', row 2: the value is infinite") as caught:
        made.collect()
    assert (caught.value.column, caught.value.row) == ("v", 2)


def test_a_time_of_24_00_that_sql_makes_arrives_or_is_named(postgresql: Postgresql, sqlite: Sqlite) -> None:
    rows = "SELECT id, CASE id WHEN 2 THEN TIME '24:00' END AS v FROM input_data"
    made = datapipe.read(ROWS, source=postgresql.url).sql(rows)
    postgresql.fresh()
    made.write("target", to=postgresql.url).run()
    assert postgresql.texts() == [None, "24:00:00", None]
    with pytest.raises(DataError, match="column 'v', row 2"):
        made.write("target", to=sqlite.url).run()
    assert not sqlite.exists()


@pytest.mark.parametrize("type_", [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32()], ids=str)
@pytest.mark.parametrize("edge", [-1, 1])
def test_a_time_before_or_after_all_of_postgresqls_is_named(
    postgresql: Postgresql, type_: pa.DataType, edge: int
) -> None:
    postgresql.fresh()
    numbers = pa.array([0, edge * (2 ** (type_.bit_width - 1) - 2), None], pa.int64()).cast(f"int{type_.bit_width}")
    data = pa.table({"id": [1, 2, 3], "v": numbers.view(type_)})
    if edge > 0 and type_ != pa.date32():  # the last microsecond of Arrow is a time in PostgreSQL
        datapipe.read(data).write("target", to=postgresql.url).run()
        assert str(postgresql.texts()[1]).startswith("294247-01-10 04:00:54.775806")
        return
    with pytest.raises(DataError) as caught:
        datapipe.read(data).write("target", to=postgresql.url).run()
    assert (caught.value.column, caught.value.row) == ("v", 2)
    assert not postgresql.exists()
