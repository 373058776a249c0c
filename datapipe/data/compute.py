"""``pyarrow.compute``, loaded when one of its functions is first used: what only passes rows on does without it."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import pyarrow.compute  # makes all of its functions: as long as all else that a run loads of Arrow

    return getattr(pyarrow.compute, name)
