"""What the ledger keeps of files: compact, and the same however the loads were cut."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.data.filemarks import FileMark, Files

MARK = st.builds(
    FileMark,
    st.integers(0, 2**63 - 1),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.binary(min_size=32, max_size=32),
)
MARKS = st.dictionaries(st.text(max_size=6) | st.just("caf\udce9.csv"), MARK, max_size=5)  # a name that is not UTF-8


@given(MARKS, st.dictionaries(st.text(max_size=3), st.binary(max_size=9), max_size=2), st.booleans())
def test_files_come_back_from_their_form(marks: dict[str, FileMark], columns: dict[str, bytes], anew: bool) -> None:
    files = Files(marks, columns, anew)
    assert Files.of(json.loads(json.dumps(files.form()))) == files


@settings(max_examples=40, deadline=None)
@given(st.lists(MARKS, min_size=1, max_size=8), st.data())
def test_loads_know_together_what_they_would_know_as_one(loads: list[dict[str, FileMark]], data: st.DataObject) -> None:
    def known(rows: list[dict[str, FileMark]]) -> dict[str, FileMark]:
        return dict(Files.joined((Files(row).form(), "") for row in reversed(rows)).marks)

    cuts = sorted(data.draw(st.lists(st.integers(0, len(loads)), max_size=4)))
    parts = [loads[low:high] for low, high in zip([0, *cuts], [*cuts, len(loads)], strict=True)]
    joined = [{path: mark for load in part for path, mark in load.items()} for part in parts]
    assert known(loads) == known(joined) == {path: mark for load in loads for path, mark in load.items()}


@given(st.lists(MARKS, max_size=4), MARKS, st.lists(MARKS, max_size=4))
def test_nothing_before_a_new_beginning_counts(
    before: list[dict[str, FileMark]], begin: dict[str, FileMark], after: list[dict[str, FileMark]]
) -> None:
    rows = [Files(marks) for marks in before] + [Files(begin, anew=True)] + [Files(marks) for marks in after]
    all_, counting = (Files.joined((row.form(), "r") for row in reversed(some)) for some in (rows, rows[len(before) :]))
    assert all_ == counting


def test_the_run_is_the_one_that_loaded_the_content() -> None:
    old, new = FileMark(1, 1, b"a" * 32), FileMark(2, 9, b"b" * 32)
    touched = FileMark(1, 5, old.digest)
    rows = [({"f": old, "g": old}, "r1"), ({"f": touched, "g": new}, "r2")]
    found = Files.joined((Files(marks).form(), run) for marks, run in reversed(rows)).marks
    assert (found["f"].modified, found["f"].run_id, found["g"].run_id) == (5, "r1", "r2")
    assert list(found) == ["f", "g"]


def test_a_row_of_many_files_is_small() -> None:
    marks = {
        f"2024/{number % 366:03}/orders-{number:06}.csv": FileMark(
            number * 7919, 1_700_000_000_123_456_789 + number * 7_919_000_017, hashlib.sha256(b"%d" % number).digest()
        )
        for number in range(10_000)
    }
    assert len(json.dumps(Files(marks).form())) < 80 * len(marks)
