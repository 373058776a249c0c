"""What the process tells whoever started it."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, TextIO


class Teller:
    """Tells whoever started the process what happens: a line of JSON for each event, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def __call__(self, event: str, **found: Any) -> None:
        """Tell one thing; nobody may be there to hear it."""
        line = json.dumps({"event": event, "time": time.time(), **found}, ensure_ascii=True)
        with self._lock:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                return


def own_output() -> TextIO:
    """The process's standard output for the teller alone: whatever else is printed goes to standard error."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "w", encoding="utf-8")
