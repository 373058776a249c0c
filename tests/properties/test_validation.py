"""Every built-in check gives Pandera's own verdict, and no outcome depends on the batch size."""

from __future__ import annotations

import datetime as dt
import operator
import warnings
from decimal import Decimal
from typing import Any

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.frames import to_pandas
from datapipe.data.rejects import Rejects
from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import DatapipeError
from datapipe.plan import CheckSpec, ValidateConfig, build
from datapipe.schemas import run_validate
from datapipe.schemas.builtin import passing

TEXT = st.text(st.sampled_from("aäßßΩ\u06611 _\n\t😀.Z"), max_size=4)
MOMENTS = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(1990, 1, 3))
ORDERED = ("equal_to", "not_equal_to", "greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to")
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "integers": (pa.int64(), st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)])),
    "floats": (pa.float64(), st.sampled_from([0.0, -0.0, 1.5, -1.5, float("nan"), float("inf")])),
    "decimals": (pa.decimal128(12, 3), st.decimals(-2, 2, places=1)),
    "text": (pa.string(), TEXT),
    "dates": (pa.date32(), st.dates(dt.date(1990, 1, 1), dt.date(1990, 1, 4))),
    "timestamps": (pa.timestamp("us"), MOMENTS),
    "booleans": (pa.bool_(), st.booleans()),
}


def verdict(check: pandera.Check, values: pa.Array) -> list[bool]:
    """Pandera's own: which values pass."""
    column = to_pandas(pa.table({"v": values}))["v"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passed = check(column).check_output
    if isinstance(passed, pd.Series):
        return list(passed.reindex(column.index).fillna(value=True).astype(bool))
    return [bool(passed)] * len(values)


def ours(spec: dict[str, Any], values: pa.Array) -> list[bool]:
    return [passed is not False for passed in passing(CheckSpec.model_validate(spec), values).to_pylist()]


def drawn(data: st.DataObject, kind: str) -> tuple[pa.Array, st.SearchStrategy[Any]]:
    type_, values = KINDS[kind]
    arguments = values.filter(lambda value: repr(value) != "nan")
    return pa.array(data.draw(st.lists(st.none() | values, min_size=1, max_size=12)), type_), arguments


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(st.data(), st.sampled_from(ORDERED))
def test_comparisons(kind: str, data: st.DataObject, name: str) -> None:
    values, argument = drawn(data, kind)
    given_value = data.draw(argument)
    assert ours({name: given_value}, values) == verdict(getattr(pandera.Check, name)(given_value), values)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "booleans"])
@settings(max_examples=30)
@given(st.data(), st.booleans(), st.booleans())
def test_ranges(kind: str, data: st.DataObject, low_too: bool, high_too: bool) -> None:
    values, argument = drawn(data, kind)
    low, high = data.draw(argument), data.draw(argument)
    given_values = {"min_value": low, "max_value": high, "include_min": low_too, "include_max": high_too}
    try:
        check = pandera.Check.in_range(**given_values)
    except ValueError:  # Pandera refuses an empty range
        return
    assert ours({"in_range": given_values}, values) == verdict(check, values)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(st.data(), st.sampled_from(["isin", "notin"]))
def test_lists(kind: str, data: st.DataObject, name: str) -> None:
    values, argument = drawn(data, kind)
    if kind == "floats":  # 0.0 and -0.0 are equal, says equal_to; to pandas, not in a list
        values = pa.array([None if value is None else value + 0.0 for value in values.to_pylist()], pa.float64())
        argument = argument.map(lambda value: value + 0.0)
    items = data.draw(st.lists(argument, min_size=1, max_size=4))
    assert ours({name: items}, values) == verdict(getattr(pandera.Check, name)(items), values)


PATTERNS = [
    r"a",
    r"^a",
    r"a|ä",
    r"[aä]+$",
    r"\d",
    r"\w+",
    r"\s",
    r".",
    r"(?i)z",
    r"ß{2}",
    r"a(?=ä)",
    r"\bä",
    r"^a|ä",
    r"",
]


@settings(max_examples=80)
@given(
    st.lists(st.none() | TEXT, min_size=1, max_size=12),
    st.sampled_from(PATTERNS),
    st.sampled_from(["str_matches", "str_contains"]),
)
def test_patterns(texts: list[str | None], pattern: str, name: str) -> None:
    values = pa.array(texts, pa.string())
    assert ours({name: pattern}, values) == verdict(getattr(pandera.Check, name)(pattern), values)


@settings(max_examples=40)
@given(st.lists(st.none() | TEXT, min_size=1, max_size=12), TEXT, st.integers(0, 3), st.integers(0, 3))
def test_texts(texts: list[str | None], text: str, low: int, more: int) -> None:
    values = pa.array(texts, pa.string())
    for name in ("str_startswith", "str_endswith"):
        assert ours({name: text}, values) == verdict(getattr(pandera.Check, name)(text), values)
    given_values = {"min_value": low, "max_value": low + more}
    assert ours({"str_length": given_values}, values) == verdict(pandera.Check.str_length(**given_values), values)


# --- batches -------------------------------------------------------------------------------------------------

COLUMNS = {
    "element_wise": {"function": lambda value: value > 0, "element_wise": True},
    "row_wise": {"function": lambda column: column < 3, "row_wise": True},
    "column": {"function": lambda column: column <= column.mean() + 1},
    "one answer": {"function": lambda column: bool((column.fillna(0) < 3).all())},
}
CHECKS: list[Any] = [
    "v >= 0",
    "v IS NOT NULL OR k = 'a'",
    "v <= (SELECT max(v) FROM input_data) - 1",
    "row_number() OVER (PARTITION BY k ORDER BY id) <= 2",
    "COUNT(*) > 3",
    "AVG(v) BETWEEN 0 AND 2",
    {"sql": "v <> 1", "warn": True},
    {"function": lambda frame: frame["v"] < 3},
    {"function": lambda frame: frame["v"].fillna(0) < 3, "row_wise": True},
    {"function": lambda row: row["k"] != "c", "element_wise": True},
]
contracts = st.fixed_dictionaries(
    {
        "nullable": st.booleans(),
        "coerce": st.booleans(),
        "unique": st.booleans(),
        "report_duplicates": st.sampled_from(["all", "exclude_first", "exclude_last"]),
        "column": st.lists(st.sampled_from([*COLUMNS, "ge", "isin"]), max_size=2, unique=True),
        "table": st.lists(st.sampled_from(CHECKS), max_size=2),
        "joint": st.booleans(),
    }
)
modes = st.sampled_from(["raise", "quarantine", "drop", "warn"])
rows = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(-1, 3)), max_size=12)


def config_of(chosen: dict[str, Any], mode: str, limit: int | None) -> ValidateConfig:
    checks = [COLUMNS.get(name) or {name: 0 if name == "ge" else [0, 1, 2]} for name in chosen["column"]]
    rule = {name: chosen[name] for name in ("nullable", "unique", "report_duplicates")}
    columns = {"v": {"type": "int", **rule, "checks": checks}, "t": {"nullable": True}}
    if chosen["coerce"]:
        columns["t"] |= {"type": "int", "coerce": True}
    contract = {"columns": columns, "unique": ["k", "v"] if chosen["joint"] else []}
    given_ = {"schema": contract, "checks": chosen["table"] or ["id > 0"], "on_error": mode, "max_failures": limit}
    return build(ValidateConfig, given_)


def outcome(config: ValidateConfig, table: pa.Table, size: int | None) -> tuple[Any, ...]:
    told: list[str] = []
    counted: list[int] = []
    with scratch_directory() as scratch:
        work = Workspace(scratch=scratch, tell=told.append, rejects=Rejects())
        batches = iter(table.to_batches(max_chunksize=size))
        try:
            with run_validate(config, Stream(table.schema, batches), work, step="v", count=counted.append) as stream:
                found: Any = pa.Table.from_batches(stream.batches, stream.schema).to_pylist()
        except DatapipeError as error:
            return type(error), str(error), error.row, [str(failure) for failure in error.failures or ()]
        assert work.rejects is not None
        refused = sorted(
            (row for batch in work.rejects.batches() for row in batch.to_pylist()), key=lambda r: r["row_number"]
        )
    if config.on_error in {"quarantine", "drop"}:
        assert len(found) + sum(counted) == table.num_rows
    assert len(refused) == (sum(counted) if config.on_error == "quarantine" else 0)
    return found, told, sum(counted), refused


@settings(max_examples=35)
@given(rows, contracts, modes, st.none() | st.integers(0, 4))
def test_no_outcome_depends_on_the_batch_size(given_rows: Any, chosen: Any, mode: str, limit: int | None) -> None:
    ids = pa.array(range(1, len(given_rows) + 1), pa.int64())
    keys, values = pa.array([k for k, _ in given_rows], pa.string()), pa.array([v for _, v in given_rows], pa.int64())
    texts = pa.array([f"{v}" if v != 3 else "x" for _, v in given_rows], pa.string())
    table = pa.table({"id": ids, "k": keys, "v": values, "t": texts})
    config = config_of(chosen, mode, limit)
    whole = outcome(config, table, None)
    for size in (1, 3):
        assert outcome(config, table, size) == whole


def test_decimals_are_compared_exactly() -> None:
    values = pa.array([Decimal("0.1"), Decimal("0.3")], pa.decimal128(38, 20))
    assert ours({"ge": 0.3}, values) == [False, True]
    assert ours({"isin": [0.1]}, values) == [True, False]


NUMBERS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "integers": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "decimals": (pa.decimal128(15, 2), st.decimals(-(10**12), 10**12, places=2)),
    "numeric": (pa.decimal128(38, 20), st.decimals(-(10**12), 10**12, places=20)),
    "floats": (pa.float64(), st.floats(allow_nan=False)),
    "reals": (pa.float32(), st.floats(allow_nan=False, width=32)),
}
EDGES: list[Any] = [0, 1, 2, -1, 2.5, -0.5, 0.1, 2**53 + 1, 2**63, -(2**63), 2**64, -(10**400), 10**400]
EDGES += [9007199254740992.5, 2.0**63, -(2.0**63), 1e300, float("inf"), float("-inf")]
EDGES += [Decimal("0.1"), Decimal("2.50"), Decimal("0.1000000000000000055511151231257827"), Decimal("1e400")]
ARGUMENTS = (
    st.sampled_from(EDGES)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.integers(-(2**65), 2**65)
)


@pytest.mark.parametrize("kind", NUMBERS)
@settings(max_examples=60)
@given(st.data())
def test_numbers_are_compared_exactly(kind: str, data: st.DataObject) -> None:
    type_, strategy = NUMBERS[kind]
    fitting = [edge for edge in EDGES if is_of(edge, type_)]
    array = pa.array(data.draw(st.lists(st.none() | strategy | st.sampled_from(fitting), max_size=8)), type_)
    values = array.to_pylist()
    there = st.sampled_from([value for value in values if value is not None] or [0])
    arguments = data.draw(st.lists(ARGUMENTS | strategy | there, min_size=1, max_size=4))

    def number(value: Any) -> Any:  # among decimals a float stands for the decimal that it is written as
        return Decimal(repr(value)) if pa.types.is_decimal(type_) and isinstance(value, float) else value

    wanted = [number(value) for value in arguments]
    for name in ("eq", "ne", "gt", "ge", "lt", "le"):
        holds = getattr(operator, name)
        assert ours({name: arguments[0]}, array) == [v is None or holds(v, wanted[0]) for v in values]
    assert ours({"isin": arguments}, array) == [v is None or v in wanted for v in values]
    assert ours({"notin": arguments}, array) == [v is None or v not in wanted for v in values]


def is_of(value: Any, type_: pa.DataType) -> bool:
    try:
        return bool(pa.scalar(value, type_).as_py() == value)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
