"""Lists as text, for the element types that have no binary form of their own."""

from __future__ import annotations

import pyarrow as pa

from datapipe.data import compute as pc
from datapipe.data.casting import cast_column


def array_text(values: pa.Array, *, column: str, first_row: int = 1) -> pa.Array:
    """Lists as PostgreSQL writes arrays, exactly, whatever characters the elements hold.

    Raises
    ------
    DataError
        If an element has no form as text.

    Examples
    --------
    >>> array_text(pa.array([["a b", 'say "hi"', None], [], None]), column="tags").to_pylist()
    ['{"a b","say \\\\"hi\\\\"",NULL}', '{}', None]
    """
    items = cast_column(values, pa.list_(pa.string()), column=column, first_row=first_row).flatten()
    escaped = pc.replace_substring(pc.replace_substring(items, "\\", "\\\\"), '"', '\\"')
    written = pc.fill_null(pc.binary_join_element_wise('"', escaped, '"', ""), "NULL")
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, written), ",")
    return pc.if_else(
        values.is_valid(), pc.binary_join_element_wise("{", joined, "}", ""), pa.scalar(None, pa.string())
    )
