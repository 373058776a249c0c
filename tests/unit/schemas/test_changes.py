"""Differences between schemas: what they are called, what they break, how they look."""

from __future__ import annotations

import json
import re

import pytest

from datapipe.schemas import ColumnSpec, SchemaChange, diff, diff_target, landed

BEFORE = [
    ColumnSpec("id", "bigint", nullable=False),
    ColumnSpec("amount", "numeric(10,2)"),
    ColumnSpec("born", "date"),
    ColumnSpec("note", "varchar(20)", nullable=False),
]


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("int", "bigint", "widened"),
        ("bigint", "int", "narrowed"),
        ("int", "numeric(12,0)", "widened"),
        ("numeric(10,2)", "numeric(10,4)", "narrowed"),
        ("varchar(5)", "text", "widened"),
        ("text", "int", "retyped"),
        ("timestamp", "timestamptz", "retyped"),
    ],
)
def test_a_type_is_widened_narrowed_or_another(before: str, after: str, word: str) -> None:
    (change,) = diff([ColumnSpec("a", before)], [ColumnSpec("a", after)])
    assert (change.change, change.before, change.after, change.breaking) == (word, before, after, word == "retyped")


@pytest.mark.parametrize(
    ("before", "after"), [("timestamptz", "timestamp with time zone"), ("INT", "int4"), ("text", "VARCHAR")]
)
def test_two_spellings_of_a_type_are_no_change(before: str, after: str) -> None:
    assert not diff([ColumnSpec("a", before)], [ColumnSpec("a", after)]).changes


@pytest.mark.parametrize(
    ("change", "backward", "forward"),
    [
        (SchemaChange("added", "a", after="int"), False, False),
        (SchemaChange("added", "a", after="int NOT NULL"), True, False),
        (SchemaChange("removed", "a", "int"), False, False),
        (SchemaChange("removed", "a", "int NOT NULL"), False, True),
        (SchemaChange("widened", "a", "int", "bigint"), False, True),
        (SchemaChange("narrowed", "a", "bigint", "int"), True, False),
        (SchemaChange("required", "a", "int", "int NOT NULL"), True, False),
        (SchemaChange("nullable", "a", "int NOT NULL", "int"), False, True),
        (SchemaChange("retyped", "a", "int", "text"), True, True),
    ],
    ids=str,
)
def test_what_breaks_which_promise(change: SchemaChange, backward: bool, forward: bool) -> None:
    assert [change.breaks("backward"), change.breaks("forward")] == [backward, forward]


def test_text_and_json_say_what_breaks_first() -> None:
    found = diff(BEFORE, [ColumnSpec("id", "text", nullable=False), *BEFORE[1:3], ColumnSpec("day", "date")])
    assert str(found).splitlines() == [
        "breaking: retyped id: bigint -> text",
        "removed note: varchar(20) NOT NULL",
        "added day: date",
    ]
    told = json.loads(json.dumps(found.to_dict()))
    assert (told["before"], told["changes"][0]["change"], told["changes"][0]["breaking"]) == ("before", "retyped", True)
    assert str(diff(BEFORE, BEFORE, titles=("old", "new"))) == "old and new have the same schema"


def test_html_is_a_table_that_a_sanitiser_leaves_alone() -> None:
    odd = [ColumnSpec("<script>alert(1)</script>", "text"), ColumnSpec('a"b', "int")]
    html = diff(odd, [ColumnSpec('a"b', "text")], titles=("<old>", "new"))._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "a&quot;b" in html and "&lt;old&gt; → new" in html
    assert set(re.findall(r"<(\w+)", html)) <= {"table", "caption", "b", "thead", "tbody", "tr", "th", "td", "div"}
    assert not re.search(r"<style|class=|[; \"]color:|background|var\(|aria-|role=", html)
    assert html.count('scope="col"') == 4 and html.count('scope="row"') == 2
    assert html.index("✗ breaking: retyped") < html.index("removed")
    assert "2 changes, 1 breaking" in html
    assert "the same schema" in diff(BEFORE, BEFORE)._repr_html_()


def test_html_of_very_many_changes_is_cut() -> None:
    html = diff([], [ColumnSpec(f"c{number}", "int") for number in range(1_201)])._repr_html_()
    assert "and 1,001 more" in html and len(html) < 100_000


# --- a plan's output and its target ----------------------------------------------------------------------------


def test_a_target_s_names_types_and_nulls_rule() -> None:
    data = [ColumnSpec("ID", "int"), ColumnSpec("amount", "double"), ColumnSpec("day", "date")]
    assert [str(column) for column in landed(BEFORE, data)] == ["id bigint NOT NULL", "amount double", "day date"]


def test_what_stands_between_data_and_target() -> None:
    data = [ColumnSpec("id", "int"), ColumnSpec("amount", "numeric(12,2)"), ColumnSpec("day", "date")]
    found = diff_target(BEFORE, data)
    assert {change.column: change.change for change in found} == {
        "amount": "widened",
        "born": "removed",
        "note": "removed",
        "day": "added",
    }
    assert not found.breaking
    lacking = [SchemaChange("added", "day", None, "date", breaking=True)]
    refused = diff_target(BEFORE, data, needed=["id", "note"], refused=lacking)
    assert [change.column for change in refused.breaking] == ["note", "day"]
    assert all(change.effect for change in refused)
    assert "and the load is refused" in str(refused)


def test_a_table_that_is_not_there_yet_is_created() -> None:
    found = diff_target((), BEFORE)
    assert {(change.change, change.effect, change.breaking) for change in found} == {
        ("added", "the load creates it", False)
    }
