"""Keeping processes up until somebody interrupts, and ending them in their order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.console import Console

from datapipe.local.children import Child
from datapipe.local.demo import show


@contextmanager
def running(children: Sequence[Child], console: Console, ending: str) -> Iterator[None]:
    """Start processes, one after the other, and end them in the same order.

    Parameters
    ----------
    children : sequence of Child
    console : rich.console.Console
    ending : str
        What to say when the end begins.

    Examples
    --------
    >>> with running([], Console(), "that was all"):
    ...     pass
    that was all
    """
    try:
        for child in children:
            child.start()
        yield
    finally:
        with suppress(OSError):  # the terminal may be closed
            show(console, ending)
        for child in children:
            child.stop()


def look_after(children: Sequence[Child], console: Console, until: Child | None = None) -> None:
    """Start again what dies, until somebody interrupts, or one of them ends as its user has asked it to."""
    while True:
        time.sleep(0.2)
        for child in children:
            if child.process is not None and child.ended():
                code = child.process.returncode
                if child is until and code == 0:
                    return
                show(console, f"{child.name} ended with exit code {code}, see {child.log}; it starts again")
                child.kill()  # what is left of its processes
                child.start()
                show(console, f"{child.name} is ready again")
