"""Named parameters get other values, wherever a text uses them."""

import pytest

from datapipe.errors import PlanError
from datapipe.plan import bind, check_bound, parse

PLAN = parse(
    {
        "ingestion": {"query": "SELECT * FROM t WHERE d = :day", "parameters": {"day": "2024-01-01"}},
        "transformation": {
            "type": "sql",
            "config": {
                "sql_query": "SELECT * FROM input_data JOIN x USING (k) WHERE k > :low",
                "tables": {"x": {"ingestion": {"query": "SELECT * FROM x WHERE d = :day"}}},
            },
        },
    }
)


def test_a_value_reaches_every_text_that_uses_it():
    bound = bind(PLAN, {"day": "2025-05-05", "low": 3})
    assert bound.ingestion.parameters == {"day": "2025-05-05"}
    assert bound.transformation[0].config.parameters == {"low": 3}
    assert bound.transformation[0].config.tables["x"].ingestion.parameters == {"day": "2025-05-05"}
    assert PLAN.ingestion.parameters == {"day": "2024-01-01"}
    check_bound(bound)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(PlanError, match=r"unknown parameter 'dya'\. Did you mean 'day'"):
        bind(PLAN, {"dya": 1})


def test_a_parameter_without_a_value_is_refused_before_a_run():
    with pytest.raises(PlanError, match=r":low has no value"):
        check_bound(PLAN)
