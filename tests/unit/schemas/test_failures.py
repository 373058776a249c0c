"""Failures: counted by check, told in a line, and a reason for each row."""

import numpy as np

from datapipe.schemas.failures import Failures, reasons


def numbers(*rows: int) -> np.ndarray:
    return np.array(rows, np.int64)


def test_counts_and_first_rows() -> None:
    found = Failures()
    found.add("a: unique", "a", numbers(5, 6))
    found.add("b: not NULL", "b", numbers(2))
    found.add("a: unique", "a", numbers(9))
    found.add("COUNT(*) > 9", None, numbers())
    assert found.text() == "COUNT(*) > 9; b: not NULL in 1 row (first: row 2); a: unique in 3 rows (first: row 5)"
    assert [failure.check for failure in found.of_table] == ["COUNT(*) > 9"]
    error = found.error("wrong", "hint")
    assert (error.column, error.row) == (None, None)
    assert len(error.failures) == 3


def test_a_long_list_is_cut() -> None:
    found = Failures()
    for number in range(1, 9):
        found.add(f"check {number}", None, numbers(number))
    assert found.text().endswith("check 5 in 1 row (first: row 5); and 3 more checks")


def test_reasons() -> None:
    failed = [("a: ge(0)", "a", np.array([True, False, True])), ("a < b", None, np.array([True, True, False]))]
    columns, checks, every = reasons(3, failed)
    assert columns.to_pylist() == ["a", None, "a"]
    assert checks.to_pylist() == ["ge(0)", "a < b", "ge(0)"]
    assert every.to_pylist() == ["a: ge(0); a < b", "a < b", "a: ge(0)"]
