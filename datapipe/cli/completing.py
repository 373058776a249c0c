"""What a shell completes: runs, states, files with plans. Whatever goes wrong, it completes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_PLANS = {".yaml", ".yml", ".json", ".py", ".ipynb"}
_MOST = 50


def run_ids(incomplete: str) -> list[tuple[str, str]]:
    """The latest runs that begin so, each with how it stands."""
    with suppress(Exception):
        from datapipe.store import open_store

        store = open_store()
        rows = store.runs(limit=_MOST) if store is not None else []
        return [
            (row.id, f"{row.state} {row.name or row.target or ''}") for row in rows if row.id.startswith(incomplete)
        ]
    return []


def among(*words: str) -> Callable[[str], list[str]]:
    """What completes one of some words."""
    return lambda incomplete: [str(word) for word in words if word.startswith(incomplete)]


def states(incomplete: str) -> list[str]:
    """The states of runs that begin so."""
    from datapipe.listing import STATES

    return sorted(state for state in STATES if state.startswith(incomplete))


def plan_files(incomplete: str) -> list[str]:
    """Files that may be plans or notebooks, and folders in which there may be some."""
    with suppress(OSError):
        return sorted(_files(incomplete))
    return []


def notebook_files(incomplete: str) -> list[str]:
    """Files that may be notebooks or jobs, and folders."""
    return [name for name in plan_files(incomplete) if not name.endswith(".py")]


def _files(incomplete: str) -> Iterator[str]:
    given = incomplete.rpartition("/")[0]
    folder = Path(f"{given}/" if given or incomplete.startswith("/") else ".").expanduser()
    begin = incomplete[: len(incomplete) - len(incomplete.rpartition("/")[2])]
    for path in folder.iterdir():
        name = f"{begin}{path.name}"
        if name.startswith(incomplete) and not (path.name.startswith(".") and not incomplete.endswith(".")):
            if path.is_dir():
                yield f"{name}/"
            elif path.suffix in _PLANS:
                yield name
