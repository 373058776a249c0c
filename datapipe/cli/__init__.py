"""The command line: ``datapipe``, and the same program as ``pipeline-cli``."""

from __future__ import annotations


def main() -> None:
    """Run the program; its exit code is 0, 1 (the run failed) or 2 (bad plan or usage)."""
    from datapipe.cli.app import app  # importing datapipe.cli loads no Typer

    app()
