"""URLs keep their passwords to themselves, and say where they lead."""

import pickle

import pytest

from datapipe.errors import PlanError
from datapipe.plan import DatabaseUrl


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("postgresql://ann:s3cret@db:5432/crm", "postgresql://ann@db:5432/crm"),
        ("postgresql://ann:s3/c@ret@db/crm", "postgresql://ann@db/crm"),
        ("mysql+pymysql://ann:s3cret@db/crm?charset=utf8", "mysql+pymysql://ann@db/crm?charset=utf8"),
        (
            "postgresql://db/crm?user=ann&password=s3cret&sslmode=require",
            "postgresql://db/crm?user=ann&sslmode=require",
        ),
        ("postgresql://ann:${PGPASS}@db/crm", "postgresql://ann:${PGPASS}@db/crm"),
        ("${SOURCE_DB_URL}", "${SOURCE_DB_URL}"),
        ("sqlite:////tmp/a@b:c.db", "sqlite:////tmp/a@b:c.db"),
        ("postgresql://ann:s3?cret@db/crm", "postgresql://ann@db/crm"),
        ("postgresql://db/crm?pass%77ord=s3cret", "postgresql://db/crm"),
        ("mssql://db/crm?odbc_connect=PWD%3Ds3cret", "mssql://db/crm"),
        ("duckdb:///md:db?motherduck_token=s3cret", "duckdb:///md:db"),
        ("sqlite+pysqlcipher://:s3cret@/x.db", "sqlite+pysqlcipher://@/x.db"),
    ],
)
def test_the_safe_form_has_no_password(text, safe):
    url = DatabaseUrl.parse(text)
    assert url.safe == str(url) == safe
    assert "s3" not in repr(url)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("postgresql://ann:x@db:5432/crm", "db:5432/crm"),
        ("sqlite:///data/crm.db", "sqlite crm.db"),
        ("sqlite://", "sqlite :memory:"),
        ("postgresql://postgres:@/postgres?host=/tmp/x", "local socket/postgres"),
        ("${SOURCE_DB_URL}", "${SOURCE_DB_URL}"),
    ],
)
def test_the_label_names_host_and_database(text, label):
    assert DatabaseUrl.parse(text).label == label


def test_a_text_that_is_no_url_is_refused_without_being_repeated():
    with pytest.raises(PlanError) as caught:
        DatabaseUrl.parse("ann:s3cret@db")
    assert "s3cret" not in str(caught.value)


def test_equality_is_that_of_the_safe_form():
    assert DatabaseUrl.parse("postgresql://a:1@h/d") == DatabaseUrl.parse("postgresql://a:2@h/d")
    assert pickle.loads(pickle.dumps(DatabaseUrl.parse("postgresql://a:1@h/d"))).driver == "postgresql"
