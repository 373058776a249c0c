"""Settings and named connections, from the environment and from .env."""

import os

import pytest
import sqlalchemy as sa

from datapipe.errors import PlanError
from datapipe.settings import connect, connection, expand, named_connections, settings
from datapipe.settings import connections as module


@pytest.fixture(autouse=True)
def _empty(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_connections", {})
    for name in ("SOURCE_DB_URL", "DEST_DB_URL", "BATCH_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_the_specifications():
    found = settings()
    assert (found.batch_size, found.pool_size, found.pool_overflow) == (10_000, 5, 10)
    assert found.source_db_url is None


def test_the_environment_wins_over_the_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text(
        "SOURCE_DB_URL=sqlite:///file.db\nBATCH_SIZE=7\nDATAPIPE_CONNECTION_CRM=sqlite:///crm.db\n"
    )
    monkeypatch.setenv("BATCH_SIZE", "9")
    assert settings().source_db_url == "sqlite:///file.db" and settings().batch_size == 9
    assert connection("crm") == connection("CRM") == "sqlite:///crm.db"
    assert expand("${SOURCE_DB_URL}?x") == "sqlite:///file.db?x"


def test_they_are_made_anew_when_the_environment_or_the_file_has_changed(monkeypatch, tmp_path):
    first = settings()
    assert settings() is first
    monkeypatch.setenv("BATCH_SIZE", "9")
    assert settings().batch_size == 9
    monkeypatch.delenv("BATCH_SIZE")
    for size in ("11", "12"):  # of one length
        (tmp_path / ".env").write_text(f"BATCH_SIZE={size}\n")
        os.utime(tmp_path / ".env", ns=(int(size), int(size)))
        assert settings().batch_size == int(size)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert settings().batch_size == 10_000


def test_a_wrong_value_names_the_variable(monkeypatch):
    monkeypatch.setenv("BATCH_SIZE", "many")
    with pytest.raises(PlanError, match="BATCH_SIZE"):
        settings()


def test_connections_of_this_process_come_first(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "sqlite:///env.db")
    engine = sa.create_engine("sqlite://")
    connect("crm", engine)
    assert connection("crm") is engine and set(named_connections()) == {"crm"}
    engine.dispose()


def test_an_unknown_name_says_how_to_set_it():
    with pytest.raises(PlanError, match="DATAPIPE_CONNECTION_CRM"):
        connection("crm")
    connect("warehouse", "sqlite://")
    with pytest.raises(PlanError, match="Did you mean 'warehouse'"):
        connection("warehous")
    with pytest.raises(PlanError, match="cannot name"):
        connect("a b", "sqlite://")


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(PlanError, match="NO_SUCH_VARIABLE is not set"):
        expand("${NO_SUCH_VARIABLE}")


def test_no_password_is_shown(monkeypatch):
    monkeypatch.setenv("SOURCE_DB_URL", "postgresql://ann:s3cret@db/crm")
    assert "s3cret" not in repr(settings())
