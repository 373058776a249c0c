"""CSV: the first line names the columns; types come from every value of every file, or are declared."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from datapipe.data.asking import Asked, Choose, everything
from datapipe.data.casting import check_names
from datapipe.data.duckerrors import translate
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.errors import DataError, DatapipeError, SchemaError
from datapipe.ingestion.duckdb import private, streamed
from datapipe.ingestion.forms import cast_sql, declared_fields, form_sql, is_text, parsed, seen_field

_DELIMITERS = ",;\t|"
_MOST_HEADER = 1 << 20
_LONGEST_LINE = 16 << 20
_FIRST = 2_000  # rows
_FROM = (
    "FROM read_csv($files, columns=$columns, delim=$delimiter, quote='\"', escape='\"', header=true, "
    "auto_detect=false, strict_mode=true, nullstr='', allow_quoted_nulls=false, hive_partitioning=false, "
    f"max_line_size={_LONGEST_LINE}, buffer_size={_LONGEST_LINE})"
)
_REASONS = {
    "unterminated quote": "a quote is not closed",
    "unicode": "the text is not UTF-8",
    "Maximum line size": f"the line is longer than {_LONGEST_LINE >> 20} MB",
    "Expected Number of Columns": "it has more or fewer fields than the header",
}


@contextmanager
def read_csv(
    files: Sequence[Path], columns: Mapping[str, str] | None, work: Workspace, choose: Choose = everything
) -> Iterator[Stream]:
    """The rows of CSV files with one header, file by file.

    A column has a type other than text if every value is written in that type's one form: ``007`` stays text.
    An empty field is NULL, a quoted empty one is empty text. The delimiter is the one the header shows.

    Parameters
    ----------
    columns : mapping of str to str, optional
        DuckDB types for some of the columns.

    Raises
    ------
    DataError
        If a file is not CSV, a line has another form than the header, or a value is not of its declared type.
    PlanError
        If ``columns`` names a column that is not there, or a type that is not known.
    """
    delimiter, names = _header(files[0])
    for file in files[1:]:
        if _header(file) != (delimiter, names):
            hint = "Read them apart, or make them equal"
            raise SchemaError(f"{file} has another header than {files[0]}", hint=hint)
    # Columns are called by number here: DuckDB would rename those that differ only in case.
    keys = [f"c{index}" for index in range(len(names))]
    parameters = {
        "files": [glob.escape(str(file)) for file in files],
        "columns": dict.fromkeys(keys, "VARCHAR"),
        "delimiter": delimiter,
    }
    with ExitStack() as stack:
        con = stack.enter_context(private(work))
        stack.enter_context(work.cancel.hook(con.interrupt))
        declared = declared_fields(con, columns, names)
        undeclared = [key for name, key in zip(names, keys, strict=True) if name not in declared]
        try:
            seen = _forms(con, undeclared, parameters)
        except duckdb.Error as error:
            work.cancel.check()
            raise _explained(error) from None
        pairs = list(zip(names, keys, strict=True))
        schema = pa.schema([declared.get(name) or seen_field(name, seen[key]) for name, key in pairs])
        ask = choose(schema).granted(schema)
        read = pa.schema([schema.field(name) for name in ask.names(schema)])
        sql = {name: key if name in declared else cast_sql(key, schema.field(name)) for name, key in pairs}
        items = ", ".join(sql[name] for name in read.names)
        stream = stack.enter_context(streamed(con, f"SELECT {items} {_FROM}", parameters, work, _explained))
        batches = resized(parsed(stream.batches, read), size=work.batch_bytes)
        yield Stream(read, batches, asked=Asked(schema, ask))


def _forms(con: duckdb.DuckDBPyConnection, keys: Sequence[str], parameters: Mapping[str, object]) -> dict[str, int]:
    """The forms of each column's values; all of them are looked at, but for what the first show to be text."""

    def found(keys: Sequence[str], rows: str) -> dict[str, int]:
        items = "".join(f", bit_or({form_sql(key)}) FILTER (WHERE {key} IS NOT NULL)" for key in keys)
        (_, *forms), *_ = con.execute(f"SELECT count(*){items} FROM ({rows})", parameters).fetchall()
        return {key: form or 0 for key, form in zip(keys, forms, strict=True)}

    first = found(keys, f"SELECT * {_FROM} LIMIT {_FIRST}")
    return first | found([key for key in keys if not is_text(first[key])], f"SELECT * {_FROM}")


def _header(file: Path) -> tuple[str, list[str]]:
    """The delimiter and the column names. The delimiter is the one that gives the most names."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            text = stream.read(_MOST_HEADER).decode("utf-8-sig", errors="surrogateescape")
    except (gzip.BadGzipFile, EOFError):
        raise DataError(f"{file} is not compressed by gzip", hint="Rename it") from None
    records = {delimiter: _first_record(text, delimiter) for delimiter in _DELIMITERS}
    delimiter, names = max(records.items(), key=lambda item: len(item[1] or ()))
    if names is None:
        raise DataError(f"{file} is not CSV: a quote in its first line is open", hint="Close it")
    if not names:
        raise DataError(f"{file} has no header", hint="Its first line names the columns")
    if any(re.search(r"[\0\udc80-\udcff]", name) for name in names):
        hint = "Convert it, or name its format: format='parquet'"
        raise DataError(f"{file} is not CSV in UTF-8", hint=hint)
    names = [name or f"column{place}" for place, name in enumerate(names, 1)]
    check_names(names, what=str(file))
    return delimiter, names


def _first_record(text: str, delimiter: str) -> list[str] | None:
    """The first record, if it is one with this delimiter: a quoted name ends at a delimiter."""
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _explained(error: Exception) -> DatapipeError:
    """The error for one of DuckDB's CSV reader: file and line, not the line itself."""
    text = str(error)
    line, file = re.search(r"CSV Error on Line: (\d+)", text), re.search(r"^\s*file = (.+)$", text, re.M)
    if file is None:
        return translate(error)
    reason = next((said for part, said in _REASONS.items() if part in text), "the lines do not have one form")
    where = f"{file.group(1)}, line {line.group(1)}" if line else file.group(1)
    hint = "Correct the file; a field with a delimiter or a line break in it is quoted"
    return DataError(f"{where}: {reason}", hint=hint)
