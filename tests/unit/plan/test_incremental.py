"""The cursor of a source in a plan: how it is written, and what is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

import datapipe
from datapipe.errors import PlanError
from datapipe.pipeline import Pipeline
from datapipe.plan import Incremental, Plan, parse
from datapipe.plan.incremental import span

SOURCE = "sqlite:///crm.db"
DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def test_a_cursor_alone_is_written_as_its_name() -> None:
    plan = datapipe.read("orders", source=SOURCE, incremental="updated_at").plan
    assert plan.document()["ingestion"]["incremental"] == "updated_at"
    plan = datapipe.read("orders", source=SOURCE, incremental=["day", "id"]).plan
    assert plan.document()["ingestion"]["incremental"] == ["day", "id"]


@pytest.mark.parametrize(
    "given",
    [
        {"lag": "1 hour"},
        {"lag": dt.timedelta(days=1, seconds=90)},
        {"lag": 1000, "nulls": "skip"},
        {"lag": Decimal("0.5"), "nulls": "always"},
        {"start": "2024-01-01", "until": DAY},
        {"start": dt.date(2024, 1, 1)},
        {"start": Decimal("1.50"), "until": 7},
    ],
)
def test_a_plan_comes_back_from_its_document(given: dict[str, Any]) -> None:
    plan = datapipe.read("SELECT * FROM orders", source=SOURCE, incremental="c", **given).plan
    again = parse(plan.document())
    assert again == plan and again.fingerprint == plan.fingerprint
    assert datapipe.Pipeline(plan).to_yaml()


def test_several_columns_and_their_bounds() -> None:
    how = Incremental.model_validate({"cursor": ["day", "id"], "start": [dt.date(2024, 1, 1), 7]})
    assert how.start == (dt.date(2024, 1, 1), 7)
    assert Incremental.model_validate(how.model_dump(mode="json")) == how


@pytest.mark.parametrize(
    ("text", "seconds"), [("1 hour", 3600), ("90 minutes", 5400), ("1 day, 2 Hours", 93_600), ("1.5 seconds", 1.5)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert span(text).total_seconds() == seconds


@pytest.mark.parametrize(
    ("lag", "text"),
    [("3600 seconds", "1 hour"), ("48 hours", "2 days"), ("90 seconds", "90 seconds"), ("0.5 seconds", "0.5 seconds")],
)
def test_a_lag_is_shown_in_its_largest_unit(lag: str, text: str) -> None:
    assert Incremental(cursor="c", lag=lag).model_dump(mode="json")["lag"] == text


@pytest.mark.parametrize("lag", ["soon", "1 fortnight", "-1 hour", -5, 1.5, True, "1 hour or so", dt.timedelta(-1)])
def test_what_is_no_lag(lag: Any) -> None:
    with pytest.raises(PlanError, match="no l"):
        datapipe.read("orders", source=SOURCE, incremental="c", lag=lag)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"incremental": []}, "names a column twice, or none"),
        ({"incremental": ["a", "a"]}, "names a column twice"),
        ({"lag": "1 hour"}, "lag= is for an incremental source"),
        ({"start": 1}, "start= is for an incremental source"),
        ({"incremental": ["a", "b"], "start": 1}, "another number of values"),
        ({"incremental": "a", "until": 1.5}, "no order"),
        ({"incremental": "a", "nulls": "perhaps"}, "nulls"),
        ({"incremental": "a", "partition_on": "id"}, "not in partitions"),
    ],
)
def test_what_does_not_go_together(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        datapipe.read("orders", source=SOURCE, **given)


def test_a_slice_has_two_ends() -> None:
    found = Incremental.model_validate({"cursor": "c", "start": 1, "until": 2, "watermark": False})
    assert found.model_dump(mode="json") == {"cursor": "c", "start": 1, "until": 2, "watermark": False}
    with pytest.raises(PlanError, match="a slice, which has two ends"):
        parse({"ingestion": {"table": "t", "incremental": {"cursor": "c", "start": 1, "watermark": False}}})
    with pytest.raises(PlanError, match="has no watermark"):
        str(Pipeline(parse({"ingestion": {"table": "t", "incremental": found.model_dump(mode="json")}})).watermark)


def test_files_are_read_by_none_but_their_names() -> None:
    plan = datapipe.read("data/*.parquet", incremental=True).plan
    assert plan.document()["ingestion"] == {"files": "data/*.parquet", "incremental": True}
    again = parse(plan.document())
    assert again == plan and again.fingerprint == plan.fingerprint
    whole = datapipe.read("data/*.parquet").plan
    assert datapipe.read("data/*.parquet", incremental=False).plan == whole
    assert parse({"ingestion": {"files": "data/*.parquet", "incremental": None}}) == whole
    assert whole.document()["ingestion"] == {"files": "data/*.parquet"}
    with pytest.raises(PlanError, match=r"files have no cursor\. Write incremental=True"):
        datapipe.read("data/*.parquet", incremental="a")
    with pytest.raises(PlanError, match="files have no cursor"):
        parse({"ingestion": {"files": "a.csv", "incremental": {"cursor": "a"}}})
    with pytest.raises(PlanError, match="lag= is for an incremental source with a cursor"):
        datapipe.read("data/*.parquet", incremental=True, lag="1 hour")
    schema = Plan.json_schema()["$defs"]["FileSource"]["properties"]["incremental"]
    assert schema["type"] == "boolean"


def test_tables_and_queries_need_a_cursor() -> None:
    for read in ("orders", "SELECT * FROM orders"):
        with pytest.raises(PlanError, match=r"incremental=True is for files.*incremental='updated_at'"):
            datapipe.read(read, source=SOURCE, incremental=True)
        assert datapipe.read(read, source=SOURCE, incremental=False).plan == datapipe.read(read, source=SOURCE).plan
    with pytest.raises(PlanError, match="a frame takes no other arguments"):
        datapipe.read(pd.DataFrame({"a": [1]}), incremental="a")


@pytest.mark.parametrize(
    "read",
    [datapipe.read("orders", source=SOURCE, incremental="a"), datapipe.read("in/*.csv", incremental=True)],
    ids=["cursor", "files"],
)
def test_where_increments_have_no_place(read: Pipeline) -> None:
    with pytest.raises(PlanError, match="only the last increment"):
        read.write("copy", to=SOURCE, strategy="replace")
    with pytest.raises(PlanError, match="no place for a watermark"):
        read.write("copy.parquet")
    with pytest.raises(PlanError, match="a further table is read whole"):
        datapipe.read("t", source=SOURCE).sql("SELECT * FROM input_data JOIN o USING (id)", o=read)


def test_the_schema_of_documents_knows_the_short_form() -> None:
    found = Plan.json_schema()["$defs"]["Incremental"]["anyOf"]
    assert [each.get("type") for each in found] == ["string", "array", "object"]
