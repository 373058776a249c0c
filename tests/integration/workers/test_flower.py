"""Celery's own monitor starts against our application, asks for a password, and shows a live worker."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("flower")

if TYPE_CHECKING:
    from conftest import Site


@pytest.fixture
def flower(site: Site) -> Iterator[str]:
    """The address of a Flower with a password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "datapipe.workers.app",
        "flower",
        "--address=127.0.0.1",
        f"--port={port}",
    ]
    with (site.folder / "flower.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "FLOWER_BASIC_AUTH": "ann:flow3r"}
        )
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


def get(url: str, login: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
    except OSError:
        return 0, ""


def test_flower_asks_for_a_password_and_lists_a_worker(site: Site, flower: str, wait: Callable[..., None]) -> None:
    site.start_worker("w1")
    wait(lambda: get(flower)[0])
    assert get(flower)[0] == get(flower, "ann:wrong")[0] == 401
    name = f"w1@{socket.gethostname()}"
    wait(lambda: name in get(f"{flower}/workers", "ann:flow3r")[1])
    assert get(flower, "ann:flow3r")[0] == 200
    assert "c4n4ry" not in (site.folder / "flower.log").read_text()
