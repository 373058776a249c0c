"""Ctrl-C from within: how a cancelled run leaves a user's function."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable


def interruption() -> Callable[[], None]:
    """What raises KeyboardInterrupt once in the code that the calling thread goes on to run.

    In the main thread it does so even in a sleep or a read. In another one, as that of a run in the background, it
    does so as soon as the code is back in Python.
    """
    thread = threading.current_thread()
    is_main = thread is threading.main_thread()
    if is_main and not callable(signal.getsignal(signal.SIGINT)):
        return lambda: None
    raised = threading.Event()

    def interrupt() -> None:
        if raised.is_set():
            return
        raised.set()
        if is_main:
            # To the thread, not the process: a sleep or a read ends only in the thread that gets the signal.
            signal.pthread_kill(thread.ident or 0, signal.SIGINT)
        else:
            found = ctypes.c_ulong(thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(found, ctypes.py_object(KeyboardInterrupt))

    return interrupt
