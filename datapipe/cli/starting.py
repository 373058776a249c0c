"""How the program starts: its logs, and what the garbage collector need not look at.

The collector looks at every object that a library makes when it is imported, again and again, and at all of them once
more when the process ends. None of them is ever garbage. That is a fifth of what a small run takes of the processor, so
the program is loaded without the collector, which then leaves alone what has been loaded. A plan's own functions, and
what they make, come afterwards and are collected as ever. The library itself does not do so: in a process of somebody
else there are other objects too.
"""

from __future__ import annotations

import gc
from importlib import import_module

from datapipe.cli.logs import configure_cli_logs

RUN = ("datapipe.engine.recorder", "datapipe.showing")  # what every run needs, which is most of what there is


def pause_collector() -> None:
    """Collect nothing until :func:`settle`."""
    gc.disable()


def started(command: str | None) -> None:
    """A command is about to be called, or its help."""
    configure_cli_logs()
    if command != "run":  # which has more to load, unless it is asked for its help
        settle()


def settle(modules: tuple[str, ...] = ()) -> None:
    """Load modules, and collect from now on; nothing happens where the collector was not paused."""
    if gc.isenabled():  # the command was called by another program
        return
    for module in modules:
        import_module(module)
    gc.freeze()
    gc.enable()
