"""schema_mode and rename, in a plan and its documents."""

from __future__ import annotations

from typing import Any

import pytest

import datapipe
from datapipe.errors import PlanError
from datapipe.plan import TableTarget, build, loads, to_yaml


def test_they_travel_in_a_document() -> None:
    plan = datapipe.read("users").write("t", schema_mode="evolve", rename={"colour": "color"}).plan
    assert loads(to_yaml(plan)) == plan
    assert plan.document()["persistence"]["rename"] == {"colour": "color"}


def test_a_plan_without_them_is_what_it_was() -> None:
    assert datapipe.read("users").write("t", rename={}).plan.document()["persistence"] == {"table_name": "t"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schema_mode": "evolv"}, "Did you mean 'evolve'"),
        (
            {"schema_mode": "strict", "rename": {"a": "b"}},
            "rename changes the table, which schema_mode strict does not",
        ),
        ({"schema_mode": "discard", "rename": {"a": "b"}}, "schema_mode discard does not"),
        ({"rename": {"a": "b", "b": "a"}}, "rename names a column twice"),
        ({"rename": {"a": "b", "c": "b"}}, "rename names a column twice"),
        ({"rename": {"a": ""}}, "rename names a column twice, or none"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        build(TableTarget, {"table_name": "t", **options})


def test_files_have_neither() -> None:
    for options in ({"schema_mode": "strict"}, {"rename": {"a": "b"}}):
        with pytest.raises(PlanError, match="files have no"):
            datapipe.read("users").write("out/t.parquet", **options)
    with pytest.raises(PlanError, match="schema_mode"):
        loads("{ingestion: {table: users}, persistence: {path: t.parquet, schema_mode: strict}}")
