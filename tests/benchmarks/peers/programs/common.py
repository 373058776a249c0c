"""What every program of a peer shares: how it is told what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any


def main(jobs: Mapping[str, Any]) -> None:
    """Do one job, ``program.py JOB``; the places are in the environment, as ``PLACE_SOURCE`` and so on."""
    place = {name[6:].lower(): value for name, value in os.environ.items() if name.startswith("PLACE_")}
    jobs[sys.argv[1].replace("-", "_")](place)
