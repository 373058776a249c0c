"""Columns that are known without a look, and those that somebody has looked at."""

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import datapipe
from datapipe.display import known_columns, seen
from datapipe.errors import DataError

AB = (("a", "bigint"), ("b", "text"))


@pytest.fixture(autouse=True)
def nothing_seen():
    seen._entries.clear()


@pytest.fixture
def database(sqlite_url):
    datapipe.read(pa.table({"a": [1, 2], "b": ["x", "y"]})).write("t", to=sqlite_url).run()
    seen._entries.clear()
    return sqlite_url


@pytest.mark.parametrize("frame", [pa.table, pd.DataFrame, pl.DataFrame])
def test_a_frame_is_known(frame):
    plan = datapipe.read(frame({"a": [1], "b": ["x"]})).sql("SELECT a FROM input_data")
    assert known_columns(plan.plan) == (AB, None)


def test_objects_and_lazy_frames_are_known_as_far_as_they_are():
    assert known_columns(datapipe.read(pd.DataFrame({"a": [1], "o": [[1]]})).plan) == ((("a", "bigint"), ("o", "")),)
    assert known_columns(datapipe.read(pl.LazyFrame({"a": [1]})).plan) == (None,)
    assert known_columns(datapipe.read(pd.DataFrame({1: [1]})).plan)[0] in {None, (("1", "bigint"),)}


@pytest.mark.parametrize("look", ["preview", "explain", "collect", "run"])
def test_a_look_makes_columns_known(database, look):
    plan = datapipe.read("t", source=database).sql("SELECT a FROM input_data").sql("SELECT a + 1 AS c FROM input_data")
    written = plan.write("u", to=database)
    assert known_columns(plan.plan) == (None, None, None) and "–" in plan._repr_html_()  # noqa: RUF001  # as shown
    getattr(written if look == "run" else plan, look)()
    assert known_columns(written.named("n").plan) == (AB, (("a", "bigint"),), (("c", "bigint"),))
    assert "-> 1 column" in repr(plan) and "2 columns" in plan._repr_html_()


def test_a_step_that_was_not_seen_stays_unknown(database):
    plan = datapipe.read("t", source=database).sql("SELECT a FROM input_data")
    plan.preview(step=0)
    assert known_columns(plan.plan) == (AB, None)
    assert known_columns(datapipe.read("u", source=database).plan) == (None,)


def test_a_run_that_fails_has_still_seen_columns(database):
    plan = datapipe.read("t", source=database).sql("SELECT CAST(b AS INTEGER) AS n FROM input_data")
    with pytest.raises(DataError):
        plan.collect()
    assert known_columns(plan.plan)[0] == AB


def test_two_frames_share_nothing():
    one, two = pa.table({"a": [1]}), pa.table({"a": ["x"]})
    datapipe.read(one).sql("SELECT * FROM input_data").preview()
    assert known_columns(datapipe.read(one).sql("SELECT * FROM input_data").plan)[1] == (("a", "bigint"),)
    assert known_columns(datapipe.read(two).sql("SELECT * FROM input_data").plan) == ((("a", "text"),), None)
    same = pa.table({"a": [1]})
    assert known_columns(datapipe.read(same).sql("SELECT * FROM input_data").plan)[1] is None


def test_a_frame_that_has_changed_is_another():
    frame = pd.DataFrame({"a": [1]})
    plan = datapipe.read(frame).sql("SELECT * FROM input_data")
    plan.preview()
    frame["b"] = "x"
    assert known_columns(plan.plan) == (AB, None)


def test_frames_of_further_tables_count():
    small, query = pa.table({"a": [1]}), "SELECT i.a, o.* FROM input_data AS i CROSS JOIN other AS o"
    plan = datapipe.read(small).sql(query, other=pa.table({"x": [1]}))
    plan.preview()
    assert known_columns(plan.plan)[1] == (("a", "bigint"), ("x", "bigint"))
    assert known_columns(datapipe.read(small).sql(query, other=pa.table({"y": [1]})).plan)[1] is None


def test_the_memory_is_bounded_and_holds_no_frame():
    for number in range(300):
        seen.remember(datapipe.read(f"t{number}").plan, [pa.schema([("a", pa.int64())])])
    assert len(seen._entries) == 256
    assert known_columns(datapipe.read("t0").plan) == (None,)
    assert known_columns(datapipe.read("t299").plan) == ((("a", "bigint"),),)
