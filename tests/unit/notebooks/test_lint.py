"""What is found in a notebook before it runs, and what is not found in one that is right."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapipe.errors import PlanError
from datapipe.notebooks.cells import Notebook, notebook_of
from datapipe.notebooks.lint import Finding, findings


def notebook(*cells: str | Mapping[str, object], language: str = "python") -> Notebook:
    """Of code cells, given by their text, or with more about them."""
    every = [{"cell_type": "code", **({"source": cell} if isinstance(cell, str) else cell)} for cell in cells]
    return notebook_of({"nbformat": 4, "cells": every, "metadata": {"language_info": {"name": language}}}, "n.ipynb")


def tagged(source: str, *tags: str) -> dict[str, object]:
    return {"source": source, "metadata": {"tags": list(tags)}}


def told(*cells: str | Mapping[str, object], parameters: tuple[str, ...] = ()) -> list[str]:
    return [str(one) for one in findings(notebook(*cells), parameters)]


def test_a_finding_says_where() -> None:
    (found,) = findings(notebook({"cell_type": "markdown", "source": "# Load"}, "data = 1", "# sum\n\nprint(datra)"))
    assert found == Finding("error", 2, 3, "the name 'datra' is not defined. Did you mean 'data'?")
    assert str(found) == "cell 2, line 3: the name 'datra' is not defined. Did you mean 'data'?"


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = (1,\ny = 2", 1, "'(' was never closed"),
        ("x = 1\nif x\n    y = 2", 2, "expected ':'"),
        ("\n\n  \nx = = 1", 4, "invalid syntax"),
        ("%%time\n\nx = = 1", 3, "invalid syntax"),
        ("%%capture out\n%%time\nx = = 1", 3, "invalid syntax"),
        ("files = !ls \\\n  -l\nx = = 1", 3, "invalid syntax"),
        ("!echo \\\n a \\\n b\n%pip install \\\n x\nx = 1\nx = = 1", 7, "invalid syntax"),
        ("    x = 1\n    y = = 2", 2, "invalid syntax"),
        ("x = 1\nreturn x", 2, "'return' outside function"),
        ("def f():\n    await g()", 2, "'await' outside async function"),
        ("x = 1\r\ny = = 2", 2, "invalid syntax"),
        ("print 'a'", 1, "Missing parentheses in call to 'print'. Did you mean print(...)?"),
    ],
)
def test_wrong_syntax(source: str, line: int, message: str) -> None:
    assert told("a = 1", source) == [f"cell 2, line {line}: this is no Python: {message}"]


def test_every_cell_is_parsed_and_what_a_wrong_one_may_define_is_not_missed() -> None:
    found = told("x = (1", "y = (2", "print(x, y, z)")
    assert found == [
        "cell 1, line 1: this is no Python: '(' was never closed",
        "cell 2, line 1: this is no Python: '(' was never closed",
        "cell 3, line 1: the name 'z' is not defined",
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("print(x)", "x = 1"), "cell 1, line 1: the name 'x' is defined only in cell 2, below. Move that cell up"),
        (("print(x)", "import x", "x = 2"), "cell 1, line 1: the name 'x' is defined only in cell 2, below. Move that cell up"),
        (("a = 1\nprint(x)\nx = 1",), "cell 1, line 2: the name 'x' is used before this cell defines it"),
        (("x = 1", "del x", "print(x)"), "cell 3, line 1: the name 'x' is not defined"),
        ((tagged("x = 1", "skip-execution"), "x"), "cell 1, line 1: the name 'x' is defined only in a cell that is skipped"),
        (("pd.read_csv('a.csv')",), "cell 1, line 1: the name 'pd' is not defined. Is 'import pandas as pd' missing?"),
        (("prnt(1)",), "cell 1, line 1: the name 'prnt' is not defined. Did you mean 'print'?"),
        (("total = 1\nclass A:\n    n = totl",), "cell 1, line 3: the name 'totl' is not defined. Did you mean 'total'?"),
        (("def f():\n    return qqq",), "cell 1, line 2: the name 'qqq' is not defined"),
        (("x = 1\ndef f():\n    print(x)\n    x = 2",), "cell 1, line 3: 'x' is a local name of this function, and is used before it has a value"),
        (("for i in range(3):\n    pass\nprint([j for j in qqq])",), "cell 1, line 3: the name 'qqq' is not defined"),
        (("qqq += 1",), "cell 1, line 1: the name 'qqq' is not defined"),
        (("%time y = f'{qqq}'", "y"), "cell 1, line 1: the name 'qqq' is not defined"),
        (("x = !ls\n\n%pip install a\nprint(x, qqq)",), "cell 1, line 4: the name 'qqq' is not defined"),
        (("await qqq",), "cell 1, line 1: the name 'qqq' is not defined"),
        (("print(qqq)\nprint(qqq)",), "cell 1, line 1: the name 'qqq' is not defined"),
        (("%load_ext autoreload\n%autoreload 2", "qqq"), "cell 2, line 1: the name 'qqq' is not defined"),
    ],
)  # fmt: skip
def test_names_that_are_not_defined(cells: tuple[str, ...], expected: str) -> None:
    assert told(*cells) == [expected]


def test_each_cell_tells_a_name_once() -> None:
    assert len(told("qqq", "qqq", "qqq + qqq")) == 3


@pytest.mark.parametrize(
    "cells",
    [
        ("def f():\n    return x", "x = 1", "f()"),  # what is called later may be defined later
        ("await f()", "def f(): ...")[::-1],
        ("async with a() as b:\n    pass", "def a(): ...")[::-1],
        ("display(In, Out, _, __, ___, _1, _i, _i12, _ih, _oh, _dh)\nget_ipython()\nquit()\nexit()",),
        ("try:\n    qqq\nexcept NameError:\n    qqq = 1",),
        ("if 1:\n    x = 1\nelse:\n    y = 2", "x + y"),
        ("from __future__ import annotations\ndef f(a: B): ...", "class B: ..."),
        ("def f(a: B): ...", "class B: ...", "from __future__ import annotations")[::-1],
        ("def f(a: 'Frame') -> 'list[Frame]': ...",),  # never evaluated
        ("x: int",),
        ("%%bash --out found\nls", "found"),
        ("%%capture out\nprint(1)\nx = 1", "out, x"),
        ("%%time\nx = 1", "x"),
        ("%%timeit y = 1\ny",),
        ("%time x = 1", "x"),
        ("%%html\n<b>",),
        ("%%sql found <<\nSELECT (",),
        ("files = !ls", "files"),
        ("x = 1", "x?", "x??", "?x"),
        ("ls", "pip install x", "cd /tmp", "%matplotlib inline"),
        ("import os.path, json as j", "os, j"),
        ("match {}:\n    case {'a': a, **rest}:\n        pass\n    case [*b] | b:\n        pass", "a, b, rest"),
        ("class A:\n    x = 1\n    y = x", "def f(*a, **b):\n    global z\n    z = a, b", "f()", "z"),
        ("print([x for x in 'ab'], [y := 1, y])", "y"),
        ('"\\d"',),  # a warning is none of ours
        (">>> x = 1\n>>> x",),
        ("x = '''\n%time y\n'''",),
        ("# nothing", "", "   "),
        ("\ufeffx = 1".removeprefix("\ufeff"), "x"),
        (tagged("qqq\nx = (", "skip-execution"),),
        ({"cell_type": "raw", "source": "qqq"}, {"cell_type": "markdown", "source": "qqq("}),
    ],
)  # fmt: skip
def test_nothing_is_wrong(cells: tuple[str, ...]) -> None:
    assert told(*cells) == []


@pytest.mark.parametrize(
    "cell",
    [
        "from math import *",
        "%run other.ipynb",
        "run other.ipynb",
        "%load_ext sql",
        "%store -r",
        "%pylab",
        "exec('a = 1')",
        "globals()['a'] = 1",
        "globals().update(a=1)",
        "locals()['a'] = 1",
        "vars()['a'] = 1",
        "get_ipython().user_ns['a'] = 1",
        "get_ipython().run_line_magic('run', 'other.py')",
        "get_ipython().run_cell('a = 1')",
        "%ownmagic a",
        "%%ownmagic\na = 1",
        "if 1:\n    %run other.ipynb",
    ],
)
def test_where_names_cannot_be_told_none_is_called_undefined(cell: str) -> None:
    assert told("qqq", cell, "zzz") == []
    assert told("qqq", cell, "x = (") == ["cell 3, line 1: this is no Python: '(' was never closed"]


def test_a_name_of_a_function_of_that_name_hides_nothing() -> None:
    assert len(told("import subprocess\nsubprocess.run('x', check=True)\nvars(subprocess)\nrun = 1", "run", "qqq")) == 1


def test_parameters_have_a_value_behind_their_cell() -> None:
    cell = tagged("day: str\nn = 1", "parameters")
    assert told(cell, "print(day, n)", parameters=("day", "n")) == []
    assert told(cell, "print(day, n)") == []
    assert told("print(day)", cell, "day, n", parameters=("day", "n")) == [
        "cell 1, line 1: the parameter 'day' has its value only behind the cell that declares it"
    ]
    assert told("# parameters\nday: str\nprint(day)", "day", parameters=("day",))[0].startswith("cell 1, line 3: ")
    assert told("print(day)", parameters=("day",)) == []  # given, although nothing declares it


@pytest.mark.parametrize(
    "use",
    [
        "print(day)",
        "f'{day}'",
        "day += 1",
        "del day",
        "def f(a=day): ...",
        "sql = 'SELECT :day'",
        "!echo $day {day}",
        "%env DAY=$day",
        "%%bash\necho $day",
        "%%sql\nSELECT :day",
        "x = (day",  # who knows
        "globals()",
        "%run -i other.py",
    ],
)
def test_a_parameter_that_may_be_used(use: str) -> None:
    found = told(tagged("day = 1", "parameters"), use, parameters=("day",))
    assert [one for one in found if "no Python" not in one] == []


def test_a_parameter_that_nothing_uses() -> None:
    cells = (
        "# parameters\nday = 1\nn: int = 2\nm = day",
        "print(n)  # day",
        "day = 3",
        tagged("day", "skip-execution"),
    )
    (found,) = findings(notebook(*cells), ("day", "n"))
    message = "nothing uses the parameter 'day': it makes no difference what it is"
    assert found == Finding("warning", 1, 2, message)
    assert len(told(cells[0], "from math import *", "%load_ext x", "n", parameters=("day", "n"))) == 1


BACKGROUND = {
    "submit": "import datapipe as p\nrun = p.plan().submit()",
    "run": "import datapipe as p\np.plan().run(background=True)",
    "Thread": "import threading\nthreading.Thread(target=print).start()",
    "Process": "from multiprocessing import Process\np = Process()\np.start()\nprint(', '.join(['a']))",
    "task": "import asyncio\ntask = asyncio.create_task(f())\nawait asyncio.sleep(1)",
    "Popen": "import subprocess\nsubprocess.Popen(['x'])",
}
WAITS = {
    "submit": "run.result()",
    "run": "run.watch()",
    "Thread": "t.join(5)",
    "Process": "p.join(timeout=5)",
    "task": "await task",
    "Popen": "p.wait()",
}


@pytest.mark.parametrize("kind", BACKGROUND)
def test_background_work_in_the_last_cell(kind: str) -> None:
    before = "async def f(): ...\nrun = t = None"
    last = BACKGROUND[kind]
    (found,) = findings(notebook(before, last, "# the end", {"cell_type": "markdown", "source": "end"}))
    assert (found.level, found.cell, found.line) == ("warning", 2, 2)
    assert "the kernel ends when the last cell has ended. " in found.message
    waited = f"{last}\nimport subprocess as p\n{WAITS[kind]}"
    assert told(before, waited) == told(before, last, "print(1)") == told(before, last, "%%bash\nsleep 1") == []


@pytest.mark.parametrize(
    "cell",
    [
        "with ThreadPoolExecutor() as pool:\n    pool.submit(print)",
        "async with asyncio.TaskGroup() as group:\n    group.create_task(f())",
        "with subprocess.Popen('x') as process:\n    pass",
        "await asyncio.gather(asyncio.create_task(f()))",
        "plan.submit().result()",
        "plan.run(background=False)\nsubprocess.run('x', check=True)\nplan.run()",
        "submit(1)\nthreading.Thread(target=print)",
    ],
)
def test_work_that_is_waited_for(cell: str) -> None:
    before = "import asyncio, subprocess, threading\nfrom concurrent.futures import ThreadPoolExecutor\nplan = submit = f = 1"
    assert told(before, cell) == []


def test_the_background_is_looked_at_where_names_cannot_be_told() -> None:
    assert len(told("from datapipe import *", "plan.submit()")) == 1


def test_another_language_has_no_findings() -> None:
    assert findings(notebook("x <- (", language="R")) == ()


def test_findings_are_in_order_and_always_the_same() -> None:
    cells = ("b\na", "x = (", "# parameters\nn = 1", "c\nimport subprocess\nsubprocess.Popen(1)")
    found = findings(notebook(*cells), ("n",))
    assert [(one.cell, one.line) for one in found] == [(1, 1), (1, 2), (2, 1), (3, 2), (4, 1), (4, 3)]
    assert [findings(notebook(*cells), ("n",)) for _ in range(3)] == [found] * 3


def test_a_long_notebook_takes_no_second() -> None:
    cells = [f"x{n} = {n}\n!ls\nfor i in range(3):\n    print(x{n}, i, missing{n})\n\n" * 5 for n in range(200)]
    assert len(told(*cells)) == 200


@settings(max_examples=200)
@given(st.lists(st.lists(st.sampled_from(
    ["x = 1", "    y = x", "%time x", "%%time", "%%capture x", "!ls \\", "", "(", ")", "'''", "def f():", "x?", "%", "%%",
     "return", "ls", "await x", "\\", "\x0c", "é = '\ud800'", "lambda: (yield)", "from x import *", "\0"]
), max_size=5).map("\n".join), max_size=3))  # fmt: skip
def test_whatever_cells_hold_findings_lie_within_them(cells: list[str]) -> None:
    for found in findings(notebook(*cells), ("x",)):
        executed = [cell for cell in cells if cell.strip()]
        assert 1 <= found.cell <= len(executed)
        assert 1 <= found.line <= executed[found.cell - 1].count("\n") + 1
        assert found.message


@pytest.mark.parametrize("missing", ["pyflakes", "IPython"])
def test_a_missing_library_is_one_sentence(missing: str) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from datapipe.notebooks.lint import findings\n"
        "from datapipe.notebooks.cells import notebook_of\n"
        "findings(notebook_of({'nbformat': 4, 'cells': []}, 'n.ipynb'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "this needs the extra 'notebook'. Run: pip install \"datapipe-sdk[notebook]\""
    )
    assert PlanError.__name__ in done.stderr


def test_looking_loads_neither_library_before_it_is_needed() -> None:
    script = "import sys, datapipe.notebooks.lint; print({'pyflakes', 'IPython'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
