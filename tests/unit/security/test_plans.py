"""Plans that somebody sends to reach what was not opened to them: each is refused by every route that takes plans.

The rows are those of the security matrix; ``test_matrix.py`` says where each of them is proved.
"""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import pytest
from restside import Answer, Site

from datapipe.errors import PlanError
from datapipe.rest import looking
from datapipe.rest.pipelines import vetted

MODULE = '''
"""Functions that requests may call."""
import os
import subprocess
from os import system
from pathlib import Path as Lent

def clean(df):
    return df

class Kept:
    @staticmethod
    def twice(df):
        return df
'''
ENDLESS = {
    "parentheses": "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
    "unions": "SELECT 1" + " UNION SELECT 1" * 5_000,
    "additions": "SELECT 1 " + "+1" * 10_000,
    "rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS n FROM n",
}
METADATA = (
    "169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "metadata.google.internal", "127.0.0.1",
    "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "10.0.0.1", "LOCALHOST",
    "db.example.evil.example", "db.example@evil.example", "etl.example,evil.example", "etl.example%2eevil",
)  # fmt: skip


@pytest.fixture(scope="module")
def armed(site: Site) -> Site:
    """The site with functions, files, and things worth stealing beside them."""
    (site.folder / "sitefunctions.py").write_text(MODULE)
    sys.path.insert(0, str(site.folder))
    (site.folder / "data" / "numbers.csv").write_text("id\n1\n2\n")
    (site.folder / "outside" / "secret.csv").write_text("id\n42\n")
    (site.folder / "data" / "link").symlink_to(site.folder / "outside")
    (site.folder / "data" / "passwd.csv").symlink_to("/etc/passwd")
    for name in ("source.db", "outside/other.db"):
        with sqlite3.connect(site.folder / name) as conn:
            conn.execute("CREATE TABLE users (id INTEGER, name TEXT)")
            conn.execute("INSERT INTO users VALUES (1, 'ann')")
        conn.close()
    yield site
    sys.path.remove(str(site.folder))
    sys.modules.pop("sitefunctions", None)


def document(ingestion: Any, *steps: Any, into: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"ingestion": ingestion or {"query": "SELECT 1 AS id"}}
    found |= {"transformation": list(steps)} if steps else {}
    return found | ({"persistence": into} if into else {})


def refused(ingestion: Any = None, *steps: Any, into: Any = None) -> str:
    """What is said of a plan that no route takes: all of them have it vetted first."""
    with pytest.raises(PlanError) as caught:
        vetted(document(ingestion, *steps, into=into), {})
    return clean_text(str(caught.value))


def refused_when_looked_at(site: Site, ingestion: Any = None, *steps: Any) -> str:
    """What is said of a plan that is let in, and comes to nothing."""
    answer = site.client().post("/plans/preview", {"pipeline_config": document(ingestion, *steps)})
    assert answer.status == 422, answer.text
    return clean_text(answer.text)


def looked_at(site: Site, *steps: Any) -> Answer:
    return site.client().post("/plans/preview", {"pipeline_config": document(None, *steps)})


def clean_text(text: str) -> str:
    assert "hunter2" not in text and "root:" not in text
    return text


def code(function: str) -> dict[str, Any]:
    return {"type": "code", "config": {"function": function}}


def sql(query: str, **config: Any) -> dict[str, Any]:
    return {"type": "sql", "config": {"sql_query": query, **config}}


def test_what_is_allowed_is_let_through(armed: Site) -> None:
    """Else nothing that follows would mean anything."""
    found = {
        "ingestion": {"files": "numbers.csv"},
        "transformation": [
            code("sitefunctions:clean"),
            code("sitefunctions:Kept.twice"),
            sql("SELECT id FROM input_data"),
        ],
        "persistence": {"path": "out.parquet"},
    }
    answer = armed.client().post("/plans/preview", {"pipeline_config": found})
    assert (answer.status, answer.json()["rows"]) == (200, [{"id": 1}, {"id": 2}])


KINDS = {
    "a server": {"query": "SELECT 1", "source_db_url": "postgresql://u@169.254.169.254/x"},
    "options": {"query": "SELECT 1", "source_db_url": "mysql://u@etl.example/x?local_infile=1"},
    "a variable": {"query": "SELECT 1", "source_db_url": "${SOURCE_DB_URL}"},
    "a database file": {"query": "SELECT 1", "source_db_url": "sqlite:////etc/x.db"},
    "a file": {"files": "/etc/passwd", "format": "csv"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_route_that_takes_a_source_has_it_vetted(kind: str, armed: Site) -> None:
    client = armed.client()
    for path in ("/pipelines", "/plans/explain", "/plans/preview"):
        assert client.post(path, {"pipeline_config": document(KINDS[kind])}).status == 422, path
    assert client.post("/plans/validate", {"pipeline_config": document(KINDS[kind])}).json()["valid"] is False
    assert client.post("/tasks/ingest", KINDS[kind]).status == 422


def test_every_route_that_takes_a_target_or_a_function_has_it_vetted(armed: Site) -> None:
    client, rows = armed.client(), [{"a": 1}]
    for target in (
        {"dest_db_url": "postgresql://u@10.0.0.1/x"},
        {"dest_db_url": "${DEST_DB_URL}"},
        {"path": "/etc/x.csv"},
    ):
        assert client.post("/tasks/persist", {"rows": rows, "table_name": "t", **target}).status == 422
    assert client.post("/tasks/transform", {"rows": rows, **code("os:system")}).status == 422
    schema = {"type": "validate", "config": {"schema": "os:environ"}}
    assert client.post("/tasks/transform", {"rows": rows, **schema}).status == 422
    for path in ("/pipelines", "/plans/explain", "/plans/preview"):
        assert client.post(path, {"pipeline_config": document(None, code("os:system"))}).status == 422


# --- S20: servers that no request may reach ------------------------------------------------------------------------


@pytest.mark.parametrize("host", METADATA)
@pytest.mark.parametrize("port", ["", ":6379", ":5432"])
def test_s20_a_url_reaches_no_server_that_was_not_opened(host: str, port: str, armed: Site) -> None:
    for driver in ("postgresql", "mysql"):
        url = f"{driver}://u@{host}{port}/x"
        assert "ingestion" in refused({"query": "SELECT 1", "source_db_url": url})
        assert "persistence" in refused(into={"table_name": "t", "dest_db_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///x",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql://u@/x?host=127.0.0.1",
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/x",
        "mysql:///x?unix_socket=/run/mysqld/mysqld.sock",
        "mysql://u@etl.example/x?unix_socket=/run/mysqld/mysqld.sock",
        "postgresql://u@etl.example/x?host=169.254.169.254",
        "postgresql://u@etl.example/x?hostaddr=127.0.0.1",
        "postgresql://crm@db.example/crm?host=127.0.0.1&sslmode=require",
        "postgresql://u@etl.example:x/x",
    ],
)
def test_s20_neither_a_socket_nor_an_option_is_a_way_round(url: str, armed: Site) -> None:
    refused({"query": "SELECT 1", "source_db_url": url})
    refused(into={"table_name": "t", "dest_db_url": url})


# --- S21: options of drivers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "local_infile=1", "read_default_file=/etc/passwd", "plugin=evil", "init_command=DROP+TABLE+x", "ssl_ca=/etc/passwd",
        "passfile=/etc/passwd", "service=evil", "sslkey=/etc/passwd", "options=-c%20x", "charset=utf8mb4", "password=x",
    ],
)  # fmt: skip
def test_s21_no_option_of_a_driver_is_taken(options: str, armed: Site) -> None:
    for driver in ("mysql+pymysql", "postgresql+psycopg"):
        said = refused({"query": "SELECT 1", "source_db_url": f"{driver}://u@etl.example/x?{options}"})
        assert "/etc/passwd" not in said


# --- S22, S23: databases that are files, and other dialects --------------------------------------------------------


@pytest.mark.parametrize("driver", ["sqlite", "duckdb", "sqlite+pysqlite"])
@pytest.mark.parametrize(
    "path",
    ["/../outside/other.db", "/link/other.db", "", "/:memory:?x=1", "/x.db?mode=rwc", "/file:/etc/x?uri=true",
     "/file:x.db?mode=memory&uri=true", "/x.db?uri=true", "//etc/passwd", "/x.db?allow_unsigned_extensions=true"],
)  # fmt: skip
def test_s22_no_database_file_outside_the_folders_is_opened_or_made(driver: str, path: str, armed: Site) -> None:
    given = f"{driver}://{path}"
    refused({"query": "SELECT 1", "source_db_url": given})
    refused(into={"table_name": "t", "dest_db_url": given})


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{outside}/other.db' AS o",
        "SELECT 1; ATTACH '{outside}/other.db' AS o",
        "SELECT * FROM pragma_database_list; SELECT 1",
        "PRAGMA writable_schema = 1",
        "SELECT load_extension('/tmp/evil.so')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('{outside}/x', 'y')",
        "SELECT * FROM fsdir('/etc')",
        "VACUUM INTO '{outside}/copy.db'",
    ],
)
def test_s22_a_query_on_sqlite_leaves_its_file_alone(query: str, armed: Site) -> None:
    outside = armed.folder / "outside"
    before = sorted(path.name for path in outside.iterdir())
    refused_when_looked_at(armed, {"query": query.format(outside=outside)})
    assert sorted(path.name for path in outside.iterdir()) == before


@pytest.mark.parametrize("query", ["INSERT INTO users VALUES (9, 'x') RETURNING id", "DELETE FROM users", "DROP TABLE users",
                                   "WITH x AS (SELECT 1) DELETE FROM users RETURNING id"])  # fmt: skip
def test_s3_a_source_is_only_read(query: str, armed: Site) -> None:
    refused_when_looked_at(armed, {"query": query})
    with sqlite3.connect(armed.folder / "source.db") as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (1,)
    conn.close()


@pytest.mark.parametrize(
    "url",
    [
        "oracle://u@etl.example/x", "mssql+pyodbc:///?odbc_connect=DRIVER%3Devil", "snowflake://u@etl.example/x",
        "redis://etl.example:6379/0", "http://etl.example/", "file:///etc/passwd", "gopher://etl.example", "evil://x",
        "x", "://", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_s23_only_known_dialects_are_taken(url: str, armed: Site) -> None:
    refused({"query": "SELECT 1", "source_db_url": url})


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../outside/secret.csv", "link/secret.csv", "link/*.csv", "*/secret.csv", "passwd.csv", "passwd.*",
        "./../outside/secret.csv", "a/../../outside/secret.csv", "~/secret.csv", "~root/.ssh/id_rsa", "/proc/self/environ",
        "file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "s3://bucket/x.csv", "**/**/**/**/**/x",
        ".", "/", "//etc/passwd", "/dev/stdin", "\\\\server\\share", "${HOME}/x", "{x}.csv/../../outside/secret.csv",
    ],
)  # fmt: skip
def test_s19_no_file_outside_the_folders_is_read(path: str, armed: Site) -> None:
    refused_when_looked_at(armed, {"files": path, "format": "csv"})


@pytest.mark.parametrize(
    "path", ["/etc/cron.d/x.csv", "../outside/x.csv", "link/x.parquet", "s3://b/x.parquet", "/dev/null"]
)
def test_s19_no_file_outside_the_folders_is_written(path: str, armed: Site) -> None:
    refused(into={"path": path})


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')", "SELECT * FROM read_blob('http://169.254.169.254/')", "ATTACH '/tmp/x.db'",
        "COPY (SELECT 1) TO '/tmp/x'", "INSTALL httpfs", "LOAD httpfs", "SET enable_external_access=true",
        "SELECT getenv('HOME')", "SELECT 1; SELECT 2", "CREATE TABLE x (a INT)", "SELECT * FROM site", "PRAGMA database_list",
        "EXPORT DATABASE '/tmp/x'", "SELECT * FROM duckdb_secrets()", "SELECT * FROM sniff_csv('/etc/passwd')",
    ],
)  # fmt: skip
def test_s5_s6_s7_sql_of_a_step_reaches_nothing_but_its_input(query: str, armed: Site) -> None:
    site = [{"SECRET": 42}]  # S6: a variable of the program is no table
    answer = armed.client().post(
        "/plans/preview",
        {"pipeline_config": {"ingestion": {"query": "SELECT 1 AS id"}, "transformation": [sql(query)]}},
    )
    if query == "SELECT * FROM duckdb_secrets()":
        assert answer.status == 422 or answer.json()["rows"] == [], "there are none"
    elif "getenv" in query:
        assert answer.status == 422
    else:
        assert answer.status == 422, answer.text
    assert "root:" not in answer.text and site


@pytest.mark.parametrize(
    "expression",
    [
        "@pd.io.common.os.popen('id').read()", "__import__('os').system('id')", "(SELECT content FROM read_text('/etc/passwd'))",
        "1 FROM input_data; DROP TABLE x", "1) FROM read_csv('/etc/passwd') --", "getenv('HOME')", "id /* */ ; SELECT 1",
        "{id.__class__}", "read_text('/etc/passwd')",
    ],
)  # fmt: skip
def test_s8_s42_an_expression_is_one_expression_of_sql(expression: str, armed: Site) -> None:
    for config in ({"add_columns": {"x": expression}}, {"filter": expression}):
        refused_when_looked_at(armed, None, {"type": "config", "config": config})


# --- functions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        "os:system", "subprocess:run", "builtins:eval", "sitefunctions:system", "sitefunctions:os.system",
        "sitefunctions:subprocess.run", "sitefunctions:Lent.cwd", "sitefunctions:clean.__globals__",
        "sitefunctions:clean.__class__", "sitefunctions:Kept.__init__.__globals__", "sitefunctions:__builtins__",
        "sitefunctions:clean.__code__.co_consts", "sitefunctions:__import__", "sitefunctions.evil:x", "sitefunctions",
        "sitefunctionsX:clean", "../sitefunctions:clean", "sitefunctions:", ":clean", "datapipe.settings:settings",
        "sitefunctions:clean()", "sitefunctions:Kept.__mro__", "sitefunctions:nothing", "os:path.join", "",
    ],
)  # fmt: skip
def test_s9_only_functions_of_allowed_modules_are_called(function: str, armed: Site) -> None:
    refused(None, code(function))
    refused(
        armed,
        None,
        sql(
            "SELECT 1 AS a", tables={"t": {"ingestion": {"query": "SELECT 1 AS a"}, "transformation": [code(function)]}}
        ),
    )


@pytest.mark.parametrize(
    "schema", ["os:environ", "sitefunctions:os.environ", "subprocess:Popen", "/etc/passwd", "x.yaml"]
)
def test_s9_a_schema_is_no_way_round(schema: str, armed: Site) -> None:
    refused(None, {"type": "validate", "config": {"schema": schema}})
    refused(None, {"type": "validate", "config": {"checks": [{"function": schema}]}})


# --- variables and secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["${SOURCE_DB_URL}", "${PATH}", "postgresql://u:${PGPASSWORD}@etl.example/x",
                                 "postgresql://${X}@db.example/crm", "sqlite:///${HOME}/x.db"])  # fmt: skip
def test_s12_no_variable_of_the_environment_is_named(url: str, armed: Site) -> None:
    refused({"query": "SELECT 1", "source_db_url": url})
    refused(into={"table_name": "t", "dest_db_url": url})


def test_s12_a_reference_in_a_value_is_a_text(armed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_TOKEN", "hunter2hunter2")
    body = {
        "pipeline_config": {
            "ingestion": {"query": "SELECT :a AS a, :b AS b", "parameters": {"a": "${CANARY_TOKEN}", "b": ""}}
        },
        "parameters": {"b": "secret:CANARY_TOKEN"},
    }
    answer = armed.client().post("/plans/preview", body)
    assert answer.json()["rows"] == [{"a": "${CANARY_TOKEN}", "b": "secret:CANARY_TOKEN"}]


@pytest.mark.parametrize("place", ["source", "destination"])
@pytest.mark.parametrize(
    "name", ["nothing", "${CRM}", "../crm", "postgresql://crm@db.example/crm", "secret:CRM", "__class__"]
)
def test_s12_a_name_is_that_of_a_connection(place: str, name: str, armed: Site) -> None:
    config: dict[str, Any] = {"ingestion": {"query": "SELECT 1"}}
    if place == "source":
        config["ingestion"]["source"] = name
    else:
        config["persistence"] = {"table_name": "t", "destination": name}
    answer = armed.client().post("/plans/explain", {"pipeline_config": config})
    assert answer.status == 422, answer.text


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ['f8"; drop table users; --', "users'; --", 'a.b"."c', "users; DELETE FROM users", "x" * 300,
                                  "pg_catalog.pg_authid", "\u202eusers", "users -- "])  # fmt: skip
def test_s1_s2_a_name_is_a_name(name: str, armed: Site) -> None:
    for config in (
        {"ingestion": {"table": name}},
        {"ingestion": {"query": "SELECT 1 AS id"}, "persistence": {"table_name": name}},
        {
            "ingestion": {"query": "SELECT 1 AS id"},
            "transformation": [{"type": "config", "config": {"rename": {"id": name}}}],
        },
    ):
        answer = armed.client().post("/plans/preview", {"pipeline_config": config})
        assert answer.status in {200, 422}, answer.text
    with sqlite3.connect(armed.folder / "source.db") as conn:
        assert conn.execute("SELECT name FROM users").fetchall() == [("ann",)]
    conn.close()


# --- sizes ---------------------------------------------------------------------------------------------------------


def test_s7_s27_ten_thousand_filters_are_no_crash(armed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_SECONDS", 1.0)
    for filters in ({f"c{number}": number for number in range(10_000)}, {"id": list(range(10_000))}):
        answer = looked_at(armed, {"type": "config", "config": {"filter": filters}})
        assert answer.status in {200, 422, 503}, answer.text[:500]


@pytest.mark.parametrize("query", ENDLESS.values(), ids=ENDLESS)
def test_s7_s27_a_query_without_end_is_stopped(query: str, armed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_SECONDS", 1.0)
    for config in ({"ingestion": {"query": query}}, document(None, sql(query))):
        answer = armed.client().post("/plans/preview", {"pipeline_config": config})
        assert answer.status in {200, 422, 503}, answer.text[:500]
        assert answer.status != 503 or "took longer than 1 s" in answer.text
        assert len(answer.text) < 10_000, "and what was sent is not all told again"


def test_s27_steps_without_end_are_stopped(armed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_SECONDS", 1.0)
    answer = looked_at(armed, *[sql("SELECT * FROM input_data")] * 500)
    assert answer.status == 503 and "took longer than 1 s" in answer.text


def test_s33_a_pattern_cannot_run_away(armed: Site) -> None:
    step = sql("SELECT regexp_matches(repeat('a', 5000) || '!', '^(a+)+$') AS x FROM input_data")
    config = {"ingestion": {"query": "SELECT 1 AS id"}, "transformation": [step]}
    answer = armed.client().post("/plans/preview", {"pipeline_config": config})
    assert answer.json()["rows"] == [{"x": False}]
