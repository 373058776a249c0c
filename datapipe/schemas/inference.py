"""A contract proposed from the rows that are there."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.types import describe
from datapipe.plan import ColumnRule, Contract
from datapipe.plan.values import freeze
from datapipe.schemas.kinds import kind_of

_FEW = 12  # different texts that look like a list of choices
_MANY = 50  # rows below which nothing is concluded from values
_WORDS = {
    "integer": "int",
    "float": "float",
    "text": "str",
    "boolean": "bool",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "date": "date",
    "time": "time",
    "binary": "binary",
    "uuid": "uuid",
    "json": "json",
    "interval": "interval",
}


def infer(data: Any) -> Contract:
    """Propose a contract from rows: their types, NULLs, keys, lower bounds of 0 and lists of choices.

    Parameters
    ----------
    data : Pipeline, pandas.DataFrame, polars.DataFrame or pyarrow.Table
        A pipeline is run up to its target; take part of its rows with ``.sql("SELECT … LIMIT 100000")``.

    Returns
    -------
    Contract
        To be read and corrected: ``to_yaml()`` and ``to_python()`` print it, ``.validate()`` takes it.

    Examples
    --------
    >>> import pandas as pd
    >>> print(infer(pd.DataFrame({"id": [1, 2], "name": ["a", None]})))
    columns:
      id:
        type: int
      name:
        type: str
        nullable: true
    <BLANKLINE>
    """
    from datapipe.data.frames import from_frame  # loads pandas

    return of_table(data.collect("arrow") if hasattr(data, "collect") and hasattr(data, "plan") else from_frame(data))


def of_table(table: pa.Table) -> Contract:
    """The contract that a table keeps.

    Examples
    --------
    >>> of_table(pa.table({"id": list(range(100)), "size": ["S", "M"] * 50})).form()["columns"]["size"]
    {'type': 'str', 'checks': [{'isin': ['M', 'S']}]}
    """
    columns = {field.name: _rule(field, table.column(field.name)) for field in table.schema}
    return Contract(columns=freeze(columns))


def _rule(field: pa.Field, values: pa.ChunkedArray) -> ColumnRule:
    kind = kind_of(describe(field))
    found: dict[str, Any] = {"type": _WORDS.get(kind.family, describe(field))}
    if kind.family == "decimal" and kind.precision is None:
        found["type"] = "decimal"
    if kind.family not in _WORDS and kind.family != "decimal":
        del found["type"]
    if values.null_count:
        found["nullable"] = True
    if len(values) >= _MANY:
        found |= _from_values(kind.family, values.drop_null())
    return ColumnRule.model_validate(found)


def _from_values(family: str, values: pa.ChunkedArray) -> dict[str, Any]:
    """What the values of enough rows suggest: a key, a lower bound of 0, a list of choices."""
    if not len(values):
        return {}
    if family == "text":
        choices = pc.unique(values)
        if len(choices) <= _FEW and len(choices) * 10 <= len(values):
            return {"checks": [{"isin": sorted(choices.to_pylist())}]}
        return {"unique": True} if len(choices) == len(values) else {}
    if family in {"integer", "decimal", "float"}:
        found: dict[str, Any] = {"checks": [{"ge": 0}]} if pc.min(values).as_py() >= 0 else {}
        is_key = family == "integer" and pc.count_distinct(values).as_py() == len(values)
        return {**found, "unique": True} if is_key else found
    return {}
