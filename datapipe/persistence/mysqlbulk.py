"""How rows get to MySQL and MariaDB: LOAD DATA where the server takes it, else INSERT of many rows at a time.

LOAD DATA LOCAL makes warnings of errors, so a load with a warning, or with fewer rows than were sent, has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pymysql
from pymysql.constants import CLIENT, COMMAND
from pymysql.protocol import OKPacketWrapper

from datapipe.data import compute as pc
from datapipe.data.mysql import break_off
from datapipe.data.mysqlerrors import CHECK, DUPLICATE, translate
from datapipe.data.names import quote, quoted
from datapipe.errors import DataError
from datapipe.persistence.mysqltext import encoder, is_bits, is_hex
from datapipe.persistence.tables import Column, Table

_LOAD = (
    "LOAD DATA LOCAL INFILE 'datapipe' INTO TABLE {table} CHARACTER SET utf8mb4"
    " FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '''' ESCAPED BY '' LINES TERMINATED BY X'0A' ({columns})"
)
_INSERT = "INSERT INTO {table} ({columns}) VALUES (…)"
_CAN_LOAD = "SELECT @@GLOBAL.local_infile"
_SPLITS = "SHOW VARIABLES LIKE 'wsrep_load_data_splitting'"  # a cluster that would commit every so many rows
_PACKET = 1 << 20  # bytes sent at a time
_HARMLESS = {1287, 1681, 3719, 3778}  # something in use is deprecated
_DUPLICATE = (DUPLICATE, "Duplicate entry '' for key 'one of the unique indexes'")

_CURE = "Correct the value, or convert it in a .sql() step"

Rows = Callable[[pa.RecordBatch, int], pa.Array]


def statement(raw: Any) -> str:
    """The statement that carries rows, with {table} and {columns}."""
    return _LOAD if _loads(raw) else _INSERT


def copy(
    raw: Any, table: Table, columns: Sequence[Column], schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> int:
    """Bulk-load batches of exactly ``schema``; the number of rows.

    Raises
    ------
    DataError
        Naming the first row that the server refuses, or would change.
    """
    if _loads(raw):
        return _load(raw, _load_text(table, columns), batches, _joined(columns, schema))
    text = _INSERT.format(table=table.sql, columns=quoted([column.name for column in columns]))
    return _insert(raw, text.removesuffix("(…)").encode(), batches, _joined(columns, schema, literals=True))


def _loads(raw: Any) -> bool:
    if not raw.client_flag & CLIENT.LOCAL_FILES:
        return False
    with raw.cursor() as cursor:
        cursor.execute(_CAN_LOAD)
        allowed = bool(cursor.fetchone()[0])
        cursor.execute(_SPLITS)
        splits = cursor.fetchone()
    return allowed and (splits is None or splits[1] != "ON")


def _load_text(table: Table, columns: Sequence[Column]) -> str:
    """LOAD DATA for a table; bytes and bits come as text, which the server turns into what it stands for."""
    names, sets = [], []
    for index, column in enumerate(columns):
        turned = "UNHEX({})" if is_hex(column.type) else "CAST({} AS UNSIGNED)" if is_bits(column.type) else None
        names.append(f"@c{index}" if turned else quote(column.name))
        sets += [f"{quote(column.name)} = {turned.format(f'@c{index}')}"] if turned else []
    text = _LOAD.format(table=table.sql, columns=", ".join(names))
    return f"{text} SET {', '.join(sets)}" if sets else text


def _joined(columns: Sequence[Column], schema: pa.Schema, *, literals: bool = False) -> Rows:
    """Each row of a batch as text: a line of LOAD DATA, or a row of an INSERT."""
    encoders = [encoder(column.type, field.type) for column, field in zip(columns, schema, strict=True)]
    hexed = [literals and is_hex(column.type) for column in columns]
    first, last = ("(", ")") if literals else ("", "\n")

    def join(batch: pa.RecordBatch, first_row: int) -> pa.Array:
        pieces: list[Any] = []
        for values, encode, name, is_hexed in zip(batch.columns, encoders, batch.schema.names, hexed, strict=True):
            texts = encode(values, name, first_row)
            # What is no NULL is quoted: x'…' is bytes.
            texts = pc.replace_substring_regex(texts, "^'", "x'") if is_hexed else texts
            pieces += [",", texts]
        return pc.binary_join_element_wise(first, *pieces[1:], last, "")

    return join


def _load(raw: Any, text: str, batches: Iterator[pa.RecordBatch], join: Rows) -> int:
    raw._execute_command(COMMAND.COM_QUERY, text)
    raw._read_packet()  # the server asks for a file; it gets rows
    sent = 0
    try:
        for batch in batches:
            data = memoryview(_bytes(join(batch, sent + 1)))
            for start in range(0, len(data), _PACKET):
                raw.write_packet(bytes(data[start : start + _PACKET]))
            sent += batch.num_rows
    except BaseException:
        break_off(raw)  # nothing else ends a load, and what has arrived is rolled back
        raise
    raw.write_packet(b"")
    done = OKPacketWrapper(raw._read_packet())
    _check(raw, done.warning_count, sent - done.affected_rows)
    return sent


def _insert(raw: Any, text: bytes, batches: Iterator[pa.RecordBatch], join: Rows) -> int:
    with raw.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        most = cursor.fetchone()[0] - len(text) - 1024
    sent = 0
    for batch in batches:
        for rows in _cut(join(batch, sent + 1), sent, min(most, _PACKET), most):
            try:
                raw.query(text + _bytes(pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], rows), ",")))
            except pymysql.IntegrityError:
                raise
            except pymysql.Error as error:
                raise translate(error, first_row=sent + 1) from None
            _check(raw, raw._result.warning_count, 0, first_row=sent + 1)
            sent += len(rows)
    return sent


def _cut(rows: pa.Array, done: int, size: int, most: int) -> Iterator[pa.Array]:
    """The rows in parts of about ``size`` bytes."""
    ends = np.cumsum(pc.binary_length(rows).to_numpy(zero_copy_only=False).astype(np.int64) + 1)
    start = before = 0
    while start < len(rows):
        stop = max(start + 1, int(np.searchsorted(ends, before + size, side="right")))
        if ends[stop - 1] - before > most:
            row = done + start + 1
            message = f"row {row} is larger than the server takes (max_allowed_packet)"
            raise DataError(message, row=row, hint="Raise max_allowed_packet, or shorten the value in a .sql() step")
        yield rows.slice(start, stop - start)
        before, start = int(ends[stop - 1]), stop


def _bytes(texts: pa.Array) -> bytes:
    """All texts, one after the other."""
    whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts), "")
    return bytes(whole[0].as_buffer())


def _check(raw: Any, warnings: int, missing: int, *, first_row: int = 1) -> None:
    """Raise what the server merely warned of."""
    listed: list[tuple[int, str]] = []
    if warnings:
        with raw.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            listed = [(code, text) for _, code, text in cursor.fetchall()]
    serious = [(code, text) for code, text in listed if code not in _HARMLESS]
    if serious or missing or warnings > len(listed):
        # A check's own note comes before the error that names the column.
        code, text = next((found for found in serious if found[0] == CHECK), (*serious, _DUPLICATE)[0])
        if code == DUPLICATE:
            raise pymysql.IntegrityError(code, text)  # whoever knows the table names the columns
        error = translate(pymysql.DataError(code, text), first_row=first_row)
        raise error if isinstance(error, DataError) else DataError(error.message, row=error.row, hint=_CURE)
