"""The two fields of a source that is read in partitions."""

import pandas as pd
import pytest

import datapipe
from datapipe.errors import PlanError
from datapipe.plan import Plan, loads, parse, to_json, to_yaml

URL = "postgresql://host/db"


def test_they_are_part_of_the_document_and_come_back():
    for source in ("SELECT * FROM users", "crm.users"):
        plan = datapipe.read(source, source=URL, partition_on="id", partitions=8).plan
        assert plan.document()["ingestion"] | {"partition_on": "id", "partitions": 8} == plan.document()["ingestion"]
        assert loads(to_yaml(plan)) == plan == loads(to_json(plan))


def test_a_plan_without_them_is_the_plan_it_was():
    plan = datapipe.read("users", source=URL).plan
    assert "partition" not in to_json(plan)
    assert plan.fingerprint == "fa446006a8df7ec30c63d8ba6702fe060d1e30305d8076cb75203c49af6b672b"


def test_the_number_may_be_left_out():
    plan = datapipe.read("users", source=URL, partition_on="id").plan
    assert plan.document()["ingestion"] == {"table": "users", "source_db_url": URL, "partition_on": "id"}


@pytest.mark.parametrize("count", [0, -1, 1001, 2.5, "8", True])
def test_a_wrong_number_is_refused(count):
    with pytest.raises(PlanError, match="partitions: Input should be"):
        parse({"ingestion": {"table": "users", "partition_on": "id", "partitions": count}})


def test_a_number_needs_a_column():
    with pytest.raises(PlanError, match=r"partitions need a column to cut the rows by.*partition_on='id'"):
        datapipe.read("users", source=URL, partitions=8)


def test_files_and_frames_are_not_read_in_partitions():
    with pytest.raises(PlanError, match="only tables and queries are read in partitions"):
        datapipe.read("data/*.parquet", partition_on="id")
    with pytest.raises(PlanError, match="a frame takes no other arguments"):
        datapipe.read(pd.DataFrame({"id": [1]}), partitions=2)
    with pytest.raises(PlanError, match="unknown field 'partition_on'"):
        parse({"ingestion": {"files": "a.csv", "partition_on": "id"}})


def test_the_json_schema_has_them():
    known = Plan.json_schema()["$defs"]
    for name in ("TableSource", "QuerySource"):
        assert {"partition_on", "partitions"} <= set(known[name]["properties"])
