"""The code the design shows, as written, on PostgreSQL and on SQLite."""

import json

import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa

import datapipe
from datapipe.data.connections import shared
from datapipe.ingestion import BatchIngestor, ConnectionManager
from datapipe.persistence import BatchWriter, WriteStrategy
from datapipe.transformation import CodeTransformer, ConfigTransformer, SQLTransformer

USERS = """
CREATE TABLE users (id integer PRIMARY KEY, name varchar(40), email varchar(60), status varchar(10), created_at timestamp);
INSERT INTO users VALUES
  (1, ' ann ', 'ANN@example.org', 'active', '2024-02-03 04:05:06'),
  (2, 'bob', 'Bob@Example.org', 'gone', '2024-05-06 07:08:09'),
  (3, 'cid', NULL, 'active', '2023-01-01 00:00:00');
"""


def clean_data(df):
    df["name"] = df["name"].str.strip()
    df["email"] = df["email"].str.lower()
    return df


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request):
    found = request.getfixturevalue(f"{request.param}_url")
    engine = shared().engine(found)
    with engine.begin() as conn:
        for statement in USERS.strip().split(";\n"):
            conn.exec_driver_sql(statement.rstrip(";"))
    yield found
    engine.dispose()


def rows(url, sql):
    with shared().engine(url).connect() as conn:
        return [tuple(row) for row in conn.execute(sa.text(sql))]


def test_the_fluent_pipeline(url, tmp_path):
    plan = (
        datapipe.read("SELECT * FROM users WHERE created_at > :start", source=url, params={"start": "2024-01-01"})
        .sql("SELECT id, UPPER(name) AS name FROM input_data")
        .apply(clean)
        .transform({"rename": {"name": "full_name"}})
        .write("users_staging", to=url, strategy="upsert", keys=["id"])
    )
    assert "upsert by id into table users_staging" in repr(plan) and "<table" in plan._repr_html_()
    explained = str(plan.explain())
    for part in ("SELECT * FROM users WHERE created_at", "UPPER(name)", "CREATE TABLE", "ON CONFLICT"):
        assert part in explained
    shown = plan.preview(20)
    assert shown.frame["full_name"].tolist() == ["ANN", "BOB"] and not shown.sampled
    result = plan.run()
    assert result.state == "succeeded" and result.rows_written == 2
    assert plan.run().rows_written == 2
    assert rows(url, "SELECT id, full_name FROM users_staging ORDER BY id") == [(1, "ANN"), (2, "BOB")]
    document = tmp_path / "users.yaml"
    document.write_text(plan.to_yaml())
    assert datapipe.load(document) == plan
    assert json.loads(plan.to_json())["persistence"]["strategy"] == "upsert"
    assert result.to_dict()["ingestion"] == {"row_count": 2}
    assert result.to_dict()["transformation"]["row_count"] == 2
    assert result.to_dict()["persistence"]["rows_written"] == 2
    assert len(result.versions) == 3


def clean(df):
    df["name"] = df["name"].str.strip()
    return df


def test_the_classes_alone(url, tmp_path):
    df = BatchIngestor(database_url=url).ingest("SELECT * FROM users")
    assert len(df) == 3
    assert [len(part) for part in BatchIngestor(database_url=url).stream("users", batch_size=2)] == [2, 1]
    out = SQLTransformer(database_url="sqlite:///:memory:").transform(
        df, "SELECT id, UPPER(name) as name_upper FROM input_data"
    )
    assert out["name_upper"].tolist() == [" ANN ", "BOB", "CID"]
    assert SQLTransformer().transform(df, "SELECT id, UPPER(name) as name_upper FROM input_data").equals(out)
    n = BatchWriter(database_url=url).write(out, "users_staging", strategy=WriteStrategy.UPSERT, upsert_keys=["id"])
    assert n == 3
    assert rows(url, "SELECT count(*) FROM users_staging") == [(3,)]

    cleaned = CodeTransformer().transform(df, clean_data)
    assert cleaned["name"].tolist() == ["ann", "bob", "cid"]
    assert cleaned["email"].tolist()[:2] == ["ann@example.org", "bob@example.org"]
    assert df["name"].tolist() == [" ann ", "bob", "cid"]

    (tmp_path / "transform_config.yaml").write_text(
        "select:\n  - id\n  - name\n  - email\nrename:\n  name: full_name\nfilter:\n  status: active\n"
        'add_columns:\n  created_year: "EXTRACT(YEAR FROM created_at)"\n'
    )
    result = ConfigTransformer(config=tmp_path / "transform_config.yaml").transform(df)
    assert list(result.columns) == ["id", "full_name", "email", "created_year"]
    assert result["created_year"].tolist() == [2024, 2023]
    manager = ConnectionManager()
    assert manager.health_check(url)
    manager.dispose()


def test_the_specifications_document(postgresql_url):
    with psycopg.connect(postgresql_url) as conn:
        conn.execute(USERS)
    config = {
        "ingestion": {
            "query": "SELECT * FROM users WHERE created_at > :start_date",
            "source_db_url": postgresql_url,
            "parameters": {"start_date": "2024-01-01"},
        },
        "transformation": {
            "type": "sql",
            "config": {"sql_query": "SELECT id, UPPER(name) as name_upper FROM input_data"},
        },
        "persistence": {
            "table_name": "users_staging",
            "strategy": "upsert",
            "upsert_keys": ["id"],
            "dest_db_url": postgresql_url,
        },
    }
    result = datapipe.Pipeline(datapipe.Plan.model_validate(config)).run()
    assert result.rows_written == 2


def test_frames_go_in_and_come_out(url):
    import polars as pl

    frame = pd.DataFrame({"id": [1, 2], "amount": [1.5, 2.5]})
    kept = frame.copy()
    names = pl.DataFrame({"id": [1, 2], "name": ["ann", "bob"]})
    plan = datapipe.read(frame).sql(
        "SELECT name, amount * :factor AS amount FROM input_data JOIN names USING (id)",
        {"factor": 2},
        names=names,
    )
    assert plan.collect()["amount"].tolist() == [3.0, 5.0]
    assert isinstance(plan.collect("polars"), pl.DataFrame)
    plan.write("amounts", to=shared().engine(url)).run()
    assert rows(url, "SELECT name, amount FROM amounts ORDER BY name") == [("ann", 3.0), ("bob", 5.0)]
    assert frame.equals(kept)
