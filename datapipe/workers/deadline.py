"""Questions put at the same time, each with a limit: what does not answer is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from datapipe.errors import TransientError


@dataclass(frozen=True)
class Outcome:
    """What came of a question.

    Parameters
    ----------
    value : object
        The answer.
    error : Exception, optional
        Why there is none.
    """

    value: Any = None
    error: Exception | None = None


def together(questions: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, Outcome]:
    """The outcome of each question, after so many seconds at most.

    Examples
    --------
    >>> together({"a": lambda: 1}, 5)["a"].value
    1
    >>> together({"slow": lambda: time.sleep(9)}, 0.01)["slow"].error
    TransientError('no answer within 0.01 s')
    """
    found: dict[str, Outcome] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            value, error = question(), None
        except Exception as raised:  # noqa: BLE001  # it is handed on
            value, error = None, raised
        found[name] = Outcome(value, error)

    # Daemons: one that hangs must not keep the program from ending.
    threads = [
        threading.Thread(target=ask, args=pair, name=f"datapipe {pair[0]}", daemon=True) for pair in questions.items()
    ]
    until = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = Outcome(error=TransientError(f"no answer within {seconds:g} s"))
    return {name: found.get(name, late) for name in questions}
