"""Every way in which a notebook may end: what is raised, recorded and kept tells the same, and it is the truth."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jobside import Side, ended, left_over, remote_parts, sound
from notebookfiles import write_notebook

import datapipe
from datapipe.errors import DatapipeError, NotebookError, PlanError

NEVER = "print('never')"


@dataclass(frozen=True)
class Way:
    """Cells, and how they end: each code cell's status by its letter, Completed, Failed or Pending."""

    cells: Sequence[str]
    statuses: str
    says: str = ""  # a pattern of the error's text
    state: str = "failed"
    reason: str | None = None
    kind: type[DatapipeError] = NotebookError
    options: Mapping[str, Any] = field(default_factory=dict)


WAYS = {
    "an exception": Way(
        ["md:# Load", "def divide(a):\n    b = 0\n    return a / b", "x = 1\ndivide(x)", NEVER],
        "CFP",
        r"cell 2 \(x = 1\): ZeroDivisionError: division by zero$",
        options={"retries": 2},
    ),
    "no Python": Way(
        ["x = 1", "y = 2\ndef f(:\n    pass", NEVER],
        "CFP",
        r"cell 2 \(y = 2\): SyntaxError: invalid syntax",
        options={"check": False},
    ),
    "a plan that fails": Way(
        [
            "import datapipe\nfrom pathlib import Path\nPath('empty.db').touch()",
            "datapipe.read('SELECT * FROM nowhere', source='sqlite:///empty.db').write('t', to='sqlite:///empty.db').run()",
            NEVER,
        ],
        "CFP",
        r"cell 2 \(.*\): PlanError: .*nowhere",
    ),
    "input nobody gives": Way(["input('name? ')"], "F", r"StdinNotImplementedError"),
    "killed": Way(
        ["x = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", NEVER],
        "CFP",
        r"cell 2 \(.*\): the kernel was killed \(SIGKILL\); it had used up to \d+ MB of memory\. Somebody killed it",
        reason="kernel_died",
    ),
    "a crash": Way(
        ["import ctypes", "ctypes.string_at(0)", NEVER],
        "CFP",
        r"cell 2 \(.*\): the kernel died of signal 11 \(SIGSEGV\); .*The code of a library that it calls has failed",
        reason="kernel_died",
    ),
    "an exit of the process": Way(
        ["import os", "os._exit(3)", NEVER],
        "CFP",
        r"cell 2 \(.*\): the kernel's process ended by itself with exit code 3\. Code such as os\._exit\(\)",
        reason="kernel_died",
    ),
    "too much memory": Way(
        ["import time", "found = b'x' * (600 << 20)\ntime.sleep(60)", NEVER],
        "CFP",
        r"cell 2 \(.*\): the kernel took more than 300 MB of memory\. Read less at a time",
        reason="out_of_memory",
        options={"memory": "300MB"},
    ),
    "a slow cell": Way(
        ["import time", "try:\n    time.sleep(60)\nfinally:\n    print('tidied')", NEVER],
        "CFP",
        r"cell 2 \(.*\): cell 2 took longer than 2 s\. Split the work, or give the job a greater cell_timeout",
        reason="timed_out",
        options={"cell_timeout": 2.0},
    ),
    "slow as a whole": Way(
        ["import time", "time.sleep(60)", NEVER],
        "CFP",
        r"cell 2 \(.*\): the notebook took longer than 12 s\. Split the work, or give the job a greater timeout",
        reason="timed_out",
        options={"timeout": 12.0},
    ),
    "no time to begin": Way([NEVER], "P", r"^the notebook took longer than 0.2 s", reason="timed_out", options={"timeout": 0.2}),
    "a slow cell that does not stop": Way(
        ["import time", "while True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        print('no')"],
        "CF",
        r"cell 2 \(.*\): cell 2 took longer than 2 s",
        reason="timed_out",
        options={"cell_timeout": 2.0},
    ),
    "a slow cell that ends early": Way(
        ["import time", "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('enough')", NEVER],
        "CFP",
        r"cell 2 \(.*\): cell 2 took longer than 2 s",
        reason="timed_out",
        options={"cell_timeout": 2.0},
    ),
    "interrupted by nobody of ours": Way(
        ["import os, signal, time", "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)", NEVER],
        "CFP",
        r"cell 2 \(.*\): KeyboardInterrupt",
    ),
    "sys.exit(3)": Way(["import sys", "sys.exit(3)", NEVER], "CFP", r"the notebook ended itself: sys\.exit\(3\)\. sys\.exit\(\)"),
    "sys.exit()": Way(["import sys", "sys.exit()", NEVER], "CCP", state="succeeded", reason="the notebook ended itself in cell 2"),
    "exit()": Way(["x = 1", "exit()", NEVER], "CCP", state="succeeded", reason="the notebook ended itself in cell 2"),
    "a long line": Way(
        ["print('x' * 500_000)", "print('50 %\\r100 %')"], "CC", state="succeeded", options={"timeout": 40.0}
    ),
    "no such kernel": Way(
        [NEVER],
        "P",
        r"^the kernel 'cobol' cannot be started\. Install it, or name another one: notebook\(…, kernel=…\)",
        kind=PlanError,
        options={"kernel": "cobol"},
    ),
    "a kernel that dies at once": Way(
        [NEVER],
        "P",
        r"^the kernel 'dies' ended before the first cell, with exit code 1",
        options={"kernel": "dies"},
    ),
    "an output that is missing": Way(
        ["# outputs\nrows: int\nwhen: str | None", "import datapipe\ndatapipe.output('row', 5)"],
        "CC",
        r"^it has declared the output 'rows' \(int\) and has not given it\. Did you mean 'row'\?",
    ),
    "an output nobody could make": Way(
        [
            "from IPython.display import display\nfrom datapipe.notebooks.outputs import MIME",
            "display({MIME: {'name': 'x', 'file': '../../gone', 'shown': ''}, 'text/plain': 'x'}, raw=True)",
            NEVER,
        ],
        "CFP",
        r"cell 2 .*'x'",
    ),
}  # fmt: skip


# Each takes some seconds of a processor: the others are run by hand.
OFTEN = ("an exception", "no Python", "a plan that fails", "killed", "a slow cell", "sys.exit()", "no such kernel")


@pytest.fixture(scope="module")
def begun(side: Side, request: pytest.FixtureRequest) -> Iterator[Side]:
    """All of them, or the usual ones, side by side."""
    only = OFTEN if "not soak" in request.config.option.markexpr else WAYS
    spec = side.home / "specs" / "kernels" / "dies"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "dies", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(side.home / "specs"))
        for name, way in ((name, WAYS[name]) for name in only):
            side.begin(name, *way.cells, **way.options)
        yield side


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.soak) for name in WAYS])
def test_it_ends_as_it_is_told_everywhere(name: str, begun: Side) -> None:
    way, run = WAYS[name], begun.found(name)
    letters = {"completed": "C", "failed": "F", "pending": "P"}
    assert (run.result.state, run.result.reason, run.result.attempts) == (way.state, way.reason, 1)
    assert "".join(letters.get(status, "?") for status in run.statuses) == way.statuses
    if way.state == "succeeded":
        assert run.error is None
    else:
        assert type(run.error) is way.kind
        assert re.search(way.says, str(run.error)), str(run.error)
        assert run.result.error and run.result.error in str(run.error)
    assert "never" not in run.kept("notebook.ipynb")["cells"][-1].get("outputs", "")
    sound(run)


def test_the_line_is_the_users_in_whichever_cell_it_is(begun: Side) -> None:
    run = begun.found("an exception")
    assert run.told["line"] == 3 and run.told["cell"] == 2
    assert run.told["excerpt"]["file"] == "In[1]" and run.told["excerpt"]["function"] == "divide"
    assert [3, "    return a / b"] in run.told["excerpt"]["lines"]
    assert isinstance(run.error, NotebookError) and run.error.excerpt is not None
    assert "In the notebook:" in "".join(run.error.__notes__) and "division by zero" in "".join(run.error.__notes__)
    assert "return a / b" in run.error._render_traceback_()[3]
    syntax = begun.found("no Python")
    assert (syntax.told["line"], syntax.told["cell"]) == (2, 2), syntax.told


def test_a_plan_that_fails_is_a_child_that_failed(begun: Side) -> None:
    run = begun.found("a plan that fails")
    (child,) = datapipe.attach(run.result.run_id).children()
    assert (child.state, child.parent_run_id, child.correlation_id) == ("failed", run.row.id, run.row.id)
    assert child.id in run.result.pipelines


@pytest.mark.soak
def test_what_a_dead_kernel_had_shown_is_kept(begun: Side) -> None:
    assert "tidied" in begun.found("a slow cell").shown(1), "the user's own tidying up"
    stubborn = begun.found("a slow cell that does not stop")
    assert stubborn.shown(1).count("no") >= 1
    assert "the kernel did not stop within 2 s and was killed" in stubborn.result.notices
    assert "enough" in begun.found("a slow cell that ends early").shown(1)


def test_what_a_kernel_that_died_had_used_is_told(begun: Side) -> None:
    used = re.search(r"up to (\d+) MB", str(begun.found("killed").error))
    assert used and 20 < int(used.group(1)) < 400


def tagged(path: Path, **tags: int) -> None:
    """Tag code cells of a notebook by their places."""
    notebook = nbformat.read(path, 4)  # type: ignore[no-untyped-call]  # it has none
    for tag, place in tags.items():
        notebook.cells[place].metadata["tags"] = [tag.replace("_", "-")]
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]  # it has none


@pytest.mark.soak
def test_cells_that_may_raise_and_cells_that_are_skipped(side: Side) -> None:
    path = write_notebook(
        side.home / "tags.ipynb", "x = 1", "1 / 0", "x = 2", "import datapipe\ndatapipe.output('x', x)"
    )
    tagged(path, raises_exception=1, skip_execution=2)
    run = ended(datapipe.notebook(path))
    assert run.result.outputs == {"x": 1}
    assert [cell.count for cell in run.result.cells] == [1, 2, 3]
    assert run.statuses == ["completed", "completed", "pending", "completed"]


@pytest.mark.parametrize("name", ["an exception", "sys.exit()", "killed"])
def test_the_page_needs_nothing_from_anywhere(name: str, begun: Side) -> None:
    assert remote_parts(begun.found(name).kept("notebook.html")) == []


@pytest.mark.soak
def test_a_line_that_is_written_over_shows_its_end(begun: Side) -> None:
    run = begun.found("a long line")
    assert run.shown(0) == "x" * 500_000 + "\n" and run.shown(1) == "100 %\n"


def test_nothing_is_left_in_the_temporary_folder(begun: Side) -> None:
    for run in begun.begun.values():
        run.exception()
    assert left_over(begun) == []
