"""What a kernel's reply tells of an error: its cell, its line, and whether it is one at all."""

from __future__ import annotations

from typing import Any

import pytest

from datapipe.execution.replies import is_clean_exit, raised

SOURCES = {2: "def f(a):\n    y = 1\n    return a / 0", 3: "x = 1\nf(x)"}
IN_A_FUNCTION = (
    "\x1b[31m---------\x1b[39m",
    "\x1b[31mZeroDivisionError\x1b[39m   Traceback (most recent call last)",
    "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 2\x1b[39m\n\x1b[32m----> 2\x1b[39m f(x)",
    "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[2]\x1b[39m\x1b[32m, line 3\x1b[39m, in \x1b[36mf\x1b[39m\x1b[34m(a)\x1b[39m\n",
    "\x1b[31mZeroDivisionError\x1b[39m: division by zero",
)


def reply(*lines: str, ename: str = "ZeroDivisionError", evalue: str = "division by zero") -> dict[str, Any]:
    return {"status": "error", "ename": ename, "evalue": evalue, "traceback": list(lines)}


def test_the_innermost_line_of_a_cell_is_told() -> None:
    found = raised(reply(*IN_A_FUNCTION), 7, SOURCES)
    assert (found["type"], found["message"], found["cell"], found["line"]) == ("ZeroDivisionError", "division by zero", 7, 3)
    assert found["excerpt"]["file"] == "In[2]" and found["excerpt"]["function"] == "f"
    assert found["excerpt"]["lines"][-1] == (3, "    return a / 0")
    assert "\x1b" not in found["traceback"] and "Cell In[2], line 3, in f(a)" in found["traceback"]


def test_lines_of_libraries_and_of_cells_that_are_not_ours_are_left_out() -> None:
    library = "File /usr/lib/python3.11/json/decoder.py:355, in decode(self)\n--> 355 raise"
    other = "Cell In[99], line 1\n----> 1 exec(text)"
    found = raised(reply("Cell In[3], line 2\n----> 2 f(x)", library, other), 1, SOURCES)
    assert found["line"] == 2 and found["excerpt"]["file"] == "In[3]"


def test_without_a_cell_there_is_no_line() -> None:
    assert "line" not in raised(reply("File a.py:3, in g()"), 1, SOURCES)
    assert "line" not in raised(reply(), 1, {})


def test_a_syntax_error_has_the_line_it_is_in() -> None:
    lines = "\x1b[36m  \x1b[39m\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 2\x1b[39m\n\x1b[31m    \x1b[39m\x1b[31mf(x)\x1b[39m\n"
    found = raised(reply(lines, ename="SyntaxError", evalue="invalid syntax (3112.py, line 2)"), 4, SOURCES)
    assert (found["line"], found["excerpt"]["lines"][-1]) == (2, (2, "f(x)"))


def test_an_older_traceback_is_read_too() -> None:
    found = raised(reply("Input In[2], in f(a)\n      2 y = 1\n----> 3 return a / 0", "In[2]:3 in f"), 1, SOURCES)
    assert found["line"] == 3 and found["excerpt"]["function"] == "f"


def test_passwords_beside_the_line_are_masked() -> None:
    sources = {1: "connect(password='hunter2!')\n1 / 0"}
    found = raised(reply("Cell In[1], line 2"), 1, sources)
    assert "hunter2" not in str(found["excerpt"])


def test_an_error_without_a_text_is_told_by_its_name() -> None:
    assert raised(reply(ename="KeyError", evalue=""), 1, {})["message"] == "KeyError"
    assert raised({}, 1, {})["type"] == "Error"


@pytest.mark.parametrize(
    ("value", "clean"), [("", True), ("0", True), ("None", True), (None, True), ("1", False), ("False", False), ("no data", False)]
)
def test_an_exit_is_clean_without_a_code(value: str | None, clean: bool) -> None:
    assert is_clean_exit("SystemExit", value) is clean
    assert not is_clean_exit("ValueError", value)


def test_an_exit_with_a_code_says_how_to_end_well() -> None:
    found = raised(reply(ename="SystemExit", evalue="3"), 1, {})
    assert found["message"] == "the notebook ended itself: sys.exit(3)"
    assert found["hint"] == "sys.exit() alone ends it well"
