"""JSON and JSON Lines: the columns are the keys of all records; text stays text, whatever it looks like."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from datapipe.data.duckerrors import translate
from datapipe.data.names import quote
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import tag
from datapipe.errors import DataError, DatapipeError
from datapipe.ingestion.delimited import declared_fields, parsed
from datapipe.ingestion.duckdb import private, streamed
from datapipe.ingestion.rows import Field

_LEAVES = {"UBIGINT": "BIGINT", "HUGEINT": "BIGINT", "NULL": "VARCHAR"}
_READ = (
    "read_json($files, columns={}, format='auto', records='true', auto_detect=false, hive_partitioning=false)"
)


@contextmanager
def read_json(files: Sequence[Path], columns: Mapping[str, str] | None, work: Workspace) -> Iterator[Stream]:
    """The records of JSON files: one array of objects, or one object a line.

    Whole numbers are 64-bit integers; a key with a fraction, an exponent or a number beyond 64 bits among its
    values holds doubles, as JSON readers agree. A key that holds both numbers and text is read as JSON.

    Parameters
    ----------
    columns : mapping of str to str, optional
        DuckDB types for some of the keys.

    Raises
    ------
    DataError
        If a file is not JSON, holds no objects, or a value is not of its declared type.
    """
    names = [glob.escape(str(file)) for file in files]
    with ExitStack() as stack:
        con = stack.enter_context(private(work))
        stack.enter_context(work.cancel.hook(con.interrupt))
        try:
            found = con.execute(
                "SELECT json_group_structure(json) FROM read_json_objects($files)", {"files": names}
            ).fetchall()
        except duckdb.Error as error:
            work.cancel.check()
            raise _explained(error) from None
        structure = _keys(json.loads(found[0][0]) if found[0][0] else {}, columns, files)
        declared = declared_fields(con, columns, list(structure))
        wanted = {key: _read_as(form, declared.get(key)) for key, form in structure.items()}
        items = ", ".join(_item(key, form, declared.get(key)) for key, form in structure.items())
        source = _READ.format(
            "{" + ", ".join(f"{_text(key)}: {_text(type_)}" for key, type_ in wanted.items()) + "}"
        )
        stream = stack.enter_context(
            streamed(con, f"SELECT {items} FROM {source}", {"files": names}, work, _explained)
        )
        fields = [
            declared.get(field.name)
            or (pa.field(field.name, pa.null()) if structure[field.name] == "NULL" else field)
            for field in stream.schema
        ]
        schema = pa.schema(fields)
        yield Stream(schema, resized(parsed(stream.batches, schema), size=work.batch_bytes))


def _keys(structure: Any, columns: Mapping[str, str] | None, files: Sequence[Path]) -> dict[str, Any]:
    """Each key of the records with the form of its values."""
    label = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    if not isinstance(structure, dict):
        raise DataError(f"{label}: the records are not objects", hint='Each record is one object: {"id": 1}')
    keys: dict[str, Any] = dict.fromkeys(columns or {}, "NULL") | structure
    if not keys:
        raise DataError(
            f"{label} holds no records, so it has no columns", hint="Declare them: columns={'id': 'BIGINT'}"
        )
    folded = [key.casefold() for key in keys]
    wrong = [key for key in keys if not key or folded.count(key.casefold()) > 1]
    if wrong:
        raise DataError(
            f"{label}: keys are empty, or differ only in case: {', '.join(map(repr, wrong))}",
            hint="Rename them",
        )
    return keys


def _read_as(form: Any, declared: Field | None) -> str:
    """The DuckDB type a key is read as: text if its type is declared, since text keeps every digit."""
    if declared is not None and isinstance(form, str) and form != "JSON":
        return "VARCHAR"
    if form == "DOUBLE" or (declared is not None and tag(declared) == "json"):
        return "JSON"
    return _type(form)


def _type(form: Any) -> str:
    if isinstance(form, dict):
        return f"STRUCT({', '.join(f'{quote(key)} {_type(inner)}' for key, inner in form.items())})"
    if isinstance(form, list):
        return f"{_type(form[0])}[]"
    return _LEAVES.get(str(form), str(form))


def _item(key: str, form: Any, declared: Field | None) -> str:
    """How a key is selected. A whole number among fractions is refused if no double holds it."""
    name = quote(key)
    if form != "DOUBLE" or declared is not None:
        return name
    whole = f"json_type({name}) IN ('BIGINT', 'UBIGINT') AND abs(CAST({name} AS HUGEINT)) > 9007199254740992"
    message = _text(f"column {key!r}: a whole number does not fit double exactly")
    return f"CASE WHEN {whole} THEN error({message}) ELSE CAST({name} AS DOUBLE) END AS {name}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _explained(error: Exception) -> DatapipeError:
    """The error for a message of DuckDB's JSON reader, by file and line, without the line itself."""
    text = str(error)
    file, line = re.search(r'in file "(.+?)"', text), re.search(r"in (line|record/value) (\d+)", text)
    if "does not fit double" in text:
        return DataError(
            text.partition(": ")[2].split("\n")[0], hint="Declare the column: columns={…: 'DECIMAL(38, 9)'}"
        )
    if file is None:
        return translate(error)
    reasons = {
        "duplicate key": "a record has a key twice",
        "Expected OBJECT": "the record is not an object",
        "to numerical": "a whole number has more than 64 bits",
        "Malformed JSON": "it is not valid JSON",
    }
    reason = next(
        (said for part, said in reasons.items() if part in text), "a record does not fit the others"
    )
    # DuckDB 2.0 counts one too far where the text itself is broken.
    number = int(line.group(2)) - ("Malformed" in text) if line else 0
    where = f", {line.group(1).replace('/value', '')} {number}" if line else ""
    return DataError(
        f"{file.group(1)}{where}: {reason}",
        hint="Correct the file: one array of objects, or one object a line",
    )
