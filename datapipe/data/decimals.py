"""Decimals made from doubles, and what Arrow's casts to decimal get wrong without saying so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapipe.data import compute as pc

_FIFTEEN_DIGITS = 10**15
_MOST_PLACES = 22  # the greatest power of ten that a double holds


def from_doubles(doubles: npt.NDArray[np.float64], type_: pa.Decimal128Type) -> pa.Array | None:
    """Numbers as decimals; None unless 15 digits tell each of them, of which no two are the same double.

    Examples
    --------
    >>> from_doubles(np.array([1.1, -2.0]), pa.decimal128(9, 2)).to_pylist()
    [Decimal('1.10'), Decimal('-2.00')]
    >>> from_doubles(np.array([0.001]), pa.decimal128(9, 2)) is None
    True
    """
    if not 0 <= type_.scale <= _MOST_PLACES:
        return None
    power = 10.0**type_.scale
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(doubles * power)
        fits = (np.abs(scaled) < min(_FIFTEEN_DIGITS, 10**type_.precision)) & (scaled / power == doubles)
    if not fits.all():
        return None
    halves = np.empty((len(doubles), 2), np.int64)  # of numbers of 128 bits
    halves[:, 0] = scaled
    halves[:, 1] = halves[:, 0] >> 63
    return pa.Array.from_buffers(type_, len(doubles), [None, pa.py_buffer(halves)])


def misread(values: pa.Array, *, precision: int, scale: int) -> int | None:
    """The index of the first value that a cast to decimal128 would silently turn into another number.

    Arrow raises a number to a larger scale without looking for overflow, reads no more than 38 digits, and
    takes a number far below the last digit for zero.

    Parameters
    ----------
    values : pyarrow.Array
        Numbers, or text.
    precision, scale : int
        Of the decimal type.

    Returns
    -------
    int or None
        None if the cast gives every value exactly or raises.

    Examples
    --------
    >>> misread(pa.array(["1", "123456789012345678901"]), precision=38, scale=20)
    1
    """
    text: Any = values.cast(pa.string()) if pa.types.is_floating(values.type) else values
    try:
        size: Any = pc.abs(text.cast(pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None  # no numbers: the cast itself says so
    above, below = 10.0 ** (precision - scale) * (1 + 1e-9), 10.0**-scale * (1 - 1e-9)
    wrong: Any = pc.greater_equal(size, pa.scalar(above))
    if pa.types.is_string(text.type):
        mantissa: Any = pc.replace_substring_regex(text, r"[eE].*", "")
        digits: Any = pc.utf8_length(pc.utf8_ltrim(pc.replace_substring_regex(mantissa, r"\D", ""), "0"))
        tiny = pc.and_(pc.greater(digits, pa.scalar(0)), pc.less(size, pa.scalar(below)))
        wrong = pc.or_(wrong, pc.or_(tiny, pc.greater(digits, pa.scalar(38))))
    index: int = pc.index(wrong, True).as_py()
    return index if index >= 0 else None
