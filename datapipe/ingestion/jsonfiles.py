"""JSON and JSON Lines: the columns are the keys of all records; text stays text, whatever it looks like."""

from __future__ import annotations

import functools
import glob
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.asking import Asked, Choose, everything
from datapipe.data.duckerrors import translate
from datapipe.data.names import json_path, quote, text_literal
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import tag
from datapipe.errors import DataError, DatapipeError
from datapipe.ingestion.duckdb import described, private, streamed
from datapipe.ingestion.forms import MOST_EXACT, declared_fields, parsed
from datapipe.ingestion.rows import Field

# The distinct structures of the records, in the order in which they first appear.
_STRUCTURES = """
SELECT structure FROM (
  SELECT CAST(json_structure(json) AS VARCHAR) AS structure, row_number() OVER () AS place
  FROM read_json_objects($files, hive_partitioning=false)
) GROUP BY structure ORDER BY min(place)"""
_LEAVES = {"UBIGINT": "BIGINT", "HUGEINT": "BIGINT", "NULL": "VARCHAR"}
_NUMBERS = {"UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"}
_REASONS = {
    "duplicate key": "a record has a key twice",
    "Expected OBJECT": "the record is not an object",
    "to numerical": "a whole number has more than 64 bits",
    "Malformed JSON": "it is not valid JSON",
}


@contextmanager
def read_json(
    files: Sequence[Path], columns: Mapping[str, str] | None, work: Workspace, choose: Choose = everything
) -> Iterator[Stream]:
    """The records of JSON files: one array of objects, or one object a line.

    Whole numbers are 64-bit integers; a key with a fraction, an exponent or a number beyond 64 bits among its
    values holds doubles, as JSON readers agree. A key that holds both numbers and text is read as JSON.

    Parameters
    ----------
    columns : mapping of str to str, optional
        DuckDB types for some of the keys. A declared key that no record has is NULL.

    Raises
    ------
    DataError
        If a file is not JSON, holds no objects, or a value is not of its declared type.
    """
    parameters = {"files": [glob.escape(str(file)) for file in files]}
    with ExitStack() as stack:
        con = stack.enter_context(private(work))
        stack.enter_context(work.cancel.hook(con.interrupt))
        try:
            found = con.execute(_STRUCTURES, parameters).fetchall()
        except duckdb.Error as error:
            work.cancel.check()
            raise _explained(error) from None
        structure: Any = functools.reduce(merged, (_structure(text) for (text,) in found), {})
        forms = _forms(structure, columns, files)
        declared = declared_fields(con, columns, list(forms))

        def field_of(seen: Field) -> Field:
            return declared.get(seen.name) or _own(seen, forms)

        asked = None
        if choose is not everything:  # which costs another look at the query
            whole = pa.schema(map(field_of, described(con, _query(forms, declared), parameters, _explained)))
            asked = Asked(whole, choose(whole).granted(whole))
            forms = {name: forms[name] for name in asked.ask.names(whole)}
        stream = stack.enter_context(streamed(con, _query(forms, declared), parameters, work, _explained))
        schema = pa.schema(map(field_of, stream.schema))
        batches = resized(parsed(stream.batches, schema), size=work.batch_bytes)
        yield Stream(schema, batches, asked=asked)


def _structure(text: str) -> Any:
    found = json.loads(text)
    return {} if found == "JSON" else found  # which is what an empty object has


def merged(a: Any, b: Any) -> Any:
    """The structure that values of both structures have; JSON where they have nothing in common.

    Examples
    --------
    >>> merged({"a": "UBIGINT", "b": "NULL"}, {"a": "DOUBLE", "c": ["VARCHAR"]})
    {'a': 'DOUBLE', 'b': 'NULL', 'c': ['VARCHAR']}
    """
    if b in (a, "NULL"):
        return a
    if a == "NULL":
        return b
    if isinstance(a, dict) and isinstance(b, dict):
        return a | {key: merged(a.get(key, "NULL"), form) for key, form in b.items()}
    if isinstance(a, list) and isinstance(b, list):
        return [merged(a[0], b[0])]
    both = {str(a), str(b)}
    return "JSON" if both - _NUMBERS else "DOUBLE" if "DOUBLE" in both else "BIGINT"


def _forms(structure: Any, columns: Mapping[str, str] | None, files: Sequence[Path]) -> dict[str, Any]:
    """Each key of the records, with the form of its values."""
    label = f"{files[0]} and {len(files) - 1} more" if files[1:] else str(files[0])
    if not isinstance(structure, dict):
        raise DataError(f"{label}: the records are not objects", hint='Each record is an object: {"id": 1}')
    forms: dict[str, Any] = structure | {key: "NULL" for key in columns or {} if key not in structure}
    if not forms:
        hint = "Declare them: columns={'id': 'BIGINT'}"
        raise DataError(f"{label} holds no records, so it has no columns", hint=hint)
    folded = [key.casefold() for key in forms]
    wrong = [key for key in forms if not key or folded.count(key.casefold()) > 1]
    if wrong:
        found = ", ".join(map(repr, wrong))
        raise DataError(f"{label}: keys are empty, or differ only in case: {found}", hint="Rename them")
    return forms


def _query(forms: Mapping[str, Any], declared: Mapping[str, Field]) -> str:
    types = [f"{text_literal(key)}: {text_literal(_read_as(form, declared.get(key)))}" for key, form in forms.items()]
    items = [quote(key) if key in declared else _exact(key, form) for key, form in forms.items()]
    options = "format='auto', records='true', auto_detect=false, hive_partitioning=false"
    source = f"read_json($files, columns={{{', '.join(types)}}}, {options})"
    return f"SELECT {', '.join(items)} FROM {source}"


def _read_as(form: Any, declared: Field | None) -> str:
    """The DuckDB type a key is read as: text if its type is declared, since text keeps every digit."""
    if declared is not None and isinstance(form, str) and form != "JSON":
        return "VARCHAR"
    if declared is not None:
        return "JSON" if form == "DOUBLE" or tag(declared) == "json" else _type(form)
    return _type(form, doubles="JSON")


def _type(form: Any, *, doubles: str = "DOUBLE") -> str:
    """The DuckDB type of a form, with one of your choice for its doubles: JSON keeps every digit of a number."""
    if isinstance(form, dict):
        fields = (f"{quote(key)} {_type(inner, doubles=doubles)}" for key, inner in form.items())
        return f"STRUCT({', '.join(fields)})"
    if isinstance(form, list):
        return f"{_type(form[0], doubles=doubles)}[]"
    return doubles if form == "DOUBLE" else _LEAVES.get(str(form), str(form))


def _exact(key: str, form: Any) -> str:
    """How a key is selected: a whole number among fractions is refused if no double holds it."""
    name = quote(key)
    doubles = _doubles(form)
    if not doubles:
        return name
    # Both sides of AND are looked at, also for 1e300.
    inexact = f"json_type(v) IN ('BIGINT', 'UBIGINT') AND abs(TRY_CAST(v AS HUGEINT)) > {MOST_EXACT}"
    # A path with [*] gives a list, and one without a single value.
    values = [f"json_extract(to_json({name}), {text_literal(path)})" for path in doubles]
    lists = [value if "[*]" in path else f"[{value}]" for path, value in zip(doubles, values, strict=True)]
    found = " OR ".join(f"len(list_filter({each}, lambda v: {inexact})) > 0" for each in lists)
    message = text_literal(f"column {key!r}: a whole number does not fit double exactly")
    return f"CASE WHEN {found} THEN error({message}) ELSE CAST({name} AS {_type(form)}) END AS {name}"


def _doubles(form: Any, path: str = "$") -> list[str]:
    """The paths of the doubles in a form.

    Examples
    --------
    >>> _doubles("DOUBLE"), _doubles({"a": ["DOUBLE"], "b": "BIGINT", 'c"d': {"e": "DOUBLE"}})
    (['$'], ['$."a"[*]', '$."c\\\\"d"."e"'])
    """
    if isinstance(form, dict):
        paths = {key: path + json_path(key).removeprefix("$") for key in form}
        return [found for key, inner in form.items() for found in _doubles(inner, paths[key])]
    if isinstance(form, list):
        return _doubles(form[0], f"{path}[*]")
    return [path] if form == "DOUBLE" else []


def _own(field: Field, forms: Mapping[str, Any]) -> Field:
    return pa.field(field.name, pa.null()) if forms[field.name] == "NULL" else field


def _explained(error: Exception) -> DatapipeError:
    """The error for one of DuckDB's JSON reader: file and line, not the line itself."""
    text = str(error)
    file, line = re.search(r'in file "(.+?)"', text), re.search(r"in (line|record)(?:/value)? (\d+)", text)
    if "does not fit double" in text:
        hint = "Declare the column's type: columns={…: 'DECIMAL(38, 9)'}"
        return DataError(text.partition(": ")[2].split("\n", maxsplit=1)[0], hint=hint)
    if file is None:
        return translate(error)
    reason = next((said for part, said in _REASONS.items() if part in text), "a record does not fit the others")
    # DuckDB 2.0 counts one too far where the text itself is broken.
    where = f", {line.group(1)} {int(line.group(2)) - ('Malformed' in text)}" if line else ""
    hint = "Correct the file: one array of objects, or one object a line"
    return DataError(f"{file.group(1)}{where}: {reason}", hint=hint)
