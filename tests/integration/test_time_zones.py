"""A time zone is heard whatever the process has imported, before or after."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import datetime as dt
{before}
import datapipe
{after}
import pyarrow as pa
from datapipe.data.types import TIMESTAMPTZ
{last}
noon = dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
print(pa.array([noon], TIMESTAMPTZ)[0].as_py().isoformat())
"""


@pytest.mark.parametrize("place", ["before", "after", "last"])
def test_pandera_changes_no_instant(place: str) -> None:
    parts = {"before": "", "after": "", "last": "", place: "import pandera.pandas"}
    environment = {name: value for name, value in os.environ.items() if name != "PYARROW_IGNORE_TIMEZONE"}
    command = [sys.executable, "-c", PROGRAM.format(**parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "2024-01-01T10:00:00+00:00\n"
