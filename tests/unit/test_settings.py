"""Settings and named connections, from the environment and from .env."""

import os

import pytest
import sqlalchemy as sa

from datapipe.errors import PlanError
from datapipe.notebooks.environs import lasting
from datapipe.settings import (
    Settings,
    connect,
    connection,
    connection_names,
    data_home,
    expand,
    named_connections,
    pool_options,
    settings,
)
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


# --- values in files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SOURCE_DB_URL", "REDIS_URL", "DATAPIPE_SIGNING_KEY", "DATAPIPE_CONNECTION_CRM"])
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_secret_or_a_url_may_be_in_a_file(monkeypatch, tmp_path, name, where):
    value = "k" * 40 if "KEY" in name else "redis://:pw@db/0"
    (tmp_path / "secret").write_text(f"{value}\n")
    monkeypatch.delenv(name, raising=False)
    if where == "environment":
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    else:
        (tmp_path / ".env").write_text(f"{name}_FILE=secret\n")
    found = connection("crm") if "CRM" in name else getattr(settings(), name.lower().removeprefix("datapipe_"))
    assert found == value == expand(f"${{{name}}}")


def test_settings_are_made_anew_when_such_a_file_has_changed(monkeypatch, tmp_path):
    file = tmp_path / "url"
    monkeypatch.setenv("SOURCE_DB_URL_FILE", str(file))
    for time, url in enumerate(("sqlite:///a.db", "sqlite:///b.db")):  # of one length
        file.write_text(url)
        os.utime(file, ns=(time, time))
        first = settings()
        assert first.source_db_url == url and settings() is first
    file.unlink()
    with pytest.raises(PlanError, match=f"SOURCE_DB_URL cannot be read from {file}: No such file"):
        settings()


def test_a_value_and_its_file_are_not_both_given(monkeypatch, tmp_path):
    (tmp_path / "url").write_text("sqlite:///b.db")
    monkeypatch.setenv("DEST_DB_URL_FILE", "url")
    (tmp_path / ".env").write_text("DEST_DB_URL=sqlite:///a.db\n")
    with pytest.raises(PlanError, match="both DEST_DB_URL and DEST_DB_URL_FILE are set"):
        settings()
    monkeypatch.setenv("DEST_DB_URL_FILE", "")  # is as good as not there
    assert settings().dest_db_url == "sqlite:///a.db"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\xff", "no text in UTF-8"),
        (b"x" * 70_000, "larger than 64 kB"),
        (None, "Is a directory"),
    ],
)
def test_a_file_that_holds_no_value_says_why(monkeypatch, tmp_path, content, words):
    (tmp_path / "url").mkdir() if content is None else (tmp_path / "url").write_bytes(content)
    monkeypatch.setenv("SOURCE_DB_URL_FILE", "url")
    with pytest.raises(PlanError, match=words):
        settings()


def test_a_url_that_is_given_for_the_path_of_a_file_is_not_told(monkeypatch):
    monkeypatch.setenv("SOURCE_DB_URL_FILE", "postgresql://ann:s3cret@db/crm")
    with pytest.raises(PlanError, match="a URL, where the path of a file belongs") as caught:
        settings()
    assert "s3cret" not in str(caught.value)


def test_one_connection_in_a_missing_file_stops_no_other(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM_FILE", "none")
    monkeypatch.setenv("DATAPIPE_CONNECTION_MART", "sqlite://")
    assert named_connections() == {"mart": "sqlite://"}
    assert connection_names() == ["crm", "mart"]
    with pytest.raises(PlanError, match="DATAPIPE_CONNECTION_CRM cannot be read from none"):
        connection("crm")


# --- pools of connections -----------------------------------------------------------------------------------


def test_a_connection_has_options_of_its_pool(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "postgresql://db/crm")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__POOL_SIZE", "2")
    monkeypatch.setenv("datapipe_connection_crm__timeout", "1.5")
    assert connection_names() == ["crm"] and pool_options("CRM") == {"pool_size": 2, "timeout": 1.5}
    connect("crm", "postgresql://db/crm", pool_size=3, max_overflow=0)
    assert pool_options("crm") == {"pool_size": 3, "max_overflow": 0, "timeout": 1.5}
    assert pool_options("mart") == {}


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("POOL_SICE", "2", "Did you mean 'pool_size'"),
        ("URL", "2", "no option 'url'"),
        ("POOL_SIZE", "0", "a whole number, 1 or more"),
        ("POOL_SIZE", "2.5", "a whole number"),
        ("RECYCLE", "soon", "a number, 1 or more"),
        ("POOL_SIZE", "9" * 400, "a whole number"),
        ("TIMEOUT", "nan", "a number, 0 or more"),
        ("TIMEOUT", "inf", "a number, 0 or more"),
    ],
)
def test_an_option_that_is_none_and_a_value_that_cannot_be_are_errors(monkeypatch, option, value, words):
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "postgresql://db/crm")
    monkeypatch.setenv(f"DATAPIPE_CONNECTION_CRM__{option}", value)
    with pytest.raises(PlanError, match=words) as caught:
        pool_options("crm")
    assert f"DATAPIPE_CONNECTION_CRM__{option}" in str(caught.value)
    with pytest.raises(PlanError, match=words):
        connect("crm", "postgresql://db/crm", **{option.lower(): value})
    with pytest.raises(PlanError, match="a whole number"):
        connect("crm", "postgresql://db/crm", pool_size=float("inf"))


def test_an_engine_has_its_own_pool(monkeypatch):
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__POOL_SIZE", "2")
    engine = sa.create_engine("sqlite://")
    with pytest.raises(PlanError, match="a pool of its own"):
        connect("crm", engine, pool_size=2)
    connect("crm", engine)
    assert pool_options("crm") == {}
    engine.dispose()


@pytest.mark.parametrize("name", ["crm__pool_size", "crm_file"])
def test_a_name_is_no_option_and_no_file(monkeypatch, name):
    monkeypatch.setenv(f"DATAPIPE_CONNECTION_{name.upper()}", "3")
    with pytest.raises(PlanError, match="cannot name a connection"):
        connect(name, "sqlite://")
    with pytest.raises(PlanError, match="no connection is called"):
        connection(name)


def test_a_kernel_finds_the_same_files_though_it_works_elsewhere(tmp_path):
    given = {"REDIS_URL_FILE": "redis", "DATAPIPE_CONNECTION_CRM_FILE": "crm", "SOURCE_DB_URL_FILE": "/run/secrets/x"}
    assert lasting({**given, "SSL_CERT_FILE": "own"}, tmp_path) == {
        "REDIS_URL_FILE": f"{tmp_path}/redis",
        "DATAPIPE_CONNECTION_CRM_FILE": f"{tmp_path}/crm",
    }


# --- .env itself --------------------------------------------------------------------------------------------


def test_a_variable_that_is_empty_hides_its_line_everywhere(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("SOURCE_DB_URL=sqlite:///file.db\nDATAPIPE_CONNECTION_CRM=sqlite:///crm.db\n")
    monkeypatch.setenv("SOURCE_DB_URL", "")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "")
    assert settings().source_db_url is None and connection_names() == []
    with pytest.raises(PlanError, match="SOURCE_DB_URL is not set"):
        expand("${SOURCE_DB_URL}")


def test_one_that_is_no_text_is_an_error_that_says_so(tmp_path):
    (tmp_path / ".env").write_bytes(b"BATCH_SIZE=7\nNAME=\xff\n")
    for ask in (settings, connection_names, Settings):
        with pytest.raises(PlanError, match=r"^\.env cannot be read: it is no text in UTF-8\. "):
            ask()


def test_a_line_that_sets_nothing_is_warned_of_once_and_stops_no_other(tmp_path, caplog):
    (tmp_path / ".env").write_text("BATCH_SIZE=7\nthis is no line\nDATAPIPE_QUEUE=heavy\n")
    assert (settings().batch_size, settings().queue) == (7, "heavy")
    connection_names()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/.env: line 2 is not of the form NAME=value, and has no effect"
    ]


@pytest.mark.parametrize("name", ["REDIS_URL_FILE", "DATAPIPE_CONNECTION_CRM_FILE", "DATAPIPE_HOME"])
def test_a_path_of_nobody_is_an_error_that_says_so(monkeypatch, name):
    monkeypatch.setenv(name, "~nobody-of-this-name/x")
    with pytest.raises(PlanError, match="nobody here has the folder ~nobody-of-this-name"):
        connection("crm") if "CRM" in name else data_home()


def test_no_number_is_endless(monkeypatch):
    monkeypatch.setenv("DATAPIPE_RUN_TIMEOUT", "inf")
    with pytest.raises(PlanError, match="DATAPIPE_RUN_TIMEOUT is wrong: Input should be a finite number"):
        settings()
