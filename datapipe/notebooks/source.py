"""The values of parameters as Python source for a notebook."""

from __future__ import annotations

import datetime as dt
import keyword
import math
import zoneinfo
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from datapipe.errors import PlanError
from datapipe.notebooks.kinds import EnumMember, SecretRef

# The names are the notebook's: with an underscore, none of its own imports is replaced.
_IMPORTS = {
    "_datetime": "import datetime as _datetime",
    "_zoneinfo": "import zoneinfo as _zoneinfo",
    "_Decimal": "from decimal import Decimal as _Decimal",
    "_Path": "from pathlib import Path as _Path",
    "_secret": "from datapipe.secrets import secret as _secret",
}


def source_of(values: Mapping[str, Any]) -> str:
    """The cell that gives parameters their values.

    Parameters
    ----------
    values : mapping of str to value
        As :func:`checked` gives them.

    Raises
    ------
    PlanError
        If a name is none of Python, or a value has no such form.

    Examples
    --------
    >>> import datetime
    >>> print(source_of({"day": datetime.date(2013, 5, 1), "password": SecretRef("DB_PASSWORD")}))
    # Parameters
    import datetime as _datetime
    from datapipe.secrets import secret as _secret
    day = _datetime.date(2013, 5, 1)
    password = _secret("DB_PASSWORD")
    """
    uses: set[str] = set()
    lines = []
    for name, value in values.items():
        if not name.isidentifier() or keyword.iskeyword(name):
            raise PlanError(f"{name!r} is no name of a parameter", hint="Names are those of Python variables")
        lines.append(f"{name} = {expression(value, uses)}")
    imports = [line for name, line in _IMPORTS.items() if name in uses]
    return "\n".join(["# Parameters", *imports, *lines])


def expression(value: Any, uses: set[str]) -> str:
    """A Python expression of exactly this value; the names it needs are added to ``uses``.

    Examples
    --------
    >>> expression([1.0, float("nan"), {"b", "a"}], set())
    "[1.0, float('nan'), {'a', 'b'}]"
    """

    match value:
        case float() if not math.isfinite(value):
            return f"float({str(value)!r})"
        case None | bool() | int() | float() | str():
            return repr(value)
        case list() | tuple() | set() | dict():
            return _container(value, uses)
        case EnumMember():
            return f"{value.enum}({expression(value.value, uses)})"
        case SecretRef():
            uses.add("_secret")
            return f'_secret("{value.name}")'
        case Decimal():
            uses.add("_Decimal")
            return f"_Decimal({str(value)!r})"
        case PurePath():
            uses.add("_Path")
            return f"_Path({str(value)!r})"
    return _time(value, uses)


def _container(value: Any, uses: set[str]) -> str:
    items = [expression(item, uses) for item in value]
    match value:
        case list():
            return f"[{', '.join(items)}]"
        case tuple():
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        case set():
            return f"{{{', '.join(sorted(items))}}}" if items else "set()"
    pairs = zip(items, (expression(item, uses) for item in value.values()), strict=True)
    return f"{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"


def _time(value: Any, uses: set[str]) -> str:
    uses.add("_datetime")
    match value:
        case dt.datetime():
            bare = f"_{value.replace(tzinfo=None)!r}"
            return bare if value.tzinfo is None else f"{bare[:-1]}, tzinfo={_zone(value, uses)})"
        case dt.date() | dt.timedelta():
            return f"_{value!r}"
    raise PlanError(f"a value of type {type(value).__name__} cannot be written into a notebook")


def _zone(value: dt.datetime, uses: set[str]) -> str:
    if isinstance(value.tzinfo, zoneinfo.ZoneInfo):
        uses.add("_zoneinfo")
        return f"_zoneinfo.ZoneInfo({value.tzinfo.key!r})"
    offset = value.utcoffset()
    return f"_datetime.timezone(_{offset!r})" if offset else "_datetime.timezone.utc"
