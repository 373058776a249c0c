"""What rows must look like: columns with their types and checks, and checks of the whole table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_serializer, model_validator

from datapipe.errors import NotPortableError, PlanError, did_you_mean
from datapipe.plan.base import Function, Text, Value
from datapipe.plan.functions import FunctionRef
from datapipe.plan.sqltext import check_one_query
from datapipe.plan.values import FrozenDict, Parameters, decode, encode, encode_each, freeze

# The names of Pandera's built-in checks and of their arguments, with the values of those that may be left out.
BUILT_IN: dict[str, dict[str, Any]] = {
    "equal_to": {"value": ...},
    "not_equal_to": {"value": ...},
    "greater_than": {"min_value": ...},
    "greater_than_or_equal_to": {"min_value": ...},
    "less_than": {"max_value": ...},
    "less_than_or_equal_to": {"max_value": ...},
    "in_range": {"min_value": ..., "max_value": ..., "include_min": True, "include_max": True},
    "isin": {"allowed_values": ...},
    "notin": {"forbidden_values": ...},
    "str_matches": {"pattern": ...},
    "str_contains": {"pattern": ...},
    "str_startswith": {"string": ...},
    "str_endswith": {"string": ...},
    "str_length": {"min_value": None, "max_value": None, "exact_value": None},
    "unique_values_eq": {"values": ...},
}
SHORT = {
    "eq": "equal_to",
    "ne": "not_equal_to",
    "gt": "greater_than",
    "ge": "greater_than_or_equal_to",
    "lt": "less_than",
    "le": "less_than_or_equal_to",
    "between": "in_range",
}
_LISTS = {"isin", "notin", "unique_values_eq"}
_TEXTS = {"pattern", "string"}
# What Pandera writes among a check's arguments, old and new.
_OPTIONS = {"options", "ignore_na", "raise_warning", "name", "error", "n_failure_cases", "groupby", "groups"}
# What a file that Pandera has written says, and what says nothing here.
_IGNORED = {"title", "description", "metadata", "schema_type", "version", "api", "unique_column_names", "name"}
_REFUSED = {
    "index": "validates columns, not an index",
    "parsers": "does not change values; do it in .apply() or .sql()",
    "add_missing_columns": "adds no columns; do it in .sql()",
    "drop_invalid_rows": "drops rows with on_error='drop'",
    "dtype": "wants a type for each column",
}


class CheckSpec(Value):
    """One check: a built-in one, an SQL expression, or a function.

    Parameters
    ----------
    check : str, optional
        The name of a built-in check.
    arguments : mapping
        Of the built-in check, or of the function.
    sql : str, optional
        An expression that must not be false: of a row, or with aggregates of the whole table.
    function : FunctionRef, optional
        Gets a column, or for a check of the table a frame, and returns booleans or one boolean.
    row_wise : bool
        Whether the function judges each row by itself, so that it may get the rows in batches.
    element_wise : bool
        Whether the function gets one value, or one row, at a time.
    ignore_na : bool
        Whether NULL passes.
    warn : bool
        Whether a failure is only told.

    Examples
    --------
    >>> CheckSpec.model_validate({"ge": 0}).label
    'greater_than_or_equal_to(0)'
    """

    check: str | None = None
    arguments: Parameters = Field(default_factory=FrozenDict)
    sql: Text | None = None
    function: Function | None = None
    name: Text | None = None
    row_wise: bool = False
    element_wise: bool = False
    ignore_na: bool = True
    warn: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"sql": data}
        if callable(data):
            return {"function": data}
        if not isinstance(data, Mapping) or {"check", "sql", "function"} & set(data):
            return data
        if len(data) != 1:
            raise PlanError("a check is one name with its arguments, an SQL text, or a function")
        name, given = next((str(name), given) for name, given in data.items())
        return _arguments(SHORT.get(name, name), given)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(found is not None for found in (self.check, self.sql, self.function)) != 1:
            raise PlanError("a check has one of check, sql and function")
        if self.check is not None:
            object.__setattr__(self, "check", SHORT.get(self.check, self.check))
            _check_arguments(str(self.check), self.arguments)
        if self.sql is not None:
            check_one_query(f"SELECT ({self.sql}\n) FROM input_data")
        return self

    @model_serializer
    def _form(self) -> Any:
        extra = {n: getattr(self, n) for n in ("row_wise", "element_wise", "warn") if getattr(self, n)}
        extra |= {"name": self.name} if self.name else {}
        extra |= {} if self.ignore_na else {"ignore_na": False}
        if self.check is not None:
            given = encode_each(self.arguments)
            only = next(iter(given.values())) if len(given) == 1 else given
            if not extra:
                return {self.check: only if len(BUILT_IN[self.check]) == 1 else given}
            return {"check": self.check, "arguments": given, **extra}
        if self.sql is not None:
            return {"sql": self.sql, **extra} if extra else self.sql
        arguments = {"arguments": encode_each(self.arguments)} if self.arguments else {}
        return {"function": self.function.document if self.function else None, **arguments, **extra}

    @property
    def label(self) -> str:
        """The check for people."""
        if self.name:
            return self.name
        if self.check is not None:
            defaults = BUILT_IN[self.check]
            shown = (_shown(v) for n, v in self.arguments.items() if v != defaults.get(n))
            return f"{self.check}({', '.join(shown)})"
        return self.sql or str(self.function.name).rpartition(":")[2].rpartition("<locals>.")[2]  # type: ignore[union-attr]  # it is one of three


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        shown = [_shown(item) for item in value[:5]]
        return f"[{', '.join(shown)}{', …' if len(value) > 5 else ''}]"
    return repr(value) if isinstance(value, (str, bytes, int, float, bool, type(None))) else str(value)


def _arguments(name: str, given: Any) -> dict[str, Any]:
    """A built-in check, however its arguments are written; with the options Pandera writes among them."""
    known = list(BUILT_IN.get(name, {"value": ...}))
    if isinstance(given, Mapping) and set(given) != {"type", "value"}:
        options = {key: given[key] for key in given if key in _OPTIONS}
        options |= options.pop("options", None) or {}
        if options.get("groupby"):
            raise PlanError(f"the check {name} has groupby, which is not supported", hint="Use an SQL check")
        rest = {key: value for key, value in given.items() if key not in _OPTIONS and value is not None}
        if "value" in rest and "value" not in known:
            rest = {known[0]: rest.pop("value"), **rest}
        found = {"ignore_na": options.get("ignore_na", True), "warn": bool(options.get("raise_warning"))}
        return {"check": name, "arguments": rest, "name": options.get("error") or options.get("name"), **found}
    if isinstance(given, (list, tuple)) and name not in _LISTS:
        if len(given) > len(known):
            raise PlanError(f"the check {name} takes {', '.join(known)}, not {len(given)} values")
        return {"check": name, "arguments": dict(zip(known, given, strict=False))}
    return {"check": name, "arguments": {known[0]: given}}


def _check_arguments(name: str, given: Mapping[str, Any]) -> None:
    if name not in BUILT_IN:
        raise PlanError(f"no check is called {name!r}", hint=did_you_mean(name, [*BUILT_IN, *SHORT], what="checks"))
    known = BUILT_IN[name]
    for argument in given:
        if argument not in known:
            hint = f"It takes {', '.join(known)}"
            raise PlanError(f"the check {name} has no argument {argument!r}", hint=hint)
    missing = [argument for argument, default in known.items() if default is ... and given.get(argument) is None]
    if missing or (name == "str_length" and not given):
        raise PlanError(f"the check {name} needs {', '.join(missing or known)}")
    for argument, value in given.items():
        _check_argument(name, argument, value)


def _check_argument(name: str, argument: str, value: Any) -> None:
    if name in _LISTS and not isinstance(value, (list, tuple)):
        raise PlanError(f"the check {name} needs a list, not {value!r}", hint=f"Write it as {name}: [{value!r}]")
    if any(isinstance(item, float) and math.isnan(item) for item in (value if name in _LISTS else [value])):
        raise PlanError(f"the check {name} compares with NaN, which equals nothing", hint="In SQL: isnan(price)")
    if argument in _TEXTS and not isinstance(value, str):
        raise PlanError(f"the check {name} needs text, not {value!r}")
    if name == "str_length" and (isinstance(value, bool) or not isinstance(value, int)):
        raise PlanError(f"the check str_length needs whole numbers, not {value!r}")
    if argument == "pattern":
        _check_pattern(value)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PlanError(f"{pattern!r} is no regular expression: {error}") from None


def _listed(value: Any) -> Any:
    """Checks as a list: from a mapping of names to arguments, one SQL text, or nothing."""
    if value is None:
        return ()
    if isinstance(value, Mapping) and not {"check", "sql", "function"} & set(value):
        return tuple({name: given} for name, given in value.items())
    if isinstance(value, (str, Mapping)) or callable(value):
        return (value,)
    return tuple(map(_named, value)) if isinstance(value, (list, tuple)) else value


def _named(check: Any) -> Any:
    """A check as Pandera lists it: its arguments, and its name among the options."""
    options = check.get("options") if isinstance(check, Mapping) else None
    if not isinstance(options, Mapping) or "check_name" not in options:
        return check
    return {
        str(options["check_name"]): {key: value for key, value in check.items() if key != "value" or value is not None}
    }


def _of_table(checks: tuple[CheckSpec, ...]) -> tuple[CheckSpec, ...]:
    for spec in checks:
        if spec.check is not None:
            hint = "Put it under a column, or write it in SQL: price >= 0"
            raise PlanError(f"the check {spec.check} looks at one column, not at the table", hint=hint)
    return checks


Checks = Annotated[tuple[CheckSpec, ...], BeforeValidator(_listed)]
TableChecks = Annotated[Checks, AfterValidator(_of_table)]


def with_functions(checks: Checks, change: Callable[[FunctionRef], FunctionRef]) -> Checks:
    """The same checks with every function changed."""
    return tuple(
        check if check.function is None else check.model_copy(update={"function": change(check.function)})
        for check in checks
    )


class ColumnRule(Value):
    """What a column must be.

    Parameters
    ----------
    type : str, optional
        ``int``, ``float``, ``str``, ``bool``, ``datetime64[ns]`` … for a kind of values, ``int32``, ``numeric(9,2)``
        or any type in a database's words for those that fit it.
    nullable : bool
    unique : bool
    required : bool
        Whether the column must be there.
    coerce : bool
        Whether values are converted to the type, without loss.
    default : object, optional
        What takes the place of NULL.
    regex : bool
        Whether the column's name is a pattern for several columns.
    checks : tuple of CheckSpec
    """

    type: Text | None = None
    nullable: bool = False
    unique: bool = False
    required: bool = True
    coerce: bool = False
    regex: bool = False
    default: Annotated[Any, AfterValidator(decode), PlainSerializer(encode)] = None
    report_duplicates: Literal["all", "exclude_first", "exclude_last"] = "all"
    checks: Checks = ()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"type": data}
        if not isinstance(data, Mapping):
            return data
        found = _known(data)
        named = [{name: found.pop(name)} for name in list(found) if SHORT.get(name, name) in BUILT_IN]
        if "dtype" in found:
            found["type"] = found.pop("dtype")
        if named:  # Pandera writes them beside the column's other fields
            found["checks"] = (*_listed(found.get("checks")), *named)
        return found


class Contract(Value):
    """What a table must be.

    Parameters
    ----------
    columns : mapping of str to ColumnRule
    checks : tuple of CheckSpec
        Of rows, by several columns, or of the whole table.
    unique : tuple of tuple of str
        Columns whose values together must not repeat.
    strict : bool or "filter"
        Whether other columns are refused, or left out.
    ordered : bool
        Whether the columns must come in this order.
    coerce : bool
        Whether every column is converted to its type, without loss.

    Examples
    --------
    >>> rules = {"columns": {"id": {"type": "int", "unique": True}, "price": {"type": "float", "checks": {"ge": 0}}}}
    >>> Contract.model_validate(rules).columns["price"].checks[0].label
    'greater_than_or_equal_to(0)'
    """

    columns: Annotated[dict[str, ColumnRule], AfterValidator(freeze)] = Field(default_factory=FrozenDict)
    checks: TableChecks = ()
    unique: tuple[tuple[Text, ...], ...] = ()
    report_duplicates: Literal["all", "exclude_first", "exclude_last"] = "all"
    strict: bool | Literal["filter"] = False
    ordered: bool = False
    coerce: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        found = _known(data)
        unique = found.get("unique")
        if unique is None:
            found.pop("unique", None)
        elif isinstance(unique, str) or all(isinstance(name, str) for name in unique):
            found["unique"] = ((unique,) if isinstance(unique, str) else tuple(unique),) if unique else ()
        return found

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, rule in self.columns.items():
            if rule.regex:
                _check_pattern(name)
        return self

    @property
    def functions(self) -> tuple[FunctionRef, ...]:
        """The functions that it calls."""
        return tuple(spec.function for spec in self.every_check() if spec.function is not None)

    def every_check(self) -> Iterator[CheckSpec]:
        """The checks of each column, then those of the table."""
        for rule in self.columns.values():
            yield from rule.checks
        yield from self.checks

    def with_functions(self, change: Callable[[FunctionRef], FunctionRef]) -> Contract:
        """The same contract with every function changed."""
        columns = {
            name: rule.model_copy(update={"checks": with_functions(rule.checks, change)})
            for name, rule in self.columns.items()
        }
        checks = with_functions(self.checks, change)
        return self.model_copy(update={"columns": freeze(columns), "checks": checks})

    def to_yaml(self) -> str:
        """The contract as YAML, which ``.validate()`` takes.

        Raises
        ------
        NotPortableError
            If it calls a function that only this process has.
        """
        for function in self.functions:
            if not function.portable:
                hint = "Move it into a module that can be imported"
                raise NotPortableError(f"the function {function.name!r} exists only in this process", hint=hint)
        return str(self)

    def to_python(self, name: str = "schema") -> str:
        """The contract as Python code that makes a Pandera schema."""
        from datapipe.plan.printing import contract_python

        return contract_python(self, name)

    def __str__(self) -> str:
        import yaml  # a run does without

        return yaml.safe_dump(self.form(), sort_keys=False, allow_unicode=True, width=100)

    def form(self) -> dict[str, Any]:
        """The document form: plain JSON values, defaults left out."""
        found: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return found


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, without those that say nothing; what cannot be kept is refused."""
    for name, why in _REFUSED.items():
        if data.get(name) and not (name == "dtype" and "columns" not in data):
            raise PlanError(f"{name} is not supported: datapipe {why}")
    refused = _REFUSED if "columns" in data or "index" in data else set(_REFUSED) - {"dtype"}
    return {name: value for name, value in data.items() if name not in _IGNORED and name not in refused}
