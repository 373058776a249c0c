"""Bodies: what is said of a field that is wrong, and the examples that are right."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from restside import Site

from datapipe.plan import parse
from datapipe.rest.models import EXAMPLE, Filters, NotebookRequest, Persist, PipelineRequest


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body.pipeline_config"),
        ({"pipeline_config": []}, "body.pipeline_config"),
        ({"pipeline_config": {}, "pipelineid": "x"}, "body.pipelineid"),
        ({"pipeline_config": {}, "pipeline_id": ""}, "body.pipeline_id"),
        ({"pipeline_config": {}, "pipeline_id": "x" * 129}, "body.pipeline_id"),
        ({"pipeline_config": {}, "queue": "a b"}, "body.queue"),
        ({"pipeline_config": {}, "if_running": "maybe"}, "body.if_running"),
        ({"pipeline_config": {}, "parameters": "hunter2"}, "body.parameters"),
        ([], "body"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(body: Any, where: str, site: Site) -> None:
    answer = site.client().post("/pipelines", body)
    found = answer.json()
    assert (answer.status, found["step"]) == (422, where) and found["detail"] and found["hint"]
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "state=done", "since=yesterday", "colour=red", "name=" + "x" * 129]
)
def test_a_wrong_filter_is_named(query: str, site: Site) -> None:
    answer = site.client().get(f"/runs?{query}")
    assert (answer.status, answer.json()["step"]) == (422, f"query.{query.split('=', maxsplit=1)[0]}")


def test_the_example_of_the_document_is_a_plan() -> None:
    assert parse(PipelineRequest.model_validate({"pipeline_config": EXAMPLE}).pipeline_config)


def test_stages_take_further_fields_of_a_plan_and_pipelines_do_not() -> None:
    assert Persist.model_validate({"table_name": "a", "schema_mode": "strict"}).model_dump()["schema_mode"] == "strict"
    with pytest.raises(ValidationError):
        PipelineRequest.model_validate({"pipeline_config": {}, "schema_mode": "strict"})


@pytest.mark.parametrize("values", [{"timeout": 0}, {"timeout": -1}, {"retries": 21}, {"cell_timeout": "soon"}])
def test_a_notebook_has_limits(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NotebookRequest.model_validate(values)


def test_a_list_is_a_page_of_fifty() -> None:
    assert Filters().limit == 50
