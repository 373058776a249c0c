"""DuckDB's errors in our terms."""

from __future__ import annotations

import duckdb
import pytest

from datapipe.data.duckerrors import translate
from datapipe.errors import FatalError


@pytest.mark.parametrize(
    "text",
    [
        "Out of Memory Error: failed to allocate data of size 4.0 KiB (60.1 MiB/60.0 MiB used)",
        "TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB (64.0 MiB/64.0 MiB used)",
    ],
)
def test_too_little_memory_is_no_fault_of_the_data_wherever_it_is_noticed(text) -> None:
    found = translate(duckdb.Error(text))
    assert isinstance(found, FatalError) and "memory" in str(found)
