"""A contract put to the columns that are there: what is refused at once, what is converted, what is to be checked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import pyarrow as pa

from datapipe.data.casting import cast_column
from datapipe.data.names import find_name
from datapipe.data.types import EXACT_NUMERIC, describe, tag
from datapipe.errors import DataError, PlanError, SchemaError, did_you_mean
from datapipe.plan.contract import CheckSpec, ColumnRule, Contract
from datapipe.schemas.builtin import passing
from datapipe.schemas.expected import Expected, expected

_LENGTH = re.compile(r"(?:n?varchar|char|character varying|character|bpchar)\s*\((\d+)\)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class BoundColumn:
    """A column of the rows and the rule for it, if there is one.

    Parameters
    ----------
    index : int
        Its place among the columns that come in.
    field : pyarrow.Field
        What it is handed on as.
    """

    index: int
    field: pa.Field
    rule: ColumnRule | None = None
    coerced: bool = False


@dataclass(frozen=True)
class BoundCheck:
    """A check and the columns it looks at; none of them by name if it is one of the table."""

    spec: CheckSpec
    column: str | None = None
    number: int = 1  # among checks that read alike, such as lambdas

    @property
    def label(self) -> str:
        """The check for people; no two of a contract have the same."""
        label = f"{self.column}: {self.spec.label}" if self.column else self.spec.label
        return label if self.number == 1 else f"{label} ({self.number})"


@dataclass(frozen=True)
class Unique:
    """Columns whose values together must not repeat, and which of the equal rows are refused."""

    columns: tuple[str, ...]
    refused: str  # "all", "exclude_first", "exclude_last"

    @property
    def label(self) -> str:
        """The check for people."""
        return f"{', '.join(self.columns)}: unique"


@dataclass(frozen=True)
class Bound:
    """A contract put to a schema."""

    columns: tuple[BoundColumn, ...]
    checks: tuple[BoundCheck, ...]
    unique: tuple[Unique, ...]

    @property
    def schema(self) -> pa.Schema:
        """What the rows are handed on as."""
        return pa.schema([column.field for column in self.columns])


def bind(contract: Contract, schema: pa.Schema) -> Bound:
    """Put a contract to the columns that are there.

    Raises
    ------
    SchemaError
        With every column that is missing, is unknown, or has another type.
    PlanError
        If the contract names a type that there is not.
    """
    matches = tuple(_matches(contract, schema))
    found: dict[str, ColumnRule] = {}
    for _, name, matched in matches:
        found[name] = _both(found[name], matched) if name in found else matched
    problems = [
        *_missing(contract, {wanted for wanted, *_ in matches}, schema.names),
        *_unknown(contract, found, schema),
    ]
    columns, checks, unique = [], [], []
    for index, field in enumerate(schema):
        rule = found.get(field.name)
        if rule is None:
            columns += [] if contract.strict == "filter" else [BoundColumn(index, field)]
            continue
        column, problem = _column(index, field, rule, coerce=rule.coerce or contract.coerce)
        problems += [problem] if problem else []
        columns.append(column)
        checks += [BoundCheck(spec, field.name) for spec in (*_length(rule), *rule.checks)]
        own = rule if "report_duplicates" in rule.model_fields_set else contract
        unique += [Unique((field.name,), own.report_duplicates)] if rule.unique else []
    if not columns:
        problems.append("no column is left")
    if problems:
        raise SchemaError(
            f"the rows and the contract differ: {'; '.join(problems)}",
            hint="Change the rows in a .sql() step, convert them with coerce, or change the contract",
        )
    kept = [column.field.name for column in columns]
    unique += [Unique(_named(names, schema.names, kept), contract.report_duplicates) for names in contract.unique]
    checks += [BoundCheck(spec) for spec in contract.checks]
    bound = Bound(tuple(columns), tuple(_numbered(checks)), tuple(dict.fromkeys(unique)))
    _try_out(bound)
    return bound


def _numbered(checks: Iterable[BoundCheck]) -> Iterator[BoundCheck]:
    seen: Counter[str] = Counter()
    for check in checks:
        seen[check.label] += 1
        yield replace(check, number=seen[check.label])


def _both(one: ColumnRule, other: ColumnRule) -> ColumnRule:
    """What a column is held to by its own name and by a pattern, or by two patterns."""
    first = one if one.type else other
    if one.type and other.type and one.type != other.type:
        raise PlanError(f"two rules match a column and name different types: {one.type} and {other.type}")
    return first.model_copy(
        update={
            "nullable": one.nullable and other.nullable,
            "unique": one.unique or other.unique,
            "coerce": one.coerce or other.coerce,
            "default": other.default if one.default is None else one.default,
            "checks": (*one.checks, *other.checks),
        }
    )


def _try_out(bound: Bound) -> None:
    """Refuse a default, or a check's argument, that does not go with its column, before any row is read."""
    fields = {column.field.name: column.field for column in bound.columns}
    for column in bound.columns:
        if column.rule is not None and column.rule.default is not None:
            default_of(column)
    for check in bound.checks:
        if check.column and check.spec.check:
            field = fields[check.column]
            try:
                passing(check.spec, pa.array([], EXACT_NUMERIC if tag(field) == "numeric" else field.type))
            except PlanError as error:
                error.message = f"column {check.column!r}: {error.message}"
                raise


def default_of(column: BoundColumn) -> pa.Scalar:
    """What takes the place of NULL in a column.

    Raises
    ------
    PlanError
        If the column's type cannot hold it.
    """
    field = column.field
    try:
        return cast_column(pa.array([column.rule and column.rule.default]), field.type, column=field.name)[0]
    except (DataError, pa.ArrowException) as error:
        hint = "Give one of the column's own type"
        raise PlanError(f"column {field.name!r}: the default is no {describe(field)}", hint=hint) from error


def _matches(contract: Contract, schema: pa.Schema) -> Iterator[tuple[str, str, ColumnRule]]:
    """The name in the contract, that of a column it stands for, and the rule."""
    for name, rule in contract.columns.items():
        if rule.regex:
            yield from ((name, column, rule) for column in schema.names if re.match(name, column))
        elif (match := find_name(name, schema.names)) is not None:
            yield name, match, rule


def _missing(contract: Contract, found: Collection[str], names: Sequence[str]) -> Iterator[str]:
    for name, rule in contract.columns.items():
        if rule.required and name not in found:
            near = get_close_matches(name, [other for other in names if other not in contract.columns], 1)
            yield f"column {name} is missing{f' (is it {near[0]}?)' if near else ''}"


def _unknown(contract: Contract, found: dict[str, ColumnRule], schema: pa.Schema) -> Iterator[str]:
    if contract.strict is True:
        yield from (f"column {name} is not in the contract" for name in schema.names if name not in found)
    if contract.ordered:
        wanted = [name for name in found if name in schema.names]
        there = [name for name in schema.names if name in found]
        if wanted != there:
            yield f"the columns come as {', '.join(there)}, not as {', '.join(wanted)}"


def _column(index: int, field: pa.Field, rule: ColumnRule, *, coerce: bool) -> tuple[BoundColumn, str | None]:
    wanted = expected(rule.type) if rule.type else None
    if wanted is None or wanted.takes(field):
        return BoundColumn(index, field, rule), None
    problem = f"column {field.name} is {describe(field)}, not {rule.type}"
    if not coerce:
        return BoundColumn(index, field, rule), problem
    target = pa.field(field.name, _target(wanted, field))
    try:
        cast_column(pa.array([], field.type), target.type, column=field.name)
    except DataError as error:
        return BoundColumn(index, field, rule), f"{problem}: {error.message.partition(': ')[2]}"
    return BoundColumn(index, target, rule, coerced=True), None


def _target(wanted: Expected, field: pa.Field) -> pa.DataType:
    """What to convert a field to; a moment keeps its time zone where the contract names none."""
    if "timestamp" in wanted.families and pa.types.is_timestamp(field.type):
        return field.type
    if wanted.kind is None and wanted.families == ("decimal",) and tag(field) == "numeric":
        return EXACT_NUMERIC
    return wanted.arrow


def _length(rule: ColumnRule) -> tuple[CheckSpec, ...]:
    """The check that the length of a text type is."""
    match = _LENGTH.match(rule.type.strip()) if rule.type else None
    return (CheckSpec.model_validate({"str_length": {"max_value": int(match[1])}}),) if match else ()


def _named(names: Iterable[str], given: Sequence[str], kept: Sequence[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        match = find_name(name, kept)
        if match is None and find_name(name, given) is not None:
            raise left_out("unique", name)
        if match is None:
            raise PlanError(f"unique names the column {name!r}", hint=did_you_mean(name, given, what="columns"))
        found.append(match)
    return tuple(found)


def left_out(what: str, column: str) -> PlanError:
    """The error for a column that the contract reads and filters."""
    hint = "Name the column among the contract's columns, or leave out strict"
    return PlanError(f"{what} reads the column {column!r}, which strict='filter' leaves out", hint=hint)
