"""What a notebook gives back: values and frames, under names, from inside its kernel."""

from __future__ import annotations

import hashlib
import json
import os
import re
from html import escape
from pathlib import Path
from typing import Any

from datapipe.errors import NotPortableError, PlanError
from datapipe.notebooks.order import FOLDER, MIME
from datapipe.plan.values import encode
from datapipe.surroundings import shell_of_kernel

_NAME = re.compile(r"[A-Za-z_]\w{0,99}\Z")
_MOST = 64 << 10  # bytes of a value
_SHOWN = 120  # characters


def output(name: str, value: Any) -> None:
    """Give a result of the notebook a name; whoever runs it as a job finds it in the job's result.

    Where nobody does, the value is only shown. The last value of a name counts.

    Parameters
    ----------
    name : str
        A Python name.
    value : str, int, float, bool, None, date, datetime, timedelta, Decimal, UUID, bytes or Path
        Or lists and dicts of them, at most 64 kB; or a pandas or polars DataFrame, or an Arrow table, which is kept
        as a Parquet file.

    Raises
    ------
    PlanError
        If the name is none, or the value can neither travel nor be kept.

    Examples
    --------
    >>> output("rows", 842)
    rows = 842
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise PlanError(f"an output cannot be called {name!r}", hint="Use a Python name, such as 'rows'")
    table = _table(name, value)
    found = _frame(name, table) if table is not None else _value(name, value)
    text = f"{name} = {found['shown']}"
    if shell_of_kernel() is None:
        print(text)  # noqa: T201  # a script, or a test
        return
    from IPython.display import display

    html = f"<div><b>{escape(name)}</b> = {escape(found['shown'])}</div>"
    display({MIME: found, "text/html": html, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]  # it has none


def _value(name: str, value: Any) -> dict[str, Any]:
    try:
        encoded = encode(_native(value))
    except NotPortableError as error:
        hint = f"{error.hint}, lists and dicts of them, or a DataFrame"
        raise PlanError(f"the output {name!r} is a {type(value).__name__}, which cannot travel", hint=hint) from None
    size = len(json.dumps(encoded))
    if size > _MOST:
        hint = "Give a DataFrame, which is kept as a file, or write a file and give its path"
        raise PlanError(f"the output {name!r} has {size:,} bytes as JSON, and 65,536 are the most", hint=hint)
    return {"name": name, "value": encoded, "shown": _shortened(str(value))}


def _native(value: Any) -> Any:
    """The value without what only NumPy, pandas or pathlib know."""
    if isinstance(value, dict):
        return {str(key): _native(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_native(item) for item in value]
    if type(value).__name__ == "NaTType":  # pandas' own nothing, of which a date can be made
        return None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return _native(value.tolist())
    return value


def _table(name: str, value: Any) -> Any:
    """The frame as an Arrow table; None for what is no frame."""
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    if kind == "pyarrow.Table":
        return value
    if kind == "polars.DataFrame":
        return value.to_arrow()
    if kind == "pandas.DataFrame":
        import pyarrow as pa

        try:
            return pa.Table.from_pandas(value)
        except pa.ArrowException as error:
            why = str(error.args[-1]) if error.args else type(error).__name__
            raise PlanError(
                f"the output {name!r} cannot be kept as a file: {why}", hint="Give the column one type"
            ) from None
    return None


def _frame(name: str, table: Any) -> dict[str, Any]:
    """The reference to a table; the table itself as a file, where a job runs."""
    from datapipe.display.words import count  # loads every card

    shown = f"{count(table.num_rows)} × {count(table.num_columns, 'column')}"  # noqa: RUF001  # rows by columns
    found: dict[str, Any] = {
        "name": name,
        "shown": shown,
        "rows": table.num_rows,
        "columns": {field.name: str(field.type) for field in table.schema},
    }
    folder = os.environ.get(FOLDER)
    if folder is None:
        return found
    import pyarrow.parquet as pq

    file = Path(folder, f"{name}.parquet")
    pq.write_table(table, file, compression="zstd")
    content = file.read_bytes()
    return {**found, "file": file.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
