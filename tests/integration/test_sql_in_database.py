"""SQLTransformer in PostgreSQL: names of any kind, an engine that is lent, errors without values."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest
import sqlalchemy as sa

from datapipe.errors import DataError
from datapipe.transformation import SQLTransformer


@pytest.fixture
def engine(postgresql_url: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(postgresql_url.replace("postgresql://", "postgresql+psycopg://"))
    yield made
    made.dispose()


def test_names_are_taken_literally(postgresql_url: str, engine: sa.Engine) -> None:
    frame = pd.DataFrame({"margin %": [1, 2], "per%s": ["a", "b"]})
    for database in (postgresql_url, engine):
        found = SQLTransformer(database).transform(frame, 'SELECT "margin %" + 1 AS m, "per%s" FROM input_data')
        assert found.to_dict("list") == {"m": [2, 3], "per%s": ["a", "b"]}


def test_a_value_that_the_server_refuses_is_not_in_the_message(postgresql_url: str) -> None:
    frame = pd.DataFrame({"text": ["secret"]})
    with pytest.raises(DataError, match="invalid input syntax for type integer") as caught:
        SQLTransformer(postgresql_url).transform(frame, "SELECT CAST(text AS integer) FROM input_data")
    assert "secret" not in str(caught.value)
    assert caught.value.step == "sql"


def test_a_type_that_python_alone_knows_is_named_without_its_value(postgresql_url: str) -> None:
    transformer = SQLTransformer(database_url=postgresql_url)
    with pytest.raises(DataError, match="column 'ip' has values of type IPv4Address") as caught:
        transformer.transform(pd.DataFrame({"a": [1]}), "SELECT '10.1.2.3'::inet AS ip FROM input_data")
    assert "10.1" not in str(caught.value)
