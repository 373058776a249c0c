"""What each error of MySQL and MariaDB means to the caller, and what of its text is told."""

from __future__ import annotations

import pymysql
import pytest

from datapipe.data.mysqlerrors import is_lost, translate
from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, TransientError


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (1213, "Deadlock found when trying to get lock", TransientError),
        (1412, "Table definition has changed, please retry transaction", TransientError),
        (1205, "Lock wait timeout exceeded", TransientError),
        (2013, "Lost connection to MySQL server during query", TransientError),
        (1146, "Table 'x.nope' doesn't exist", PlanError),
        (1054, "Unknown column 'nope' in 'SELECT'", PlanError),
        (1142, "INSERT command denied to user 'ro'@'h' for table `x`.`t`", FatalError),
        (1114, "The table 't' is full", FatalError),
        (28, "No space left on device", FatalError),
        (1452, "Cannot add or update a child row: a foreign key constraint fails", DataError),
        (1644, "what a trigger says", DataError),
    ],
)
def test_the_number_decides_what_to_do_next(code: int, text: str, kind: type[DatapipeError]) -> None:
    error = translate(pymysql.OperationalError(code, text))
    assert type(error) is kind
    assert text in str(error)
    assert error.hint


@pytest.mark.parametrize(
    ("code", "text", "column", "row"),
    [
        (1264, "Out of range value for column 'age' at row 3", "age", 12),
        (1366, "Incorrect integer value: 'secret' for column `x`.`t`.`age` at row 1", "age", 10),
        (1292, "Incorrect datetime value: 'secret' for column `x`.`t`.`at` at row 2", "at", 11),
        (1048, "Column 'name' cannot be null", "name", None),
        (1364, "Field 'must' doesn't have a default value", "must", None),
        (1062, "Duplicate entry 'secret-it''s' for key 't.PRIMARY'", None, None),
    ],
)
def test_column_and_row_are_told_and_no_value(code: int, text: str, column: str | None, row: int | None) -> None:
    error = translate(pymysql.DataError(code, text), first_row=10)
    assert isinstance(error, DataError)
    assert (error.column, error.row) == (column, row)
    assert "secret" not in str(error)


@pytest.mark.parametrize(("name", "column"), [("positive", None), ("t.v", "v")])
def test_a_check_is_named_and_its_column_if_it_has_one(name: str, column: str | None) -> None:
    error = translate(pymysql.OperationalError(4025, f"CONSTRAINT `{name}` failed for `x`.`_datapipe_stage`"))
    assert isinstance(error, DataError)
    assert f"the check '{column or name}' fails" in str(error)
    assert error.column == column


def test_the_rows_of_another_statement_are_not_those_of_the_run() -> None:
    error = translate(
        pymysql.DataError(1366, "Incorrect string value: 'x' for column `a`.`b`.`c` at row 1"), first_row=None
    )
    assert (error.column, error.row) == ("c", None)
    assert str(error).startswith("MySQL: Incorrect string value for column 'c'.")


def test_a_syntax_error_tells_the_word_and_not_the_parameters_behind_it() -> None:
    error = translate(
        pymysql.ProgrammingError(1064, "the right syntax to use near 'FRM t WHERE a = 'secret'' at line 2")
    )
    assert "near 'FRM' at line 2" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1526, "Table has no partition for value 20231231"),
        (
            1762,
            "Foreign key constraint for table 't', record 'bob@x.y' would lead to a duplicate entry in a child table",
        ),
        (1586, "Duplicate entry 'bob@x.y' for key 'PRIMARY'"),
    ],
)
def test_no_value_is_told_wherever_it_stands(code: int, text: str) -> None:
    told = str(translate(pymysql.IntegrityError(code, text)))
    assert "bob" not in told
    assert "2023" not in told


def test_a_broken_key_is_named_by_its_columns() -> None:
    broken = pymysql.IntegrityError(1062, "Duplicate entry 'secret' for key 'PRIMARY'")
    assert "a key (id, day) is there already" in str(translate(broken, columns={"PRIMARY": "id, day"}.__getitem__))


def test_a_closed_connection_is_a_lost_one() -> None:
    assert is_lost(pymysql.InterfaceError(0, ""))
    assert isinstance(translate(pymysql.InterfaceError(0, "")), TransientError)
    assert is_lost(pymysql.OperationalError(2006, "MySQL server has gone away"))
    assert not is_lost(pymysql.OperationalError(1213, "Deadlock found"))
