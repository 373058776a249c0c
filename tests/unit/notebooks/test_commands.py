"""``datapipe notebook run``, with executions that are made up: exit codes, and what is said."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from jobside import latest, succeeding
from typer.testing import CliRunner

from datapipe.cli.app import app
from datapipe.notebooks.order import Outcome


def invoked(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["notebook", *arguments])


def failed(kind: str, reason: str | None = None, **values: Any) -> Outcome:
    return Outcome("failed", reason, {"type": kind, "message": "no rows", "cell": 3, **values})


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (failed("ValueError"), 1, "error: cell 3 (print(x)): ValueError: no rows"),
        (failed("SystemExit"), 1, "error: cell 3 (print(x)): no rows"),
        (failed("PlanError", hint="Check it"), 1, "error: cell 3 (print(x)): PlanError: no rows. Check it"),
        (failed("TimedOut", "timed_out"), 124, "error: cell 3 (print(x)): no rows"),
        (failed("KernelDied", "kernel_died"), 137, "error: cell 3 (print(x)): no rows"),
        (failed("KernelDied", "out_of_memory"), 137, "error: cell 3 (print(x)): no rows"),
        (Outcome("cancelled"), 130, "the run was cancelled"),
        (Outcome("cancelled", "interrupted"), 130, "the notebook was cancelled"),
    ],
)
def test_how_it_ended_is_the_exit_code(outcome: Outcome, code: int, said: str, job: Any, executing: Any) -> None:
    executing(outcome)
    done = invoked("run", job.plan.notebook.path, "--retries", "0")
    assert done.exit_code == code
    assert said in done.stderr and "Traceback" not in done.stderr
    assert "the target is unchanged" not in done.stderr
    shown = invoked("run", job.plan.notebook.path, "--retries", "0", "--json")
    found = json.loads(shown.stdout)
    assert (shown.exit_code, found["state"], found["reason"]) == (code, outcome.state, outcome.reason)
    assert found["run_id"] == latest().id and found["artifacts"]


def test_one_that_succeeds_says_what_it_gave(job: Any, executing: Any) -> None:
    orders = executing(succeeding({"name": "rows", "value": 5, "shown": "5"}))
    done = invoked("run", job.plan.notebook.path, "-p", "day=7")
    assert done.exit_code == 0 and orders[0].parameters == {"day": 7}
    assert "rows = 5" in done.stdout and "kept in " in done.stdout and "succeeded: 4 of 4 cells" in done.stdout
    found = json.loads(invoked("run", job.plan.notebook.path, "--json").stdout)
    assert (found["outputs"], found["state"], found["cells"][0]["state"]) == ({"rows": 5}, "succeeded", "done")


def test_sigterm_stops_it_as_ctrl_c_does_and_is_told_by_the_code(job: Any, executing: Any) -> None:
    def terminated(cancel: Any, **_: Any) -> Outcome:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            cancel.wait(5)
        except KeyboardInterrupt:
            return Outcome("cancelled", "interrupted")
        raise AssertionError("it was not told")

    before = signal.getsignal(signal.SIGTERM)
    executing(terminated)
    done = invoked("run", job.plan.notebook.path)
    assert done.exit_code == 143 and latest().row.state == "cancelled"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-p", "dai=1"), "Did you mean 'day'?"),
        (("-p", "day=many"), "day"),
        (("-p", "day"), "a --param is not name=value"),
        (("-p", "day=1", "-p", "day=2"), "--param day is given twice"),
        (("--memory", "lots"), "memory 'lots' is not a size"),
        (("--idempotency-key", ""), "the idempotency key is empty"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(
    arguments: tuple[str, ...], said: str, job: Any, executing: Any
) -> None:
    orders = executing(succeeding())
    done = invoked("run", job.plan.notebook.path, *arguments)
    assert done.exit_code == 2 and said in done.stderr and orders == []


def test_a_run_is_listed_with_how_it_ended(job: Any, executing: Any) -> None:
    executing(failed("ValueError"), succeeding({"name": "rows", "value": 5, "shown": "5"}))
    for _ in range(2):
        invoked("run", job.plan.notebook.path, "--retries", "0")
    found = json.loads(invoked("history", job.plan.notebook.path, "--json").stdout)
    assert [(one["state"], one["outputs"]) for one in found] == [("succeeded", {"rows": 5}), ("failed", {})]
    assert found[1]["error"] == "cell 3 (print(x)): ValueError: no rows"
