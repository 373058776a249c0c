"""What this platform takes from, and says to, the servers behind it."""

from __future__ import annotations

import base64
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads, prepare_accept_content

import datapipe
from datapipe.workers.app import app


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/pwned",)


def test_s10_only_json_is_read_from_the_broker() -> None:
    assert app.conf.accept_content == app.conf.result_accept_content == ["json"]
    assert (app.conf.task_serializer, app.conf.result_serializer) == ("json", "json")
    accepted = prepare_accept_content(app.conf.accept_content)
    body = base64.b64encode(pickle.dumps(Evil())).decode()
    for kind in ("application/x-python-serialize", "application/x-yaml", "application/x-msgpack"):
        with pytest.raises(ContentDisallowed):
            loads(body, kind, "binary", accept=accepted)


def test_s37_copy_is_only_ever_from_and_to_the_client() -> None:
    """Never a program or a file of the server: neither by a literal, nor by what a user says."""
    found = []
    for path in Path(datapipe.__file__).parent.rglob("*.py"):
        found += [line.strip() for line in path.read_text().splitlines() if re.search(r"[\"']COPY [{(]", line)]
    by_duckdb = (
        "COPY (SELECT * FROM batches) TO {text_literal(str(path))}"  # writes a file of its own, where the plan says
    )
    assert len(found) >= 3
    assert [
        line for line in found if "FROM STDIN" not in line and "TO STDOUT" not in line and by_duckdb not in line
    ] == []
