"""Every recipe, run for real; its rows read with the database's own client."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow.parquet
import pytest

import datapipe
from datapipe.data.connections import shared
from datapipe.notebooks.job import NotebookJob

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path for path in ROOT.glob("recipes/*") if path.suffix in {".py", ".yaml"})


@pytest.fixture
def url(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database with the sample tables in one schema; the URL leads to another schema, the target."""
    target = urlsplit(postgresql_url)._replace(query="options=-csearch_path%3Dtarget").geturl()
    with psycopg.connect(postgresql_url) as conn:
        conn.execute((ROOT / "datapipe" / "local" / "sample.sql").read_text(encoding="utf-8"))
        conn.execute("CREATE SCHEMA target")
    for name in [name for name in os.environ if name.startswith("DATAPIPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SOURCE_DB_URL", postgresql_url)
    monkeypatch.setenv("DEST_DB_URL", target)
    monkeypatch.chdir(tmp_path)
    yield target
    shared().dispose()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(query.encode()).fetchall()


def recipe(name: str) -> datapipe.Pipeline:
    found = datapipe.load(ROOT / "recipes" / name)
    assert isinstance(found, datapipe.Pipeline)
    return found


def test_upsert_users(url: str) -> None:
    plan = recipe("upsert_users.yaml")
    assert plan.run().rows_written == 3
    with psycopg.connect(os.environ["SOURCE_DB_URL"]) as conn:
        conn.execute("UPDATE users SET status = 'left' WHERE id = 4")
    assert plan.bind(since="2024-02-28").run().rows_written == 1
    assert rows(url, "SELECT id, status FROM users_copy ORDER BY id") == [(2, "active"), (3, "left"), (4, "left")]


def test_clean_users(url: str) -> None:
    recipe("clean_users.yaml").run()
    assert rows(url, "SELECT id, full_name, email, created_year FROM clean_users ORDER BY id") == [
        (1, "Ada Lovelace", "Ada@Example.org", 2023),
        (2, "Grace Hopper", "grace@example.org", 2024),
        (4, "Edsger Dijkstra", "EDSGER@example.org", 2024),
    ]


def test_check_orders(url: str) -> None:
    result = recipe("check_orders.yaml").run()
    assert (result.rows_written, result.rejected) == (4, 1)
    assert rows(url, "SELECT id FROM checked_orders ORDER BY id") == [(1,), (2,), (3,), (5,)]
    assert rows(url, "SELECT row_number, check_name FROM _datapipe.rejects") == [(4, "in_range(0, 50)")]


def test_load_csv(url: str) -> None:
    folder = Path("data/readings")
    folder.mkdir(parents=True)
    (folder / "2024-01.csv").write_text("station,measured_at,celsius\n007,2024-01-31 12:00:00,-3.50\n")
    (folder / "2024-02.csv").write_text(
        "station,measured_at,celsius\n007,2024-02-01 12:00:00,1.25\n008,2024-02-01 12:00:00,\n"
    )
    plan = recipe("load_csv.py")
    plan.run()
    plan.run()
    assert rows(url, "SELECT * FROM readings ORDER BY measured_at") == [
        ("007", dt.datetime(2024, 1, 31, 12), Decimal("-3.50")),
        ("007", dt.datetime(2024, 2, 1, 12), Decimal("1.25")),
    ]


def test_export_parquet(url: str) -> None:
    recipe("export_parquet.yaml").bind(since="2024-03-02").run()
    table = pyarrow.parquet.read_table("out/orders.parquet")
    assert table.schema.field("amount").type == pyarrow.decimal128(10, 2)
    assert table.select(["id", "customer"]).to_pylist() == [
        {"id": 4, "customer": "Edsger Dijkstra"},
        {"id": 5, "customer": " Grace Hopper "},
    ]


def test_join_two_databases(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect("shop.db") as shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER, amount DECIMAL(10, 2))")
        shop.executemany("INSERT INTO orders VALUES (?, ?, ?)", [(1, 1, 20), (2, 1, 5.25), (3, 4, 70), (4, 9, 1)])
    shop.close()
    monkeypatch.setenv("DATAPIPE_CONNECTION_SHOP", "sqlite:///shop.db")
    recipe("join_two_databases.py").run()
    assert rows(url, "SELECT id, orders, turnover FROM turnover ORDER BY id") == [
        (1, 2, Decimal("25.25")),
        (2, 0, Decimal("0.00")),
        (4, 1, Decimal("70.00")),
    ]


def test_daily_totals(url: str) -> None:
    plan = recipe("daily_totals.py")
    plan.run()
    plan.run()
    assert rows(url, "SELECT day, orders, total, change FROM daily_totals ORDER BY day") == [
        (dt.date(2024, 3, 1), 3, Decimal("35.00"), None),
        (dt.date(2024, 3, 2), 2, Decimal("100.00"), Decimal("65.00")),
    ]


def test_daily_report(url: str) -> None:
    with psycopg.connect(os.environ["SOURCE_DB_URL"]) as conn:
        conn.execute("CREATE SCHEMA flights")
        conn.execute("CREATE SCHEMA mart")
        conn.execute("CREATE TABLE flights.flights (year int, month int, day int, origin text, dep_delay float)")
        conn.cursor().executemany(
            "INSERT INTO flights.flights VALUES (2013, 5, %s, %s, %s)",
            [(1, "EWR", 5), (1, "EWR", 20), (1, "JFK", None), (1, "LGA", 16), (2, "EWR", 1)],
        )
    Path("notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "06-daily-job.ipynb", "notebooks")
    job = datapipe.load(ROOT / "recipes" / "daily_report.yaml")
    assert isinstance(job, NotebookJob)
    result = job.bind(day="2013-05-01").run()
    assert (result.outputs["rows"], result.outputs["flights"]) == (3, 4)
    assert result.outputs["report"].read()["late"].tolist() == [1, 0, 1]
    assert rows(url, "SELECT origin, flights, cancelled FROM mart.daily_report ORDER BY origin") == [
        ("EWR", 2, 0),
        ("JFK", 1, 1),
        ("LGA", 1, 0),
    ]


def test_a_document_calls_the_function_of_a_recipe(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    Path("totals.yaml").write_text(
        """
        ingestion: {query: "SELECT placed_at AS day, amount AS total FROM orders WHERE id < 3"}
        transformation: {type: code, config: {function: "recipes.daily_totals:compare"}}
        persistence: {table_name: totals}
        """
    )
    datapipe.load("totals.yaml").run()
    assert rows(url, "SELECT change FROM totals ORDER BY day") == [(None,), (Decimal("-10.01"),)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_is_tested_listed_and_names_no_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the user stands
    assert f"test_{path.stem}" in globals()
    assert f"({path.name})" in (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    assert f"datapipe run recipes/{path.name}" in text
    assert "postgresql://" not in text
    assert datapipe.load(path).plan.name == path.stem


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 5
