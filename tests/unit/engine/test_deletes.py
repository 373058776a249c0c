"""Which steps hand keys on as the source has them."""

from __future__ import annotations

from typing import Any

import pytest

import datapipe
from datapipe.engine.deletes import compared_keys
from datapipe.errors import PlanError
from datapipe.pipeline import Pipeline

READ = datapipe.read("orders", source="sqlite:///crm.db", incremental="at")


def same(frame: Any) -> Any:
    """A function that nobody can see through."""
    return frame


def keys_of(plan: Pipeline) -> tuple[str, ...]:
    """The keys by which a plan's target is compared."""
    return compared_keys(plan.write("copy", strategy="upsert", keys=["id", "K"], deletes="remove").plan)


KEPT = [
    "SELECT * FROM input_data WHERE id > :least",
    "SELECT id, k, upper(name) AS name FROM input_data QUALIFY row_number() OVER (PARTITION BY id, k) = 1",
    "SELECT * REPLACE (upper(name) AS name) FROM input_data ORDER BY id",
    "SELECT o.id, o.K, other.name FROM input_data AS o LEFT JOIN other USING (id)",
    "SELECT o.* FROM input_data AS o JOIN other ON o.id = other.id",
    "SELECT id, k, count(*) AS n FROM input_data GROUP BY id, k",
]
CHANGED = [
    "SELECT id + 1 AS id, k FROM input_data",
    "SELECT k AS id, id AS k FROM input_data",
    "SELECT CAST(id AS VARCHAR) AS id, k FROM input_data",
    "SELECT * REPLACE (id + 1 AS id) FROM input_data",
    "SELECT * EXCLUDE (id), 7 AS id FROM input_data",
    "SELECT * RENAME (k AS id, id AS k) FROM input_data",
    "SELECT other.id, o.k FROM input_data AS o JOIN other USING (k)",
    "SELECT id, k FROM input_data JOIN other USING (id)",
    "SELECT * FROM input_data JOIN other USING (id)",
    "SELECT id, k FROM other",
    "WITH input_data AS (SELECT 1 AS id, 2 AS k) SELECT id, k FROM input_data",
    "SELECT id, k FROM (SELECT id + 1 AS id, k FROM input_data)",
    "SELECT id, k FROM input_data UNION ALL SELECT id, k FROM other",
    "SELECT columns(*) + 1 FROM input_data",
    "SELECT b AS k, a AS id FROM input_data AS t(a, b)",
]


def sql(text: str) -> Pipeline:
    """A plan with this step."""
    params = {"least": 1} if ":least" in text else {}
    tables = {"other": datapipe.read("others", source="sqlite:///crm.db")} if "other" in text else {}
    return READ.sql(text, params=params, **tables)


@pytest.mark.parametrize("text", KEPT)
def test_sql_that_hands_keys_on(text: str) -> None:
    assert keys_of(sql(text)) == ("id", "K")


@pytest.mark.parametrize("text", CHANGED)
def test_sql_that_may_not(text: str) -> None:
    with pytest.raises(PlanError, match=r"step 1 \(sql\).*must reach the target as the source has it"):
        keys_of(sql(text))


@pytest.mark.parametrize(
    "config",
    [
        {"filter": "id > 1", "add_columns": {"big": "upper(name)"}, "drop": "name", "sort": "id desc"},
        {"select": ["id", "k"], "distinct": True},
        {"group_by": ["id", "k"], "aggregations": {"n": "count(*)"}},
        {"rename": {"name": "title"}, "cast": {"n": "BIGINT"}},
    ],
)
def test_a_mapping_that_does_not_touch_the_keys(config: dict[str, Any]) -> None:
    assert keys_of(READ.transform(config)) == ("id", "K")


@pytest.mark.parametrize(
    "config",
    [
        {"rename": {"ID": "number"}},
        {"rename": {"k": "id2", "name": "K"}},
        {"cast": {"id": "VARCHAR"}},
        {"add_columns": {"k": "upper(k)"}},
        {"group_by": ["id"], "aggregations": {"k": "max"}},
    ],
)
def test_a_mapping_that_does(config: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"step 1 \(config\)"):
        keys_of(READ.transform(config))


def test_a_contract_may_look_at_keys_and_not_change_them() -> None:
    looking = {"columns": {"id": {"type": "int", "checks": {"ge": 0}}, "name": {"type": "str", "coerce": True}}}
    assert keys_of(READ.validate(looking).validate(checks=["id > 0"])) == ("id", "K")
    for rule in ({"type": "int", "coerce": True}, {"type": "int", "nullable": True, "default": 0}):
        with pytest.raises(PlanError, match=r"step 1 \(validate\)"):
            keys_of(READ.validate({"columns": {"ID": rule}}))
    with pytest.raises(PlanError, match=r"step 1 \(validate\)"):
        keys_of(READ.validate({"columns": {"k": "str"}, "coerce": True}))


def test_a_python_function_is_refused() -> None:
    with pytest.raises(PlanError, match=r"step 2 \(code\)") as refused:
        keys_of(READ.sql("SELECT * FROM input_data").apply(same))
    assert "in its query or a view" in str(refused.value.hint)


def test_without_deletes_any_step_will_do() -> None:
    assert compared_keys(READ.apply(same).write("copy", strategy="upsert", keys=["id"]).plan) == ()
