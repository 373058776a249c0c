"""``python -m datapipe.execution``: execute a notebook as it is ordered on standard input."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import format_exc
from typing import Any

from datapipe.execution.telling import Teller, own_output
from datapipe.notebooks.order import Order, Outcome
from datapipe.secrets import redactor

_LOST = Outcome("lost", "the process that had started it is gone")
_STUCK = 600.0  # seconds in which no other thread of it could run
_LOOK = 1.0  # seconds between two looks whether it is there


def main() -> int:
    """Execute the ordered notebook, or finish the report of an execution whose process died; the exit code."""
    out = own_output()
    order, past = _read()
    os.environ["JUPYTER_RUNTIME_DIR"] = order.scratch
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # jsonschema would take 2 s to load it, for addresses that no notebook has
    tell = Teller(out)
    try:
        from datapipe.execution.executing import executed, finished  # loads papermill

        found = finished(order, past) if past is not None else executed(order, tell, _listening)
    except Exception as error:
        hide = redactor(order.secrets, [Path(order.folder)]).text
        missing = isinstance(error, ModuleNotFoundError)
        found = {
            "type": "ExecutionFailed",
            "message": hide(f"the notebook could not be executed: {type(error).__name__}: {error}"),
            "hint": 'Run: pip install "datapipe-sdk[notebook]"' if missing else None,
            "traceback": hide(format_exc()),
        }
        tell("crashed", error=found)
        raise
    tell("ended", **found)
    return 0


def _read() -> tuple[Order, Mapping[str, Any] | None]:
    line = json.loads(sys.stdin.readline())
    return Order.from_json(json.dumps(line["order"])), line.get("past")


@contextmanager
def _listening(stop: Any) -> Iterator[None]:
    """Hear from whoever started us: a wish to stop, or that nobody is there any more."""

    def listen() -> None:
        for line in sys.stdin:
            with suppress(ValueError):
                found = json.loads(line)
                stop(Outcome(found["state"], found.get("reason"), found.get("error")))
        stop(_LOST)

    over = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if number == signal.SIGTERM:  # as a service manager sends it to every process of a service
            stop(Outcome("cancelled", "told to stop by SIGTERM"))

    # Not ignored, which the kernel would inherit.
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}

    def watch(parent: int) -> None:
        while not over.wait(_LOOK):  # the pipe alone may stay open: what the parent has forked has it, too
            faulthandler.dump_traceback_later(
                _STUCK, exit=True
            )  # the kernel ends with a process that is stuck for ever
            if os.getppid() != parent:
                stop(_LOST)
                return

    threading.Thread(target=watch, args=(os.getppid(),), name="datapipe parent", daemon=True).start()
    threading.Thread(target=listen, name="datapipe orders", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    code = main()
    sys.stdout.flush()
    os._exit(code)  # no thread of a library keeps the process
