"""What holds of kinds and differences, whatever the types and columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datapipe.schemas import ColumnSpec, SchemaDiff, diff, diff_target, landed, version_of
from datapipe.schemas.kinds import holds, joined, kind_of

_PLAIN = [
    *("smallint", "integer", "int", "bigint", "tinyint", "tinyint(1)", "int unsigned", "bigint unsigned", "utinyint"),
    *("real", "double precision", "float", "double", "numeric", "text", "varchar", "char", "boolean", "date", "time"),
    *("timestamp", "timestamptz", "timestamp with time zone", "bytea", "uuid", "jsonb", "json", "interval", "inet"),
    *("point", "integer[]", "tinytext", "DECIMAL TEXT", "JSON TEXT", ""),
]
_sized = st.builds(
    "{}({})".format, st.sampled_from(["varchar", "char", "time", "timestamp", "varbinary"]), st.integers(1, 9)
)
_decimals = st.builds(lambda p, s: f"numeric({p},{min(p, s)})", st.integers(1, 38), st.integers(0, 38))
types = st.one_of(st.sampled_from(_PLAIN), _sized, _decimals)
kinds = types.map(kind_of)
names = st.text(min_size=1, max_size=4)
columns = st.builds(ColumnSpec, names, types, st.booleans())
schemas = st.lists(columns, max_size=6, unique_by=lambda column: column.name)


@given(kinds)
def test_a_kind_holds_itself(kind):
    assert holds(kind, kind)
    assert joined(kind, kind) == kind


@given(kinds, kinds, kinds)
def test_what_holds_a_holder_holds_all_of_it(outer, middle, inner):
    if holds(outer, middle) and holds(middle, inner):
        assert holds(outer, inner)


@given(kinds, kinds)
def test_what_is_joined_holds_both_and_the_order_is_no_matter(one, other):
    found = joined(one, other)
    assert (found is None) == (joined(other, one) is None)
    if found is not None:
        assert holds(found, one) and holds(found, other)


@given(schemas)
def test_equal_schemas_have_no_difference(columns):
    assert not diff(columns, list(columns)).changes
    assert version_of(columns) == version_of(tuple(columns))


@given(schemas, schemas)
def test_a_difference_mirrored_swaps_what_came_and_what_went(before, after):
    there, back = diff(before, after), diff(after, before)
    assert called(there, "added") == called(back, "removed")
    assert called(there, "removed") == called(back, "added")
    assert called(there, "retyped") == called(back, "retyped")
    assert called(there, "nullable") == called(back, "required")
    assert called(there, "widened") <= called(back, "narrowed")


@given(schemas, schemas, st.randoms())
def test_schemas_have_one_version_where_they_have_no_difference(before, after, random):
    assert (version_of(before) == version_of(after)) == (not diff(before, after).changes)
    mixed = random.sample(before, len(before))
    assert version_of(mixed) == version_of(before)


@given(schemas, schemas)
def test_what_breaks_comes_first(before, after):
    flags = [change.breaking for change in diff(before, after)]
    assert flags == sorted(flags, reverse=True)
    everything = diff(before, after).judged(lambda change: change.change == "added")
    assert {change.column for change in everything.breaking} == called(everything, "added")


@given(schemas, schemas)
def test_full_is_backward_and_forward(before, after):
    for change in diff(before, after):
        assert change.breaks("full") == (change.breaks("backward") or change.breaks("forward"))


@given(schemas)
def test_data_of_the_target_s_own_schema_land_as_they_are(columns):
    assert landed(columns, columns) == tuple(columns)
    assert not diff_target(columns, columns).changes


def called(found: SchemaDiff, change: str) -> set[str]:
    return {one.column for one in found if one.change == change}
