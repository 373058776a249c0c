"""The command line: ``datapipe``, and the same program as ``pipeline-cli``.

Its modules import Typer, the errors and each other. What a command works with, it imports when it is called: so help
and what a shell completes are there at once, and a command loads what it needs and nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the program; its exit code is 0, 1 (the run failed), 2 (bad plan or usage) or 130 (Ctrl-C)."""
    try:
        from datapipe.cli.starting import pause_collector, started

        pause_collector()
        from datapipe.cli.app import app  # loads Typer

        # A plan's "recipes.users:clean" is looked for where the user stands, as Python itself does.
        try:
            here = str(Path.cwd())
        except FileNotFoundError:
            sys.stderr.write("error: the current folder is not there any more. Change to another one\n")
            sys.exit(2)
        if here not in sys.path:
            sys.path.insert(0, here)
        app(obj=started)  # called when a command is: the program's own help logs nothing
    except KeyboardInterrupt:
        sys.exit(130)
