"""Runs in a notebook: a card that is live while a run lasts, and plain HTML in the file when it has ended."""

from datapipe.jupyter.once import present
from datapipe.jupyter.panel import panel

__all__ = ["panel", "present"]
