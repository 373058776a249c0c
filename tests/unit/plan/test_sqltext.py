"""SQL as text: parameters are found where they are parameters, and one query is one query."""

import pytest

from datapipe.errors import PlanError
from datapipe.plan.sqltext import check_one_query, check_parameters, named_parameters, rewrite


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a, :b, :a", ("a", "b")),
        ("SELECT ':no', \":no\", `:no`, a::int, $$:no$$, $q$:no$q$ -- :no\n /* :no */", ()),
        ("SELECT E'it\\'s :no' , :yes", ("yes",)),
        ("SELECT x[1:n], x[:n]", ("n",)),
        ("SELECT '12:30', t > :low AND t<:high", ("low", "high")),
        ("SELECT x := 1", ()),
    ],
)
def test_named_parameters(sql, names):
    assert named_parameters(sql) == names


def test_rewrite_touches_nothing_else():
    sql = "SELECT ':a', b::int /* :a */ FROM t WHERE c = :a"
    assert rewrite(sql, lambda name: f"${name}") == "SELECT ':a', b::int /* :a */ FROM t WHERE c = $a"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  -- a note\n select 1 ;  ",
        "(SELECT 1) UNION (SELECT 2)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1)",
        "TABLE users",
        "SELECT 'a; DROP TABLE b'",
        "SELECT replace(a, 'x', 'insert into') FROM t",
        "SELECT t.into, update FROM t",
        "FROM t",
    ],
)
def test_queries_pass(sql):
    assert ";" not in check_one_query(sql, step="x")[-2:]


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " -- only a note",
        "DELETE FROM t",
        "SELECT 1; DROP TABLE t",
        "SELECT * INTO b FROM a",
        "EXPLAIN SELECT 1",
        "WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a",
        "COPY t TO 'x'",
        "CALL f()",
    ],
)
def test_everything_else_is_refused(sql):
    with pytest.raises(PlanError):
        check_one_query(sql, step="x")


def test_a_trailing_comment_cannot_swallow_what_follows():
    assert check_one_query("SELECT 1 -- why", step="x").endswith("\n")


def test_a_missing_or_unused_parameter_is_named():
    with pytest.raises(PlanError, match=r":low has no value"):
        check_parameters("SELECT :low", {}, step="x")
    with pytest.raises(PlanError, match=r"'lo' is not used. Did you mean 'low'"):
        check_parameters("SELECT :low", {"low": 1, "lo": 2}, step="x")


def test_a_backslash_before_a_quote_is_told_of():
    with pytest.raises(PlanError, match="A quote within a text is written ''"):
        check_parameters(r"SELECT * FROM t WHERE a = 'O\'Brien' AND id > :id AND x = 'a'", {"id": 1})
