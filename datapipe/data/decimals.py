"""What Arrow's casts to decimal get wrong without saying so."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


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
