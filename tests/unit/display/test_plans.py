"""Plans as cards and as text: true, safe, small, and nothing is executed to show one."""

import re
import socket
import threading

import pandas as pd
import polars as pl

import datapipe
from datapipe.display import plan_html, plan_text
from datapipe.display.advice import warnings
from datapipe.display.engines import engines
from datapipe.plan import FunctionRef, parse

PLAN = (
    datapipe.read("SELECT * FROM users", source="postgresql://ann:s3cret@db.example:5432/crm")
    .sql("SELECT *\nFROM input_data JOIN names USING (id)", names=pd.DataFrame({"id": [1]}))
    .apply("textwrap:dedent", per_batch=True)
    .transform({"rename": {"a": "<b>x</b>"}})
    .write("mart.users", to="sqlite:///crm.db", strategy="upsert", keys=["id"])
    .named("users_daily")
)
MALICIOUS = "<script>alert('&')</script>\"" * 400


def clean(frame: pl.DataFrame):
    return frame


def test_text_names_places_and_steps_and_no_password():
    text = plan_text(PLAN.plan)
    for part in (
        "Plan users_daily",
        "a query on db.example:5432/crm",
        "SELECT * FROM input_data JOIN names USING (id) [with names]",
        "textwrap:dedent per batch",
        "upsert by id into table mart.users on sqlite crm.db",
    ):
        assert part in text
    assert "s3cret" not in text and "test_plans.py:" in repr(PLAN) and "test_plans.py:" not in text


def test_text_is_aligned_and_fits_a_terminal():
    columns = ((("id", "bigint"), ("name", "text")), None, (("id", "bigint"),))
    lines = plan_text(PLAN.plan, ("a.py:1", "x" * 90 + ".py:22", "In[3]:1"), columns).splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) == 6
    assert lines[1].index("a.py:1") == lines[3].index("In[3]:1") and lines[1].endswith("-> 2 columns")
    assert lines[2].endswith("x.py:22") and lines[3].endswith("-> 1 column")


def test_html_says_what_where_and_by_what():
    html = PLAN._repr_html_()
    assert (
        "Plan users_daily</b> · 3 transformations · nothing is executed before .run()" in html
        and '<img src="data:image/svg+xml;base64,' in html
    )
    assert 'alt="Plan: read a query on db.example:5432/crm, 1 sql with names' in html
    for part in ("PostgreSQL", "DuckDB", "Python (pandas)", "SQLite", "written", "1 sql", "test_plans.py:20"):
        assert part in html
    assert "s3cret" not in html


def test_html_is_escaped_and_survives_a_sanitiser():
    html = PLAN._repr_html_()
    assert "&lt;b&gt;x" in html and "<b>x" not in html
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {
        *("div", "b", "br", "pre", "img", "details", "summary", "table", "thead", "tbody", "tr", "th", "td")
    }
    assert not re.search(r"<[^>]* (?:id|role|aria-|data-|on\w+)=?", html)
    assert "var(" not in html and ";color:" not in html


def test_a_card_is_never_large():
    plan = datapipe.read(f"SELECT '{MALICIOUS.replace(chr(39), chr(34))}' AS a", source="crm")
    for number in range(60):
        plan = plan.sql(f'SELECT *, {number} AS "{MALICIOUS.replace(chr(34), "")}" FROM input_data')
    plan = plan.validate({"columns": {f"<c{n}>" * 50: {"type": "int"} for n in range(100)}})
    columns = [tuple((f"<&{n}>" * 100, "text") for n in range(500))] * 62
    places = ["<&>" * 200] * 62
    html = plan_html(plan.write("<&>" * 300, to="w").named("<&>" * 300).plan, places, columns)
    assert len(html.encode()) < 50_000 and "<script" not in html and "further steps" in html and "more" in html
    assert max(map(len, plan_text(plan.plan, places, columns).splitlines())) <= 100


def test_long_sql_is_cut_and_long_lines_are_broken():
    html = datapipe.read("users").sql(f"SELECT '{'x' * 5_000}' AS a FROM input_data")._repr_html_()
    assert "x" * 3_900 in html and "x" * 4_001 not in html and "more characters" in html
    html = datapipe.read("users").sql(f"SELECT {'a' * 70} FROM input_data WHERE b > 1")._repr_html_()
    assert f"SELECT {'a' * 70}\nFROM input_data\nWHERE b &gt; 1" in html


def test_columns_and_what_changed():
    columns = ((("a", "bigint"), ("b", "text")), (("a", "bigint"), ("<c>", "text"), ("d", "date")), None)
    html = plan_html(PLAN.plan, columns=columns)
    assert "<summary>2 columns</summary>a bigint<br>b text" in html
    assert "<summary>3 columns (+2 −1)</summary>a bigint<br>&lt;c&gt; text" in html  # noqa: RUF001  # as shown
    assert ">–</td>" in html  # noqa: RUF001  # as shown
    wide = plan_html(PLAN.plan, columns=(tuple((f"c{n}", "text") for n in range(30)),))
    assert "c19 text<br>and 10 more" in wide and "c20 text" not in wide


def test_contract_mapping_and_target_are_in_full():
    plan = datapipe.read("users").validate({"columns": {"id": {"type": "int", "unique": True}}}, checks=["id > 0"])
    html = plan.write("t", strategy="upsert", keys="id", latest="at", schema_mode="evolve")._repr_html_()
    for part in ("the contract", "unique: true", "id &gt; 0", "how the table may change", "latest: at"):
        assert part in html


def test_engines_are_what_executes():
    plan = (
        datapipe.read("users", source="mariadb://h/db")
        .apply(clean)
        .apply("no.such.module:f")
        .validate({"columns": {"a": {"type": "int"}}})
        .validate({"columns": {"a": {"unique": True}}}, checks=["a > 0"])
        .validate("no.such.module:Schema")
        .write("out.jsonl")
    )
    assert engines(plan.plan) == (
        "MariaDB", "Python (polars)", "Python", "Arrow", "Arrow + DuckDB", "Pandera + Arrow", "DuckDB",
    )  # fmt: skip
    assert engines(datapipe.read("a.csv.gz").write("t", to="duckdb:///x.db").plan) == ("DuckDB", "DuckDB")
    assert engines(datapipe.read(pl.DataFrame({"a": [1]})).plan) == ("polars",)


def test_named_connections_are_looked_up(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_SHOP", "mysql://ann:s3cret@h/shop")
    monkeypatch.delenv("DEST_DB_URL", raising=False)
    plan = datapipe.read("users", source="shop").write("t")
    assert engines(plan.plan) == ("MySQL", "a database") and "s3cret" not in plan._repr_html_()


def test_warnings_are_true_and_not_more(monkeypatch):
    monkeypatch.delenv("DATAPIPE_SIGNING_KEY", raising=False)
    plan = datapipe.read(pd.DataFrame({"a": [1]})).apply(lambda frame: frame)
    assert [text.partition(":")[0].partition(" gets")[0] for text in warnings(plan.plan)] == [
        "test_warnings_are_true_and_not_more.<locals>.<lambda>",
        "runs here, and cannot be submitted to workers as it is",
        "no target yet",
    ]
    held = "a pandas DataFrame in memory, the function test_warnings_are_true_and_not_more.<locals>.<lambda>"
    assert warnings(plan.plan)[1].endswith(f"only this process has {held}")
    assert "⚠ no target yet" in plan._repr_html_()
    assert warnings(datapipe.read("users").apply("m:f", per_batch=True).write("t").plan) == ()
    monkeypatch.setenv("DATAPIPE_SIGNING_KEY", "k" * 64)
    assert not any("the function" in text for text in warnings(plan.plan))


def test_showing_executes_nothing(monkeypatch):
    """No socket, no thread, no import of the user's modules."""

    def forbidden(*_, **__):
        raise AssertionError("a plan was executed to be shown")

    plan = parse(
        {
            "ingestion": {"table": "users", "source_db_url": "postgresql://ann@127.0.0.1:1/crm"},
            "transformation": [
                {"type": "code", "config": {"function": "no_such_module_at_all:clean"}},
                {"type": "sql", "config": {"sql_query": "SELECT no_such_column FROM input_data"}},
            ],
            "persistence": {"table_name": "t", "dest_db_url": "mysql://ann@127.0.0.1:1/crm"},
        }
    )
    shown = datapipe.Pipeline(plan)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(threading.Thread, "start", forbidden)
    monkeypatch.setattr(FunctionRef, "resolve", forbidden)
    assert "no_such_module_at_all:clean" in repr(shown) and "no_such_module_at_all:clean" in shown._repr_html_()


def test_a_url_in_a_query_is_shown_without_its_password():
    plan = datapipe.read("users").sql("SELECT 'https://ann:s3cret@host/x' AS u FROM input_data")
    for shown in (repr(plan), plan._repr_html_()):
        assert "https://ann:…@host/x" in shown and "s3cret" not in shown
