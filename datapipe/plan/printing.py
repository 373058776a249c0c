"""Contracts as Python code that makes a Pandera schema."""

from __future__ import annotations

import json
from typing import Any

from datapipe.errors import PlanError
from datapipe.plan.contract import CheckSpec, ColumnRule, Contract

# Pandera's word for the type that a frame of datapipe has; of others it knows none that survives being written down.
_TYPES = {
    "int": "int",
    "float": "float",
    "str": "str",
    "bool": "bool",
    "timestamp": '"datetime64[us]"',
    "timestamptz": '"datetime64[us, UTC]"',
    "date": '"date32[day][pyarrow]"',
}


def contract_python(contract: Contract, name: str = "schema") -> str:
    """The contract as Python code; what Pandera cannot say is in comments.

    Examples
    --------
    >>> print(contract_python(Contract.model_validate({"columns": {"id": {"type": "int", "unique": True}}})))
    import pandera.pandas as pa
    <BLANKLINE>
    schema = pa.DataFrameSchema(
        {
            "id": pa.Column(int, unique=True),
        },
    )
    <BLANKLINE>
    """
    if not name.isidentifier():
        raise PlanError(f"{name!r} is no name for a variable", hint="Give a name such as 'schema'")
    lines = ["import pandera.pandas as pa", "", f"{name} = pa.DataFrameSchema(", "    {"]
    lines += [f"        {_value(column)}: {_column(rule)}" for column, rule in contract.columns.items()]
    lines += ["    },"]
    lines += [
        f"    {n}={_value(getattr(contract, n))}," for n in ("strict", "ordered", "coerce") if getattr(contract, n)
    ]
    lines += [f"    unique={_value(names)}," for names in contract.unique[:1]]
    lines += [f"    # and unique: {_value(names)}" for names in contract.unique[1:]]
    lines += [")"]
    beside = [*contract.checks, *(check for rule in contract.columns.values() for check in rule.checks)]
    lines += [f"# beside the schema: checks=[{_value(check.sql)}]" for check in beside if check.sql]
    lines += [f"# a check of the schema: {check.function}" for check in beside if check.function]
    return "\n".join([*lines, ""])


def _column(rule: ColumnRule) -> str:
    known = _TYPES.get(rule.type or "")
    found = [known or "None", *_checks(rule.checks)]
    found += [f"default={_value(rule.default)}"] if rule.default is not None else []
    found += [f"{name}=True" for name in ("nullable", "unique", "coerce", "regex") if getattr(rule, name)]
    found += [] if rule.required else ["required=False"]
    return f"pa.Column({', '.join(found)}),{f'  # {_value(rule.type)}' if rule.type and not known else ''}"


def _checks(checks: tuple[CheckSpec, ...]) -> list[str]:
    made = [f"pa.Check.{check.check}({', '.join(_arguments(check))})" for check in checks if check.check]
    return [] if not made else [made[0] if len(made) == 1 else f"[{', '.join(made)}]"]


def _arguments(check: CheckSpec) -> list[str]:
    found = [f"{name}={_value(value)}" for name, value in check.arguments.items()]
    found += ["raise_warning=True"] if check.warn else []
    return found if check.ignore_na else [*found, "ignore_na=False"]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    plain = value is None or isinstance(value, (bool, int, float))
    return repr(value) if plain else json.dumps(str(value))
