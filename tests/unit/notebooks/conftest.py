"""A notebook whose executions are made up, recorded in a folder of the test's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobside import Execution
from notebookfiles import write_notebook

import datapipe
from datapipe.notebooks import running
from datapipe.notebooks.order import Order, Outcome


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are recorded and kept."""
    monkeypatch.delenv("DATAPIPE_METADATA_URL")
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path))
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.01")
    return tmp_path


@pytest.fixture
def job(home: Path) -> Any:
    """A notebook of three cells, tried four times."""
    path = write_notebook(home / "daily.ipynb", "# parameters\nday: int = 1", "x = day", "print(x)")
    return datapipe.notebook(path, retries=3)


@pytest.fixture
def executing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Order]]:
    """Have executions end as given, one after the other; the orders they got."""

    def ends(*ways: Outcome | Execution) -> list[Order]:
        orders: list[Order] = []

        def attempt(order: Order, cancel: Any, limits: Any, hear: Any) -> Outcome:
            orders.append(order)
            Path(order.root, order.place).mkdir(parents=True)
            Path(order.root, order.place, "notebook.ipynb").write_text("{}")
            way = ways[min(len(orders), len(ways)) - 1]
            return way if isinstance(way, Outcome) else way(cancel=cancel, limits=limits, hear=hear)

        monkeypatch.setattr(running, "attempt", attempt)
        return orders

    return ends
