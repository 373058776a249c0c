"""PostgreSQL's errors: the class says what to do next, the message holds no value."""

import time

import psycopg
import pytest

from datapipe.data.pgerrors import translate
from datapipe.errors import DataError, FatalError, PlanError, TransientError

CASES = {
    "SELECT * FROM no_such_table": (PlanError, "no_such_table"),
    "SELECT nope": (PlanError, "nope"),
    "SELEC 1": (PlanError, "syntax error"),
    "SELECT 'secret'::integer": (DataError, "invalid input syntax for type integer"),
    "SELECT now() AT TIME ZONE 'secret'": (DataError, "time zone … not recognized"),
    "SELECT to_date('secret', 'YYYY')": (DataError, "invalid value …"),
    """SELECT '{"secret"'::text[]""": (DataError, "malformed array literal"),
    "SELECT 1 / 0": (DataError, "division by zero"),
    "SELECT 99999999999::integer": (DataError, "integer out of range"),
    "SELECT 'NaN'::numeric::bigint": (DataError, "NaN"),
    "INSERT INTO unique_ VALUES ('secret')": (DataError, r"a key (a) is there already, or comes twice"),
    "SET statement_timeout = 50; SELECT pg_sleep(5)": (TransientError, "timeout"),
    "SET ROLE nobody_at_all": (DataError, "nobody_at_all"),
    "SELECT pg_terminate_backend(pg_backend_pid())": (TransientError, "terminating"),
}


@pytest.mark.parametrize("sql", CASES)
def test_class_and_message(postgresql_url, sql):
    kind, words = CASES[sql]
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE unique_ (a text UNIQUE)")
        conn.execute("INSERT INTO unique_ VALUES ('secret')")
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(sql)
    found = translate(caught.value, step="here")
    assert type(found) is kind and words in str(found)
    assert "secr" not in str(found) and str(found).startswith("here: ") and found.hint


def test_a_full_disk_or_too_many_connections_stops_the_caller():
    error = psycopg.errors.DiskFull("no space")
    assert isinstance(translate(error), FatalError)


def test_a_transaction_that_the_server_ended_may_be_tried_again(postgresql_url):
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("SET idle_in_transaction_session_timeout = 50")
        conn.execute("BEGIN")
        time.sleep(0.5)
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("COMMIT")
    assert isinstance(translate(caught.value), TransientError)
