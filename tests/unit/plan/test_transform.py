"""The declarative form, and its older forms."""

import pytest

from datapipe.errors import PlanError
from datapipe.plan import TransformConfig, build
from datapipe.plan.transform import migrate


def test_an_older_form_becomes_the_current_one():
    old = {
        "version": 0,
        "field_mappings": {"full_name": "name"},
        "filters": {"a": 1},
        "computed": {"b": "a + 1"},
    }
    new = {"version": 1, "rename": {"name": "full_name"}, "filter": {"a": 1}, "add_columns": {"b": "a + 1"}}
    assert migrate(old) == new
    assert build(TransformConfig, old) == build(TransformConfig, new)


def test_a_newer_form_is_refused():
    with pytest.raises(PlanError, match="version 9"):
        build(TransformConfig, {"version": 9})


def test_one_column_may_be_written_without_a_list():
    assert build(TransformConfig, {"select": "id", "sort": "-id"}).select == ("id",)
