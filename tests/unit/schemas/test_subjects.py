"""What a subject is called, and which name finds it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from datapipe.errors import PlanError
from datapipe.persistence.standing import file_subject, where
from datapipe.plan import DatabaseUrl, FileTarget
from datapipe.schemas import ColumnSpec
from datapipe.schemas.registry import find_subject, specs

CRM = "postgresql localhost/crm"
SUBJECTS = [
    f"public.users on {CRM}",
    f"mart.orders on {CRM}",
    f"public.orders on {CRM}",
    "file /data/users.parquet",
    "mine",
]


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("users", SUBJECTS[0]),
        ("USERS", SUBJECTS[0]),
        ("public.users", SUBJECTS[0]),
        (SUBJECTS[0], SUBJECTS[0]),
        ("mart.orders", SUBJECTS[1]),
        ("users.parquet", SUBJECTS[3]),
        ("mine", "mine"),
    ],
)
def test_a_shorter_name_finds_the_only_subject_that_has_it(name: str, subject: str) -> None:
    assert find_subject(name, SUBJECTS) == subject


def test_a_name_of_two_subjects_names_both() -> None:
    with pytest.raises(
        PlanError, match=r"2 subjects are called 'orders'. Give one in full: mart\.orders on .*, public\.orders"
    ):
        find_subject("orders", SUBJECTS)


def test_an_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(PlanError, match=r"no schema is registered for 'user'\. Did you mean 'users'"):
        find_subject("user", SUBJECTS)
    with pytest.raises(PlanError, match="A plan's first load registers its target"):
        find_subject("user", [])


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:pw@db.example/crm", "postgresql db.example/crm"),
        ("postgres://DB.example:5432/crm?password=pw", "postgresql db.example/crm"),
        ("postgresql+psycopg://bob@db.example:5433/crm", "postgresql db.example:5433/crm"),
        ("postgresql://127.0.0.1/crm", "postgresql localhost/crm"),
        ("postgresql:///crm", "postgresql localhost/crm"),
        ("postgresql:///crm?host=/run/postgres", "postgresql /run/postgres/crm"),
        ("postgresql:///crm?host=a:1&host=b:2", "postgresql a:1,b:2/crm"),
        ("postgresql://localhost/crm?port=5432,5433", "postgresql localhost:5432,5433/crm"),
        ("mariadb://ann:pw@db/crm", "mysql db/crm"),
        ("mysql+pymysql://ann:pw@db:3306/crm", "mysql db/crm"),
        ("sqlite://", "sqlite :memory:"),
        ("sqlite:////data/../data/crm.db", "sqlite /data/crm.db"),
    ],
)
def test_a_place_is_told_without_secrets_and_the_same_however_it_is_spelt(url: str, place: str) -> None:
    assert where(DatabaseUrl.parse(url)) == place


def test_files_are_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert where(DatabaseUrl.parse("sqlite:///crm.db")) == f"sqlite {tmp_path.resolve() / 'crm.db'}"
    assert file_subject(FileTarget(path="out/../a.csv")) == f"file {tmp_path.resolve() / 'a.csv'}"


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([pa.field("id", pa.int64())]),
        pd.DataFrame({"id": [1, 2]}),
        pa.table({"id": [1]}),
        [ColumnSpec("id", "bigint")],
    ],
    ids=lambda schema: type(schema).__name__,
)
def test_whatever_has_columns_is_a_schema(schema: object) -> None:
    assert specs(schema) == (ColumnSpec("id", "bigint"),)


@pytest.mark.parametrize("schema", ["id int", 7, None, ["id"], {"id": "int"}])
def test_what_has_none_is_refused(schema: object) -> None:
    with pytest.raises(PlanError, match="is no schema"):
        specs(schema)
