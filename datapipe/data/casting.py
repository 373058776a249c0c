"""Checked casts: the exact value in another type, or a DataError that names the column and the row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.decimals import from_doubles, misread
from datapipe.data.layouts import interval_text, to_interval, uuid_bytes, uuid_text
from datapipe.data.types import INTERVAL, TIMESTAMP, TIMESTAMPTZ, type_name
from datapipe.errors import DataError

_FAILURES = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError)
_FIRST_DAY, _LAST_DAY = -719_528, 2_932_896  # of the years 0 and 9999, counted from 1970
_DAY = 86_400 * 10**9
_CURE = "Convert it in a .sql() step, where you choose what is lost"


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema, *, first_row: int = 1) -> pa.RecordBatch:
    """The batch in ``schema``, column by column, by position.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    schema : pyarrow.Schema
        As many fields as the batch has columns.
    first_row : int
        The number of the batch's first row, for error messages.

    Raises
    ------
    DataError
        If a value cannot be held exactly.
    """
    if batch.schema.equals(schema, check_metadata=False):
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    columns = [
        cast_column(column, field.type, column=field.name, first_row=first_row)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def cast_column(values: pa.Array, to: pa.DataType, *, column: str, first_row: int = 1) -> pa.Array:
    """One column in another type, exactly.

    Raises
    ------
    DataError
        Naming the column, the row and the two types.

    Examples
    --------
    >>> cast_column(pa.array([1, None]), pa.decimal128(5, 2), column="a").to_pylist()
    [Decimal('1.00'), None]
    """
    if values.type == to:
        return values
    source, target = type_name(values.type), type_name(to)
    refusal = _refused(values.type, to)
    if refusal:
        raise DataError(
            f"column {column!r}: {source} cannot become {target}: {refusal}",
            column=column,
            hint=_CURE,
        )
    try:
        return _exact(values, to)
    except _FAILURES as error:
        row = _first_failure(values, to)
        if row is None:
            raise DataError(f"column {column!r}: {source} cannot become {target}", column=column, hint=_CURE) from error
        raise DataError(
            f"column {column!r}, row {first_row + row}: the {source} value does not fit {target} exactly",
            column=column,
            row=first_row + row,
            hint=_CURE,
        ) from None


def _refused(source: pa.DataType, to: pa.DataType) -> str | None:
    """Why a pair of types is refused whatever the values; Arrow would cast most of them, and lose something."""
    t = pa.types
    number = t.is_integer(to) or t.is_floating(to) or t.is_decimal(to)
    if t.is_timestamp(source) and t.is_timestamp(to) and bool(source.tz) != bool(to.tz):
        return "one has a time zone and the other has none; say which with AT TIME ZONE"
    if t.is_date(source) and t.is_timestamp(to) and to.tz:
        return "a date has no time zone; say which with AT TIME ZONE"
    if t.is_timestamp(source) and t.is_time(to):
        return "a timestamp has a date too; take the time with CAST(… AS TIME)"
    if t.is_binary(source) and (t.is_string(to) or number):
        return "bytes are not text; use decode()"
    if t.is_temporal(source) and number:
        return "a time is not a number; use epoch()"
    if t.is_temporal(to) and (t.is_integer(source) or t.is_floating(source) or t.is_decimal(source)):
        return "a number is not a time; use to_timestamp() or make_date()"
    if t.is_map(source) != t.is_map(to) and (t.is_nested(source) or t.is_nested(to)):
        return "a map is no other type"
    if t.is_struct(source) and t.is_struct(to) and [f.name for f in source] != [f.name for f in to]:
        return "the structs have different fields"
    return None


def _exact(values: pa.Array, to: pa.DataType) -> pa.Array:
    source = values.type
    if source == pa.uuid():
        return uuid_text(values.storage) if to == pa.string() else values.storage.cast(to)
    if to == pa.uuid():
        values = uuid_bytes(values) if pa.types.is_string(source) else values
        return pa.ExtensionArray.from_storage(to, values.cast(pa.binary(16)))
    plain = _plain(values)
    if plain is not values:
        return _exact(plain, to)
    if pa.types.is_decimal(to):
        return _to_decimal(values, to)
    if pa.types.is_decimal(source) and pa.types.is_floating(to):
        return _from_text(values.cast(pa.string()), to)  # Arrow's own cast is not always the nearest number
    if _may_round(source, to):
        return _same_back(values, values.cast(to))
    if pa.types.is_string(to):
        return _to_text(values, to)
    if pa.types.is_duration(source):
        return to_interval(values) if to == INTERVAL else values.cast(to)
    if pa.types.is_list(source) and pa.types.is_list(to):
        return _list(values, to)
    return _from_text(values, to) if pa.types.is_string(source) else values.cast(to)


def _list(values: pa.Array, to: pa.DataType) -> pa.Array:
    """A list's elements, each cast as a column's value is."""
    reason = _refused(values.type.value_type, to.value_type)
    if reason:
        raise pa.ArrowTypeError(reason)
    inner = _exact(values.flatten(), to.value_type)
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    return pa.ListArray.from_arrays(offsets, inner, type=to, mask=values.is_null())


def _from_text(values: pa.Array, to: pa.DataType) -> pa.Array:
    if pa.types.is_integer(to) and _has_hex(values):
        raise pa.ArrowInvalid("hexadecimal")
    if pa.types.is_time(to):
        return _times(values).cast(to)
    made = values.cast(to)
    if pa.types.is_floating(to):
        _check_digits(values, made)
    return made


def _times(texts: pa.Array) -> pa.Array:
    """Times of a day from text: Arrow parses none, but it does parse timestamps."""
    if not pc.all(pc.match_substring_regex(texts, r"^\d\d:\d\d"), min_count=0).as_py():
        raise pa.ArrowInvalid("no time")
    return pc.binary_join_element_wise("1970-01-01", texts, " ").cast(TIMESTAMP).cast(pa.time64("us"))


def _plain(values: pa.Array) -> pa.Array:
    """The values without an extension, a dictionary or run ends around them."""
    if isinstance(values.type, pa.BaseExtensionType):
        return values.storage
    if pa.types.is_dictionary(values.type):
        return values.dictionary_decode()
    if pa.types.is_run_end_encoded(values.type):
        return pc.run_end_decode(values)
    return values


def _may_round(source: pa.DataType, to: pa.DataType) -> bool:
    """Whether Arrow's cast of the pair loses something without saying so."""
    t = pa.types
    if t.is_floating(to):
        return bool(t.is_floating(source) and source.bit_width > to.bit_width)
    if t.is_date(to):
        return bool(t.is_timestamp(source))
    return t.is_boolean(to) and not t.is_boolean(source) and not t.is_string(source)


def _check_digits(texts: pa.Array, numbers: pa.Array) -> None:
    """Refuse digits that the floating number does not hold: 15 always survive a double, 6 a float."""
    mantissa = pc.replace_substring_regex(texts, r"[eE].*|\D", "")
    many = pc.greater(pc.utf8_length(pc.utf8_ltrim(mantissa, "0")), 15 if numbers.type == pa.float64() else 6)
    suspect = pc.fill_null(pc.or_(many, pc.is_inf(numbers)), False)
    shortest = numbers.cast(pa.string())
    for index in pc.indices_nonzero(suspect).to_pylist():
        if Decimal(texts[index].as_py()) != Decimal(shortest[index].as_py()):
            raise pa.ArrowInvalid("more digits than the number holds")


def _has_hex(values: pa.Array) -> bool:
    """Whether a text is hexadecimal: Arrow reads it as a number, no database does."""
    return pc.any(pc.match_substring_regex(values, "(?i)^[-+]?0x")).as_py() is True


def _to_text(values: pa.Array, to: pa.DataType) -> pa.Array:
    source = values.type
    if pa.types.is_timestamp(source) or pa.types.is_date(source):
        _check_years(values)
    if pa.types.is_time(source):
        _check_clock(values)
    if pa.types.is_timestamp(source):
        form = "%Y-%m-%d %H:%M:%S" + ("+00" if source.tz else "")
        return pc.strftime(values.cast(TIMESTAMPTZ if source.tz else TIMESTAMP), form)
    if pa.types.is_duration(source):
        return interval_text(to_interval(values))
    if pa.types.is_interval(source):
        return interval_text(values.cast(INTERVAL))
    return values.cast(to)


def _check_years(values: pa.Array) -> None:
    """Refuse years that ISO 8601 has no four digits for: Arrow writes some of them wrongly, few read the others."""
    days = pc.floor_temporal(values, unit="day").cast(pa.date32()).cast(pa.int32())
    if pc.any(pc.or_(pc.less(days, _FIRST_DAY), pc.greater(days, _LAST_DAY))).as_py():
        raise pa.ArrowInvalid("a year beyond 9999")


def _check_clock(values: pa.Array) -> None:
    """Refuse 24:00, which PostgreSQL and DuckDB have and Arrow cannot write."""
    if pc.any(pc.greater_equal(values.cast(pa.time64("ns")).view(pa.int64()), _DAY)).as_py():
        raise pa.ArrowInvalid("24:00")


def _to_decimal(values: pa.Array, to: pa.DataType) -> pa.Array:
    if values.type == pa.float64() and pa.types.is_decimal128(to):
        made = from_doubles(pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False), to)
        if made is not None:
            return made if not values.null_count else pc.if_else(values.is_valid(), made, pa.scalar(None, to))
    if misread(values, precision=to.precision, scale=to.scale) is not None:
        raise pa.ArrowInvalid("out of range")
    if pa.types.is_floating(values.type):
        values = values.cast(pa.string())  # the shortest text that reads back as the same number
    elif pa.types.is_integer(values.type):
        values = values.cast(pa.decimal256(76, max(to.scale, 0)))
    return values.cast(to)


def _same_back(before: pa.Array, after: pa.Array) -> pa.Array:
    """``after``, if casting it back gives ``before``."""
    back = _to_decimal(after, before.type) if pa.types.is_decimal(before.type) else after.cast(before.type)
    same = pc.equal(before, back)
    if pa.types.is_floating(before.type):
        same = pc.or_(same, pc.and_(pc.is_nan(before), pc.is_nan(back)))
    if not pc.all(same, skip_nulls=True, min_count=0).as_py():
        raise pa.ArrowInvalid("a value changed")
    return after


def misfits(values: pa.Array, to: pa.DataType) -> npt.NDArray[np.bool_]:
    """Which values have no exact counterpart in another type, where a batch of them as a whole has none.

    Examples
    --------
    >>> misfits(pa.array(["1", "x", None]), pa.int64()).tolist()
    [False, True, False]
    """
    bad = np.zeros(len(values), bool)
    encoded = values.dictionary_encode() if not isinstance(values.type, pa.BaseExtensionType) else None
    if encoded is not None and len(encoded.dictionary) < len(values) // 2:  # most values are there several times
        wrong = misfits(encoded.dictionary, to)
        bad[:] = pc.fill_null(pc.take(pa.array(wrong), encoded.indices), False)
        return bad
    hopeless = _hopeless(values, to)
    if hopeless is None:
        _find_misfits(values, to, bad)
        return bad
    bad[:] = hopeless
    rest = np.flatnonzero(~bad)
    if len(rest):
        wrong = np.zeros(len(rest), bool)
        _find_misfits(values.take(pa.array(rest)), to, wrong)
        bad[rest] = wrong
    return bad


_TEXTS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_integer, r"^[-+]?\d+$"),
    (pa.types.is_floating, r"(?i)^\s*[-+]?(?:[\d.]|inf|nan)"),
    (pa.types.is_decimal, r"^\s*[-+]?[\d.]"),
    (pa.types.is_boolean, r"(?i)^(?:true|false|0|1)$"),
    (pa.types.is_time, r"^\d\d:\d\d"),
    (pa.types.is_temporal, r"^-?\d{4}-\d\d-\d\d"),
    (lambda type_: type_ == pa.uuid(), r"^[-0-9a-fA-F]{32,36}$"),
)


def _hopeless(values: pa.Array, to: pa.DataType) -> pa.Array | None:
    """Which values surely have no counterpart, found at once; None if that cannot be told."""
    source = values.type
    likely = None
    if pa.types.is_string(source):
        pattern = next((pattern for is_such, pattern in _TEXTS if is_such(to)), None)
        likely = None if pattern is None else pc.match_substring_regex(values, pattern)
    elif pa.types.is_floating(source) and pa.types.is_integer(to):
        likely = pc.equal(pc.floor(values), values)
    elif pa.types.is_integer(source) and pa.types.is_integer(to) and to != pa.uint64() and source != pa.uint64():
        signed = not pa.types.is_unsigned_integer(to)
        low, high = (-(2 ** (to.bit_width - 1)), 2 ** (to.bit_width - 1) - 1) if signed else (0, 2**to.bit_width - 1)
        wide = values.cast(pa.int64())
        likely = pc.and_(pc.greater_equal(wide, low), pc.less_equal(wide, high))
    return None if likely is None else pc.invert(pc.fill_null(likely, True))


def _find_misfits(values: pa.Array, to: pa.DataType, bad: npt.NDArray[np.bool_]) -> None:
    """Halves that can be converted are done with at once."""
    try:
        _exact(values, to)
    except _FAILURES:
        if len(values) == 1:
            bad[0] = True
            return
        middle = len(values) // 2
        _find_misfits(values[:middle], to, bad[:middle])
        _find_misfits(values[middle:], to, bad[middle:])


def _first_failure(values: pa.Array, to: pa.DataType) -> int | None:
    """The index of the first value that does not cast, found by halving; None if each one does alone."""

    def fails(start: int, count: int) -> bool:
        try:
            _exact(values.slice(start, count), to)
        except _FAILURES:
            return True
        return False

    start, count = 0, len(values)
    if not count or not fails(start, count):
        return None
    while count > 1:
        half = count // 2
        if fails(start, half):
            count = half
        else:
            start, count = start + half, count - half
    return start


def check_names(names: Sequence[str], *, what: str) -> None:
    """Refuse two columns of one name.

    Raises
    ------
    DataError
        Naming the column.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"{what} has two columns called {name!r}",
                column=name,
                hint="Give one of them another name with AS",
            )
        seen.add(name)


def check_cases(names: Sequence[str], *, what: str) -> None:
    """Refuse names that differ in nothing but case: DuckDB takes them for one, and renames the second.

    Raises
    ------
    DataError
        Naming both.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"{what} has both {other!r} and {name!r}", column=name, hint="Rename one of them in the source query"
            )
