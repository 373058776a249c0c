"""From options to a plan."""

import json
from pathlib import Path
from typing import Any

import pytest

from datapipe.cli.plans import PlanOptions, pipeline_of
from datapipe.errors import PlanError
from datapipe.plan import Plan, parse

QUERY = "SELECT * FROM users WHERE day = :day"
DOCUMENT = {"ingestion": {"query": QUERY, "parameters": {"day": "2024-01-01"}}}


def plan(options: PlanOptions | None = None, *params: str, file: str | None = None) -> Plan:
    return pipeline_of(file, options or PlanOptions(), params).plan


def test_options_are_the_same_plan_as_the_document() -> None:
    given = PlanOptions(
        query="SELECT * FROM users",
        source_db_url="postgresql://user:pass@localhost:5432/source_db",
        transform_type="sql",
        transform_config='{"sql_query": "SELECT id, UPPER(name) FROM input_data"}',
        table_name="mart.users_staging",
        strategy="upsert",
        upsert_keys=("id",),
        dest_db_url="postgresql://localhost/mart",
    )
    assert plan(given) == parse(
        {
            "ingestion": {
                "query": "SELECT * FROM users",
                "source_db_url": "postgresql://user@localhost:5432/source_db",
            },
            "transformation": {"type": "sql", "config": {"sql_query": "SELECT id, UPPER(name) FROM input_data"}},
            "persistence": {
                "table_name": "users_staging",
                "schema": "mart",
                "strategy": "upsert",
                "upsert_keys": ["id"],
                "dest_db_url": "postgresql://localhost/mart",
            },
        }
    )


def test_a_connection_may_have_a_name() -> None:
    given = PlanOptions(query="SELECT 1 AS a", source_db_url="shop", table_name="t", dest_db_url="${MART_URL}")
    assert plan(given) == parse(
        {
            "ingestion": {"query": "SELECT 1 AS a", "source": "shop"},
            "persistence": {"table_name": "t", "dest_db_url": "${MART_URL}"},
        }
    )


@pytest.mark.parametrize("keys", [("id,day",), ("id", "day"), ("id, day",), ("id,", ",day")])
def test_keys_are_separated_by_commas_or_repeated(keys: tuple[str, ...]) -> None:
    target = plan(PlanOptions(query="SELECT 1", table_name="t", strategy="upsert", upsert_keys=keys)).persistence
    assert target is not None
    assert target.upsert_keys == ("id", "day")


@pytest.mark.parametrize("text", ['{"select": ["id"]}', "select: [id]\n"])
def test_a_transformation_may_be_in_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "transform.yaml").write_text(text)
    given = PlanOptions(query="SELECT 1", transform_type="config", transform_config=str(tmp_path / "transform.yaml"))
    assert plan(given).transformation[0].config.select == ("id",)


@pytest.mark.parametrize("name", ["plan.json", "plan.yaml"])
def test_a_file_is_a_plan(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(DOCUMENT))
    assert plan(file=str(tmp_path / name)) == parse(DOCUMENT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0.25", 0.25),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("007", "007"),
        ("1_000", "1_000"),
        ("True", "True"),
        ("yes", "yes"),
        ("null", "null"),
        ("~", "~"),
        ("NaN", "NaN"),
        ("2024-01-01", "2024-01-01"),
        ("", ""),
        (" 5", " 5"),
        ("a=b", "a=b"),
        ("'quoted' # no comment", "'quoted' # no comment"),
        ("{a: 1}", "{a: 1}"),
        ("5\n", "5\n"),
    ],
)
def test_a_parameter_is_a_number_a_truth_or_text(tmp_path: Path, text: str, value: Any) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(DOCUMENT))
    found = plan(None, f"day={text}", file=str(tmp_path / "plan.json")).ingestion.parameters["day"]
    assert (found, type(found)) == (value, type(value))


def test_a_parameter_may_have_any_name_sql_allows() -> None:
    source = plan(PlanOptions(query="SELECT :self AS a, :plan AS b"), "self=1", "plan=2").ingestion
    assert source.parameters == {"self": 1, "plan": 2}


WRONG: list[tuple[PlanOptions, tuple[str, ...], str]] = [
    (PlanOptions(), (), "no plan is given"),
    (PlanOptions(table_name="t"), (), "no plan is given"),
    (PlanOptions(query="SELECT 1", strategy="upsert"), (), "--strategy is given without a table"),
    (PlanOptions(query="SELECT 1", upsert_keys=("id",)), (), "--upsert-keys is given without a table"),
    (PlanOptions(query="SELECT 1", dest_db_url="sqlite:///a.db"), (), "--dest-db-url is given without a table"),
    (PlanOptions(query="SELECT 1", transform_type="sql"), (), "--transform-type is given alone"),
    (PlanOptions(query="SELECT 1", transform_config='{"sql_query": '), (), "--transform-config is not JSON.*character"),
    (PlanOptions(query="SELECT 1", transform_config="none.yaml"), (), "cannot read 'none.yaml'"),
    (PlanOptions(query="SELECT 1", transform_type="sqll", transform_config="{}"), (), "unknown type 'sqll'"),
    (PlanOptions(query="SELECT :a AS a"), ("b=1",), "unknown parameter 'b'"),
    (PlanOptions(query="SELECT :a AS a"), ("a=1", "a=2"), "--param a is given twice"),
    (PlanOptions(query="SELECT :a AS a"), ("s3cret",), "a --param is not name=value"),
    (PlanOptions(query="SELECT :a AS a"), ("=s3cret",), "a --param is not name=value"),
]


@pytest.mark.parametrize(
    ("options", "params", "words"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_does_not_go_together_is_refused(options: PlanOptions, params: tuple[str, ...], words: str) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        plan(options, *params)
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_a_file_and_options_are_refused() -> None:
    with pytest.raises(PlanError, match="both a plan file and single options"):
        plan(PlanOptions(query="SELECT 1"), file="plan.json")
