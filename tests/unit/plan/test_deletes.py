"""What becomes of deleted rows, as a plan says it, and what does not go with it."""

from __future__ import annotations

from typing import Any

import pytest

import datapipe
from datapipe.errors import PlanError
from datapipe.pipeline import Pipeline
from datapipe.plan import Plan, parse

READ = datapipe.read("orders", source="sqlite:///crm.db", incremental="at")
UPSERT: dict[str, Any] = {"strategy": "upsert", "keys": ["id"]}


@pytest.mark.parametrize("deletes", ["mark", "remove"])
def test_a_plan_comes_back_from_its_document(deletes: Any) -> None:
    plan = READ.write("copy", **UPSERT, deletes=deletes).plan
    assert plan.document()["persistence"]["deletes"] == deletes
    again = parse(plan.document())
    assert again == plan and again.fingerprint == plan.fingerprint
    assert f"deletes: {deletes}" in Pipeline(plan).to_yaml()


def test_a_plan_without_it_is_what_it_was() -> None:
    plan = READ.write("copy", **UPSERT).plan
    assert "deletes" not in plan.document()["persistence"]
    assert plan.fingerprint != READ.write("copy", **UPSERT, deletes="mark").plan.fingerprint


def test_the_schema_of_documents_knows_it() -> None:
    target = Plan.json_schema()["$defs"]["TableTarget"]["properties"]["deletes"]
    assert {"mark", "remove"} == set(target["anyOf"][0]["enum"])


@pytest.mark.parametrize(
    ("plan", "options", "problem"),
    [
        (datapipe.read("orders", source="sqlite:///crm.db"), UPSERT, "deletes is for an incremental table or query"),
        (READ, {"strategy": "append"}, "deletes is for rows that are known by their keys"),
        (READ, {"strategy": "insert", "keys": ["id"]}, "deletes is for rows that are known by their keys"),
        (READ, {"strategy": "upsert"}, "upsert needs keys"),
    ],
)
def test_what_does_not_go_with_it_is_refused(plan: Pipeline, options: Any, problem: str) -> None:
    with pytest.raises(PlanError, match=problem) as refused:
        plan.write("copy", **options, deletes="remove")
    assert refused.value.hint


def test_neither_a_slice_nor_a_file_nor_another_word_takes_it() -> None:
    document = READ.write("copy", **UPSERT, deletes="remove").plan.document()
    cut = {"cursor": "at", "start": 1, "until": 2, "watermark": False}
    with pytest.raises(PlanError, match="a slice looks for no deleted rows"):
        parse({**document, "ingestion": {**document["ingestion"], "incremental": cut}})
    with pytest.raises(PlanError, match="files have no keys"):
        READ.write("copy.parquet", deletes="remove")
    with pytest.raises(PlanError, match="deletes"):
        READ.write("copy", **UPSERT, deletes="hide")  # type: ignore[arg-type]  # what is refused
