"""The errors of MySQL and MariaDB as datapipe's, by number: what the caller does next decides the class."""

from __future__ import annotations

import re
from collections.abc import Callable

import pymysql

from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, TransientError

_CLASSES: tuple[tuple[frozenset[int], type[DatapipeError], str], ...] = (
    (
        # lost connections, deadlocks, lock timeouts, kills, shutdowns, too many connections, changed tables, clusters
        frozenset({1040, 1047, 1053, *range(1158, 1162), 1180, 1205, 1213, 1317, 1412, 1927, 2002, 2003, 2006, 2013})
        | frozenset({2055, 3024, 3101, 4031}),
        TransientError,
        "Try again",
    ),
    (
        frozenset({1044, 1045, 1130, 1142, 1143, 1227, 1370, 1410, 1698}),
        FatalError,
        "Ask for the permission, or use another user",
    ),
    (
        frozenset({*range(1, 1000), 1021, 1026, 1030, 1037, 1038, 1041, 1114, 1290, 1836}),
        FatalError,
        "The server is out of disk or memory, or takes no writes; see its log",
    ),
    (
        # nulls, ranges, lengths, dates, text, keys, checks, JSON
        frozenset({1048, 1062, 1216, 1217, 1242, *range(1263, 1266), 1292, *range(1364, 1368), 1406, 1411, 1416, 1425})
        | frozenset({1441, 1451, 1452, 1526, 1586, 1644, 1690, 1761, 1762, 1977, 3819, 4025, *range(4037, 4043)})
        | frozenset(range(3140, 3160)),
        DataError,
        "Correct the value, or convert it in SQL",
    ),
)
_PLAN = "Check the names in the query and in the plan"
_COLUMN = re.compile(r"(?:[Cc]olumn|Field) (?:'([^']*)'|(?:`[^`]*`\.)*`([^`]*)`)|CONSTRAINT `[^`.]*\.([^`]*)` failed")
_CHECK = re.compile(r"CONSTRAINT `(?:[^`.]*\.)?([^`]*)` failed for .*")
_PLACE = re.compile(r"column (?:`[^`]*`\.){2}`([^`]*)`")
_NEAR = re.compile(r"near '([^\s']*).*' at line", re.S)  # the rest may hold a parameter
_VALUE = re.compile(r": '.*'(?= for | at |$)", re.S)
_ROW = re.compile(r" at row (\d+)")
_KEY = re.compile(r"Duplicate entry '.*' for key '(?:[^']*\.)?([^']*)'", re.S)
_WITH_VALUES = {1367, 1526, 1586, 1761, 1762}  # whose texts hold a value somewhere
DUPLICATE, CHECK = 1062, 4025


def translate(
    error: pymysql.Error, *, first_row: int | None = 1, columns: Callable[[str], str] = lambda index: index
) -> DatapipeError:
    """The datapipe error for an error of PyMySQL; it names no data value.

    Parameters
    ----------
    first_row : int, optional
        The number of the statement's first row, which the server counts as 1; None if its rows are not the run's.
    columns : callable
        The columns of an index, for people.

    Examples
    --------
    >>> print(translate(pymysql.err.DataError(1264, "Out of range value for column 'a' at row 2"), first_row=100))
    MySQL: Out of range value for column 'a' at row 101. Correct the value, or convert it in SQL
    """
    code, text = _parts(error)
    kind, hint = next(((kind, hint) for codes, kind, hint in _CLASSES if code in codes), (PlanError, _PLAN))
    found, place = _COLUMN.search(text), _ROW.search(text)
    column = next(filter(None, found.groups()), None) if found else None
    row = first_row + int(place[1]) - 1 if first_row is not None and place and place[1] != "0" else None
    message = _ROW.sub(f" at row {row}" if row else "", _VALUE.sub("", text).strip())
    message = _CHECK.sub(r"the check '\1' fails", message)
    message = _NEAR.sub(r"near '\1' at line", _PLACE.sub(r"column '\1'", message))
    if code in _WITH_VALUES:
        message = re.sub(r"'.*'|-?\d+", "…", message, flags=re.S)
    key = _KEY.search(text)
    if code in {DUPLICATE, 1586} and key:
        message = f"a key ({columns(key.group(1))}) is there already, or comes twice in this run"
        hint = "Use strategy='upsert', or make the key unique in a .sql() step"
    return kind(f"MySQL: {message}", column=column, row=row, hint=hint)


def is_lost(error: pymysql.Error) -> bool:
    """Whether an error says that the connection is gone, rather than that a statement failed."""
    return isinstance(error, pymysql.InterfaceError) or _parts(error)[0] in {1053, 1927, 2006, 2013, 2055, 4031}


def _parts(error: pymysql.Error) -> tuple[int, str]:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if isinstance(error, pymysql.InterfaceError) and not code:
        return 2006, text or "the connection is closed"
    return code, text
