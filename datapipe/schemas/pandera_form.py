"""Contracts out of what a user has: a Pandera schema or model, a reference to one, a file, a mapping."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from datapipe.errors import PlanError
from datapipe.plan import CheckSpec, Contract, FunctionRef, ValidateConfig, build
from datapipe.plan.contract import BUILT_IN
from datapipe.plan.given import schema_of

_COLUMN = ("nullable", "unique", "required", "coerce", "regex", "default", "report_duplicates")


def contract_of(given: Any) -> Contract:
    """The contract that something stands for.

    Parameters
    ----------
    given : Contract, mapping, FunctionRef, pandera.DataFrameSchema, or subclass of pandera.DataFrameModel

    Raises
    ------
    PlanError
        If it is none of these, or asks for what no stream of rows can do.

    Examples
    --------
    >>> import pandera.pandas as pa
    >>> contract_of(pa.DataFrameSchema({"id": pa.Column(int, pa.Check.ge(0))})).form()
    {'columns': {'id': {'type': 'int64', 'checks': [{'greater_than_or_equal_to': 0}]}}}
    """
    if isinstance(given, FunctionRef):
        return contract_of(given.resolve())
    if isinstance(given, Contract):
        return given
    if isinstance(given, Mapping):
        return build(Contract, given, step="contract")
    if not is_pandera(given):
        raise PlanError(
            f"{type(given).__name__} is no schema",
            hint="Give a Pandera DataFrameSchema or DataFrameModel, 'module:name', a YAML or JSON file, or a mapping",
        )
    model: Any = given
    return _of_pandera(model.to_schema() if isinstance(given, type) else model)


def portable_schema(schema: Any) -> Any:
    """A schema as plans hold it: by its name if it can be imported, else its content.

    Raises
    ------
    PlanError
        If it cannot be read, or asks for what no stream of rows can do.
    """
    is_local = isinstance(schema, type) and not FunctionRef.of(schema).portable
    return (
        contract_of(schema) if is_local or (is_pandera(schema) and not isinstance(schema, type)) else schema_of(schema)
    )


def held_to(config: ValidateConfig) -> Contract:
    """The contract of a validation, with the checks beside it."""
    contract = Contract() if config.schema_ is None else contract_of(config.schema_)
    return contract.model_copy(update={"checks": (*contract.checks, *config.checks)})


def contract_lines(config: ValidateConfig) -> tuple[str, ...]:
    """What rows are held to, in a line for each column and each check, for people."""
    contract = held_to(config)
    lines = []
    for name, rule in contract.columns.items():
        words = [rule.type or "any type", *(["NULL allowed"] if rule.nullable else [])]
        words += [word for word in ("unique", "coerce") if getattr(rule, word)]
        words += [check.label for check in rule.checks]
        lines.append(f"{name}: {', '.join(words)}")
    lines += [f"unique: {', '.join(names)}" for names in contract.unique]
    return (*lines, *(check.label for check in contract.checks))


def is_pandera(given: Any) -> bool:
    """Whether it is a schema or a model of Pandera, without loading it."""
    kinds = given.__mro__ if isinstance(given, type) else type(given).__mro__
    names = {kind.__name__ for kind in kinds if kind.__module__.startswith("pandera.")}
    return bool(names & {"DataFrameModel", "DataFrameSchema"})


def _of_pandera(schema: Any) -> Contract:
    for name, is_asked, why in (
        ("index", schema.index is not None, "validates columns; make the index a column"),
        ("parsers", bool(schema.parsers), "does not change values; do it in .apply() or .sql()"),
        ("add_missing_columns", schema.add_missing_columns, "adds no columns; do it in .sql()"),
        ("drop_invalid_rows", schema.drop_invalid_rows, "drops rows with on_error='drop'"),
        ("dtype", schema.dtype is not None, "wants a type for each column"),
    ):
        if is_asked:
            raise PlanError(f"the schema's {name} is not supported: datapipe {why}")
    unique = schema.unique or ()
    return build(
        Contract,
        {
            "columns": {name: _column(name, column) for name, column in schema.columns.items()},
            "checks": _checks(schema.checks),
            "unique": [unique] if isinstance(unique, str) else list(unique),
            "report_duplicates": schema.report_duplicates,
            "strict": schema.strict,
            "ordered": schema.ordered,
            "coerce": schema.coerce,
        },
        step="contract",
    )


def _column(name: str, column: Any) -> dict[str, Any]:
    if column.parsers:
        hint = "Do it in .apply() or .sql()"
        raise PlanError(f"column {name!r}: parsers are not supported: datapipe does not change values", hint=hint)
    found = {field: getattr(column, field) for field in _COLUMN}
    type_ = None if column.dtype is None else str(column.dtype)
    return {"type": type_, **found, "checks": _checks(column.checks)}


def _checks(checks: Sequence[Any]) -> tuple[CheckSpec, ...]:
    return tuple(_check(check) for check in checks)


def _check(check: Any) -> CheckSpec:
    if check.groupby is not None:
        raise PlanError(f"the check {check.name!r} has groupby, which is not supported", hint="Use an SQL check")
    options = {"ignore_na": check.ignore_na, "warn": check.raise_warning}
    if check.name in BUILT_IN and _is_built_in(check) and check.statistics:
        given = {name: value for name, value in check.statistics.items() if value is not None}
        given = {name: _argument(value) for name, value in given.items()}
        name = None if str(check.error).startswith(f"{check.name}(") else check.error  # Pandera's own words
        return build(CheckSpec, {"check": check.name, "arguments": given, "name": name, **options}, step="contract")
    function = check._check_fn
    if check._check_kwargs:
        function = functools.partial(function, **check._check_kwargs)
    return build(
        CheckSpec,
        {
            "function": FunctionRef.of(function),
            "name": check.error or check.name,
            "element_wise": check.element_wise,
            "row_wise": bool(getattr(check._check_fn, "row_wise", False)),
            **options,
        },
        step="contract",
    )


def _is_built_in(check: Any) -> bool:
    """Whether it is Pandera's own check: a user's may have the name of one."""
    if not type(check).is_builtin_check(check.name):
        return False
    # A schema copies its checks, so theirs are of the registry's class, not the same objects.
    return isinstance(check._check_fn, type(type(check).get_builtin_check_fn(check.name)))


def _argument(value: Any) -> Any:
    """An argument as plain data: a set in an order of its own, a compiled pattern as text with its flags."""
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, re.Pattern):
        flags = "".join(letter for letter in "imsx" if value.flags & re.RegexFlag[letter.upper()])
        return f"(?{flags}){value.pattern}" if flags else value.pattern
    return list(value) if isinstance(value, (range, dict)) or type(value).__name__ == "dict_keys" else value


def row_wise(function: Any) -> Any:
    """Mark a check's function as one that judges each row by itself, so that it may see the rows in batches.

    Examples
    --------
    >>> @row_wise
    ... def has_at(mails):
    ...     return mails.str.contains("@")
    """
    function.row_wise = True
    return function
