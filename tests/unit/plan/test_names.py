"""What a name means."""

import pytest

from datapipe.plan.names import is_path, is_query, is_statement, split_table


@pytest.mark.parametrize(
    ("name", "schema", "found"),
    [
        ("users", None, (None, "users")),
        ("crm.users", None, ("crm", "users")),
        ("crm.users", "s", ("s", "crm.users")),
        ("odd name.x", None, (None, "odd name.x")),
        ("a.b.c", None, (None, "a.b.c")),
        ("1a.b", None, (None, "1a.b")),
    ],
)
def test_split_table(name, schema, found):
    assert split_table(name, schema) == found


def test_paths_queries_and_statements_are_told_apart():
    assert is_path("a/b") and is_path("x.CSV") and not is_path("users")
    assert is_query("select 1") and is_query("-- note\nWITH a AS (SELECT 1) SELECT 1") and is_query("(SELECT 1)")
    assert not is_query("selection") and not is_query("values") and not is_query("odd table")
    assert is_statement("DELETE FROM users") and not is_statement("delete log") and not is_statement("update")
