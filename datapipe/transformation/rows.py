"""Which row a user's function failed on, told by what the function had in its hands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST = 200  # characters of a cell
_MOST = 60  # cells


def failing_row(arguments: Iterable[Any], frame: Any, index: Any = None) -> tuple[int | None, dict[str, str]]:
    """The number of the row, from 1, that a function was called for when it failed, and the row itself.

    It is known where pandas called a function for each row, as ``frame.apply(…, axis=1)`` does, or for each value,
    as ``column.map(…)`` does: there it is the first row with that value, if only one column has it. Rows that the
    function has moved in place are not told any more, nor those of a frame it has made.

    Parameters
    ----------
    arguments : iterable of object
        The first arguments of the user's functions that a library called, the innermost last.
    frame : pandas.DataFrame
        What the step's function was given. Of other frames no row is told.
    index : pandas.Index, optional
        The frame's own before the function was called.

    Returns
    -------
    (int or None, dict of str to str)

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"price": ["1.5", "n/a"]})
    >>> failing_row([frame.loc[1]], frame)
    (2, {'price': 'n/a'})
    >>> failing_row(["n/a"], frame)
    (2, {'price': 'n/a'})
    """
    if type(frame).__module__.partition(".")[0] != "pandas" or not len(frame):
        return None, {}
    if index is not None and not frame.index.is_(index):
        return None, {}
    for value in reversed(list(arguments)):
        place = _place(value, frame)
        if place is not None:
            return place + 1, cells({str(name): frame[name].iloc[place] for name in frame.columns[:_MOST]})
    return None, {}


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """A row's values as short texts."""
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> str:
    import pandas as pd

    missing = value is None or value is pd.NA or value is pd.NaT
    text = "NULL" if missing else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _place(value: Any, frame: Any) -> int | None:
    """The place of the row that a value is, or that has it."""
    import pandas as pd

    if isinstance(value, str):
        return _first_with(value, frame)
    is_row = isinstance(value, pd.Series) and value.index.equals(frame.columns)
    index = frame.index
    is_counted = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    label = value.name if is_row and is_counted else None
    known = isinstance(label, int) and 0 <= label < len(frame) and _same(value, frame.iloc[label])
    return label if known else None


def _same(row: Any, other: Any) -> bool:
    """Whether two rows have the same values: one of another frame may have the same label."""
    try:
        return bool(row.astype(object).equals(other.astype(object)))
    except (TypeError, ValueError):  # values that do not compare
        return False


def _first_with(value: str, frame: Any) -> int | None:
    """The place of the first row with a text, if only one column has it."""
    import pandas as pd

    places = []
    for name in frame.columns:
        column = frame[name]
        if isinstance(column, pd.Series) and isinstance(column.dtype, pd.StringDtype):
            found = (column == value).fillna(value=False).to_numpy(bool)
            places += [int(found.argmax())] if found.any() else []
    return places[0] if len(places) == 1 else None
