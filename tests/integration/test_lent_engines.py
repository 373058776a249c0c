"""Engines the caller lends: their session, their pool and their one connection are respected."""

import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

import datapipe


@pytest.fixture
def lend(postgresql_url):
    engines = []

    def make(**options):
        url = sa.make_url(postgresql_url).set(drivername="postgresql+psycopg")
        engines.append(sa.create_engine(url, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def test_reading_sees_what_the_engines_sessions_see(postgresql_url, lend):
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA s2; CREATE TABLE public.tt AS SELECT 1 AS a; CREATE TABLE s2.tt AS SELECT 2 AS a")
    engine = lend()

    @sa.event.listens_for(engine, "connect")
    def choose(raw, _record):
        raw.execute("SET search_path TO s2")
        raw.commit()

    assert datapipe.read("SELECT * FROM tt", source=engine).collect()["a"].tolist() == [2]


def test_one_connection_is_enough_for_source_and_target(lend):
    engine = lend(pool_size=1, max_overflow=0, pool_timeout=2)
    plan = datapipe.read("SELECT g AS id FROM generate_series(1, 50000) g", source=engine).write("t", to=engine)
    assert plan.run().rows_written == 50_000
    assert plan.run().rows_written == 50_000


def test_one_sqlite_connection_as_source_and_target():
    engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    datapipe.read(pd.DataFrame({"id": range(10)})).write("a", to=engine).run()
    for _ in range(5):
        datapipe.read("a", source=engine).write("b", to=engine).run()
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT COUNT(*) FROM b").scalar() == 50
    engine.dispose()


@pytest.mark.parametrize("checked", [0, 1])
def test_a_sqlite_connection_comes_back_as_it_was(checked):
    engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.connect() as conn:
        conn.exec_driver_sql(f"PRAGMA foreign_keys = {checked}")
    datapipe.read(pd.DataFrame({"id": range(10)})).write("a", to=engine).run()
    with engine.connect() as conn:
        assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar() == checked
    engine.dispose()


def test_a_list_is_an_array_parameter(postgresql_url):
    sql = "SELECT g AS id FROM generate_series(1, 9) g WHERE g = ANY(:ids)"
    found = datapipe.read(sql, source=postgresql_url, params={"ids": [2, 3]}).collect()
    assert found["id"].tolist() == [2, 3]


def test_a_numpy_number_is_a_number(postgresql_url):
    low = pd.Series([5]).max()
    plan = datapipe.read("SELECT 7 AS id WHERE 7 > :low", source=postgresql_url, params={"low": low})
    assert plan.collect()["id"].tolist() == [7] and '"low": 5' in plan.to_json()
