"""Where in its SQL a step is wrong: at that word, or nowhere."""

from __future__ import annotations

import pyarrow as pa
import pytest

import datapipe
from datapipe.errors import PlanError


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT a.idd, name AS named FROM input_data a", "idd"),
        ("SELECT upp(name) FROM input_data", "upp"),
        ("SELECT id, name FROM input_data a JOIN more b ON a.id = b.id", None),
        ("SELECT length(id), matches FROM more", None),
    ],
)
def test_the_word_that_is_wrong_is_marked_or_none(sql: str, word: str | None) -> None:
    table = pa.table({"id": [1], "name": ["ann"]})
    with pytest.raises(PlanError) as caught:
        datapipe.read(table).sql(sql, more=pa.table({"id": [1], "matches": [2]})).collect()
    found = caught.value.excerpt
    marked = found and dict(found.lines)[found.line][found.column : found.column + found.width]
    assert marked == word
