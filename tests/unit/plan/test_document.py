"""The document form: what the specification writes, both ways, read as data and nothing else."""

import datetime as dt
import decimal
import json

import pytest

from datapipe.errors import NotPortableError, PlanError
from datapipe.plan import FrameSource, Plan, load, loads, parse, to_dict, to_json, to_yaml, yamltext

SPECIFICATION = {
    "ingestion": {
        "query": "SELECT * FROM users WHERE created_at > :start_date",
        "source_db_url": "postgresql://user:pass@localhost:5432/source_db",
        "parameters": {"start_date": "2024-01-01"},
    },
    "transformation": {
        "type": "sql",
        "config": {"sql_query": "SELECT id, UPPER(name) as name_upper FROM input_data"},
    },
    "persistence": {"table_name": "users_staging", "strategy": "upsert", "upsert_keys": ["id"]},
}


def changed(**parts):
    return {**SPECIFICATION, **parts}


def test_the_specification_is_read_verbatim():
    plan = parse(SPECIFICATION)
    assert plan.ingestion.parameters == {"start_date": "2024-01-01"}
    assert plan.transformation[0].config.sql_query.startswith("SELECT id")
    assert plan.persistence.upsert_keys == ("id",)


def test_yaml_and_json_both_give_the_plan_back():
    plan = parse(SPECIFICATION)
    assert loads(to_yaml(plan)) == loads(to_json(plan)) == plan
    assert loads(to_yaml(plan)).fingerprint == plan.fingerprint


@pytest.mark.parametrize("text", ["\x85", "a\x85b", "a\u2028b", "a\r\nb", "\ufeff"])
def test_a_line_break_in_a_parameter_survives_yaml(text):
    plan = parse({"ingestion": {"query": "SELECT :a", "parameters": {"a": text}}})
    assert loads(to_yaml(plan)) == plan


def test_no_password_is_written():
    plan = parse(SPECIFICATION)
    for text in (to_yaml(plan), to_json(plan), repr(plan), str(to_dict(plan))):
        assert "pass@" not in text
        assert "user@localhost" in text


def test_the_fingerprint_ignores_defaults_and_sees_changes():
    plain = parse({"ingestion": {"table": "a"}, "persistence": {"table_name": "b"}})
    explicit = parse(
        {
            "format": 1,
            "ingestion": {"table": "a"},
            "transformation": [],
            "persistence": {"table_name": "b", "strategy": "append"},
        }
    )
    other = parse({"ingestion": {"table": "a"}, "persistence": {"table_name": "b", "strategy": "replace"}})
    assert plain.fingerprint == explicit.fingerprint != other.fingerprint


def test_values_json_lacks_keep_their_type():
    values = {
        "day": dt.date(2024, 1, 1),
        "at": dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC),
        "price": decimal.Decimal("1.10"),
        "raw": b"\x00\xff",
        "text": "2024-01-01",
    }
    sql = "SELECT " + ", ".join(f":{name}" for name in values)
    plan = parse({"ingestion": {"query": sql, "parameters": values}})
    assert loads(to_yaml(plan)).ingestion.parameters == values
    assert json.loads(to_json(plan))["ingestion"]["parameters"]["day"] == {
        "type": "date",
        "value": "2024-01-01",
    }


def test_a_plan_cannot_be_changed():
    plan = parse(SPECIFICATION)
    with pytest.raises(TypeError, match="cannot be changed"):
        plan.ingestion.parameters["start_date"] = "2025-01-01"
    with pytest.raises(ValueError, match="frozen"):
        plan.name = "other"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            changed(persistence={"table_name": "t", "strategy": "upsrt"}),
            "persistence: unknown strategy 'upsrt'. Did you mean 'upsert'",
        ),
        (
            changed(persistence={"table_name": "t", "upsert_key": ["id"]}),
            "persistence: unknown field 'upsert_key'. Did you mean 'upsert_keys'",
        ),
        (changed(persistence={"table_name": "t", "strategy": "upsert"}), "persistence: upsert needs keys"),
        (
            changed(persistence={"table_name": "t", "upsert_keys": ["id"]}),
            "persistence: append takes no keys",
        ),
        (changed(persistence={"strategy": "append"}), "persistence: needs table_name or path"),
        (
            changed(transformation={"type": "sqll", "config": {}}),
            "transformation step 1: unknown type 'sqll'. Did you mean 'sql'",
        ),
        (
            changed(transformation=[{"type": "sql", "config": {"sql": "SELECT 1"}}]),
            "transformation step 1 (sql): unknown field 'sql'",
        ),
        (
            changed(transformation={"type": "sql", "config": {}}),
            "transformation step 1 (sql): field 'sql_query' is missing",
        ),
        (changed(transformation={"type": "config", "config": {"selct": ["a"]}}), "Did you mean 'select'"),
        (changed(ingestion={"querry": "SELECT 1"}), "ingestion: needs one of query, table or files"),
        (
            changed(ingestion={"query": "DELETE FROM users"}),
            "ingestion: the text is not a query: it begins with 'DELETE'",
        ),
        (changed(ingestion={"query": "SELECT 1; SELECT 2"}), "more than one statement"),
        (
            changed(ingestion={"query": "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a"}),
            "would write (DELETE)",
        ),
        (
            changed(ingestion={"table": "t", "source_db_url": "no url", "schema": "s"}),
            "not of the form driver://",
        ),
        (
            changed(ingestion={"table": "t", "source": "a", "source_db_url": "sqlite:///x"}),
            "both source_db_url and source",
        ),
        (changed(format=2), "plan: format 2 is not known"),
        (changed(ingest={}), "unknown field 'ingest'. Did you mean 'ingestion'"),
        ([1], "a plan is a mapping, not list"),
    ],
)
def test_a_mistake_is_named_with_its_step_its_field_and_the_nearest_name(data, message):
    with pytest.raises(PlanError) as caught:
        parse(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", "tag"),
        ("a: 1\na: 2", "'a' appears twice"),
        ("a: [1", "not valid YAML or JSON in line"),
        ("[" * 100 + "]" * 100, "nested more than 64 deep"),
        ("a: " + "x" * yamltext.MAX_BYTES, "larger than 1 MiB"),
        (b"\xff\xfe\xfd", "YAML or JSON"),
    ],
)
def test_yaml_is_read_as_data_only(text, message):
    with pytest.raises(PlanError) as caught:
        loads(text)
    assert message in str(caught.value)


def test_yaml_means_what_json_means():
    text = "a: no\nb: 012\nc: 2024-01-01\nd: 1e3\ne: true\nf: null\ng: -5\nh: 1.5\ni: 12:30"
    found = {
        "a": "no",
        "b": "012",
        "c": "2024-01-01",
        "d": 1000.0,
        "e": True,
        "f": None,
        "g": -5,
        "h": 1.5,
        "i": "12:30",
    }
    assert yamltext.read_yaml(text) == found


def test_frames_and_cell_functions_have_no_document(tmp_path):
    framed = Plan(ingestion=FrameSource(frame=object()))
    with pytest.raises(NotPortableError, match="in memory"):
        to_yaml(framed)
    local = parse(
        {
            "ingestion": {"table": "t"},
            "transformation": {"type": "code", "config": {"function": lambda df: df}},
        }
    )
    with pytest.raises(NotPortableError, match="exists only in this process"):
        to_json(local)
    assert local.fingerprint


def test_a_plan_file_that_is_missing_says_so(tmp_path):
    with pytest.raises(PlanError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_the_json_schema_names_every_field():
    schema = Plan.json_schema()
    assert {"ingestion", "transformation", "persistence", "name", "queue", "format"} == set(schema["properties"])
    assert "upsert_keys" in schema["$defs"]["TableTarget"]["properties"]


def test_a_side_tables_own_steps_travel_too():
    document_ = {
        "ingestion": {"table": "a"},
        "transformation": {
            "type": "sql",
            "config": {
                "sql_query": "SELECT * FROM input_data JOIN o USING (id)",
                "tables": {
                    "o": {
                        "ingestion": {"table": "b"},
                        "transformation": [{"type": "config", "config": {"drop": ["x"]}}],
                    }
                },
            },
        },
    }
    plan = parse(document_)
    assert loads(to_yaml(plan)) == loads(to_json(plan)) == plan


@pytest.mark.parametrize("text", ["1e5", "12E3", "0e1", "-1", "true", "null", "~", "no", "2024-01-01", "0x1f", "1_000"])
def test_text_that_looks_like_something_else_stays_text(text):
    plan = parse(
        {
            "ingestion": {"query": "SELECT :a", "parameters": {"a": text}},
            "transformation": {"type": "config", "config": {"filter": {"c": text}}},
        }
    )
    again = loads(to_yaml(plan))
    assert again == plan and again.ingestion.parameters == {"a": text}


def test_filters_and_parameters_may_be_called_type_and_value():
    values = {"type": "date", "value": 1.5}
    plan = parse(
        {
            "ingestion": {"query": "SELECT :type, :value", "parameters": values},
            "transformation": {"type": "config", "config": {"filter": values}},
        }
    )
    assert plan.ingestion.parameters == values and plan.transformation[0].config.filter == values
    assert loads(to_yaml(plan)) == plan


def test_infinities_and_dates_in_filters_travel():
    values = {"a": float("inf"), "b": dt.date(2024, 1, 1), "c": [decimal.Decimal("1.10")]}
    plan = parse({"ingestion": {"table": "t"}, "transformation": {"type": "config", "config": {"filter": values}}})
    assert loads(to_json(plan)) == plan


def test_a_connection_string_is_no_connection_name_and_is_not_repeated():
    with pytest.raises(PlanError) as caught:
        parse({"ingestion": {"table": "t", "source": "host=db password=s3cret"}})
    assert "not the name of a connection" in str(caught.value) and "s3cret" not in str(caught.value)
