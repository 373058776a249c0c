"""A plan asks its source for what the first step needs: told by explain(), and never seen in a result or an error."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import datapipe
from datapipe.errors import DataError, PlanError


@pytest.fixture
def source(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "source.db") as connection:
        connection.execute("CREATE TABLE items (id INTEGER, name TEXT, price DECIMAL(9,2), made DATE, bad INTEGER)")
        rows = [(n, f"item {n}", n / 4, f"2024-01-0{n}", "no number") for n in range(1, 6)]
        connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{tmp_path / 'source.db'}"


def test_explain_shows_the_query_that_is_sent_and_how_much_is_read(source: str) -> None:
    plan = datapipe.read("items", source=source).sql("SELECT sum(price) AS total FROM input_data WHERE id > 2")
    shown = plan.explain()
    assert shown.sections[0].text == 'SELECT "id", "price" FROM "items"'
    assert shown.sections[0].note == "reads 2 of 5 columns"
    assert str(shown).startswith(
        'ingestion\n    SELECT "id", "price" FROM "items"\n    (reads 2 of 5 columns)\n    -> id bigint, price numeric(9,2)\n'
    )
    assert "reads 2 of 5 columns" in shown._repr_html_() and shown.to_dict()["sections"][0]["note"]
    assert plan.collect()["total"].tolist() == [3]
    assert plan.preview().table.to_pydict() == {"total": [3]}


def test_a_value_in_a_column_that_is_not_needed_is_no_error(source: str) -> None:
    read = datapipe.read("items", source=source)
    assert read.transform({"select": ["id"], "filter": {"id": {"<": 3}}}).collect()["id"].tolist() == [1, 2]
    with pytest.raises(DataError, match="'bad', row 1"):
        read.sql("SELECT count(bad) AS n FROM input_data").collect()


def test_a_plan_whose_first_step_is_not_sql_reads_everything(source: str) -> None:
    def same(frame: pd.DataFrame) -> pd.DataFrame:
        return frame

    read = datapipe.read("SELECT id, name, price FROM items", source=source)
    for plan in (read, read.apply(same).sql("SELECT id FROM input_data")):
        assert plan.explain().sections[0].text == "SELECT id, name, price FROM items"
        assert plan.explain().sections[0].note == ""
    contract = {"columns": {"name": {"dtype": "text"}}}
    validated = read.validate(contract).sql("SELECT id FROM input_data")
    assert len(validated.explain().sections[0].columns) == 3


def test_errors_know_all_columns(source: str) -> None:
    for query in ("SELECT nam FROM input_data", "SELECT id FROM input_data WHERE nam = 'x'"):
        with pytest.raises(PlanError) as caught:
            datapipe.read("items", source=source).sql(query).explain()
        assert caught.value.step == "transformation step 1 (sql)"
        assert 'Candidate bindings: "name"' in str(caught.value)
        assert caught.value.excerpt is not None
    with pytest.raises(PlanError, match="'nam'") as caught:
        datapipe.read("items", source=source).transform({"select": ["nam"]}).collect()
    assert "name" in caught.value.hint and caught.value.step == "transformation step 1 (config)"


def test_columns_that_are_not_read_are_still_there_to_the_query(source: str) -> None:
    plan = datapipe.read("SELECT id, name, made FROM items", source=source).sql(
        "SELECT * EXCLUDE (name), typeof(made) AS kind FROM (SELECT * EXCLUDE (made), NULL::DATE AS made FROM input_data) x"
        " NATURAL JOIN (SELECT 3 AS id)"
    )
    assert plan.explain().sections[0].note == "reads 1 of 3 columns"
    assert plan.collect(as_="arrow").to_pylist() == [{"id": 3, "made": None, "kind": "DATE"}]


def test_a_further_table_is_read_as_its_own_first_step_needs_it(source: str, tmp_path: Path) -> None:
    more = datapipe.read("items", source=source).sql("SELECT id, upper(name) AS name FROM input_data")
    plan = datapipe.read("SELECT id, name, made FROM items", source=source).sql(
        "SELECT m.name FROM input_data JOIN more m USING (id) WHERE id > 3 ORDER BY 1", more=more
    )
    assert plan.explain().sections[0].note == "reads 1 of 3 columns"
    assert plan.collect()["name"].tolist() == ["ITEM 4", "ITEM 5"]
    whole = datapipe.read(pa.table({"id": [1]})).sql("SELECT name FROM more JOIN input_data USING (id)", more=more)
    assert whole.collect()["name"].tolist() == ["ITEM 1"]


def test_the_number_of_rows_is_that_of_the_files(tmp_path: Path) -> None:
    table = pa.table({"a.b": [1, 2, 3], "a": pa.array([{"b": n, "c": n} for n in "xyz"]), "long": ["text"] * 3})
    pq.write_table(table, tmp_path / "t.parquet")
    read = datapipe.read(str(tmp_path / "t.parquet"))
    assert read.sql('SELECT "a.b" AS n FROM input_data').collect()["n"].tolist() == [1, 2, 3]
    plan = read.sql("SELECT count(*) AS n FROM input_data")
    assert plan.explain().sections[0].note == "reads 2 of 3 columns"  # a.b may be either
    events = []
    plan.write(str(tmp_path / "out.parquet")).run(listeners=[events.append])
    assert {e.total for e in events if e.step == "ingestion" and e.total is not None} == {3}


def test_a_source_that_fails_tells_so_and_one_step_is_told_of_it(source: str) -> None:
    with pytest.raises(PlanError) as caught:
        datapipe.read("itms", source=source).sql("SELECT id FROM input_data").collect()
    assert caught.value.step == "ingestion" and "items" in caught.value.hint
