"""Ctrl-C from within: how a cancelled run leaves a user's function."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable


def interruption() -> Callable[[], None]:
    """What raises KeyboardInterrupt once in the code that the calling thread goes on to run.

    Python interrupts only its main thread; elsewhere the function does nothing, and the code runs to its end.
    """
    thread = threading.current_thread()
    if thread is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        return lambda: None
    raised = threading.Event()

    def interrupt() -> None:
        if not raised.is_set():
            raised.set()
            # To the thread, not the process: a sleep or a read ends only in the thread that gets the signal.
            signal.pthread_kill(thread.ident or 0, signal.SIGINT)

    return interrupt
