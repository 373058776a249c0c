"""``datapipe demo``, as a newcomer sees it."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from datapipe.local.demo import demo


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Not tmp_path: root's own is closed to the account that the server runs as."""
    found = Path(tempfile.mkdtemp(prefix="datapipe-demo-"))
    monkeypatch.setenv("DATAPIPE_HOME", str(found))
    yield found
    shutil.rmtree(found)


def test_demo_ends_with_the_rows_counted_over_a_second_connection(home: Path) -> None:
    shown = io.StringIO()
    assert demo(Console(file=shown, width=100)) == 0
    text = shown.getvalue()
    assert text.splitlines()[-1] == "mart.daily_routes: 103,075 rows, counted over a second connection"
    assert text.count("succeeded: 336,776 rows read, 103,075 written") == 2
    for said in ("def daily_routes(", "def rate(", "PRIMARY KEY", "input_data"):
        assert said in text
    password = (home / "postgresql" / "password").read_text(encoding="ascii")
    assert password not in text
