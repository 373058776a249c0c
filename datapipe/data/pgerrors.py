"""PostgreSQL's errors as datapipe's, by SQLSTATE: what the caller does next decides the class."""

from __future__ import annotations

import re

from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, TransientError

_CLASSES: tuple[tuple[tuple[str, ...], type[DatapipeError], str], ...] = (
    (("42501",), FatalError, "Ask for the permission, or use another user"),
    (("42", "3F", "0A"), PlanError, "Check the names in the query and in the plan"),
    (("23",), DataError, "Correct the rows, or the constraint"),
    (("21", "22", "42622"), DataError, "Correct the value, or cast it in SQL"),
    (("28", "3D"), FatalError, "Check the user, the password and the database in the URL"),
    (("08", "40", "55", "57", "25P03", "25P04"), TransientError, "Try again"),  # 25P0x: an idle or a long transaction
    (("53100",), FatalError, "The server's disk is full; free space there"),
    (("53",), FatalError, "The server is out of disk, memory or connections"),
    (("25006",), PlanError, "A source is only read"),
)
_DUPLICATE, _NO_PARENT = "23505", "23503"
_SQLSTATE = re.compile(r"SQLSTATE:? ?\(?([0-9A-Z]{5})")
_VALUE = re.compile(r':\s*".*"\s*$| with byte sequence [0-9a-fx ]+(?= in)', re.S)
_QUOTED = re.compile(r'(?<!role )".*"', re.S)  # a value may have quotes of its own; a role is none


def translate(error: Exception, *, step: str | None = None) -> DatapipeError:
    """The datapipe error for an error of psycopg or ADBC; it names no data value.

    Parameters
    ----------
    error : Exception
        ``psycopg.Error``, ``adbc_driver_manager.Error`` or the OSError of an Arrow stream.
    """
    text = str(error)
    found = _SQLSTATE.search(text)
    state = getattr(error, "sqlstate", None) or (found.group(1) if found else "")
    kind, hint = _classify(state)
    diag = getattr(error, "diag", None)
    message = getattr(diag, "message_primary", None) or _primary(text)
    row, column = _copied(getattr(diag, "context", None)) if kind is DataError else (None, None)
    column = getattr(diag, "column_name", None) or column
    where = f" (column {column!r}, row {row})" if row and column else f" (row {row})" if row else ""
    if state.startswith("22"):
        message = _QUOTED.sub("…", _VALUE.sub("", message))
    if message.startswith("cannot convert"):  # NaN and infinity, which the server calls an unsupported feature
        kind, hint = DataError, "Make it NULL in the query, or read the column as text"
    if state in {_DUPLICATE, _NO_PARENT}:
        message, of_key = _broken_key(state, diag, message)
        column = column or of_key
    server_hint = getattr(diag, "message_hint", None)
    return kind(f"PostgreSQL: {message}{where}", step=step, column=column, row=row, hint=server_hint or hint)


def _broken_key(state: str, diag: object, message: str) -> tuple[str, str | None]:
    """A broken unique constraint or foreign key, by its columns, and the column if it is one.

    The server's detail also has the values, which stay where they are.
    """
    found = re.match(r"Key \((.*?)\)=", getattr(diag, "message_detail", None) or "")
    if found is None:
        return message, None
    columns = found.group(1)
    if state == _DUPLICATE:
        constraint = getattr(diag, "constraint_name", None)
        message = f"a key ({columns}) is there already, or comes twice in this run (constraint {constraint})"
    else:
        message = f"{message} ({columns})"
    return message, columns if re.fullmatch(r"\w+", columns) else None


def _classify(state: str) -> tuple[type[DatapipeError], str]:
    best: tuple[type[DatapipeError], str] = (
        TransientError if not state else FatalError,
        "See the server's log",
    )
    length = 0
    for prefixes, kind, hint in _CLASSES:
        for prefix in prefixes:
            if state.startswith(prefix) and len(prefix) > length:
                best, length = (kind, hint), len(prefix)
    return best


def _primary(text: str) -> str:
    """The server's sentence in a message that ADBC or libpq put together."""
    match = re.search(r"(?:ERROR|FATAL):\s*(.+)", text)
    sentence = match.group(1) if match else text.strip().splitlines()[0] if text.strip() else "no message"
    return re.sub(r"\s*SQLSTATE.*$", "", sentence).strip()


def _copied(context: str | None) -> tuple[int | None, str | None]:
    """The row and the column a COPY was at."""
    match = re.search(r'^COPY .*, line (\d+)(?:, column (.*?)(?:: ".*")?)?$', context or "", re.M)
    return (int(match.group(1)), match.group(2)) if match else (None, None)
