"""Pooled engines: one per URL and process; passwords from this process's own connections."""

import os
import sys
import warnings

import psycopg
import pytest
import sqlalchemy as sa

from datapipe.data.connections import ConnectionManager, complete, resolve, to_url
from datapipe.data.pgbackend import psycopg_of
from datapipe.errors import FatalError, PlanError, TransientError
from datapipe.plan import DatabaseUrl
from datapipe.settings import connections as settings_module


@pytest.fixture(autouse=True)
def _empty(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_module, "_connections", {})
    for name in ("SOURCE_DB_URL", "DEST_DB_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def manager():
    made = ConnectionManager(pool_size=2, max_overflow=3)
    yield made
    made.dispose()


def test_one_engine_per_url(manager, tmp_path):
    first, second = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    assert manager.engine(first) is manager.engine(first) is not manager.engine(second)
    assert manager.engine("postgresql://u:p@h/d") is not manager.engine("postgresql://u:q@h/d")


def test_a_lent_engine_is_not_disposed(manager):
    lent = sa.create_engine("sqlite://")
    with lent.connect() as conn:
        conn.exec_driver_sql("CREATE TABLE t (a)")
        conn.commit()
    assert manager.engine(lent) is lent
    manager.dispose()
    with lent.connect() as conn:
        assert conn.exec_driver_sql("SELECT COUNT(*) FROM t").scalar() == 0
    lent.dispose()


def test_postgresql_always_means_psycopg_3(manager):
    for text in ("postgresql://h/d", "postgres://h/d", "postgresql+psycopg2://h/d"):
        assert manager.engine(text).driver == "psycopg"


def test_an_engine_of_another_driver_is_named():
    engine = sa.create_engine("sqlite://")
    with engine.connect() as conn, pytest.raises(PlanError, match="the engine's driver is pysqlite"):
        psycopg_of(conn, DatabaseUrl("postgresql://h/d", engine=engine))
    engine.dispose()


def test_health_check(manager):
    assert manager.health_check("sqlite://")
    assert not manager.health_check("postgresql://u@127.0.0.1:1/d")


def test_an_unreachable_server_is_transient_and_the_password_stays_away(manager):
    with pytest.raises(TransientError) as caught, manager.connect("postgresql://ann:s3cret@127.0.0.1:1/d"):
        pass
    assert "127.0.0.1:1/d" in str(caught.value) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize("idle", [0, 60])
def test_a_pooled_connection_that_the_server_has_ended_is_replaced(manager, postgresql_url, idle, monkeypatch):
    found = []
    for _ in range(2):
        with manager.connect(postgresql_url) as conn:
            found.append(conn.scalar(sa.text("SELECT pg_backend_pid()")))
        with psycopg.connect(postgresql_url) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (found[-1],))
        monkeypatch.setattr("datapipe.data.connections._FRESH", 5.0 - idle)
    assert found[0] != found[1]


def test_a_missing_database_is_fatal(manager, postgresql_server):
    url = sa.make_url(postgresql_server).set(database="no_such_database").render_as_string(hide_password=False)
    with pytest.raises(FatalError, match="no_such_database"), manager.connect(url):
        pass


def test_unknown_drivers_and_missing_libraries_say_what_to_do(manager, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)  # as if it were not installed
    with pytest.raises(PlanError, match="no database driver is called 'nosuch'"):
        manager.engine("nosuch://h/d")
    with pytest.raises(PlanError, match=r"pip install .*mysql"):
        manager.engine("mysql://h/d")


def test_a_forked_child_gets_engines_of_its_own(manager, tmp_path):
    parent = manager.engine(f"sqlite:///{tmp_path}/a.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of the test run
        child = os.fork()
    if not child:
        os._exit(0 if manager.engine(f"sqlite:///{tmp_path}/a.db") is not parent else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_travelled_url_gets_its_password_from_our_own_connection(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_BROKEN", "${NO_SUCH_VARIABLE}")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "postgresql+psycopg://ann:s3cret@db:5432/crm")
    found = complete(DatabaseUrl.parse("postgresql://ann@db:5432/crm"))
    assert to_url(found).password == "s3cret" and "s3cret" not in repr(found)
    for text in ("postgresql://ann@db/crm", "postgres://ann@DB/crm", "postgresql+psycopg://ann@db:5432/crm"):
        assert to_url(complete(DatabaseUrl.parse(text))).password == "s3cret"
    other = complete(DatabaseUrl.parse("postgresql://ann@db:5432/other"))
    assert to_url(other).password is None


def test_resolve_takes_a_url_a_name_or_the_default(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "sqlite:///crm.db")
    monkeypatch.setenv("DEST_DB_URL", "sqlite:///dest.db")
    ask = {"default": "DEST_DB_URL", "step": "persistence"}
    assert resolve(None, "crm", **ask).safe == "sqlite:///crm.db"
    assert resolve(None, None, **ask).safe == "sqlite:///dest.db"
    assert resolve(DatabaseUrl.parse("${DEST_DB_URL}"), None, **ask).safe == "sqlite:///dest.db"
    with pytest.raises(PlanError, match=r"ingestion: no database is named\. Give source= or set SOURCE_DB_URL"):
        resolve(None, None, default="SOURCE_DB_URL", step="ingestion")


def test_a_dead_postgresql_is_noticed_unless_the_url_says_otherwise(manager, postgresql_url, monkeypatch):
    monkeypatch.setenv("DATAPIPE_NETWORK_TIMEOUT", "12")
    with manager.connect(f"{postgresql_url}?connect_timeout=7") as conn:
        found = conn.connection.driver_connection.info.get_parameters()
    assert found["connect_timeout"] == "7"
    assert found["tcp_user_timeout"] == "12000"
    assert found["keepalives_idle"] == "6"
    manager.dispose()


def test_a_named_connection_has_a_pool_of_its_own(manager, monkeypatch):
    url = "postgresql://etl:pw@127.0.0.1:1/crm"
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", url)
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__POOL_SIZE", "1")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__MAX_OVERFLOW", "0")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__RECYCLE", "60")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__TIMEOUT", "0.5")
    monkeypatch.setenv("DATAPIPE_CONNECTION_OTHER", url)
    own, other = (manager.engine(resolve(None, name, default="", step="s")).pool for name in ("crm", "other"))
    assert own is not other
    assert (own.size(), own._max_overflow, own._recycle, own._timeout) == (1, 0, 60, 0.5)
    assert (other.size(), other._max_overflow, other._recycle, other._timeout) == (2, 3, 1800, 30)


def test_a_wrong_option_is_told_with_the_step(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "postgresql://db/crm")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__POOL", "1")
    with pytest.raises(PlanError, match=r"ingestion: DATAPIPE_CONNECTION_CRM__POOL: .*Did you mean 'pool_size'"):
        resolve(None, "crm", default="", step="ingestion")


def test_options_keep_a_password_that_another_connection_has(monkeypatch):
    monkeypatch.setenv("SOURCE_DB_URL", "postgresql://etl:pw@db/crm")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "postgresql://etl@db/crm")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__POOL_SIZE", "1")
    found = resolve(None, "crm", default="", step="s")
    assert (found.full, found.pool) == ("postgresql://etl:pw@db/crm", {"pool_size": 1})
